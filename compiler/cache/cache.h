// Compiled code that outlives the process: made once for a key, then found on disk.
//
// Folder `code` of the user's cache (compiler/base/files.h), mode 0700, holds one file an entry
// (entry.h), named by a hash of its key; the whole key is in the file and is compared. Writers
// never meet: each writes a file of its own and renames it. Whatever is wrong with a file (damaged,
// of another key, another user's, not a file) makes it a miss, and whatever is wrong with the
// folder makes the cache do less: no failure of the cache is a failure of the caller.
//
// One process, or thread, makes the code of a key while others wait for it, by a lock on one byte
// of the file `lock` there: locks end with their process. Where locks do not work, or the one who
// holds it takes too long, the code is made twice, which does no harm.
//
// Environment, read when a cache is opened: HEDDLE_CACHE_LIMIT, bytes or with K, M, G (1G): beyond
// it the entries go that were not used for longest; 0: nothing is kept on disk. HEDDLE_DEBUG with
// the word no-cache: neither read nor written.
#ifndef HEDDLE_COMPILER_CACHE_H
#define HEDDLE_COMPILER_CACHE_H

#include "compiler/base/status.h"
#include "compiler/base/strbuf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cache {
    char *folder; // NULL: no cache on disk
    int64_t limit_bytes;
    int most_wait_ms;       // for who makes the same code
    atomic_int found, made; // pieces of code: out of the cache, and made here
};

// Never fails; without memory there is no cache on disk. Makes nothing on disk either.
void cache_open(struct cache *out);
void cache_close(struct cache *cache); // zeroed is fine

// Where entries are, also while the cache is off. False: no folder is named
// (compiler/base/files.h), or no memory.
bool cache_folder(struct strbuf *out);

// What decides every byte of the code, and a word on it for people ("cpu-kernel window ...": the
// first word is its kind).
struct cache_key {
    struct strbuf bytes, label;
};
void cache_key_finish(struct cache_key *key);

struct cache_value {
    struct strbuf file; // owns the code
    const char *code;   // NUL-terminated, though NULs may be in it
    size_t length;
    int64_t number; // that belongs to the code: see entry.h
};
void cache_value_finish(struct cache_value *value);

// Appends code to *out and sets *out_number.
typedef enum heddle_status cache_make_fn(void *context, struct strbuf *out, int64_t *out_number,
                                         struct error *error);

// The code of a key: found, or made and kept. *out_found says which. A failure is one of `make`, or
// HEDDLE_OUT_OF_MEMORY. `make` must return: it runs while a lock is held. From any thread.
enum heddle_status cache_get(struct cache *cache, const struct cache_key *key, cache_make_fn *make,
                             void *context, struct cache_value *out, bool *out_found,
                             struct error *error);

// Makes the code anew, when what was found turned out to be of no use, and keeps that instead.
enum heddle_status cache_renew(struct cache *cache, const struct cache_key *key,
                               cache_make_fn *make, void *context, struct cache_value *out,
                               struct error *error);

// A number of bytes as HEDDLE_CACHE_LIMIT has it. False: not one.
bool cache_parse_bytes(const char *text, int64_t *out);

#endif
