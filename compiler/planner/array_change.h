// New contents of an input while a plan is in use. Plain C, also compiled for a GPU.
//
// What a plan may do with an input follows from the range its values had when the plan was made:
// indices that stay inside arrays, divisors that are not zero, integers that fit 32 bits. So a
// value outside of that range is brought to its nearest end, and the change says that it happened.
// An element of a set that is no token is left out, with the same note.
#ifndef HEDDLE_COMPILER_PLANNER_ARRAY_CHANGE_H
#define HEDDLE_COMPILER_PLANNER_ARRAY_CHANGE_H

#include "compiler/abi.h"

struct array_change {
    const void *from; // the caller's: int32_t, int64_t (wide) or float
    void *to;         // the plan's copy: int32_t or float, or a set's table of bytes
    int64_t count;
    int64_t element; // ABI_INT32, ABI_FLOAT32; ABI_BYTE: a set
    int64_t wide;    // int64_t of integers
    // Of a set: `count` elements in lists of `room`, -1 where there is none; the table has `width`
    // bytes a list, all 0 (array_clear), since what is looked for is below `width`.
    int64_t room, width, tokens;
    struct abi_pair range; // of the plan; one that is infinite holds NaN too
    uint32_t *outside;     // set to 1 when some element was, else left alone
};

// Elements worker, worker + workers, ...
void array_change(const struct array_change *change, int64_t worker, int64_t workers);
// Zeroes a set's table of `bytes`.
void array_clear(void *table, int64_t bytes, int64_t worker, int64_t workers);

#endif
