// The two products in AMX tiles: 16 rows of 64 bytes, TDPBF16PS multiplies two of them into 16 x 16
// floats. The operands are packed as for pairs (cpu_pack.c), which is what it wants of the second,
//
//   first   [16 rows][16 cells]            K as packed;   P after a transposition
//   second  [16 cells][16 columns]         Q^T;           V
//
// and every dimension is a multiple of 16 there: what a row lacks of its last cells is zero, in
// both operands. So one configuration serves, all tiles whole. It belongs to the thread and is
// loaded and given back by each call of the compiled function. Nothing that the kernel calls
// touches tiles.
#include "compiler/cpu/cpu_emit.h"

enum { TILE_ROWS = 16, TILE_BYTES = 64 };
// Tiles 0 .. 3 hold sums, 4 the operand that these share, 5 .. 7 take the others in turn.
enum { SUMS = 4, SHARED = 4, OTHERS = 5, OTHER_COUNT = 3 };
enum { WEIGHT_CHUNKS = CPU_KEY_ROWS / 2 / TILE_ROWS }; // tiles of P beside each other

static LLVMValueRef tile(struct cpu_emit *e, int number) {
    return llvm_int(e->unit->i8, number);
}

static void tile_zero(struct cpu_emit *e, int number) {
    LLVMValueRef args[] = {tile(e, number)};
    llvm_intrinsic(e->unit, "llvm.x86.tilezero", NULL, 0, args, 1);
}

static void tile_load(struct cpu_emit *e, int number, LLVMValueRef from, int64_t stride) {
    LLVMValueRef args[] = {tile(e, number), from, cpu_const(e, stride)};
    llvm_intrinsic(e->unit, "llvm.x86.tileloadd64", NULL, 0, args, 3);
}

static void tile_store(struct cpu_emit *e, int number, LLVMValueRef to, int64_t stride) {
    LLVMValueRef args[] = {tile(e, number), to, cpu_const(e, stride)};
    llvm_intrinsic(e->unit, "llvm.x86.tilestored64", NULL, 0, args, 3);
}

static void tile_multiply(struct cpu_emit *e, int sum, int first, int second) {
    LLVMValueRef args[] = {tile(e, sum), tile(e, first), tile(e, second)};
    llvm_intrinsic(e->unit, "llvm.x86.tdpbf16ps", NULL, 0, args, 3);
}

// ---- configuration ----------------------------------------------------------------------------

// As LDTILECFG reads it: palette 1; from byte 16, 16 bits per tile, its bytes in a row; from byte
// 48, 8 bits per tile, its rows.
static void configure(struct cpu_emit *e) {
    LLVMValueRef words[16];
    for (int i = 0; i < 16; i++)
        words[i] = llvm_int(e->unit->i32, i == 0               ? 1
                                          : i >= 4 && i < 8    ? TILE_BYTES << 16 | TILE_BYTES
                                          : i == 12 || i == 13 ? TILE_ROWS * 0x01010101
                                                               : 0);
    LLVMValueRef at = cpu_at(e, e->at.amx_config);
    cpu_store(e, LLVMConstVector(words, 16), at, 64);
    llvm_intrinsic(e->unit, "llvm.x86.ldtilecfg", NULL, 0, &at, 1);
}

static void release(struct cpu_emit *e) {
    llvm_intrinsic(e->unit, "llvm.x86.tilerelease", NULL, 0, NULL, 0);
}

// ---- logits -----------------------------------------------------------------------------------

// S *= scale for one vector of queries.
static void scale_logits(struct cpu_emit *e, LLVMValueRef logits, LLVMValueRef scale) {
    struct llvm_loop loop;
    const int step = 8;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS), cpu_const(e, step),
                    "scale");
    LLVMValueRef row = cpu_mul(e, loop.index, cpu_const(e, CPU_QUERY_ROWS * 4));
    for (int i = 0; i < step; i++) {
        LLVMValueRef skip = cpu_add(e, row, cpu_const(e, i * CPU_QUERY_ROWS * 4));
        LLVMValueRef at = llvm_byte_offset(e->unit, logits, skip);
        LLVMValueRef x = cpu_load(e, e->floats, at, 64);
        cpu_store(e, LLVMBuildFMul(e->unit->builder, x, scale, ""), at, 64);
    }
    llvm_loop_end(&loop);
}

// 64 keys x 16 queries at a time: four sums, which share Q^T.
static LLVMValueRef emit_logits(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "logits");
    int width = TILE_BYTES / 2, chunks = (e->dim + width - 1) / width;
    int64_t stride = CPU_QUERY_ROWS * 4, key_stride = chunks * TILE_BYTES;
    LLVMValueRef scale = cpu_scale_after(e);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_get(e, e->at.item_vectors, e->unit->i64),
                    cpu_const(e, 1), "queries");
    LLVMValueRef skip = cpu_mul(e, loop.index, cpu_const(e, TILE_BYTES));
    LLVMValueRef queries = llvm_byte_offset(e->unit, cpu_at(e, e->at.queries), skip);
    LLVMValueRef logits = llvm_byte_offset(e->unit, cpu_at(e, e->at.logits), skip);
    for (int i = 0; i < SUMS; i++)
        tile_zero(e, i);
    for (int c = 0; c < chunks; c++) {
        LLVMValueRef down = cpu_const(e, c * TILE_ROWS * stride);
        tile_load(e, SHARED, llvm_byte_offset(e->unit, queries, down), stride);
        for (int i = 0; i < SUMS; i++) {
            int other = OTHERS + i % OTHER_COUNT;
            LLVMValueRef keys = cpu_packed_key(e, cpu_const(e, i * TILE_ROWS));
            LLVMValueRef along = cpu_const(e, c * TILE_BYTES);
            tile_load(e, other, llvm_byte_offset(e->unit, keys, along), key_stride);
            tile_multiply(e, i, other, SHARED);
        }
    }
    for (int i = 0; i < SUMS; i++) {
        LLVMValueRef down = cpu_const(e, i * TILE_ROWS * stride);
        tile_store(e, i, llvm_byte_offset(e->unit, logits, down), stride);
    }
    scale_logits(e, logits, scale);
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

