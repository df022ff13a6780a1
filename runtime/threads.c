#define _GNU_SOURCE // sched_getaffinity, pthread_setname_np

#include "runtime/threads.h"

#include "compiler/base/log.h"

#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_THREADS = 1024, RESTARTING = 0 };

// On the stack of the thread that runs the loop. All but `next` is guarded by the pool's mutex.
struct job {
    const struct thread_loop *loop;
    atomic_llong next; // first item that nobody has taken
    int taken, active; // threads that took part, and those that still do; the caller's apart
    fenv_t modes;
    pthread_cond_t idle; // active fell to 0
    struct job *newer;
};

struct thread_pool {
    int threads;        // of a loop, the caller's among them
    atomic_int process; // whose the threads are: a child of fork has none of them
    pthread_mutex_t mutex;
    pthread_cond_t wake; // there may be a job to help with
    struct job *oldest;  // of those with items left when they were last looked at
    bool started, stopping;
    int started_count;
    pthread_t workers[];
};

int threads_available(void) {
    cpu_set_t usable;
    long processors = sched_getaffinity(0, sizeof usable, &usable) == 0
                          ? CPU_COUNT(&usable)
                          : sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > MOST_THREADS ? MOST_THREADS : (int)processors;
}

// ---- jobs ---------------------------------------------------------------------------------------

static void work(struct job *job, int place) {
    const struct thread_loop *loop = job->loop;
    void *scratch = loop->scratch ? loop->scratch + place * loop->scratch_bytes : NULL;
    for (;;) {
        int64_t begin = atomic_fetch_add_explicit(&job->next, loop->chunk, memory_order_relaxed);
        if (begin >= loop->count)
            return;
        int64_t end = begin + loop->chunk < loop->count ? begin + loop->chunk : loop->count;
        loop->body(loop->context, begin, end, scratch);
    }
}

static bool wants_help(struct job *job) {
    return job->taken + 1 < job->loop->threads &&
           atomic_load_explicit(&job->next, memory_order_relaxed) < job->loop->count;
}

static struct job *find_job(const struct thread_pool *pool) {
    struct job *job = pool->oldest;
    while (job && !wants_help(job))
        job = job->newer;
    return job;
}

static void add_job(struct thread_pool *pool, struct job *job) {
    struct job **at = &pool->oldest;
    while (*at)
        at = &(*at)->newer;
    *at = job;
}

static void remove_job(struct thread_pool *pool, const struct job *job) {
    struct job **at = &pool->oldest;
    while (*at != job)
        at = &(*at)->newer;
    *at = job->newer;
}

// ---- threads ------------------------------------------------------------------------------------

// Who wakes up wakes two more, so that the caller of a loop wakes one and goes on with its items.
static void help(struct thread_pool *pool, struct job *job) {
    int place = ++job->taken;
    job->active++;
    if (wants_help(job)) {
        pthread_cond_signal(&pool->wake);
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->mutex);
    fesetenv(&job->modes);
    work(job, place);
    pthread_mutex_lock(&pool->mutex);
    if (--job->active == 0)
        pthread_cond_signal(&job->idle);
}

static void *live(void *context) {
    struct thread_pool *pool = context;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->stopping) {
        struct job *job = find_job(pool);
        if (job)
            help(pool, job);
        else
            pthread_cond_wait(&pool->wake, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

// With the mutex held. The host's signals are for the host's threads.
static void start(struct thread_pool *pool) {
    sigset_t all, before;
    if (pool->started)
        return;
    pool->started = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started_count < pool->threads - 1) {
        pthread_t *worker = &pool->workers[pool->started_count];
        if (pthread_create(worker, NULL, live, pool) != 0) {
            log_line(HEDDLE_LOG_WARNING, "runs have %d threads: the system starts no more",
                     1 + pool->started_count);
            break;
        }
        pthread_setname_np(*worker, "heddle");
        pool->started_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

// ---- the pool -----------------------------------------------------------------------------------

static void make_empty(struct thread_pool *pool) {
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->oldest = NULL;
    pool->started = pool->stopping = false;
    pool->started_count = 0;
}

// In a child of fork, what the parent's threads waited on is left as it is and made anew. Several
// threads may come here at a time.
static void be_of_this_process(struct thread_pool *pool) {
    int here = (int)getpid(), seen = atomic_load(&pool->process);
    while (seen != here) {
        if (seen != RESTARTING &&
            atomic_compare_exchange_strong(&pool->process, &seen, RESTARTING)) {
            make_empty(pool);
            atomic_store(&pool->process, here);
        }
        sched_yield();
        seen = atomic_load(&pool->process);
    }
}

enum heddle_status thread_pool_create(int threads, struct thread_pool **out, struct error *error) {
    threads = threads < 1 ? threads_available() : threads;
    threads = threads > MOST_THREADS ? MOST_THREADS : threads;
    struct thread_pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof(pthread_t));
    *out = pool;
    if (!pool)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a pool of threads");
    pool->threads = threads;
    atomic_store(&pool->process, (int)getpid());
    make_empty(pool);
    return HEDDLE_OK;
}

void thread_pool_destroy(struct thread_pool *pool) {
    if (!pool)
        return;
    be_of_this_process(pool);
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->started_count; i++)
        pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

int thread_pool_threads(const struct thread_pool *pool) {
    return pool->threads;
}

void thread_pool_start(struct thread_pool *pool) {
    be_of_this_process(pool);
    pthread_mutex_lock(&pool->mutex);
    start(pool);
    pthread_mutex_unlock(&pool->mutex);
}

static void run_helped(struct thread_pool *pool, struct job *job) {
    fegetenv(&job->modes);
    pthread_cond_init(&job->idle, NULL);
    be_of_this_process(pool);
    pthread_mutex_lock(&pool->mutex);
    start(pool);
    add_job(pool, job);
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    work(job, 0);
    pthread_mutex_lock(&pool->mutex);
    remove_job(pool, job);
    while (job->active > 0)
        pthread_cond_wait(&job->idle, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    pthread_cond_destroy(&job->idle);
}

void thread_pool_each(struct thread_pool *pool, const struct thread_loop *loop) {
    struct job job = {.loop = loop};
    if (pool->threads > 1 && loop->threads > 1 && loop->count > loop->chunk)
        run_helped(pool, &job);
    else
        work(&job, 0);
}

enum heddle_status thread_pool_for(struct thread_pool *pool, int64_t count, int64_t chunk,
                                   int64_t scratch_bytes,
                                   void (*body)(void *, int64_t, int64_t, void *), void *context,
                                   struct error *error) {
    enum { ALIGNMENT = 128 };
    int64_t place = (scratch_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *scratch = place ? aligned_alloc(ALIGNMENT, (size_t)(pool->threads * place)) : NULL;
    const struct thread_loop loop = {count, chunk, body, context, pool->threads, scratch, place};
    if (place && !scratch)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the threads' scratch");
    thread_pool_each(pool, &loop);
    free(scratch);
    return HEDDLE_OK;
}

enum heddle_status threads_each(int threads, int64_t count, int64_t chunk, int64_t scratch_bytes,
                                void (*body)(void *, int64_t, int64_t, void *), void *context,
                                struct error *error) {
    struct thread_pool *pool;
    enum heddle_status status = thread_pool_create(threads, &pool, error);
    if (status == HEDDLE_OK)
        status = thread_pool_for(pool, count, chunk, scratch_bytes, body, context, error);
    thread_pool_destroy(pool);
    return status;
}
