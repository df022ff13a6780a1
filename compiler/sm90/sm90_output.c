// The end of an item on the consumers' side: rows normalised and rounded, and their log-sum-exp. A
// row without keys is 0 and -inf.
//
// With two query buffers the item's own is free by now: its rows are staged there, as the copy
// engine's swizzle wants them, and the writer (sm90_writer.c) does the rest while the consumers go
// on. Wider heads have one buffer, which the next item has taken over: they store from registers
// (sm90_store.c), as do head dims whose rows are no whole number of the engine's units.
#include "compiler/sm90/sm90_emit.h"

#include <math.h>
#include <stddef.h>

enum { ROW_BYTES = 128 }; // of a chunk of 64 columns

static const double LN2 = 0.69314718055994530942;

static LLVMValueRef real(struct sm90_emit *e, double value) {
    return LLVMConstReal(e->unit->f32, value);
}

static LLVMValueRef approximate(struct sm90_emit *e, const char *text, LLVMValueRef x) {
    return sm90_pure(e, e->unit->f32, text, "=f,f", &x, 1);
}

// 1 / sum, and ln(sum) + maximum with the same rounded product as in the probabilities.
static void finish_row(struct sm90_emit *e, const struct sm90_softmax *softmax, int row,
                       LLVMValueRef *out_inverse, LLVMValueRef *out_lse) {
    LLVMBuilderRef b = e->b;
    LLVMValueRef sum = sm90_row_total(e, softmax->sum[row]);
    LLVMValueRef empty = LLVMBuildFCmp(b, LLVMRealOEQ, sum, real(e, 0.0), "");
    LLVMValueRef inverse = approximate(e, "rcp.approx.ftz.f32 $0, $1;", sum);
    *out_inverse = LLVMBuildSelect(b, empty, real(e, 0.0), inverse, "");
    LLVMValueRef most = softmax->maximum[row];
    if (!e->spec->scale_first)
        most = LLVMBuildFMul(b, most, SM90_ARG(e, scale_log2, e->unit->f32), "");
    LLVMValueRef log2 = approximate(e, "lg2.approx.ftz.f32 $0, $1;", sum);
    LLVMValueRef lse = LLVMBuildFMul(b, LLVMBuildFAdd(b, most, log2, ""), real(e, LN2), "");
    *out_lse = LLVMBuildSelect(b, empty, real(e, -INFINITY), lse, "");
}

// Columns 8 j + 2 (lane % 4) and the next, of one of the thread's rows; zeros for an empty item.
static void output_words(struct sm90_emit *e, int row, LLVMValueRef inverse,
                         const LLVMValueRef *output, LLVMValueRef *out) {
    for (int j = 0; j < e->output_count / 4; j++) {
        const LLVMValueRef *pair = output ? &output[4 * j + 2 * row] : NULL;
        out[j] = pair ? sm90_pack_pair(e, LLVMBuildFMul(e->b, pair[0], inverse, ""),
                                       LLVMBuildFMul(e->b, pair[1], inverse, ""))
                      : sm90_i32(e, 0);
    }
}

// ---- staging ------------------------------------------------------------------------------------

// Two matrices of 8 rows a column block, two blocks at a time. Lane l names row l % 16 of the
// warp's and block l / 16 of the two; the swizzle exclusive-ors a block's number with its row's.
static void stage_output(struct sm90_emit *e, LLVMValueRef buffer,
                         LLVMValueRef words[SM90_ROWS][SM90_MAX_OUTPUT / 4]) {
    LLVMValueRef thread = sm90_thread(e), seven = sm90_i32(e, 7);
    LLVMValueRef warp = LLVMBuildLShr(e->b, sm90_add_const(e, thread, -128), sm90_i32(e, 5), "");
    LLVMValueRef row = LLVMBuildAnd(e->b, thread, sm90_i32(e, 15), "");
    LLVMValueRef second =
        LLVMBuildAnd(e->b, LLVMBuildLShr(e->b, thread, sm90_i32(e, 4), ""), sm90_i32(e, 1), "");
    LLVMValueRef block = LLVMBuildXor(e->b, LLVMBuildAnd(e->b, row, seven, ""), second, "");
    LLVMValueRef at =
        sm90_add(e, sm90_query_buffer(e, buffer), sm90_mul_const(e, warp, INT64_C(16) * ROW_BYTES));
    at = sm90_add(e, at, sm90_mul_const(e, row, ROW_BYTES));
    int count = e->output_count / 4;
    for (int j = 0; j < count; j += 2) {
        LLVMValueRef here = LLVMBuildXor(e->b, block, sm90_i32(e, j % 8), "");
        LLVMValueRef to = sm90_add(e, at, sm90_mul_const(e, here, 16));
        bool two = j + 1 < count;
        LLVMValueRef four[] = {words[0][j], words[1][j], two ? words[0][j + 1] : NULL,
                               two ? words[1][j + 1] : NULL};
        int64_t chunk = (int64_t)(j / 8) * e->shape.query_rows * ROW_BYTES;
        sm90_shared_store_matrices(e, sm90_add_const(e, to, chunk), four, two ? 4 : 2);
    }
}

static void stage_lse(struct sm90_emit *e, LLVMValueRef buffer, LLVMValueRef *lse) {
    LLVMValueRef thread = sm90_thread(e);
    LLVMValueRef lane = LLVMBuildAnd(e->b, thread, sm90_i32(e, 3), "");
    LLVMValueRef at =
        sm90_add(e, sm90_lse_buffer(e, buffer), sm90_mul_const(e, sm90_first_row(e, thread), 4));
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, LLVMBuildICmp(e->b, LLVMIntEQ, lane, sm90_i32(e, 0), ""), "lse");
    for (int row = 0; row < SM90_ROWS; row++)
        sm90_shared_store(e, sm90_add_const(e, at, INT64_C(32) * row), lse[row]);
    llvm_if_end(&test);
}

LLVMValueRef sm90_query_buffer(struct sm90_emit *e, LLVMValueRef buffer) {
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, buffer, e->shape.query_bytes));
    return sm90_add_const(e, at, e->shape.query_at);
}

LLVMValueRef sm90_lse_buffer(struct sm90_emit *e, LLVMValueRef buffer) {
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, buffer, 4 * e->shape.query_rows));
    return sm90_add_const(e, at, e->shape.lse_at);
}

// ---- the end ------------------------------------------------------------------------------------

void sm90_finish_item(struct sm90_emit *e, LLVMValueRef items, const struct sm90_softmax *softmax,
                      const LLVMValueRef *output) {
    LLVMValueRef lse[SM90_ROWS], words[SM90_ROWS][SM90_MAX_OUTPUT / 4];
    LLVMValueRef buffer = sm90_stage(e, items, e->shape.query_buffers);
    for (int row = 0; row < SM90_ROWS; row++) {
        LLVMValueRef inverse = NULL;
        lse[row] = real(e, -INFINITY);
        if (softmax)
            finish_row(e, softmax, row, &inverse, &lse[row]);
        output_words(e, row, inverse, output, words[row]);
    }
    if (!e->shape.staged) {
        struct sm90_item item = {sm90_item_record(e, items)};
        sm90_store_rows(e, &item, lse, words);
        return;
    }
    stage_output(e, buffer, words);
    stage_lse(e, buffer, lse);
    sm90_fence_copies(e);
    sm90_arrive(e, sm90_barrier_at(e, SM90_OUTPUT_FULL, buffer));
}