// ---- values -----------------------------------------------------------------------------------

// Tile `chunk` of P, queries down, of query vector `vector`.
static LLVMValueRef weight_tile(struct cpu_emit *e, LLVMValueRef vector, int chunk) {
    const int64_t bytes = TILE_ROWS * TILE_BYTES;
    LLVMValueRef skip = cpu_mul(e, vector, cpu_const(e, WEIGHT_CHUNKS * bytes));
    LLVMValueRef at = llvm_byte_offset(e->unit, cpu_at(e, e->at.amx_weights), skip);
    return llvm_byte_offset(e->unit, at, cpu_const(e, chunk * bytes));
}

static void transpose_weights(struct cpu_emit *e, LLVMValueRef vector) {
    LLVMValueRef query = cpu_mul(e, vector, cpu_const(e, TILE_ROWS)), cells[TILE_ROWS];
    for (int chunk = 0; chunk < WEIGHT_CHUNKS; chunk++) {
        for (int i = 0; i < TILE_ROWS; i++) {
            int64_t row = (chunk * TILE_ROWS + i) * CPU_QUERY_ROWS;
            LLVMValueRef index = cpu_add(e, query, cpu_const(e, row));
            cells[i] = cpu_load(e, e->cells, cpu_cell(e, e->at.weights, e->cell, index), 64);
        }
        cpu_transpose(e, cells);
        LLVMValueRef to = weight_tile(e, vector, chunk);
        for (int i = 0; i < TILE_ROWS; i++)
            cpu_store(e, cells[i], llvm_byte_offset(e->unit, to, cpu_const(e, i * TILE_BYTES)), 64);
    }
}

// O *= alpha for one vector of queries, unless alpha is 1 for all of them.
static void scale_output(struct cpu_emit *e, LLVMValueRef vector) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef query = cpu_mul(e, vector, cpu_const(e, TILE_ROWS));
    LLVMValueRef alphas = cpu_load(e, e->floats, cpu_cell(e, e->at.alpha, e->unit->f32, query), 64);
    LLVMValueRef one = llvm_splat(e->unit, LLVMConstReal(e->unit->f32, 1), e->lanes);
    LLVMValueRef differs = LLVMBuildFCmp(b, LLVMRealUNE, alphas, one, "");
    struct llvm_if any;
    llvm_if_begin(e->unit, &any, llvm_intrinsic1(e->unit, "llvm.vector.reduce.or", differs),
                  "rescale");
    struct llvm_loop rows;
    llvm_loop_begin(e->unit, &rows, query, cpu_add(e, query, cpu_const(e, TILE_ROWS)),
                    cpu_const(e, 1), "rows");
    LLVMValueRef alpha =
        cpu_load(e, e->unit->f32, cpu_cell(e, e->at.alpha, e->unit->f32, rows.index), 4);
    alpha = llvm_splat(e->unit, alpha, e->lanes);
    for (int v = 0; v < e->dim_vectors; v++) {
        LLVMValueRef at = cpu_blocked(e, e->at.output, rows.index, CPU_QUERY_ROWS, v);
        cpu_store(e, LLVMBuildFMul(b, cpu_load(e, e->floats, at, 64), alpha, ""), at, 64);
    }
    llvm_loop_end(&rows);
    llvm_if_end(&any);
}

// 16 queries x one block of dim: up to four sums, which share P.
static void values_block(struct cpu_emit *e, int number, LLVMValueRef vector) {
    struct cpu_block block = cpu_block(e, number);
    int64_t stride = block.count * TILE_BYTES;
    LLVMValueRef query = cpu_mul(e, vector, cpu_const(e, TILE_ROWS)), output[SUMS];
    for (int j = 0; j < block.count; j++) {
        output[j] = cpu_blocked(e, e->at.output, query, CPU_QUERY_ROWS, block.first + j);
        tile_load(e, j, output[j], stride);
    }
    for (int chunk = 0; chunk < WEIGHT_CHUNKS; chunk++) {
        tile_load(e, SHARED, weight_tile(e, vector, chunk), TILE_BYTES);
        LLVMValueRef row = cpu_const(e, chunk * TILE_ROWS);
        for (int j = 0; j < block.count; j++) {
            int other = OTHERS + j % OTHER_COUNT;
            tile_load(e, other,
                      cpu_blocked(e, e->at.values, row, CPU_KEY_ROWS / 2, block.first + j), stride);
            tile_multiply(e, j, SHARED, other);
        }
    }
    for (int j = 0; j < block.count; j++)
        tile_store(e, j, output[j], stride);
}

static LLVMValueRef emit_values(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "values");
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_get(e, e->at.item_vectors, e->unit->i64),
                    cpu_const(e, 1), "queries");
    transpose_weights(e, loop.index);
    scale_output(e, loop.index);
    for (int number = 0; number < cpu_block_count(e); number++)
        values_block(e, number, loop.index);
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

const struct cpu_multiply cpu_multiply_amx = {
    .name = "AMX tiles",
    .group = 2,
    .begin = configure,
    .end = release,
    .logits = emit_logits,
    .values = emit_values,
};
