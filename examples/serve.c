// A server's threads share one context and one pattern; each has a plan of its own for every length
// that it serves, so that all may run at the same time.
//
//   cc serve.c $(pkg-config --cflags --libs heddle) -pthread -o serve && ./serve
//
// On a GPU it is the same with a stream for each thread (a CUstream, the last argument of
// heddle_run) and tensors in the GPU's memory; runs of one plan then follow each other in the
// thread's stream.
#include <heddle.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, REQUESTS = 6, HEADS = 2, DIM = 64, LENGTHS = 3, LONGEST = 768 };
static const int64_t lengths[LENGTHS] = {256, 512, LONGEST};

struct worker {
    pthread_t thread;
    struct heddle_context *context; // shared
    struct heddle_pattern *pattern; // shared
    struct heddle_plan *plans[LENGTHS];
    float *q, *k, *v, *o; // [1, HEADS, LONGEST, DIM] each
    float answers[REQUESTS];
    char message[200]; // of the first failure, "" where there is none
};

// The message of the thread's last failed call is the thread's, so it is copied.
static int fails(struct worker *worker, enum heddle_status status) {
    if (status != HEDDLE_OK && !worker->message[0])
        snprintf(worker->message, sizeof worker->message, "%s", heddle_last_error());
    return status != HEDDLE_OK;
}

static void make_plans(struct worker *worker) {
    for (int i = 0; i < LENGTHS; i++) {
        struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
        problem.sizes[0] = lengths[i];
        problem.heads = problem.kv_heads = HEADS;
        problem.dim = DIM;
        if (fails(worker, heddle_plan_create(worker->context, worker->pattern, &problem,
                                             &worker->plans[i])))
            return;
    }
}

// Tensors have room for the longest request: strides say where heads begin.
static struct heddle_tensor tensor(float *data) {
    return (struct heddle_tensor){.data = data,
                                  .strides = {HEADS * LONGEST * DIM, LONGEST * DIM, DIM, 1}};
}

// Values of a request are its number plus the token's, and queries are 0: the last token's output
// is the mean of them.
static float serve_one(struct worker *worker, int request) {
    int64_t tokens = lengths[request % LENGTHS];
    for (int64_t h = 0; h < HEADS; h++)
        for (int64_t i = 0; i < tokens; i++)
            worker->v[(h * LONGEST + i) * DIM] = (float)(request + i);
    const struct heddle_tensors tensors = {.q = tensor(worker->q),
                                           .k = tensor(worker->k),
                                           .v = tensor(worker->v),
                                           .o = tensor(worker->o)};
    fails(worker, heddle_run(worker->plans[request % LENGTHS], &tensors, NULL));
    return worker->o[((HEADS - 1) * LONGEST + tokens - 1) * DIM];
}

static void *serve(void *argument) {
    struct worker *worker = argument;
    float **const tensors[] = {&worker->q, &worker->k, &worker->v, &worker->o};
    for (int t = 0; t < 4; t++)
        if (!(*tensors[t] = calloc(HEADS * LONGEST * DIM, sizeof(float))))
            snprintf(worker->message, sizeof worker->message, "no memory");
    if (!worker->message[0])
        make_plans(worker);
    for (int r = 0; r < REQUESTS && !worker->message[0]; r++)
        worker->answers[r] = serve_one(worker, r);
    for (int i = 0; i < LENGTHS; i++)
        heddle_plan_destroy(worker->plans[i]);
    for (int t = 0; t < 4; t++)
        free(*tensors[t]);
    return NULL;
}

static int is_right(const struct worker *worker) {
    for (int r = 0; r < REQUESTS; r++) {
        float mean = (float)r + (float)(lengths[r % LENGTHS] - 1) / 2;
        if (!(worker->answers[r] > mean - 0.1f && worker->answers[r] < mean + 0.1f))
            return 0;
    }
    return !worker->message[0];
}

static int serve_all(struct heddle_context *context, struct heddle_pattern *pattern) {
    struct worker workers[THREADS];
    int started[THREADS], right = 0;
    memset(workers, 0, sizeof workers);
    for (int i = 0; i < THREADS; i++) {
        workers[i].context = context;
        workers[i].pattern = pattern;
        started[i] = pthread_create(&workers[i].thread, NULL, serve, &workers[i]) == 0;
    }
    for (int i = 0; i < THREADS; i++) {
        if (started[i])
            pthread_join(workers[i].thread, NULL);
        if (workers[i].message[0])
            fprintf(stderr, "serve: %s\n", workers[i].message);
        right += started[i] && is_right(&workers[i]);
    }
    return right;
}

int main(void) {
    // The server's threads are the parallelism: a run uses the thread that calls it, no others.
    const struct heddle_context_options options = {
        .struct_bytes = sizeof options, .target = HEDDLE_TARGET_CPU, .threads = 1};
    struct heddle_context *context = NULL;
    struct heddle_pattern *pattern = NULL;
    int right = 0;
    if (heddle_context_create(&options, &context) == HEDDLE_OK &&
        heddle_pattern_load(context, "causal", NULL, &pattern) == HEDDLE_OK)
        right = serve_all(context, pattern);
    else
        fprintf(stderr, "serve: %s\n", heddle_last_error());
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    printf("%d of %d threads served %d requests each\n", right, THREADS, REQUESTS);
    return right == THREADS ? 0 : 1;
}
