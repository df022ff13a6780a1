// What heddle.h promises of dropped keys, on a rig: NaN and infinities in q, k and v leave the rows
// that drop them as they were, but for the one exception on a GPU.
#ifndef HEDDLE_TESTS_GPU_SPOIL_H
#define HEDDLE_TESTS_GPU_SPOIL_H

#include "tests/gpu/rig.h"

// After a trial of the rig: spoils some queries, keys or values, runs, and compares every row with
// that trial's. The rig's own numbers stay as they are.
bool spoil_try(const struct rig *rig, CUstream stream, struct random_source *random,
               struct verdict *verdict);

#endif
