// Sums of terms with constant factors: how comparisons are put in order. Private to
// compiler/analyse.
#ifndef HEDDLE_COMPILER_ANALYSE_SUM_H
#define HEDDLE_COMPILER_ANALYSE_SUM_H

#include "compiler/analyse/conjunction.h"

enum { MAX_TERMS = 24 };

struct term {
    const struct expr *node;
    int64_t factor;
};

struct sum { // factor * node + ... + constant
    struct term terms[MAX_TERMS];
    int count;
    int64_t constant;
    bool failed; // too many terms, or a factor over 64 bits
};

// Adds factor * e, spread over + and - and products by constants.
void sum_add(struct sum *sum, const struct expr *e, int64_t factor);
void sum_add_constant(struct sum *sum, int64_t value, int64_t factor);
// (-1 or 1) times the part of the sum that does not use the list.
const struct expr *sum_rest(struct solver *solver, const struct sum *sum, int64_t sign);
// The one term that uses the list, or NULL when there are several.
const struct term *sum_list_term(const struct sum *sum);
int sum_list_terms(const struct sum *sum);

static inline const struct expr *solve_number(struct solver *solver, int64_t value) {
    return expr_int(solver->graph, (struct span){0}, value);
}
static inline const struct expr *solve_op2(struct solver *solver, enum op op, const struct expr *a,
                                           const struct expr *b) {
    return expr_op2(solver->graph, op, a, b);
}

// compare.c: surely above 0 here (false: not known).
bool solve_positive(const struct conjunction *c, const struct expr *e);
// compare.c: shifts and bit masks by constants as products, quotients and remainders, or NULL.
const struct expr *solve_plain_form(struct solver *solver, const struct expr *term);

#endif
