// The pooling stage of a launch on the CPU: pooled copies of K and V for the sources of a pattern
// that reads keys at several resolutions.
#ifndef HEDDLE_RUNTIME_POOL_H
#define HEDDLE_RUNTIME_POOL_H

#include "compiler/pool/pool_rows.h"
#include "runtime/plan.h"
#include "runtime/threads.h"

// K's and V's pyramids of one of the pattern's pools, rows without padding and no memory yet.
void pool_jobs(const struct plan *plan, const struct abi_tensor *k, const struct abi_tensor *v,
               int pool, struct pool_job jobs[2]);

// Bytes that pool_run takes, a multiple of 128; 0 for a pattern without sources.
int64_t pool_bytes(const struct plan *plan);

// Pools launch->k and launch->v into `memory` (pool_bytes, aligned to 128 bytes) and lets
// launch->sources point at the copies. Nothing to do for a pattern without sources.
void pool_run(const struct plan *plan, struct abi_launch *launch, struct thread_pool *threads,
              void *memory);

#endif
