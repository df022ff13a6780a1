// Integer division of the LLVM algebra.
#ifndef HEDDLE_COMPILER_LLVM_ALG_DIVIDE_H
#define HEDDLE_COMPILER_LLVM_ALG_DIVIDE_H

#include "compiler/llvm/llvm_alg.h"

// x / y towards zero, of one type. Never traps: a zero divisor gives some value. `plain`: y is (the
// splat of) a constant other than 0 and -1.
LLVMValueRef llvm_alg_quotient(struct llvm_alg *alg, LLVMValueRef x, LLVMValueRef y, bool plain);

#endif
