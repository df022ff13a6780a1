// Part of stage `analyse`: solving one integer comparison for one list axis.
//
// A comparison is put as `term REL bound`, where the term holds the list's position and the bound
// does not: both sides are spread into a sum of terms with constant factors. Then the term is
// peeled from the outside, and each layer moves to the bound:
//
//   list / B <= U         list <= U * B + B - 1              (B above 0)
//   min(g, h) <= U        g <= (h <= U ? everything : U)     (h without the list)
//   abs(x) <= U           x <= U and x >= -U
//   abs(x) >= U           x >= U or x <= -U                  (splits)
//   list % m REL U        kept aside: a period, see solve_modular
//   log2(x)               a loop variable n with 2^n <= x < 2^(n+1)
//
// Bounds may be far outside of the grid (EVERYTHING): planner arithmetic saturates.

#include "compiler/analyse/sum.h"

static const int64_t EVERYTHING = (int64_t)1 << 60;
static void push(struct solver *solver, struct conjunction *c, const struct expr *literal) {
    list_add(solver->graph, &c->pending, literal);
}
static void leave(struct solver *solver, struct conjunction *c, const struct expr *literal) {
    list_add(solver->graph, &c->rule.unsolved, literal);
}

// ---- signs ------------------------------------------------------------------------------------

static bool assumed(const struct conjunction *c, const struct expr *e) {
    for (int i = 0; i < c->positive.count; i++)
        if (c->positive.items[i] == e)
            return true;
    return false;
}

// Surely above 0 (false: not known).
bool solve_positive(const struct conjunction *c, const struct expr *e) {
    switch (e->op) {
    case OP_INT:
        return e->payload.i > 0;
    case OP_SIZE:
    case OP_HEADS:
    case OP_DILATION:
        return true;
    case OP_MUL:
    case OP_ADD:
    case OP_MIN:
        if (solve_positive(c, e->args[0]) && solve_positive(c, e->args[1]))
            return true;
        break;
    case OP_MAX:
        if (solve_positive(c, e->args[0]) || solve_positive(c, e->args[1]))
            return true;
        break;
    case OP_SHL:
    case OP_CEILDIV:
        if (solve_positive(c, e->args[0]) && (e->op == OP_SHL || solve_positive(c, e->args[1])))
            return true;
        break;
    default:
        break;
    }
    return assumed(c, e);
}

// Splits on the sign of a uniform factor or divisor: below 0, `node` is replaced by its mirror
// image over -by; at 0 (of a factor) it vanishes. True when the literal was dealt with.
static bool split_sign(struct solver *solver, struct conjunction *c, const struct expr *literal,
                       const struct expr *node, const struct expr *by) {
    if (by->deps != 0)
        return false;
    const struct expr *zero = solve_number(solver, 0);
    const struct expr *minus = expr_op1(solver->graph, OP_NEG, by);
    const struct expr *x = node->args[0] == by ? node->args[1] : node->args[0];
    const struct expr *mirrored = NULL;
    const struct expr *minus_x = expr_op1(solver->graph, OP_NEG, x);
    if (node->op == OP_MUL)
        mirrored = expr_op1(solver->graph, OP_NEG, solve_op2(solver, OP_MUL, x, minus));
    else if (node->op == OP_MOD)
        mirrored = expr_op1(solver->graph, OP_NEG, solve_op2(solver, OP_MOD, minus_x, minus));
    else
        mirrored = solve_op2(solver, node->op, minus_x, minus);
    const struct expr *below = solve_op2(solver, OP_AND, solve_op2(solver, OP_LT, by, zero),
                                         solve_substitute(solver, literal, node, mirrored));
    if (node->op == OP_MUL)
        below = solve_op2(solver, OP_OR, below,
                          solve_op2(solver, OP_AND, solve_op2(solver, OP_EQ, by, zero),
                                    solve_substitute(solver, literal, node, zero)));
    const struct expr *above =
        solve_op2(solver, OP_AND, solve_op2(solver, OP_LT, zero, by), literal);
    if (!conjunction_split(solver, c, above, below))
        return false;
    // The copy was made before: only this conjunction learns that `by` is positive; in the other,
    // `-by` is.
    list_add(solver->graph, &c->positive, by);
    list_add(solver->graph, &solver->work->positive, minus);
    return true;
}

// ---- terms that split or loop, wherever they stand --------------------------------------------

struct search {
    uint8_t *seen; // by id
    bool (*wanted)(const struct expr *);
};

static const struct expr *find(struct search *search, const struct expr *e) {
    if (search->seen[e->id] || !on_list(e))
        return NULL;
    search->seen[e->id] = 1;
    if (search->wanted(e))
        return e;
    for (int i = 0; i < e->arity; i++) {
        const struct expr *found = find(search, e->args[i]);
        if (found)
            return found;
    }
    return NULL;
}

