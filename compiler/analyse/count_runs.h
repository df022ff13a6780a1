// Counting by runs: quantifiers whose condition is solved for their variable (runs.h) become closed
// forms, which cost what their runs cost, however many values they count.
//
//   count r in 0 .. n : a <= r and r < b          max(0, min(b, n) - max(a, 0))
//   any r in 0 .. n : a <= r and r < b            max(a, 0) < min(b, n)
//   count r in 0 .. n : r % m == 1                (n + m - 2) / m, written for any ends
#ifndef HEDDLE_COMPILER_ANALYSE_COUNT_RUNS_H
#define HEDDLE_COMPILER_ANALYSE_COUNT_RUNS_H

#include "dsl/pattern.h"

// The same value, with closed forms wherever there are some. An `any` or `all` outside of counts
// stays unless `of_map`: in a predicate the rules of solve.h make regions of its turns.
const struct expr *count_runs(struct expr_graph *graph, const struct expr *root, bool of_map);

// All of a pattern. What the user wrote stays in `written`: the reference evaluates that.
void count_runs_pattern(struct pattern *pattern);

#endif
