// The LLVM algebra: the meanings of dsl/ops.def appended as instructions at the unit's builder.
#ifndef HEDDLE_COMPILER_LLVM_ALG_H
#define HEDDLE_COMPILER_LLVM_ALG_H

#include "compiler/llvm/llvm_build.h"
#include "dsl/alg.h"

struct llvm_alg {
    struct alg alg; // first: a struct alg * is a struct llvm_alg *
    struct llvm_unit *unit;
    int lanes;           // values are scalars or vectors of this many; 1: scalars only
    bool saturate;       // integer + - * saturate (planner) instead of wrapping (masks)
    LLVMTypeRef integer; // i64 or i32, the element type
    LLVMTypeRef real;    // double (predicates) or float (scores)
};

// index_bits 64 or 32; real_bits 64 or 32. With real_bits 32 `alg.math` is a fast float
// approximation (scores); with 64 it is NULL (the software routine).
void llvm_alg_init(struct llvm_alg *alg, struct llvm_unit *unit, int lanes, int index_bits,
                   int real_bits, bool saturate);
// The value as a vector of `lanes` (splat when it is a scalar).
LLVMValueRef llvm_alg_vector(struct llvm_alg *alg, LLVMValueRef value);

#endif
