// Conditions over pooled keys: from what a pattern says of tokens to what holds for a whole group.
//
// A group g of `ratio` units holds the units g * ratio .. (g + 1) * ratio, as far as they exist. A
// unit is a token, or a group of a finer factor. In the results the key's coordinate is g.
//
//   k.i / 128 == q.i / 128, ratio 4    g / 32 == q.i / 128        the same for all units: no trace
//   k.i <= q.i, every unit             min(g * 4 + 3, size(i) - 1) <= q.i
//   doc[k.i] == 2, every unit          all e in 0 .. 4 : doc[min(g * 4 + e, size(i) - 1)] == 2
#ifndef HEDDLE_DSL_POOL_EXPR_H
#define HEDDLE_DSL_POOL_EXPR_H

#include "dsl/expr.h"

struct pool_group {
    struct expr_graph *graph;
    int64_t ratio;             // units in a group, at least 1
    const struct expr *extent; // how many units exist, at least 1
};

// Holds where `condition` holds for every (`all`) or for some (not `all`) existing unit of a group.
// NULL: it takes a quantifier, and too many are inside each other.
const struct expr *pool_condition(const struct pool_group *group, const struct expr *condition,
                                  bool all);

// What an expression's value depends on inside of blocks of so many keys, aligned: the part that
// changes, or NULL when there is none.
const struct expr *pool_off_grid(struct expr_graph *graph, const struct expr *root, int64_t block);

// level == value, with the level's outer operations (shifts, bits, min, max, abs, choices) undone:
// linear comparisons, which the planner solves, wherever that is possible.
const struct expr *pool_level_is(struct expr_graph *graph, const struct expr *level, int64_t value);

#endif
