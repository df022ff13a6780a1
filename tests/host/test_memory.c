// Memory runs out once, at every place where heddle asks for some: each call has its status, and
// what was made goes with its destruction. And heddle_run asks for none.
#include "heddle.h"
#include "tests/host/memory.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 96, HEADS = 4, DIM = 32, COUNT = HEADS * TOKENS * DIM };

static char scratch[SCRATCH_ROOM];

static void setup(void) {
    scratch_make("memory", scratch);
    setenv("HEDDLE_CACHE_DIR", scratch, 1);
    unsetenv("HEDDLE_DEBUG");
}

static void teardown(void) {
    scratch_remove(scratch);
}

TestSuite(memory, .init = setup, .fini = teardown, .timeout = 600);

// ---- a session ----------------------------------------------------------------------------------

static const char TEXT[] =
    "import \"causal.heddle\";\n"
    "pattern p { axes i; const c = 3; param int far[head] = 9; param real part = 0.5;\n"
    "  input int doc[i]; input set named[head];\n"
    "  map near[a in 0 .. c] = a < 2;\n"
    "  require part > 0 : \"part is a part\";\n"
    "  keep doc[k.i] == doc[q.i] and q.i - k.i < far[head] and (near[k.i % c] or k.i in "
    "named[head]);\n"
    "  score s * part; }\n";

struct session {
    const char *text; // NULL: the shipped pattern `name`
    const char *name;
    enum heddle_target target;
    const struct heddle_param *params;
    int param_count;
    const struct heddle_input *inputs;
    int input_count;
    bool replans;
    enum heddle_status status; // what comes of it
};

// What the calls gave, in their order; the first that failed is the last that was made.
struct outcome {
    enum heddle_status status;
    const char *call;
};

// Of 16 bytes each at least, which the GPU wants.
_Alignas(64) static float numbers[4][COUNT];

static struct heddle_tensors tensors_of(int64_t dim_stride) {
    struct heddle_tensors tensors = {.q = {numbers[0], {0}},
                                     .k = {numbers[1], {0}},
                                     .v = {numbers[2], {0}},
                                     .o = {numbers[3], {0}}};
    if (dim_stride > 1) { // [b, h, d, n]
        const int64_t strides[] = {COUNT, TOKENS * DIM, 1, TOKENS};
        struct heddle_tensor *all[] = {&tensors.q, &tensors.k, &tensors.v, &tensors.o};
        for (int i = 0; i < 4; i++)
            memcpy(all[i]->strides, strides, sizeof strides);
    }
    return tensors;
}

static enum heddle_status load(const struct session *s, struct heddle_context *context,
                               struct heddle_pattern **out) {
    if (!s->text)
        return heddle_pattern_load(context, s->name, NULL, out);
    return heddle_pattern_parse(context, "p.heddle", s->text, strlen(s->text), NULL, out);
}

static enum heddle_status run_all(const struct session *s, struct heddle_plan *plan,
                                  const char **out_call) {
    struct heddle_lists lists = {.struct_bytes = sizeof lists};
    const struct heddle_tensors close = tensors_of(1), apart = tensors_of(TOKENS);
    *out_call = "heddle_run";
    enum heddle_status status = heddle_run(plan, &close, NULL);
    if (status == HEDDLE_OK && s->target == HEDDLE_TARGET_CPU)
        status = heddle_run(plan, &apart, NULL);
    if (status == HEDDLE_OK && s->replans) {
        *out_call = "heddle_replan";
        status = heddle_replan(plan, s->inputs, s->input_count, NULL);
    }
    if (status == HEDDLE_OK && s->replans) {
        *out_call = "heddle_plan_lists";
        status = heddle_plan_lists(plan, NULL, &lists);
    }
    return status;
}

static struct outcome play(const struct session *s) {
    const char *const dirs[] = {"/tmp"};
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = s->target,
                                                   .threads = 2,
                                                   .import_dirs = dirs,
                                                   .import_dir_count = 1};
    struct heddle_context *context = NULL;
    struct heddle_pattern *pattern = NULL;
    struct heddle_plan *plan = NULL;
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = TOKENS;
    problem.heads = problem.kv_heads = HEADS;
    problem.dim = DIM;
    problem.dtype = s->target == HEDDLE_TARGET_CUDA ? HEDDLE_BF16 : HEDDLE_F32;
    problem.params = s->params;
    problem.param_count = s->param_count;
    problem.inputs = s->inputs;
    problem.input_count = s->input_count;
    problem.tuned = 1;
    struct outcome out = {heddle_context_create(&options, &context), "heddle_context_create"};
    cr_assert_eq(out.status == HEDDLE_OK, context != NULL);
    if (out.status == HEDDLE_OK) {
        out = (struct outcome){load(s, context, &pattern), "heddle_pattern_load"};
        cr_assert_eq(out.status == HEDDLE_OK, pattern != NULL);
    }
    if (out.status == HEDDLE_OK) {
        out = (struct outcome){heddle_plan_create(context, pattern, &problem, &plan),
                               "heddle_plan_create"};
        cr_assert_eq(out.status == HEDDLE_OK, plan != NULL);
    }
    if (out.status == HEDDLE_OK)
        out.status = run_all(s, plan, &out.call);
    heddle_plan_destroy(plan);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    return out;
}

