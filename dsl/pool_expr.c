// Conditions over groups of units. See pool_expr.h.

#include "dsl/pool_expr.h"

struct rewrite {
    const struct pool_group *group;
    const struct expr **grid; // by id: on the grid, rewritten
    uint8_t *known;           // by id: grid[] is known, NULL included
    bool failed;              // quantifiers too deep
};

static bool has_key(const struct expr *node) {
    return node->deps & DEP_KEY;
}

static bool is_key(const struct expr *node) {
    return (node->op == OP_COORD || node->op == OP_TOKEN) && node->payload.ref.side == SIDE_KEY;
}

static const struct expr *number(const struct rewrite *r, int64_t value) {
    return expr_int(r->group->graph, (struct span){0}, value);
}

static const struct expr *binary(const struct rewrite *r, enum op op, const struct expr *a,
                                 const struct expr *b) {
    return expr_op2(r->group->graph, op, a, b);
}

static const struct expr *the_group(const struct rewrite *r) {
    return expr_ref(r->group->graph, (struct span){0}, OP_COORD, TYPE_INT, 0, SIDE_KEY, NULL, 0);
}

static bool init(struct rewrite *r, const struct pool_group *group, const struct expr *root) {
    *r = (struct rewrite){.group = group};
    r->grid = ARENA_ARRAY(group->graph->arena, const struct expr *, root->id + 1);
    r->known = ARENA_ARRAY(group->graph->arena, uint8_t, root->id + 1);
    return true;
}

// ---- what is the same for all units -------------------------------------------------------------

static const struct expr *grid(struct rewrite *r, const struct expr *node);

static bool positive(const struct expr *node, int64_t *out) {
    *out = node->op == OP_INT ? node->payload.i : 0;
    return *out > 0;
}

// floor(node / by) where all units of a group agree on it, or NULL.
static const struct expr *quotient(struct rewrite *r, const struct expr *node, int64_t by) {
    int64_t c, product;
    if (is_key(node))
        return by % r->group->ratio
                   ? NULL
                   : binary(r, OP_DIV, the_group(r), number(r, by / r->group->ratio));
    const struct expr *whole = has_key(node) ? NULL : node;
    if (node->op == OP_DIV && positive(node->args[1], &c) &&
        !__builtin_mul_overflow(c, by, &product))
        return quotient(r, node->args[0], product);
    if (node->op == OP_SHR && node->args[1]->op == OP_INT && node->args[1]->payload.i >= 0 &&
        node->args[1]->payload.i < 62 &&
        !__builtin_mul_overflow(INT64_C(1) << node->args[1]->payload.i, by, &product))
        return quotient(r, node->args[0], product);
    if (node->op == OP_MOD && positive(node->args[1], &c) && c % by == 0 && has_key(node)) {
        const struct expr *inner = quotient(r, node->args[0], by);
        return inner ? binary(r, OP_MOD, inner, number(r, c / by)) : NULL;
    }
    if ((node->op == OP_ADD || node->op == OP_SUB) && node->args[1]->op == OP_INT &&
        node->args[1]->payload.i % by == 0 && has_key(node)) {
        const struct expr *inner = quotient(r, node->args[0], by);
        return inner ? binary(r, node->op, inner, number(r, node->args[1]->payload.i / by)) : NULL;
    }
    if (!whole)
        whole = by == 1 ? NULL : grid(r, node);
    return whole ? binary(r, OP_DIV, whole, number(r, by)) : NULL;
}

static const struct expr *grid_of_args(struct rewrite *r, const struct expr *node) {
    const struct expr *args[MAX_EXPR_ARGS];
    for (int i = 0; i < node->arity; i++) {
        args[i] = grid(r, node->args[i]);
        if (!args[i])
            return NULL;
    }
    return expr_rebuild(r->group->graph, node, args);
}

static const struct expr *grid_of(struct rewrite *r, const struct expr *node) {
    if (!has_key(node))
        return node;
    if (is_key(node))
        return r->group->ratio == 1 ? the_group(r) : NULL;
    if (node->op == OP_DIV || node->op == OP_SHR || node->op == OP_MOD) {
        const struct expr *found = quotient(r, node, 1);
        if (found)
            return found;
    }
    return grid_of_args(r, node);
}

// The node over groups where all units of each agree on its value, or NULL.
static const struct expr *grid(struct rewrite *r, const struct expr *node) {
    if (!r->known[node->id]) {
        r->grid[node->id] = grid_of(r, node);
        r->known[node->id] = 1;
    }
    return r->grid[node->id];
}

