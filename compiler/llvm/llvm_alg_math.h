// Fast transcendental functions of floats, scalars and vectors alike, for scores and the softmax.
// A few units in the last place; infinities and NaN as libm has them; subnormal results may be 0.
#ifndef HEDDLE_COMPILER_LLVM_ALG_MATH_H
#define HEDDLE_COMPILER_LLVM_ALG_MATH_H

#include "compiler/llvm/llvm_alg.h"

// alg.math of a llvm_alg with real_bits 32.
aval llvm_alg_float_math(struct alg *alg, enum alg_math function, aval x);

// 2^x for x <= 0 (-inf gives 0; NaN gives NaN): the softmax's inner step. `x` is a float or a
// vector of floats. degree 3, 4, 5, 6 of the polynomial: relative error 8e-5, 3e-6, 3e-7, 1e-7.
// With degree 6, 2^0 is exactly 1.
LLVMValueRef llvm_fast_exp2(struct llvm_unit *unit, LLVMValueRef x, int degree);

// x * y + z, fused where the target can.
LLVMValueRef llvm_fma(struct llvm_unit *unit, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z);
// A float constant with the shape of `like`.
LLVMValueRef llvm_real_like(struct llvm_unit *unit, LLVMValueRef like, double value);

#endif
