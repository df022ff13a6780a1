// The working state of runs.c and runs_sum.c. Private to them.
#ifndef HEDDLE_COMPILER_ANALYSE_RUNS_SOLVER_H
#define HEDDLE_COMPILER_ANALYSE_RUNS_SOLVER_H

#include "compiler/analyse/runs.h"
#include "compiler/analyse/sum.h"

enum { MAX_RUN_STEPS = 400 }; // of one condition

struct runs {
    struct expr_graph *graph;
    uint16_t bit; // of the variable
    bool counting, failed;
    int steps;
};

static inline bool runs_uses(const struct runs *r, const struct expr *e) {
    return (e->vars & r->bit) != 0;
}
static inline const struct expr *runs_number(const struct runs *r, int64_t value) {
    return expr_int(r->graph, (struct span){0}, value);
}
static inline const struct expr *runs_op2(const struct runs *r, enum op op, const struct expr *a,
                                          const struct expr *b) {
    return expr_op2(r->graph, op, a, b);
}
static inline bool runs_positive(const struct expr *e) {
    static const struct conjunction nothing = {.dead = false};
    return solve_positive(&nothing, e);
}

// ---- runs.c -------------------------------------------------------------------------------------

void runs_add(struct runs *r, struct run_list *list, const struct run *run);
// All values, where the guard holds.
void runs_only(struct runs *r, const struct expr *guard, struct run_list *out);
void runs_multiply(struct runs *r, const struct run_list *a, const struct run_list *b,
                   struct run_list *out); // both
void runs_unite(struct runs *r, const struct run_list *a, const struct run_list *b, bool disjoint,
                struct run_list *out); // either
// c ? a : b, whose arms exclude each other.
void runs_choose(struct runs *r, const struct expr *c, const struct run_list *a,
                 const struct run_list *b, struct run_list *out);

// ---- runs_sum.c ---------------------------------------------------------------------------------

// a < b when strict, a <= b otherwise, of integers.
void runs_less(struct runs *r, const struct expr *a, const struct expr *b, bool strict,
               struct run_list *out);

#endif
