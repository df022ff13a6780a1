// heddle_replan on a GPU: plans whose document ids, or whose sets of columns and diagonals, change,
// in a stream and in a graph that is replayed, against a new plan for each of the contents. The
// same lists give the same bits; lists that were outgrown give nearly the same.
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

enum { HEADS = 2, DIM = 64, SKIPPED = 77, MOST_INPUTS = 2, SET_ROOM = 300 };

struct bed;
struct subject { // a pattern and what its inputs change to
    const char *pattern;
    int input_count;
    const char *inputs[MOST_INPUTS];
    int rank;
    int64_t shape[2];         // 0: the number of tokens
    const char *const *names; // of contents, NULL at the end
    void (*fill)(struct bed *bed, int contents);
    int plan_for; // contents of the first plan; those of `other_boxes` make a new plan choose
                  // others
    int other_boxes;
};

struct bed {
    struct machine machine;
    const struct subject *subject;
    struct heddle_pattern *pattern;
    int64_t tokens;
    struct slab q, k, v, inputs[MOST_INPUTS]; // inputs: int32_t
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

static struct heddle_input input_of(const struct bed *bed, int n, bool on_device) {
    const struct slab *slab = &bed->inputs[n];
    struct heddle_input input = {.name = bed->subject->inputs[n],
                                 .data = on_device ? slab->there : slab->host,
                                 .element = HEDDLE_INT32,
                                 .rank = bed->subject->rank,
                                 .on_device = on_device};
    for (int i = 0; i < input.rank; i++)
        input.shape[i] = bed->subject->shape[i] ? bed->subject->shape[i] : bed->tokens;
    return input;
}

static struct heddle_input ids_of(const struct bed *bed, bool on_device) {
    return input_of(bed, 0, on_device);
}

static void all_inputs(const struct bed *bed, bool on_device, struct heddle_input *out) {
    for (int n = 0; n < bed->subject->input_count; n++)
        out[n] = input_of(bed, n, on_device);
}

static void upload_inputs(struct bed *bed) {
    for (int n = 0; n < bed->subject->input_count; n++)
        slab_upload(&bed->machine, &bed->inputs[n]);
}

static struct heddle_plan *make_plan(struct bed *bed, const struct heddle_input *inputs,
                                     enum heddle_planner planner) {
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    struct heddle_plan *plan;
    problem.sizes[0] = bed->tokens;
    problem.heads = problem.kv_heads = HEADS;
    problem.dim = DIM;
    problem.dtype = HEDDLE_BF16;
    problem.inputs = inputs;
    problem.input_count = bed->subject->input_count;
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

enum { ONE_DOCUMENT, SHORT_DOCUMENTS, LONG_DOCUMENTS, MIXED };
static const char *const DOCUMENTS[] = {"one document", "short documents", "long documents",
                                        "mixed ids", NULL};

static void fill_ids(struct bed *bed, int contents) {
    int32_t *ids = (int32_t *)(void *)bed->inputs[0].host;
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

enum { NO_ELEMENTS, FEW_ELEMENTS, MANY_ELEMENTS };
static const char *const SETS[] = {"empty sets", "few elements", "many elements", NULL};

// Columns anywhere, diagonals near: in any order, some twice, -1 between them.
static void fill_sets(struct bed *bed, int contents) {
    for (int n = 0; n < 2; n++) {
        int32_t *elements = (int32_t *)(void *)bed->inputs[n].host;
        for (int i = 0; i < HEADS * SET_ROOM; i++) {
            bool given = contents == MANY_ELEMENTS || (contents == FEW_ELEMENTS && i % 60 == 7);
            int64_t most = n == 0 ? bed->tokens - 1 : 900;
            elements[i] = given ? (int32_t)random_in(&bed->random, -1, most) : -1;
        }
    }
}

static const struct subject SUBJECTS[] = {
    {"documents", 1, {"doc"}, 1, {0}, DOCUMENTS, fill_ids, LONG_DOCUMENTS, SHORT_DOCUMENTS},
    {"vertical_slash",
     2,
     {"columns", "diagonals"},
     2,
     {HEADS, SET_ROOM},
     SETS,
     fill_sets,
     MANY_ELEMENTS,
     FEW_ELEMENTS},
};

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
static void judge(struct bed *bed, struct heddle_plan *plan, CUstream stream, int contents,
                  const char *when) {
    char what[80];
    snprintf(what, sizeof what, "%s, %s", when, bed->subject->names[contents]);
    struct heddle_lists lists = {.struct_bytes = sizeof lists};
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    struct heddle_input inputs[MOST_INPUTS];
    all_inputs(bed, false, inputs);
    struct heddle_plan *fresh = make_plan(bed, inputs, HEDDLE_PLANNER_HOST);
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
    bool alike = !lists.merged && contents != bed->subject->other_boxes;
    check(bed, same || (!alike && difference < 0.02), what, "another result");
    check(bed, lists.clamped_inputs == 0, what, "an input was clamped");
    check(bed, !alike || lists.computed_pairs == info.computed_pairs, what, "other pairs");
    heddle_plan_destroy(fresh);
}

// ---- the tests ----------------------------------------------------------------------------------

static void replan_and_run(struct bed *bed, struct heddle_plan *plan, CUstream stream) {
    struct heddle_input inputs[MOST_INPUTS];
    all_inputs(bed, true, inputs);
    check_ok(bed, heddle_replan(plan, inputs, bed->subject->input_count, stream), "planning again");
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
    for (int contents = 0; bed->subject->names[contents]; contents++) {
        bed->subject->fill(bed, contents);
        upload_inputs(bed);
        replan_and_run(bed, plan, stream);
        judge(bed, plan, stream, contents, "in a stream");
    }
}

static void test_graph(struct bed *bed, struct heddle_plan *plan, CUstream stream) {
    machine_capture(&bed->machine, stream);
    replan_and_run(bed, plan, stream);
    CUgraphExec graph = machine_captured(&bed->machine, stream);
    int count = 0;
    while (bed->subject->names[count])
        count++;
    for (int contents = count; contents-- > 0;) {
        bed->subject->fill(bed, contents);
        upload_inputs(bed);
        machine_replay(&bed->machine, graph, stream);
        judge(bed, plan, stream, contents, "replayed");
    }
    time_replays(bed, graph, stream);
    machine_graph_destroy(&bed->machine, graph);
}

static void test_range(struct bed *bed, struct heddle_plan *plan, CUstream stream) {
    struct heddle_lists lists = {.struct_bytes = sizeof lists};
    struct heddle_input ids = ids_of(bed, true);
    ((int32_t *)(void *)bed->inputs[0].host)[100] = -2; // no id, and no token
    upload_inputs(bed);
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
    struct heddle_input inputs[MOST_INPUTS];
    bed->subject->fill(bed, bed->subject->plan_for);
    upload_inputs(bed);
    all_inputs(bed, true, inputs);
    inputs[0].range = range; // of ids; sets need none
    printf("%s\n", bed->subject->pattern);
    print_memory(bed, "before the plan");
    double begin = now_ms();
    struct heddle_plan *plan = make_plan(bed, inputs, HEDDLE_PLANNER_AUTO);
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
    struct heddle_input there = ids_of(bed, true), here = ids_of(bed, false);
    fill_ids(bed, ONE_DOCUMENT);
    upload_inputs(bed);
    struct heddle_plan *plan = make_plan(bed, &here, HEDDLE_PLANNER_AUTO);
    check_refused(bed, heddle_replan(plan, NULL, 0, NULL), "HEDDLE_PLANNER_DEVICE");
    check_refused(bed, heddle_plan_lists(plan, NULL, &lists), "struct_bytes");
    lists.struct_bytes = sizeof lists;
    check_refused(bed, heddle_plan_lists(plan, NULL, &lists), "HEDDLE_PLANNER_DEVICE");
    heddle_plan_destroy(plan);
    plan = make_plan(bed, &there, HEDDLE_PLANNER_HOST); // fetched from the GPU
    check_refused(bed, heddle_replan(plan, NULL, 0, NULL), "HEDDLE_PLANNER_DEVICE");
    heddle_plan_destroy(plan);
    plan = make_plan(bed, &there, HEDDLE_PLANNER_AUTO);
    if (plan)
        refuse_inputs(bed, plan);
    heddle_plan_destroy(plan);
}

// Sets may come with another room than the plan was made for.
static void test_sets_taken(struct bed *bed) {
    struct heddle_input inputs[MOST_INPUTS];
    fill_sets(bed, FEW_ELEMENTS);
    upload_inputs(bed);
    all_inputs(bed, true, inputs);
    struct heddle_plan *plan = make_plan(bed, inputs, HEDDLE_PLANNER_AUTO);
    if (!plan)
        return;
    check_ok(bed, heddle_replan(plan, inputs, 2, NULL), "sets again");
    inputs[1].shape[1] = 7;
    check_ok(bed, heddle_replan(plan, inputs + 1, 1, NULL), "another room");
    inputs[1].shape[1] = 0;
    check_ok(bed, heddle_replan(plan, inputs + 1, 1, NULL), "no room");
    inputs[1].shape[0] = HEADS + 1;
    check_refused(bed, heddle_replan(plan, inputs + 1, 1, NULL), "has shape");
    heddle_plan_destroy(plan);
}

// The elements of a set that a quantifier runs over are the plan's; its other sets are not.
static void test_elements_kept(struct bed *bed) {
    static const char text[] =
        "pattern counted {\n    axes i;\n    input set columns[head], diagonals[head];\n"
        "    keep (any c in columns[head] : k.i in c .. c + 2) or q.i - k.i in "
        "diagonals[head];\n}\n";
    struct heddle_input inputs[MOST_INPUTS];
    struct heddle_pattern *pattern = bed->pattern;
    check_ok(bed,
             heddle_pattern_parse(bed->machine.context, "counted.heddle", text, sizeof text - 1,
                                  NULL, &bed->pattern),
             "a pattern with a quantifier");
    all_inputs(bed, true, inputs);
    struct heddle_plan *plan = bed->pattern ? make_plan(bed, inputs, HEDDLE_PLANNER_AUTO) : NULL;
    if (plan) {
        check_ok(bed, heddle_replan(plan, inputs + 1, 1, NULL), "the other set");
        check_refused(bed, heddle_replan(plan, inputs, 2, NULL),
                      "a quantifier runs over input set 'columns'");
    }
    heddle_plan_destroy(plan);
    heddle_pattern_destroy(bed->pattern);
    bed->pattern = pattern;
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

static bool open_bed(struct bed *bed, bool fake) {
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = HEDDLE_TARGET_CUDA};
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
    return true;
}

static bool take_subject(struct bed *bed, const struct subject *subject, const char *patterns) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.heddle", patterns, subject->pattern);
    bed->subject = subject;
    for (int n = 0; n < subject->input_count; n++) {
        int64_t count = 1;
        for (int i = 0; i < subject->rank; i++)
            count *= subject->shape[i] ? subject->shape[i] : bed->tokens;
        slab_make(&bed->machine, &bed->inputs[n], (size_t)count * sizeof(int32_t));
    }
    check_ok(bed, heddle_pattern_load(bed->machine.context, path, NULL, &bed->pattern), path);
    return bed->pattern != NULL;
}

static void leave_subject(struct bed *bed) {
    for (int n = 0; n < bed->subject->input_count; n++)
        slab_free(&bed->machine, &bed->inputs[n]);
    heddle_pattern_destroy(bed->pattern);
    bed->pattern = NULL;
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
    struct slab *slabs[] = {&bed->q,   &bed->k,          &bed->v,           &bed->o,
                            &bed->lse, &bed->expected_o, &bed->expected_lse};
    for (size_t i = 0; i < sizeof slabs / sizeof *slabs; i++)
        slab_free(&bed->machine, slabs[i]);
    machine_close(&bed->machine);
}

static void test_subject(struct bed *bed, const struct subject *subject, const char *patterns,
                         bool fake) {
    if (take_subject(bed, subject, patterns)) {
        if (!fake)
            test_results(bed);
        if (subject->fill == fill_sets) {
            test_sets_taken(bed);
            test_elements_kept(bed);
        } else {
            test_refusals(bed);
            test_cpu(bed);
        }
    }
    leave_subject(bed);
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
    if (!open_bed(&bed, fake))
        return fake ? 1 : SKIPPED;
    if (!fake)
        make_tensors(&bed);
    for (size_t i = 0; i < sizeof SUBJECTS / sizeof *SUBJECTS; i++)
        test_subject(&bed, &SUBJECTS[i], patterns, fake);
    close_bed(&bed);
    printf("%d passed, %d failed\n", bed.passed, bed.failed);
    return bed.failed != 0;
}
