// heddle cache: looks at, checks, empties and carries the code that is kept on disk.
#include "cli/cache.h"

#include "cli/command.h"
#include "cli/json.h"
#include "cli/options.h"
#include "compiler/cache/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_row cache_options[] = {
    {"delete", 0, OPTION_FLAG, offsetof(struct cache_args, remove), "",
     "verify: and remove what is damaged", NULL},
    {"json", 0, OPTION_FLAG, offsetof(struct cache_args, json), "", "one JSON object", NULL},
};

typedef int part_fn(const struct cache *cache, const struct folder_files *files,
                    const struct cache_args *args);
typedef enum heddle_status carry_fn(const struct cache *cache, const char *path,
                                    struct archive_counts *out, struct error *error);

static const struct part {
    const char *name;
    part_fn *run;
    carry_fn *carry; // takes a file
} parts[] = {
    {"list", cache_list, NULL},       {"stats", cache_stats, NULL},
    {"verify", cache_verify, NULL},   {"clear", cache_clear, NULL},
    {"export", NULL, archive_export}, {"import", NULL, archive_import},
};
enum { PART_COUNT = sizeof parts / sizeof *parts };

static const struct part *part_named(const char *name) {
    const char *names[PART_COUNT];
    for (int i = 0; i < PART_COUNT; i++) {
        if (strcmp(parts[i].name, name) == 0)
            return &parts[i];
        names[i] = parts[i].name;
    }
    usage_error("cache has no '%s'%s", name, did_you_mean(name, names, PART_COUNT).text);
    return NULL;
}

static void print_counts(const struct part *part, const char *path,
                         const struct archive_counts *counts, bool as_json) {
    bool import = part->carry == archive_import;
    if (!as_json) {
        printf("%s %" PRId64 " entries, %" PRId64 " bytes", import ? "took" : "wrote",
               counts->entries, counts->bytes);
        if (import)
            printf("; %" PRId64 " were there already", counts->present);
        printf("\n");
        return;
    }
    struct json json;
    json_open(&json, stdout);
    json_text(&json, "file", path);
    json_int(&json, "entries", counts->entries);
    json_int(&json, "bytes", counts->bytes);
    json_int(&json, "present", counts->present);
    json_int(&json, "damaged", counts->damaged);
    json_close(&json);
}

static int carry(const struct part *part, const struct cache *cache, const char *path,
                 bool as_json) {
    struct archive_counts counts;
    struct error error = {0};
    enum heddle_status status = part->carry(cache, path, &counts, &error);
    if (counts.damaged)
        complain("left out %" PRId64 " damaged entries", counts.damaged);
    if (status != HEDDLE_OK) {
        if (counts.entries && part->carry == archive_import)
            complain("took %" PRId64 " entries before the failure", counts.entries);
        return fail(&error);
    }
    print_counts(part, path, &counts, as_json);
    return EXIT_DONE;
}

// A folder that is not there is an empty one.
static int run_part(const struct part *part, const struct cache *cache,
                    const struct cache_args *args) {
    struct folder_files files;
    folder_list(cache->folder, &files);
    int status = part->run(cache, &files, args);
    folder_files_finish(&files);
    return status;
}

// The folder, also while the cache is off: what is there can be looked at and cleared.
static int open_cache(struct cache *cache) {
    const char *limit = getenv("HEDDLE_CACHE_LIMIT");
    struct strbuf folder = {0};
    int64_t bytes;
    cache_open(cache);
    if (limit && !cache_parse_bytes(limit, &bytes))
        complain("HEDDLE_CACHE_LIMIT: '%s' is not a number of bytes (512M); %" PRId64 " is taken",
                 limit, cache->limit_bytes);
    if (cache->folder)
        return EXIT_DONE;
    if (!cache_folder(&folder)) {
        strbuf_finish(&folder);
        complain("none of HEDDLE_CACHE_DIR, XDG_CACHE_HOME and HOME is set");
        return EXIT_INPUT;
    }
    cache->folder = folder.text;
    return EXIT_DONE;
}

static int run_cache(const struct text_list *operands, const struct cache_args *args) {
    const struct part *part = operands->count ? part_named(operands->items[0]) : NULL;
    if (!operands->count)
        return usage_error("cache list, stats, verify, clear, export FILE or import FILE?");
    if (!part)
        return EXIT_USAGE;
    int takes = part->carry ? 2 : 1;
    if (operands->count != takes)
        return usage_error("cache %s takes %s", part->name, takes == 2 ? "a file" : "no operand");
    if (args->remove && part->run != cache_verify)
        return usage_error("--delete is of cache verify");
    struct cache cache;
    int status = open_cache(&cache);
    if (status == EXIT_DONE)
        status = part->carry ? carry(part, &cache, operands->items[1], args->json)
                             : run_part(part, &cache, args);
    cache_close(&cache);
    return status;
}

int command_cache(int argc, char **argv) {
    struct cache_args args = {0};
    const struct option_set sets[] = {OPTION_SET(cache_options, &args)};
    const struct option_use use = {
        "cache list|stats|verify|clear|export FILE|import FILE",
        "Compiled code that is kept on disk. An archive holds code that will run:\n"
        "import none from where you would not run a program from.",
        sets, 1};
    struct text_list operands = {0};
    enum parse_outcome outcome = options_parse(&use, argc, argv, &operands);
    int status = outcome == PARSE_WRONG ? EXIT_USAGE : EXIT_DONE;
    if (outcome == PARSE_GO)
        status = run_cache(&operands, &args);
    text_list_finish(&operands);
    return status;
}
