// The part of a run before its attention: stages and selections, and the lists that follow from
// them. On the CPU.
#ifndef HEDDLE_RUNTIME_SELECTION_H
#define HEDDLE_RUNTIME_SELECTION_H

#include "runtime/plan.h"
#include "runtime/threads.h"

// Computes every stage and selection of the plan's pattern from q and k, in order of declaration,
// and makes the plan's lists again. The plan is changed: one call at a time. HEDDLE_OK at once
// where the pattern has none.
enum heddle_status selection_run(struct plan *plan, const struct heddle_tensors *tensors,
                                 struct thread_pool *threads, struct error *error);

#endif
