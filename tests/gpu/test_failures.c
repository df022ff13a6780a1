// Every call of the driver fails once, at every place where heddle calls it: each failure has its
// status and the driver's words, and leaves nothing behind that was taken.
#include "tests/gpu/fake_host.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CALLS = 500, UNKNOWN = 999 };
static const CUresult RESULTS[] = {UNKNOWN, CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_INVALID_VALUE};
enum { RESULT_COUNT = 3 };

// Calls whose failure is no failure: no context is known to be current, or something was given
// back, where the driver reports what went wrong before.
static bool harmless(const char *call) {
    static const char *const names[] = {"CtxGetCurrent", "CtxPopCurrent", "PrimaryCtxRelease",
                                        "MemFree", "ModuleUnload"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(call, names[i]) == 0)
            return true;
    return false;
}

static void check_status(const char *failed, CUresult result, enum heddle_status status) {
    const char *said = heddle_last_error();
    if (!failed || harmless(failed)) {
        cr_assert_eq(status, HEDDLE_OK, "%s: %s", failed ? failed : "nothing failed", said);
        return;
    }
    // The one call that refuses what the host gave.
    bool layout = strcmp(failed, "TensorMapEncodeTiled") == 0 && result == CUDA_ERROR_INVALID_VALUE;
    enum heddle_status expected = layout                               ? HEDDLE_BAD_ARGUMENT
                                  : result == CUDA_ERROR_OUT_OF_MEMORY ? HEDDLE_OUT_OF_MEMORY
                                                                       : HEDDLE_DEVICE_ERROR;
    cr_assert_eq(status, expected, "%s failed with %d: %s, \"%s\"", failed, result,
                 heddle_status_name(status), said);
    const char *words = layout                               ? "copy it to a compact layout"
                        : result == CUDA_ERROR_OUT_OF_MEMORY ? ": out of memory"
                                                             : ": a fake failure";
    cr_assert_not_null(strstr(said, words), "%s failed with %d: \"%s\"", failed, result, said);
}

static void check_held(struct fake_cuda_held before, const char *failed) {
    struct fake_cuda_held now = fake_cuda_held();
    cr_assert_eq(memcmp(&now, &before, sizeof now), 0,
                 "after %s: memory %d, modules %d, contexts %d, pushes %d more than before",
                 failed ? failed : "no failure", (int)(now.memory - before.memory),
                 (int)(now.modules - before.modules), (int)(now.contexts - before.contexts),
                 (int)(now.pushes - before.pushes));
}

// Does `step` with its first call failing, then its second, ... until it has no call left to fail;
// after each, `undo` gives back what the step made.
typedef enum heddle_status step_fn(struct fake_host *host);
typedef void undo_fn(struct fake_host *host);

// Which calls have failed so far, by their names.
static bool has_failed[64];

static const char *const CALLS[] = {
#define CUDA_FUNCTION(member, symbol, name, parameters) #member,
#define CUDA_CONSTANT(name, value)
#include "runtime/cuda/cuda_api.def"
#undef CUDA_FUNCTION
#undef CUDA_CONSTANT
};
enum { CALL_COUNT = sizeof CALLS / sizeof *CALLS };
_Static_assert(CALL_COUNT <= sizeof has_failed, "room for all");

static void note_failed(const char *call) {
    for (int i = 0; i < CALL_COUNT; i++)
        has_failed[i] |= call && strcmp(CALLS[i], call) == 0;
}

static void walk(struct fake_host *host, step_fn *step, undo_fn *undo, CUresult result) {
    struct fake_cuda_held before = fake_cuda_held();
    const char *failed = "";
    for (int n = 1; failed; n++) {
        cr_assert_lt(n, MOST_CALLS, "there is no end of calls");
        fake_cuda_fail(n, result);
        enum heddle_status status = step(host);
        failed = fake_cuda_failed();
        fake_cuda_fail(0, CUDA_SUCCESS);
        note_failed(failed);
        check_status(failed, result, status);
        undo(host);
        check_held(before, failed);
    }
}

