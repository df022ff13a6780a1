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

struct brick { // tiles at origin + i * step, i < count, along each axis
    int64_t origin[ABI_AXES], count[ABI_AXES], step[ABI_AXES];
};

// Work left of what would be a recursion. A grid has at most 2^30 positions, so that halving a
// brick (or an item's box) down to single tiles takes some 30 steps over all axes, and HALVING
// entries do; whatever else is split stops being split (and stays partial) when fewer are left.
enum { HALVING = 40, WORK_ROOM = HALVING + 64, COVER_ROOM = HALVING + 32 };
struct brick_work {
    struct brick brick;
    int64_t next; // first inner box that has not been tried
};
struct cover_work { // a box that inner boxes from `next` on must cover
    struct abi_box box;
    int64_t next;
};

struct piece_space {
    struct piece_limits limits;
    struct abi_region *raw; // dead once regions are read: shares memory with what follows
    struct shape *pieces;   // of the region in hand, not yet tiled
    struct shape *spare;    // as many
    struct shape *claims;   // as many
    struct region *regions;
    struct shape *inners; // as many as regions
    struct abi_run *runs;
    struct abi_box *owns; // as many as pieces
    int raw_count, region_count, piece_count, claim_count, inner_count, work_count;
    int most_pieces; // or claims, of the item so far
    bool overflow;   // out of room: the item falls back to one unsolved piece
    struct brick_work work[WORK_ROOM];
    struct cover_work cover[COVER_ROOM];
};

// The pattern's compiled functions. On a GPU a call through a pointer would hide how much stack a
// thread needs, so there they are called by name; the linker puts them in.
#ifdef HEDDLE_ON_DEVICE
abi_regions_fn heddle_device_regions;
abi_classify_fn heddle_device_classify;
#define CALL_REGIONS(input) heddle_device_regions
#define CALL_CLASSIFY(input) heddle_device_classify
#else
#define CALL_REGIONS(input) (input)->regions
#define CALL_CLASSIFY(input) (input)->classify
#endif

// regions.c: asks the compiled code, and puts what it says in the order of pieces.h.
void regions_read(const struct piece_input *input, struct piece_space *space);
// Everything as one unsolved region: what is left when something does not fit.
void regions_whole(const struct piece_input *input, struct piece_space *space);

// tiles.c
struct tiler {
    const struct piece_input *input;
    struct piece_space *space;
    struct piece_list *out;
    struct shape own; // full tiles lie inside it
    int64_t own_index;
    bool refine;
};
// Appends a run; sets out->merged when there is no room.
void tiles_put_run(struct tiler *t, const struct brick *brick, bool partial, int64_t own);
// Full runs for the tiles inside inner boxes, partial ones (classified where t->refine) for others.
void tiles_put_brick(struct tiler *t, const struct brick *brick);
// Sorts an item's runs and joins those that continue each other.
void tiles_order(struct piece_list *out);

#endif
