// The expression graph: node sharing, constant folding, and the operation table itself.

#include "dsl/expr.h"

#include "dsl/ops.h"

#include <assert.h>
#include <string.h>

enum { FIRST_BUCKETS = 1024, DEFAULT_NODE_LIMIT = 1000000 };

#define OP(name, surface, form, precedence, signature, eval, point, box, fold)                     \
    [OP_##name] = {#name, surface, FORM_##form, precedence, signature, eval, point, box, fold},
const struct op_info op_table[OP_COUNT_] = {
#include "dsl/ops.def"
};
#undef OP

void expr_graph_init(struct expr_graph *graph, struct arena *arena) {
    memset(graph, 0, sizeof *graph);
    graph->arena = arena;
    graph->node_limit = DEFAULT_NODE_LIMIT;
    graph->bucket_count = FIRST_BUCKETS;
    graph->buckets = ARENA_ARRAY(arena, uint32_t, FIRST_BUCKETS);
}

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static uint64_t hash_node(const struct expr *node) {
    uint64_t hash = mix(mix(node->op * 4u + node->type, (uint64_t)node->payload.i), node->arity);
    for (int i = 0; i < node->arity; i++)
        hash = mix(hash, node->args[i]->id);
    return hash;
}

static bool same_node(const struct expr *a, const struct expr *b) {
    return a->op == b->op && a->type == b->type && a->payload.i == b->payload.i &&
           a->arity == b->arity && memcmp(a->args, b->args, a->arity * sizeof(struct expr *)) == 0;
}

static void grow_buckets(struct expr_graph *graph) {
    uint32_t count = graph->bucket_count * 4;
    graph->buckets = ARENA_ARRAY(graph->arena, uint32_t, count);
    graph->bucket_count = count;
    for (uint32_t id = 0; id < graph->count; id++) {
        uint32_t at = (uint32_t)hash_node(graph->nodes[id]) & (count - 1);
        while (graph->buckets[at])
            at = (at + 1) & (count - 1);
        graph->buckets[at] = id + 1;
    }
}

static const struct expr *add_node(struct expr_graph *graph, const struct expr *proto,
                                   uint32_t bucket) {
    if (graph->count >= graph->node_limit)
        arena_alloc(graph->arena, SIZE_MAX / 2); // leaves through the arena's escape
    if (graph->count == graph->room) {
        uint32_t room = graph->room ? graph->room * 2 : 256;
        const struct expr **grown = ARENA_ARRAY(graph->arena, const struct expr *, room);
        if (graph->count)
            memcpy(grown, graph->nodes, graph->count * sizeof *grown);
        graph->nodes = grown;
        graph->room = room;
    }
    size_t bytes = sizeof *proto + proto->arity * sizeof(struct expr *);
    struct expr *node = arena_alloc(graph->arena, bytes);
    memcpy(node, proto, bytes);
    node->id = graph->count;
    graph->nodes[graph->count++] = node;
    graph->buckets[bucket] = node->id + 1;
    if (graph->count * 2 > graph->bucket_count)
        grow_buckets(graph);
    return node;
}

static uint8_t leaf_deps(const struct expr *node) {
    switch (node->op) {
    case OP_COORD:
    case OP_TOKEN:
        return node->payload.ref.side == SIDE_QUERY ? DEP_QUERY : DEP_KEY;
    case OP_PLACE:
        return node->payload.ref.side == PLACE_OF_LIST ? DEP_KEY : DEP_QUERY;
    case OP_HEAD:
    case OP_KV_HEAD:
    case OP_TABLE:
        return DEP_HEAD;
    case OP_BATCH:
        return DEP_BATCH;
    case OP_SCORE:
        return DEP_SCORE;
    case OP_VAR:
        return DEP_VAR;
    case OP_INPUT:
    case OP_MAP:
    case OP_MEMBER:
        return DEP_ARRAY;
    case OP_TENSOR:
        return DEP_ROW | DEP_BATCH;
    case OP_STAGE: // side 1: of rows
        return node->payload.ref.side ? DEP_ARRAY | DEP_ROW : DEP_ARRAY;
    default:
        return 0;
    }
}

static bool binds_variable(enum op op) {
    return op == OP_ANY || op == OP_ALL || op == OP_COUNT || op == OP_SUM_OVER ||
           op == OP_MAX_OVER || op == OP_MIN_OVER;
}

static void set_dependencies(struct expr *node) {
    node->deps = leaf_deps(node);
    node->weight = 1;
    node->vars = node->op == OP_VAR ? (uint16_t)(1u << node->payload.ref.index) : 0;
    for (int i = 0; i < node->arity; i++) {
        uint16_t vars = node->args[i]->vars;
        if (binds_variable(node->op) && i == 3)
            vars &= (uint16_t) ~(1u << node->payload.ref.index);
        node->vars |= vars;
        node->deps |= node->args[i]->deps & (uint8_t)~DEP_VAR;
        if (node->args[i]->depth >= node->depth)
            node->depth = node->args[i]->depth + 1;
        if (__builtin_add_overflow(node->weight, node->args[i]->weight, &node->weight))
            node->weight = UINT32_MAX;
    }
    if (node->vars)
        node->deps |= DEP_VAR;
    if (node->op == OP_DIM_SUM)
        node->deps &= (uint8_t)~DEP_ROW;
}

// Finds or adds the node described by the arguments.
static const struct expr *intern(struct expr_graph *graph, struct span span, enum op op,
                                 enum type type, int64_t payload, const struct expr *const *args,
                                 uint8_t arity) {
    // A node with room for its arguments behind it.
    _Alignas(struct expr) char proto[sizeof(struct expr) + MAX_EXPR_ARGS * sizeof(struct expr *)];
    memset(proto, 0, sizeof proto);
    assert(arity <= MAX_EXPR_ARGS);
    struct expr *node = (struct expr *)proto;
    node->op = op;
    node->type = type;
    node->arity = arity;
    node->payload.i = payload;
    node->span = span;
    for (int i = 0; i < arity; i++)
        ((const struct expr **)(void *)node->args)[i] = args[i];
    set_dependencies(node);
    uint32_t at = (uint32_t)hash_node(node) & (graph->bucket_count - 1);
    while (graph->buckets[at]) {
        const struct expr *found = graph->nodes[graph->buckets[at] - 1];
        if (same_node(found, node))
            return found;
        at = (at + 1) & (graph->bucket_count - 1);
    }
    return add_node(graph, node, at);
}

const struct expr *expr_int(struct expr_graph *graph, struct span span, int64_t value) {
    return intern(graph, span, OP_INT, TYPE_INT, value, NULL, 0);
}

const struct expr *expr_real(struct expr_graph *graph, struct span span, double value) {
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return intern(graph, span, OP_REAL, TYPE_REAL, bits, NULL, 0);
}

const struct expr *expr_bool(struct expr_graph *graph, struct span span, bool value) {
    return intern(graph, span, OP_BOOL, TYPE_BOOL, value, NULL, 0);
}

const struct expr *expr_ref(struct expr_graph *graph, struct span span, enum op op, enum type type,
                            uint16_t index, uint16_t side, const struct expr *const *args,
                            uint8_t arity) {
    struct expr payload;
    memset(&payload, 0, sizeof payload);
    payload.payload.ref.index = index;
    payload.payload.ref.side = side;
    return intern(graph, span, op, type, payload.payload.i, args, arity);
}

static bool constant_value(const struct expr *node, union value *out) {
    if (node->op == OP_INT)
        out->i = node->payload.i;
    else if (node->op == OP_REAL)
        out->r = node->payload.r;
    else if (node->op == OP_BOOL)
        out->b = node->payload.i != 0;
    else
        return false;
    return true;
}

static enum type signature_type(char letter) {
    return letter == 'b' ? TYPE_BOOL : letter == 'r' ? TYPE_REAL : TYPE_INT;
}

// All arguments constant and the operation has a value: that value. A fault (overflow, zero
// divisor) is left in the graph, to be reported where it can be explained.
static const struct expr *fold_constants(struct expr_graph *graph, struct span span,
                                         const struct op_info *info, const struct expr *const *args,
                                         int arity) {
    union value values[MAX_EXPR_ARGS];
    for (int i = 0; i < arity; i++)
        if (!constant_value(args[i], &values[i]))
            return NULL;
    enum eval_fault fault = EVAL_OK;
    union value result = info->eval(values, &fault);
    if (fault != EVAL_OK)
        return NULL;
    switch (signature_type(info->signature[arity + 1])) {
    case TYPE_BOOL:
        return expr_bool(graph, span, result.b);
    case TYPE_INT:
        return expr_int(graph, span, result.i);
    case TYPE_REAL:
        return expr_real(graph, span, result.r);
    }
    return NULL;
}

const struct expr *expr_make(struct expr_graph *graph, struct span span, enum op op,
                             const struct expr *const *args) {
    const struct op_info *info = &op_table[op];
    assert(info->eval && "leaves are made by expr_ref");
    int arity = (int)(strchr(info->signature, '>') - info->signature);
    for (int i = 0; i < arity; i++)
        assert(args[i]->type == signature_type(info->signature[i]));
    const struct expr *folded = fold_constants(graph, span, info, args, arity);
    if (!folded && info->fold)
        folded = info->fold(graph, span, args);
    if (folded)
        return folded;
    return intern(graph, span, op, signature_type(info->signature[arity + 1]), 0, args,
                  (uint8_t)arity);
}

const struct expr *expr_rebuild(struct expr_graph *graph, const struct expr *node,
                                const struct expr *const *args) {
    if (op_table[node->op].eval)
        return expr_make(graph, node->span, node->op, args);
    return intern(graph, node->span, node->op, node->type, node->payload.i, args, node->arity);
}

enum op op_lookup(const char *surface, const enum type *types, int count, uint32_t *out_converts) {
    for (int converting = 0; converting < 2; converting++)
        for (int op = 0; op < OP_COUNT_; op++) {
            const struct op_info *info = &op_table[op];
            if (!info->eval || strcmp(info->surface, surface) != 0 ||
                strchr(info->signature, '>') != info->signature + count)
                continue;
            uint32_t converts = 0;
            bool fits = true;
            for (int i = 0; i < count && fits; i++) {
                enum type wanted = signature_type(info->signature[i]);
                if (types[i] == wanted)
                    continue;
                fits = converting && wanted == TYPE_REAL && types[i] == TYPE_INT;
                converts |= 1u << i;
            }
            if (fits) {
                *out_converts = converts;
                return (enum op)op;
            }
        }
    *out_converts = 0;
    return OP_COUNT_;
}

struct rewriter {
    struct expr_graph *graph;
    const struct expr **done; // by id of the old node
    const struct expr *(*replace)(void *, const struct expr *, const struct expr *const *);
    void *context;
};

static const struct expr *rewrite(struct rewriter *rewriter, const struct expr *node) {
    if (rewriter->done[node->id])
        return rewriter->done[node->id];
    const struct expr *args[MAX_EXPR_ARGS];
    for (int i = 0; i < node->arity; i++)
        args[i] = rewrite(rewriter, node->args[i]);
    const struct expr *out = rewriter->replace(rewriter->context, node, args);
    if (!out)
        out = node->arity ? expr_rebuild(rewriter->graph, node, args) : node;
    return rewriter->done[node->id] = out;
}

const struct expr *expr_rewrite(struct expr_graph *graph, const struct expr *root,
                                const struct expr *(*replace)(void *, const struct expr *,
                                                              const struct expr *const *),
                                void *context) {
    struct rewriter rewriter = {graph, NULL, replace, context};
    rewriter.done = ARENA_ARRAY(graph->arena, const struct expr *, root->id + 1);
    return rewrite(&rewriter, root);
}
