// Scratch of the planner for one item, and its steps. Private to compiler/planner.
//
//   regions.c  what the compiled code says -> regions in order, and the boxes where all is kept
//   pieces.c   regions -> disjoint pieces with their claims
//   tiles.c    a piece -> runs of full and partial tiles
#ifndef HEDDLE_COMPILER_PLANNER_PIECE_SPACE_H
#define HEDDLE_COMPILER_PLANNER_PIECE_SPACE_H

#include "compiler/planner/pieces.h"
#include "compiler/planner/shape.h"

struct region {
    struct shape outer, inner;
    bool unsolved, undecided, comb, dropped;
};

struct piece_space {
    struct abi_region raw[MAX_REGIONS];
    struct region regions[MAX_REGIONS];
    struct shape pieces[MAX_PIECES]; // of the region in hand, not yet tiled
    struct shape claims[MAX_PIECES];
    struct shape inners[MAX_REGIONS];
    int region_count, piece_count, claim_count, inner_count;
    bool overflow; // out of room: the item falls back to one unsolved piece
};

// regions.c: asks the compiled code, and puts what it says in the order of pieces.h.
void regions_read(const struct piece_input *input, struct piece_space *space);
// Everything as one unsolved region: what is left when something does not fit.
void regions_whole(const struct piece_input *input, struct piece_space *space);

// tiles.c
struct brick { // tiles at origin + i * step, i < count, along each axis
    int64_t origin[ABI_AXES], count[ABI_AXES], step[ABI_AXES];
};
struct tiler {
    const struct piece_input *input;
    struct piece_space *space;
    struct piece_output *out;
    struct shape own; // full tiles lie inside it
    int64_t own_index;
    bool refine;
};
// Appends a run; sets out->merged when there is no room.
void tiles_put_run(struct piece_output *out, const struct brick *brick, bool partial, int64_t own);
// Full runs for the tiles inside inner boxes, partial ones (classified where t->refine) for others.
void tiles_put_brick(struct tiler *t, const struct brick *brick);
// Sorts an item's runs and joins those that continue each other.
void tiles_order(struct piece_output *out);

#endif
