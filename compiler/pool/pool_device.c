// See pool_device.h. Sums are those of pool_rows.c, in the same order.

#include "compiler/pool/pool_device.h"

#include "compiler/planner/on_device.h"

#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))
#define KERNEL __attribute__((nvptx_kernel)) void

typedef uint32_t words __attribute__((vector_size(16)));

#define UNROLL _Pragma("clang loop unroll(full)")

// Of one thread. Everything is unrolled into registers: levels that a job does not have cost tests.
struct task {
    int64_t head_row, d, keys, row_elems;
    int levels;
    uint16_t *to[POOL_LEVELS];
    uint32_t factor[POOL_LEVELS];
    uint32_t group[POOL_LEVELS]; // begun, by level
    uint32_t parts[POOL_LEVELS]; // finer groups that it has; and of a whole one:
    uint32_t whole[POOL_LEVELS];
    float sum[POOL_LEVELS][POOL_CHUNK];
};

INLINE uint32_t bfloat_of(float x) {
    union {
        float f;
        uint32_t i;
    } both = {.f = x};
    if ((both.i & 0x7fffffffu) > 0x7f800000u)
        return both.i >> 16 | 0x40u;
    return (both.i + 0x7fff + (both.i >> 16 & 1)) >> 16;
}

INLINE float wide_of(enum heddle_dtype dtype, uint32_t word, int high) {
    union {
        uint16_t bits;
        _Float16 half;
    } half = {.bits = (uint16_t)(high ? word >> 16 : word)};
    union {
        uint32_t i;
        float f;
    } bfloat = {.i = (uint32_t)half.bits << 16};
    return dtype == HEDDLE_F16 ? (float)half.half : bfloat.f;
}

INLINE uint32_t narrow(enum heddle_dtype dtype, float x) {
    union {
        _Float16 half;
        uint16_t bits;
    } both = {.half = (_Float16)x};
    return dtype == HEDDLE_F16 ? both.bits : bfloat_of(x);
}

INLINE void store_chunk(const struct task *t, enum heddle_dtype dtype, int level) {
    int64_t factor = t->factor[level], group = t->group[level];
    int64_t groups = pool_ceil_div(t->keys, factor), end = (group + 1) * factor;
    float keys = (float)((end < t->keys ? end : t->keys) - group * factor);
    words out;
    UNROLL for (int i = 0; i < POOL_CHUNK / 2; i++) out[i] =
        narrow(dtype, t->sum[level][2 * i] / keys) | narrow(dtype, t->sum[level][2 * i + 1] / keys)
                                                         << 16;
    uint16_t *to = t->to[level] + (t->head_row * groups + group) * t->row_elems + t->d;
    *(words *)(void *)to = out;
}

// After a finest group; the last one of the unit ends all groups.
INLINE void finish_chunks(struct task *t, enum heddle_dtype dtype, int most, bool last) {
    bool ends = true;
    UNROLL for (int level = 0; level < most; level++) {
        ends = ends && level < t->levels &&
               (level == 0 || ++t->parts[level] == t->whole[level] || last);
        if (!ends)
            continue;
        store_chunk(t, dtype, level);
        UNROLL for (int i = 0; i < POOL_CHUNK; i++) {
            if (level + 1 < most)
                t->sum[level + 1][i] += t->sum[level][i];
            t->sum[level][i] = 0.0f;
        }
        t->parts[level] = 0;
        t->group[level]++;
    }
}

INLINE void begin_groups(struct task *t, const struct pool_job *job, int most, int64_t key) {
    UNROLL for (int level = 0; level < most; level++) {
        if (level < t->levels) {
            int64_t factor = job->factor[level];
            t->to[level] = job->to[level];
            t->factor[level] = (uint32_t)factor;
            t->group[level] = (uint32_t)(key / factor);
            t->whole[level] =
                (uint32_t)(level ? factor / job->factor[level ? level - 1 : 0] : factor);
        }
        t->parts[level] = 0;
        UNROLL for (int i = 0; i < POOL_CHUNK; i++) t->sum[level][i] = 0.0f;
    }
}

// Of jobs with at most `most` levels.
INLINE void pool_chunk(const struct pool_job *job, enum heddle_dtype dtype, int most,
                       const struct pool_from *from, int64_t unit, int64_t d) {
    int64_t keys = job->keys, units = pool_ceil_div(keys, job->unit_keys);
    struct task t = {.head_row = unit / units,
                     .d = d,
                     .keys = keys,
                     .row_elems = job->row_elems,
                     .levels = (int)job->level_count};
    int64_t batch = t.head_row / job->kv_heads, head = t.head_row % job->kv_heads;
    int64_t begin = unit % units * job->unit_keys;
    int64_t end = begin + job->unit_keys < keys ? begin + job->unit_keys : keys;
    const uint16_t *row = (const uint16_t *)from->data + batch * from->batch_stride +
                          head * from->head_stride + begin * from->token_stride + d;
    begin_groups(&t, job, most, begin);
    for (int64_t key = begin; key < end;) { // the finest groups
        int64_t next = key + t.factor[0] < end ? key + t.factor[0] : end;
        _Pragma("clang loop unroll_count(4)") for (; key < next; key++, row += from->token_stride) {
            words in = *(const words *)(const void *)row;
            UNROLL for (int i = 0; i < POOL_CHUNK; i++) t.sum[0][i] +=
                wide_of(dtype, in[i / 2], i % 2);
        }
        finish_chunks(&t, dtype, most, key == end);
    }
}

INLINE void pool(const struct pool_job *job, int most, const struct pool_from *from) {
    int64_t chunks = pool_ceil_div(job->dim, POOL_CHUNK);
    int64_t thread = (int64_t)device_block() * device_threads() + device_thread();
    if (thread >= pool_units(job, job->batch) * chunks)
        return;
    int64_t unit = thread / chunks, d = thread % chunks * POOL_CHUNK;
    if (job->dtype == HEDDLE_F16)
        pool_chunk(job, HEDDLE_F16, most, from, unit, d);
    else
        pool_chunk(job, HEDDLE_BF16, most, from, unit, d);
}

#define POOL_KERNEL_OF(name, most)                                                                 \
    KERNEL name(const struct pool_job *jobs, const void *k, int64_t k_batch, int64_t k_head,       \
                int64_t k_token, const void *v, int64_t v_batch, int64_t v_head,                   \
                int64_t v_token) {                                                                 \
        bool of_k = __nvvm_read_ptx_sreg_ctaid_y() == 0;                                           \
        struct pool_from from = {of_k ? k : v, of_k ? k_batch : v_batch, of_k ? k_head : v_head,   \
                                 of_k ? k_token : v_token};                                        \
        pool(of_k ? jobs : jobs + 1, most, &from);                                                 \
    }

// Few levels leave registers for more threads.
POOL_KERNEL_OF(heddle_pool_few, POOL_FEW_LEVELS)
POOL_KERNEL_OF(heddle_pool, POOL_LEVELS)
