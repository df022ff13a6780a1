// Part of stage `analyse`: comparisons of integers as runs. See runs.h.
//
// A comparison becomes 0 <= sum; terms that choose (min, max, abs, ?:) are written out first, then
// the one term with the variable is peeled from the outside, as in compare.c.

#include "compiler/analyse/runs_solver.h"

// ---- sums ---------------------------------------------------------------------------------------

// (-1 or 1) times the part of the sum without the variable.
static const struct expr *rest(const struct runs *r, const struct sum *sum, int64_t sign) {
    const struct expr *total = runs_number(r, 0);
    for (int i = 0; i < sum->count; i++)
        if (!runs_uses(r, sum->terms[i].node)) {
            int64_t factor = sum->terms[i].factor * sign;
            total = factor == -1
                        ? runs_op2(r, OP_SUB, total, sum->terms[i].node)
                        : runs_op2(r, OP_ADD, total,
                                   runs_op2(r, OP_MUL, sum->terms[i].node, runs_number(r, factor)));
        }
    return runs_op2(r, OP_ADD, total, runs_number(r, sum->constant * sign));
}

// The one term with the variable, or NULL; *out_count gets how many there are.
static const struct term *own_term(const struct runs *r, const struct sum *sum, int *out_count) {
    const struct term *found = NULL;
    *out_count = 0;
    for (int i = 0; i < sum->count; i++)
        if (runs_uses(r, sum->terms[i].node)) {
            found = &sum->terms[i];
            ++*out_count;
        }
    return *out_count == 1 ? found : NULL;
}

static struct sum difference(const struct expr *a, const struct expr *b) { // a - b
    struct sum sum = {.count = 0};
    sum_add(&sum, a, 1);
    sum_add(&sum, b, -1);
    return sum;
}

// The sum with `to` for its term number `at`.
static struct sum replaced(const struct sum *sum, int at, const struct expr *to, int64_t sign) {
    struct sum out = *sum;
    int64_t factor = out.terms[at].factor * sign;
    out.terms[at] = out.terms[--out.count];
    sum_add(&out, to, factor);
    return out;
}

static bool chooses(const struct expr *e) {
    return e->op == OP_MIN || e->op == OP_MAX || e->op == OP_ABS || e->op == OP_SELECT_I;
}

static void at_least_zero(struct runs *r, const struct sum *sum, struct run_list *out);

// 0 <= ... + f max(a, b) is either for f above 0, both below; min the other way round.
static void write_out(struct runs *r, const struct sum *sum, int at, struct run_list *out) {
    const struct expr *node = sum->terms[at].node;
    bool is_choice = node->op == OP_SELECT_I, is_abs = node->op == OP_ABS;
    struct sum one = replaced(sum, at, node->args[is_choice], 1);
    struct sum other = replaced(sum, at,
                                node->args[is_choice ? 2
                                           : is_abs  ? 0
                                                     : 1],
                                is_abs ? -1 : 1);
    struct run_list left = {0}, right = {0};
    at_least_zero(r, &one, &left);
    at_least_zero(r, &other, &right);
    if (is_choice)
        runs_choose(r, node->args[0], &left, &right, out);
    else if ((node->op == OP_MIN) == (sum->terms[at].factor > 0))
        runs_multiply(r, &left, &right, out);
    else
        runs_unite(r, &left, &right, false, out);
}

// ---- peeling ------------------------------------------------------------------------------------

struct bound { // least <= x, or x <= most: the other is NULL
    const struct expr *least, *most;
};

static void peel(struct runs *r, const struct expr *x, struct bound bound, struct run_list *out);

static void move_bound(struct runs *r, const struct expr *x, struct bound bound,
                       struct run_list *out) {
    struct sum sum = bound.least ? difference(x, bound.least) : difference(bound.most, x);
    at_least_zero(r, &sum, out);
}

// Can (variable or its negative) + c be made of x?
static bool is_shifted(const struct runs *r, const struct expr *x) {
    struct sum sum = {.count = 0};
    int count;
    sum_add(&sum, x, 1);
    const struct term *term = own_term(r, &sum, &count);
    return term && !sum.failed && term->node->op == OP_VAR &&
           (term->factor == 1 || term->factor == -1);
}

static void peel_remainder(struct runs *r, const struct expr *node, struct bound bound,
                           struct run_list *out) {
    const struct expr *m = node->args[1];
    if (runs_uses(r, m) || !runs_positive(m) || !is_shifted(r, node->args[0])) {
        r->failed = true;
        return;
    }
    struct run run = {.remainder = node, .least = runs_number(r, 0), .past = m, .sign = 1};
    if (bound.least)
        run.least = runs_op2(r, OP_MAX, run.least, bound.least);
    else
        run.past =
            runs_op2(r, OP_MIN, run.past, runs_op2(r, OP_ADD, bound.most, runs_number(r, 1)));
    *out = (struct run_list){0};
    runs_add(r, out, &run);
}

