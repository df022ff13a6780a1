// How long a plan will take here, before it runs: a rough figure from rates measured on one
// machine.
#ifndef HEDDLE_CLI_PREDICT_H
#define HEDDLE_CLI_PREDICT_H

#include "runtime/plan.h"

struct prediction {
    double ms, dense_ms; // on all processors: this plan, and all pairs of the same problem
};

struct prediction predict(const struct plan *plan);

#endif
