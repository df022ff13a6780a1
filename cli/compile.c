// heddle compile: the text of any stage of the pipeline.
#include "cli/bundle.h"
#include "cli/command.h"
#include "cli/problem.h"
#include "compiler/pipeline.h"
#include "dsl/check.h"
#include "runtime/dump.h"
#include "runtime/shipped.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_STAGES = 32, MAX_FILE_BYTES = 16 << 20 };

struct compile_args {
    const char *emit, *output;
    struct bundle_args bundle;
};

#define MEMBER(name) offsetof(struct compile_args, name)
static const struct option_row compile_options[] = {
    {"emit", 0, OPTION_TEXT, MEMBER(emit), "STAGE,...",
     "ast pattern facts schedule llvm asm ptx plan", NULL},
    {"output", 'o', OPTION_TEXT, MEMBER(output), "FILE", "(standard output)", NULL},
    {"sweep", 0, OPTION_LIST, MEMBER(bundle.sweeps), "name=V,V,...",
     "for a bundle: several problems", NULL},
    {"cpu", 0, OPTION_TEXT, MEMBER(bundle.cpus), "LEVEL,...",
     "for a bundle: CPUs (x86-64-v3,x86-64-v4)", NULL},
    {"ptxas", 0, OPTION_TEXT, MEMBER(bundle.ptxas), "PROGRAM",
     "for a bundle: makes cubins (in PATH); none", NULL},
};

struct compile {
    struct compile_args args;
    struct problem_args problem_args;
    const char *stages[MAX_STAGES]; // asked for, in the pipeline's order
    int stage_count;
    struct problem problem;
    struct plan *plan;
    struct strbuf out;
};

// Notes which of the known stages the comma list names. `list` is cut up.
static int mark_stages(char *list, const char *const *known, int known_count, bool *asked) {
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        int i = 0;
        while (i < known_count && strcmp(name, known[i]) != 0)
            i++;
        if (i == known_count)
            return usage_error("--emit: this version has no stage '%s'%s", name,
                               did_you_mean(name, known, known_count).text);
        asked[i] = true;
    }
    return EXIT_DONE;
}

// --emit's names, in the order of the pipeline.
static int choose_stages(struct compile *compile) {
    const char *const *known = pipeline_stage_names();
    bool asked[MAX_STAGES] = {false};
    int known_count = 0;
    while (known[known_count] && known_count < MAX_STAGES)
        known_count++;
    if (!compile->args.emit)
        return usage_error("compile what? --emit=STAGE,... (heddle compile --help)");
    char *list = strdup(compile->args.emit);
    int status = list ? mark_stages(list, known, known_count, asked) : EXIT_DEVICE;
    free(list);
    for (int i = 0; i < known_count; i++)
        if (asked[i])
            compile->stages[compile->stage_count++] = known[i];
    if (status == EXIT_DONE && compile->stage_count == 0)
        return usage_error("--emit: no stage is named");
    return status;
}

static bool is_text_stage(const char *stage) { // needs only the file
    return strcmp(stage, "ast") == 0;
}

static bool needs_plan(const char *stage) {
    return !is_text_stage(stage) && strcmp(stage, "pattern") != 0 && strcmp(stage, "facts") != 0;
}

struct source_text {
    const char *path;
    char *text; // owned
    size_t length_bytes;
};

static int read_source(struct source_text *source) {
    const char *problem = NULL;
    FILE *file = fopen(source->path, "rb");
    source->text = file ? malloc(MAX_FILE_BYTES + 1) : NULL;
    if (source->text)
        source->length_bytes = fread(source->text, 1, MAX_FILE_BYTES + 1, file);
    if (!source->text || ferror(file))
        problem = strerror(errno);
    else if (source->length_bytes > MAX_FILE_BYTES)
        problem = "is larger than 16 MiB";
    if (file)
        fclose(file);
    if (problem)
        complain("%s: %s", source->path, problem);
    return problem ? EXIT_INPUT : EXIT_DONE;
}