// ---- every place --------------------------------------------------------------------------------

// Where all is compiled each time; HEDDLE_TEST_STEP=1 goes everywhere, in minutes.
static long step_of_compiling(void) {
    const char *step = getenv("HEDDLE_TEST_STEP");
    return step && atol(step) > 0 ? atol(step) : 29;
}

// Plays the session with its first allocation failing, then every `step`-th, until there are no
// more.
static void walk(const char *name, const struct session *s, long step) {
    long tried = 0, refused = 0;
    memory_fail(0);
    struct outcome whole =
        play(s); // also makes what is made once in a process, and fills the cache
    cr_assert_eq(whole.status, s->status, "%s, %s: %s", name, whole.call, heddle_last_error());
    long held = memory_held();
    for (long n = 1;; n += step) {
        memory_fail(n);
        struct outcome out = play(s);
        bool failed = memory_failed();
        long newest = memory_newest();
        memory_fail(0);
        cr_assert(out.status == HEDDLE_OUT_OF_MEMORY || out.status == s->status,
                  "%s, allocation %ld: %s gives \"%s\", %s", name, n, out.call,
                  heddle_status_name(out.status), heddle_last_error());
        if (out.status == HEDDLE_OUT_OF_MEMORY)
            cr_assert_not_null(strstr(heddle_last_error(), "memory"), "%s, allocation %ld: %s",
                               name, n, heddle_last_error());
        cr_assert_eq(
            memory_held(), held,
            "%s, allocation %ld: %ld blocks stay after %s (%s), the newest of allocation %ld", name,
            n, memory_held() - held, out.call, heddle_status_name(out.status), newest);
        if (!failed)
            break;
        tried++;
        refused += out.status == HEDDLE_OUT_OF_MEMORY;
    }
    fprintf(stderr, "%s: %ld allocations failed, %ld calls with them\n", name, tried, refused);
    cr_assert_gt(2 * refused, tried, "most failures are failures of the call");
}

static const struct heddle_param PARAMS[] = {{"far", HEADS, (const int64_t[]){30, 60, 90, 5}, NULL},
                                             {"part", 1, NULL, (const double[]){0.25}}};
static const int32_t documents[TOKENS] = {1, 1, 1, 2};
static const int32_t elements[HEADS][4] = {{1, 2, 3, -1}, {5, 5, -1, 0}};
static const struct heddle_input INPUTS[] = {
    {.name = "doc", .data = documents, .element = HEDDLE_INT32, .rank = 1, .shape = {TOKENS}},
    {.name = "named", .data = elements, .element = HEDDLE_INT32, .rank = 2, .shape = {HEADS, 4}}};

static const struct session SHIPPED = {.name = "window", .target = HEDDLE_TARGET_CPU};
static const struct session WRITTEN = {.text = TEXT,
                                       .target = HEDDLE_TARGET_CPU,
                                       .params = PARAMS,
                                       .param_count = 2,
                                       .inputs = INPUTS,
                                       .input_count = 2};

Test(memory, a_shipped_pattern_out_of_the_cache) {
    walk("window", &SHIPPED, 1);
}

Test(memory, parameters_and_inputs) {
    walk("parameters and inputs", &WRITTEN, 1);
}

// ---- mistakes, whose messages take memory -------------------------------------------------------

