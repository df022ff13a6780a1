// The planner on a GPU: makes the lists of a plan in its memory, without the host waiting.
#ifndef HEDDLE_RUNTIME_CUDA_PLANNER_H
#define HEDDLE_RUNTIME_CUDA_PLANNER_H

#include "compiler/planner/planner_device.h"
#include "heddle.h"
#include "runtime/cuda/cuda_plan.h"

struct cuda_planner {
    struct cuda_plan *c; // borrowed; it owns this
    CUmodule module;
    CUfunction clear, change, zero, levels, lists, order;
    struct cuda_memory memory; // workspace and lists; freed with the planner
    // As uploaded: every pointer in them is a device address.
    struct list_job list_job;
    struct order_job order_job;
    struct abi_array *arrays;
    CUdeviceptr list_job_at, order_job_at, arrays_at, scalars_at;
    CUdeviceptr outside_at; // uint32_t by input: see array_change.h
    CUdeviceptr workers_at; // their memory
    int64_t worker_bytes, warp_workers, warps;
    struct heddle_lists first; // when the plan was made
};

// Assembles the planner of c->plan's pattern and basis, makes room, plans once and points the
// attention kernel's arguments at the lists. Waits for the GPU. Within the device's context, as the
// functions below.
enum heddle_status cuda_planner_create(struct cuda_plan *c, struct cuda_planner **out,
                                       struct error *error);
// Both, in this order, and the second outside of the context too. NULL is fine.
void cuda_planner_unload(struct cuda_planner *planner);
void cuda_planner_finish(struct cuda_planner *planner);

// Queues planning on a stream: pyramids of all inputs and maps, lists, order of work.
enum heddle_status cuda_planner_launch(struct cuda_planner *planner, CUstream stream,
                                       struct error *error);
// Its parts, for inputs that change (cuda_replan.c): forgets that an input was outside of its
// range, takes new contents, makes the pyramid of one array; then lists and order.
enum heddle_status cuda_planner_clear(struct cuda_planner *planner, int input, CUstream stream,
                                      struct error *error);
enum heddle_status cuda_planner_change(struct cuda_planner *planner,
                                       const struct array_change *change, CUstream stream,
                                       struct error *error);
// A set's table, before its new elements come.
enum heddle_status cuda_planner_zero(struct cuda_planner *planner, int input, CUstream stream,
                                     struct error *error);
enum heddle_status cuda_planner_levels(struct cuda_planner *planner, int array, CUstream stream,
                                       struct error *error);
enum heddle_status cuda_planner_make(struct cuda_planner *planner, CUstream stream,
                                     struct error *error);
// Of inputs, then maps.
enum abi_element cuda_planner_element(const struct pattern *pattern, int array);

// What became of the lists, once the stream has run empty; waits for it. All but struct_bytes.
enum heddle_status cuda_planner_lists(const struct cuda_planner *planner, CUstream stream,
                                      struct heddle_lists *out, struct error *error);

// What the GPU made, on the host; free with cuda_made_finish. Waits.
struct cuda_made {
    struct sm90_run *runs;            // [lists][limits.runs]
    int64_t *run_end;                 // into runs, by list
    uint32_t *tiles, *merged, *order; // by list, by list, by work number
};
enum heddle_status cuda_planner_fetch(struct cuda_planner *planner, struct cuda_made *out,
                                      struct error *error);
void cuda_made_finish(struct cuda_made *made); // zeroed is fine

// Holds the GPU's lists and order against those of the host's planner with the same limits, bit for
// bit; makes the host's (plan_make_lists) where they are missing. HEDDLE_OK and *out_same false:
// the first difference is in the error's text. Enters the device's context itself.
enum heddle_status cuda_planner_compare(struct cuda_planner *planner, struct plan *plan,
                                        bool *out_same, struct error *error);

#endif
