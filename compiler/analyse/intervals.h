// A predicate as intervals, for masks: which keys one query keeps, as its own first and last
// position along each list axis.
//
// The rules of solve.h bound every list axis by expressions over the item. For an item of one
// position these bounds are exact, so a rule without loops, periods and unsolved conditions *is* a
// product of intervals [lower, upper] that a kernel computes once per query; a pair then costs a
// compare, or less: the columns of a tile that an interval keeps are a run of bits.
//
//   keep causal and (k.i < sink or q.i - k.i < before)
//     part 1   list2 in -inf .. item2
//     part 2   list2 in -inf .. sink - 1   or   list2 in item2 - before + 1 .. inf
//
// A band whose width depends on the frame distance is no interval of the grid, but it is one of
// each frame. So a part that is no union of products is looked at once more, as a tile sees it that
// has one position on every axis but the fastest: its bounds are then computed once per query and
// tile.
//
//   keep abs(q.x - k.x) <= size(x) >> abs(q.t - k.t)
//     list2 in item2 - (size(x) >> abs(item1 - tile1)) .. item2 + (size(x) >> abs(item1 - tile1))
//
// Rules that exclude each other by a condition on the query (causal or not) share one product,
// whose bounds are chosen by the condition.
#ifndef HEDDLE_COMPILER_ANALYSE_INTERVALS_H
#define HEDDLE_COMPILER_ANALYSE_INTERVALS_H

#include "compiler/analyse/solve.h"

// Further than any position. A set that keeps nothing has lower = INTERVAL_FAR.
#define INTERVAL_FAR (INT64_C(1) << 40)

struct interval_set { // lower <= list_a <= upper for each axis; NULL both: the axis is free
    const struct expr *lower[ABI_AXES], *upper[ABI_AXES]; // over OP_PLACE leaves of the item
};

struct interval_part {                // a conjunct of the predicate
    const struct expr *keep, *placed; // over coordinates, and over places (basis.h)
    struct interval_set *sets;        // the conjunct is their union
    int set_count;
    bool solved; // false: test it pair by pair
    bool pinned; // solved for tiles of one position on every axis but the fastest; others: pairs
};

enum { MAX_INTERVAL_PARTS = 16, MAX_INTERVAL_SETS = 6 };

struct intervals { // the predicate is the conjunction of the parts
    struct interval_part parts[MAX_INTERVAL_PARTS];
    int count;
};

// The sets of one predicate from its rules; false when they are no union of few products.
bool interval_sets(struct expr_graph *graph, const struct rules *rules, struct interval_part *part);

// For the `facts` dump.
void intervals_print(const struct intervals *intervals, const struct expr_names *names,
                     struct strbuf *out);

#endif
