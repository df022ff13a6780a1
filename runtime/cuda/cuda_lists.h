// A plan's work lists, made on the host, in the form that GPU kernels read (sm90_args.h): what is
// uploaded, and what lists made on the GPU are held against.
#ifndef HEDDLE_RUNTIME_CUDA_LISTS_H
#define HEDDLE_RUNTIME_CUDA_LISTS_H

#include "compiler/planner/work_order.h"
#include "runtime/plan.h"

// One record per run of the plan, in its order: out[launch.run_begin[lists]].
void cuda_list_records(const struct plan *plan, struct sm90_run *out);
// Tiles of each list: out[lists].
void cuda_list_tiles(const struct plan *plan, uint32_t *out);
// How a launch's items are put in order; tiles, heads and the memory for the order stay NULL.
struct order_job cuda_order_job(const struct plan *plan);
// The order itself, on the host: out[batch * heads * boxes]. False: no memory.
bool cuda_work_order(const struct plan *plan, uint32_t *out);

#endif