static int dump_ast_text(struct compile *compile, const struct source_text *source,
                         struct arena *arena) {
    struct diags diags;
    struct error error = {0};
    diags_init(&diags, arena);
    enum heddle_status status = parse_dump(arena, &diags, source->path, source->text,
                                           source->length_bytes, &compile->out, &error);
    if (status != HEDDLE_PATTERN_ERROR)
        return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
    struct strbuf shown = {0};
    diags_print(&diags, &shown);
    fputs(shown.text ? shown.text : "heddle: no memory for the diagnostics\n", stderr);
    strbuf_finish(&shown);
    error_finish(&error);
    return EXIT_PATTERN;
}

// Memory that runs out comes back here.
static int dump_ast_guarded(struct compile *compile, const struct source_text *source) {
    struct arena arena;
    jmp_buf escape;
    arena_init(&arena, 0);
    arena.escape = &escape;
    int status;
    if (setjmp(escape) == 0) {
        status = dump_ast_text(compile, source, &arena);
    } else {
        complain("%s: too large for the memory that parsing may use", source->path);
        status = EXIT_DEVICE;
    }
    arena_finish(&arena);
    return status;
}

static int dump_ast(struct compile *compile, const char *file) {
    char path[4096];
    struct source_text source = {.path = path};
    shipped_find_pattern(file, path);
    if (bundle_is(path, NULL, 0))
        return usage_error("%s is a bundle: it holds no text, and no stage 'ast'", file);
    int status = read_source(&source);
    if (status == EXIT_DONE)
        status = dump_ast_guarded(compile, &source);
    free(source.text);
    return status;
}

// The pattern is compiled, and the plan made, when the first stage needs them.
static int dump_later(struct compile *compile, const char *stage, const char *file) {
    int status = EXIT_DONE;
    if (!compile->problem.program)
        status = problem_load(&compile->problem, &compile->problem_args, file);
    if (status == EXIT_DONE && needs_plan(stage) && !compile->plan) {
        status = problem_bind(&compile->problem, &compile->problem_args, NULL, true);
        if (status == EXIT_DONE)
            status = problem_plan(&compile->problem, &compile->problem_args, false, &compile->plan);
    }
    struct error error = {0};
    if (status == EXIT_DONE && program_dump(compile->problem.program, compile->plan, stage,
                                            &compile->out, &error) != HEDDLE_OK)
        status = fail(&error);
    return status;
}

static int write_file(const char *path, const struct strbuf *text) {
    FILE *file = path ? fopen(path, "wb") : stdout;
    bool written =
        file && !text->failed && fwrite(text->text, 1, text->length, file) == text->length;
    if (file && path)
        written = fclose(file) == 0 && written;
    if (!written)
        complain("%s: %s", path ? path : "standard output", strerror(errno));
    return written ? EXIT_DONE : EXIT_INPUT;
}

static int emit_stages(struct compile *compile, const char *file) {
    int status = EXIT_DONE;
    for (int i = 0; status == EXIT_DONE && i < compile->stage_count; i++) {
        if (compile->stage_count > 1)
            strbuf_printf(&compile->out, "== %s ==\n", compile->stages[i]);
        status = is_text_stage(compile->stages[i]) ? dump_ast(compile, file)
                                                   : dump_later(compile, compile->stages[i], file);
    }
    return status == EXIT_DONE ? write_file(compile->args.output, &compile->out) : status;
}

// ---- what is taken along ------------------------------------------------------------------------

static bool is_image(const char *stage) {
    return strcmp(stage, "bundle") == 0 || strcmp(stage, "c") == 0;
}

