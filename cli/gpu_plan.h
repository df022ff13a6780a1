// Lists made on the GPU: timed by its events, and held against the host's.
#ifndef HEDDLE_CLI_GPU_PLAN_H
#define HEDDLE_CLI_GPU_PLAN_H

#include "runtime/cuda/cuda_plan.h"

// Plans again a few times and sets plan->device_plan_ms, the median. Then makes the host's lists
// too, for reports, and with `compare` holds both against each other: a difference is explained and
// gives EXIT_VERIFY. Nothing to do for plans whose lists are the host's.
int gpu_plan_measure(struct cuda_plan *gpu, struct plan *plan, bool compare);

#endif
