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
    LLVMValueRef quad_lane, head, batch;
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

static LLVMValueRef wide_int(struct sm90_emit *e, LLVMValueRef value) {
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
    LLVMValueRef mine = LLVMBuildICmp(e->b, LLVMIntEQ, s->quad_lane, sm90_i32(e, 0), "");
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
    at = sm90_global(e, at, s->quad_lane, 4);
    if (left >= 8) {
        store_at(e, at, 16 * (int64_t)j, pair);
        return;
    }
    LLVMValueRef column = sm90_mul_const(e, s->quad_lane, 2);
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

// Four lanes hold a row's words [j][lane]; afterwards lane t has [t][0 .. 3], which are 16 bytes
// side by side. Written as they were, a warp's store would touch half a sector in each of 8 rows,
// and those stores took a tenth of a short item's time.
static void transpose_quad(struct store *s, LLVMValueRef *words) {
    struct sm90_emit *e = s->e;
    for (int step = 1; step <= 2; step++) {
        LLVMValueRef upper =
            LLVMBuildICmp(e->b, LLVMIntNE, LLVMBuildAnd(e->b, s->quad_lane, sm90_i32(e, step), ""),
                          sm90_i32(e, 0), "");
        for (int i = 0; i < 4; i++) {
            if (i & step)
                continue;
            LLVMValueRef low = words[i], high = words[i + step];
            LLVMValueRef theirs =
                sm90_from_lane(e, LLVMBuildSelect(e->b, upper, low, high, ""), step);
            words[i] = LLVMBuildSelect(e->b, upper, theirs, low, "");
            words[i + step] = LLVMBuildSelect(e->b, upper, high, theirs, "");
        }
    }
}

// Columns 32 j + 8 (lane % 4) and the next seven, for j below `count`.
static void store_words(struct store *s, LLVMValueRef at, int count, LLVMValueRef (*words)[4]) {
    struct sm90_emit *e = s->e;
    LLVMTypeRef i64 = e->unit->i64;
    at = sm90_global(e, at, s->quad_lane, 16);
    LLVMValueRef rest = LLVMBuildAnd(e->b, at, llvm_int(i64, 15), "");
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, LLVMBuildICmp(e->b, LLVMIntEQ, rest, llvm_int(i64, 0), ""),
                  "aligned");
    for (int j = 0; j < count; j++) {
        LLVMValueRef to = sm90_add_const(e, at, 64 * (int64_t)j);
        LLVMValueRef args[] = {to, words[j][0], words[j][1], words[j][2], words[j][3]};
        sm90_asm(e, NULL, "st.global.v4.b32 [$0], {$1, $2, $3, $4};", "l,r,r,r,r,~{memory}", args,
                 5);
    }
    llvm_if_else(&test);
    for (int i = 0; i < 4 * count; i++)
        store_at(e, at, 64 * (int64_t)(i / 4) + 4 * (i % 4), words[i / 4][i % 4]);
    llvm_if_end(&test);
}

static LLVMValueRef output_word(struct store *s, int row, int j, LLVMValueRef inverse,
                                const LLVMValueRef *output) {
    struct sm90_emit *e = s->e;
    const LLVMValueRef *pair = &output[4 * j + 2 * row];
    return sm90_pack_pair(e, LLVMBuildFMul(e->b, pair[0], inverse, ""),
                          LLVMBuildFMul(e->b, pair[1], inverse, ""));
}

static void store_row(struct store *s, int row, LLVMValueRef inverse, LLVMValueRef lse,
                      const LLVMValueRef *output) {
    struct sm90_emit *e = s->e;
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef words[SM90_MAX_OUTPUT / 4];
    int count = e->output_count / 4, wide = e->spec->dim / 32;
    for (int j = 0; j < count; j++)
        words[j] = output ? output_word(s, row, j, inverse, output) : sm90_i32(e, 0);
    for (int j = 0; j < wide && output; j++)
        transpose_quad(s, &words[4 * j]);
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, row_exists(s, row), "row");
    LLVMValueRef token = wide_int(e, sm90_token(e, s->rows.position[row]));
    LLVMValueRef at = LLVMBuildSub(e->b, token, SM90_ARG(e, query_offset, i64), "");
    store_lse(s, at, lse);
    const LLVMValueRef strides[] = {SM90_ARG(e, o_batch_stride, i64),
                                    SM90_ARG(e, o_head_stride, i64),
                                    SM90_ARG(e, o_token_stride, i64)};
    LLVMValueRef to = row_address(s, SM90_ARG(e, o, i64), at, strides, 2);
    if (wide)
        store_words(s, to, wide, (LLVMValueRef(*)[4])words);
    for (int j = 4 * wide; j < count; j++)
        store_pair(s, to, j, words[j]);
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
    LLVMValueRef thread = sm90_thread(e);
    s.quad_lane = LLVMBuildAnd(e->b, thread, sm90_i32(e, 3), "");
    s.rows = sm90_rows_place(e, item, thread);
    s.head = wide_int(e, sm90_head_field(e, item, offsetof(struct sm90_head, head)));
    s.batch = wide_int(e, sm90_head_field(e, item, offsetof(struct sm90_head, batch)));
    for (int row = 0; row < SM90_ROWS; row++)
        store_row(&s, row, inverse[row], lse[row], output);
}
