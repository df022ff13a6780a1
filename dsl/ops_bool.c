// Meanings of the boolean operations and of `?:`.
//
// A boolean's box is {lo: true for every pair, hi: possibly true for some pair}, so `and` and `or`
// work on lo and hi separately, and `not` swaps them.

#include "dsl/ops.h"

#include <stdlib.h>

bool box_single(const struct box *box) {
    return box->lo.i == box->hi.i;
}

struct box box_of(aval lo, aval hi) {
    return (struct box){lo, hi, 1, 0};
}

int64_t congruence_gcd(int64_t a, int64_t b) {
    a = llabs(a);
    b = llabs(b);
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// The least box that holds both.
struct box box_join(struct alg *alg, enum type type, const struct box *a, const struct box *b) {
    struct box out = {.mod = 1};
    if (type == TYPE_BOOL) {
        out.lo = a2(alg, ALG_B_AND, a->lo, b->lo);
        out.hi = a2(alg, ALG_B_OR, a->hi, b->hi);
        return out;
    }
    out.lo = a2(alg, type == TYPE_INT ? ALG_I_MIN : ALG_R_MIN, a->lo, b->lo);
    out.hi = a2(alg, type == TYPE_INT ? ALG_I_MAX : ALG_R_MAX, a->hi, b->hi);
    int64_t difference;
    if (type == TYPE_INT && !__builtin_sub_overflow(a->rem, b->rem, &difference)) {
        out.mod = congruence_gcd(congruence_gcd(a->mod, b->mod), difference);
        out.rem = out.mod ? (a->rem % out.mod + out.mod) % out.mod : a->rem;
    }
    return out;
}

union value eval_not(const union value *args, enum eval_fault *fault) {
    (void)fault;
    return (union value){.b = !args[0].b};
}
union value eval_and(const union value *args, enum eval_fault *fault) {
    (void)fault;
    return (union value){.b = args[0].b && args[1].b};
}
union value eval_or(const union value *args, enum eval_fault *fault) {
    (void)fault;
    return (union value){.b = args[0].b || args[1].b};
}
union value eval_iff(const union value *args, enum eval_fault *fault) {
    (void)fault;
    return (union value){.b = args[0].b == args[1].b};
}
union value eval_xor(const union value *args, enum eval_fault *fault) {
    (void)fault;
    return (union value){.b = args[0].b != args[1].b};
}
union value eval_select(const union value *args, enum eval_fault *fault) {
    (void)fault;
    return args[0].b ? args[1] : args[2];
}

aval point_not(struct alg *alg, const aval *args) {
    return a1(alg, ALG_B_NOT, args[0]);
}
aval point_and(struct alg *alg, const aval *args) {
    return a2(alg, ALG_B_AND, args[0], args[1]);
}
aval point_or(struct alg *alg, const aval *args) {
    return a2(alg, ALG_B_OR, args[0], args[1]);
}
aval point_iff(struct alg *alg, const aval *args) {
    return a1(alg, ALG_B_NOT, a2(alg, ALG_B_XOR, args[0], args[1]));
}
aval point_xor(struct alg *alg, const aval *args) {
    return a2(alg, ALG_B_XOR, args[0], args[1]);
}
aval point_select(struct alg *alg, const aval *args) {
    return a_select(alg, args[0], args[1], args[2]);
}

void box_not(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a1(alg, ALG_B_NOT, args[0].hi), a1(alg, ALG_B_NOT, args[0].lo));
}
void box_and(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_B_AND, args[0].lo, args[1].lo),
                  a2(alg, ALG_B_AND, args[0].hi, args[1].hi));
}
void box_or(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_B_OR, args[0].lo, args[1].lo),
                  a2(alg, ALG_B_OR, args[0].hi, args[1].hi));
}

// Different for every pair: one always true and the other always false.
void box_xor(struct alg *alg, const struct box *args, struct box *out) {
    aval never0 = a1(alg, ALG_B_NOT, args[0].hi), never1 = a1(alg, ALG_B_NOT, args[1].hi);
    aval differ = a2(alg, ALG_B_OR, a2(alg, ALG_B_AND, args[0].lo, never1),
                     a2(alg, ALG_B_AND, args[1].lo, never0));
    aval agree = a2(alg, ALG_B_OR, a2(alg, ALG_B_AND, args[0].lo, args[1].lo),
                    a2(alg, ALG_B_AND, never0, never1));
    *out = box_of(differ, a1(alg, ALG_B_NOT, agree));
}
void box_iff(struct alg *alg, const struct box *args, struct box *out) {
    struct box differ;
    box_xor(alg, args, &differ);
    box_not(alg, &differ, out);
}

// A condition that the box decides takes one arm, else the join of both.
static void select_box(struct alg *alg, enum type type, const struct box *args, struct box *out) {
    int64_t always, possible;
    if (alg->known(alg, args[0].lo, &always) && always) {
        *out = args[1];
        return;
    }
    if (alg->known(alg, args[0].hi, &possible) && !possible) {
        *out = args[2];
        return;
    }
    *out = box_join(alg, type, &args[1], &args[2]);
    out->lo = a_select(alg, args[0].lo, args[1].lo, a_select(alg, args[0].hi, out->lo, args[2].lo));
    out->hi = a_select(alg, args[0].lo, args[1].hi, a_select(alg, args[0].hi, out->hi, args[2].hi));
}
void box_select_b(struct alg *alg, const struct box *args, struct box *out) {
    select_box(alg, TYPE_BOOL, args, out);
}
void box_select_i(struct alg *alg, const struct box *args, struct box *out) {
    select_box(alg, TYPE_INT, args, out);
}
void box_select_r(struct alg *alg, const struct box *args, struct box *out) {
    select_box(alg, TYPE_REAL, args, out);
}

const struct expr *fold_not(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    (void)graph;
    (void)span;
    return args[0]->op == OP_NOT ? args[0]->args[0] : NULL;
}
const struct expr *fold_and(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    if (expr_is_bool(args[0], false) || expr_is_bool(args[1], false))
        return expr_bool(graph, span, false);
    if (expr_is_bool(args[0], true) || args[0] == args[1])
        return args[1];
    return expr_is_bool(args[1], true) ? args[0] : NULL;
}
const struct expr *fold_or(struct expr_graph *graph, struct span span,
                           const struct expr *const *args) {
    if (expr_is_bool(args[0], true) || expr_is_bool(args[1], true))
        return expr_bool(graph, span, true);
    if (expr_is_bool(args[0], false) || args[0] == args[1])
        return args[1];
    return expr_is_bool(args[1], false) ? args[0] : NULL;
}
const struct expr *fold_iff(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    if (args[0] == args[1])
        return expr_bool(graph, span, true);
    if (expr_is_bool(args[0], true))
        return args[1];
    return expr_is_bool(args[1], true) ? args[0] : NULL;
}
const struct expr *fold_xor(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    if (args[0] == args[1])
        return expr_bool(graph, span, false);
    if (expr_is_bool(args[0], false))
        return args[1];
    return expr_is_bool(args[1], false) ? args[0] : NULL;
}
const struct expr *fold_select(struct expr_graph *graph, struct span span,
                               const struct expr *const *args) {
    (void)graph;
    (void)span;
    if (args[0]->op == OP_BOOL)
        return args[0]->payload.i ? args[1] : args[2];
    return args[1] == args[2] ? args[1] : NULL;
}
