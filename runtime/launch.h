// Stage `launch`: plan + tensors -> output, on this machine's processors.
#ifndef HEDDLE_RUNTIME_LAUNCH_H
#define HEDDLE_RUNTIME_LAUNCH_H

#include "runtime/plan.h"
#include "runtime/threads.h"

enum { SCRATCH_ALIGNMENT = 128 }; // bytes

// Memory of one run, which its threads share out. One run at a time uses it.
struct run_scratch {
    void *data; // aligned to SCRATCH_ALIGNMENT; zeroed: none yet
    int64_t bytes;
    bool grows; // it is the library's, to be freed with run_scratch_finish; else the caller's
};

// What a run of the plan takes with `threads` threads, where head dims are contiguous.
int64_t run_scratch_bytes(const struct plan *plan, int threads);
enum heddle_status run_scratch_reserve(struct run_scratch *scratch, int64_t bytes,
                                       struct error *error);
void run_scratch_finish(struct run_scratch *scratch); // zeroed is fine

// Computes o and lse on the pool's threads. Items are handed out in order to whichever thread is
// free; each writes its own rows, so the result does not depend on the threads. Scratch that does
// not grow and is too small for all threads makes it run on fewer. Allocates nothing where scratch
// is as large as run_scratch_bytes says and head dims are contiguous. HEDDLE_BAD_ARGUMENT: tensors
// that run_tensors.h refuses, or scratch too small for one thread; HEDDLE_OUT_OF_MEMORY.
enum heddle_status plan_run(struct plan *plan, const struct heddle_tensors *tensors,
                            struct thread_pool *pool, struct run_scratch *scratch,
                            struct error *error);

// One run on threads and scratch of its own. threads 0: one per processor that this process may
// use.
enum heddle_status plan_run_once(struct plan *plan, const struct heddle_tensors *tensors,
                                 int threads, struct error *error);

#endif
