// Small texts that outlive the process, each found by a key: one file a record, in a folder of the
// user's cache (compiler/base/files.h).
//
// A file is named by a hash of its key and holds the whole key, so that another key of the same
// hash is seen; a checksum over all of it shows damage. Writers never meet: each writes a file of
// its own and renames it, so readers see an old record or a new one, never a part.
#ifndef HEDDLE_RUNTIME_RECORD_H
#define HEDDLE_RUNTIME_RECORD_H

#include "compiler/base/status.h"
#include "compiler/base/strbuf.h"

#include <stdbool.h>

// The file that a key's record is in. False without memory.
bool record_path(const char *folder, const char *key, struct strbuf *out);

// Appends the text that was kept for `key`. False where there is none: no file, a damaged one,
// another key's, no memory.
bool record_read(const char *folder, const char *key, struct strbuf *out);

// Keeps `text` for `key`, in place of what was kept before. Makes the folder, and those above it.
// HEDDLE_IO_ERROR, HEDDLE_OUT_OF_MEMORY.
enum heddle_status record_write(const char *folder, const char *key, const char *text,
                                struct error *error);

#endif
