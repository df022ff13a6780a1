// Files of the user's cache: where they are, read whole, and written so that no reader ever sees a
// part of one.
#ifndef HEDDLE_BASE_FILES_H
#define HEDDLE_BASE_FILES_H

#include "compiler/base/status.h"
#include "compiler/base/strbuf.h"

#include <stdbool.h>

// Folder `name` of $HEDDLE_CACHE_DIR, else of $XDG_CACHE_HOME/heddle, else of ~/.cache/heddle; it
// need not exist. False where none of these is set.
bool files_user_folder(const char *name, struct strbuf *out);

// Makes a folder with mode 0700, and those above it that are missing. HEDDLE_IO_ERROR,
// HEDDLE_OUT_OF_MEMORY.
enum heddle_status files_make_folder(const char *path, struct error *error);

// Appends what is left of an open file. False: a failure, no memory, or more than `most_bytes`.
bool files_read(int descriptor, size_t most_bytes, struct strbuf *out);

// Puts a file of these bytes (mode 0600) in the place of whatever is at `path`: as a file of its
// own first (`path`, a dot and six characters), then renamed. HEDDLE_IO_ERROR (nothing stays
// behind), HEDDLE_OUT_OF_MEMORY. A limit on the sizes of files is an error too, and no signal.
enum heddle_status files_replace(const char *path, const char *bytes, size_t length,
                                 struct error *error);

// The same in parts. After the first failure the others do nothing, and the end reports it.
struct replacement {
    const char *path; // borrowed
    struct strbuf own_path;
    int descriptor;
    enum heddle_status status;
};
void replacement_begin(struct replacement *replacement, const char *path, struct error *error);
void replacement_add(struct replacement *replacement, const char *bytes, size_t length,
                     struct error *error);
// `keep` false: what was written goes, and `path` stays as it was.
enum heddle_status replacement_end(struct replacement *replacement, bool keep, struct error *error);

#endif
