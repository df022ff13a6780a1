// The pooling stage on a GPU: its kernel, PTX made by clang when heddle is built (meson.build).
#ifndef HEDDLE_COMPILER_POOL_DEVICE_H
#define HEDDLE_COMPILER_POOL_DEVICE_H

#include "compiler/pool/pool_rows.h"

// heddle_pool(jobs, k, k_batch, k_head, k_token, v, ...): K's job and V's, in device memory, their
// tensors and strides in elements beside them (struct pool_from). A grid of (blocks, 2): a thread
// takes POOL_CHUNK columns of a unit, so that there are pool_units * ceildiv(dim, POOL_CHUNK) of
// them to do for each. Rows, of the tensors and of the copies, begin at multiples of 16 bytes and
// have room for whole chunks.
// heddle_pool_few: the same for jobs of at most POOL_FEW_LEVELS.
enum { POOL_CHUNK = 8, POOL_THREADS = 256, POOL_FEW_LEVELS = 3 };
#define POOL_KERNEL "heddle_pool"
#define POOL_KERNEL_FEW "heddle_pool_few"

struct pool_from {
    const void *data;
    int64_t batch_stride, head_stride, token_stride;
};

// NUL-terminated; only that where heddle was built without clang (pool_device_ptx_bytes is 0).
extern const unsigned char pool_device_ptx[];
extern const unsigned long pool_device_ptx_bytes;

#endif
