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

struct sm90_walk *sm90_new_walk(struct sm90_emit *e, const struct sm90_item *item, int real_bits);
aval sm90_leaf(struct expr_walk *walk, const struct expr *node, const aval *args);

// ---- slots (sm90_slots.c) -----------------------------------------------------------------------

struct sm90_slot {
    const struct expr *node;
    int real_bits; // 64: of the predicate, 32: of the score
    bool of_key;
    int axis;   // of key slots: the basis axis whose offset indexes it, or -1: the key
    int extent; // entries
    int bytes, at;
};
int sm90_slot_count(const struct sm90_emit *e);
const struct sm90_slot *sm90_slot(const struct sm90_emit *e, int number);
LLVMValueRef sm90_slot_load(struct sm90_emit *e, const struct sm90_slot *slot, LLVMValueRef copy,
                            LLVMValueRef index);

#endif
