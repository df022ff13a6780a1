// Entries of a cache as one file, to carry to another machine.
//
//   bytes  0 .. 16  "heddle archive\r\n"
//          then     entries (entry.h), one after another, the one used last comes last
//          then     "heddle the end\r\n", and nothing more
//
// An archive holds machine code that will run: reading one is safe whatever is in it, using it is
// as safe as running a program from where it came from.
#ifndef HEDDLE_COMPILER_CACHE_ARCHIVE_H
#define HEDDLE_COMPILER_CACHE_ARCHIVE_H

#include "compiler/base/status.h"
#include "compiler/cache/cache.h"

struct archive_counts {
    int64_t entries, bytes; // written, or taken
    int64_t present;        // of an import: there already
    int64_t damaged;        // left out
};

// All whole entries of the cache, in a new file at `path` or in place of the one there.
// HEDDLE_IO_ERROR, HEDDLE_OUT_OF_MEMORY: `path` is as it was.
enum heddle_status archive_export(const struct cache *cache, const char *path,
                                  struct archive_counts *out, struct error *error);

// Adds the whole entries of an archive to the cache, each under the name of its own key; then the
// cache's limit holds. HEDDLE_IO_ERROR: the file cannot be read, is no archive, or ends early, or
// the folder cannot be written; entries before that are taken. HEDDLE_OUT_OF_MEMORY.
enum heddle_status archive_import(const struct cache *cache, const char *path,
                                  struct archive_counts *out, struct error *error);

#endif
