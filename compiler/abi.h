// What compiled code and the runtime share: plain structs in memory, read by generated code at
// offsetof() offsets. Nothing here has behaviour. All indices and coordinates are in elements.
//
// Coordinates come in two kinds.
//   pattern axes   as declared: (t, y, x), `q.x`, `k.x`
//   basis axes     what items and tiles are boxes of: pattern axes, neighbouring ones possibly
//   fused
//                  ("t|yx": t, and y * size(x) + x), and each split by residue: axis position
//                  p = residue + dilation * c, with c the basis coordinate
// A basis axis with extent n and dilation d has, for residue r, coordinates 0 .. ceildiv(n - r, d).
// Unused basis axes (count < 3) have extent 1, token stride 0, dilation 1, and come first: the last
// basis axis is always the fastest.
#ifndef HEDDLE_COMPILER_ABI_H
#define HEDDLE_COMPILER_ABI_H

#include <stdint.h>

enum { ABI_AXES = 3, ABI_INDICES = 4 };

union abi_slot {
    int64_t i;
    double r;
};

// An input (int32 or float) or a map (uint8), row-major over extent[].
// Pyramid: for range queries along the last index. Level l holds, for every aligned group of
// ABI_PYRAMID^l elements of a row, the least and the greatest as a pair of doubles; level 0 is the
// data itself. A row of level l has ceildiv(extent, ABI_PYRAMID^l) pairs.
enum { ABI_PYRAMID = 16, ABI_PYRAMID_LEVELS = 8 };
struct abi_pair;
struct abi_array {
    const void *data;
    int64_t extent[ABI_INDICES]; // unused trailing ones are 1
    int64_t index_count;
    const struct abi_pair *levels[ABI_PYRAMID_LEVELS]; // levels[0] unused; NULL past the top
};
struct abi_pair { // of a level: int32, float and bytes are exact in doubles
    double least, greatest;
};

// Least and greatest element (as int64 or double bits) with indices in [lo[i], hi[i]], all clipped
// to the array; compiler/planner/array_range.c.
struct abi_range {
    union abi_slot least, greatest;
};
enum abi_element { ABI_INT32, ABI_FLOAT32, ABI_BYTE };
typedef void abi_range_fn(const struct abi_array *, int64_t element, const int64_t *lo,
                          const int64_t *hi, struct abi_range *out);

// Everything uniform over a launch that an expression may read.
struct abi_env {
    int64_t size[ABI_AXES]; // by pattern axis
    int64_t heads, kv_heads, batches;
    const union abi_slot *params;        // scalar parameters
    const union abi_slot *const *tables; // [table][head]
    const struct abi_array *arrays;      // inputs, then maps
    abi_range_fn *array_range;
};

// ---- planning ------------------------------------------------------------------------------

struct abi_box { // half open, in basis coordinates
    int64_t begin[ABI_AXES], end[ABI_AXES];
};

// One work item as the planner sees it: a box on the item side (queries for query-major lists).
struct abi_item {
    int64_t head, batch;
    int64_t residue[ABI_AXES];
    struct abi_box box; // clipped to what exists
    // List side: what exists, for this residue. Begins at 0 for keys.
    int64_t list_begin[ABI_AXES], list_end[ABI_AXES];
    int64_t dilation[ABI_AXES];
};

// What a region keeps along one axis. Outer: some element of the item keeps it. Inner: all do.
// With period > 0 the outer set is {x in [outer_begin, outer_end): (x - outer_phase) mod period <
// outer_width}, and likewise inner. An empty set has begin >= end.
struct abi_extent {
    int64_t outer_begin, outer_end, inner_begin, inner_end;
    int64_t period; // 0: plain intervals
    int64_t outer_phase, outer_width, inner_phase, inner_width;
};

enum {
    ABI_REGION_UNSOLVED = 1,  // some condition was not solved: subdivide and classify
    ABI_REGION_UNDECIDED = 2, // it holds for some positions of the item only: refine its edges
};

struct abi_region {
    struct abi_extent axis[ABI_AXES];
    int64_t flags;
};

// Compiled from the pattern. Writes the regions of an item whose outer sets may be non-empty, at
// most `room`, and returns how many there are (more than room: the caller falls back to one
// unsolved region over everything).
typedef int64_t abi_regions_fn(const struct abi_env *, const struct abi_item *,
                               struct abi_region *out, int64_t room);