static const struct expr *find_node(struct solver *solver, const struct expr *root,
                                    bool (*wanted)(const struct expr *)) {
    struct search search = {ARENA_ARRAY(solver->graph->arena, uint8_t, root->id + 1), wanted};
    return find(&search, root);
}

static bool is_logarithm(const struct expr *e) {
    return (e->op == OP_LOG2 || e->op == OP_BITS) && !e->vars;
}
static bool is_choice(const struct expr *e) {
    return e->op == OP_SELECT_I && !e->vars;
}
static bool is_abs(const struct expr *e) {
    return e->op == OP_ABS && !e->vars;
}

static void replace_in_list(struct solver *solver, struct expr_list *list, const struct expr *from,
                            const struct expr *to) {
    for (int i = 0; i < list->count; i++)
        list->items[i] = solve_substitute(solver, list->items[i], from, to);
}

// log2(x) becomes n, in every literal still to solve, under 2^n <= x < 2^(n+1); n = -1 stands for
// x < 1. bits(x) is n + 1.
static bool enumerate_logarithm(struct solver *solver, struct conjunction *c,
                                const struct expr *literal, const struct expr *node) {
    struct expr_graph *graph = solver->graph;
    const struct expr *x = node->args[0], *one = solve_number(solver, 1),
                      *zero = solve_number(solver, 0);
    const struct expr *log = expr_op1(graph, OP_LOG2, x);
    const struct expr *n = conjunction_loop(solver, c, (struct rule_loop){.scan = log});
    if (!n)
        return false;
    const struct expr *bits = expr_op1(graph, OP_BITS, x),
                      *bits_n = solve_op2(solver, OP_ADD, n, one);
    push(solver, c, literal);
    struct expr_list *lists[] = {&c->pending, &c->deferred, &c->rule.unsolved};
    for (int i = 0; i < 3; i++) {
        replace_in_list(solver, lists[i], log, n);
        replace_in_list(solver, lists[i], bits, bits_n);
    }
    const struct expr *least = expr_op3(
        graph, OP_SELECT_I, solve_op2(solver, OP_LT, n, zero), solve_number(solver, -EVERYTHING),
        solve_op2(solver, OP_SHL, one, solve_op2(solver, OP_MAX, n, zero)));
    const struct expr *end = solve_op2(solver, OP_SHL, one, bits_n);
    push(solver, c, solve_op2(solver, OP_LE, least, x));
    push(solver, c, solve_op2(solver, OP_LT, x, end));
    return true;
}

static bool split_choice(struct solver *solver, struct conjunction *c, const struct expr *literal,
                         const struct expr *choice) {
    const struct expr *when = choice->args[0];
    const struct expr *otherwise = expr_op1(solver->graph, OP_NOT, when);
    return conjunction_split(
        solver, c,
        solve_op2(solver, OP_AND, when, solve_substitute(solver, literal, choice, choice->args[1])),
        solve_op2(solver, OP_AND, otherwise,
                  solve_substitute(solver, literal, choice, choice->args[2])));
}

static bool split_abs(struct solver *solver, struct conjunction *c, const struct expr *literal,
                      const struct expr *abs) {
    const struct expr *x = abs->args[0], *zero = solve_number(solver, 0);
    const struct expr *minus = expr_op1(solver->graph, OP_NEG, x);
    return conjunction_split(solver, c,
                             solve_op2(solver, OP_AND, solve_op2(solver, OP_LE, zero, x),
                                       solve_substitute(solver, literal, abs, x)),
                             solve_op2(solver, OP_AND, solve_op2(solver, OP_LT, x, zero),
                                       solve_substitute(solver, literal, abs, minus)));
}

// ---- peeling ----------------------------------------------------------------------------------

enum relation { AT_MOST, AT_LEAST }; // term <= bound, term >= bound

static const struct expr *relate(struct solver *solver, const struct expr *term,
                                 enum relation relation, const struct expr *bound) {
    return relation == AT_MOST ? solve_op2(solver, OP_LE, term, bound)
                               : solve_op2(solver, OP_LE, bound, term);
}

static void peel_abs(struct solver *solver, struct conjunction *c, const struct expr *x,
                     enum relation relation, const struct expr *bound) {
    const struct expr *minus = expr_op1(solver->graph, OP_NEG, bound);
    const struct expr *above = relate(solver, x, relation, bound);
    const struct expr *below = relate(solver, x, relation == AT_MOST ? AT_LEAST : AT_MOST, minus);
    enum op join = relation == AT_MOST ? OP_AND : OP_OR;
    push(solver, c, solve_op2(solver, join, above, below));
}

