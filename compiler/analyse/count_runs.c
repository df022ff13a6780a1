#include "compiler/analyse/count_runs.h"

#include "compiler/analyse/runs.h"
#include "compiler/analyse/sum.h"

// Of a condition: what is longer is left alone.
enum { MOST_WEIGHT = 10000 };

struct closing {
    struct expr_graph *graph;
    bool of_map; // any and all too
};

struct range { // what a quantifier runs over
    const struct expr *variable, *begin, *end;
};

static const struct expr *number(const struct closing *c, int64_t value) {
    return expr_int(c->graph, (struct span){0}, value);
}
static const struct expr *op2(const struct closing *c, enum op op, const struct expr *a,
                              const struct expr *b) {
    return expr_op2(c->graph, op, a, b);
}
static const struct expr *positive_part(const struct closing *c, const struct expr *x) {
    return op2(c, OP_MAX, number(c, 0), x);
}

static const struct expr *variable_leaf(const struct closing *c, uint16_t index) {
    return expr_ref(c->graph, (struct span){0}, OP_VAR, TYPE_INT, index, 0, NULL, 0);
}

// ---- one run ------------------------------------------------------------------------------------

// How many y in 0 .. x there are with y % m < width, negative for x below 0: x may be any integer.
static const struct expr *in_turns(const struct closing *c, const struct expr *x,
                                   const struct expr *m, const struct expr *width) {
    return op2(c, OP_ADD, op2(c, OP_MUL, op2(c, OP_DIV, x, m), width),
               op2(c, OP_MIN, op2(c, OP_MOD, x, m), width));
}

// The value of the variable from which remainders are `least`, `least` + 1, ... `width` times.
static const struct expr *phase(const struct closing *c, const struct expr *variable,
                                const struct run *run) {
    const struct expr *x = run->remainder->args[0], *offset = number(c, 0);
    struct sum sum = {.count = 0};
    bool falls = false; // x is offset - variable
    sum_add(&sum, x, 1);
    for (int i = 0; i < sum.count; i++) {
        if (sum.terms[i].node == variable)
            falls = sum.terms[i].factor < 0;
        else
            offset = op2(c, OP_ADD, offset,
                         op2(c, OP_MUL, sum.terms[i].node, number(c, sum.terms[i].factor)));
    }
    offset = op2(c, OP_ADD, offset, number(c, sum.constant));
    return falls ? op2(c, OP_SUB, op2(c, OP_ADD, offset, number(c, 1)), run->past)
                 : op2(c, OP_SUB, run->least, offset);
}

// How many values of begin .. end are in the run, its guard aside.
static const struct expr *run_length(const struct closing *c, const struct expr *variable,
                                     const struct run *run, const struct expr *begin,
                                     const struct expr *end) {
    if (!run->remainder)
        return positive_part(c, op2(c, OP_SUB, end, begin));
    const struct expr *m = run->remainder->args[1], *from = phase(c, variable, run);
    const struct expr *width = positive_part(c, op2(c, OP_SUB, run->past, run->least));
    const struct expr *last = op2(c, OP_MAX, begin, end);
    return op2(c, OP_SUB, in_turns(c, op2(c, OP_SUB, last, from), m, width),
               in_turns(c, op2(c, OP_SUB, begin, from), m, width));
}

// What one run adds to a count, or whether it holds any value.
static const struct expr *run_value(const struct closing *c, const struct range *range,
                                    const struct run *run, bool counts) {
    const struct expr *zero = number(c, 0);
    const struct expr *begin = run->begin ? op2(c, OP_MAX, range->begin, run->begin) : range->begin;
    const struct expr *end = run->end ? op2(c, OP_MIN, range->end, run->end) : range->end;
    const struct expr *length = run_length(c, range->variable, run, begin, end);
    if (counts)
        return run->guard ? expr_op3(c->graph, OP_SELECT_I, run->guard, length, zero) : length;
    const struct expr *some =
        run->remainder ? op2(c, OP_LT, zero, length) : op2(c, OP_LT, begin, end);
    return run->guard ? op2(c, OP_AND, run->guard, some) : some;
}

// ---- a quantifier -------------------------------------------------------------------------------

// May evaluating a part without the variable fail, or read out of an array? With no turn at all it
// must not be tried.
static bool may_fail(const struct expr *e) {
    static const struct conjunction nothing = {.dead = false};
    if (e->op == OP_TABLE || e->op == OP_INPUT || e->op == OP_MAP || e->op == OP_MEMBER)
        return true;
    if ((e->op == OP_DIV || e->op == OP_MOD || e->op == OP_CEILDIV) &&
        !solve_positive(&nothing, e->args[1]))
        return true;
    if ((e->op == OP_SHL || e->op == OP_SHR) && e->args[1]->op != OP_INT)
        return true;
    for (int i = 0; i < e->arity; i++)
        if (may_fail(e->args[i]))
            return true;
    return false;
}

