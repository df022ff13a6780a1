// heddle_replan on a GPU: a plan whose document ids change, in a stream and in a graph that is
// replayed, against a new plan for each of the contents. The same lists give the same bits; lists
// that were outgrown give nearly the same.
//
// test_replan [--patterns FOLDER] [--tokens N] [--seed N]
// test_replan --fake: what needs no results, on the driver of fake_cuda.c.
// Without a GPU: one line, exit status 77. The last line is "N passed, N failed".
#include "tests/gpu/machine.h"

#include "heddle.h"
#include "tests/support/random_pattern.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEADS = 2, DIM = 64, SKIPPED = 77 };

struct bed {
    struct machine machine;
    struct heddle_pattern *pattern;
    int64_t tokens;
    struct slab q, k, v, ids; // ids: int32_t by token
    struct slab o, lse, expected_o, expected_lse;
    struct random_source random;
    int passed, failed;
};

static void check(struct bed *bed, bool fine, const char *what, const char *more) {
    if (fine)
        bed->passed++;
    else if (bed->failed++ < 20)
        printf("FAILED %s%s%s\n", what, more ? ": " : "", more ? more : "");
}

static void check_ok(struct bed *bed, enum heddle_status status, const char *what) {
    check(bed, status == HEDDLE_OK, what, heddle_last_error());
}

static void check_refused(struct bed *bed, enum heddle_status status, const char *words) {
    check(bed, status == HEDDLE_BAD_ARGUMENT && strstr(heddle_last_error(), words), words,
          heddle_last_error());
}

// ---- plans --------------------------------------------------------------------------------------

static struct heddle_input ids_of(const struct bed *bed, bool on_device) {
    return (struct heddle_input){.name = "doc",
                                 .data = on_device ? bed->ids.there : bed->ids.host,
                                 .element = HEDDLE_INT32,
                                 .rank = 1,
                                 .shape = {bed->tokens},
                                 .on_device = on_device};
}

static struct heddle_plan *make_plan(struct bed *bed, struct heddle_input input,
                                     enum heddle_planner planner) {
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    struct heddle_plan *plan;
    problem.sizes[0] = bed->tokens;
    problem.heads = problem.kv_heads = HEADS;
    problem.dim = DIM;
    problem.dtype = HEDDLE_BF16;
    problem.inputs = &input;
    problem.input_count = 1;
    problem.planner = planner;
    check_ok(bed, heddle_plan_create(bed->machine.context, bed->pattern, &problem, &plan),
             "a plan");
    return plan;
}

static enum heddle_status run(struct bed *bed, struct heddle_plan *plan, const struct slab *o,
                              const struct slab *lse, CUstream stream) {
    const struct heddle_tensors tensors = {.q = {.data = bed->q.there},
                                           .k = {.data = bed->k.there},
                                           .v = {.data = bed->v.there},
                                           .o = {.data = o->there},
                                           .lse = (float *)(void *)lse->there};
    return heddle_run(plan, &tensors, stream);
}

// ---- contents -----------------------------------------------------------------------------------

enum contents { ONE_DOCUMENT, SHORT_DOCUMENTS, LONG_DOCUMENTS, MIXED, CONTENTS };
static const char *const NAMES[] = {"one document", "short documents", "long documents",
                                    "mixed ids"};

static void fill_ids(struct bed *bed, enum contents contents) {
    int32_t *ids = (int32_t *)(void *)bed->ids.host;
    int64_t length = contents == SHORT_DOCUMENTS ? 40 : 700, left = 0;
    int32_t id = 1;
    for (int64_t i = 0; i < bed->tokens; i++, left--) {
        if (contents != ONE_DOCUMENT && left <= 0) {
            left = random_in(&bed->random, 1, length);
            id++;
        }
        ids[i] = contents == MIXED ? (int32_t)random_in(&bed->random, 1, 9) : id;
    }
}

static void fill_tensor(struct bed *bed, struct slab *slab) {
    slab_make(&bed->machine, slab, (size_t)(HEADS * bed->tokens * DIM * 2));
    uint16_t *to = (uint16_t *)(void *)slab->host;
    for (int64_t i = 0; i < HEADS * bed->tokens * DIM; i++) {
        float x = (float)random_in(&bed->random, -1000, 1000) / 500.0f;
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        to[i] = (uint16_t)(bits >> 16);
    }
    slab_upload(&bed->machine, slab);
}

