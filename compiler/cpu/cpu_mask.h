// Between cpu_mask.c (phases) and cpu_leaf.c (what expressions read).
#ifndef HEDDLE_COMPILER_CPU_MASK_H
#define HEDDLE_COMPILER_CPU_MASK_H

#include "compiler/cpu/cpu_emit.h"
#include "compiler/llvm/llvm_alg.h"
#include "dsl/expr_walk.h"

enum mask_phase { MASK_UNIFORM, MASK_QUERY, MASK_KEY, MASK_PAIR };

// A subexpression computed in an early phase and kept in scratch: one element if uniform, else one
// per query or key.
struct mask_slot {
    const struct expr *node;
    enum mask_phase phase;
    int64_t offset;
};

struct mask_program { // `keep`, or `score`
    const struct expr *root;
    int real_bits; // reals are doubles in `keep`, floats in `score`
    struct mask_slot *slots;
    int slot_count;
};

// One program being emitted in one phase.
struct mask_walk {
    struct expr_walk walk; // first: its point_leaf finds this struct
    struct llvm_alg alg;
    struct cpu_emit *e;
    const struct mask_program *program;
    LLVMValueRef index; // first of the vector's queries or keys (phases QUERY and KEY)
    LLVMValueRef score; // OP_SCORE
};

aval mask_leaf(struct expr_walk *walk, const struct expr *node, const aval *args);

#endif
