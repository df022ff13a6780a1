// A plan on a GPU: the kernel loaded, and everything a launch reads but the tensors uploaded.
#ifndef HEDDLE_RUNTIME_CUDA_PLAN_H
#define HEDDLE_RUNTIME_CUDA_PLAN_H

#include "compiler/sm90/sm90_kernel.h"
#include "runtime/cuda/cuda_memory.h"
#include "runtime/cuda/module.h"
#include "runtime/run_tensors.h"

struct cuda_plan {
    const struct plan *plan;          // borrowed
    const struct cuda_device *device; // borrowed
    struct cuda_kernel kernel;
    struct arena arena;
    struct cuda_memory memory;    // freed with the plan
    struct cuda_planner *planner; // NULL: lists are the host's
    struct cuda_pool *pool;       // NULL: a pattern without sources
    CUdeviceptr *tables;          // of parameters; a planner on the GPU reads them too
    // The kernel's parameter but for what tensors decide.
    unsigned char *args;
    CUdeviceptr queue; // of runs without a workspace: uint32_t[2]
    // Sets of tensor maps (cuda_maps.h): one per residue, times one per batch.
    int64_t residue_sets;
    unsigned char *host_maps;                  // of the latest run, if `encoded`
    struct abi_tensor encoded_of[RUN_TENSORS]; // its tensors
    bool encoded;
    // When there is more than one set: where the device keeps those of runs without a workspace,
    // what puts maps there, whether they are host_maps now, and whether some run was captured in a
    // graph.
    CUdeviceptr maps;
    struct cuda_kernel place_maps;
    bool placed, captured;
    double load_ms;
};

// `plan` was made for HEDDLE_TARGET_CUDA; with lists_only nothing can be run.
// HEDDLE_DEVICE_ERROR, HEDDLE_OUT_OF_MEMORY, HEDDLE_LIMIT.
enum heddle_status cuda_plan_create(const struct cuda_device *device, const struct plan *plan,
                                    struct cuda_plan **out_plan, struct error *error);
void cuda_plan_destroy(struct cuda_plan *plan); // NULL is fine

// What a run writes besides its results, as one block of the device's memory that begins with the
// queue, whatever the plan: zeros before its first run.
int64_t cuda_workspace_bytes(const struct cuda_plan *plan);

// ---- residues (cuda_plan.c, for the maps) -------------------------------------------------------

struct cuda_residue { // of one set of maps
    int64_t residue[ABI_AXES], extent[ABI_AXES];
    int64_t query_first; // on the outermost basis axis
};
struct cuda_residue cuda_residue_of(const struct plan *plan, int64_t set);

#endif
