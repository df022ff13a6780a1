// The pool of threads, and runs of one context and one plan from many threads at a time. Also built
// with the thread sanitizer (scripts/test).
#include "heddle.h"
#include "runtime/threads.h"
#include "tests/host/plain.h"
#include "tests/support/scratch.h"

#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HOSTS = 6, ROUNDS = 40 };

// ---- loops --------------------------------------------------------------------------------------

enum { ITEMS = 500 };

struct counted {
    atomic_int times[ITEMS];
    atomic_int wrong; // items whose scratch another thread had at the same time
};

struct place { // of one thread
    atomic_int busy;
    char room[124];
};

static void count_items(void *context, int64_t begin, int64_t end, void *scratch) {
    struct counted *counted = context;
    struct place *place = scratch;
    if (atomic_exchange(&place->busy, 1))
        atomic_fetch_add(&counted->wrong, 1);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&counted->times[i], 1);
    atomic_store(&place->busy, 0);
}

// 0: every item once.
static int loop_once(struct thread_pool *pool, int64_t items, int64_t chunk, int threads) {
    struct place places[8] = {{0}};
    struct counted counted = {.wrong = 0};
    const struct thread_loop loop = {.count = items,
                                     .chunk = chunk,
                                     .body = count_items,
                                     .context = &counted,
                                     .threads = threads,
                                     .scratch = (unsigned char *)places,
                                     .scratch_bytes = sizeof *places};
    thread_pool_each(pool, &loop);
    int wrong = counted.wrong;
    for (int64_t i = 0; i < ITEMS; i++)
        wrong += counted.times[i] != (i < items);
    return wrong;
}

static struct thread_pool *make_pool(int threads) {
    struct error error = {0};
    struct thread_pool *pool;
    cr_assert_eq(thread_pool_create(threads, &pool, &error), HEDDLE_OK);
    return pool;
}

static void *loop_often(void *pool) {
    intptr_t wrong = 0;
    for (int i = 0; i < 10 * ROUNDS; i++)
        wrong += loop_once(pool, i % 7 ? ITEMS - i : i % 3, 1 + i % 5, 1 + i % 8);
    return (void *)wrong;
}

Test(threads, loops_of_many_threads) {
    struct thread_pool *pool = make_pool(4);
    pthread_t hosts[HOSTS];
    for (int i = 0; i < HOSTS; i++)
        cr_assert_eq(pthread_create(&hosts[i], NULL, loop_often, pool), 0);
    for (int i = 0; i < HOSTS; i++) {
        void *wrong;
        pthread_join(hosts[i], &wrong);
        cr_expect_null(wrong, "%d items wrong", (int)(intptr_t)wrong);
    }
    thread_pool_destroy(pool);
}

Test(threads, pools_come_and_go) {
    thread_pool_destroy(NULL);
    for (int i = 0; i < ROUNDS; i++) {
        struct thread_pool *pool = make_pool(i % 5);
        if (i % 2)
            thread_pool_start(pool);
        if (i % 3)
            cr_expect_eq(loop_once(pool, ITEMS, 1, 8), 0);
        thread_pool_destroy(pool);
    }
}

// The caller's floating-point modes are those of all threads.
static void see_rounding(void *context, int64_t begin, int64_t end, void *scratch) {
    atomic_int *up = context;
    (void)scratch;
    if (fegetround() == FE_UPWARD)
        atomic_fetch_add(up, (int)(end - begin));
    usleep(100); // so that others take part
}

Test(threads, modes_of_the_caller) {
    struct thread_pool *pool = make_pool(4);
    atomic_int up = 0;
    const struct thread_loop loop = {
        .count = 64, .chunk = 1, .body = see_rounding, .context = &up, .threads = 4};
    thread_pool_start(pool);
    fesetround(FE_UPWARD);
    thread_pool_each(pool, &loop);
    fesetround(FE_TONEAREST);
    cr_expect_eq(up, 64);
    thread_pool_each(pool, &loop);
    cr_expect_eq(up, 64);
    thread_pool_destroy(pool);
}

