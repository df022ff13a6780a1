// From a predicate to region rules: which keys an item keeps, as a union of products of intervals.
//
// The predicate (over OP_PLACE leaves, see basis.h) is spread into a union of conjunctions. In
// each, every comparison is solved for one list axis: `f(q) <= k.a` becomes a lower bound whose
// value is an expression over the item, `(k.a + c) % m < w` a periodic interval. What cannot be
// solved stays as an unsolved literal: the planner then subdivides and classifies inside the
// region. Evaluated over an item's box, an upper bound U gives an outer end (max U: some query
// keeps it) and an inner end (min U: every query does).
//
//   keep causal and (qb - kb < local or (kb + shift) % stride == 0)      # strided, blocks of 64
//     rule 1   list2 >= (item2 / 64 - local + 1) * 64,  list2 <= item2
//     rule 2   list2 <= item2,  (list2 + 64 * shift) mod (64 * stride) in [0, 64)
//
// Terms such as log2(frame distance), constant on bands of keys, are enumerated: the rule gets a
// loop variable n with `2^n <= distance < 2^(n+1)` and the term is n.
#ifndef HEDDLE_COMPILER_ANALYSE_SOLVE_H
#define HEDDLE_COMPILER_ANALYSE_SOLVE_H

#include "compiler/abi.h"
#include "dsl/expr.h"

struct expr_list {
    const struct expr **items;
    int count, room;
};

// A loop of a rule: n = begin, begin + step .. below end (uniform expressions); or, with `scan`, n
// over all values that the integer `scan` may take for the item and the whole list.
struct rule_loop {
    uint16_t index; // of its OP_ENUM leaf
    const struct expr *begin, *end, *step;
    const struct expr *scan;
};

enum { MAX_RULE_LOOPS = 2, MAX_RULES = 64, MAX_SOURCE_RULES = 16 };

struct rule_period { // (list_a - phase) mod period < width
    const struct expr *period, *phase, *width;
};

struct rule {
    struct rule_loop loops[MAX_RULE_LOOPS];
    int loop_count;
    struct expr_list guards; // conditions without the list's position
    // Consequences worth testing first: bounds of one axis, subtracted, so that what they share
    // cancels (q - 64 * (q / 64 + 1) >= 0 never holds, though both bounds alone may meet).
    struct expr_list feasible;
    struct expr_list lower[ABI_AXES];    // list_a >= each
    struct expr_list upper[ABI_AXES];    // list_a <= each
    struct rule_period period[ABI_AXES]; // period NULL: none
    struct expr_list unsolved;           // conditions left to classification
};

struct rules {
    struct rule *items; // at most MAX_RULES
    int count;
};

// Solves a predicate, taking the uniform expressions of `positive` to be above 0. The union of the
// rules is exactly the predicate. When it would take more than `most` (at most MAX_RULES), one rule
// comes back: what holds of every kept pair solved, the rest unsolved.
struct rules solve_rules(struct expr_graph *graph, const struct expr *keep,
                         const struct expr_list *positive, int most);

// For the `facts` dump.
void rules_print(const struct rules *rules, const struct expr_names *names, struct strbuf *out);

#endif