// x * by, x / by: the bound of x.
static void peel_scale(struct runs *r, const struct expr *node, struct bound bound,
                       struct run_list *out) {
    bool swapped = node->op == OP_MUL && runs_uses(r, node->args[1]);
    const struct expr *x = node->args[swapped], *by = node->args[!swapped];
    if (runs_uses(r, by) || !runs_positive(by)) {
        r->failed = true;
        return;
    }
    struct bound moved = {0};
    if (node->op == OP_MUL && bound.least)
        moved.least = runs_op2(r, OP_CEILDIV, bound.least, by);
    else if (node->op == OP_MUL)
        moved.most = runs_op2(r, OP_DIV, bound.most, by);
    else if (bound.least)
        moved.least = runs_op2(r, OP_MUL, bound.least, by);
    else
        moved.most = runs_op2(
            r, OP_SUB, runs_op2(r, OP_MUL, runs_op2(r, OP_ADD, bound.most, runs_number(r, 1)), by),
            runs_number(r, 1));
    move_bound(r, x, moved, out);
}

// ceildiv(x, by) is -(-x / by).
static void peel_ceildiv(struct runs *r, const struct expr *node, struct bound bound,
                         struct run_list *out) {
    const struct expr *minus =
        runs_op2(r, OP_DIV, expr_op1(r->graph, OP_NEG, node->args[0]), node->args[1]);
    struct bound mirrored = {bound.most ? expr_op1(r->graph, OP_NEG, bound.most) : NULL,
                             bound.least ? expr_op1(r->graph, OP_NEG, bound.least) : NULL};
    peel(r, minus, mirrored, out);
}

// Shifts by constants as products and quotients, a mask of low bits as a remainder, or NULL.
static const struct expr *plain_form(const struct runs *r, const struct expr *e) {
    bool shift = e->op == OP_SHL || e->op == OP_SHR;
    if (shift && e->args[1]->op == OP_INT && e->args[1]->payload.i >= 0 &&
        e->args[1]->payload.i < 62)
        return runs_op2(r, e->op == OP_SHL ? OP_MUL : OP_DIV, e->args[0],
                        runs_number(r, INT64_C(1) << e->args[1]->payload.i));
    for (int i = 0; e->op == OP_BITAND && i < 2; i++) {
        int64_t mask = e->args[i]->op == OP_INT ? e->args[i]->payload.i : -1;
        if (mask >= 0 && mask < INT64_MAX && (mask & (mask + 1)) == 0)
            return runs_op2(r, OP_MOD, e->args[1 - i], runs_number(r, mask + 1));
    }
    return NULL;
}

static void peel(struct runs *r, const struct expr *x, struct bound bound, struct run_list *out) {
    const struct expr *plain = plain_form(r, x);
    if (plain) {
        move_bound(r, plain, bound, out);
        return;
    }
    switch (x->op) {
    case OP_VAR: {
        struct run run = {.begin = bound.least, .sign = 1};
        if (bound.most)
            run.end = runs_op2(r, OP_ADD, bound.most, runs_number(r, 1));
        runs_add(r, out, &run);
        return;
    }
    case OP_MUL:
    case OP_DIV:
        peel_scale(r, x, bound, out);
        return;
    case OP_CEILDIV:
        peel_ceildiv(r, x, bound, out);
        return;
    case OP_MOD:
        peel_remainder(r, x, bound, out);
        return;
    default:
        r->failed = true;
    }
}

static void at_least_zero(struct runs *r, const struct sum *sum, struct run_list *out) {
    int own;
    *out = (struct run_list){0};
    if (r->failed || sum->failed || ++r->steps > MAX_RUN_STEPS) {
        r->failed = true;
        return;
    }
    for (int i = 0; i < sum->count; i++)
        if (runs_uses(r, sum->terms[i].node) && chooses(sum->terms[i].node)) {
            write_out(r, sum, i, out);
            return;
        }
    const struct term *term = own_term(r, sum, &own);
    if (own == 0)
        runs_only(r, runs_op2(r, OP_LE, runs_number(r, 0), rest(r, sum, 1)), out);
    else if (!term)
        r->failed = true;
    else if (term->factor > 0) // term >= ceil(-rest / factor)
        peel(r, term->node,
             (struct bound){runs_op2(r, OP_CEILDIV, rest(r, sum, -1), runs_number(r, term->factor)),
                            NULL},
             out);
    else // term <= floor(rest / -factor)
        peel(r, term->node,
             (struct bound){NULL,
                            runs_op2(r, OP_DIV, rest(r, sum, 1), runs_number(r, -term->factor))},
             out);
}

void runs_less(struct runs *r, const struct expr *a, const struct expr *b, bool strict,
               struct run_list *out) {
    struct sum sum = difference(b, a);
    sum_add_constant(&sum, strict, -1);
    at_least_zero(r, &sum, out);
}
