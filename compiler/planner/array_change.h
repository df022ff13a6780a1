// New contents of an input while a plan is in use. Plain C, also compiled for a GPU.
//
// What a plan may do with an input follows from the range its values had when the plan was made:
// indices that stay inside arrays, divisors that are not zero, integers that fit 32 bits. So a
// value outside of that range is brought to its nearest end, and the change says that it happened.
#ifndef HEDDLE_COMPILER_PLANNER_ARRAY_CHANGE_H
#define HEDDLE_COMPILER_PLANNER_ARRAY_CHANGE_H

#include "compiler/abi.h"

struct array_change {
    const void *from; // the caller's: int32_t, int64_t (wide) or float
    void *to;         // the plan's copy: int32_t or float
    int64_t count;
    int64_t element;       // ABI_INT32, ABI_FLOAT32
    int64_t wide;          // int64_t of ABI_INT32
    struct abi_pair range; // of the plan; one that is infinite holds NaN too
    uint32_t *outside;     // set to 1 when some element was, else left alone
};

// Elements worker, worker + workers, ...
void array_change(const struct array_change *change, int64_t worker, int64_t workers);

#endif
