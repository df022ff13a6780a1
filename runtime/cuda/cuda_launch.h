// Stage `launch` on a GPU.
#ifndef HEDDLE_RUNTIME_CUDA_LAUNCH_H
#define HEDDLE_RUNTIME_CUDA_LAUNCH_H

#include "runtime/cuda/cuda_plan.h"

// Queues the kernel on `stream`: tensors and lse are device addresses. Never waits, reads no memory
// of the host after it returned, and may be captured in a graph. heddle.h says what layouts fit:
// HEDDLE_BAD_ARGUMENT says what is wrong and what would work; HEDDLE_DEVICE_ERROR. One run at a
// time may be in flight in a workspace (cuda_workspace_bytes; 0: the plan's own), and one thread at
// a time in the call.
enum heddle_status cuda_plan_run(struct cuda_plan *plan, const struct heddle_tensors *tensors,
                                 CUdeviceptr workspace, CUstream stream, struct error *error);

#endif
