// heddle check: parses and checks pattern files, without a problem.
#include "cli/command.h"
#include "cli/json.h"
#include "cli/problem.h"
#include "compiler/bundle/bundle.h"
#include "runtime/shipped.h"

#include <stdio.h>
#include <string.h>

struct check_args {
    struct text_list consts;
    const char *pattern;
    bool json;
};

#define MEMBER(name) offsetof(struct check_args, name)
static const struct option_row check_rows[] = {
    {"pattern", 0, OPTION_TEXT, MEMBER(pattern), "NAME",
     "(the one named like the file, else the last)", NULL},
    {"const", 0, OPTION_LIST, MEMBER(consts), "name=V", "a compile-time constant", NULL},
    {"json", 0, OPTION_FLAG, MEMBER(json), "", "one JSON object per right file", NULL},
};

static void print_text(const char *file, const struct pattern *pattern) {
    printf("%s: pattern %s, axes", file, pattern->name);
    for (int i = 0; i < pattern->axis_count; i++)
        printf("%s %s", i ? "," : "", pattern->axes[i]);
    for (int i = 0; i < pattern->const_count; i++)
        printf("%s %s", i ? "," : "; const", pattern->consts[i].name);
    for (int i = 0; i < pattern->param_count; i++)
        printf("%s %s%s", i ? "," : "; param", pattern->params[i].name,
               pattern->params[i].per_head ? "[head]" : "");
    int given = 0, derived = 0;
    for (int i = 0; i < pattern->input_count; i++)
        if (pattern_is_given(&pattern->inputs[i]))
            printf("%s %s", given++ ? "," : "; input", pattern->inputs[i].name);
    for (int i = 0; i < pattern->input_count; i++)
        if (pattern->inputs[i].derived)
            printf("%s %s", derived++ ? "," : "; computes", pattern->inputs[i].name);
    putchar('\n');
}

static int given_inputs(const struct pattern *pattern) {
    int count = 0;
    for (int i = 0; i < pattern->input_count; i++)
        count += pattern_is_given(&pattern->inputs[i]);
    return count;
}

static void print_json(const char *file, const struct pattern *pattern) {
    struct json json;
    json_open(&json, stdout);
    json_text(&json, "file", file);
    json_text(&json, "pattern", pattern->name);
    json_int(&json, "axes", pattern->axis_count);
    json_int(&json, "params", pattern->param_count);
    int derived = 0;
    for (int i = 0; i < pattern->input_count; i++)
        derived += pattern->inputs[i].derived != NULL;
    json_int(&json, "inputs", given_inputs(pattern));
    json_int(&json, "computed", derived);
    json_bool(&json, "has_score", pattern->score != NULL);
    json_close(&json);
}

// Reading a bundle is checking it.
static int check_bundle(const struct check_args *args, const char *file, const char *path,
                        const struct check_options *options) {
    struct program *program;
    struct strbuf contents = {0};
    struct error error = {0};
    if (program_create(path, NULL, 0, options, &program, &error) != HEDDLE_OK)
        return fail(&error);
    bundle_contents(program->bundle, &contents);
    if (args->json) {
        print_json(file, program->pattern);
    } else {
        print_text(file, program->pattern);
        printf("%s\n", contents.text ? contents.text : "");
    }
    strbuf_finish(&contents);
    program_destroy(program);
    return EXIT_DONE;
}

static int check_one(const struct check_args *args, const char *file, struct arena *arena) {
    char path[4096], shipped[4096];
    const char *const import_dirs[] = {shipped};
    struct check_options options = {.pattern = args->pattern, .import_dirs = import_dirs};
    options.import_dir_count = shipped_patterns_dir(shipped, sizeof shipped);
    if (!parse_consts(&args->consts, arena, &options))
        return EXIT_USAGE;
    shipped_find_pattern(file, path);
    if (bundle_is(path, NULL, 0))
        return check_bundle(args, file, path, &options);
    struct diags diags;
    struct error error = {0};
    struct pattern *pattern = NULL;
    diags_init(&diags, arena);
    enum heddle_status status = check_file(arena, &diags, path, &options, &pattern, &error);
    struct strbuf text = {0};
    diags_print(&diags, &text);
    if (text.length)
        fputs(text.text, stderr);
    strbuf_finish(&text);
    if (status == HEDDLE_PATTERN_ERROR) {
        error_finish(&error);
        return EXIT_PATTERN;
    }
    if (status != HEDDLE_OK)
        return fail(&error);
    if (args->json)
        print_json(file, pattern);
    else
        print_text(file, pattern);
    return EXIT_DONE;
}

// Memory that runs out comes back here.
static int check_guarded(const struct check_args *args, const char *file) {
    struct arena arena;
    jmp_buf escape;
    arena_init(&arena, 0);
    arena.escape = &escape;
    int status;
    if (setjmp(escape) == 0) {
        status = check_one(args, file, &arena);
    } else {
        complain("%s: too large for the memory that a check may use", file);
        status = EXIT_DEVICE;
    }
    arena_finish(&arena);
    return status;
}

int command_check(int argc, char **argv) {
    struct check_args args = {0};
    const struct option_set sets[] = {OPTION_SET(check_rows, &args)};
    const struct option_use use = {"check FILE...", "Checks pattern files.", sets, 1};
    struct text_list files = {0};
    enum parse_outcome outcome = options_parse(&use, argc, argv, &files);
    int status = outcome == PARSE_WRONG ? EXIT_USAGE : EXIT_DONE;
    if (outcome == PARSE_GO && files.count == 0)
        status = usage_error("check which files?");
    // Every file is checked; the status is the first failure's.
    for (int i = 0; outcome == PARSE_GO && i < files.count; i++) {
        int one = check_guarded(&args, files.items[i]);
        status = status ? status : one;
    }
    text_list_finish(&files);
    text_list_finish(&args.consts);
    return status;
}
