// Part of stage `analyse`: conditions on a quantifier's variable, solved. See runs.h; comparisons
// of integers are in runs_sum.c.
//
// Sets of values are added and multiplied like numbers: `and` is the product of two lists, `or` is
// a + b - a b; where only emptiness matters `or` is just both. `not` moves inwards.

#include "compiler/analyse/runs_solver.h"

#include <string.h>

static void solve(struct runs *r, const struct expr *e, bool negated, struct run_list *out);

// ---- lists of runs ------------------------------------------------------------------------------

void runs_add(struct runs *r, struct run_list *list, const struct run *run) {
    if (run->guard && expr_is_bool(run->guard, false))
        return;
    if (list->count == MAX_RUNS || ++r->steps > MAX_RUN_STEPS) {
        r->failed = true;
        return;
    }
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 2;
        struct run *grown = ARENA_ARRAY(r->graph->arena, struct run, (size_t)list->room);
        if (list->count)
            memcpy(grown, list->items, (size_t)list->count * sizeof *grown);
        list->items = grown;
    }
    list->items[list->count++] = *run;
}

void runs_only(struct runs *r, const struct expr *guard, struct run_list *out) {
    *out = (struct run_list){0};
    runs_add(r, out, &(struct run){.guard = expr_is_bool(guard, true) ? NULL : guard, .sign = 1});
}

static void append(struct runs *r, struct run_list *to, const struct run_list *from, int sign) {
    for (int i = 0; i < from->count; i++) {
        struct run run = from->items[i];
        run.sign *= sign;
        runs_add(r, to, &run);
    }
}

// Either bound, where the other is none.
static const struct expr *tighter(const struct runs *r, enum op op, const struct expr *a,
                                  const struct expr *b) {
    return !a ? b : !b ? a : runs_op2(r, op, a, b);
}

static struct run meet(struct runs *r, const struct run *a, const struct run *b) {
    struct run out = {.guard = tighter(r, OP_AND, a->guard, b->guard),
                      .begin = tighter(r, OP_MAX, a->begin, b->begin),
                      .end = tighter(r, OP_MIN, a->end, b->end),
                      .remainder = a->remainder ? a->remainder : b->remainder,
                      .least = tighter(r, OP_MAX, a->least, b->least),
                      .past = tighter(r, OP_MIN, a->past, b->past),
                      .sign = a->sign * b->sign};
    if (a->remainder && b->remainder && a->remainder != b->remainder)
        r->failed = true;
    return out;
}

void runs_multiply(struct runs *r, const struct run_list *a, const struct run_list *b,
                   struct run_list *out) {
    *out = (struct run_list){0};
    for (int i = 0; i < a->count && !r->failed; i++)
        for (int j = 0; j < b->count && !r->failed; j++) {
            struct run both = meet(r, &a->items[i], &b->items[j]);
            runs_add(r, out, &both);
        }
}

static void both(struct runs *r, const struct expr *a, const struct expr *b, bool negated,
                 struct run_list *out) {
    struct run_list left = {0}, right = {0};
    solve(r, a, negated, &left);
    solve(r, b, negated, &right);
    runs_multiply(r, &left, &right, out);
}

void runs_unite(struct runs *r, const struct run_list *a, const struct run_list *b, bool disjoint,
                struct run_list *out) {
    *out = (struct run_list){0};
    append(r, out, a, 1);
    append(r, out, b, 1);
    if (!r->counting || disjoint || r->failed)
        return;
    struct run_list common = {0};
    runs_multiply(r, a, b, &common);
    append(r, out, &common, -1);
}

static void either(struct runs *r, const struct expr *a, const struct expr *b, bool negated,
                   bool disjoint, struct run_list *out) {
    struct run_list left = {0}, right = {0};
    solve(r, a, negated, &left);
    solve(r, b, negated, &right);
    runs_unite(r, &left, &right, disjoint, out);
}

void runs_choose(struct runs *r, const struct expr *c, const struct run_list *a,
                 const struct run_list *b, struct run_list *out) {
    struct run_list yes = {0}, no = {0}, left = {0}, right = {0};
    solve(r, c, false, &yes);
    solve(r, c, true, &no);
    runs_multiply(r, &yes, a, &left);
    runs_multiply(r, &no, b, &right);
    runs_unite(r, &left, &right, true, out);
}

// ---- conditions ---------------------------------------------------------------------------------

static void equal(struct runs *r, const struct expr *a, const struct expr *b, bool negated,
                  struct run_list *out) {
    struct run_list left = {0}, right = {0};
    runs_less(r, a, b, negated, &left);
    runs_less(r, b, a, negated, &right);
    if (negated)
        runs_unite(r, &left, &right, true, out);
    else
        runs_multiply(r, &left, &right, out);
}