// FILE.c, with the header FILE.h beside it; FILE is named with or without the end.
static int write_two(const struct compile *compile, const struct strbuf *contents) {
    const char *path = compile->args.output;
    size_t length = strlen(path);
    bool ends = length > 2 && strcmp(path + length - 2, ".c") == 0;
    struct strbuf names[2] = {{0}, {0}}, texts[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        strbuf_add(&names[i], path, ends ? length - 2 : length);
        strbuf_puts(&names[i], i ? ".h" : ".c");
    }
    int status = names[0].failed || names[1].failed ? EXIT_DEVICE : EXIT_DONE;
    if (status == EXIT_DONE) {
        const char *slash = strrchr(names[1].text, '/');
        emit_c_source(&compile->problem, slash ? slash + 1 : names[1].text, &compile->out,
                      &texts[0]);
        emit_c_header(&compile->problem, contents, &texts[1]);
    }
    for (int i = 0; i < 2 && status == EXIT_DONE; i++)
        status = write_file(names[i].text, &texts[i]);
    for (int i = 0; i < 2; i++) {
        strbuf_finish(&names[i]);
        strbuf_finish(&texts[i]);
    }
    return status;
}

// Without a file: one source that needs no header.
static int write_one(const struct compile *compile, const struct strbuf *contents) {
    struct strbuf text = {0};
    emit_c_header(&compile->problem, contents, &text);
    emit_c_source(&compile->problem, NULL, &compile->out, &text);
    int status = write_file(NULL, &text);
    strbuf_finish(&text);
    return status;
}

static int write_image(const struct compile *compile, bool is_c, const struct strbuf *contents) {
    const char *path = compile->args.output;
    if (is_c && !path)
        return write_one(compile, contents);
    int status = is_c ? write_two(compile, contents) : write_file(path, &compile->out);
    if (status == EXIT_DONE && path)
        printf("%s\n", contents->text ? contents->text : "");
    return status;
}

static int emit_image(struct compile *compile, const char *file) {
    bool is_c = strcmp(compile->stages[0], "c") == 0;
    struct problem_args *problem_args = &compile->problem_args;
    struct strbuf contents = {0};
    if (!is_c && !compile->args.output && isatty(STDOUT_FILENO))
        return usage_error("--emit=bundle: a bundle is nothing for a terminal; -o FILE.hbundle");
    // One problem is written down, for whichever target there is.
    if (is_c && !problem_args->dtype && problem_args->target != HEDDLE_TARGET_CPU + 1)
        problem_args->dtype = HEDDLE_BF16 + 1;
    int status = bundle_make(&compile->problem, &compile->args.bundle, problem_args, file,
                             &compile->out, &contents);
    if (status == EXIT_DONE)
        status = write_image(compile, is_c, &contents);
    strbuf_finish(&contents);
    return status;
}

static int execute(void *context, const char *file) {
    struct compile *compile = context;
    bool image = false;
    int status = choose_stages(compile);
    for (int i = 0; i < compile->stage_count; i++)
        image |= is_image(compile->stages[i]);
    if (status == EXIT_DONE && image && compile->stage_count > 1)
        status = usage_error("--emit: bundle and c are made alone");
    if (status == EXIT_DONE)
        status = image ? emit_image(compile, file) : emit_stages(compile, file);
    strbuf_finish(&compile->out);
    plan_destroy(compile->plan);
    problem_finish(&compile->problem);
    return status;
}

int command_compile(int argc, char **argv) {
    struct compile compile = {0};
    const struct option_set sets[] = {OPTION_SET(compile_options, &compile.args),
                                      PROBLEM_SET(&compile.problem_args)};
    const struct option_use use = {
        "compile FILE --emit=STAGE,...",
        "Shows what a stage makes; one more is plan-ptx, the planner of a GPU. bundle\n"
        "and c write compiled code that libheddle-rt runs. Stages that need a problem\n"
        "take 4096, 64 x 64 or 16 x 32 x 32 without --axes.",
        sets, 2};
    int status = problem_command(&use, &compile.problem_args, argc, argv, execute, &compile);
    text_list_finish(&compile.args.bundle.sweeps);
    return status;
}