#ifndef __SANITIZE_THREAD__ // it does not follow threads that a child of many starts
static int child_status(struct thread_pool *pool) {
    pid_t child = fork();
    if (child == 0) {
        alarm(20); // a child that waits for threads that it does not have
        int wrong = loop_once(pool, ITEMS, 1, 8) + loop_once(pool, ITEMS, 3, 8);
        thread_pool_destroy(pool);
        _exit(wrong ? 1 : 0);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

Test(threads, children_of_fork) {
    struct thread_pool *pool = make_pool(4);
    cr_expect_eq(child_status(pool), 0, "before there were threads");
    cr_expect_eq(loop_once(pool, ITEMS, 1, 8), 0);
    cr_expect_eq(child_status(pool), 0, "after");
    cr_expect_eq(loop_once(pool, ITEMS, 1, 8), 0, "the parent goes on");
    thread_pool_destroy(pool);
}
#endif

// ---- runs ---------------------------------------------------------------------------------------

enum { TOKENS = 200, HEADS = 4, DIM = 32, COUNT = HEADS * TOKENS * DIM };

struct numbers {
    float q[COUNT], k[COUNT], v[COUNT];
    float o[COUNT], lse[HEADS * TOKENS]; // by one thread
};

struct host {
    struct heddle_plan *plan;
    const struct numbers *numbers;
    bool brings_workspace;
    int64_t workspace_bytes;
    int wrong;
};

static void *run_often(void *context) {
    struct host *host = context;
    const struct numbers *n = host->numbers;
    float *o = malloc(sizeof n->o), *lse = malloc(sizeof n->lse);
    void *workspace = aligned_alloc(HEDDLE_WORKSPACE_ALIGNMENT, (size_t)host->workspace_bytes);
    const struct heddle_run_options options = {
        .struct_bytes = sizeof options,
        .workspace = host->brings_workspace ? workspace : NULL,
        .workspace_bytes = host->brings_workspace ? host->workspace_bytes : 0};
    // Inputs are only read.
    const struct heddle_tensors tensors = {.q = {(void *)(uintptr_t)n->q, {0}},
                                           .k = {(void *)(uintptr_t)n->k, {0}},
                                           .v = {(void *)(uintptr_t)n->v, {0}},
                                           .o = {o, {0}},
                                           .lse = lse};
    for (int i = 0; i < ROUNDS; i++) {
        memset(o, 0xff, sizeof n->o);
        bool right = heddle_run_with(host->plan, &tensors, &options, NULL) == HEDDLE_OK &&
                     memcmp(o, n->o, sizeof n->o) == 0 && memcmp(lse, n->lse, sizeof n->lse) == 0;
        host->wrong += !right;
    }
    free(o);
    free(lse);
    free(workspace);
    return NULL;
}

static struct heddle_context *make_context(int threads) {
    const struct heddle_context_options options = {
        .struct_bytes = sizeof options, .target = HEDDLE_TARGET_CPU, .threads = threads};
    struct heddle_context *context;
    cr_assert_eq(heddle_context_create(&options, &context), HEDDLE_OK, "%s", heddle_last_error());
    return context;
}

static struct heddle_plan *make_plan(struct heddle_context *context,
                                     struct heddle_pattern *pattern) {
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    struct heddle_plan *plan;
    problem.sizes[0] = TOKENS;
    problem.heads = problem.kv_heads = HEADS;
    problem.dim = DIM;
    cr_assert_eq(heddle_plan_create(context, pattern, &problem, &plan), HEDDLE_OK, "%s",
                 heddle_last_error());
    return plan;
}

// What one thread makes.
static struct numbers *make_numbers(void) {
    struct numbers *n = malloc(sizeof *n);
    cr_assert_not_null(n);
    for (int i = 0; i < COUNT; i++) {
        n->q[i] = (float)(i * 37 % 201 - 100) / 50;
        n->k[i] = (float)(i * 53 % 199 - 99) / 50;
        n->v[i] = (float)(i * 71 % 197 - 98) / 50;
    }
    const struct heddle_tensors tensors = {
        .q = {n->q, {0}}, .k = {n->k, {0}}, .v = {n->v, {0}}, .o = {n->o, {0}}, .lse = n->lse};
    struct heddle_context *context = make_context(1);
    struct heddle_pattern *pattern;
    cr_assert_eq(heddle_pattern_load(context, "causal", NULL, &pattern), HEDDLE_OK);
    struct heddle_plan *plan = make_plan(context, pattern);
    cr_assert_eq(heddle_run(plan, &tensors, NULL), HEDDLE_OK);
    heddle_plan_destroy(plan);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    return n;
}

// Plans of one context: two threads share each, some with a workspace.
Test(threads, runs_of_many_threads) {
    struct numbers *numbers = make_numbers();
    struct heddle_context *context = make_context(4);
    struct heddle_pattern *pattern;
    struct heddle_plan *plans[HOSTS / 2];
    struct host hosts[HOSTS];
    pthread_t threads[HOSTS];
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    cr_assert_eq(heddle_pattern_load(context, "causal", NULL, &pattern), HEDDLE_OK);
    for (int i = 0; i < HOSTS / 2; i++)
        plans[i] = make_plan(context, pattern);
    heddle_plan_info(plans[0], &info);
    for (int i = 0; i < HOSTS; i++) {
        // The third one's has room for one thread only, or not for all.
        int64_t bytes = i == 2 ? info.workspace_bytes / 4 : info.workspace_bytes;
        hosts[i] = (struct host){plans[i / 2], numbers, i % 3 != 0, bytes, 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, run_often, &hosts[i]), 0);
    }
    for (int i = 0; i < HOSTS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(hosts[i].wrong, 0, "thread %d: %d runs wrong, %s", i, hosts[i].wrong,
                     heddle_last_error());
    }
    for (int i = 0; i < HOSTS / 2; i++)
        heddle_plan_destroy(plans[i]);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    free(numbers);
}

// Contexts, patterns and plans that come and go beside each other, of one pattern's code.
struct maker {
    struct heddle_context *context;
    struct heddle_pattern *pattern;
    const struct numbers *numbers;
};

static void *make_and_run(void *context) {
    const struct maker *maker = context;
    struct heddle_context *own = make_context(2);
    struct heddle_pattern *pattern;
    cr_assert_eq(heddle_pattern_load(own, "causal", NULL, &pattern), HEDDLE_OK);
    struct heddle_plan *plans[] = {make_plan(maker->context, maker->pattern),
                                   make_plan(own, pattern)};
    intptr_t wrong = 0;
    for (int i = 0; i < 2; i++) {
        struct host host = {plans[i], maker->numbers, false, 0, 0};
        run_often(&host);
        wrong += host.wrong;
        heddle_plan_destroy(plans[i]);
    }
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(own);
    return (void *)wrong;
}

// Takes the context.
static void make_on_threads(struct heddle_context *context, struct numbers *numbers) {
    struct maker maker = {context, NULL, numbers};
    pthread_t threads[HOSTS / 2];
    cr_assert_eq(heddle_pattern_load(maker.context, "causal", NULL, &maker.pattern), HEDDLE_OK);
    for (int i = 0; i < HOSTS / 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, make_and_run, &maker), 0);
    for (int i = 0; i < HOSTS / 2; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        cr_expect_null(wrong);
    }
    heddle_pattern_destroy(maker.pattern);
    heddle_context_destroy(maker.context);
}

