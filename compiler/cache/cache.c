#include "compiler/cache/cache.h"

#include "compiler/base/debug.h"
#include "compiler/base/files.h"
#include "compiler/base/log.h"
#include "compiler/cache/entry.h"
#include "compiler/cache/folder.h"
#include "compiler/cache/lock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_LIMIT = 1 << 30, MOST_WAIT_MS = 60000 };

// ---- opening ------------------------------------------------------------------------------------

bool cache_parse_bytes(const char *text, int64_t *out) {
    static const char units[] = "KMG";
    int64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (value > (INT64_MAX - 9) / 10)
            return false;
        value = 10 * value + (*at - '0');
    }
    const char *unit = *at ? strchr(units, *at) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (at == text || at[unit != NULL] != '\0' || value > INT64_MAX >> shift)
        return false;
    *out = value << shift;
    return true;
}

// Dumps and checks are of code that is made.
static bool is_off(void) {
    return debug_words() & (DEBUG_NO_CACHE | DEBUG_DUMP_LLVM | DEBUG_VERIFY);
}

bool cache_folder(struct strbuf *out) {
    return files_user_folder("code", out);
}

void cache_open(struct cache *out) {
    struct strbuf folder = {0};
    const char *limit = getenv("HEDDLE_CACHE_LIMIT");
    *out = (struct cache){.limit_bytes = DEFAULT_LIMIT, .most_wait_ms = MOST_WAIT_MS};
    if (limit && !cache_parse_bytes(limit, &out->limit_bytes))
        out->limit_bytes = DEFAULT_LIMIT;
    if (out->limit_bytes > 0 && !is_off() && cache_folder(&folder))
        out->folder = folder.text;
    else
        strbuf_finish(&folder);
}

void cache_close(struct cache *cache) {
    free(cache->folder);
    cache->folder = NULL;
}

void cache_key_finish(struct cache_key *key) {
    strbuf_finish(&key->bytes);
    strbuf_finish(&key->label);
}

void cache_value_finish(struct cache_value *value) {
    strbuf_finish(&value->file);
    *value = (struct cache_value){0};
}

// Can anything be kept? False also where the folder cannot be made.
static bool keeps(const struct cache *cache) {
    struct error ignored = {0};
    bool there = cache->folder && files_make_folder(cache->folder, &ignored) == HEDDLE_OK &&
                 access(cache->folder, W_OK | X_OK) == 0;
    if (cache->folder && !there)
        log_line(HEDDLE_LOG_WARNING, "compiled code is not kept: %s cannot be written",
                 cache->folder);
    error_finish(&ignored);
    return there;
}

// ---- finding and keeping ------------------------------------------------------------------------

static bool is_of(const struct entry *entry, const struct cache_key *key) {
    return entry->key.length == key->bytes.length &&
           memcmp(entry->key.bytes, key->bytes.text, key->bytes.length) == 0;
}

static bool find(const struct cache *cache, const struct cache_key *key, const char *name,
                 struct cache_value *out) {
    struct entry entry;
    bool old;
    *out = (struct cache_value){0};
    if (!cache->folder || !folder_read(cache->folder, name, &out->file, &old) ||
        !entry_read(out->file.text, out->file.length, &entry) || !is_of(&entry, key)) {
        cache_value_finish(out);
        return false;
    }
    if (old)
        folder_touch(cache->folder, name);
    out->code = entry.code.bytes;
    out->length = entry.code.length;
    out->number = entry.number;
    return true;
}

static void keep(const struct cache *cache, const struct cache_key *key, const char *name,
                 const struct cache_value *value, uint64_t made_us) {
    struct entry entry = {.label = {key->label.text, key->label.length},
                          .key = {key->bytes.text, key->bytes.length},
                          .code = {value->code, value->length},
                          .number = value->number,
                          .made_us = made_us};
    struct strbuf path = {0}, file = {0};
    struct error ignored = {0};
    entry_write(&entry, &file);
    strbuf_printf(&path, "%s/%s", cache->folder, name);
    if (!file.failed && !path.failed && (int64_t)file.length <= cache->limit_bytes &&
        files_replace(path.text, file.text, file.length, &ignored) == HEDDLE_OK)
        folder_evict(cache->folder, cache->limit_bytes);
    strbuf_finish(&path);
    strbuf_finish(&file);
    error_finish(&ignored);
}

