// From the regions of one item to runs of tiles: the half of the planner that knows no pattern.
//
// Regions overlap; tiles must not. Every list position that some query of the item keeps ends up in
// exactly one tile:
//
//   1. Regions are taken in a fixed order: plain boxes by position, then combs (periodic), then
//      unsolved ones. One that lies inside another is dropped.
//   2. What earlier pieces have claimed is cut out of a region; the rest is boxes ("pieces").
//   3. A piece is tiled from its own corner (shifted left where that makes more tiles full). If its
//      rounded-up tiles touch nobody else's claim, they are the claim: whatever else is kept there
//      is theirs. Otherwise the claim is the piece itself, an ownership box outside of which the
//      tiles leave keys to others.
//   4. Tiles inside an inner box of any region (or of two that abut) are full, the others partial.
//      Unsolved pieces are subdivided and classified; so are the partial tiles of items of which
//      only some queries meet a region's conditions.
//
// Plain C over fixed storage: no allocation, no library, no recursion. The same source is compiled
// for this machine and for a GPU (planner_device.c); what comes out is the same, bit for bit, where
// the limits are.
#ifndef HEDDLE_COMPILER_PLANNER_PIECES_H
#define HEDDLE_COMPILER_PLANNER_PIECES_H

#include "compiler/abi.h"

#include <stdbool.h>

struct piece_input {
    const struct abi_env *env;
    const struct abi_item *item;
    // NULL on a GPU: there the compiled functions are called by name (piece_space.h).
    abi_regions_fn *regions;
    abi_classify_fn *classify;
    int64_t tile[ABI_AXES];
};

// What one item may take. Beyond `regions` or `pieces` it is planned as one unsolved region, beyond
// either number of runs as one partial hull: right, only slower.
struct piece_limits {
    int32_t regions, pieces;
    int32_t raw_runs; // before those that continue each other are joined
    int32_t runs;     // and after
};
#define PIECE_LIMITS_LARGE ((struct piece_limits){192, 512, 4096, 4096})

// The runs of one item: full ones first, then partial, each by ascending origin. Arrays are the
// space's, until it plans the next item. A run's `own` is 0 for none, else 1 + an index into owns.
struct piece_list {
    struct abi_run *runs;
    struct abi_box *owns;
    int64_t run_count, own_count;
    bool merged;              // past a limit of runs: one partial hull
    struct piece_limits used; // limits that would have done
};

// Scratch of one thread: `memory` is piece_space_bytes() large, aligned to 16 bytes and the
// caller's.
struct piece_space;
int64_t piece_space_bytes(const struct piece_limits *limits);
struct piece_space *piece_space_place(void *memory, const struct piece_limits *limits);

void pieces_plan(const struct piece_input *input, struct piece_space *space,
                 struct piece_list *out);

#endif
