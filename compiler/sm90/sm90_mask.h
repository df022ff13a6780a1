// Between sm90_mask.c (which pairs) and sm90_leaf.c (what expressions read).
#ifndef HEDDLE_COMPILER_SM90_MASK_H
#define HEDDLE_COMPILER_SM90_MASK_H

#include "compiler/llvm/llvm_alg.h"
#include "compiler/sm90/sm90_emit.h"
#include "dsl/expr_walk.h"

// `keep` or `score` being emitted for one pair after another.
struct sm90_walk {
    struct expr_walk walk; // first: its point_leaf finds this struct
    struct llvm_alg alg;
    struct sm90_emit *e;
    const struct sm90_item *item;
    const LLVMValueRef *query, *key; // positions on the basis axes of the pair at hand
    LLVMValueRef score;              // OP_SCORE
};

aval sm90_leaf(struct expr_walk *walk, const struct expr *node, const aval *args);

#endif