// ---- contexts -----------------------------------------------------------------------------------

static enum heddle_status open_context(struct fake_host *host) {
    return fake_context(HEDDLE_TARGET_CUDA, &host->context);
}

static void close_context(struct fake_host *host) {
    heddle_context_destroy(host->context);
}

static enum heddle_target target_of_auto(void) {
    struct heddle_context *context;
    cr_assert_eq(fake_context(HEDDLE_TARGET_AUTO, &context), HEDDLE_OK, "%s", heddle_last_error());
    enum heddle_target target = heddle_context_target(context);
    cr_assert_neq(heddle_context_device_name(context)[0], '\0');
    heddle_context_destroy(context);
    return target;
}

// The driver starts once per process; when it did not, the next context tries again.
Test(failures, driver_start) {
    struct fake_host host;
    fake_cuda_fail(1, UNKNOWN);
    cr_assert_eq(target_of_auto(), HEDDLE_TARGET_CPU);
    fake_cuda_fail(1, UNKNOWN);
    check_status("Init", UNKNOWN, open_context(&host));
    cr_assert_str_eq(fake_cuda_failed(), "Init");
    cr_assert_eq(target_of_auto(), HEDDLE_TARGET_CUDA);
}

Test(failures, context) {
    struct fake_host host;
    cr_assert_eq(target_of_auto(), HEDDLE_TARGET_CUDA);
    walk(&host, open_context, close_context, UNKNOWN);
}

// AUTO takes the CPU instead.
Test(failures, automatic_context) {
    struct fake_cuda_held before = fake_cuda_held();
    const char *failed = "";
    cr_assert_eq(target_of_auto(), HEDDLE_TARGET_CUDA);
    for (int n = 1; failed; n++) {
        fake_cuda_fail(n, UNKNOWN);
        enum heddle_target target = target_of_auto();
        failed = fake_cuda_failed();
        bool gpu = !failed || harmless(failed);
        cr_assert_eq(target, gpu ? HEDDLE_TARGET_CUDA : HEDDLE_TARGET_CPU, "%s", failed);
        check_held(before, failed);
    }
}

// ---- plans --------------------------------------------------------------------------------------

static enum heddle_status run(struct fake_host *host, int place) {
    struct heddle_tensors tensors = fake_tensors(place);
    return heddle_run(host->plan, &tensors, NULL);
}

// A plan, runs on two sets of tensors, and one on the same again.
static enum heddle_status plan_and_run(struct fake_host *host) {
    enum heddle_status status =
        heddle_plan_create(host->context, host->pattern, &host->problem, &host->plan);
    for (int i = 0; i < 3 && status == HEDDLE_OK; i++)
        status = run(host, i > 0);
    return status;
}

static void destroy_plan(struct fake_host *host) {
    heddle_plan_destroy(host->plan);
    host->plan = NULL;
}

static void each_result(enum fake_kind kind, step_fn *step, undo_fn *undo) {
    struct fake_host host;
    fake_host_open(&host, kind);
    for (int i = 0; i < RESULT_COUNT; i++)
        walk(&host, step, undo, RESULTS[i]);
    fake_host_close(&host);
}

Test(failures, plan_with_one_set_of_maps) {
    each_result(FAKE_ONE_SET, plan_and_run, destroy_plan);
}

Test(failures, plan_with_many_sets_of_maps) {
    each_result(FAKE_RESIDUES, plan_and_run, destroy_plan);
}

static struct heddle_input documents_of(const int32_t *ids) {
    return (struct heddle_input){
        .name = "doc", .data = ids, .element = HEDDLE_INT32, .rank = 1, .shape = {300}};
}