// ---- making -------------------------------------------------------------------------------------

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static enum heddle_status make_value(struct cache *cache, const struct cache_key *key,
                                     cache_make_fn *make, void *context, struct cache_value *out,
                                     struct error *error) {
    *out = (struct cache_value){0};
    uint64_t begin = now_us();
    const char *outer = debug_subject(key->label.text);
    enum heddle_status status = make(context, &out->file, &out->number, error);
    debug_subject(outer);
    log_line(HEDDLE_LOG_INFO, "%s %s in %.1f ms",
             status == HEDDLE_OK ? "compiled" : "cannot compile", key->label.text,
             (double)(now_us() - begin) * 1e-3);
    if (status == HEDDLE_OK && out->file.failed)
        status = error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for compiled code");
    if (status != HEDDLE_OK) {
        cache_value_finish(out);
        return status;
    }
    out->code = out->file.text ? out->file.text : "";
    out->length = out->file.length;
    atomic_fetch_add(&cache->made, 1);
    return HEDDLE_OK;
}

static enum heddle_status make_and_keep(struct cache *cache, const struct cache_key *key,
                                        const char *name, cache_make_fn *make, void *context,
                                        struct cache_value *out, struct error *error) {
    uint64_t begin = now_us();
    enum heddle_status status = make_value(cache, key, make, context, out, error);
    if (status == HEDDLE_OK)
        keep(cache, key, name, out, now_us() - begin);
    return status;
}

// Waits for the lock, or for the entry that its holder makes. True: found.
static bool wait_for(const struct cache *cache, const struct cache_key *key, const char *name,
                     struct lock *lock, struct cache_value *out) {
    uint64_t end = now_us() + 1000 * (uint64_t)cache->most_wait_ms;
    enum lock_outcome outcome = lock_try(lock);
    for (long wait_ms = 1; outcome == LOCK_BUSY && now_us() < end;
         wait_ms = wait_ms < 16 ? 2 * wait_ms : 16) {
        nanosleep(&(struct timespec){0, wait_ms * 1000000}, NULL);
        if (find(cache, key, name, out))
            return true;
        outcome = lock_try(lock);
    }
    return find(cache, key, name, out); // made between looking and locking, perhaps
}

enum heddle_status cache_get(struct cache *cache, const struct cache_key *key, cache_make_fn *make,
                             void *context, struct cache_value *out, bool *out_found,
                             struct error *error) {
    char name[ENTRY_NAME_ROOM];
    struct lock lock;
    *out = (struct cache_value){0};
    *out_found = false;
    if (key->bytes.failed || key->label.failed)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the key of compiled code");
    entry_name(key->bytes.text, key->bytes.length, name);
    *out_found = find(cache, key, name, out);
    if (!*out_found && !keeps(cache))
        return make_value(cache, key, make, context, out, error);
    enum heddle_status status = HEDDLE_OK;
    if (!*out_found) {
        if (lock_open(&lock, cache->folder, entry_place(key->bytes.text, key->bytes.length)))
            *out_found = wait_for(cache, key, name, &lock, out);
        if (!*out_found)
            status = make_and_keep(cache, key, name, make, context, out, error);
        lock_close(&lock);
    }
    if (*out_found) {
        atomic_fetch_add(&cache->found, 1);
        log_line(HEDDLE_LOG_INFO, "found %s in the cache", key->label.text);
    }
    return status;
}

enum heddle_status cache_renew(struct cache *cache, const struct cache_key *key,
                               cache_make_fn *make, void *context, struct cache_value *out,
                               struct error *error) {
    char name[ENTRY_NAME_ROOM];
    atomic_fetch_sub(&cache->found, 1); // it was no use
    if (!keeps(cache))
        return make_value(cache, key, make, context, out, error);
    entry_name(key->bytes.text, key->bytes.length, name);
    return make_and_keep(cache, key, name, make, context, out, error);
}