Test(threads, objects_of_many_threads) {
    struct numbers *numbers = make_numbers();
    make_on_threads(make_context(3), numbers);
    free(numbers);
}

// The same with nothing compiled yet and a cache on disk: each code is made by one of them.
Test(threads, one_cold_cache) {
    struct numbers *numbers = make_numbers();
    char scratch[SCRATCH_ROOM];
    scratch_make("threads", scratch);
    setenv("HEDDLE_CACHE_DIR", scratch, 1);
    make_on_threads(make_context(2), numbers);
    setenv("HEDDLE_CACHE_DIR", "/dev/null", 1);
    scratch_remove(scratch);
    free(numbers);
}

// ---- workspaces that are refused ----------------------------------------------------------------

Test(threads, workspaces_that_do_not_fit) {
    struct numbers *numbers = make_numbers();
    struct heddle_context *context = make_context(2);
    struct heddle_pattern *pattern;
    cr_assert_eq(heddle_pattern_load(context, "causal", NULL, &pattern), HEDDLE_OK);
    struct heddle_plan *plan = make_plan(context, pattern);
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    heddle_plan_info(plan, &info);
    cr_assert_gt(info.workspace_bytes, 0);
    char *room = aligned_alloc(HEDDLE_WORKSPACE_ALIGNMENT, (size_t)info.workspace_bytes + 128);
    const struct heddle_tensors tensors = {.q = {numbers->q, {0}},
                                           .k = {numbers->k, {0}},
                                           .v = {numbers->v, {0}},
                                           .o = {numbers->o, {0}}};
    const struct {
        char *at;
        int64_t bytes;
        const char *words;
    } cases[] = {{NULL, 4096, "no workspace"},
                 {room + 64, info.workspace_bytes, "aligned"},
                 {room, 0, "less than"},
                 {room, 1000, "with one thread"}};
    for (int i = 0; i < 4; i++) {
        const struct heddle_run_options options = {sizeof options, cases[i].at, cases[i].bytes};
        cr_expect_eq(heddle_run_with(plan, &tensors, &options, NULL), HEDDLE_BAD_ARGUMENT);
        cr_expect_not_null(strstr(heddle_last_error(), cases[i].words), "%s", heddle_last_error());
    }
    const struct heddle_run_options odd = {.struct_bytes = 3};
    cr_expect_eq(heddle_run_with(plan, &tensors, &odd, NULL), HEDDLE_BAD_ARGUMENT);
    cr_expect_eq(heddle_run_with(plan, &tensors, NULL, NULL), HEDDLE_OK);
    free(room);
    heddle_plan_destroy(plan);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    free(numbers);
}
