// Part of stage `analyse`: predicate -> region rules. See solve.h for the idea; comparisons are in
// compare.c.
//
// A conjunction starts as one literal, the whole predicate. Each step takes a literal apart: `and`
// gives two literals, `or` two conjunctions, a quantifier a loop, `not` moves inwards. Literals
// that split are put off until nothing else is left, so that the copies share what is solved. The
// number of conjunctions is bounded: past the limit a literal that would split stays unsolved.

#include "compiler/analyse/conjunction.h"

#include <string.h>

enum { UNROLL_LIMIT = 16 };

void list_add(struct expr_graph *graph, struct expr_list *list, const struct expr *item) {
    if (list->count == list->room) {
        int room = list->room ? list->room * 2 : 8;
        const struct expr **grown = ARENA_ARRAY(graph->arena, const struct expr *, (size_t)room);
        if (list->count)
            memcpy(grown, list->items, (size_t)list->count * sizeof *grown);
        list->items = grown;
        list->room = room;
    }
    list->items[list->count++] = item;
}

// Gives a copied list storage of its own.
static void own(struct expr_graph *graph, struct expr_list *list) {
    const struct expr *const *shared = list->items;
    int count = list->count;
    *list = (struct expr_list){0};
    for (int i = 0; i < count; i++)
        list_add(graph, list, shared[i]);
}

static struct conjunction *copy_conjunction(struct solver *solver, const struct conjunction *c) {
    struct expr_graph *graph = solver->graph;
    struct conjunction *copy = ARENA_NEW(graph->arena, struct conjunction);
    *copy = *c;
    own(graph, &copy->pending);
    own(graph, &copy->deferred);
    own(graph, &copy->positive);
    own(graph, &copy->rule.guards);
    own(graph, &copy->rule.unsolved);
    for (int a = 0; a < ABI_AXES; a++) {
        own(graph, &copy->rule.lower[a]);
        own(graph, &copy->rule.upper[a]);
    }
    return copy;
}

bool conjunction_split(struct solver *solver, struct conjunction *c, const struct expr *one,
                       const struct expr *other) {
    if (solver->branches >= solver->branch_limit) {
        solver->refused = true;
        return false;
    }
    solver->branches++;
    struct conjunction *copy = copy_conjunction(solver, c);
    list_add(solver->graph, &copy->pending, other);
    copy->next = solver->work;
    solver->work = copy;
    list_add(solver->graph, &c->pending, one);
    return true;
}

static const struct expr *not_of(struct solver *solver, const struct expr *e) {
    return expr_op1(solver->graph, OP_NOT, e);
}

// ---- loops ------------------------------------------------------------------------------------

const struct expr *conjunction_loop(struct solver *solver, struct conjunction *c,
                                    struct rule_loop loop) {
    if (c->rule.loop_count == MAX_RULE_LOOPS)
        return NULL;
    loop.index = solver->loops++;
    c->rule.loops[c->rule.loop_count++] = loop;
    return expr_ref(solver->graph, (struct span){0}, OP_ENUM, TYPE_INT, loop.index, 0, NULL, 0);
}

struct substitution {
    const struct expr *from, *to;
};

static const struct expr *substitute_node(void *context, const struct expr *node,
                                          const struct expr *const *args) {
    const struct substitution *s = context;
    (void)args;
    return node == s->from ? s->to : NULL;
}

const struct expr *solve_substitute(struct solver *solver, const struct expr *root,
                                    const struct expr *from, const struct expr *to) {
    struct substitution s = {from, to};
    return expr_rewrite(solver->graph, root, substitute_node, &s);
}

static const struct expr *variable_leaf(struct solver *solver, const struct expr *quantifier) {
    return expr_ref(solver->graph, (struct span){0}, OP_VAR, TYPE_INT,
                    quantifier->payload.ref.index, 0, NULL, 0);
}

static bool solve_any(struct solver *solver, struct conjunction *c, const struct expr *any) {
    for (int i = 0; i < 3; i++)
        if (any->args[i]->deps & (DEP_QUERY | DEP_KEY | DEP_ARRAY | DEP_VAR))
            return false;
    const struct expr *n = conjunction_loop(
        solver, c, (struct rule_loop){0, any->args[0], any->args[1], any->args[2], NULL});
    if (!n)
        return false;
    list_add(solver->graph, &c->pending,
             solve_substitute(solver, any->args[3], variable_leaf(solver, any), n));
    return true;
}

