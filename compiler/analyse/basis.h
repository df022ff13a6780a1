// Bases: the coordinates in which items and tiles are boxes.
//
// A grid (t, y, x) can be tiled as t|y|x, as t|yx (y and x fused into the in-frame index) or as tyx
// (plain tokens): fusing neighbouring axes of a row-major grid costs nothing. A neighbourhood is a
// box in t|y|x, Radial's window in t|yx, a plain window in tyx. The analysis runs in every basis;
// the schedule counts and picks.
//
// A basis axis may also be split by residue: where the pattern says `q.x % d == k.x % d` of every
// kept pair, items hold queries of one residue and count positions by d, so that a dilated
// neighbourhood computes no more tiles than an undilated one.
#ifndef HEDDLE_COMPILER_ANALYSE_BASIS_H
#define HEDDLE_COMPILER_ANALYSE_BASIS_H

#include "compiler/abi.h"
#include "dsl/pattern.h"

enum { MAX_BASES = 3 };

struct basis {
    const char *name; // "t|yx", in the pattern's axis names
    int axis_count;   // basis axes in use; they are the last ones of ABI_AXES
    // By pattern axis: the basis axis (0..ABI_AXES-1) that holds it.
    int axis_of[MAX_AXES];
    // By basis axis: what the axis is split by (uniform, positive), or NULL.
    const struct expr *split[ABI_AXES];
    // By basis axis: the pattern axes it fuses, [first, last]; first > last for unused axes.
    int first[ABI_AXES], last[ABI_AXES];
};

// Fills bases[] for a pattern and returns how many there are. Finds splits in pattern->keep; a
// pattern with sources has none.
int basis_list(const struct pattern *pattern, struct basis *bases);

// `keep` over OP_PLACE leaves instead of coordinates and tokens. item_side says which side's
// positions are the item's (side PLACE_OF_ITEM of OP_PLACE); the other side's are the list's.
const struct expr *basis_rewrite(const struct pattern *pattern, const struct basis *basis,
                                 enum side item_side, const struct expr *keep);

// The same for the query side and keys of a tile that has one position on every list axis but the
// fastest: those positions are the tile's, known like the item's (PLACE_OF_TILE).
const struct expr *basis_rewrite_pinned(const struct pattern *pattern, const struct basis *basis,
                                        const struct expr *keep);

#endif
