#include "compiler/llvm/llvm_build.h"

#include <assert.h>
#include <string.h>

LLVMValueRef llvm_int(LLVMTypeRef type, int64_t value) {
    unsigned bits = LLVMGetIntTypeWidth(type);
    if (bits < 64) // sign-extended from the type's own width, as LLVM wants a signed constant
        value = (int64_t)((uint64_t)value << (64 - bits)) >> (64 - bits);
    return LLVMConstInt(type, (unsigned long long)value, true);
}

LLVMValueRef llvm_intrinsic(struct llvm_unit *unit, const char *name, const LLVMTypeRef *types,
                            int type_count, const LLVMValueRef *args, int arg_count) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    assert(id && "unknown intrinsic");
    LLVMTypeRef *overloads = (LLVMTypeRef *)types;
    size_t count = (size_t)type_count;
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(unit->module, id, overloads, count);
    LLVMTypeRef type = LLVMIntrinsicGetType(unit->context, id, overloads, count);
    return LLVMBuildCall2(unit->builder, type, function, (LLVMValueRef *)args, (unsigned)arg_count,
                          "");
}

LLVMValueRef llvm_intrinsic1(struct llvm_unit *unit, const char *name, LLVMValueRef a) {
    return llvm_intrinsic(unit, name, (LLVMTypeRef[]){LLVMTypeOf(a)}, 1, &a, 1);
}

LLVMValueRef llvm_intrinsic2(struct llvm_unit *unit, const char *name, LLVMValueRef a,
                             LLVMValueRef b) {
    return llvm_intrinsic(unit, name, (LLVMTypeRef[]){LLVMTypeOf(a)}, 1, (LLVMValueRef[]){a, b}, 2);
}

LLVMValueRef llvm_intrinsic3(struct llvm_unit *unit, const char *name, LLVMValueRef a,
                             LLVMValueRef b, LLVMValueRef c) {
    return llvm_intrinsic(unit, name, (LLVMTypeRef[]){LLVMTypeOf(a)}, 1, (LLVMValueRef[]){a, b, c},
                          3);
}

bool llvm_is_vector(LLVMValueRef value) {
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
}

LLVMTypeRef llvm_lanes_type(LLVMTypeRef type, int lanes) {
    return lanes == 1 ? type : LLVMVectorType(type, (unsigned)lanes);
}

LLVMValueRef llvm_splat(struct llvm_unit *unit, LLVMValueRef value, int lanes) {
    if (lanes == 1 || llvm_is_vector(value))
        return value;
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(value), (unsigned)lanes);
    LLVMTypeRef indices = LLVMVectorType(unit->i32, (unsigned)lanes);
    LLVMValueRef one = LLVMBuildInsertElement(unit->builder, LLVMGetPoison(type), value,
                                              llvm_int(unit->i32, 0), "");
    return LLVMBuildShuffleVector(unit->builder, one, LLVMGetPoison(type), LLVMConstNull(indices),
                                  "");
}

LLVMValueRef llvm_byte_offset(struct llvm_unit *unit, LLVMValueRef base, LLVMValueRef bytes) {
    return LLVMBuildGEP2(unit->builder, unit->i8, base, &bytes, 1, "");
}

LLVMValueRef llvm_load_field(struct llvm_unit *unit, LLVMValueRef base, size_t offset,
                             LLVMTypeRef type, const char *name) {
    LLVMValueRef at = llvm_byte_offset(unit, base, llvm_int(unit->i64, (int64_t)offset));
    return LLVMBuildLoad2(unit->builder, type, at, name);
}

LLVMValueRef llvm_element(struct llvm_unit *unit, LLVMTypeRef type, LLVMValueRef base,
                          LLVMValueRef index) {
    return LLVMBuildGEP2(unit->builder, type, base, &index, 1, "");
}

LLVMBasicBlockRef llvm_new_block(struct llvm_unit *unit, const char *name) {
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(unit->builder));
    return LLVMAppendBasicBlockInContext(unit->context, function, name);
}

// before -> head (phis, test) -> body ... -> head; head -> after
void llvm_loop_begin(struct llvm_unit *unit, struct llvm_loop *loop, LLVMValueRef begin,
                     LLVMValueRef end, LLVMValueRef step, const char *name) {
    memset(loop, 0, sizeof *loop);
    loop->unit = unit;
    loop->step = step;
    loop->before = LLVMGetInsertBlock(unit->builder);
    loop->head = llvm_new_block(unit, name);
    loop->body = llvm_new_block(unit, "");
    loop->after = llvm_new_block(unit, "");
    LLVMBuildBr(unit->builder, loop->head);

    LLVMPositionBuilderAtEnd(unit->builder, loop->head);
    loop->index = LLVMBuildPhi(unit->builder, LLVMTypeOf(begin), "i");
    LLVMAddIncoming(loop->index, &begin, &loop->before, 1);
    LLVMValueRef more = LLVMBuildICmp(unit->builder, LLVMIntSLT, loop->index, end, "");
    LLVMBuildCondBr(unit->builder, more, loop->body, loop->after);
    LLVMPositionBuilderAtEnd(unit->builder, loop->body);
}

LLVMValueRef llvm_loop_carry(struct llvm_loop *loop, LLVMValueRef initial) {
    assert(loop->carried_count < LLVM_LOOP_CARRIED);
    LLVMBuilderRef b = loop->unit->builder;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(b);
    LLVMPositionBuilderBefore(b, LLVMGetFirstInstruction(loop->head));
    LLVMValueRef phi = LLVMBuildPhi(b, LLVMTypeOf(initial), "");
    LLVMPositionBuilderAtEnd(b, here);
    LLVMAddIncoming(phi, &initial, &loop->before, 1);
    loop->next[loop->carried_count] = phi;
    loop->carried[loop->carried_count++] = phi;
    return phi;
}

void llvm_loop_next(struct llvm_loop *loop, int number, LLVMValueRef value) {
    loop->next[number] = value;
}

void llvm_loop_end(struct llvm_loop *loop) {
    LLVMBuilderRef b = loop->unit->builder;
    LLVMValueRef next = LLVMBuildNSWAdd(b, loop->index, loop->step, "");
    LLVMBasicBlockRef from = LLVMGetInsertBlock(b);
    LLVMAddIncoming(loop->index, &next, &from, 1);
    for (int i = 0; i < loop->carried_count; i++)
        LLVMAddIncoming(loop->carried[i], &loop->next[i], &from, 1);
    LLVMBuildBr(b, loop->head);
    LLVMPositionBuilderAtEnd(b, loop->after);
}

void llvm_if_begin(struct llvm_unit *unit, struct llvm_if *test, LLVMValueRef condition,
                   const char *name) {
    test->unit = unit;
    test->has_else = false;
    LLVMBasicBlockRef yes = llvm_new_block(unit, name);
    test->no = llvm_new_block(unit, "");
    test->after = llvm_new_block(unit, "");
    LLVMBuildCondBr(unit->builder, condition, yes, test->no);
    LLVMPositionBuilderAtEnd(unit->builder, yes);
}

void llvm_if_else(struct llvm_if *test) {
    test->has_else = true;
    LLVMBuildBr(test->unit->builder, test->after);
    LLVMPositionBuilderAtEnd(test->unit->builder, test->no);
}

void llvm_if_end(struct llvm_if *test) {
    LLVMBuildBr(test->unit->builder, test->after);
    if (!test->has_else) {
        LLVMPositionBuilderAtEnd(test->unit->builder, test->no);
        LLVMBuildBr(test->unit->builder, test->after);
    }
    LLVMPositionBuilderAtEnd(test->unit->builder, test->after);
}
