// Part of stage `analyse`: pattern coordinates -> basis coordinates.
//
// Rewriting replaces k.y by the place on its basis axis (or by place / divisor % modulus in a fused
// one) and lets the graph's folding rules do the rest: (f / X) * X + f % X becomes f, and with a
// split axis x = residue + dilation * place, `x % dilation` becomes the residue and `x / dilation`
// the place.

#include "compiler/analyse/basis.h"

#include <string.h>

static const struct span NOWHERE = {0};

// ---- splits -----------------------------------------------------------------------------------

// `q.a % d == k.a % d` with a uniform d: returns d and sets the axis.
static const struct expr *split_of(const struct expr *equality, int *out_axis) {
    if (equality->op != OP_EQ)
        return NULL;
    const struct expr *a = equality->args[0], *b = equality->args[1];
    if (a->op != OP_MOD || b->op != OP_MOD || a->args[1] != b->args[1])
        return NULL;
    const struct expr *x = a->args[0], *y = b->args[0], *by = a->args[1];
    bool facing = x->op == OP_COORD && y->op == OP_COORD &&
                  x->payload.ref.index == y->payload.ref.index &&
                  x->payload.ref.side != y->payload.ref.side;
    if (!facing || by->deps != 0)
        return NULL;
    *out_axis = x->payload.ref.index;
    return by;
}

// Splits hold for every kept pair, so only conjuncts of the whole predicate count.
static void find_splits(const struct expr *node, const struct expr **splits) {
    int axis;
    if (node->op == OP_AND) {
        find_splits(node->args[0], splits);
        find_splits(node->args[1], splits);
        return;
    }
    const struct expr *by = split_of(node, &axis);
    if (by && !splits[axis])
        splits[axis] = by;
}

// ---- the list of bases ------------------------------------------------------------------------

static const char *basis_name(const struct pattern *pattern, const struct basis *basis) {
    const char *name = "";
    for (int a = 0; a < ABI_AXES; a++)
        for (int p = basis->first[a]; p <= basis->last[a]; p++)
            name = arena_format(pattern->graph->arena, "%s%s%s", name,
                                p == basis->first[a] && *name ? "|" : "", pattern->axes[p]);
    return name;
}

// Fuses the last `fused` pattern axes into one basis axis.
static struct basis make_basis(const struct pattern *pattern, int fused,
                               const struct expr *const *splits) {
    struct basis basis = {.axis_count = pattern->axis_count - fused + 1};
    int unused = ABI_AXES - basis.axis_count;
    for (int a = 0; a < unused; a++)
        basis.first[a] = 1, basis.last[a] = 0;
    for (int a = unused; a < ABI_AXES; a++) {
        basis.first[a] = a - unused;
        basis.last[a] = a == ABI_AXES - 1 ? pattern->axis_count - 1 : a - unused;
        for (int p = basis.first[a]; p <= basis.last[a]; p++)
            basis.axis_of[p] = a;
        if (basis.first[a] == basis.last[a])
            basis.split[a] = splits[basis.first[a]];
    }
    basis.name = basis_name(pattern, &basis);
    return basis;
}

int basis_list(const struct pattern *pattern, struct basis *bases) {
    const struct expr *splits[MAX_AXES] = {0};
    if (!pattern_is_pooled(pattern)) // all sources share the item side
        find_splits(pattern->keep, splits);
    int count = 0;
    for (int fused = 1; fused <= pattern->axis_count; fused++)
        bases[count++] = make_basis(pattern, fused, splits);
    return count;
}

// ---- rewriting --------------------------------------------------------------------------------

struct placement {
    const struct pattern *pattern;
    const struct basis *basis;
    enum side item_side;
    bool pinned; // list positions but the fastest are the tile's
};

static const struct expr *leaf(const struct placement *at, enum op op, int index, int side) {
    return expr_ref(at->pattern->graph, NOWHERE, op, TYPE_INT, (uint16_t)index, (uint16_t)side,
                    NULL, 0);
}

