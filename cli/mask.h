// What a head's queries see, on a grid of cells: one cell per pair, or one per rectangle of pairs.
#ifndef HEDDLE_CLI_MASK_H
#define HEDDLE_CLI_MASK_H

#include "runtime/plan.h"

struct mask {
    int width, height; // cells; a row of cells is a query or several
    bool exact;        // one cell is one pair
    float *kept;       // share of the cell's pairs that is kept, 0..1; a pair that is read in a
                       // group of f keys counts 1 / f
    float *full;       // share in full tiles, or NULL: tiles not asked for
    float *partial;    // share in partial tiles, or NULL
    int32_t *tile;     // exact masks with tiles: number of the cell's tile, -1 none; else NULL
};

// Pair by pair, by the reference meaning. False when out of memory.
bool mask_pairs(struct mask *mask, const struct plan *plan, int64_t head, bool tiles);
// From the plan's tiles: full ones as they are, cells that partial ones touch by sampling pairs.
// width <= keys, height <= queries.
bool mask_scaled(struct mask *mask, const struct plan *plan, int64_t head, int width, int height);
// An exact mask averaged onto fewer cells.
bool mask_shrink(struct mask *mask, const struct mask *exact, int width, int height);
void mask_finish(struct mask *mask); // zeroed is fine

// How a pair is written that is read in groups of `factor` keys, the least if there are several:
// '0' (not kept), '1' to '9', 'a' = 16, 'b' = 32 and so on, and for others 'A' (from 10), 'B' (from
// 16), 'C' (from 32) ...
char mask_letter(int64_t factor);

// One query's row in such letters, straight from the tiles: for grids too large to test every pair.
struct mask_rows {
    const struct plan *plan;
    int64_t head;
    int32_t *box_of; // row -> query box
    struct pair_env *env;
    int64_t *factor; // scratch of one row
};
bool mask_rows_init(struct mask_rows *rows, const struct plan *plan, int64_t head);
void mask_rows_finish(struct mask_rows *rows);
void mask_rows_print(struct mask_rows *rows, int64_t row, char *out); // keys characters, no NUL

#endif
