// Tensor maps: q, k, v and o as the copy engine sees them.
#ifndef HEDDLE_RUNTIME_CUDA_MAPS_H
#define HEDDLE_RUNTIME_CUDA_MAPS_H

#include "runtime/cuda/cuda_plan.h"
#include "runtime/run_tensors.h"

// A plan needs a set of four maps per batch and residue. One set travels in the kernel's
// parameter. Several wait in device memory, where a small kernel puts them from *its* parameter:
// the driver copies parameters when a kernel is queued or captured, so no memory of the host has to
// outlive the call, and a graph that is replayed puts back the maps it was captured with.

// Room on both sides; part of making a plan. HEDDLE_LIMIT: too many sets.
enum heddle_status cuda_maps_create(struct cuda_plan *plan, struct error *error);
void cuda_maps_destroy(struct cuda_plan *plan); // half made is fine

// Puts the maps of a run into the kernel's parameter (maps, more_maps, o_mapped) and queues what
// puts them in place, on `stream`: in the workspace, or in the plan's own memory where that is 0.
// `views` are those of run_tensors_check, the inputs fit for the engine. Maps of the same tensors
// as those of the run before are not encoded again. HEDDLE_BAD_ARGUMENT: the engine cannot take
// their strides. args->o_mapped says whether it can take the output's.
enum heddle_status cuda_maps_place(struct cuda_plan *plan, const struct run_view *views,
                                   CUdeviceptr workspace, CUstream stream, struct error *error);

// The map of a pooled copy (compiler/pool/pool_rows.h) of `groups` rows a head, each with room for
// `row_elems`, for tiles of keys of the plan, whose basis has one axis. 128 bytes.
enum heddle_status cuda_maps_copy(const struct cuda_plan *plan, CUdeviceptr copy, int64_t groups,
                                  int64_t row_elems, unsigned char *out, struct error *error);

#endif
