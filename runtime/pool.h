// The pooling stage of a launch on the CPU: pooled copies of K and V for the sources of a pattern
// that reads keys at several resolutions.
#ifndef HEDDLE_RUNTIME_POOL_H
#define HEDDLE_RUNTIME_POOL_H

#include "compiler/pool/pool_rows.h"
#include "runtime/plan.h"

struct pooled { // of one launch; zeroed: nothing was pooled
    struct abi_source *sources;
    void *memory;
};

// K's and V's pyramids of one of the pattern's pools, rows without padding and no memory yet.
void pool_jobs(const struct plan *plan, const struct abi_tensor *k, const struct abi_tensor *v,
               int pool, struct pool_job jobs[2]);

// Bytes of the pooled copies of one launch.
int64_t pool_bytes(const struct plan *plan);

// Pools launch->k and launch->v, and lets launch->sources point at the copies until pool_finish.
// Nothing to do for a pattern without sources. HEDDLE_OUT_OF_MEMORY: no room for the copies.
enum heddle_status pool_begin(const struct plan *plan, struct abi_launch *launch, int threads,
                              struct pooled *out, struct error *error);
void pool_finish(struct pooled *pooled);

#endif
