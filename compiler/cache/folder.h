// The files of a cache's folder: entries, what writers left behind, and nothing else.
#ifndef HEDDLE_COMPILER_CACHE_FOLDER_H
#define HEDDLE_COMPILER_CACHE_FOLDER_H

#include "compiler/base/strbuf.h"
#include "compiler/cache/entry.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct folder_file {
    char name[ENTRY_NAME_ROOM + 8]; // of an entry; or that, a dot and six characters
    bool temporary;                 // somebody's, being written or left behind
    int64_t bytes;
    struct timespec used; // modification time: set when an entry is written, and when it is used
};

struct folder_files {
    struct folder_file *files; // owned; the one used last comes first
    int count, room;
    int64_t bytes;
};

// False: no such folder, or no memory. free with folder_files_finish in any case.
bool folder_list(const char *folder, struct folder_files *out);
void folder_files_finish(struct folder_files *files);

// Reads a file of the folder that is a regular one of this user's, and that nobody else may write.
// False: it is not, is not there, or cannot be read. *out_old: last used a while ago.
bool folder_read(const char *folder, const char *name, struct strbuf *out, bool *out_old);
// Notes that an entry was used now.
void folder_touch(const char *folder, const char *name);
bool folder_remove(const char *folder, const char *name);

// Removes what was not used for longest until at most `limit_bytes` are left, and what writers left
// behind an hour ago or earlier.
void folder_evict(const char *folder, int64_t limit_bytes);

#endif
