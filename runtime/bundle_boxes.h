// Part of stage `schedule`, for programs out of a bundle: the best of the boxes that it has kernels
// for.
#ifndef HEDDLE_RUNTIME_BUNDLE_BOXES_H
#define HEDDLE_RUNTIME_BUNDLE_BOXES_H

#include "runtime/plan.h"

// Is it for the bundle to say? Boxes of the CPU's kernels are free, and forced ones are forced;
// where there is no kernel for the dtype and head dim, the plan fails later, or needs none.
bool bundle_boxes_decide(const struct plan *plan);
// As schedule_choose.
enum heddle_status bundle_boxes_choose(struct plan *plan, struct error *error);

#endif