static void open_with_input(struct fake_host *host, const char *text,
                            const struct heddle_input *input) {
    fake_host_open(host, FAKE_ONE_SET);
    heddle_pattern_destroy(host->pattern);
    cr_assert_eq(heddle_pattern_parse(host->context, "p", text, strlen(text), NULL, &host->pattern),
                 HEDDLE_OK, "%s", heddle_last_error());
    host->problem.param_count = 0;
    host->problem.inputs = input;
    host->problem.input_count = 1;
}

// What a plan reads of the host: tables, inputs. One upload each.
Test(failures, plan_with_a_table_and_an_input) {
    static const char text[] =
        "pattern p { axes i; input int doc[i]; param int far[head] = 9;"
        " keep doc[k.i] == doc[q.i] and q.i - k.i < far[head]; }";
    static const int32_t documents[300] = {0};
    struct heddle_input input = documents_of(documents);
    struct fake_host host;
    open_with_input(&host, text, &input);
    walk(&host, plan_and_run, destroy_plan, UNKNOWN);
    fake_host_close(&host);
}

#if HEDDLE_TEST_PLANNER
// The input in the GPU's memory (here: anywhere), so that the GPU makes the lists, and again.
static enum heddle_status plan_and_replan(struct fake_host *host) {
    struct heddle_lists lists = {.struct_bytes = sizeof lists};
    enum heddle_status status =
        heddle_plan_create(host->context, host->pattern, &host->problem, &host->plan);
    if (status == HEDDLE_OK)
        status = heddle_replan(host->plan, host->problem.inputs, 1, NULL);
    if (status == HEDDLE_OK)
        status = heddle_plan_lists(host->plan, NULL, &lists);
    return status == HEDDLE_OK ? run(host, 0) : status;
}

Test(failures, planning_on_the_gpu) {
    static const char text[] = "pattern p { axes i; input int doc[i]; keep doc[k.i] == doc[q.i]; }";
    static const int32_t documents[300] = {0};
    struct heddle_input input = documents_of(documents);
    struct fake_host host;
    input.on_device = 1;
    open_with_input(&host, text, &input);
    for (int i = 0; i < RESULT_COUNT; i++)
        walk(&host, plan_and_replan, destroy_plan, RESULTS[i]);
    fake_host_close(&host);
}
#endif

// The walks above fail every function of the driver that the library calls: the rest is the
// program's, which times by events, cannot fail, or has a test of its own: driver_start,
// destroying.
#if HEDDLE_TEST_PLANNER
CUresult cuCtxPushCurrent_v2(CUcontext context);
CUresult cuCtxPopCurrent_v2(CUcontext *out_context);

static bool is_elsewhere(const char *call) {
    static const char *const names[] = {
        "Init",    "GetErrorName", "GetErrorString",   "LaunchHostFunc",
        "MemFree", "ModuleUnload", "PrimaryCtxRelease"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(call, names[i]) == 0)
            return true;
    return strncmp(call, "Event", 5) == 0;
}

Test(failures, every_call) {
    static const char text[] = "pattern p { axes i; input int doc[i]; keep doc[k.i] == doc[q.i]; }";
    static const int32_t documents[300] = {0};
    struct heddle_input input = documents_of(documents);
    struct fake_host host;
    CUcontext context;
    input.on_device = 1;
    cr_assert_eq(target_of_auto(), HEDDLE_TARGET_CUDA);
    cuCtxPushCurrent_v2(NULL); // the host is in a context of its own
    walk(&host, open_context, close_context, UNKNOWN);
    cuCtxPopCurrent_v2(&context);
    fake_host_open(&host, FAKE_RESIDUES);
    walk(&host, plan_and_run, destroy_plan, UNKNOWN);
    fake_host_close(&host);
    open_with_input(&host, text, &input);
    walk(&host, plan_and_replan, destroy_plan, UNKNOWN);
    fake_host_close(&host);
    for (int i = 0; i < CALL_COUNT; i++)
        cr_expect(has_failed[i] != is_elsewhere(CALLS[i]), "%s", CALLS[i]);
}
#endif

