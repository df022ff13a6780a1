// Compiled meanings of a whole expression: walks the graph once and applies each row's `point` or
// `box` over an algebra. With alg_concrete this computes now; with the LLVM algebra it appends
// instructions. Each node is visited once; the caller supplies the leaves.
#ifndef HEDDLE_DSL_EXPR_WALK_H
#define HEDDLE_DSL_EXPR_WALK_H

#include "dsl/expr.h"

struct expr_walk {
    struct alg *alg;
    const struct expr_graph *graph;
    // Value of a leaf: OP_COORD, OP_TOKEN, OP_SIZE, OP_HEAD, OP_HEADS, OP_KV_HEAD, OP_BATCH,
    // OP_PARAM, OP_TABLE, OP_INPUT, OP_MAP, OP_SCORE (constants and variables are handled here).
    // `args` are the values of node->args (indices).
    aval (*point_leaf)(struct expr_walk *, const struct expr *, const aval *args);
    void (*box_leaf)(struct expr_walk *, const struct expr *, const struct box *args,
                     struct box *out);
    void *context;
    // Private: memo tables by node id, made by the first call.
    struct arena *arena;
    aval *points;
    struct box *boxes;
    uint8_t *point_known, *box_known;
    uint32_t *forgotten,
        forgetting; // by node id: the last pass of forgetting that met it; this one
    aval vars[MAX_VARS];
};

void expr_walk_init(struct expr_walk *walk, struct arena *arena, const struct expr_graph *graph,
                    struct alg *alg);
// Presets a node's value: it is then never computed (a value hoisted and loaded back, say).
void expr_walk_preset(struct expr_walk *walk, const struct expr *node, aval value);
void expr_walk_preset_box(struct expr_walk *walk, const struct expr *node, struct box value);
// Forgets everything computed (presets too): for the next pair or box, or the next basic block.
void expr_walk_reset(struct expr_walk *walk);

aval expr_walk_point(struct expr_walk *walk, const struct expr *root);
struct box expr_walk_box(struct expr_walk *walk, const struct expr *root);

#endif