static const struct expr *place(const struct placement *at, int axis, int side) {
    bool of_list = side != (int)at->item_side;
    if (at->pinned && of_list && axis < ABI_AXES - 1)
        return leaf(at, OP_PLACE, axis, PLACE_OF_TILE);
    return leaf(at, OP_PLACE, axis, of_list ? PLACE_OF_LIST : PLACE_OF_ITEM);
}

// Position along a basis axis before splitting.
static const struct expr *position(const struct placement *at, int axis, int side) {
    struct expr_graph *graph = at->pattern->graph;
    const struct expr *here = place(at, axis, side);
    if (!at->basis->split[axis])
        return here;
    return expr_op2(graph, OP_ADD, expr_op2(graph, OP_MUL, leaf(at, OP_DILATION, axis, 0), here),
                    leaf(at, OP_RESIDUE, axis, 0));
}

// Product of the sizes of pattern axes [begin, end).
static const struct expr *volume(const struct placement *at, int begin, int end) {
    struct expr_graph *graph = at->pattern->graph;
    const struct expr *product = expr_int(graph, NOWHERE, 1);
    for (int p = begin; p < end; p++)
        product = expr_op2(graph, OP_MUL, product, leaf(at, OP_SIZE, p, 0));
    return product;
}

static const struct expr *coordinate(const struct placement *at, int p, int side) {
    struct expr_graph *graph = at->pattern->graph;
    int axis = at->basis->axis_of[p];
    const struct expr *x = position(at, axis, side);
    x = expr_op2(graph, OP_DIV, x, volume(at, p + 1, at->basis->last[axis] + 1));
    if (p > at->basis->first[axis])
        x = expr_op2(graph, OP_MOD, x, leaf(at, OP_SIZE, p, 0));
    return x;
}

static const struct expr *token(const struct placement *at, int side) {
    struct expr_graph *graph = at->pattern->graph;
    const struct expr *sum = expr_int(graph, NOWHERE, 0);
    for (int axis = 0; axis < ABI_AXES; axis++) {
        if (at->basis->first[axis] > at->basis->last[axis])
            continue;
        const struct expr *stride = volume(at, at->basis->last[axis] + 1, at->pattern->axis_count);
        sum =
            expr_op2(graph, OP_ADD, sum, expr_op2(graph, OP_MUL, position(at, axis, side), stride));
    }
    return sum;
}

// On a split axis: x % d is the residue, x / d the place.
static const struct expr *split_part(const struct placement *at, const struct expr *node) {
    const struct expr *x = node->args[0];
    if (x->op != OP_COORD)
        return NULL;
    int axis = at->basis->axis_of[x->payload.ref.index];
    if (!at->basis->split[axis] || at->basis->split[axis] != node->args[1])
        return NULL;
    return node->op == OP_MOD ? leaf(at, OP_RESIDUE, axis, 0)
                              : place(at, axis, x->payload.ref.side);
}

static const struct expr *replace(void *context, const struct expr *node,
                                  const struct expr *const *args) {
    const struct placement *at = context;
    (void)args;
    switch (node->op) {
    case OP_COORD:
        return coordinate(at, node->payload.ref.index, node->payload.ref.side);
    case OP_TOKEN:
        return token(at, node->payload.ref.side);
    case OP_MOD:
    case OP_DIV:
        return split_part(at, node);
    default:
        return NULL;
    }
}

const struct expr *basis_rewrite(const struct pattern *pattern, const struct basis *basis,
                                 enum side item_side, const struct expr *keep) {
    struct placement at = {pattern, basis, item_side, false};
    return expr_rewrite(pattern->graph, keep, replace, &at);
}

const struct expr *basis_rewrite_pinned(const struct pattern *pattern, const struct basis *basis,
                                        const struct expr *keep) {
    struct placement at = {pattern, basis, SIDE_QUERY, true};
    return expr_rewrite(pattern->graph, keep, replace, &at);
}
