#define _GNU_SOURCE // sched_getaffinity

#include "runtime/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_THREADS = 1024 };

struct job {
    atomic_llong next;
    int64_t count, chunk;
    void (*body)(void *, int64_t, int64_t, void *);
    void *context;
};

struct worker {
    struct job *job;
    void *scratch;
    pthread_t thread;
    bool started;
};

int threads_available(void) {
    cpu_set_t usable;
    long processors = sched_getaffinity(0, sizeof usable, &usable) == 0
                          ? CPU_COUNT(&usable)
                          : sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (int)processors;
}

static void work(struct worker *worker) {
    struct job *job = worker->job;
    for (;;) {
        int64_t begin = atomic_fetch_add_explicit(&job->next, job->chunk, memory_order_relaxed);
        if (begin >= job->count)
            return;
        int64_t end = begin + job->chunk < job->count ? begin + job->chunk : job->count;
        job->body(job->context, begin, end, worker->scratch);
    }
}

static void *work_thread(void *worker) {
    work(worker);
    return NULL;
}

// Scratch first, threads second: a thread that cannot be started leaves its items to the others.
static bool make_workers(struct worker *workers, int count, struct job *job,
                         int64_t scratch_bytes) {
    size_t bytes = ((size_t)scratch_bytes + 4095) / 4096 * 4096;
    for (int i = 0; i < count; i++) {
        workers[i] = (struct worker){.job = job, .scratch = aligned_alloc(4096, bytes + 4096)};
        if (!workers[i].scratch)
            return i > 0 ? (workers[i].scratch = NULL, true) : false;
    }
    return true;
}

enum heddle_status threads_each(int threads, int64_t count, int64_t chunk, int64_t scratch_bytes,
                                void (*body)(void *, int64_t, int64_t, void *), void *context,
                                struct error *error) {
    struct job job = {.count = count, .chunk = chunk, .body = body, .context = context};
    if (threads < 1)
        threads = threads_available();
    if (threads > MOST_THREADS)
        threads = MOST_THREADS;
    if (threads > (count + chunk - 1) / chunk)
        threads = count > 0 ? (int)((count + chunk - 1) / chunk) : 1;
    struct worker *workers = calloc((size_t)threads, sizeof *workers);
    bool ready = workers && make_workers(workers, threads, &job, scratch_bytes);
    for (int i = 1; ready && i < threads && workers[i].scratch; i++)
        workers[i].started =
            pthread_create(&workers[i].thread, NULL, work_thread, &workers[i]) == 0;
    if (ready)
        work(&workers[0]);
    for (int i = 0; workers && i < threads; i++) {
        if (workers[i].started)
            pthread_join(workers[i].thread, NULL);
        free(workers[i].scratch);
    }
    free(workers);
    return ready ? HEDDLE_OK
                 : error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the threads' scratch");
}
