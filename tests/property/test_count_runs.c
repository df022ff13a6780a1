// Counting by runs against counting value by value: random quantifiers over conditions that are
// linear or periodic in their variable, nested, with `min`, `max`, `abs`, choices and reals; the
// closed form must be equal for all values of what it depends on.
//
// HEDDLE_TEST_SEED and HEDDLE_TEST_CASES change the run; the seed is printed.

#include "compiler/analyse/count_runs.h"
#include "tests/support/random_problem.h"

#include <criterion/criterion.h>
#include <inttypes.h>

enum { OUTER = 8, OUTERS = 3, NESTED = 2 }; // variables OUTER ..: what the condition depends on

static const struct span NOWHERE = {0};

struct maker {
    struct expr_graph graph;
    struct arena arena;
    struct random_source random;
    int depth; // quantifiers around
};

static int64_t pick(struct maker *m, int64_t low, int64_t high) { // both included
    return random_in(&m->random, low, high);
}
static const struct expr *op2(struct maker *m, enum op op, const struct expr *a,
                              const struct expr *b) {
    return expr_op2(&m->graph, op, a, b);
}
static const struct expr *number(struct maker *m, int64_t value) {
    return expr_int(&m->graph, NOWHERE, value);
}
static const struct expr *variable(struct maker *m, int index) {
    return expr_ref(&m->graph, NOWHERE, OP_VAR, TYPE_INT, (uint16_t)index, 0, NULL, 0);
}
static const struct expr *outer(struct maker *m) {
    return pick(m, 0, 1) ? number(m, pick(m, -9, 9))
                         : variable(m, OUTER + (int)pick(m, 0, OUTERS - 1));
}

static const struct expr *quantifier(struct maker *m, enum op op, int depth);

// An integer; with the innermost variable more often than not.
static const struct expr *integer(struct maker *m, int depth) {
    const struct expr *v =
        variable(m, (int)pick(m, 0, 3) ? m->depth - 1 : (int)pick(m, 0, m->depth - 1));
    if (depth == 0)
        return pick(m, 0, 2) ? op2(m, pick(m, 0, 1) ? OP_ADD : OP_SUB, outer(m), v) : outer(m);
    const struct expr *x = integer(m, depth - 1), *by = number(m, pick(m, 1, 7));
    switch (pick(m, 0, 9)) {
    case 0:
        return op2(m, OP_MIN, x, integer(m, depth - 1));
    case 1:
        return op2(m, OP_MAX, x, integer(m, depth - 1));
    case 2:
        return expr_op1(&m->graph, OP_ABS, x);
    case 3:
        return op2(m, OP_DIV, x, by);
    case 4:
        return op2(m, OP_CEILDIV, x, by);
    case 5:
        return op2(m, OP_MOD, x, by);
    case 6:
        return op2(m, OP_MUL, x, number(m, pick(m, -3, 3)));
    case 7:
        return expr_op3(&m->graph, OP_SELECT_I, op2(m, OP_LT, outer(m), outer(m)), x,
                        integer(m, depth - 1));
    case 8:
        return pick(m, 0, 1) && m->depth < NESTED ? quantifier(m, OP_COUNT, depth - 1)
                                                  : op2(m, OP_SHR, x, number(m, pick(m, 0, 3)));
    default:
        return op2(m, OP_ADD, x, outer(m));
    }
}

static const struct expr *real(struct maker *m) {
    if (pick(m, 0, 9) == 0) // infinite, or no number
        return op2(m, OP_RDIV, expr_real(&m->graph, NOWHERE, (double)pick(m, -1, 1)),
                   expr_op1(&m->graph, OP_TO_REAL, outer(m)));
    return op2(m, OP_RMUL, expr_real(&m->graph, NOWHERE, (double)pick(m, -8, 8) / 4),
               expr_op1(&m->graph, OP_TO_REAL, outer(m)));
}

static const struct expr *comparison(struct maker *m, int depth) {
    static const enum op ops[] = {OP_LT, OP_LE, OP_EQ, OP_NE};
    const struct expr *x = integer(m, depth);
    if (pick(m, 0, 5) == 0) {
        const struct expr *a = expr_op1(&m->graph, OP_TO_REAL, x), *b = real(m);
        return op2(m, pick(m, 0, 1) ? OP_RLT : OP_RLE, pick(m, 0, 1) ? a : b,
                   pick(m, 0, 1) ? b : a);
    }
    return op2(m, ops[pick(m, 0, 3)], x, pick(m, 0, 2) ? outer(m) : integer(m, depth));
}

static const struct expr *condition(struct maker *m, int depth) {
    if (depth == 0)
        return comparison(m, (int)pick(m, 0, 2));
    const struct expr *a = condition(m, depth - 1), *b = condition(m, depth - 1);
    switch (pick(m, 0, 7)) {
    case 0:
    case 1:
        return op2(m, OP_OR, a, b);
    case 2:
        return expr_op1(&m->graph, OP_NOT, a);
    case 3:
        return op2(m, pick(m, 0, 1) ? OP_IFF : OP_XOR, a, b);
    case 4:
        return expr_op3(&m->graph, OP_SELECT_B, a, b, condition(m, depth - 1));
    case 5:
        return m->depth < NESTED ? quantifier(m, pick(m, 0, 1) ? OP_ANY : OP_ALL, depth - 1) : a;
    default:
        return op2(m, OP_AND, a, b);
    }
}