const struct expr *pool_off_grid(struct expr_graph *graph, const struct expr *root, int64_t block) {
    const struct pool_group group = {graph, block, root};
    struct rewrite r;
    init(&r, &group, root);
    if (grid(&r, root))
        return NULL;
    for (const struct expr *node = root;;) {
        const struct expr *inner = NULL;
        for (int i = 0; i < node->arity && !inner; i++)
            if (!grid(&r, node->args[i]))
                inner = node->args[i];
        if (!inner || is_key(inner))
            return node;
        node = inner;
    }
}

// ---- where the first or the last unit decides ---------------------------------------------------

enum { CONSTANT = 0, RISING = 1, FALLING = -1, MIXED = 2 };

static int both(int a, int b) {
    return a == CONSTANT ? b : b == CONSTANT || a == b ? a : MIXED;
}

static int flipped(int a) {
    return a == MIXED ? MIXED : -a;
}

// How a value moves from unit to unit, never turning.
static int direction(const struct expr *node) {
    const struct expr *const *a = node->args;
    int64_t by;
    if (!has_key(node))
        return CONSTANT;
    if (is_key(node))
        return RISING;
    switch (node->op) {
    case OP_ADD:
    case OP_MIN:
    case OP_MAX:
        return both(direction(a[0]), direction(a[1]));
    case OP_SUB:
        return both(direction(a[0]), flipped(direction(a[1])));
    case OP_NEG:
        return flipped(direction(a[0]));
    case OP_BITS:
    case OP_LOG2:
        return direction(a[0]);
    case OP_MUL:
        return positive(a[1], &by)   ? direction(a[0])
               : positive(a[0], &by) ? direction(a[1])
                                     : MIXED;
    case OP_DIV:
    case OP_CEILDIV:
        return positive(a[1], &by) ? direction(a[0]) : MIXED;
    case OP_SHL:
    case OP_SHR:
        return a[1]->op == OP_INT ? direction(a[0]) : MIXED;
    default:
        return MIXED;
    }
}

// Moves by at most 1 from unit to unit.
static bool is_smooth(const struct expr *node) {
    const struct expr *const *a = node->args;
    int64_t by;
    if (!has_key(node) || is_key(node))
        return true;
    switch (node->op) {
    case OP_NEG:
        return is_smooth(a[0]);
    case OP_ADD:
    case OP_SUB:
        return (!has_key(a[0]) || !has_key(a[1])) && is_smooth(a[0]) && is_smooth(a[1]);
    case OP_DIV:
        return positive(a[1], &by) && is_smooth(a[0]);
    default:
        return false;
    }
}

struct substitution {
    const struct expr *unit;
};

static const struct expr *substitute(void *context, const struct expr *node,
                                     const struct expr *const *args) {
    const struct substitution *s = context;
    (void)args;
    return is_key(node) ? s->unit : NULL;
}

static const struct expr *at_unit(const struct rewrite *r, const struct expr *node,
                                  const struct expr *unit) {
    struct substitution s = {unit};
    return expr_rewrite(r->group->graph, node, substitute, &s);
}

static const struct expr *unit_number(const struct rewrite *r, const struct expr *inside) {
    const struct expr *begin = binary(r, OP_MUL, the_group(r), number(r, r->group->ratio));
    return binary(r, OP_ADD, begin, inside);
}

// Units past the end are those of the last one again: what holds for all does not change.
static const struct expr *existing(const struct rewrite *r, const struct expr *unit) {
    const struct expr *last = binary(r, OP_SUB, r->group->extent, number(r, 1));
    return binary(r, OP_MIN, unit, last);
}

static const struct expr *first_unit(const struct rewrite *r) {
    return unit_number(r, number(r, 0));
}

static const struct expr *last_unit(const struct rewrite *r) {
    return existing(r, unit_number(r, number(r, r->group->ratio - 1)));
}

// a <= b or a < b: where b - a is least (for all) or greatest (for some). NULL: it turns.
static const struct expr *ordered(const struct rewrite *r, const struct expr *comparison,
                                  bool all) {
    int slack = both(direction(comparison->args[1]), flipped(direction(comparison->args[0])));
    if (slack == MIXED)
        return NULL;
    bool first = (slack == RISING) == all;
    return at_unit(r, comparison, first ? first_unit(r) : last_unit(r));
}

static const struct expr *equal(const struct rewrite *r, const struct expr *comparison, bool all) {
    const struct expr *a = comparison->args[0], *b = comparison->args[1];
    const struct expr *difference = binary(r, OP_SUB, a, b);
    bool one_side = !has_key(a) || !has_key(b);
    if (!all && !(one_side && is_smooth(difference)))
        return NULL;
    const struct expr *below = ordered(r, binary(r, OP_LE, a, b), all);
    const struct expr *above = ordered(r, binary(r, OP_LE, b, a), all);
    return below && above ? binary(r, OP_AND, below, above) : NULL;
}

