// What a host can watch: messages up to a level, a trace with the time of each stage, NVTX ranges,
// and dumps of what LLVM gets and makes.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "heddle.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- a host that listens ------------------------------------------------------------------------

struct heard {
    char text[1 << 14]; // "LEVEL message" lines
    int count[HEDDLE_LOG_TRACE + 1];
};

static void hear(void *context, enum heddle_log_level level, const char *message) {
    struct heard *heard = context;
    size_t length = strlen(heard->text);
    heard->count[level]++;
    cr_expect_null(strchr(message, '\n'), "%s", message);
    snprintf(heard->text + length, sizeof heard->text - length, "%d %s\n", (int)level, message);
}

static char scratch[SCRATCH_ROOM];

static void setup(void) {
    scratch_make("log", scratch);
    setenv("HEDDLE_CACHE_DIR", scratch, 1);
    unsetenv("HEDDLE_DEBUG");
}

static void teardown(void) {
    scratch_remove(scratch);
}

TestSuite(log, .init = setup, .fini = teardown);

// Loads, plans, runs; what a host hears of it up to `level`. `listens` false: it has no function.
static void work(enum heddle_log_level level, bool listens, struct heard *heard, int *out_cached) {
    enum { TOKENS = 64, DIM = 32 };
    static float numbers[4][TOKENS * DIM];
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = HEDDLE_TARGET_CPU,
                                                   .threads = 1,
                                                   .log = listens ? hear : NULL,
                                                   .log_context = heard,
                                                   .log_level = level};
    struct heddle_context *context;
    struct heddle_pattern *pattern;
    struct heddle_plan *plan;
    *heard = (struct heard){.text = ""};
    cr_assert_eq(heddle_context_create(&options, &context), HEDDLE_OK, "%s", heddle_last_error());
    cr_assert_eq(heddle_pattern_load(context, "causal", NULL, &pattern), HEDDLE_OK, "%s",
                 heddle_last_error());
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = TOKENS;
    problem.dim = DIM;
    cr_assert_eq(heddle_plan_create(context, pattern, &problem, &plan), HEDDLE_OK, "%s",
                 heddle_last_error());
    const struct heddle_tensors tensors = {.q = {numbers[0], {0}},
                                           .k = {numbers[1], {0}},
                                           .v = {numbers[2], {0}},
                                           .o = {numbers[3], {0}}};
    cr_assert_eq(heddle_run(plan, &tensors, NULL), HEDDLE_OK, "%s", heddle_last_error());
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    heddle_plan_info(plan, &info);
    *out_cached = info.cached;
    heddle_plan_destroy(plan);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
}

static void expect(const struct heard *heard, const char *words) {
    cr_expect_not_null(strstr(heard->text, words), "no \"%s\" in\n%s", words, heard->text);
}

// ---- messages -----------------------------------------------------------------------------------

Test(log, levels) {
    struct heard heard;
    int cached;
    work(HEDDLE_LOG_DEFAULT, true, &heard, &cached);
    cr_expect_str_eq(heard.text, "");
    cr_expect_eq(cached, 0);
    work(HEDDLE_LOG_INFO, true, &heard, &cached);
    expect(&heard, "2 context on ");
    expect(&heard, "2 found cpu-planner causal in the cache");
    expect(&heard, "2 found cpu-kernel causal fp32 dim 32 in the cache");
    expect(&heard, "2 planned causal in ");
    cr_expect_eq(heard.count[HEDDLE_LOG_TRACE], 0);
    cr_expect_eq(cached, 1);
    work(HEDDLE_LOG_TRACE, false, &heard, &cached);
    cr_expect_str_eq(heard.text, "");
}

Test(log, a_trace_has_every_stage) {
    struct heard heard;
    int cached;
    static const char *const stages[] = {"heddle_context_create",
                                         "parse, check, analyse",
                                         "emit",
                                         "optimise",
                                         "codegen",
                                         "link",
                                         "heddle_pattern_load",
                                         "bind",
                                         "choose boxes, make lists",
                                         "heddle_plan_create",
                                         "heddle_run"};
    work(HEDDLE_LOG_TRACE, true, &heard, &cached);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        char line[64];
        snprintf(line, sizeof line, "3 %s ", stages[i]);
        expect(&heard, line);
    }
    expect(&heard, "2 compiled cpu-kernel causal fp32 dim 32 in ");
}

