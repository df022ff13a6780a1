// Stage `launch`: plan + tensors -> output, on this machine's processors.
#ifndef HEDDLE_RUNTIME_LAUNCH_H
#define HEDDLE_RUNTIME_LAUNCH_H

#include "runtime/plan.h"

// Computes o and lse. threads 0: one per processor that this process may use. Items are handed out
// in order to whichever thread is free; each writes its own rows, so the result does not depend on
// the threads. HEDDLE_BAD_ARGUMENT: tensors that run_tensors.h refuses; HEDDLE_OUT_OF_MEMORY.
enum heddle_status plan_run(struct plan *plan, const struct heddle_tensors *tensors, int threads,
                            struct error *error);

#endif
