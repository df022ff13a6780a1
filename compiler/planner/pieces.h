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
// Plain C over fixed storage: no allocation, no library, no recursion deeper than the tile counts'
// logarithms.
#ifndef HEDDLE_COMPILER_PLANNER_PIECES_H
#define HEDDLE_COMPILER_PLANNER_PIECES_H

#include "compiler/abi.h"

#include <stdbool.h>

enum { MAX_REGIONS = 192, MAX_PIECES = 512 };

struct piece_input {
    const struct abi_env *env;
    const struct abi_item *item;
    abi_regions_fn *regions;
    abi_classify_fn *classify;
    int64_t tile[ABI_AXES];
};

// Where runs go. `runs` and `owns` are the caller's; own 0 is reserved for "no ownership box", so
// owns[0] of this output is the plan's owns[first_own].
struct piece_output {
    struct abi_run *runs;
    int64_t run_room, run_count;
    struct abi_box *owns;
    int64_t own_room, own_count;
    int64_t first_own;
    bool merged; // more than run_room: one partial hull instead
};

struct piece_space; // scratch of one thread, piece_space_bytes() large
int64_t piece_space_bytes(void);

// The runs of one item, full ones first, then partial, each by ascending origin. run_room >= 1.
void pieces_plan(const struct piece_input *input, struct piece_space *space,
                 struct piece_output *out);

#endif
