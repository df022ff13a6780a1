// The end of an item: rows normalised, rounded and written, and their log-sum-exp. A row without
// keys is 0 and -inf.
#include "compiler/sm90/sm90_emit.h"

#include <math.h>
#include <stddef.h>

enum { GLOBAL_SPACE = 1 };

static const double LN2 = 0.69314718055994530942;

struct store {
    struct sm90_emit *e;
    const struct sm90_item *item;
    struct sm90_rows rows;
    LLVMValueRef thread, head, batch;
};

static LLVMValueRef real(struct sm90_emit *e, double value) {
    return LLVMConstReal(e->unit->f32, value);
}

static void store_at(struct sm90_emit *e, LLVMValueRef address, int64_t offset,
                     LLVMValueRef value) {
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->unit->context, GLOBAL_SPACE);
    LLVMValueRef to = LLVMBuildIntToPtr(e->b, sm90_add_const(e, address, offset), pointer, "");
    LLVMBuildStore(e->b, value, to);
}

static LLVMValueRef wide(struct sm90_emit *e, LLVMValueRef value) {
    return LLVMBuildSExt(e->b, value, e->unit->i64, "");
}

// base + (batch * stride0 + head * stride1 + row * stride2) * bytes
static LLVMValueRef row_address(struct store *s, LLVMValueRef base, LLVMValueRef row,
                                const LLVMValueRef *strides, int bytes) {
    struct sm90_emit *e = s->e;
    LLVMValueRef at = LLVMBuildMul(e->b, s->batch, strides[0], "");
    at = LLVMBuildAdd(e->b, at, LLVMBuildMul(e->b, s->head, strides[1], ""), "");
    at = LLVMBuildAdd(e->b, at, LLVMBuildMul(e->b, row, strides[2], ""), "");
    return sm90_global(e, base, at, bytes);
}

// Is the row one of the box, and not past its clipped end?
static LLVMValueRef row_exists(struct store *s, int row) {
    struct sm90_emit *e = s->e;
    LLVMValueRef exists = llvm_int(e->unit->i1, 1);
    for (int a = ABI_AXES - e->spec->axes; a < ABI_AXES; a++) {
        LLVMValueRef begin = sm90_box_field(e, s->item, offsetof(struct sm90_box, begin), a);
        LLVMValueRef end = sm90_box_field(e, s->item, offsetof(struct sm90_box, end), a);
        LLVMValueRef here = LLVMBuildICmp(e->b, LLVMIntSLT, s->rows.offset[row][a],
                                          LLVMBuildSub(e->b, end, begin, ""), "");
        exists = LLVMBuildAnd(e->b, exists, here, "");
    }
    return exists;
}

static void store_lse(struct store *s, LLVMValueRef row, LLVMValueRef value) {
    struct sm90_emit *e = s->e;
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef base = SM90_ARG(e, lse, i64);
    LLVMValueRef quad = LLVMBuildAnd(e->b, s->thread, sm90_i32(e, 3), "");
    LLVMValueRef mine = LLVMBuildICmp(e->b, LLVMIntEQ, quad, sm90_i32(e, 0), "");
    mine = LLVMBuildAnd(e->b, mine, LLVMBuildICmp(e->b, LLVMIntNE, base, llvm_int(i64, 0), ""), "");
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, mine, "lse");
    const LLVMValueRef strides[] = {SM90_ARG(e, lse_batch_stride, i64),
                                    SM90_ARG(e, lse_head_stride, i64),
                                    SM90_ARG(e, lse_token_stride, i64)};
    store_at(e, row_address(s, base, row, strides, 4), 0, value);
    llvm_if_end(&test);
}

// Columns 8 j + 2 (lane % 4) and the next, as one word; at the end of a head dim that is no
// multiple of 8 only what exists.
static void store_pair(struct store *s, LLVMValueRef at, int j, LLVMValueRef pair) {
    struct sm90_emit *e = s->e;
    int left = e->spec->dim - 8 * j;
    if (left >= 8) {
        store_at(e, at, 16 * (int64_t)j, pair);
        return;
    }
    LLVMValueRef column = sm90_mul_const(e, LLVMBuildAnd(e->b, s->thread, sm90_i32(e, 3), ""), 2);
    for (int i = 0; i < 2; i++) {
        LLVMValueRef bits = LLVMBuildLShr(e->b, pair, sm90_i32(e, 16 * i), "");
        struct llvm_if test;
        llvm_if_begin(
            e->unit, &test,
            LLVMBuildICmp(e->b, LLVMIntSLT, sm90_add_const(e, column, i), sm90_i32(e, left), ""),
            "column");
        store_at(e, at, 16 * (int64_t)j + 2 * i, LLVMBuildTrunc(e->b, bits, e->unit->i16, ""));
        llvm_if_end(&test);
    }
}

static void store_row(struct store *s, int row, LLVMValueRef inverse, LLVMValueRef lse,
                      const LLVMValueRef *output) {
    struct sm90_emit *e = s->e;
    LLVMTypeRef i64 = e->unit->i64;
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, row_exists(s, row), "row");
    LLVMValueRef token = wide(e, sm90_token(e, s->rows.position[row]));
    LLVMValueRef at = LLVMBuildSub(e->b, token, SM90_ARG(e, query_offset, i64), "");
    store_lse(s, at, lse);
    const LLVMValueRef strides[] = {SM90_ARG(e, o_batch_stride, i64),
                                    SM90_ARG(e, o_head_stride, i64),
                                    SM90_ARG(e, o_token_stride, i64)};
    LLVMValueRef to = row_address(s, SM90_ARG(e, o, i64), at, strides, 2);
    LLVMValueRef lane = LLVMBuildAnd(e->b, s->thread, sm90_i32(e, 3), "");
    to = sm90_global(e, to, lane, 4);
    for (int j = 0; j < e->output_count / 4; j++) {
        LLVMValueRef pair = sm90_i32(e, 0);
        if (output)
            pair = sm90_pack_pair(e, LLVMBuildFMul(e->b, output[4 * j + 2 * row], inverse, ""),
                                  LLVMBuildFMul(e->b, output[4 * j + 2 * row + 1], inverse, ""));
        store_pair(s, to, j, pair);
    }
    llvm_if_end(&test);
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

void sm90_store_item(struct sm90_emit *e, const struct sm90_item *item,
                     const struct sm90_softmax *softmax, const LLVMValueRef *output) {
    struct store s = {.e = e, .item = item};
    LLVMValueRef inverse[SM90_ROWS] = {NULL}, lse[SM90_ROWS];
    for (int row = 0; row < SM90_ROWS; row++) {
        lse[row] = real(e, -INFINITY);
        if (softmax)
            finish_row(e, softmax, row, &inverse[row], &lse[row]);
    }
    s.thread = sm90_thread(e);
    s.rows = sm90_rows_place(e, item, s.thread);
    s.head = wide(e, sm90_head_field(e, item, offsetof(struct sm90_head, head)));
    s.batch = wide(e, sm90_head_field(e, item, offsetof(struct sm90_head, batch)));
    for (int row = 0; row < SM90_ROWS; row++)
        store_row(&s, row, inverse[row], lse[row], output);
}
