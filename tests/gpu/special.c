#include "tests/gpu/special.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Problems whose maps travel in the kernel's parameter (one set) or wait in device memory
// (several).
enum kind { ONE_SET, BATCHES, RESIDUES, KINDS };

static void make_problem(struct device_problem *p, enum kind kind) {
    static const int64_t line[] = {777}, grid[] = {21, 26};
    problem_plain(p, kind == RESIDUES ? "neighborhood2d" : "window",
                  kind == RESIDUES ? grid : line);
    p->problem.heads = 4;
    p->problem.kv_heads = 2;
    p->problem.dim = 64;
    p->problem.batch = kind == ONE_SET ? 1 : 3;
    if (kind == RESIDUES) {
        problem_set(p, "win_y", 5);
        problem_set(p, "dilation_y", 2);
        problem_set(p, "win_x", 5);
        problem_set(p, "dilation_x", 3);
    } else {
        problem_set(p, "before", 150);
        problem_set(p, "after", 30);
    }
}

static struct layout *new_layout(struct rig *rig, struct random_source *random) {
    struct layout *layout = malloc(sizeof *layout);
    assert(layout);
    layout_random(layout, rig->machine, &rig->shapes, random);
    layout->with_lse |= !rig->tried;
    layout_fill(layout, rig->machine, &rig->numbers);
    return layout;
}

static void free_layout(struct rig *rig, struct layout *layout) {
    layout_free(layout, rig->machine);
    free(layout);
}

// Runs `body` on a rig for each kind of problem.
typedef void body_fn(struct rig *rig, struct random_source *random, struct verdict *verdict);

static void with_kinds(const struct machine *machine, uint64_t seed, struct verdict *verdict,
                       body_fn *body) {
    for (int kind = 0; kind < KINDS && !verdict->failed; kind++) {
        struct random_source random = {seed + (uint64_t)kind};
        struct device_problem problem;
        struct rig rig;
        make_problem(&problem, (enum kind)kind);
        if (rig_make(&rig, machine, &problem, &random, verdict))
            body(&rig, &random, verdict);
        rig_free(&rig);
        problem_finish(&problem);
        if (verdict->failed) {
            size_t used = strlen(verdict->text);
            snprintf(verdict->text + used, sizeof verdict->text - used, "\n    problem %d of %d",
                     kind + 1, KINDS);
        }
    }
}

// ---- many tensors -------------------------------------------------------------------------------

// One run after another on one stream, each on its own tensors, nothing waited for between.
static void queue_many(struct rig *rig, struct random_source *random, struct verdict *verdict) {
    enum { RUNS = 24 };
    struct layout *layouts[RUNS];
    CUstream stream = machine_stream(rig->machine);
    rig_try(rig, stream, random, verdict);
    for (int i = 0; i < RUNS; i++)
        layouts[i] = new_layout(rig, random);
    for (int i = 0; i < RUNS; i++)
        rig_queue(rig, layouts[i], stream, verdict);
    machine_wait(rig->machine);
    for (int i = 0; i < RUNS; i++) {
        rig_check(rig, layouts[i], verdict);
        free_layout(rig, layouts[i]);
    }
    machine_stream_destroy(rig->machine, stream);
}

static void many_tensors(const struct machine *machine, uint64_t seed, struct verdict *verdict) {
    with_kinds(machine, seed, verdict, queue_many);
}

// ---- two plans ----------------------------------------------------------------------------------

struct one_side { // one of two plans
    struct device_problem problem;
    struct rig rig;
    struct random_source random;
    struct verdict verdict;
};

static void run_side(struct one_side *side, int runs) {
    CUstream stream = machine_stream(side->rig.machine);
    for (int i = 0; i < runs && !side->verdict.failed; i++)
        rig_try(&side->rig, stream, &side->random, &side->verdict);
    machine_stream_destroy(side->rig.machine, stream);
}

static void make_sides(struct one_side *sides, const struct machine *machine, uint64_t seed) {
    for (int i = 0; i < 2; i++) {
        sides[i] = (struct one_side){.random = {seed + (uint64_t)i}};
        make_problem(&sides[i].problem, i ? BATCHES : RESIDUES);
        rig_make(&sides[i].rig, machine, &sides[i].problem, &sides[i].random, &sides[i].verdict);
    }
}

static void finish_sides(struct one_side *sides, struct verdict *verdict) {
    for (int i = 0; i < 2; i++) {
        if (sides[i].verdict.failed)
            verdict_fail(verdict, "plan %d: %s", i + 1, sides[i].verdict.text);
        rig_free(&sides[i].rig);
        problem_finish(&sides[i].problem);
    }
}

