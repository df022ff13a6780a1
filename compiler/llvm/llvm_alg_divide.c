// Integer division, four ways.
//
//   constant divisor, scalars or 32-bit vectors   LLVM's: a multiplication by the reciprocal
//   unknown divisor, scalars                      the instruction, guarded
//   unknown divisor, 32-bit vectors               doubles
//   64-bit vectors                                a function of the module that goes through the
//   lanes.
//                                                 Spelled out at each use, as LLVM would, a mask
//                                                 with a hundred remainders takes its scheduler
//                                                 seconds
#include "compiler/llvm/llvm_alg_divide.h"

#include <stdio.h>

static int width_of(LLVMValueRef x) {
    LLVMTypeRef type = LLVMTypeOf(x);
    if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
        type = LLVMGetElementType(type);
    return (int)LLVMGetIntTypeWidth(type);
}

// Of scalars. Zero divides as one, and by -1 is negation (the one quotient that overflows).
static LLVMValueRef guarded_quotient(struct llvm_alg *a, LLVMValueRef x, LLVMValueRef y) {
    LLVMBuilderRef b = a->unit->builder;
    LLVMTypeRef type = LLVMTypeOf(y);
    LLVMValueRef zero = llvm_int(type, 0), one = llvm_int(type, 1), minus = llvm_int(type, -1);
    LLVMValueRef is_zero = LLVMBuildICmp(b, LLVMIntEQ, y, zero, "");
    LLVMValueRef is_minus = LLVMBuildICmp(b, LLVMIntEQ, y, minus, "");
    LLVMValueRef special = LLVMBuildOr(b, is_zero, is_minus, "");
    LLVMValueRef quotient = LLVMBuildSDiv(b, x, LLVMBuildSelect(b, special, one, y, ""), "");
    LLVMValueRef negated = a->saturate ? llvm_intrinsic2(a->unit, "llvm.ssub.sat", zero, x)
                                       : LLVMBuildSub(b, zero, x, "");
    return LLVMBuildSelect(b, is_minus, negated, quotient, "");
}

// There is no vector division of integers; of 32-bit ones a division of doubles, truncated, is
// exact: the quotient of two 32-bit integers is further than 2^-31, relatively, from any integer
// that it does not equal.
static LLVMValueRef quotient_by_doubles(struct llvm_alg *a, LLVMValueRef x, LLVMValueRef y) {
    LLVMBuilderRef b = a->unit->builder;
    LLVMTypeRef doubles = LLVMVectorType(a->unit->f64, LLVMGetVectorSize(LLVMTypeOf(x)));
    LLVMValueRef ratio = LLVMBuildFDiv(b, LLVMBuildSIToFP(b, x, doubles, ""),
                                       LLVMBuildSIToFP(b, y, doubles, ""), "");
    return LLVMBuildFreeze(b, LLVMBuildFPToSI(b, ratio, LLVMTypeOf(x), ""), "");
}

// vector divide(vector x, vector y): lane by lane.
static LLVMValueRef make_lanes_function(struct llvm_alg *a, const char *name, LLVMTypeRef type) {
    struct llvm_unit *unit = a->unit;
    LLVMBuilderRef b = unit->builder;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(b);
    LLVMValueRef function = LLVMAddFunction(unit->module, name, type);
    LLVMSetLinkage(function, LLVMInternalLinkage);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(unit->context, function, "entry"));
    LLVMValueRef x = LLVMGetParam(function, 0), y = LLVMGetParam(function, 1);
    LLVMTypeRef vector = LLVMTypeOf(x);
    LLVMValueRef lanes = llvm_int(unit->i64, LLVMGetVectorSize(vector));
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, llvm_int(unit->i64, 0), lanes, llvm_int(unit->i64, 1), "lanes");
    LLVMValueRef result = llvm_loop_carry(&loop, LLVMConstNull(vector));
    LLVMValueRef quotient = guarded_quotient(a, LLVMBuildExtractElement(b, x, loop.index, ""),
                                             LLVMBuildExtractElement(b, y, loop.index, ""));
    llvm_loop_next(&loop, 0, LLVMBuildInsertElement(b, result, quotient, loop.index, ""));
    llvm_loop_end(&loop);
    LLVMBuildRet(b, loop.carried[0]);
    LLVMPositionBuilderAtEnd(b, here);
    return function;
}

static LLVMValueRef quotient_by_lanes(struct llvm_alg *a, LLVMValueRef x, LLVMValueRef y) {
    char name[64];
    LLVMTypeRef vector = LLVMTypeOf(x);
    snprintf(name, sizeof name, "divide%s_%u", a->saturate ? "_saturating" : "",
             LLVMGetVectorSize(vector));
    LLVMTypeRef type = LLVMFunctionType(vector, (LLVMTypeRef[]){vector, vector}, 2, false);
    LLVMValueRef function = LLVMGetNamedFunction(a->unit->module, name);
    if (!function)
        function = make_lanes_function(a, name, type);
    return LLVMBuildCall2(a->unit->builder, type, function, (LLVMValueRef[]){x, y}, 2, "");
}

LLVMValueRef llvm_alg_quotient(struct llvm_alg *a, LLVMValueRef x, LLVMValueRef y, bool plain) {
    if (llvm_is_vector(x) && width_of(x) == 64)
        return quotient_by_lanes(a, x, y);
    if (plain)
        return LLVMBuildSDiv(a->unit->builder, x, y, "");
    return llvm_is_vector(x) ? quotient_by_doubles(a, x, y) : guarded_quotient(a, x, y);
}