// Destroying goes on past a failure. Its first call enters the context: without that nothing can be
// given back.
Test(failures, destroying) {
    struct fake_host host;
    const char *failed = "";
    fake_host_open(&host, FAKE_BATCHES);
    struct fake_cuda_held before = fake_cuda_held();
    for (int n = 2; failed; n++) {
        fake_host_plan(&host);
        fake_cuda_fail(n, UNKNOWN);
        destroy_plan(&host);
        failed = fake_cuda_failed();
        check_held(before, failed);
    }
    fake_host_close(&host);
}

// ---- runs ---------------------------------------------------------------------------------------

struct maps { // of all sets
    unsigned char bytes[FAKE_MOST_SETS][SM90_TENSOR_MAPS][SM90_MAP_BYTES];
};

// What the latest launch found.
static void take_maps(const struct fake_host *host, struct maps *out) {
    const struct sm90_args *args = &fake_cuda_launches()->parameter;
    const void *from = host->sets > 1 ? (const void *)(uintptr_t)args->more_maps : args->maps;
    *out = (struct maps){0};
    memcpy(out->bytes, from, (size_t)host->sets * sizeof out->bytes[0]);
}

// What a plan finds that has not run before.
static void expect_maps(struct fake_host *host, int place, struct maps *out) {
    fake_host_plan(host);
    cr_assert_eq(run(host, place), HEDDLE_OK, "%s", heddle_last_error());
    take_maps(host, out);
    destroy_plan(host);
}

static void run_right(struct fake_host *host, int place, const struct maps *expected) {
    struct maps maps;
    int64_t launched = fake_cuda_launches()->attention;
    cr_assert_eq(run(host, place), HEDDLE_OK, "%s", heddle_last_error());
    cr_assert_eq(fake_cuda_launches()->attention, launched + 1);
    take_maps(host, &maps);
    cr_assert_eq(memcmp(&maps, &expected[place], sizeof maps), 0,
                 "the launch found maps of other tensors");
}

// A run that failed, wherever it did, leaves the plan fit for the tensors before it and for its
// own.
static void fail_runs(enum fake_kind kind) {
    struct fake_host host;
    struct maps maps[2];
    const char *failed = "";
    fake_host_open(&host, kind);
    expect_maps(&host, 0, &maps[0]);
    expect_maps(&host, 1, &maps[1]);
    fake_host_plan(&host);
    run_right(&host, 0, maps);
    for (int n = 1; failed; n++)
        for (int next = 0; next < 2; next++) {
            fake_cuda_fail(n, UNKNOWN);
            enum heddle_status status = run(&host, 1);
            failed = fake_cuda_failed();
            fake_cuda_fail(0, CUDA_SUCCESS);
            check_status(failed, UNKNOWN, status);
            run_right(&host, next, maps);
            run_right(&host, 0, maps);
        }
    fake_host_close(&host);
}

Test(failures, run_with_one_set_of_maps) {
    fail_runs(FAKE_ONE_SET);
}

Test(failures, run_with_many_sets_of_maps) {
    fail_runs(FAKE_RESIDUES);
}

// Maps in device memory are left when they are there already; not while a graph is captured, nor
// after: the graph puts its own there, whenever it is replayed.
Test(failures, maps_and_graphs) {
    static const struct {
        int place;
        bool captured;
        int64_t launches; // of the maps' kernel
    } runs[] = {{0, false, 1}, {0, false, 0}, {1, false, 1}, {1, false, 0},
                {1, true, 1},  {1, false, 1}, {1, false, 1}};
    struct fake_host host;
    fake_host_open(&host, FAKE_BATCHES);
    fake_host_plan(&host);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        int64_t before = fake_cuda_launches()->place;
        fake_cuda_capture(runs[i].captured);
        cr_assert_eq(run(&host, runs[i].place), HEDDLE_OK, "%s", heddle_last_error());
        cr_assert_eq(fake_cuda_launches()->place - before, runs[i].launches, "run %d", (int)i);
    }
    fake_host_close(&host);
}
