// heddle cache list, stats, verify, clear.
#include "cli/cache.h"

#include "cli/command.h"
#include "cli/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

// ---- reading ------------------------------------------------------------------------------------

// An imported entry may hold anything.
static void copy_label(const struct entry *entry, struct cache_item *out) {
    size_t length = entry->label.length;
    if (length >= sizeof out->label)
        length = sizeof out->label - 1;
    for (size_t i = 0; i < length; i++) {
        char c = entry->label.bytes[i];
        out->label[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    out->label[length] = '\0';
    snprintf(out->kind, sizeof out->kind, "%.*s", (int)strcspn(out->label, " "), out->label);
}

void cache_item_read(const char *folder, const struct folder_file *file, struct cache_item *out) {
    char name[ENTRY_NAME_ROOM];
    struct strbuf bytes = {0};
    struct entry entry;
    struct timespec now;
    bool old;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct cache_item){.file = file};
    out->used_s = difftime(now.tv_sec, file->used.tv_sec);
    if (folder_read(folder, file->name, &bytes, &old) &&
        entry_read(bytes.text, bytes.length, &entry)) {
        entry_name(entry.key.bytes, entry.key.length, name);
        out->whole = strcmp(name, file->name) == 0;
        out->made_ms = (double)entry.made_us * 1e-3;
        copy_label(&entry, out);
    }
    strbuf_finish(&bytes);
}

// ---- list ---------------------------------------------------------------------------------------

static void list_text(const struct cache_item *item) {
    printf("%10" PRId64 " bytes  made in %7.1f ms  used %8.0f s ago  %s\n", item->file->bytes,
           item->made_ms, item->used_s, item->whole ? item->label : "damaged");
}

static void list_json(struct json *json, const struct cache_item *item) {
    json_begin(json, NULL, '{');
    json_text(json, "name", item->file->name);
    json_bool(json, "whole", item->whole);
    json_text(json, "kind", item->kind);
    json_text(json, "label", item->label);
    json_int(json, "bytes", item->file->bytes);
    json_real(json, "made_ms", item->made_ms);
    json_real(json, "used_s", item->used_s);
    json_end(json, '{');
}

int cache_list(const struct cache *cache, const struct folder_files *files,
               const struct cache_args *args) {
    struct json json;
    struct cache_item item;
    if (args->json) {
        json_open(&json, stdout);
        json_text(&json, "folder", cache->folder);
        json_begin(&json, "entries", '[');
    }
    for (int i = 0; i < files->count; i++) {
        if (files->files[i].temporary)
            continue;
        cache_item_read(cache->folder, &files->files[i], &item);
        if (args->json)
            list_json(&json, &item);
        else
            list_text(&item);
    }
    if (args->json) {
        json_end(&json, '[');
        json_close(&json);
    }
    return EXIT_DONE;
}

// ---- stats --------------------------------------------------------------------------------------

enum { MOST_KINDS = 16 };

struct kind_total {
    char kind[32];
    int64_t entries, bytes;
    double made_ms;
};

struct totals {
    struct kind_total all, kinds[MOST_KINDS];
    int kind_count;
    int64_t damaged, temporaries;
};

static void add_to(struct kind_total *total, const struct cache_item *item) {
    total->entries++;
    total->bytes += item->file->bytes;
    total->made_ms += item->made_ms;
}

static void count(struct totals *totals, const struct cache_item *item) {
    int k = 0;
    add_to(&totals->all, item);
    totals->damaged += !item->whole;
    if (!item->whole)
        return;
    while (k < totals->kind_count && strcmp(totals->kinds[k].kind, item->kind) != 0)
        k++;
    if (k == MOST_KINDS) // of an import; in `all` it is
        return;
    if (k == totals->kind_count)
        memcpy(totals->kinds[totals->kind_count++].kind, item->kind, sizeof item->kind);
    add_to(&totals->kinds[k], item);
}

static void stats_text(const struct cache *cache, const struct totals *totals) {
    printf("folder       %s\n", cache->folder);
    printf("entries      %" PRId64 ", %" PRId64 " of at most %" PRId64
           " bytes, made in %.1f ms in all\n",
           totals->all.entries, totals->all.bytes, cache->limit_bytes, totals->all.made_ms);
    for (int k = 0; k < totals->kind_count; k++)
        printf("%-12s %" PRId64 ", %" PRId64 " bytes, made in %.1f ms\n", totals->kinds[k].kind,
               totals->kinds[k].entries, totals->kinds[k].bytes, totals->kinds[k].made_ms);
    printf("damaged      %" PRId64 "\nunfinished   %" PRId64 "\n", totals->damaged,
           totals->temporaries);
}

static void stats_json(const struct cache *cache, const struct totals *totals) {
    struct json json;
    json_open(&json, stdout);
    json_text(&json, "folder", cache->folder);
    json_int(&json, "entries", totals->all.entries);
    json_int(&json, "bytes", totals->all.bytes);
    json_int(&json, "limit_bytes", cache->limit_bytes);
    json_real(&json, "made_ms", totals->all.made_ms);
    json_int(&json, "damaged", totals->damaged);
    json_int(&json, "unfinished", totals->temporaries);
    json_begin(&json, "kinds", '[');
    for (int k = 0; k < totals->kind_count; k++) {
        json_begin(&json, NULL, '{');
        json_text(&json, "kind", totals->kinds[k].kind);
        json_int(&json, "entries", totals->kinds[k].entries);
        json_int(&json, "bytes", totals->kinds[k].bytes);
        json_real(&json, "made_ms", totals->kinds[k].made_ms);
        json_end(&json, '{');
    }
    json_end(&json, '[');
    json_close(&json);
}

int cache_stats(const struct cache *cache, const struct folder_files *files,
                const struct cache_args *args) {
    struct totals totals = {0};
    struct cache_item item;
    for (int i = 0; i < files->count; i++) {
        totals.temporaries += files->files[i].temporary;
        if (files->files[i].temporary)
            continue;
        cache_item_read(cache->folder, &files->files[i], &item);
        count(&totals, &item);
    }
    if (args->json)
        stats_json(cache, &totals);
    else
        stats_text(cache, &totals);
    return EXIT_DONE;
}

// ---- verify, clear ------------------------------------------------------------------------------

int cache_verify(const struct cache *cache, const struct folder_files *files,
                 const struct cache_args *args) {
    int64_t entries = 0, damaged = 0, removed = 0;
    struct cache_item item;
    for (int i = 0; i < files->count; i++) {
        if (files->files[i].temporary)
            continue;
        cache_item_read(cache->folder, &files->files[i], &item);
        entries++;
        if (item.whole)
            continue;
        damaged++;
        complain("%s/%s is damaged, or not this user's", cache->folder, item.file->name);
        removed += args->remove && folder_remove(cache->folder, item.file->name);
    }
    if (args->json) {
        struct json json;
        json_open(&json, stdout);
        json_int(&json, "entries", entries);
        json_int(&json, "damaged", damaged);
        json_int(&json, "removed", removed);
        json_close(&json);
    } else {
        printf("%" PRId64 " entries, %" PRId64 " damaged, %" PRId64 " removed\n", entries, damaged,
               removed);
    }
    return damaged > removed ? EXIT_INPUT : EXIT_DONE;
}

int cache_clear(const struct cache *cache, const struct folder_files *files,
                const struct cache_args *args) {
    int64_t removed = 0, left = 0;
    for (int i = 0; i < files->count; i++) {
        bool gone = folder_remove(cache->folder, files->files[i].name);
        removed += gone && !files->files[i].temporary;
        left += !gone;
    }
    if (args->json) {
        struct json json;
        json_open(&json, stdout);
        json_int(&json, "removed", removed);
        json_close(&json);
    } else {
        printf("removed %" PRId64 " entries\n", removed);
    }
    if (left)
        complain("%" PRId64 " files of %s cannot be removed", left, cache->folder);
    return left ? EXIT_INPUT : EXIT_DONE;
}