// Few known turns are written out; more stay unsolved.
static bool solve_all(struct solver *solver, struct conjunction *c, const struct expr *all) {
    if (all->args[0]->op != OP_INT || all->args[1]->op != OP_INT || all->args[2]->op != OP_INT)
        return false;
    int64_t begin = all->args[0]->payload.i, end = all->args[1]->payload.i;
    int64_t step = all->args[2]->payload.i;
    if (end - begin > UNROLL_LIMIT * step)
        return false;
    const struct expr *variable = variable_leaf(solver, all);
    for (int64_t i = begin; i < end; i += step)
        list_add(solver->graph, &c->pending,
                 solve_substitute(solver, all->args[3], variable,
                                  expr_int(solver->graph, all->span, i)));
    return true;
}

// x in pow2(a .. b) is x == 2^n for a loop over n.
static bool solve_in_pow2(struct solver *solver, struct conjunction *c, const struct expr *in) {
    struct expr_graph *graph = solver->graph;
    if ((in->args[1]->deps | in->args[2]->deps) & (DEP_QUERY | DEP_KEY | DEP_ARRAY | DEP_VAR))
        return false;
    const struct expr *zero = expr_int(graph, in->span, 0), *one = expr_int(graph, in->span, 1);
    const struct expr *begin = expr_op2(graph, OP_MAX, in->args[1], zero);
    const struct expr *end = expr_op2(graph, OP_MIN, in->args[2], expr_int(graph, in->span, 63));
    const struct expr *n =
        conjunction_loop(solver, c, (struct rule_loop){0, begin, end, one, NULL});
    if (!n)
        return false;
    list_add(graph, &c->pending,
             expr_op2(graph, OP_EQ, in->args[0], expr_op2(graph, OP_SHL, one, n)));
    return true;
}

// ---- literals ---------------------------------------------------------------------------------

// `not x`, one level inwards, or NULL where there is no such form.
static const struct expr *push_not(struct solver *solver, const struct expr *x) {
    struct expr_graph *graph = solver->graph;
    const struct expr *const *a = x->args;
    switch (x->op) {
    case OP_AND:
        return expr_op2(graph, OP_OR, not_of(solver, a[0]), not_of(solver, a[1]));
    case OP_OR:
        return expr_op2(graph, OP_AND, not_of(solver, a[0]), not_of(solver, a[1]));
    case OP_IFF:
        return expr_op2(graph, OP_XOR, a[0], a[1]);
    case OP_XOR:
        return expr_op2(graph, OP_IFF, a[0], a[1]);
    case OP_SELECT_B:
        return expr_op3(graph, OP_SELECT_B, a[0], not_of(solver, a[1]), not_of(solver, a[2]));
    case OP_LT:
        return expr_op2(graph, OP_LE, a[1], a[0]);
    case OP_LE:
        return expr_op2(graph, OP_LT, a[1], a[0]);
    case OP_EQ:
        return expr_op2(graph, OP_NE, a[0], a[1]);
    case OP_NE:
        return expr_op2(graph, OP_EQ, a[0], a[1]);
    case OP_ANY:
    case OP_ALL:
        return expr_ref(graph, x->span, x->op == OP_ANY ? OP_ALL : OP_ANY, TYPE_BOOL,
                        x->payload.ref.index, 0,
                        (const struct expr *[]){a[0], a[1], a[2], not_of(solver, a[3])}, 4);
    default:
        return NULL; // not of a real comparison is no comparison: NaN
    }
}

