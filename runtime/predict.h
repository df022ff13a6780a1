// How long a plan will take, before it runs: its tiles times what they cost (cost.h), shared out
// among the workers as the launch does it.
#ifndef HEDDLE_RUNTIME_PREDICT_H
#define HEDDLE_RUNTIME_PREDICT_H

#include "runtime/plan.h"

struct prediction {
    double ms, dense_ms; // this plan, and all pairs of the same problem
};

// `workers`: multiprocessors of the GPU, or threads. False: no memory.
bool predict(const struct plan *plan, int workers, struct prediction *out);

#endif
