// The writer: a warp of the producer warpgroup that brings staged items (sm90_output.c) to device
// memory. The copy engine takes the rows as the box that the queries came in, and leaves out what
// lies past the grid. Where it cannot reach the tensor (strides that are no multiple of 16 bytes,
// or negative), the warp copies word by word: slower, and only those who ask for it wait.
#include "compiler/sm90/sm90_emit.h"

#include <stddef.h>

enum { LANES = 32, ROW_BYTES = 128, CHUNK_COLUMNS = 64 };

struct writer {
    struct sm90_emit *e;
    LLVMValueRef lane, buffer;
    struct sm90_item item;
};

// ---- by the copy engine -------------------------------------------------------------------------

static void store_boxes(struct writer *w) {
    struct sm90_emit *e = w->e;
    LLVMValueRef at[ABI_AXES];
    sm90_query_origin(e, &w->item, at);
    LLVMValueRef head = sm90_head_field(e, &w->item, offsetof(struct sm90_head, query_at));
    LLVMValueRef set = sm90_shared_load(e, w->item.record, SM90_RECORD_SET);
    LLVMValueRef map = sm90_map(e, set, SM90_MAP_O);
    LLVMValueRef from = sm90_query_buffer(e, w->buffer);
    for (int chunk = 0; chunk < e->shape.chunks; chunk++)
        sm90_store_box(e, sm90_add_const(e, from, (int64_t)chunk * e->shape.query_rows * ROW_BYTES),
                       map, CHUNK_COLUMNS * chunk, at, head);
}

// ---- by hand ------------------------------------------------------------------------------------

// Where the staged word of columns 2 `word` and the next is.
static LLVMValueRef staged_word(struct writer *w, LLVMValueRef row, LLVMValueRef word) {
    struct sm90_emit *e = w->e;
    LLVMBuilderRef b = e->b;
    LLVMValueRef chunk = LLVMBuildLShr(b, word, sm90_i32(e, 5), "");
    LLVMValueRef block =
        LLVMBuildAnd(b, LLVMBuildLShr(b, word, sm90_i32(e, 2), ""), sm90_i32(e, 7), "");
    block = LLVMBuildXor(b, block, LLVMBuildAnd(b, row, sm90_i32(e, 7), ""), "");
    LLVMValueRef at = sm90_mul_const(e, chunk, INT64_C(128) * e->shape.query_rows);
    at = sm90_add(e, at, sm90_mul_const(e, row, ROW_BYTES));
    at = sm90_add(e, at, sm90_mul_const(e, block, 16));
    at = sm90_add(e, at, sm90_mul_const(e, LLVMBuildAnd(b, word, sm90_i32(e, 3), ""), 4));
    return sm90_add(e, sm90_query_buffer(e, w->buffer), at);
}

static void copy_word(struct writer *w, LLVMValueRef row, LLVMValueRef word, LLVMValueRef to) {
    struct sm90_emit *e = w->e;
    LLVMValueRef bits = sm90_shared_load(e, staged_word(w, row, word), 0);
    to = sm90_global(e, to, word, 4);
    sm90_store(e, to, 0, bits);
}

static void copy_row(struct writer *w, const struct sm90_results *results, LLVMValueRef row) {
    struct sm90_emit *e = w->e;
    LLVMValueRef offset[ABI_AXES], position[ABI_AXES];
    struct llvm_if test;
    struct llvm_loop words;
    sm90_row_position(e, &w->item, row, offset, position);
    llvm_if_begin(e->unit, &test, sm90_row_exists(e, &w->item, offset), "row");
    LLVMValueRef to = sm90_output_row(e, results, sm90_row_query(e, position));
    llvm_loop_begin(e->unit, &words, w->lane, sm90_i32(e, e->spec->dim / 2), sm90_i32(e, LANES),
                    "words");
    copy_word(w, row, words.index, to);
    llvm_loop_end(&words);
    llvm_if_end(&test);
}

static void copy_rows(struct writer *w) {
    struct sm90_emit *e = w->e;
    struct sm90_results results = sm90_results_of(e, &w->item);
    struct llvm_loop rows;
    llvm_loop_begin(e->unit, &rows, sm90_i32(e, 0), sm90_i32(e, e->shape.query_rows),
                    sm90_i32(e, 1), "rows");
    copy_row(w, &results, rows.index);
    llvm_loop_end(&rows);
}

// ---- log-sum-exp --------------------------------------------------------------------------------

static void write_lse(struct writer *w) {
    struct sm90_emit *e = w->e;
    LLVMValueRef offset[ABI_AXES], position[ABI_AXES];
    struct sm90_results results = sm90_results_of(e, &w->item);
    struct llvm_if test;
    struct llvm_loop rows;
    llvm_loop_begin(e->unit, &rows, w->lane, sm90_i32(e, e->shape.query_rows), sm90_i32(e, LANES),
                    "rows");
    sm90_row_position(e, &w->item, rows.index, offset, position);
    llvm_if_begin(e->unit, &test, sm90_row_exists(e, &w->item, offset), "row");
    LLVMValueRef at = sm90_add(e, sm90_lse_buffer(e, w->buffer), sm90_mul_const(e, rows.index, 4));
    sm90_store_lse(e, &results, sm90_row_query(e, position), sm90_shared_load(e, at, 0));
    llvm_if_end(&test);
    llvm_loop_end(&rows);
}

// ---- items --------------------------------------------------------------------------------------

static LLVMValueRef write_item(void *context, LLVMValueRef items, LLVMValueRef tiles) {
    struct writer *w = context;
    struct sm90_emit *e = w->e;
    struct llvm_if mapped, first, wanted;
    LLVMValueRef zero = sm90_i32(e, 0);
    int buffers = e->shape.query_buffers;
    w->buffer = sm90_stage(e, items, buffers);
    w->item.record = sm90_item_record(e, items);
    sm90_wait(e, sm90_barrier_at(e, SM90_OUTPUT_FULL, w->buffer), sm90_parity(e, items, buffers));
    LLVMValueRef flag = SM90_ARG(e, o_mapped, e->unit->i32);
    llvm_if_begin(e->unit, &mapped, LLVMBuildICmp(e->b, LLVMIntNE, flag, zero, ""), "mapped");
    llvm_if_begin(e->unit, &first, LLVMBuildICmp(e->b, LLVMIntEQ, w->lane, zero, ""), "boxes");
    store_boxes(w);
    llvm_if_end(&first);
    llvm_if_else(&mapped);
    copy_rows(w);
    llvm_if_end(&mapped);
    llvm_if_begin(e->unit, &wanted, sm90_wants_lse(e), "lse");
    write_lse(w);
    llvm_if_end(&wanted);
    sm90_await_stores(e);
    sm90_arrive(e, sm90_barrier_at(e, SM90_OUTPUT_READ, w->buffer));
    return tiles;
}

// The head and the box of an item's record come with its queries.
void sm90_writer(struct sm90_emit *e) {
    struct writer w = {.e = e};
    w.lane = LLVMBuildAnd(e->b, sm90_thread(e), sm90_i32(e, LANES - 1), "");
    sm90_each_item(e, SM90_QUERY_FULL, write_item, &w);
}
