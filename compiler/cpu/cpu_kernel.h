// The x86-64 attention kernel: one skeleton over tile primitives, emitted for one pattern, dtype
// and head dim; everything else (lengths, strides, grids, tile extents, parameters) is an argument.
#ifndef HEDDLE_COMPILER_CPU_KERNEL_H
#define HEDDLE_COMPILER_CPU_KERNEL_H

#include "compiler/abi.h"
#include "compiler/base/status.h"
#include "compiler/llvm/llvm_unit.h"
#include "dsl/pattern.h"

#include <stdbool.h>

enum {
    CPU_QUERY_ROWS = 64, // an item's query box holds at most this many positions
    CPU_KEY_ROWS = 64,   // a key tile's extents multiply to exactly this
};

struct cpu_kernel_spec {
    const struct pattern *pattern;
    enum heddle_dtype dtype; // of q, k, v and o
    int dim;                 // 8..256, any
    bool dim_contiguous;     // dim_stride is 1 on q, k, v and o
};

// Adds `void heddle_attention(const struct abi_launch *, int64_t item_begin, int64_t item_end,
// void *scratch)` (abi_attention_fn) to the unit. *out_scratch_bytes is what each thread must give.
enum heddle_status cpu_kernel_emit(struct llvm_unit *unit, const struct cpu_kernel_spec *spec,
                                   int64_t *out_scratch_bytes, struct error *error);

#endif
