// heddle cache: what its parts share.
#ifndef HEDDLE_CLI_CACHE_H
#define HEDDLE_CLI_CACHE_H

#include "compiler/cache/cache.h"
#include "compiler/cache/folder.h"

#include <stdbool.h>

struct cache_args {
    bool json, remove;
};

// One file of the folder, read.
struct cache_item {
    const struct folder_file *file;
    bool whole;             // an undamaged entry, under the name of its own key
    char label[256];        // printable; "" where it is damaged
    char kind[32];          // its first word
    double made_ms, used_s; // making it took; since it was used
};
void cache_item_read(const char *folder, const struct folder_file *file, struct cache_item *out);

// The subcommands without a file (cache_list.c). `files` is the folder's list. They give an exit
// status.
int cache_list(const struct cache *cache, const struct folder_files *files,
               const struct cache_args *args);
int cache_stats(const struct cache *cache, const struct folder_files *files,
                const struct cache_args *args);
int cache_verify(const struct cache *cache, const struct folder_files *files,
                 const struct cache_args *args);
int cache_clear(const struct cache *cache, const struct folder_files *files,
                const struct cache_args *args);

#endif
