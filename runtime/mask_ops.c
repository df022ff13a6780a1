#include "runtime/mask_ops.h"

#include "compiler/analyse/facts.h"

#include <stdlib.h>
#include <string.h>

enum { SEEN = 1 << 7, ALL_AXES = AXES_SETS - 1 };

struct counting {
    const struct basis *basis;
    double turns;    // of what a quantifier repeats
    uint8_t *axes;   // by node id: SEEN and the axes it depends on
    double *by_axes; // adds here
};

// A division is a dozen instructions or more, a read of an array about as much. Not measured.
static double weight(const struct counting *c, const struct expr *node) {
    double turns = node->vars ? c->turns : 1.0;
    switch (node->op) {
    case OP_DIV:
    case OP_MOD:
    case OP_CEILDIV:
    case OP_LOG2:
    case OP_BITS:
    case OP_INPUT:
    case OP_MAP:
    case OP_MEMBER:
        return 8.0 * turns;
    default:
        return turns;
    }
}

static int side_axes(const struct counting *c, const struct expr *leaf) {
    int axes = 0;
    for (int a = ABI_AXES - c->basis->axis_count; a < ABI_AXES; a++)
        if (leaf->op == OP_TOKEN || c->basis->axis_of[leaf->payload.ref.index] == a)
            axes |= 1 << a;
    return leaf->payload.ref.side == SIDE_KEY ? axes << ABI_AXES : axes;
}

// Counts the node and what it is made of, each once; returns the axes it depends on.
static int count(struct counting *c, const struct expr *node) {
    if (c->axes[node->id] & SEEN)
        return c->axes[node->id] & ALL_AXES;
    int axes = 0;
    if (node->op == OP_COORD || node->op == OP_TOKEN)
        axes = side_axes(c, node);
    else if (node->op == OP_SCORE)
        axes = ALL_AXES;
    for (int i = 0; i < node->arity; i++)
        axes |= count(c, node->args[i]);
    c->axes[node->id] = (uint8_t)(SEEN | axes);
    if (node->arity)
        c->by_axes[axes] += weight(c, node);
    return axes;
}

bool mask_ops_count(const struct plan *plan, struct mask_ops *out) {
    const struct pattern *pattern = plan->program->pattern;
    const struct facts *facts = plan->program->facts;
    const struct intervals *mask = &facts->sides[SIDE_QUERY][plan->basis].mask;
    struct counting c = {.basis = &facts->bases[plan->basis], .turns = (double)plan->turns};
    memset(out, 0, sizeof *out);
    c.axes = calloc(pattern->graph->count, 1);
    if (!c.axes)
        return false;
    for (int i = 0; i < mask->count; i++) {
        const struct interval_part *part = &mask->parts[i];
        c.by_axes = part->pinned ? out->pinned : out->keep;
        if (part->solved)
            out->intervals = true;
        if (!part->solved || part->pinned)
            count(&c, part->keep);
    }
    out->scored = pattern->score != NULL;
    c.by_axes = out->score;
    memset(c.axes, 0, pattern->graph->count);
    if (out->scored)
        count(&c, pattern->score);
    free(c.axes);
    return true;
}

bool mask_ops_one_row(const struct plan *plan) {
    int64_t rows = 1;
    for (int a = 0; a < ABI_AXES - 1; a++)
        rows *= plan->launch.tile[a];
    return rows == 1;
}

double mask_ops_per_pair(const double *by_axes, const struct plan *plan) {
    int query = 0, key = 0;
    double ops = 0.0;
    for (int a = 0; a < ABI_AXES; a++) {
        query |= plan->query_tile[a] > 1 ? 1 << a : 0;
        key |= plan->launch.tile[a] > 1 ? 1 << (ABI_AXES + a) : 0;
    }
    for (int axes = 0; axes < AXES_SETS; axes++)
        if (axes & query && axes & key)
            ops += by_axes[axes];
    return ops;
}