// min(g, h) <= U, max(g, h) >= U: either may hold; the others: both must.
static void peel_extreme(struct solver *solver, struct conjunction *c, const struct expr *term,
                         enum relation relation, const struct expr *bound) {
    const struct expr *g = term->args[0], *h = term->args[1];
    bool either = (term->op == OP_MIN) == (relation == AT_MOST);
    if (!on_list(g)) {
        const struct expr *swap = g;
        g = h;
        h = swap;
    }
    if (on_list(h)) {
        push(solver, c,
             solve_op2(solver, either ? OP_OR : OP_AND, relate(solver, g, relation, bound),
                       relate(solver, h, relation, bound)));
        return;
    }
    const struct expr *holds = relate(solver, h, relation, bound);
    const struct expr *all = solve_number(solver, relation == AT_MOST ? EVERYTHING : -EVERYTHING);
    const struct expr *none = solve_number(solver, relation == AT_MOST ? -EVERYTHING : EVERYTHING);
    const struct expr *moved = either ? expr_op3(solver->graph, OP_SELECT_I, holds, all, bound)
                                      : expr_op3(solver->graph, OP_SELECT_I, holds, bound, none);
    push(solver, c, relate(solver, g, relation, moved));
}

// term = x * by, x / by or ceildiv(x, by) with by above 0.
static void peel_scale(struct solver *solver, struct conjunction *c, enum op op,
                       const struct expr *x, const struct expr *by, enum relation relation,
                       const struct expr *bound) {
    const struct expr *one = solve_number(solver, 1);
    const struct expr *moved;
    if (op == OP_MUL)
        moved = solve_op2(solver, relation == AT_MOST ? OP_DIV : OP_CEILDIV, bound, by);
    else if (op == OP_DIV)
        moved = relation == AT_LEAST
                    ? solve_op2(solver, OP_MUL, bound, by)
                    : solve_op2(solver, OP_ADD, solve_op2(solver, OP_MUL, bound, by),
                                solve_op2(solver, OP_SUB, by, one));
    else
        moved =
            relation == AT_MOST
                ? solve_op2(solver, OP_MUL, bound, by)
                : solve_op2(solver, OP_ADD,
                            solve_op2(solver, OP_MUL, solve_op2(solver, OP_SUB, bound, one), by),
                            one);
    push(solver, c, relate(solver, x, relation, moved));
}

// The constant 2^n - 1 as a modulus, or 0.
static int64_t mask_modulus(const struct expr *e) {
    if (e->op != OP_INT || e->payload.i < 0 || e->payload.i == INT64_MAX)
        return 0;
    int64_t m = e->payload.i + 1;
    return (m & e->payload.i) == 0 ? m : 0;
}

// The same value in the forms that the rest of this file knows, or NULL.
const struct expr *solve_plain_form(struct solver *solver, const struct expr *term) {
    const struct expr *one = solve_number(solver, 1);
    if (term->op == OP_SHR && !on_list(term->args[1]))
        return solve_op2(solver, OP_DIV, term->args[0],
                         solve_op2(solver, OP_SHL, one, term->args[1]));
    if (term->op == OP_SHL && !on_list(term->args[1]))
        return solve_op2(solver, OP_MUL, term->args[0],
                         solve_op2(solver, OP_SHL, one, term->args[1]));
    for (int i = 0; term->op == OP_BITAND && i < 2; i++)
        if (mask_modulus(term->args[i]))
            return solve_op2(solver, OP_MOD, term->args[1 - i],
                             solve_number(solver, mask_modulus(term->args[i])));
    return NULL;
}

static void add_modular(struct solver *solver, struct conjunction *c, const struct expr *node,
                        enum relation relation, const struct expr *bound) {
    struct modular *m = ARENA_NEW(solver->graph->arena, struct modular);
    *m = (struct modular){.node = node, .next = c->modular};
    *(relation == AT_MOST ? &m->hi : &m->lo) = bound;
    c->modular = m;
}