// Compiled from the pattern. Over item.box x list: bit 0 set when some pair may be kept, bit 1 when
// every pair is. 0 empty, 1 partial, 3 full.
typedef int64_t abi_classify_fn(const struct abi_env *, const struct abi_item *,
                                const struct abi_box *list);

// Compiled from the pattern: kept pairs of item.box x list.
typedef int64_t abi_count_fn(const struct abi_env *, const struct abi_item *,
                             const struct abi_box *list);

// A run of bricks: count[a] tiles along each axis, step[a] apart, from origin. x fastest.
// kind: ABI_RUN_PARTIAL, else full: every pair of every tile is kept, no test needed; and from
// bit ABI_RUN_SOURCE on the number of the source (abi_source) whose groups the tiles are of: lists
// have the runs of one source after those of another.
enum { ABI_RUN_PARTIAL = 1, ABI_RUN_SOURCE = 24 };
struct abi_run {
    int32_t origin[ABI_AXES];
    int32_t count[ABI_AXES];
    int32_t step[ABI_AXES];
    uint32_t kind;
    // Ownership: keys outside owns[own] are left to other tiles. 0 is the whole extent. Full tiles
    // lie inside theirs.
    int32_t own;
};

static inline int abi_run_source(const struct abi_run *run) {
    return (int)(run->kind >> ABI_RUN_SOURCE);
}

// A query box of a plan, shared by all heads.
struct abi_query_box {
    int32_t begin[ABI_AXES], end[ABI_AXES]; // basis coordinates, clipped
    int32_t residue[ABI_AXES];
};

// ---- attention -----------------------------------------------------------------------------

struct abi_tensor { // [batch, heads, tokens, dim], strides in elements
    void *data;
    int64_t batch_stride, head_stride, token_stride, dim_stride;
};

// What a pattern reads at one resolution (pattern_source in dsl/pattern.h): rows are means of
// aligned groups of `factor` keys, the last group of as many as there are.
struct abi_source {
    struct abi_tensor k, v; // rows are groups; of a factor above 1: copies made for the launch
    int64_t factor, keys;   // groups: ceildiv(keys of the problem, factor)
    const float *bias;      // [heads]: base-2 logarithm of what a whole group weighs
    float ragged;           // what the last group's differs by: log2(its keys / factor)
};

struct abi_launch {
    struct abi_env env;
    struct abi_tensor q, k, v, o; // o: tokens are the queries
    float *lse;                   // [batch, heads, queries], or NULL
    int64_t lse_batch_stride, lse_head_stride, lse_token_stride;
    double scale;
    int64_t narrow; // 1: every integer of the predicate fits 32 bits for this problem

    // Geometry. Token of a basis position: sum over axes of
    // (residue[a] + dilation[a] * c[a]) * token_stride[a].
    int64_t token_stride[ABI_AXES];
    int64_t dilation[ABI_AXES];
    int64_t basis_extent[ABI_AXES]; // undilated, of the keys
    // Pattern axis p's coordinate = (position on basis axis[p]) / divisor[p] % modulus[p];
    // modulus 0: no remainder (the outermost of its fused group).
    int64_t axis_basis[ABI_AXES], axis_divisor[ABI_AXES], axis_modulus[ABI_AXES];
    int64_t axis_count;   // of the pattern
    int64_t query_offset; // query token = row in q + query_offset (keys - queries)

    // Work. Item = ((batch * heads) + head) * box_count + box.
    int64_t box_count;
    const struct abi_query_box *boxes;
    int64_t tile[ABI_AXES];   // key tile extents, product = the kernel's key count
    const int64_t *list_of;   // [batch * heads + head] -> list row; list = row * box_count + box
    const int64_t *run_begin; // [lists + 1] into runs
    const struct abi_run *runs;
    const struct abi_box *owns;

    // Of patterns with sources (pattern_is_pooled); else NULL: one, of k and v themselves.
    const struct abi_source *sources;
};

// Compiled kernel: items [begin, end). `scratch` is the calling thread's, scratch_bytes (of the
// kernel's description) large and 64-byte aligned.
typedef void abi_attention_fn(const struct abi_launch *, int64_t item_begin, int64_t item_end,
                              void *scratch);

#endif