// ---- judging ------------------------------------------------------------------------------------

static float number(const struct slab *slab, int64_t i) {
    uint32_t bits = (uint32_t)((const uint16_t *)(const void *)slab->host)[i] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double greatest_difference(const struct bed *bed) {
    double most = 0;
    for (int64_t i = 0; i < HEADS * bed->tokens * DIM; i++) {
        double d = fabs((double)number(&bed->o, i) - (double)number(&bed->expected_o, i));
        most = d <= most ? most : isnan(d) ? INFINITY : d;
    }
    return most;
}

// What a plan made for the ids as they are gives, beside what the changed plan gave. The boxes are
// chosen when a plan is made: for short documents a fresh one takes smaller tiles, and rounds as
// those do.
static void judge(struct bed *bed, struct heddle_plan *plan, CUstream stream,
                  enum contents contents, const char *when) {
    char what[80];
    snprintf(what, sizeof what, "%s, %s", when, NAMES[contents]);
    struct heddle_lists lists = {.struct_bytes = sizeof lists};
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    struct heddle_plan *fresh = make_plan(bed, ids_of(bed, false), HEDDLE_PLANNER_HOST);
    if (!fresh)
        return;
    check_ok(bed, heddle_plan_lists(plan, stream, &lists), what);
    check_ok(bed, run(bed, fresh, &bed->expected_o, &bed->expected_lse, stream), what);
    machine_wait(&bed->machine);
    heddle_plan_info(fresh, &info);
    slab_download(&bed->machine, &bed->o);
    slab_download(&bed->machine, &bed->lse);
    slab_download(&bed->machine, &bed->expected_o);
    slab_download(&bed->machine, &bed->expected_lse);
    bool same = memcmp(bed->o.host, bed->expected_o.host, bed->o.bytes) == 0 &&
                memcmp(bed->lse.host, bed->expected_lse.host, bed->lse.bytes) == 0;
    double difference = greatest_difference(bed);
    printf("  %-34s %lld of %lld lists merged, %s, greatest difference %.3g\n", what,
           (long long)lists.merged, (long long)lists.lists, same ? "the same bits" : "other bits",
           difference);
    bool alike = !lists.merged && contents != SHORT_DOCUMENTS;
    check(bed, same || (!alike && difference < 0.02), what, "another result");
    check(bed, lists.clamped_inputs == 0, what, "an input was clamped");
    check(bed, !alike || lists.computed_pairs == info.computed_pairs, what, "other pairs");
    heddle_plan_destroy(fresh);
}

// ---- the tests ----------------------------------------------------------------------------------

static void replan_and_run(struct bed *bed, struct heddle_plan *plan, CUstream stream) {
    struct heddle_input ids = ids_of(bed, true);
    check_ok(bed, heddle_replan(plan, &ids, 1, stream), "planning again");
    check_ok(bed, run(bed, plan, &bed->o, &bed->lse, stream), "running");
}

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static void time_replays(struct bed *bed, CUgraphExec graph, CUstream stream) {
    enum { REPLAYS = 20 };
    machine_wait(&bed->machine);
    double begin = now_ms();
    for (int i = 0; i < REPLAYS; i++)
        machine_replay(&bed->machine, graph, stream);
    machine_wait(&bed->machine);
    printf("  planning and attention, replayed: %.3g ms\n", (now_ms() - begin) / REPLAYS);
}

static void test_stream(struct bed *bed, struct heddle_plan *plan, CUstream stream) {
    for (int contents = 0; contents < CONTENTS; contents++) {
        fill_ids(bed, (enum contents)contents);
        slab_upload(&bed->machine, &bed->ids);
        replan_and_run(bed, plan, stream);
        judge(bed, plan, stream, (enum contents)contents, "in a stream");
    }
}

static void test_graph(struct bed *bed, struct heddle_plan *plan, CUstream stream) {
    machine_capture(&bed->machine, stream);
    replan_and_run(bed, plan, stream);
    CUgraphExec graph = machine_captured(&bed->machine, stream);
    for (int contents = CONTENTS; contents-- > 0;) {
        fill_ids(bed, (enum contents)contents);
        slab_upload(&bed->machine, &bed->ids);
        machine_replay(&bed->machine, graph, stream);
        judge(bed, plan, stream, (enum contents)contents, "replayed");
    }
    time_replays(bed, graph, stream);
    machine_graph_destroy(&bed->machine, graph);
}

static void test_range(struct bed *bed, struct heddle_plan *plan, CUstream stream) {
    struct heddle_lists lists = {.struct_bytes = sizeof lists};
    struct heddle_input ids = ids_of(bed, true);
    ((int32_t *)(void *)bed->ids.host)[bed->tokens / 2] = -1;
    slab_upload(&bed->machine, &bed->ids);
    check_ok(bed, heddle_replan(plan, &ids, 1, stream), "an id outside of the range");
    check_ok(bed, heddle_plan_lists(plan, stream, &lists), "an id outside of the range");
    check(bed, lists.clamped_inputs == 1, "an id outside of the range", "not noticed");
}

static void print_memory(const struct bed *bed, const char *when) {
    CUresult (*get)(size_t *, size_t *);
    size_t available = 0, total = 0;
    void *address = dlsym(bed->machine.gpu.api->library, "cuMemGetInfo_v2");
    struct error error = {0};
    if (!address || cuda_device_enter(&bed->machine.gpu, &error) != HEDDLE_OK)
        return;
    memcpy(&get, &address, sizeof get);
    get(&available, &total);
    cuda_device_leave(&bed->machine.gpu);
    printf("  %-34s %zu MiB of the GPU in use\n", when, (total - available) >> 20);
}

static void test_results(struct bed *bed) {
    CUstream stream = machine_stream(&bed->machine);
    const double range[] = {0, (double)bed->tokens};
    fill_ids(bed, LONG_DOCUMENTS);
    slab_upload(&bed->machine, &bed->ids);
    struct heddle_input ids = ids_of(bed, true);
    ids.range = range;
    print_memory(bed, "before the plan");
    double begin = now_ms();
    struct heddle_plan *plan = make_plan(bed, ids, HEDDLE_PLANNER_AUTO);
    printf("  making the plan: %.4g ms\n", now_ms() - begin);
    print_memory(bed, "with the plan");
    if (plan) {
        test_stream(bed, plan, stream);
        test_graph(bed, plan, stream);
        test_range(bed, plan, stream);
    }
    heddle_plan_destroy(plan);
    machine_stream_destroy(&bed->machine, stream);
}

static void refuse_inputs(struct bed *bed, struct heddle_plan *plan) {
    struct heddle_input ids = ids_of(bed, true);
    check_ok(bed, heddle_replan(plan, NULL, 0, NULL), "planning again as it is");
    check_ok(bed, heddle_replan(plan, &ids, 1, NULL), "planning again");
    check_refused(bed, heddle_replan(plan, NULL, 1, NULL), "a pointer is missing");
    ids.name = "other";
    check_refused(bed, heddle_replan(plan, &ids, 1, NULL), "no input 'other'");
    ids = ids_of(bed, false);
    check_refused(bed, heddle_replan(plan, &ids, 1, NULL), "in the host's memory");
    ids = ids_of(bed, true);
    ids.shape[0]--;
    check_refused(bed, heddle_replan(plan, &ids, 1, NULL), "has shape");
    ids = ids_of(bed, true);
    ids.element = HEDDLE_FLOAT32;
    check_refused(bed, heddle_replan(plan, &ids, 1, NULL), "holds reals");
}

static void test_refusals(struct bed *bed) {
    struct heddle_lists lists = {.struct_bytes = 1};
    fill_ids(bed, ONE_DOCUMENT);
    slab_upload(&bed->machine, &bed->ids);
    struct heddle_plan *plan = make_plan(bed, ids_of(bed, false), HEDDLE_PLANNER_AUTO);
    check_refused(bed, heddle_replan(plan, NULL, 0, NULL), "HEDDLE_PLANNER_DEVICE");
    check_refused(bed, heddle_plan_lists(plan, NULL, &lists), "struct_bytes");
    lists.struct_bytes = sizeof lists;
    check_refused(bed, heddle_plan_lists(plan, NULL, &lists), "HEDDLE_PLANNER_DEVICE");
    heddle_plan_destroy(plan);
    plan = make_plan(bed, ids_of(bed, true), HEDDLE_PLANNER_HOST); // fetched from the GPU
    check_refused(bed, heddle_replan(plan, NULL, 0, NULL), "HEDDLE_PLANNER_DEVICE");
    heddle_plan_destroy(plan);
    plan = make_plan(bed, ids_of(bed, true), HEDDLE_PLANNER_AUTO);
    if (plan)
        refuse_inputs(bed, plan);
    heddle_plan_destroy(plan);
}

static void test_cpu(struct bed *bed) {
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = HEDDLE_TARGET_CPU};
    struct heddle_context *cpu, *gpu = bed->machine.context;
    struct heddle_plan *plan;
    struct heddle_input ids = ids_of(bed, false);
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    check_ok(bed, heddle_context_create(&options, &cpu), "a context of the CPU");
    problem.sizes[0] = bed->tokens;
    problem.inputs = &ids;
    problem.input_count = 1;
    problem.planner = HEDDLE_PLANNER_DEVICE;
    check_refused(bed, heddle_plan_create(cpu, bed->pattern, &problem, &plan), "of CUDA targets");
    problem.planner = HEDDLE_PLANNER_AUTO;
    ids.on_device = 1;
    check_refused(bed, heddle_plan_create(cpu, bed->pattern, &problem, &plan), "of CUDA targets");
    problem.planner = (enum heddle_planner)9;
    check_refused(bed, heddle_plan_create(gpu, bed->pattern, &problem, &plan), "unknown planner");
    heddle_context_destroy(cpu);
}

