// Loops over items on several threads: a pool of threads that wait for loops to help with.
#ifndef HEDDLE_RUNTIME_THREADS_H
#define HEDDLE_RUNTIME_THREADS_H

#include "compiler/base/status.h"

struct thread_pool;

struct thread_loop {
    int64_t count, chunk; // items [0, count), handed out in order in chunks of at most `chunk`
    void (*body)(void *context, int64_t begin, int64_t end, void *scratch);
    void *context;
    int threads;            // that take part at most, the calling one among them
    unsigned char *scratch; // of each of them scratch_bytes, side by side
    int64_t scratch_bytes;
};

// Processors that this process may use, at least 1.
int threads_available(void);

// threads 0: threads_available(). No thread is started before thread_pool_start.
enum heddle_status thread_pool_create(int threads, struct thread_pool **out, struct error *error);
// Waits for its threads to end; no loop may be running. NULL is fine.
void thread_pool_destroy(struct thread_pool *pool);
// What `threads` of a loop may be at most.
int thread_pool_threads(const struct thread_pool *pool);
// Starts the threads, once; where the system refuses some, loops run on fewer.
void thread_pool_start(struct thread_pool *pool);

// Calls the body for every item exactly once; the calling thread takes part, those of the pool as
// they come. Returns when all is done. Allocates nothing. Several threads may run loops at a time.
// All threads compute with the caller's floating-point modes. In a child of fork the pool starts
// threads of its own; no loop may be running when the process forks.
void thread_pool_each(struct thread_pool *pool, const struct thread_loop *loop);

// One loop on all of the pool's threads, each with scratch_bytes of its own, allocated for it
// (aligned to 128 bytes; 0: none). HEDDLE_OUT_OF_MEMORY.
enum heddle_status
thread_pool_for(struct thread_pool *pool, int64_t count, int64_t chunk, int64_t scratch_bytes,
                void (*body)(void *context, int64_t begin, int64_t end, void *scratch),
                void *context, struct error *error);

// The same on threads that end with it (0: threads_available()).
enum heddle_status threads_each(int threads, int64_t count, int64_t chunk, int64_t scratch_bytes,
                                void (*body)(void *context, int64_t begin, int64_t end,
                                             void *scratch),
                                void *context, struct error *error);

#endif
