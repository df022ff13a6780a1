// The key tiles of one item of a plan, as segments of tokens: for drawing and counting.
#ifndef HEDDLE_CLI_TILES_H
#define HEDDLE_CLI_TILES_H

#include "runtime/plan.h"

struct tile_segment { // tokens begin, begin + step, ... (count of them), one tile's row
    int64_t begin, count, step;
    int64_t tile; // number of the tile within the item
    bool partial; // the predicate decides, pair by pair; else all are kept
    // Whose groups of how many keys the tokens are read in: step is 1 where that is above 1.
    int source;
    int64_t factor;
};

// Calls visit for every segment of the item's tiles, clipped to what exists and to what each tile
// owns. With `merge`, tiles that touch along the fastest axis give one segment (with the first
// one's number).
void item_segments(const struct plan *plan, int64_t batch, int64_t head, int64_t box, bool merge,
                   void (*visit)(void *context, const struct tile_segment *segment), void *context);

// Rows of the item (0 .. queries) in ascending order of basis position.
void item_rows(const struct plan *plan, int64_t box, void (*visit)(void *context, int64_t row),
               void *context);

// How many tiles the item has.
int64_t item_tiles(const struct plan *plan, int64_t batch, int64_t head, int64_t box);

#endif
