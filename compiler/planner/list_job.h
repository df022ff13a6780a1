// The planner's outer loop: boxes of items and classes of heads -> lists of runs, one list each.
// Plain C, also compiled for a GPU (planner_device.c).
//
// A list has room for a fixed number of runs (limits.runs), whatever the data: list n's runs begin
// at n * limits.runs. So many workers can make lists in any order, and a launch can be replayed.
#ifndef HEDDLE_COMPILER_PLANNER_LIST_JOB_H
#define HEDDLE_COMPILER_PLANNER_LIST_JOB_H

#include "compiler/planner/pieces.h"
#include "compiler/sm90/sm90_args.h"

struct list_job {
    struct abi_env env;
    // Compiled from the pattern; NULL on a GPU.
    abi_regions_fn *regions;
    abi_classify_fn *classify;
    // Geometry, by basis axis, undilated: what positions the list side has.
    int64_t list_first[ABI_AXES], list_extent[ABI_AXES]; // [first, extent); first is 0 for keys
    int64_t dilation[ABI_AXES], tile[ABI_AXES];
    struct piece_limits limits;
    // List n is that of class n / box_count and box n % box_count.
    int64_t class_count, box_count;
    const int64_t *members; // by class: batch * heads + head of one that is in it
    const struct abi_query_box *boxes;

    // Out, by list; the caller's.
    struct sm90_run *runs;        // [lists][limits.runs]
    int64_t *run_begin, *run_end; // into runs
    uint32_t *tiles;              // at most UINT32_MAX
    uint32_t *merged;             // 1 where a limit of runs was met
};

static inline int64_t list_count(const struct list_job *job) {
    return job->class_count * job->box_count;
}

// The item side's box of one head, as the compiled functions take it.
void list_item(const struct list_job *job, int64_t batch, int64_t head,
               const struct abi_query_box *box, struct abi_item *out);

// Plans one item. The list is the space's, as pieces_plan says.
void list_plan(const struct list_job *job, const struct abi_item *item, struct piece_space *space,
               struct piece_list *out);

// Tiles of a run.
static inline int64_t run_tiles(const struct abi_run *run) {
    return (int64_t)run->count[0] * run->count[1] * run->count[2];
}

static inline uint32_t tiles_clipped(int64_t tiles) {
    return tiles > UINT32_MAX ? UINT32_MAX : (uint32_t)tiles;
}

// A run as GPU kernels read it: its ownership box (`own`, NULL for none) resolved to what exists of
// the list, list_end by axis.
struct sm90_run list_record(const struct abi_run *run, const struct abi_box *own,
                            const int64_t *list_end);

// Makes lists worker, worker + workers, ... of the job. `memory` is the worker's own,
// piece_space_bytes() large and aligned to 16 bytes.
void list_work(const struct list_job *job, void *memory, int64_t worker, int64_t workers);

#endif