static const struct expr *quantifier(struct maker *m, enum op op, int depth) {
    int index = m->depth++;
    const struct expr *begin = number(m, pick(m, -6, 3));
    const struct expr *end =
        pick(m, 0, 2) ? op2(m, OP_ADD, begin, number(m, pick(m, -1, 30))) : outer(m);
    const struct expr *args[] = {begin, end, number(m, pick(m, 0, 3) ? 1 : pick(m, 2, 4)),
                                 condition(m, depth)};
    m->depth--;
    return expr_ref(&m->graph, NOWHERE, op, op == OP_COUNT ? TYPE_INT : TYPE_BOOL, (uint16_t)index,
                    0, args, 4);
}

static bool has_quantifier(const struct expr *e) {
    bool found = e->op == OP_ANY || e->op == OP_ALL || e->op == OP_COUNT;
    for (int i = 0; i < e->arity && !found; i++)
        found = has_quantifier(e->args[i]);
    return found;
}

static void compare(struct maker *m, const struct expr *loop, const struct expr *form) {
    struct eval_env env = {.heads = 1, .kv_heads = 1};
    struct strbuf text = {0};
    struct expr_names names = {0};
    expr_print(loop, &names, &text);
    for (int turn = 0; turn < 40; turn++) {
        struct eval_failure failure = {0}, other = {0};
        for (int i = 0; i < OUTERS; i++)
            env.vars[OUTER + i] = pick(m, -20, 20);
        int64_t wanted = expr_eval(loop, &env, &failure).i, seen = expr_eval(form, &env, &other).i;
        if (loop->type == TYPE_BOOL)
            wanted &= 1, seen &= 1;
        cr_assert_eq(failure.fault, EVAL_OK);
        cr_assert_eq(other.fault, EVAL_OK, "%s", text.text);
        cr_assert_eq(seen, wanted,
                     "e%d = %" PRId64 ", e%d = %" PRId64 ", e%d = %" PRId64 ": %" PRId64
                     " by runs, %" PRId64 " one by one\n%s",
                     OUTER, env.vars[OUTER], OUTER + 1, env.vars[OUTER + 1], OUTER + 2,
                     env.vars[OUTER + 2], seen, wanted, text.text);
    }
    strbuf_finish(&text);
}

Test(count_runs, equals_counting_one_by_one) {
    static const enum op ops[] = {OP_COUNT, OP_COUNT, OP_ANY, OP_ALL};
    struct maker m = {.random = {random_seed(20261128)}};
    int cases = 100 * random_cases(60), closed = 0;
    for (int i = 0; i < cases; i++) {
        arena_init(&m.arena, 0);
        expr_graph_init(&m.graph, &m.arena);
        const struct expr *loop = quantifier(&m, ops[pick(&m, 0, 3)], (int)pick(&m, 0, 2));
        const struct expr *form = count_runs(&m.graph, loop, true);
        compare(&m, loop, form);
        closed += has_quantifier(loop) && !has_quantifier(form);
        arena_finish(&m.arena);
    }
    cr_assert_gt(closed, cases / 4, "only %d of %d have closed forms", closed, cases);
}

// What it is for: no loop is left, whatever the number of values.
Test(count_runs, closes_nested_counts) {
    struct maker m = {.random = {1}};
    arena_init(&m.arena, 0);
    expr_graph_init(&m.graph, &m.arena);
    const struct expr *c = variable(&m, 0), *r = variable(&m, 1), *x = variable(&m, OUTER);
    const struct expr *far = expr_op1(&m.graph, OP_ABS, op2(&m, OP_SUB, op2(&m, OP_ADD, x, r), c));
    const struct expr *rows[] = {number(&m, 0), number(&m, 1 << 20), number(&m, 1),
                                 op2(&m, OP_LE, far, variable(&m, OUTER + 1))};
    const struct expr *count = expr_ref(&m.graph, NOWHERE, OP_COUNT, TYPE_INT, 1, 0, rows, 4);
    const struct expr *columns[] = {number(&m, 0), number(&m, 1 << 20), number(&m, 1),
                                    op2(&m, OP_LT, number(&m, 5), count)};
    const struct expr *both = expr_ref(&m.graph, NOWHERE, OP_COUNT, TYPE_INT, 0, 0, columns, 4);
    const struct expr *form = count_runs(&m.graph, both, false);
    cr_assert_not(has_quantifier(form));
    struct eval_env env = {.heads = 1, .kv_heads = 1};
    struct eval_failure failure = {0};
    env.vars[OUTER] = 0;
    env.vars[OUTER + 1] = 5; // every column has 6 rows or more
    cr_assert_eq(expr_eval(form, &env, &failure).i, 1 << 20);
    env.vars[OUTER] = 1 << 20; // rows lie past the columns: the last one has 5 of them
    cr_assert_eq(expr_eval(form, &env, &failure).i, 0);
    env.vars[OUTER + 1] = 8; // the last column has 8, the ones before it 7 and 6
    cr_assert_eq(expr_eval(form, &env, &failure).i, 3);
    cr_assert_eq(failure.fault, EVAL_OK);
    arena_finish(&m.arena);
}