// ---- conditions ---------------------------------------------------------------------------------

static const struct expr *condition(struct rewrite *r, const struct expr *node, bool all);

static int next_variable(const struct expr *node, uint8_t *seen) {
    int next = 0;
    if (seen[node->id])
        return 0;
    seen[node->id] = 1;
    if (node->op == OP_VAR || node->op == OP_ANY || node->op == OP_ALL || node->op == OP_COUNT)
        next = node->payload.ref.index + 1;
    for (int i = 0; i < node->arity; i++) {
        int inner = next_variable(node->args[i], seen);
        next = inner > next ? inner : next;
    }
    return next;
}

// Variables are numbered from outside to inside: what is inside of one more quantifier moves up.
static const struct expr *deeper(void *context, const struct expr *node,
                                 const struct expr *const *args) {
    const struct rewrite *r = context;
    bool numbered =
        node->op == OP_VAR || node->op == OP_ANY || node->op == OP_ALL || node->op == OP_COUNT;
    if (!numbered)
        return NULL;
    return expr_ref(r->group->graph, node->span, node->op, node->type,
                    (uint16_t)(node->payload.ref.index + 1), node->payload.ref.side, args,
                    node->arity);
}

// Unit by unit. A condition stands inside of no quantifier.
static const struct expr *quantify(struct rewrite *r, const struct expr *node, bool all) {
    struct expr_graph *graph = r->group->graph;
    int used = next_variable(node, ARENA_ARRAY(graph->arena, uint8_t, node->id + 1));
    if (used >= MAX_VARS) {
        r->failed = true;
        return node;
    }
    const struct expr *e = expr_ref(graph, node->span, OP_VAR, TYPE_INT, 0, 0, NULL, 0);
    const struct expr *body = used ? expr_rewrite(graph, node, deeper, r) : node;
    body = at_unit(r, body, existing(r, unit_number(r, e)));
    const struct expr *args[] = {number(r, 0), number(r, r->group->ratio), number(r, 1), body};
    return expr_ref(graph, node->span, all ? OP_ALL : OP_ANY, TYPE_BOOL, 0, 0, args, 4);
}

// `and` under all, `or` under some: each part for itself. The others: one part at most may differ
// from unit to unit.
static const struct expr *joined(struct rewrite *r, const struct expr *node, bool all) {
    const struct expr *a = grid(r, node->args[0]), *b = grid(r, node->args[1]);
    if ((node->op == OP_AND) != all && !a && !b)
        return quantify(r, node, all);
    return binary(r, node->op, a ? a : condition(r, node->args[0], all),
                  b ? b : condition(r, node->args[1], all));
}

static const struct expr *chosen(struct rewrite *r, const struct expr *node, bool all) {
    const struct expr *when = grid(r, node->args[0]);
    if (!when)
        return quantify(r, node, all);
    return expr_op3(r->group->graph, OP_SELECT_B, when, condition(r, node->args[1], all),
                    condition(r, node->args[2], all));
}

static const struct expr *compared(struct rewrite *r, const struct expr *node, bool all) {
    const struct expr *found = NULL;
    if (node->op == OP_LT || node->op == OP_LE) {
        found = ordered(r, node, all);
    } else if (node->op == OP_EQ) {
        found = equal(r, node, all);
    } else {
        found = equal(r, binary(r, OP_EQ, node->args[0], node->args[1]), !all);
        found = found ? expr_op1(r->group->graph, OP_NOT, found) : NULL;
    }
    return found ? found : quantify(r, node, all);
}

static const struct expr *condition(struct rewrite *r, const struct expr *node, bool all) {
    const struct expr *same = grid(r, node);
    if (same)
        return same;
    switch (node->op) {
    case OP_AND:
    case OP_OR:
        return joined(r, node, all);
    case OP_NOT:
        return expr_op1(r->group->graph, OP_NOT, condition(r, node->args[0], !all));
    case OP_SELECT_B:
        return chosen(r, node, all);
    case OP_LT:
    case OP_LE:
    case OP_EQ:
    case OP_NE:
        return compared(r, node, all);
    default:
        return quantify(r, node, all);
    }
}

const struct expr *pool_condition(const struct pool_group *group, const struct expr *root,
                                  bool all) {
    struct rewrite r;
    init(&r, group, root);
    const struct expr *out = condition(&r, root, all);
    return r.failed ? NULL : out;
}