static const struct expr *join_runs(const struct closing *c, const struct range *range,
                                    const struct run_list *runs, bool counts) {
    const struct expr *total = counts ? number(c, 0) : expr_bool(c->graph, (struct span){0}, false);
    for (int i = 0; i < runs->count; i++) {
        const struct run *run = &runs->items[i];
        total = op2(c,
                    !counts         ? OP_OR
                    : run->sign > 0 ? OP_ADD
                                    : OP_SUB,
                    total, run_value(c, range, run, counts));
    }
    return total;
}

// The closed form of a quantifier of step 1, or NULL. `all` is not any not.
static const struct expr *closed(const struct closing *c, const struct expr *node,
                                 const struct expr *const *args) {
    uint16_t index = node->payload.ref.index;
    bool all = node->op == OP_ALL, counts = node->op == OP_COUNT;
    const struct expr *body = all ? expr_op1(c->graph, OP_NOT, args[3]) : args[3];
    struct range range = {variable_leaf(c, index), args[0], args[1]};
    struct run_list runs;
    if (body->weight > MOST_WEIGHT || !expr_is_int(args[2], 1) ||
        !runs_solve(c->graph, body, index, counts, &runs))
        return NULL;
    const struct expr *value = join_runs(c, &range, &runs, counts);
    const struct expr *some = op2(c, OP_LT, args[0], args[1]);
    if (may_fail(body))
        value = counts ? expr_op3(c->graph, OP_SELECT_I, some, value, number(c, 0))
                       : op2(c, OP_AND, some, value);
    return all ? expr_op1(c->graph, OP_NOT, value) : value;
}

// Of a step above 1, known: the values are begin + step * (0, 1, ...).
struct stride {
    const struct expr *variable, *value;
};
static const struct expr *put_value(void *context, const struct expr *node,
                                    const struct expr *const *args) {
    const struct stride *stride = context;
    (void)args;
    return node == stride->variable ? stride->value : NULL;
}
static const struct expr *closed_by_step(const struct closing *c, const struct expr *node,
                                         const struct expr *const *args) {
    const struct expr *step = args[2];
    if (step->op != OP_INT || step->payload.i < 2)
        return closed(c, node, args);
    const struct expr *variable = variable_leaf(c, node->payload.ref.index);
    struct stride stride = {variable, op2(c, OP_ADD, args[0], op2(c, OP_MUL, variable, step))};
    const struct expr *turns[] = {
        number(c, 0), op2(c, OP_CEILDIV, op2(c, OP_SUB, args[1], args[0]), step), number(c, 1),
        expr_rewrite(c->graph, args[3], put_value, &stride)};
    return closed(c, node, turns);
}

static bool has_choice(const struct expr *e) { // of a short condition
    bool found = e->op == OP_ANY || e->op == OP_ALL;
    for (int i = 0; i < e->arity && !found; i++)
        found = has_choice(e->args[i]);
    return found;
}

static const struct expr *close_node(void *context, const struct expr *node,
                                     const struct expr *const *args) {
    const struct closing *c = context;
    bool short_enough = node->op == OP_COUNT && args[3]->weight <= MOST_WEIGHT;
    if (short_enough && !c->of_map && has_choice(args[3])) { // inside of it any and all go too
        const struct expr *inner[] = {args[0], args[1], args[2],
                                      count_runs(c->graph, args[3], true)};
        return closed_by_step(c, node, inner);
    }
    bool wanted = node->op == OP_COUNT || (c->of_map && (node->op == OP_ANY || node->op == OP_ALL));
    return wanted ? closed_by_step(c, node, args) : NULL;
}

const struct expr *count_runs(struct expr_graph *graph, const struct expr *root, bool of_map) {
    struct closing closing = {graph, of_map};
    return expr_rewrite(graph, root, close_node, &closing);
}

void count_runs_pattern(struct pattern *pattern) {
    for (int i = 0; i < pattern->map_count; i++)
        pattern->maps[i].body = count_runs(pattern->graph, pattern->maps[i].written, true);
    pattern->keep = count_runs(pattern->graph, pattern->written, false);
    for (int s = 0; s < pattern->source_count; s++) {
        struct pattern *view = pattern->sources[s].view;
        view->keep = count_runs(pattern->graph, view->written, false);
    }
}