static void peel(struct solver *solver, struct conjunction *c, const struct expr *literal,
                 const struct expr *term, enum relation relation, const struct expr *bound) {
    const struct expr *plain = solve_plain_form(solver, term);
    if (plain) {
        push(solver, c, relate(solver, plain, relation, bound));
        return;
    }
    switch (term->op) {
    case OP_PLACE: {
        int axis = term->payload.ref.index;
        list_add(solver->graph, relation == AT_MOST ? &c->rule.upper[axis] : &c->rule.lower[axis],
                 bound);
        return;
    }
    case OP_ABS:
        peel_abs(solver, c, term->args[0], relation, bound);
        return;
    case OP_MIN:
    case OP_MAX:
        peel_extreme(solver, c, term, relation, bound);
        return;
    case OP_MUL:
    case OP_DIV:
    case OP_CEILDIV:
    case OP_MOD: {
        bool swapped = term->op == OP_MUL && on_list(term->args[1]);
        const struct expr *x = term->args[swapped], *by = term->args[!swapped];
        if (on_list(by))
            break;
        if (!solve_positive(c, by)) {
            if (!split_sign(solver, c, literal, term, by))
                break;
        } else if (term->op == OP_MOD) {
            add_modular(solver, c, term, relation, bound);
        } else {
            peel_scale(solver, c, term->op, x, by, relation, bound);
        }
        return;
    }
    default:
        break;
    }
    leave(solver, c, literal);
}

// ---- comparisons ------------------------------------------------------------------------------

// 0 <= factor * term + rest, as a relation on the term alone.
static void solve_at_least_zero(struct solver *solver, struct conjunction *c,
                                const struct expr *literal, const struct sum *sum) {
    const struct term *term = sum_list_term(sum);
    int64_t factor = term->factor;
    if (factor > 0) { // term >= ceil(-rest / factor)
        const struct expr *bound = sum_rest(solver, sum, -1);
        bound = solve_op2(solver, OP_CEILDIV, bound, solve_number(solver, factor));
        peel(solver, c, literal, term->node, AT_LEAST, bound);
    } else { // term <= floor(rest / -factor)
        const struct expr *bound = sum_rest(solver, sum, 1);
        bound = solve_op2(solver, OP_DIV, bound, solve_number(solver, -factor));
        peel(solver, c, literal, term->node, AT_MOST, bound);
    }
}

// `x != y`: of remainders, a period; otherwise below or above.
static void solve_not_equal(struct solver *solver, struct conjunction *c,
                            const struct expr *literal, const struct sum *sum) {
    const struct term *term = sum_list_term(sum);
    if (term && term->node->op == OP_MOD && (term->factor == 1 || term->factor == -1) &&
        solve_positive(c, term->node->args[1]) && !on_list(term->node->args[1])) {
        struct modular *m = ARENA_NEW(solver->graph->arena, struct modular);
        *m = (struct modular){.node = term->node,
                              .lo = sum_rest(solver, sum, -term->factor),
                              .other = true,
                              .next = c->modular};
        c->modular = m;
        return;
    }
    const struct expr *a = literal->args[0], *b = literal->args[1];
    list_add(
        solver->graph, &c->deferred,
        solve_op2(solver, OP_OR, solve_op2(solver, OP_LT, a, b), solve_op2(solver, OP_LT, b, a)));
}

static bool split_inside(struct solver *solver, struct conjunction *c, const struct expr *literal) {
    const struct expr *node = find_node(solver, literal, is_logarithm);
    if (node)
        return enumerate_logarithm(solver, c, literal, node);
    node = find_node(solver, literal, is_choice);
    return node && split_choice(solver, c, literal, node);
}

void solve_comparison(struct solver *solver, struct conjunction *c, const struct expr *literal) {
    if (literal->vars || split_inside(solver, c, literal)) {
        if (literal->vars)
            leave(solver, c, literal);
        return;
    }
    const struct expr *a = literal->args[0], *b = literal->args[1];
    struct sum sum = {.count = 0};
    sum_add(&sum, b, 1); // b - a
    sum_add(&sum, a, -1);
    if (literal->op == OP_LT)
        sum_add_constant(&sum, 1, -1);
    int terms = sum_list_terms(&sum);
    if (sum.failed || terms > 1) {
        leave(solver, c, literal);
        return;
    }
    if (terms == 0) { // the list's position cancelled out
        enum op op = literal->op == OP_LT ? OP_LE : literal->op;
        list_add(solver->graph, &c->rule.guards,
                 solve_op2(solver, op, solve_number(solver, 0), sum_rest(solver, &sum, 1)));
        return;
    }
    // |D| % m, |D| / m: the sign decides first.
    const struct term *term = sum_list_term(&sum);
    const struct expr *abs = find_node(solver, literal, is_abs);
    bool inside = term->node->op == OP_MOD || term->node->op == OP_DIV || term->node->op == OP_MUL;
    if (abs && inside && split_abs(solver, c, literal, abs))
        return;
    if (literal->op == OP_NE) {
        solve_not_equal(solver, c, literal, &sum);
    } else if (literal->op == OP_EQ) {
        push(solver, c, solve_op2(solver, OP_LE, a, b));
        push(solver, c, solve_op2(solver, OP_LE, b, a));
    } else {
        solve_at_least_zero(solver, c, literal, &sum);
    }
}
