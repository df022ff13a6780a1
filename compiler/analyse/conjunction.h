// The working state of solve.c: a conjunction being taken apart. Private to compiler/analyse.
#ifndef HEDDLE_COMPILER_ANALYSE_CONJUNCTION_H
#define HEDDLE_COMPILER_ANALYSE_CONJUNCTION_H

#include "compiler/analyse/solve.h"

struct modular { // lo <= node <= hi for an OP_MOD node; or node != lo when `other`
    const struct expr *node, *lo, *hi;
    bool other;
    const struct modular *next;
};

struct conjunction {
    struct rule rule;
    struct expr_list pending;  // literals still to take apart
    struct expr_list deferred; // those that will split the conjunction: last
    struct expr_list positive; // expressions known to be above 0 here
    const struct modular *modular;
    bool dead;
    struct conjunction *next; // in the solver's work list
};

struct solver {
    struct expr_graph *graph;
    struct rules rules;
    struct conjunction *work;
    int branches; // conjunctions made so far
    int branch_limit;
    bool refused; // a split was: the limit is spent
    uint16_t loops;
};

void list_add(struct expr_graph *graph, struct expr_list *list, const struct expr *item);

// solve.c: adds a literal; splits into two conjunctions (false when the budget is spent: then the
// caller leaves its literal unsolved). The second is a copy that gets `other`.
bool conjunction_split(struct solver *solver, struct conjunction *c, const struct expr *one,
                       const struct expr *other);

// solve.c: a loop of the rule and its OP_ENUM leaf, or NULL when there are MAX_RULE_LOOPS already.
const struct expr *conjunction_loop(struct solver *solver, struct conjunction *c,
                                    struct rule_loop loop);
// solve.c: `root` with every `from` in it replaced.
const struct expr *solve_substitute(struct solver *solver, const struct expr *root,
                                    const struct expr *from, const struct expr *to);

// compare.c: takes apart `a <= b`, `a == b` or `a != b` of integers that depends on the list.
// Literals that it produces go to c->pending.
void solve_comparison(struct solver *solver, struct conjunction *c, const struct expr *literal);
// remainder.c: turns the collected remainders into periods. May add to unsolved.
void solve_modular(struct solver *solver, struct conjunction *c);

// remainder.c: adds to rule.feasible: for each axis, that no lower bound exceeds an upper one.
void solve_feasible(struct solver *solver, struct conjunction *c);

static inline bool on_list(const struct expr *e) {
    return (e->deps & DEP_KEY) != 0;
}

#endif