// Surely no NaN; *out_finite: nor infinite.
static bool is_number(const struct expr *e, bool *out_finite) {
    bool finite[2] = {false, false}, numbers = true;
    for (int i = 0; i < 2 && i < e->arity && e->type == TYPE_REAL && e->op != OP_TO_REAL; i++)
        numbers = is_number(e->args[i], &finite[i]) && numbers;
    *out_finite = false;
    switch (e->op) {
    case OP_REAL:
    case OP_TO_REAL:
    case OP_PARAM: // checked when they are bound
        return *out_finite = e->op != OP_REAL || e->payload.r - e->payload.r == 0;
    case OP_RMIN:
    case OP_RMAX:
        *out_finite = finite[0] && finite[1];
        return numbers;
    case OP_RABS:
    case OP_RNEG:
        *out_finite = finite[0];
        return numbers;
    case OP_RMUL:
    case OP_RADD:
    case OP_RSUB:
        return finite[0] && finite[1];
    case OP_RDIV: // inf / inf and 0 / 0 are none
        return numbers && finite[1] && e->args[1]->op == OP_TO_REAL &&
               runs_positive(e->args[1]->args[0]);
    default:
        return false;
    }
}

// An integer is an exact real so far. Bounds end there too, so that sums with them stay in 64 bits
// where the real is infinite.
static const int64_t EXACT = INT64_C(1) << 53;

static const struct expr *rounded(const struct runs *r, const struct expr *b, bool up) {
    struct expr_graph *graph = r->graph;
    const struct expr *whole =
        up ? expr_op1(graph, OP_NEG, expr_op1(graph, OP_FLOOR, expr_op1(graph, OP_RNEG, b)))
           : expr_op1(graph, OP_FLOOR, b);
    return runs_op2(r, OP_MIN, runs_op2(r, OP_MAX, whole, runs_number(r, -EXACT)),
                    runs_number(r, EXACT));
}

// An integer with the variable against a real without: x <= b is x <= floor b, and x < b is
// x < ceil b, unless b is NaN.
static void real_comparison(struct runs *r, const struct expr *e, bool negated,
                            struct run_list *out) {
    bool mirrored = runs_uses(r, e->args[1]), strict = e->op == OP_RLT, finite;
    const struct expr *x = e->args[mirrored], *b = e->args[!mirrored];
    if (runs_uses(r, b) || x->op != OP_TO_REAL) {
        r->failed = true;
        return;
    }
    const struct expr *end = rounded(r, b, strict != mirrored); // up: x < b, b <= x
    const struct expr *form = mirrored ? runs_op2(r, strict ? OP_LT : OP_LE, end, x->args[0])
                                       : runs_op2(r, strict ? OP_LT : OP_LE, x->args[0], end);
    struct run_list integers = {0}, ordered = {0}, unordered = {0};
    solve(r, form, negated, &integers);
    if (is_number(b, &finite)) {
        *out = integers;
        return;
    }
    runs_only(r, runs_op2(r, OP_REQ, b, b), &ordered);
    runs_multiply(r, &ordered, &integers, out);
    if (negated) {
        integers = *out;
        runs_only(r, runs_op2(r, OP_RNE, b, b), &unordered);
        runs_unite(r, &integers, &unordered, true, out);
    }
}

static void select_b(struct runs *r, const struct expr *e, bool negated, struct run_list *out) {
    struct run_list yes = {0}, no = {0};
    solve(r, e->args[1], negated, &yes);
    solve(r, e->args[2], negated, &no);
    runs_choose(r, e->args[0], &yes, &no, out);
}

// a == b of booleans: a ? b : not b.
static void same(struct runs *r, const struct expr *e, bool negated, struct run_list *out) {
    struct run_list yes = {0}, no = {0};
    solve(r, e->args[1], negated, &yes);
    solve(r, e->args[1], !negated, &no);
    runs_choose(r, e->args[0], &yes, &no, out);
}

static void solve(struct runs *r, const struct expr *e, bool negated, struct run_list *out) {
    *out = (struct run_list){0};
    if (r->failed)
        return;
    if (!runs_uses(r, e)) {
        runs_only(r, negated ? expr_op1(r->graph, OP_NOT, e) : e, out);
        return;
    }
    switch (e->op) {
    case OP_NOT:
        solve(r, e->args[0], !negated, out);
        return;
    case OP_AND:
    case OP_OR:
        if ((e->op == OP_AND) != negated)
            both(r, e->args[0], e->args[1], negated, out);
        else
            either(r, e->args[0], e->args[1], negated, false, out);
        return;
    case OP_IFF:
    case OP_XOR:
        same(r, e, negated != (e->op == OP_XOR), out);
        return;
    case OP_SELECT_B:
        select_b(r, e, negated, out);
        return;
    case OP_LT:
    case OP_LE:
        if (negated)
            runs_less(r, e->args[1], e->args[0], e->op == OP_LE, out);
        else
            runs_less(r, e->args[0], e->args[1], e->op == OP_LT, out);
        return;
    case OP_EQ:
    case OP_NE:
        equal(r, e->args[0], e->args[1], negated != (e->op == OP_NE), out);
        return;
    case OP_RLT:
    case OP_RLE:
        real_comparison(r, e, negated, out);
        return;
    default:
        r->failed = true;
    }
}

bool runs_solve(struct expr_graph *graph, const struct expr *condition, uint16_t variable,
                bool counting, struct run_list *out) {
    struct runs r = {.graph = graph, .bit = (uint16_t)(1u << variable), .counting = counting};
    solve(&r, condition, false, out);
    return !r.failed;
}
