// Part of stage `analyse`: the conditions of a rule that need all its comparisons at once:
// remainders that become periods, and bounds of one axis that cannot both hold.

#include "compiler/analyse/sum.h"

// ---- remainders -------------------------------------------------------------------------------

// (x + shift) mod period in [0, width), x = +-place + ... or x = y / B + ...: as a period of the
// place. False where it has another form.
static bool place_period(struct solver *solver, const struct conjunction *c, const struct expr *x,
                         const struct expr *period, const struct expr *width,
                         const struct expr *shift, int *out_axis, struct rule_period *out) {
    struct sum sum = {.count = 0};
    sum_add(&sum, x, 1);
    const struct term *term = sum_list_term(&sum);
    if (sum.failed || !term || (term->factor != 1 && term->factor != -1))
        return false;
    const struct expr *rest = solve_op2(solver, OP_ADD, sum_rest(solver, &sum, 1), shift);
    // -t + rest in [0, width) is t - rest + width - 1 in [0, width).
    if (term->factor == -1)
        rest = solve_op2(solver, OP_SUB, solve_op2(solver, OP_SUB, width, solve_number(solver, 1)),
                         rest);
    if (term->node->op == OP_PLACE) {
        *out_axis = term->node->payload.ref.index;
        *out = (struct rule_period){period, expr_op1(solver->graph, OP_NEG, rest), width};
        return true;
    }
    const struct expr *plain = solve_plain_form(solver, term->node);
    const struct expr *quotient = plain ? plain : term->node;
    if (quotient->op != OP_DIV || !solve_positive(c, quotient->args[1]) || quotient->args[1]->deps)
        return false;
    const struct expr *by = quotient->args[1];
    return place_period(solver, c, quotient->args[0], solve_op2(solver, OP_MUL, period, by),
                        solve_op2(solver, OP_MUL, width, by), solve_op2(solver, OP_MUL, rest, by),
                        out_axis, out);
}

static const struct expr *modular_literal(struct solver *solver, const struct modular *m) {
    if (m->other)
        return solve_op2(solver, OP_NE, m->node, m->lo);
    return m->lo ? solve_op2(solver, OP_LE, m->lo, m->node)
                 : solve_op2(solver, OP_LE, m->node, m->hi);
}

// lo and hi of all conditions on one remainder; `first` is one of them.
static void merge_modular(struct solver *solver, const struct modular *first,
                          const struct expr **lo, const struct expr **hi) {
    *lo = solve_number(solver, 0);
    *hi = solve_op2(solver, OP_SUB, first->node->args[1], solve_number(solver, 1));
    for (const struct modular *m = first; m; m = m->next) {
        if (m->node != first->node || m->other)
            continue;
        if (m->lo)
            *lo = solve_op2(solver, OP_MAX, *lo, m->lo);
        if (m->hi)
            *hi = solve_op2(solver, OP_MIN, *hi, m->hi);
    }
}

static bool solve_one_modular(struct solver *solver, struct conjunction *c,
                              const struct modular *m) {
    const struct expr *period = m->node->args[1], *zero = solve_number(solver, 0);
    const struct expr *lo, *width, *one = solve_number(solver, 1);
    if (period->deps)
        return false;
    if (m->other) { // every remainder but one: a wrapped interval, all of them if it cannot occur
        const struct expr *occurs = solve_op2(solver, OP_AND, solve_op2(solver, OP_LE, zero, m->lo),
                                              solve_op2(solver, OP_LT, m->lo, period));
        lo = solve_op2(solver, OP_ADD, m->lo, one);
        width = expr_op3(solver->graph, OP_SELECT_I, occurs, solve_op2(solver, OP_SUB, period, one),
                         period);
    } else {
        const struct expr *hi;
        merge_modular(solver, m, &lo, &hi);
        width = solve_op2(solver, OP_MAX, zero,
                          solve_op2(solver, OP_ADD, solve_op2(solver, OP_SUB, hi, lo), one));
    }
    int axis;
    struct rule_period found;
    if (!place_period(solver, c, m->node->args[0], period, width,
                      expr_op1(solver->graph, OP_NEG, lo), &axis, &found) ||
        c->rule.period[axis].period)
        return false;
    c->rule.period[axis] = found;
    return true;
}

void solve_modular(struct solver *solver, struct conjunction *c) {
    for (const struct modular *m = c->modular; m; m = m->next) {
        bool merged = false; // with an earlier entry of the same remainder
        for (const struct modular *e = c->modular; e != m; e = e->next)
            merged |= e->node == m->node && !e->other && !m->other;
        if (!merged && !solve_one_modular(solver, c, m)) {
            for (const struct modular *e = m; e; e = e->next)
                if (e == m || (e->node == m->node && !e->other && !m->other))
                    list_add(solver->graph, &c->rule.unsolved, modular_literal(solver, e));
        }
    }
}

// ---- feasibility ------------------------------------------------------------------------------

// f * x - f * B * (x / B) is f * (x % B).
static void join_quotients(struct solver *solver, struct sum *sum) {
    for (int i = 0; i < sum->count; i++) {
        const struct expr *quotient = sum->terms[i].node;
        if (quotient->op != OP_DIV || quotient->args[1]->op != OP_INT)
            continue;
        int64_t by = quotient->args[1]->payload.i, factor = sum->terms[i].factor;
        if (by < 1 || factor % by != 0)
            continue;
        for (int j = 0; j < sum->count; j++)
            if (sum->terms[j].node == quotient->args[0] && sum->terms[j].factor == -(factor / by)) {
                sum->terms[j].node =
                    solve_op2(solver, OP_MOD, quotient->args[0], quotient->args[1]);
                sum->terms[i] = sum->terms[--sum->count];
                i = -1;
                break;
            }
    }
}

static void add_feasible(struct solver *solver, struct conjunction *c, const struct expr *lower,
                         const struct expr *upper) {
    struct sum sum = {.count = 0};
    sum_add(&sum, upper, 1);
    sum_add(&sum, lower, -1);
    if (sum.failed)
        return;
    join_quotients(solver, &sum);
    if (sum.count == 0 && sum.constant >= 0)
        return;
    list_add(solver->graph, &c->rule.feasible,
             solve_op2(solver, OP_LE, solve_number(solver, 0), sum_rest(solver, &sum, 1)));
}

void solve_feasible(struct solver *solver, struct conjunction *c) {
    for (int a = 0; a < ABI_AXES; a++)
        for (int i = 0; i < c->rule.lower[a].count; i++)
            for (int j = 0; j < c->rule.upper[a].count; j++)
                add_feasible(solver, c, c->rule.lower[a].items[i], c->rule.upper[a].items[j]);
}
