// Where a command runs: --target, resolved against this machine.
#ifndef HEDDLE_CLI_TARGET_H
#define HEDDLE_CLI_TARGET_H

#include "cli/measure.h"
#include "cli/problem.h"
#include "cli/tensors.h"
#include "runtime/cuda/cuda_plan.h"

struct target {
    enum heddle_target kind; // HEDDLE_TARGET_CPU or HEDDLE_TARGET_CUDA
    struct cuda_device device;
    bool assumed; // `device` is none of this machine's
};

// --target cuda without a fitting GPU fails (exit status 4); auto, or no --target, then takes the
// CPU, and `auto` says so in one line.
int target_open(struct target *target, const struct problem_args *args);
// The same for what runs nothing: no context is made, and --target cuda takes the GPU that the
// costs were measured on (runtime/cost.h) where there is none.
void target_look(struct target *target, const struct problem_args *args);
void target_close(struct target *target); // zeroed is fine

// A plan and its tensors on the GPU.
struct gpu_run {
    struct cuda_plan *plan;
    CUdeviceptr memory[5]; // q, k, v, o, lse
    struct heddle_tensors run;
    int64_t row_elements; // a row of d elements, padded for the copy engine
};
// Uploads the tensors (o and lse too: they hold NaN). Exit status; failures are explained.
int gpu_run_create(struct gpu_run *gpu, const struct target *target, const struct plan *plan,
                   const struct tensors *tensors);
void gpu_run_destroy(struct gpu_run *gpu); // zeroed is fine
// Runs `untimed` times, then `repeats` times between events; after an untimed run they are queued
// ahead of the GPU (gpu_time.c).
int gpu_run_measure(struct gpu_run *gpu, int64_t untimed, int64_t repeats, struct timing *out);
// o and lse back into the host's tensors.
int gpu_run_fetch(struct gpu_run *gpu, const struct tensors *tensors);

#endif
