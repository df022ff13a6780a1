// The values of a quantifier's variable for which its condition holds, as runs: intervals, or
// intervals of a remainder, whose ends are expressions without the variable.
//
//   count r in 0 .. 128 : 0 <= p + r and p + r < n and abs(p + r - c) <= w
//     one run    max(-p, c - p - w) .. min(n - p, c - p + w + 1)
//   count v in 0 .. n : v % m == r or v < 4
//     v % m in r .. r + 1;  .. 4;  and, taken away again, both at once
//
// Private to compiler/analyse; count_runs.c puts closed forms together from them.
#ifndef HEDDLE_COMPILER_ANALYSE_RUNS_H
#define HEDDLE_COMPILER_ANALYSE_RUNS_H

#include "dsl/expr.h"

struct run {                         // all of it holds, or the run is empty
    const struct expr *guard;        // a condition without the variable; NULL: none
    const struct expr *begin, *end;  // half open; NULL: no bound
    const struct expr *remainder;    // x % m, x the variable or its negative plus a sum; NULL: none
    const struct expr *least, *past; // least <= remainder < past
    int sign; // 1; or -1: the values of this run count less, when runs are counted
};

enum { MAX_RUNS = 32 };

struct run_list {
    struct run *items; // of the graph's arena
    int count, room;
};

// The runs of `condition` in the variable of this number. Counting: every value is in as many runs
// of sign 1, less those of sign -1, as the condition holds there: once or not at all. Otherwise all
// signs are 1, and a value may be in several. False: no few runs describe it.
bool runs_solve(struct expr_graph *graph, const struct expr *condition, uint16_t variable,
                bool counting, struct run_list *out);

#endif
