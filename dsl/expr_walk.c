// Applies the compiled meanings over a whole graph, each node once.
//
// Quantifiers become loops of the algebra. What does not depend on the variable is computed before
// the loop (it would otherwise be recomputed, and in LLVM not dominate its later uses); what does
// is forgotten after it.

#include "dsl/expr_walk.h"

#include <string.h>

void expr_walk_init(struct expr_walk *walk, struct arena *arena, const struct expr_graph *graph,
                    struct alg *alg) {
    memset(walk, 0, sizeof *walk);
    walk->alg = alg;
    walk->graph = graph;
    walk->arena = arena;
    walk->points = ARENA_ARRAY(arena, aval, graph->count);
    walk->boxes = ARENA_ARRAY(arena, struct box, graph->count);
    walk->point_known = ARENA_ARRAY(arena, uint8_t, graph->count);
    walk->box_known = ARENA_ARRAY(arena, uint8_t, graph->count);
    walk->forgotten = ARENA_ARRAY(arena, uint32_t, graph->count);
}

void expr_walk_preset(struct expr_walk *walk, const struct expr *node, aval value) {
    walk->points[node->id] = value;
    walk->point_known[node->id] = 1;
}

void expr_walk_preset_box(struct expr_walk *walk, const struct expr *node, struct box value) {
    walk->boxes[node->id] = value;
    walk->box_known[node->id] = 1;
}

void expr_walk_reset(struct expr_walk *walk) {
    memset(walk->point_known, 0, walk->graph->count);
    memset(walk->box_known, 0, walk->graph->count);
}

static bool is_quantifier(const struct expr *node) {
    return node->op == OP_ANY || node->op == OP_ALL || node->op == OP_COUNT;
}

enum meaning { POINT, BOX };

static void visit(struct expr_walk *walk, const struct expr *node, enum meaning meaning);

// Computes the parts of a quantifier's body that do not use its variable.
static void hoist(struct expr_walk *walk, const struct expr *node, uint16_t variable,
                  enum meaning meaning) {
    const uint8_t *known = meaning == POINT ? walk->point_known : walk->box_known;
    if (known[node->id])
        return;
    if (!(node->vars & variable)) {
        // Parts that use variables of quantifiers inside the body wait for those.
        if (!node->vars || (node->vars & ~(variable - 1)) == 0)
            visit(walk, node, meaning);
        return;
    }
    for (int i = 0; i < node->arity; i++)
        hoist(walk, node->args[i], variable, meaning);
}

// Parts of what is not known (a quantifier inside has forgotten it) may be.
static void forget_below(struct expr_walk *walk, const struct expr *node, uint16_t variable,
                         enum meaning meaning) {
    if (!(node->vars & variable) || walk->forgotten[node->id] == walk->forgetting)
        return;
    walk->forgotten[node->id] = walk->forgetting;
    (meaning == POINT ? walk->point_known : walk->box_known)[node->id] = 0;
    for (int i = 0; i < node->arity; i++)
        forget_below(walk, node->args[i], variable, meaning);
}

static void forget(struct expr_walk *walk, const struct expr *node, uint16_t variable,
                   enum meaning meaning) {
    walk->forgetting++;
    forget_below(walk, node, variable, meaning);
}

struct quantifier {
    struct expr_walk *walk;
    const struct expr *node;
    enum meaning meaning;
};

static void combine(struct alg *alg, enum op op, aval *sum, aval term) {
    if (op == OP_COUNT)
        *sum = a2(alg, ALG_I_ADD, *sum, a_select(alg, term, a_int(alg, 1), a_int(alg, 0)));
    else
        *sum = a2(alg, op == OP_ANY ? ALG_B_OR : ALG_B_AND, *sum, term);
}

// One turn of the loop: state is {value} for a point, {lo, hi} for a box.
static void quantifier_turn(void *context, aval i, aval *state) {
    struct quantifier *quantifier = context;
    struct expr_walk *walk = quantifier->walk;
    const struct expr *node = quantifier->node, *body = node->args[3];
    uint16_t variable = (uint16_t)(1u << node->payload.ref.index);
    walk->vars[node->payload.ref.index] = i;
    forget(walk, body, variable, quantifier->meaning);
    visit(walk, body, quantifier->meaning);
    if (quantifier->meaning == POINT) {
        combine(walk->alg, node->op, &state[0], walk->points[body->id]);
    } else {
        combine(walk->alg, node->op, &state[0], walk->boxes[body->id].lo);
        combine(walk->alg, node->op, &state[1], walk->boxes[body->id].hi);
    }
    forget(walk, body, variable, quantifier->meaning);
}