Test(log, the_environment_raises_the_level) {
    struct heard heard;
    int cached;
    setenv("HEDDLE_DEBUG", "some,trace", 1);
    work(HEDDLE_LOG_WARNING, true, &heard, &cached);
    cr_expect_gt(heard.count[HEDDLE_LOG_TRACE], 8);
}

Test(log, warnings) {
    struct heard heard;
    int cached;
    setenv("HEDDLE_CACHE_DIR", "/dev/null", 1);
    work(HEDDLE_LOG_DEFAULT, true, &heard, &cached);
    expect(&heard, "1 compiled code is not kept: /dev/null/code cannot be written");
}

Test(log, levels_that_are_none) {
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .log_level = (enum heddle_log_level)9};
    struct heddle_context *context;
    cr_expect_eq(heddle_context_create(&options, &context), HEDDLE_BAD_ARGUMENT);
    cr_expect_not_null(strstr(heddle_last_error(), "log_level"));
}

// ---- dumps --------------------------------------------------------------------------------------

// Names in the folder, in their order.
static void list(const char *folder, char *out, size_t room) {
    struct dirent **names;
    int count = scandir(folder, &names, NULL, alphasort);
    *out = '\0';
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.')
            snprintf(out + strlen(out), room - strlen(out), "%s ", names[i]->d_name);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
}

Test(log, dumps) {
    struct heard heard;
    char folder[SCRATCH_ROOM + 16], names[1024], path[sizeof folder + 80], begin[32] = "";
    int cached;
    snprintf(folder, sizeof folder, "%s/a/dump", scratch);
    setenv("HEDDLE_DUMP_DIR", folder, 1);
    work(HEDDLE_LOG_DEFAULT, true, &heard, &cached); // fills the cache: dumps do not come from it
    setenv("HEDDLE_DEBUG", "dump-llvm,verify", 1);
    work(HEDDLE_LOG_INFO, true, &heard, &cached);
    list(folder, names, sizeof names);
    cr_expect_str_eq(names,
                     "0001-cpu-planner-causal.emitted.ll 0002-cpu-planner-causal.optimised.ll "
                     "0003-cpu-kernel-causal-fp32-dim-32.emitted.ll "
                     "0004-cpu-kernel-causal-fp32-dim-32.optimised.ll ");
    snprintf(path, sizeof path, "%s/0003-cpu-kernel-causal-fp32-dim-32.emitted.ll", folder);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_expect_gt(fread(begin, 1, sizeof begin - 1, file), 8);
    fclose(file);
    cr_expect_eq(strncmp(begin, "; ModuleID", 10), 0, "%s", begin);
    work(HEDDLE_LOG_INFO, true, &heard, &cached); // another process would do the same
    list(folder, names, sizeof names);
    cr_expect_not_null(strstr(names, "0008-cpu-kernel"), "%s", names);
    setenv("HEDDLE_DUMP_DIR", "/dev/null/no", 1);
    work(HEDDLE_LOG_INFO, true, &heard, &cached);
    expect(&heard, "1 cannot write a dump to /dev/null/no");
}

// ---- NVTX ---------------------------------------------------------------------------------------

Test(log, ranges) {
    struct heard heard;
    int cached;
    setenv("NVTX_INJECTION64_PATH", HEDDLE_TEST_NVTX, 1);
    work(HEDDLE_LOG_DEFAULT, false, &heard, &cached);
    void *library = dlopen(HEDDLE_TEST_NVTX, RTLD_NOW | RTLD_NOLOAD);
    cr_assert_not_null(library, "%s", dlerror());
    const char *(*taken)(void);
    void *symbol = dlsym(library, "fake_nvtx_text");
    memcpy(&taken, &symbol, sizeof symbol);
    const char *text = taken();
    cr_expect_eq(
        strncmp(text, "(heddle_context_create)(heddle_pattern_load(parse, check, analyse)", 66), 0,
        "%s", text);
    cr_expect_not_null(strstr(text, "(heddle_run)"), "%s", text);
    int depth = 0;
    for (const char *at = text; *at; at++) {
        depth += (*at == '(') - (*at == ')');
        cr_expect_geq(depth, 0);
    }
    cr_expect_eq(depth, 0, "%s", text);
}
