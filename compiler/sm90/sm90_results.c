// Rows of the results in device memory: which exist, and where they are.
#include "compiler/sm90/sm90_emit.h"

#include <stddef.h>

enum { GLOBAL_SPACE = 1 };

static LLVMValueRef wide_int(struct sm90_emit *e, LLVMValueRef value) {
    return LLVMBuildSExt(e->b, value, e->unit->i64, "");
}

void sm90_store(struct sm90_emit *e, LLVMValueRef at, int64_t offset, LLVMValueRef value) {
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->unit->context, GLOBAL_SPACE);
    LLVMValueRef to = LLVMBuildIntToPtr(e->b, sm90_add_const(e, at, offset), pointer, "");
    LLVMBuildStore(e->b, value, to);
}

struct sm90_results sm90_results_of(struct sm90_emit *e, const struct sm90_item *item) {
    LLVMValueRef head = sm90_head_field(e, item, offsetof(struct sm90_head, head));
    LLVMValueRef batch = sm90_head_field(e, item, offsetof(struct sm90_head, batch));
    return (struct sm90_results){*item, wide_int(e, head), wide_int(e, batch)};
}

LLVMValueRef sm90_row_exists(struct sm90_emit *e, const struct sm90_item *item,
                             const LLVMValueRef *offset) {
    LLVMValueRef exists = llvm_int(e->unit->i1, 1);
    for (int a = ABI_AXES - e->spec->axes; a < ABI_AXES; a++) {
        LLVMValueRef begin = sm90_box_field(e, item, offsetof(struct sm90_box, begin), a);
        LLVMValueRef end = sm90_box_field(e, item, offsetof(struct sm90_box, end), a);
        LLVMValueRef here =
            LLVMBuildICmp(e->b, LLVMIntSLT, offset[a], LLVMBuildSub(e->b, end, begin, ""), "");
        exists = LLVMBuildAnd(e->b, exists, here, "");
    }
    return exists;
}

LLVMValueRef sm90_row_query(struct sm90_emit *e, const LLVMValueRef *position) {
    LLVMValueRef token = wide_int(e, sm90_token(e, position));
    return LLVMBuildSub(e->b, token, SM90_ARG(e, query_offset, e->unit->i64), "");
}

// base + (batch * stride0 + head * stride1 + row * stride2) * bytes
static LLVMValueRef row_address(struct sm90_emit *e, const struct sm90_results *results,
                                LLVMValueRef base, LLVMValueRef row, const LLVMValueRef *strides,
                                int bytes) {
    LLVMValueRef at = LLVMBuildMul(e->b, results->batch, strides[0], "");
    at = LLVMBuildAdd(e->b, at, LLVMBuildMul(e->b, results->head, strides[1], ""), "");
    at = LLVMBuildAdd(e->b, at, LLVMBuildMul(e->b, row, strides[2], ""), "");
    return sm90_global(e, base, at, bytes);
}

LLVMValueRef sm90_output_row(struct sm90_emit *e, const struct sm90_results *results,
                             LLVMValueRef query) {
    LLVMTypeRef i64 = e->unit->i64;
    const LLVMValueRef strides[] = {SM90_ARG(e, o_batch_stride, i64),
                                    SM90_ARG(e, o_head_stride, i64),
                                    SM90_ARG(e, o_token_stride, i64)};
    return row_address(e, results, SM90_ARG(e, o, i64), query, strides, 2);
}

LLVMValueRef sm90_wants_lse(struct sm90_emit *e) {
    LLVMTypeRef i64 = e->unit->i64;
    return LLVMBuildICmp(e->b, LLVMIntNE, SM90_ARG(e, lse, i64), llvm_int(i64, 0), "");
}

void sm90_store_lse(struct sm90_emit *e, const struct sm90_results *results, LLVMValueRef query,
                    LLVMValueRef value) {
    LLVMTypeRef i64 = e->unit->i64;
    const LLVMValueRef strides[] = {SM90_ARG(e, lse_batch_stride, i64),
                                    SM90_ARG(e, lse_head_stride, i64),
                                    SM90_ARG(e, lse_token_stride, i64)};
    sm90_store(e, row_address(e, results, SM90_ARG(e, lse, i64), query, strides, 4), 0, value);
}
