// Part of stage `plan`: geometry and work lists. Private to runtime/.
//
// With a basis and tile shapes given: the item side is cut into boxes (per residue of split axes),
// heads fall into classes that share lists, and every (class, box) gets its runs.
#ifndef HEDDLE_RUNTIME_LISTS_H
#define HEDDLE_RUNTIME_LISTS_H

#include "compiler/planner/list_job.h"
#include "runtime/plan.h"

// Strides, extents and dilations of plan->basis into plan->launch. HEDDLE_PATTERN_ERROR when a
// dilation is below 1.
enum heddle_status lists_geometry(struct plan *plan, struct error *error);

// Classes of heads and batches: launch.list_of and row_count, from the facts.
enum heddle_status lists_classes(struct plan *plan, struct error *error);

// The item side's boxes for plan->query_tile into launch.boxes / box_count.
enum heddle_status lists_boxes(struct plan *plan, struct error *error);

// The first (batch, head) of a class.
void lists_member(const struct plan *plan, int64_t row, int64_t *out_batch, int64_t *out_head);

// Heads and batches that share a row of lists.
int64_t lists_members(const struct plan *plan, int64_t row);

// Frees the lists and forgets their counts; lists_fill may make them again.
void lists_drop(struct plan *plan);
// Runs of every list, and plan->counts.
enum heddle_status lists_fill(struct plan *plan, struct error *error);

// What the planner's code takes besides boxes and room for lists (which stay 0), with this
// machine's addresses.
void lists_job(const struct plan *plan, struct list_job *out);
// The same for one source of a pattern that has several; lists_job is the first's.
void lists_source_job(const struct plan *plan, int source, struct list_job *out);

// Tiles of one item with the plan's shapes, of all sources: what the schedule counts. *out: the
// runs of the last source, with the greatest limits of any in `used`.
struct tile_count {
    int64_t full, partial;
};
struct tile_count lists_sample(const struct plan *plan, int64_t row, int64_t box,
                               struct piece_space *space, struct piece_list *out);

// How many boxes lists_boxes would make, and the box with a given number, without storing any.
int64_t lists_box_count(const struct plan *plan);
struct abi_query_box lists_box(const struct plan *plan, int64_t number);

#endif
