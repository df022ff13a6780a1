// Sources of a pattern that reads keys at several resolutions, on a GPU: pooled copies of K and V
// in memory of the plan, made by each run before its attention.
#ifndef HEDDLE_RUNTIME_CUDA_POOL_H
#define HEDDLE_RUNTIME_CUDA_POOL_H

#include "runtime/cuda/cuda_plan.h"
#include "runtime/run_tensors.h"

struct cuda_pool {
    struct cuda_kernel kernel;
    bool few;          // of the kernels, that for few levels
    int count;         // of pools whose means some source reads; by pool:
    CUdeviceptr *jobs; // struct pool_job[2], of K and of V
    int64_t *units;
};

// Room for the copies, their maps, and what the attention kernel reads of each source. Nothing for
// a pattern without sources. Within the device's context, as the function below. HEDDLE_LIMIT: a
// heddle that was built without clang has no kernel for it.
enum heddle_status cuda_pool_create(struct cuda_plan *c, struct sm90_args *args,
                                    struct error *error);
void cuda_pool_unload(struct cuda_plan *c); // its kernel; memory is the plan's

// Queues the pooling of a run's K and V.
enum heddle_status cuda_pool_run(struct cuda_plan *c, const struct run_view *views, CUstream stream,
                                 struct error *error);

#endif