// x real, against a bound without the list: an integer comparison.
static const struct expr *integer_form(struct solver *solver, const struct expr *comparison) {
    struct expr_graph *graph = solver->graph;
    const struct expr *a = comparison->args[0], *b = comparison->args[1];
    bool strict = comparison->op == OP_RLT;
    const struct expr *one = expr_int(graph, comparison->span, 1);
    if (a->op == OP_TO_REAL && on_list(a) && !on_list(b)) {
        // x <= b is x <= floor b; x < b is x <= ceil b - 1.
        const struct expr *ceiling =
            expr_op1(graph, OP_NEG, expr_op1(graph, OP_FLOOR, expr_op1(graph, OP_RNEG, b)));
        const struct expr *end =
            strict ? expr_op2(graph, OP_SUB, ceiling, one) : expr_op1(graph, OP_FLOOR, b);
        return expr_op2(graph, OP_LE, a->args[0], end);
    }
    if (b->op == OP_TO_REAL && on_list(b) && !on_list(a)) {
        const struct expr *ceiling =
            expr_op1(graph, OP_NEG, expr_op1(graph, OP_FLOOR, expr_op1(graph, OP_RNEG, a)));
        const struct expr *begin =
            strict ? expr_op2(graph, OP_ADD, expr_op1(graph, OP_FLOOR, a), one) : ceiling;
        return expr_op2(graph, OP_LE, begin, b->args[0]);
    }
    return NULL;
}

static bool splits(const struct expr *literal) {
    return literal->op == OP_OR || literal->op == OP_IFF || literal->op == OP_XOR ||
           literal->op == OP_SELECT_B;
}

// A disjunction becomes two conjunctions; a part without the list excludes itself from the other,
// so that they are disjoint at no cost.
static bool split_literal(struct solver *solver, struct conjunction *c,
                          const struct expr *literal) {
    struct expr_graph *graph = solver->graph;
    const struct expr *a = literal->args[0], *b = literal->args[1];
    if (literal->op == OP_SELECT_B)
        return conjunction_split(solver, c, expr_op2(graph, OP_AND, a, b),
                                 expr_op2(graph, OP_AND, not_of(solver, a), literal->args[2]));
    if (literal->op == OP_IFF || literal->op == OP_XOR) {
        const struct expr *x = literal->op == OP_IFF ? b : not_of(solver, b);
        return conjunction_split(solver, c, expr_op2(graph, OP_AND, a, x),
                                 expr_op2(graph, OP_AND, not_of(solver, a), not_of(solver, x)));
    }
    if (on_list(a) && !on_list(b)) {
        const struct expr *swap = a;
        a = b;
        b = swap;
    }
    if (!on_list(a))
        b = expr_op2(graph, OP_AND, not_of(solver, a), b);
    return conjunction_split(solver, c, a, b);
}

static void unsolved(struct solver *solver, struct conjunction *c, const struct expr *literal) {
    list_add(solver->graph, &c->rule.unsolved, literal);
}

static void take_not(struct solver *solver, struct conjunction *c, const struct expr *literal) {
    const struct expr *pushed = push_not(solver, literal->args[0]);
    if (pushed)
        list_add(solver->graph, &c->pending, pushed);
    else
        unsolved(solver, c, literal);
}

static void take_literal(struct solver *solver, struct conjunction *c, const struct expr *literal) {
    struct expr_graph *graph = solver->graph;
    const struct expr *form = NULL;
    bool solved = true;
    if (literal->op == OP_BOOL) {
        c->dead |= !literal->payload.i;
    } else if (literal->op == OP_AND) {
        list_add(graph, &c->pending, literal->args[1]);
        list_add(graph, &c->pending, literal->args[0]);
    } else if (!on_list(literal)) {
        list_add(graph, &c->rule.guards, literal);
    } else if (splits(literal)) {
        list_add(graph, &c->deferred, literal);
    } else if (literal->op == OP_NOT) {
        take_not(solver, c, literal);
    } else if (literal->op == OP_ANY) {
        solved = solve_any(solver, c, literal);
    } else if (literal->op == OP_ALL) {
        solved = solve_all(solver, c, literal);
    } else if (literal->op == OP_IN_POW2) {
        solved = solve_in_pow2(solver, c, literal);
    } else if (literal->op == OP_RLT || literal->op == OP_RLE) {
        form = integer_form(solver, literal);
        solved = form != NULL;
        if (form)
            list_add(graph, &c->pending, form);
    } else if (literal->op == OP_LT || literal->op == OP_LE || literal->op == OP_EQ ||
               literal->op == OP_NE) {
        solve_comparison(solver, c, literal);
    } else {
        solved = false;
    }
    if (!solved)
        unsolved(solver, c, literal);
}

