// What the sm_90a kernel and its launcher share: device memory layouts and the kernel's argument.
//
// The lists are those of compiler/abi.h in the form the producer thread reads best: records of
// whole 16-byte words, everything that depends on the item's box resolved when they are uploaded.
#ifndef HEDDLE_COMPILER_SM90_ARGS_H
#define HEDDLE_COMPILER_SM90_ARGS_H

#include "compiler/abi.h"

enum { SM90_MAP_BYTES = 128, SM90_TENSOR_MAPS = 4 }; // q, k, v, o

// One (batch, head).
struct sm90_head {
    int32_t list_row;         // launch.list_of
    int32_t query_at, key_at; // coordinates on the maps' last dimension
    int32_t set;              // first set of tensor maps (of its batch)
    int32_t head, batch, kv_head, unused;
};

// One query box, shared by all heads.
struct sm90_box {
    int32_t begin[ABI_AXES], set; // set: by residue, added to the head's
    int32_t end[ABI_AXES];
    int32_t query_first; // what coordinate the query maps begin at, on the outermost basis axis
    int32_t residue[ABI_AXES], unused;
    int32_t extent[ABI_AXES], unused2; // coordinates that this residue has
};

// A run of bricks; keys outside [low, high) are left to other tiles or do not exist.
struct sm90_run {
    int32_t origin[ABI_AXES];
    uint32_t kind; // ABI_RUN_PARTIAL
    int32_t step[ABI_AXES], unused;
    int32_t low[ABI_AXES], unused2;
    int32_t high[ABI_AXES], unused3;
    int32_t count[ABI_AXES], unused4;
};

// What a pattern reads at one resolution, in device memory. Units of bias and ragged: those of the
// kernel's logits (base-2 logarithms; divided by scale_log2 unless sm90_spec.scale_first).
struct sm90_source {
    unsigned char maps[2][SM90_MAP_BYTES]; // of k, v; unused by sources of the keys themselves
    uint64_t bias;                         // float [heads]
    int32_t ragged_at;                     // the last group, where it has fewer keys than others
    float ragged;                          // what its bias differs by; 0: it is as full as others
    uint64_t unused[6];
};
_Static_assert(sizeof(struct sm90_source) % 64 == 0, "maps are aligned to 64 bytes");

struct sm90_array {
    uint64_t data;
    int64_t extent[ABI_INDICES];
};

// The kernel's one parameter. After it, in the same parameter: params[], then a device pointer per
// table, then a sm90_array per input and map.
struct sm90_args {
    unsigned char maps[SM90_TENSOR_MAPS][SM90_MAP_BYTES]; // of set 0
    uint64_t more_maps; // device: all sets, [set][q, k, v, o]; 0 when there is one
    uint64_t o, lse;    // lse may be 0
    int64_t o_batch_stride, o_head_stride, o_token_stride; // elements
    int64_t lse_batch_stride, lse_head_stride, lse_token_stride;
    uint64_t heads, boxes, runs, order; // order: uint32_t item by work number
    uint64_t run_begin, run_end;        // int64_t into runs, by list
    uint64_t tiles;                     // uint32_t by list
    uint64_t sources;                   // sm90_source by source; 0 for a pattern without
    uint64_t queue; // uint32_t[2], 0 between launches: items drawn, blocks that found none
    int64_t token_stride[ABI_AXES], dilation[ABI_AXES], basis_extent[ABI_AXES];
    int64_t axis_divisor[ABI_AXES], axis_modulus[ABI_AXES];
    int64_t size[ABI_AXES];
    int64_t head_count, kv_head_count;
    int64_t query_offset;
    int32_t items, box_count;
    int32_t o_mapped, unused; // the copy engine can store o; else its maps hold nothing
    float scale;              // of the logits
    float scale_log2;         // scale * log2(e)
};

#endif
