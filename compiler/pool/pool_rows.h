// The pooling stage: means of aligned groups of rows of K or V, all factors in one pass.
//
// The sum of a group is the sum of its groups of the next finer factor, in order; that of the
// finest, of its rows, in order: floats, so the same bits on every machine. The mean is the sum
// over how many rows there are, rounded to the dtype (nearest, ties to even).
//
// Plain C without allocation or library calls. A worker takes a few columns of a unit, which it
// shares with nobody: a thread of this machine one after the other, each thread of a GPU its own
// (pool_device.c).
#ifndef HEDDLE_COMPILER_POOL_POOL_ROWS_H
#define HEDDLE_COMPILER_POOL_POOL_ROWS_H

#include "compiler/abi.h"
#include "compiler/base/dtype.h"

enum { POOL_LEVELS = 8, POOL_COLUMNS = 8 };

struct pool_job {
    struct abi_tensor from; // [batch, kv_heads, keys, dim], any strides
    int64_t batch, kv_heads, keys, dim;
    enum heddle_dtype dtype;
    int64_t level_count;         // 1 .. POOL_LEVELS
    int64_t factor[POOL_LEVELS]; // ascending, each divides the next
    // [batch, kv_heads, ceildiv(keys, factor), dim], contiguous but for rows of `row_elems`.
    void *to[POOL_LEVELS];
    int64_t row_elems;
    int64_t unit_keys; // a multiple of the last factor: keys of a head in one unit
};

static inline int64_t pool_ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// Units of a job, of all heads and batches.
static inline int64_t pool_units(const struct pool_job *job, int64_t batch) {
    return batch * job->kv_heads * pool_ceil_div(job->keys, job->unit_keys);
}

// Columns [d, d + POOL_COLUMNS), as far as they exist, of one unit.
void pool_columns(const struct pool_job *job, int64_t unit, int64_t d);

#endif