// The range of a quantifier is the same for all positions (check.c), so its ends are points in
// either meaning; they go through the box walk there to reuse its leaves.
static aval range_end(struct expr_walk *walk, const struct expr *node, enum meaning meaning) {
    return meaning == POINT ? walk->points[node->id] : walk->boxes[node->id].lo;
}

static void visit_quantifier(struct expr_walk *walk, const struct expr *node,
                             enum meaning meaning) {
    struct quantifier quantifier = {walk, node, meaning};
    uint16_t variable = (uint16_t)(1u << node->payload.ref.index);
    aval outer_variable = walk->vars[node->payload.ref.index];
    hoist(walk, node->args[3], variable, meaning);
    aval start = node->op == OP_COUNT ? a_int(walk->alg, 0) : a_bool(walk->alg, node->op == OP_ALL);
    aval state[2] = {start, start};
    walk->alg->loop(walk->alg, range_end(walk, node->args[0], meaning),
                    range_end(walk, node->args[1], meaning),
                    range_end(walk, node->args[2], meaning), meaning == POINT ? 1 : 2, state,
                    quantifier_turn, &quantifier);
    walk->vars[node->payload.ref.index] = outer_variable;
    if (meaning == POINT)
        walk->points[node->id] = state[0];
    else
        walk->boxes[node->id] = (struct box){state[0], state[1], 1, 0};
}

static bool constant_leaf(struct expr_walk *walk, const struct expr *node, aval *out,
                          int64_t *out_rem) {
    *out_rem = 0;
    switch (node->op) {
    case OP_INT:
        *out_rem = node->payload.i;
        *out = a_int(walk->alg, node->payload.i);
        return true;
    case OP_REAL:
        *out = a_real(walk->alg, node->payload.r);
        return true;
    case OP_BOOL:
        *out = a_bool(walk->alg, node->payload.i != 0);
        return true;
    default:
        return false;
    }
}

static void apply_point(struct expr_walk *walk, const struct expr *node) {
    aval args[MAX_EXPR_ARGS];
    int64_t rem;
    for (int i = 0; i < node->arity; i++)
        args[i] = walk->points[node->args[i]->id];
    aval *out = &walk->points[node->id];
    if (constant_leaf(walk, node, out, &rem))
        return;
    if (node->op == OP_VAR)
        *out = walk->vars[node->payload.ref.index];
    else if (op_table[node->op].point)
        *out = op_table[node->op].point(walk->alg, args);
    else
        *out = walk->point_leaf(walk, node, args);
}

static void apply_box(struct expr_walk *walk, const struct expr *node) {
    struct box args[MAX_EXPR_ARGS], *out = &walk->boxes[node->id];
    int64_t rem;
    aval value;
    for (int i = 0; i < node->arity; i++)
        args[i] = walk->boxes[node->args[i]->id];
    if (constant_leaf(walk, node, &value, &rem))
        *out = (struct box){value, value, node->op == OP_INT ? 0 : 1, rem};
    else if (node->op == OP_VAR)
        *out = (struct box){walk->vars[node->payload.ref.index],
                            walk->vars[node->payload.ref.index], 1, 0};
    else if (op_table[node->op].box)
        op_table[node->op].box(walk->alg, args, out);
    else
        walk->box_leaf(walk, node, args, out);
}

// Depth-first over the graph. The depth is bounded by the checker's nesting limit times the
// expansion of lets and functions; chains of one operator are balanced there.
static void visit(struct expr_walk *walk, const struct expr *node, enum meaning meaning) {
    uint8_t *known = meaning == POINT ? walk->point_known : walk->box_known;
    if (known[node->id])
        return;
    int operands = is_quantifier(node) ? 3 : node->arity;
    for (int i = 0; i < operands; i++)
        visit(walk, node->args[i], meaning);
    if (is_quantifier(node))
        visit_quantifier(walk, node, meaning);
    else if (meaning == POINT)
        apply_point(walk, node);
    else
        apply_box(walk, node);
    known[node->id] = 1;
}

aval expr_walk_point(struct expr_walk *walk, const struct expr *root) {
    visit(walk, root, POINT);
    return walk->points[root->id];
}

struct box expr_walk_box(struct expr_walk *walk, const struct expr *root) {
    visit(walk, root, BOX);
    return walk->boxes[root->id];
}
