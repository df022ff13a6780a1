// Means of groups of rows. See pool_rows.h.

#include "compiler/pool/pool_rows.h"

#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t bits_of(float x) {
    union {
        float f;
        uint32_t i;
    } both = {.f = x};
    return both.i;
}

INLINE float float_of(uint32_t bits) {
    union {
        uint32_t i;
        float f;
    } both = {.i = bits};
    return both.f;
}

// ---- dtypes -------------------------------------------------------------------------------------

// The magnitude's bits, moved, are the value times 2^-112; infinity and NaN keep their exponent.
INLINE float half_to_float(uint16_t half) {
    uint32_t magnitude = half & 0x7fffu, moved = magnitude << 13;
    uint32_t bits = magnitude < 0x7c00 ? bits_of(float_of(moved) * 0x1p112f) : moved | 0x7f800000u;
    return float_of(bits | (half & 0x8000u) << 16);
}

INLINE uint16_t float_to_half(float x) {
    uint32_t bits = bits_of(x), size = bits & 0x7fffffffu;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    if (size >= 0x47800000u)
        return (uint16_t)(sign | (size > 0x7f800000u ? 0x7e00u : 0x7c00u));
    // Adding 1/2 leaves a subnormal's ten bits, rounded, at the bottom of the mantissa.
    uint32_t tiny = bits_of(float_of(size) + 0.5f) - 0x3f000000u;
    uint32_t odd = size >> 13 & 1;
    uint32_t normal = (size - 0x38000000u + 0xfff + odd) >> 13;
    return (uint16_t)(sign | (size < 0x38800000u ? tiny : normal));
}

INLINE uint16_t float_to_bfloat(float x) {
    uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

INLINE float load(enum heddle_dtype dtype, const void *data, int64_t index) {
    if (dtype == HEDDLE_F32)
        return ((const float *)data)[index];
    uint16_t raw = ((const uint16_t *)data)[index];
    return dtype == HEDDLE_F16 ? half_to_float(raw) : float_of((uint32_t)raw << 16);
}

INLINE void store(enum heddle_dtype dtype, void *data, int64_t index, float x) {
    if (dtype == HEDDLE_F32)
        ((float *)data)[index] = x;
    else
        ((uint16_t *)data)[index] = dtype == HEDDLE_F16 ? float_to_half(x) : float_to_bfloat(x);
}

// ---- one unit -----------------------------------------------------------------------------------

INLINE int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

struct columns { // of one unit
    const struct pool_job *job;
    int64_t head_row, d, width;           // batch * kv_heads + kv_head
    float sum[POOL_LEVELS][POOL_COLUMNS]; // of the groups begun
};

INLINE void store_mean(const struct columns *c, enum heddle_dtype dtype, int64_t level,
                       int64_t group) {
    const struct pool_job *job = c->job;
    int64_t factor = job->factor[level], groups = ceil_div(job->keys, factor);
    int64_t begin = group * factor, end = begin + factor < job->keys ? begin + factor : job->keys;
    int64_t at = (c->head_row * groups + group) * job->row_elems + c->d;
    float keys = (float)(end - begin);
    for (int64_t i = 0; i < c->width; i++)
        store(dtype, job->to[level], at + i, c->sum[level][i] / keys);
}

// After key `key`, the last of the unit if `last`: groups that end here, from the finest on.
INLINE void finish_groups(struct columns *c, enum heddle_dtype dtype, int64_t key, bool last) {
    const struct pool_job *job = c->job;
    for (int64_t level = 0; level < job->level_count; level++) {
        if ((key + 1) % job->factor[level] != 0 && !last)
            return;
        store_mean(c, dtype, level, key / job->factor[level]);
        for (int64_t i = 0; i < c->width; i++) {
            if (level + 1 < job->level_count)
                c->sum[level + 1][i] += c->sum[level][i];
            c->sum[level][i] = 0.0f;
        }
    }
}

INLINE void add_rows(struct columns *c, enum heddle_dtype dtype, int64_t base, int64_t begin,
                     int64_t end) {
    const struct abi_tensor *from = &c->job->from;
    for (int64_t key = begin; key < end; key++) {
        int64_t row = base + key * from->token_stride;
        if (from->dim_stride == 1)
            for (int64_t i = 0; i < c->width; i++)
                c->sum[0][i] += load(dtype, from->data, row + i);
        else
            for (int64_t i = 0; i < c->width; i++)
                c->sum[0][i] += load(dtype, from->data, row + i * from->dim_stride);
        finish_groups(c, dtype, key, key + 1 == end);
    }
}

INLINE void unit_columns(const struct pool_job *job, enum heddle_dtype dtype, int64_t unit,
                         int64_t d) {
    int64_t coarsest = job->factor[job->level_count - 1], units = ceil_div(job->keys, coarsest);
    struct columns c = {.job = job, .head_row = unit / units, .d = d};
    int64_t batch = c.head_row / job->kv_heads, head = c.head_row % job->kv_heads;
    int64_t base =
        batch * job->from.batch_stride + head * job->from.head_stride + d * job->from.dim_stride;
    int64_t begin = unit % units * coarsest;
    int64_t end = begin + coarsest < job->keys ? begin + coarsest : job->keys;
    c.width = job->dim - d < POOL_COLUMNS ? job->dim - d : POOL_COLUMNS;
    for (int64_t level = 0; level < job->level_count; level++)
        for (int i = 0; i < POOL_COLUMNS; i++)
            c.sum[level][i] = 0.0f;
    add_rows(&c, dtype, base, begin, end);
}

void pool_columns(const struct pool_job *job, int64_t unit, int64_t d) {
    if (job->dtype == HEDDLE_F32)
        unit_columns(job, HEDDLE_F32, unit, d);
    else if (job->dtype == HEDDLE_F16)
        unit_columns(job, HEDDLE_F16, unit, d);
    else
        unit_columns(job, HEDDLE_BF16, unit, d);
}
