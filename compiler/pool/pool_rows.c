// Means of groups of rows. See pool_rows.h.
//
// Eight columns are one vector of the compiler's; what is not there, at the end of a row, is 0.

#include "compiler/pool/pool_rows.h"

#include <stdbool.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef float floats __attribute__((vector_size(4 * POOL_COLUMNS)));
typedef uint32_t words __attribute__((vector_size(4 * POOL_COLUMNS)));
typedef uint16_t halves __attribute__((vector_size(2 * POOL_COLUMNS)));

// ---- dtypes -------------------------------------------------------------------------------------
//
// Vectors go by address: by value they would depend on what the machine can pass.

// `some` where mask is set, else `other`.
INLINE void choose(const words *mask, const words *some, const words *other, words *out) {
    *out = (*some & *mask) | (*other & ~*mask);
}

// The magnitude's bits, moved, are the value times 2^-112; infinity and NaN keep their exponent.
INLINE void halves_to_floats(const words *raw, floats *out) {
    words magnitude = *raw & 0x7fff, moved = magnitude << 13, bits;
    words finite = (words)(magnitude < 0x7c00);
    words scaled = (words)((floats)moved * 0x1p112f), special = moved | 0x7f800000u;
    choose(&finite, &scaled, &special, &bits);
    *out = (floats)(bits | (*raw & 0x8000) << 16);
}

INLINE void floats_to_halves(const floats *x, words *out) {
    words bits = (words)*x, size = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
    words is_nan = (words)(size > 0x7f800000u), nan = size * 0 + 0x7e00,
          infinity = size * 0 + 0x7c00;
    // Adding 1/2 leaves a subnormal's ten bits, rounded, at the bottom of the mantissa.
    words tiny = (words)((floats)size + 0.5f) - 0x3f000000u;
    words normal = (size - 0x38000000u + 0xfff + (size >> 13 & 1)) >> 13;
    words large = (words)(size >= 0x47800000u), small = (words)(size < 0x38800000u), result;
    choose(&is_nan, &nan, &infinity, &nan);
    choose(&small, &tiny, &normal, &result);
    choose(&large, &nan, &result, &result);
    *out = result | sign;
}

INLINE void floats_to_bfloats(const floats *x, words *out) {
    words bits = (words)*x, is_nan = (words)((bits & 0x7fffffffu) > 0x7f800000u);
    words quiet = bits >> 16 | 0x40u, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    choose(&is_nan, &quiet, &rounded, out);
}

// Elements 0 .. width of a row that begins at `index`, `stride` apart.
INLINE void load(enum heddle_dtype dtype, const void *data, int64_t index, int64_t stride,
                 int64_t width, floats *out) {
    halves raw = {0};
    *out = (floats){0};
    if (dtype == HEDDLE_F32) {
        const float *from = (const float *)data + index;
        if (stride == 1 && width == POOL_COLUMNS)
            memcpy(out, from, sizeof *out);
        for (int64_t i = 0; i < width && (stride != 1 || width != POOL_COLUMNS); i++)
            (*out)[i] = from[i * stride];
        return;
    }
    const uint16_t *from = (const uint16_t *)data + index;
    if (stride == 1 && width == POOL_COLUMNS)
        memcpy(&raw, from, sizeof raw);
    for (int64_t i = 0; i < width && (stride != 1 || width != POOL_COLUMNS); i++)
        raw[i] = from[i * stride];
    words wide = __builtin_convertvector(raw, words);
    if (dtype == HEDDLE_F16)
        halves_to_floats(&wide, out);
    else
        *out = (floats)(wide << 16);
}

INLINE void store(enum heddle_dtype dtype, void *data, int64_t index, int64_t width,
                  const floats *x) {
    words bits;
    if (dtype == HEDDLE_F32) {
        memcpy((float *)data + index, x, (size_t)width * sizeof(float));
        return;
    }
    if (dtype == HEDDLE_F16)
        floats_to_halves(x, &bits);
    else
        floats_to_bfloats(x, &bits);
    halves raw = __builtin_convertvector(bits, halves);
    memcpy((uint16_t *)data + index, &raw, (size_t)width * sizeof(uint16_t));
}

// ---- one unit -----------------------------------------------------------------------------------