// ---- the program --------------------------------------------------------------------------------

static bool open_bed(struct bed *bed, bool fake, const char *patterns) {
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = HEDDLE_TARGET_CUDA};
    char path[4096];
    struct error error = {0};
    struct machine *machine = &bed->machine;
    if (!fake && !machine_open(machine, true)) {
        printf("test_replan: skipped: %s\n", machine->reason);
        return false;
    }
    // The fake has no streams and graphs, which machine_open asks for; its memory is the heap.
    if (fake && (cuda_device_open(&machine->gpu, &error) != HEDDLE_OK ||
                 heddle_context_create(&options, &machine->context) != HEDDLE_OK)) {
        printf("test_replan: no driver: %s%s\n", error_text(&error), heddle_last_error());
        return false;
    }
    snprintf(path, sizeof path, "%s/documents.heddle", patterns);
    check_ok(bed, heddle_pattern_load(machine->context, path, NULL, &bed->pattern), path);
    return bed->pattern != NULL;
}

static void make_tensors(struct bed *bed) {
    const struct machine *machine = &bed->machine;
    size_t lse_bytes = (size_t)(HEADS * bed->tokens) * sizeof(float);
    fill_tensor(bed, &bed->q);
    fill_tensor(bed, &bed->k);
    fill_tensor(bed, &bed->v);
    slab_make(machine, &bed->o, bed->q.bytes);
    slab_make(machine, &bed->expected_o, bed->q.bytes);
    slab_make(machine, &bed->lse, lse_bytes);
    slab_make(machine, &bed->expected_lse, lse_bytes);
}