// Runs of two plans in turns, on two streams, so that they overlap on the device.
static void two_streams(const struct machine *machine, uint64_t seed, struct verdict *verdict) {
    enum { RUNS = 12 };
    struct one_side sides[2];
    struct layout *layouts[2][RUNS];
    CUstream streams[2] = {machine_stream(machine), machine_stream(machine)};
    make_sides(sides, machine, seed);
    for (int i = 0; i < 2 && !sides[i].verdict.failed; i++) {
        rig_try(&sides[i].rig, streams[i], &sides[i].random, &sides[i].verdict);
        for (int r = 0; r < RUNS; r++)
            layouts[i][r] = new_layout(&sides[i].rig, &sides[i].random);
    }
    bool made = !sides[0].verdict.failed && !sides[1].verdict.failed;
    for (int r = 0; r < RUNS && made; r++)
        for (int i = 0; i < 2; i++)
            rig_queue(&sides[i].rig, layouts[i][r], streams[i], &sides[i].verdict);
    machine_wait(machine);
    for (int r = 0; r < RUNS && made; r++)
        for (int i = 0; i < 2; i++) {
            rig_check(&sides[i].rig, layouts[i][r], &sides[i].verdict);
            free_layout(&sides[i].rig, layouts[i][r]);
        }
    finish_sides(sides, verdict);
    for (int i = 0; i < 2; i++)
        machine_stream_destroy(machine, streams[i]);
}

static void *run_in_thread(void *side) {
    run_side(side, 12);
    return NULL;
}

// Two threads, each with its own plan, stream and tensors, over one context.
static void two_threads(const struct machine *machine, uint64_t seed, struct verdict *verdict) {
    struct one_side sides[2];
    pthread_t threads[2];
    make_sides(sides, machine, seed);
    if (!sides[0].verdict.failed && !sides[1].verdict.failed) {
        for (int i = 0; i < 2; i++) {
            int created = pthread_create(&threads[i], NULL, run_in_thread, &sides[i]);
            assert(created == 0);
            (void)created;
        }
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
    }
    finish_sides(sides, verdict);
}

// ---- graphs -------------------------------------------------------------------------------------

static void poison_and_replay(struct rig *rig, struct layout *layout, CUgraphExec graph,
                              CUstream stream, struct verdict *verdict) {
    layout_fill(layout, rig->machine, &rig->numbers);
    machine_replay(rig->machine, graph, stream);
    machine_wait(rig->machine);
    rig_check(rig, layout, verdict);
}

// Two captures of one plan on different tensors, replayed in turns with ordinary runs on others.
static void capture(struct rig *rig, struct random_source *random, struct verdict *verdict) {
    struct layout *layouts[2];
    CUgraphExec graphs[2];
    CUstream stream = machine_stream(rig->machine);
    rig_try(rig, stream, random, verdict);
    for (int i = 0; i < 2; i++) {
        layouts[i] = new_layout(rig, random);
        machine_capture(rig->machine, stream);
        rig_queue(rig, layouts[i], stream, verdict);
        graphs[i] = machine_captured(rig->machine, stream);
    }
    for (int turn = 0; turn < 6 && !verdict->failed; turn++) {
        poison_and_replay(rig, layouts[turn % 2], graphs[turn % 2], stream, verdict);
        if (turn % 3 == 1)
            rig_try(rig, stream, random, verdict);
        if (turn % 3 == 2)
            poison_and_replay(rig, layouts[turn % 2], graphs[turn % 2], stream, verdict);
    }
    for (int i = 0; i < 2; i++) {
        machine_graph_destroy(rig->machine, graphs[i]);
        free_layout(rig, layouts[i]);
    }
    machine_stream_destroy(rig->machine, stream);
}

static void graphs(const struct machine *machine, uint64_t seed, struct verdict *verdict) {
    with_kinds(machine, seed, verdict, capture);
}

// ---- workspaces ---------------------------------------------------------------------------------

enum { SIDES = 3, SIDE_RUNS = 8 };

// One of the streams that a plan runs on at the same time. The first uses the plan's own workspace.
struct side_stream {
    struct rig *rig;
    CUstream stream;
    struct slab workspace;
    struct heddle_run_options options;
    struct layout *layouts[SIDE_RUNS];
    struct verdict verdict;
};

