// The order in which a GPU's blocks draw items from the queue of work: for the launch, and for
// predicting how long it takes.
#ifndef HEDDLE_RUNTIME_CUDA_WORK_ORDER_H
#define HEDDLE_RUNTIME_CUDA_WORK_ORDER_H

#include "runtime/plan.h"

// Items are numbered batch by batch, head by head, box by box; there are batch * heads * boxes of
// them, at most INT32_MAX. False: no memory.
bool cuda_work_order(const struct plan *plan, uint32_t *out_order);

#endif