static void close_bed(struct bed *bed) {
    struct slab *slabs[] = {
        &bed->q,  &bed->k, &bed->v, &bed->o, &bed->lse, &bed->expected_o, &bed->expected_lse,
        &bed->ids};
    for (size_t i = 0; i < sizeof slabs / sizeof *slabs; i++)
        slab_free(&bed->machine, slabs[i]);
    heddle_pattern_destroy(bed->pattern);
    machine_close(&bed->machine);
}

int main(int argc, char **argv) {
    struct bed bed = {.tokens = 6000, .random = {1}};
    const char *patterns = HEDDLE_TEST_PATTERNS;
    bool fake = argc > 1 && strcmp(argv[1], "--fake") == 0;
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--patterns") == 0)
            patterns = argv[i + 1];
        if (strcmp(argv[i], "--tokens") == 0)
            bed.tokens = atoll(argv[i + 1]);
        if (strcmp(argv[i], "--seed") == 0)
            bed.random.state = strtoull(argv[i + 1], NULL, 10);
    }
    if (!open_bed(&bed, fake, patterns))
        return fake ? 1 : SKIPPED;
    slab_make(&bed.machine, &bed.ids, (size_t)bed.tokens * sizeof(int32_t));
    if (!fake) {
        make_tensors(&bed);
        test_results(&bed);
    }
    test_refusals(&bed);
    test_cpu(&bed);
    close_bed(&bed);
    printf("%d passed, %d failed\n", bed.passed, bed.failed);
    return bed.failed != 0;
}
