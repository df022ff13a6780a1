// How much of a pattern's predicate and score the GPU's kernel computes pair by pair: what a
// partial tile costs beyond a full one, counted in operations of the expression graph.
//
// The kernel decides some conjuncts by intervals (compiler/analyse/intervals.h), at little cost; it
// takes the others pair by pair, but what does not change within a tile once per tile, and what one
// side decides once per row or column. So an operation counts when it depends on a query axis and a
// key axis along which the tile's boxes are longer than one.
#ifndef HEDDLE_RUNTIME_MASK_OPS_H
#define HEDDLE_RUNTIME_MASK_OPS_H

#include "runtime/plan.h"

enum { AXES_SETS = 1 << (2 * ABI_AXES) }; // bit a: query axis a; bit ABI_AXES + a: key axis a

struct mask_ops {                             // of one pattern in one basis
    bool intervals, scored;                   // conjuncts by intervals; a score
    double keep[AXES_SETS], score[AXES_SETS]; // operations by the axes they depend on
    double pinned[AXES_SETS]; // of conjuncts that are intervals to tiles of one row of keys only
};

// For plan->basis. False: no memory.
bool mask_ops_count(const struct plan *plan, struct mask_ops *out);

// Operations per pair, of `keep` or `score` above, with the plan's boxes.
double mask_ops_per_pair(const double *by_axes, const struct plan *plan);
// Do the plan's tiles have one position on every axis but the fastest?
bool mask_ops_one_row(const struct plan *plan);

#endif
