// Inputs in the GPU's memory: fetched for a plan that is made, and changed in one that is there.
#ifndef HEDDLE_RUNTIME_CUDA_REPLAN_H
#define HEDDLE_RUNTIME_CUDA_REPLAN_H

#include "heddle.h"
#include "runtime/cuda/cuda_plan.h"

// The problem with all inputs in the host's memory. What it points to besides the caller's goes
// with cuda_problem_finish.
struct cuda_problem {
    struct heddle_problem problem;
    struct heddle_input *inputs;
    void **fetched; // by input, NULL where it was the host's
};
enum heddle_status cuda_problem_fetch(const struct cuda_device *device,
                                      const struct heddle_problem *problem,
                                      struct cuda_problem *out, struct error *error);
void cuda_problem_finish(struct cuda_problem *problem); // half made is fine

// heddle_replan and heddle_plan_lists.
enum heddle_status cuda_replan(struct cuda_plan *plan, const struct heddle_input *inputs, int count,
                               CUstream stream, struct error *error);
enum heddle_status cuda_plan_lists(struct cuda_plan *plan, CUstream stream,
                                   struct heddle_lists *out, struct error *error);

#endif