struct columns { // of one unit
    const struct pool_job *job;
    floats sum[POOL_LEVELS];    // of the groups begun
    int64_t left[POOL_LEVELS];  // finer groups that the group begun still lacks
    int64_t begin[POOL_LEVELS]; // its first key
    int64_t at[POOL_LEVELS];    // where its mean goes: first column
};

// Stores the mean of the group begun, which ends before key `end`, and begins the next. `width` is
// POOL_COLUMNS but at the end of a row, and then known to the compiler.
INLINE void finish_group(struct columns *c, enum heddle_dtype dtype, int64_t level, int64_t end,
                         int64_t width) {
    floats mean = c->sum[level] / (float)(end - c->begin[level]);
    store(dtype, c->job->to[level], c->at[level], width, &mean);
    c->begin[level] = end;
    c->at[level] += c->job->row_elems;
}

// Adds a finished group to the one around it. True where that is finished too.
INLINE bool add_group(struct columns *c, int64_t level, bool last) {
    c->sum[level + 1] += c->sum[level];
    c->sum[level] = (floats){0};
    return --c->left[level + 1] == 0 || last;
}

INLINE void add_rows(struct columns *c, enum heddle_dtype dtype, int64_t base, int64_t begin,
                     int64_t end, int64_t width) {
    const struct abi_tensor *from = &c->job->from;
    for (int64_t key = begin; key < end; key++) {
        floats row;
        load(dtype, from->data, base + key * from->token_stride, from->dim_stride, width, &row);
        c->sum[0] += row;
    }
}

INLINE int64_t finer_groups(const struct pool_job *job, int64_t level) {
    return level ? job->factor[level] / job->factor[level - 1] : 1;
}

INLINE void unit_rows(struct columns *c, enum heddle_dtype dtype, int64_t levels, int64_t base,
                      int64_t end, int64_t width) {
    const struct pool_job *job = c->job;
    int64_t finest = job->factor[0];
    for (int64_t key = c->begin[0]; key < end; key += finest) {
        int64_t stop = key + finest < end ? key + finest : end;
        bool finished = true;
        add_rows(c, dtype, base, key, stop, width);
        finish_group(c, dtype, 0, stop, width);
        for (int64_t level = 0; level + 1 < levels; level++) {
            finished = finished && add_group(c, level, stop == end);
            if (!finished)
                continue;
            finish_group(c, dtype, level + 1, stop, width);
            c->left[level + 1] = finer_groups(job, level + 1);
        }
        if (finished)
            c->sum[levels - 1] = (floats){0};
    }
}

INLINE void unit_columns(const struct pool_job *job, enum heddle_dtype dtype, int64_t levels,
                         int64_t unit, int64_t d, int64_t width) {
    int64_t units = pool_ceil_div(job->keys, job->unit_keys);
    int64_t head_row = unit / units, begin = unit % units * job->unit_keys;
    int64_t base = head_row / job->kv_heads * job->from.batch_stride +
                   head_row % job->kv_heads * job->from.head_stride + d * job->from.dim_stride;
    struct columns c = {.job = job};
    for (int64_t level = 0; level < levels; level++) {
        int64_t factor = job->factor[level], groups = pool_ceil_div(job->keys, factor);
        c.sum[level] = (floats){0};
        c.left[level] = finer_groups(job, level);
        c.begin[level] = begin;
        c.at[level] = (head_row * groups + begin / factor) * job->row_elems + d;
    }
    int64_t end = begin + job->unit_keys < job->keys ? begin + job->unit_keys : job->keys;
    unit_rows(&c, dtype, levels, base, end, width);
}

INLINE void any_columns(const struct pool_job *job, enum heddle_dtype dtype, int64_t unit,
                        int64_t d) {
    if (job->dim - d >= POOL_COLUMNS)
        unit_columns(job, dtype, job->level_count, unit, d, POOL_COLUMNS);
    else
        unit_columns(job, dtype, job->level_count, unit, d, job->dim - d);
}

void pool_columns(const struct pool_job *job, int64_t unit, int64_t d) {
    if (job->dtype == HEDDLE_F32)
        any_columns(job, HEDDLE_F32, unit, d);
    else if (job->dtype == HEDDLE_F16)
        any_columns(job, HEDDLE_F16, unit, d);
    else
        any_columns(job, HEDDLE_BF16, unit, d);
}