Test(memory, mistakes) {
    static const char syntax[] = "import \"causal.heddle\"; pattern p { axes i keep k.j; } }",
                      names[] = "pattern p { axes i; keep q.i in wndow(3) and kk.i; }",
                      require[] =
                          "pattern p { axes i; param int b = 1; require b > 1 : \"b\";"
                          " require b > 2; keep b; keep k.i < b; }",
                      divides[] = "pattern p { axes i; param int b = 0; keep k.i / b == 1; }";
    const struct heddle_param unknown = {"wide", 1, (const int64_t[]){3}, NULL};
    struct heddle_input short_one = INPUTS[0];
    short_one.shape[0] = TOKENS - 1;
    const struct session sessions[] = {
        {.text = syntax, .status = HEDDLE_PATTERN_ERROR},
        {.text = names, .status = HEDDLE_PATTERN_ERROR},
        {.text = require, .status = HEDDLE_PATTERN_ERROR},
        {.text = divides, .status = HEDDLE_PATTERN_ERROR},
        {.name = "no_such", .status = HEDDLE_IO_ERROR},
        {.name = "window", .params = &unknown, .param_count = 1, .status = HEDDLE_BAD_ARGUMENT},
        {.text = TEXT,
         .params = PARAMS,
         .param_count = 2,
         .inputs = &short_one,
         .input_count = 1,
         .status = HEDDLE_BAD_ARGUMENT}};
    for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++) {
        struct session session = sessions[i];
        session.target = HEDDLE_TARGET_CPU;
        char name[32];
        snprintf(name, sizeof name, "mistake %d", (int)i);
        walk(name, &session, 1);
    }
}

// ---- on a GPU, with a driver that is none ------------------------------------------------------

static const struct session SHIPPED_GPU = {.name = "window", .target = HEDDLE_TARGET_CUDA};
static const struct session WRITTEN_GPU = {.text = TEXT,
                                           .target = HEDDLE_TARGET_CUDA,
                                           .params = PARAMS,
                                           .param_count = 2,
                                           .inputs = INPUTS,
                                           .input_count = 2};

Test(memory, a_gpu) {
    walk("a GPU", &SHIPPED_GPU, 1);
    walk("a GPU, parameters and inputs", &WRITTEN_GPU, 1);
}

#if HEDDLE_TEST_PLANNER
// The input is in the GPU's memory (here: anywhere), so the GPU makes the lists, and again.
Test(memory, a_gpu_that_plans) {
    static const char text[] =
        "pattern p { axes i; input int doc[i]; param int far[head] = 9;\n"
        "  keep doc[k.i] == doc[q.i] and q.i - k.i < far[head]; }";
    const struct heddle_input input = {.name = "doc",
                                       .data = documents,
                                       .element = HEDDLE_INT32,
                                       .rank = 1,
                                       .shape = {TOKENS},
                                       .on_device = 1};
    const struct session session = {.text = text,
                                    .target = HEDDLE_TARGET_CUDA,
                                    .inputs = &input,
                                    .input_count = 1,
                                    .replans = true};
    walk("a GPU that plans", &session, 1);
}
#endif

Test(memory, compiling_for_a_gpu) {
    setenv("HEDDLE_DEBUG", "no-cache", 1);
    walk("compiling for a GPU", &WRITTEN_GPU, step_of_compiling());
}

// ---- compiling ----------------------------------------------------------------------------------

// Every code is compiled, which takes its time.
Test(memory, compiling) {
    setenv("HEDDLE_DEBUG", "no-cache", 1);
    walk("compiling", &WRITTEN, step_of_compiling());
}

// ---- runs ---------------------------------------------------------------------------------------

// Runs ask for no memory, the first one neither, but for tensors whose head dims lie apart.
Test(memory, runs) {
    const struct session *const sessions[] = {&SHIPPED, &SHIPPED_GPU};
    for (int i = 0; i < 2; i++) {
        const struct heddle_context_options options = {
            .struct_bytes = sizeof options, .target = sessions[i]->target, .threads = 2};
        struct heddle_context *context;
        struct heddle_pattern *pattern;
        struct heddle_plan *plan;
        struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
        problem.sizes[0] = TOKENS;
        problem.heads = problem.kv_heads = HEADS;
        problem.dim = DIM;
        problem.dtype = i ? HEDDLE_BF16 : HEDDLE_F32;
        cr_assert_eq(heddle_context_create(&options, &context), HEDDLE_OK);
        cr_assert_eq(load(sessions[i], context, &pattern), HEDDLE_OK);
        cr_assert_eq(heddle_plan_create(context, pattern, &problem, &plan), HEDDLE_OK);
        const struct heddle_tensors tensors = tensors_of(1);
        memory_fail(1);
        for (int n = 0; n < 5; n++)
            cr_expect_eq(heddle_run(plan, &tensors, NULL), HEDDLE_OK, "%s", heddle_last_error());
        cr_expect_eq(memory_count(), 0);
        memory_fail(0);
        heddle_plan_destroy(plan);
        heddle_pattern_destroy(pattern);
        heddle_context_destroy(context);
    }
}