static void make_streams(struct side_stream *sides, struct rig *rig, struct random_source *random) {
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    heddle_plan_info(rig->plan, &info);
    for (int i = 0; i < SIDES; i++) {
        struct side_stream *side = &sides[i];
        *side = (struct side_stream){.rig = rig, .stream = machine_stream(rig->machine)};
        slab_make(rig->machine, &side->workspace, (size_t)info.workspace_bytes);
        memset(side->workspace.host, 0, side->workspace.bytes);
        slab_upload(rig->machine, &side->workspace);
        side->options = (struct heddle_run_options){.struct_bytes = sizeof side->options};
        if (i > 0) {
            side->options.workspace = side->workspace.there;
            side->options.workspace_bytes = info.workspace_bytes;
        }
        for (int r = 0; r < SIDE_RUNS; r++)
            side->layouts[r] = new_layout(rig, random);
    }
}

static void queue_side(struct side_stream *side, int run) {
    rig_queue_with(side->rig, side->layouts[run], &side->options, side->stream, &side->verdict);
}

// Also waits.
static void finish_streams(struct side_stream *sides, struct rig *rig, struct verdict *verdict) {
    machine_wait(rig->machine);
    for (int i = 0; i < SIDES; i++) {
        for (int r = 0; r < SIDE_RUNS; r++) {
            rig_check(rig, sides[i].layouts[r], &sides[i].verdict);
            free_layout(rig, sides[i].layouts[r]);
        }
        if (sides[i].verdict.failed)
            verdict_fail(verdict, "stream %d: %s", i + 1, sides[i].verdict.text);
        slab_free(rig->machine, &sides[i].workspace);
        machine_stream_destroy(rig->machine, sides[i].stream);
    }
}

// One plan on several streams at a time.
static void overlap(struct rig *rig, struct random_source *random, struct verdict *verdict) {
    struct side_stream sides[SIDES];
    rig_try(rig, NULL, random, verdict);
    make_streams(sides, rig, random);
    for (int r = 0; r < SIDE_RUNS; r++)
        for (int i = 0; i < SIDES; i++)
            queue_side(&sides[i], r);
    finish_streams(sides, rig, verdict);
}

static void workspaces(const struct machine *machine, uint64_t seed, struct verdict *verdict) {
    with_kinds(machine, seed, verdict, overlap);
}

// The same from a thread for each.
static void *queue_in_thread(void *side) {
    for (int r = 0; r < SIDE_RUNS; r++)
        queue_side(side, r);
    return NULL;
}

static void overlap_threads(struct rig *rig, struct random_source *random,
                            struct verdict *verdict) {
    struct side_stream sides[SIDES];
    pthread_t threads[SIDES];
    rig_try(rig, NULL, random, verdict);
    make_streams(sides, rig, random);
    for (int i = 0; i < SIDES; i++) {
        int created = pthread_create(&threads[i], NULL, queue_in_thread, &sides[i]);
        assert(created == 0);
        (void)created;
    }
    for (int i = 0; i < SIDES; i++)
        pthread_join(threads[i], NULL);
    finish_streams(sides, rig, verdict);
}

static void workspaces_of_threads(const struct machine *machine, uint64_t seed,
                                  struct verdict *verdict) {
    with_kinds(machine, seed, verdict, overlap_threads);
}

// A graph for each stream, which captured all of its runs; they are replayed at the same time.
static void overlap_graphs(struct rig *rig, struct random_source *random, struct verdict *verdict) {
    struct side_stream sides[SIDES];
    CUgraphExec captured[SIDES];
    rig_try(rig, NULL, random, verdict);
    make_streams(sides, rig, random);
    for (int i = 0; i < SIDES; i++) {
        machine_capture(rig->machine, sides[i].stream);
        queue_in_thread(&sides[i]);
        captured[i] = machine_captured(rig->machine, sides[i].stream);
    }
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < SIDES; i++)
            machine_replay(rig->machine, captured[i], sides[i].stream);
    machine_wait(rig->machine);
    for (int i = 0; i < SIDES; i++)
        machine_graph_destroy(rig->machine, captured[i]);
    finish_streams(sides, rig, verdict);
}

static void workspaces_in_graphs(const struct machine *machine, uint64_t seed,
                                 struct verdict *verdict) {
    with_kinds(machine, seed, verdict, overlap_graphs);
}

// ---- the host's time ----------------------------------------------------------------------------

static double now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

// Least over some turns of runs that are queued and not waited for; `count` layouts take turns.
static double launch_us(struct rig *rig, struct layout **layouts, int count, CUstream stream,
                        struct verdict *verdict) {
    enum { TURNS = 30, RUNS = 50 }; // fewer than a stream has room for
    double least = 1e9;
    for (int turn = 0; turn < TURNS; turn++) {
        double begin = now_us();
        for (int i = 0; i < RUNS; i++)
            rig_queue(rig, layouts[i % count], stream, verdict);
        double us = (now_us() - begin) / RUNS;
        least = us < least ? us : least;
        machine_wait(rig->machine);
    }
    return least;
}

