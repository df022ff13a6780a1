// Results straight from registers to device memory, where they cannot be staged (sm90_output.c).
#include "compiler/sm90/sm90_emit.h"

struct store {
    struct sm90_emit *e;
    struct sm90_results results;
    struct sm90_rows rows;
    LLVMValueRef quad_lane;
};

// Columns 8 j + 2 (lane % 4) and the next, as one word; at the end of a head dim that is no
// multiple of 8 only what exists.
static void store_pair(struct store *s, LLVMValueRef at, int j, LLVMValueRef pair) {
    struct sm90_emit *e = s->e;
    int left = e->spec->dim - 8 * j;
    at = sm90_global(e, at, s->quad_lane, 4);
    if (left >= 8) {
        sm90_store(e, at, 16 * (int64_t)j, pair);
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
        sm90_store(e, at, 16 * (int64_t)j + 2 * i, LLVMBuildTrunc(e->b, bits, e->unit->i16, ""));
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
        sm90_store(e, at, 64 * (int64_t)(i / 4) + 4 * (i % 4), words[i / 4][i % 4]);
    llvm_if_end(&test);
}

static void store_row(struct store *s, int row, LLVMValueRef lse, LLVMValueRef *words) {
    struct sm90_emit *e = s->e;
    int count = e->output_count / 4, wide = e->spec->dim / 32;
    for (int j = 0; j < wide; j++)
        transpose_quad(s, &words[4 * j]);
    struct llvm_if test, first;
    llvm_if_begin(e->unit, &test, sm90_row_exists(e, &s->results.item, s->rows.offset[row]), "row");
    LLVMValueRef query = sm90_row_query(e, s->rows.position[row]);
    LLVMValueRef mine = LLVMBuildICmp(e->b, LLVMIntEQ, s->quad_lane, sm90_i32(e, 0), "");
    llvm_if_begin(e->unit, &first, LLVMBuildAnd(e->b, mine, sm90_wants_lse(e), ""), "lse");
    sm90_store_lse(e, &s->results, query, lse);
    llvm_if_end(&first);
    LLVMValueRef to = sm90_output_row(e, &s->results, query);
    if (wide)
        store_words(s, to, wide, (LLVMValueRef(*)[4])words);
    for (int j = 4 * wide; j < count; j++)
        store_pair(s, to, j, words[j]);
    llvm_if_end(&test);
}

void sm90_store_rows(struct sm90_emit *e, const struct sm90_item *item, LLVMValueRef *lse,
                     LLVMValueRef words[SM90_ROWS][SM90_MAX_OUTPUT / 4]) {
    LLVMValueRef thread = sm90_thread(e);
    struct store s = {.e = e, .results = sm90_results_of(e, item)};
    s.quad_lane = LLVMBuildAnd(e->b, thread, sm90_i32(e, 3), "");
    s.rows = sm90_rows_place(e, item, thread);
    for (int row = 0; row < SM90_ROWS; row++)
        store_row(&s, row, lse[row], words[row]);
}