static void finish_rule(struct solver *solver, struct conjunction *c) {
    solve_modular(solver, c);
    solve_feasible(solver, c);
    if (!c->dead)
        solver->rules.items[solver->rules.count++] = c->rule;
}

static void take_apart(struct solver *solver, struct conjunction *c) {
    while (!c->dead && (c->pending.count || c->deferred.count)) {
        if (c->pending.count) {
            take_literal(solver, c, c->pending.items[--c->pending.count]);
            continue;
        }
        const struct expr *literal = c->deferred.items[--c->deferred.count];
        if (!split_literal(solver, c, literal))
            unsolved(solver, c, literal);
    }
    finish_rule(solver, c);
}

static struct solver solve(struct expr_graph *graph, const struct expr *keep,
                           const struct expr_list *positive, int branch_limit) {
    struct solver solver = {.graph = graph, .branches = 1, .branch_limit = branch_limit};
    solver.rules.items = ARENA_ARRAY(graph->arena, struct rule, (size_t)branch_limit);
    solver.work = ARENA_NEW(graph->arena, struct conjunction);
    solver.work->positive = *positive;
    own(graph, &solver.work->positive);
    list_add(graph, &solver.work->pending, keep);
    while (solver.work) {
        struct conjunction *c = solver.work;
        solver.work = c->next;
        take_apart(&solver, c);
    }
    return solver;
}

struct rules solve_rules(struct expr_graph *graph, const struct expr *keep,
                         const struct expr_list *positive, int most) {
    struct solver solver = solve(graph, keep, positive, most);
    if (solver.refused)
        solver = solve(graph, keep, positive, 1);
    return solver.rules;
}

// ---- dump -------------------------------------------------------------------------------------

static void print_list(const char *before, const struct expr_list *list,
                       const struct expr_names *names, struct strbuf *out) {
    for (int i = 0; i < list->count; i++) {
        strbuf_printf(out, "    %s", before);
        expr_print(list->items[i], names, out);
        strbuf_puts(out, "\n");
    }
}

static void print_loop(const struct rule_loop *loop, const struct expr_names *names,
                       struct strbuf *out) {
    strbuf_printf(out, "    for n%u over ", loop->index);
    if (loop->scan) {
        strbuf_puts(out, "values of ");
        expr_print(loop->scan, names, out);
    } else {
        expr_print(loop->begin, names, out);
        strbuf_puts(out, " .. ");
        expr_print(loop->end, names, out);
        if (!expr_is_int(loop->step, 1)) {
            strbuf_puts(out, " step ");
            expr_print(loop->step, names, out);
        }
    }
    strbuf_puts(out, "\n");
}

static void print_period(int axis, const struct rule_period *period, const struct expr_names *names,
                         struct strbuf *out) {
    if (!period->period)
        return;
    strbuf_printf(out, "    list%d - (", axis);
    expr_print(period->phase, names, out);
    strbuf_puts(out, ") mod ");
    expr_print(period->period, names, out);
    strbuf_puts(out, " in 0 .. ");
    expr_print(period->width, names, out);
    strbuf_puts(out, "\n");
}

void rules_print(const struct rules *rules, const struct expr_names *names, struct strbuf *out) {
    for (int i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->items[i];
        strbuf_printf(out, "  region %d\n", i);
        for (int n = 0; n < rule->loop_count; n++)
            print_loop(&rule->loops[n], names, out);
        print_list("when ", &rule->guards, names, out);
        print_list("only if ", &rule->feasible, names, out);
        for (int a = 0; a < ABI_AXES; a++) {
            char before[32];
            before[0] = 'l', before[1] = 'i', before[2] = 's', before[3] = 't';
            before[4] = (char)('0' + a);
            memcpy(before + 5, " >= ", 5);
            print_list(before, &rule->lower[a], names, out);
            memcpy(before + 5, " <= ", 5);
            print_list(before, &rule->upper[a], names, out);
            print_period(a, &rule->period[a], names, out);
        }
        print_list("unsolved ", &rule->unsolved, names, out);
    }
}