// Prints what a call of heddle_run takes, the driver's part included. The goal is 4 us; a machine
// that is not ours to judge gets some times that.
static void time_launches(struct rig *rig, struct random_source *random, struct verdict *verdict) {
    enum { MOST_US = 50 };
    struct layout *layouts[2];
    CUstream stream = machine_stream(rig->machine);
    rig_try(rig, stream, random, verdict);
    for (int i = 0; i < 2; i++)
        layouts[i] = new_layout(rig, random);
    double same = launch_us(rig, layouts, 1, stream, verdict);
    double others = launch_us(rig, layouts, 2, stream, verdict);
    printf("  heddle_run, batch %d: %.2f us of the host, %.2f where tensors are others each time\n",
           (int)rig->shapes.batch, same, others);
    if (same > MOST_US)
        verdict_fail(verdict, "%.2f us for a launch", same);
    for (int i = 0; i < 2; i++) {
        rig_check(rig, layouts[i], verdict);
        free_layout(rig, layouts[i]);
    }
    machine_stream_destroy(rig->machine, stream);
}

static void launches(const struct machine *machine, uint64_t seed, struct verdict *verdict) {
    with_kinds(machine, seed, verdict, time_launches);
}

// ---- contexts -----------------------------------------------------------------------------------

static CUcontext current(const struct machine *machine) {
    CUcontext context;
    machine_must(machine, machine->api.get_current(&context), "asking for the context");
    return context;
}

// A whole life of a plan leaves the thread's context alone, NULL or heddle's own.
static void contexts(const struct machine *machine, uint64_t seed, struct verdict *verdict) {
    for (int inside = 0; inside < 2; inside++) {
        struct random_source random = {seed};
        struct device_problem problem;
        struct rig rig;
        if (inside)
            machine_must(machine, machine->gpu.api->CtxPushCurrent(machine->gpu.context), "push");
        CUcontext before = current(machine);
        make_problem(&problem, BATCHES);
        if (rig_make(&rig, machine, &problem, &random, verdict))
            rig_try(&rig, NULL, &random, verdict);
        rig_free(&rig);
        problem_finish(&problem);
        if (current(machine) != before || (before != NULL) != inside)
            verdict_fail(verdict, "the thread's context was changed");
        if (inside)
            cuda_device_leave(&machine->gpu);
    }
}

// ---- numbers that do not matter -----------------------------------------------------------------

static void spoil_tokens(struct rig *rig, int tensor, int64_t begin, int64_t end, double with) {
    const struct shapes *s = &rig->shapes;
    for (int64_t bh = 0; bh < s->batch * s->heads[tensor]; bh++)
        for (int64_t i = begin * s->dim; i < end * s->dim; i++)
            dtype_store(s->dtype, rig->numbers.of[tensor], bh * s->tokens[tensor] * s->dim + i,
                        with);
}

// The last 100 queries of 1000 keep keys from 700 on. Spoils all keys before, in k and v; of v, on
// a GPU, only what lies in tiles that are not computed. (spoil.c tries less of more problems.)
static void dropped_keys(const struct machine *machine, uint64_t seed, struct verdict *verdict) {
    static const double with[] = {NAN, INFINITY, -INFINITY};
    static const int64_t sizes[] = {1000};
    struct random_source random = {seed};
    struct device_problem problem;
    struct rig rig;
    problem_plain(&problem, "window", sizes);
    problem_set(&problem, "before", 201);
    problem_set(&problem, "after", 0);
    problem.problem.queries = 100;
    problem.problem.heads = problem.problem.kv_heads = 2;
    if (rig_make(&rig, machine, &problem, &random, verdict))
        rig_try(&rig, NULL, &random, verdict);
    for (int i = 0; i < 3 && !verdict->failed; i++) {
        spoil_tokens(&rig, K, 0, 700, with[i]);
        spoil_tokens(&rig, V, 0, machine->on_gpu ? 512 : 700, with[i]);
        rig_try(&rig, NULL, &random, verdict);
    }
    rig_free(&rig);
    problem_finish(&problem);
}

const struct special SPECIALS[] = {
    {"many tensors", false, many_tensors},
    {"two streams", false, two_streams},
    {"two threads", false, two_threads},
    {"graphs", true, graphs},
    {"workspaces", false, workspaces},
    {"workspaces of threads", false, workspaces_of_threads},
    {"workspaces in graphs", true, workspaces_in_graphs},
    {"launches", true, launches},
    {"contexts", true, contexts},
    {"dropped keys", false, dropped_keys},
};
const int SPECIAL_COUNT = (int)(sizeof SPECIALS / sizeof *SPECIALS);
