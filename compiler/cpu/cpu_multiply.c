// The two products of a tile in vector registers, as register-blocked loops. In both, `deep` cells
// are summed over: a scalar cell of one operand is broadcast against vectors of the other,
//
//   logits:  S[key][query] += K[key][c] * Q^T[c][query]      rows = keys,    columns = queries
//   values:  O[query][d]   += P[c][query] * V[c][d]          rows = queries, columns = dim
//
//                 columns: nc vectors
//               +------+------+------+------+
//      rows: nr |  nr * nc accumulators     |    per step: nc vector loads, nr broadcasts,
//               +------+------+------+------+              nr * nc multiply-adds
//
// With 32 registers 4 x 4 leaves room and keeps both multipliers busy (16 independent sums, 8 loads
// to 16 multiply-adds); with 16 registers it is 4 x 2.
#include "compiler/cpu/cpu_emit.h"
#include "compiler/llvm/llvm_alg_math.h"

enum { DEPTH_CHUNK = 128, UNROLL = 2, MAX_ROWS = 8 };

static LLVMValueRef add_floats(struct cpu_emit *e, LLVMValueRef sum, LLVMValueRef cell,
                               LLVMValueRef cells) {
    return llvm_fma(e->unit, llvm_splat(e->unit, cell, e->lanes), cells, sum);
}

// VDPBF16PS: both products of a pair are added in float.
static LLVMValueRef add_pairs(struct cpu_emit *e, LLVMValueRef sum, LLVMValueRef cell,
                              LLVMValueRef cells) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMTypeRef bfloat = LLVMBFloatTypeInContext(e->unit->context);
    LLVMTypeRef pairs = LLVMVectorType(bfloat, (unsigned)e->lanes * 2);
    LLVMValueRef all = llvm_splat(e->unit, cell, e->lanes);
    LLVMValueRef args[] = {sum, LLVMBuildBitCast(b, all, pairs, ""),
                           LLVMBuildBitCast(b, cells, pairs, "")};
    return llvm_intrinsic(e->unit, "llvm.x86.avx512bf16.dpbf16ps.512", NULL, 0, args, 3);
}

// A register block: where its operands are, for depth step c.
struct block {
    int rows, columns;              // nr, nc
    LLVMValueRef scalars[MAX_ROWS]; // of each row, the cell at c = 0
    int64_t scalar_step_bytes;
    unsigned scalar_align;
    LLVMValueRef vectors; // vector (c = 0, column 0); columns are side by side
    int64_t vector_step_bytes;
};

static LLVMValueRef offset_by(struct cpu_emit *e, LLVMValueRef base, LLVMValueRef step,
                              int64_t step_bytes, int64_t bytes) {
    LLVMValueRef skip = cpu_mul(e, step, cpu_const(e, step_bytes));
    LLVMValueRef at = llvm_byte_offset(e->unit, base, skip);
    return llvm_byte_offset(e->unit, at, cpu_const(e, bytes));
}

static void multiply_step(struct cpu_emit *e, const struct block *block, LLVMValueRef c, int ahead,
                          LLVMValueRef *sums) {
    LLVMValueRef vector[8];
    for (int j = 0; j < block->columns; j++) {
        int64_t bytes = ahead * block->vector_step_bytes + j * e->lanes * 4;
        vector[j] =
            cpu_load(e, e->cells, offset_by(e, block->vectors, c, block->vector_step_bytes, bytes),
                     (unsigned)e->lanes * 4);
    }
    for (int i = 0; i < block->rows; i++) {
        int64_t step = block->scalar_step_bytes;
        LLVMValueRef at = offset_by(e, block->scalars[i], c, step, ahead * step);
        LLVMValueRef cell = cpu_load(e, e->cell, at, block->scalar_align);
        for (int j = 0; j < block->columns; j++) {
            LLVMValueRef *sum = &sums[i * block->columns + j];
            *sum = e->multiply->add(e, *sum, cell, vector[j]);
        }
    }
}

// sums += over c in [begin, end)
static void multiply_block(struct cpu_emit *e, const struct block *block, int begin, int end,
                           LLVMValueRef *sums) {
    int count = block->rows * block->columns, whole = begin + (end - begin) / UNROLL * UNROLL;
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, begin), cpu_const(e, whole), cpu_const(e, UNROLL),
                    "depth");
    for (int i = 0; i < count; i++)
        sums[i] = llvm_loop_carry(&loop, sums[i]);
    for (int ahead = 0; ahead < UNROLL; ahead++)
        multiply_step(e, block, loop.index, ahead, sums);
    for (int i = 0; i < count; i++)
        llvm_loop_next(&loop, i, sums[i]);
    llvm_loop_end(&loop);
    for (int i = 0; i < count; i++)
        sums[i] = loop.carried[i];
    for (int c = whole; c < end; c++)
        multiply_step(e, block, cpu_const(e, c), 0, sums);
}

// ---- logits -----------------------------------------------------------------------------------

static LLVMValueRef logit_at(struct cpu_emit *e, LLVMValueRef key, LLVMValueRef query, int i,
                             int j) {
    LLVMValueRef index = cpu_add(e, cpu_mul(e, key, cpu_const(e, CPU_QUERY_ROWS)), query);
    index = cpu_add(e, index, cpu_const(e, i * CPU_QUERY_ROWS + j * e->lanes));
    return cpu_cell(e, e->at.logits, e->unit->f32, index);
}

// One block of keys x queries over depth [begin, end).
static void logits_block(struct cpu_emit *e, int rows, int columns, LLVMValueRef key,
                         LLVMValueRef query, int begin, int end) {
    struct block block = {
        .rows = rows,
        .columns = columns,
        .scalar_step_bytes = 4,
        .scalar_align = e->keys_in_place ? (unsigned)e->element_bytes : 4,
        .vectors = cpu_cell(e, e->at.queries, e->cell, query),
        .vector_step_bytes = CPU_QUERY_ROWS * 4,
    };
    struct cpu_tensor tensor = cpu_keys(e);
    for (int i = 0; i < rows; i++) {
        LLVMValueRef row = cpu_add(e, key, cpu_const(e, i));
        block.scalars[i] = e->keys_in_place ? cpu_key_row(e, &tensor, row) : cpu_packed_key(e, row);
    }
    int depth = (e->dim + e->multiply->group - 1) / e->multiply->group;
    LLVMValueRef sums[64], scale = end == depth ? cpu_scale_after(e) : NULL;
    unsigned align = (unsigned)e->lanes * 4;
    for (int i = 0; i < rows * columns; i++)
        sums[i] = begin == 0 ? LLVMConstNull(e->floats)
                             : cpu_load(e, e->floats,
                                        logit_at(e, key, query, i / columns, i % columns), align);
    multiply_block(e, &block, begin, end, sums);
    for (int i = 0; i < rows * columns; i++) {
        if (scale)
            sums[i] = LLVMBuildFMul(e->unit->builder, sums[i], scale, "");
        cpu_store(e, sums[i], logit_at(e, key, query, i / columns, i % columns), align);
    }
}

// All keys against the vectors [0, end) of queries, `columns` at a time. Deep products go in
// chunks, so that the chunk of Q^T stays in the first-level cache while keys pass.
static void logits_loops(struct cpu_emit *e, int rows, int columns, LLVMValueRef end) {
    int depth = (e->dim + e->multiply->group - 1) / e->multiply->group;
    for (int begin = 0; begin < depth; begin += DEPTH_CHUNK) {
        int stop = begin + DEPTH_CHUNK < depth ? begin + DEPTH_CHUNK : depth;
        struct llvm_loop queries, keys;
        llvm_loop_begin(e->unit, &queries, cpu_const(e, 0), end, cpu_const(e, columns), "queries");
        LLVMValueRef query = cpu_mul(e, queries.index, cpu_const(e, e->lanes));
        llvm_loop_begin(e->unit, &keys, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS),
                        cpu_const(e, rows), "keys");
        logits_block(e, rows, columns, keys.index, query, begin, stop);
        llvm_loop_end(&keys);
        llvm_loop_end(&queries);
    }
}

static LLVMValueRef emit_logits(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "logits");
    LLVMValueRef vectors = cpu_get(e, e->at.item_vectors, e->unit->i64);
    LLVMValueRef all = cpu_const(e, e->query_vectors);
    int columns = e->block_vectors;
    struct llvm_if full;
    llvm_if_begin(e->unit, &full, LLVMBuildICmp(e->unit->builder, LLVMIntEQ, vectors, all, ""),
                  "all_rows");
    logits_loops(e, 4, columns, all);
    llvm_if_else(&full);
    logits_loops(e, 8, 1, vectors);
    llvm_if_end(&full);
    cpu_function_end(e);
    return function;
}

// ---- values -----------------------------------------------------------------------------------

// O[query ..][block] = O * alpha + P^T V
static void values_block(struct cpu_emit *e, int rows, int number, LLVMValueRef query) {
    struct cpu_block where = cpu_block(e, number);
    int deep = CPU_KEY_ROWS / e->multiply->group, columns = where.count;
    LLVMValueRef zero = cpu_const(e, 0);
    struct block block = {
        .rows = rows,
        .columns = columns,
        .scalar_step_bytes = CPU_QUERY_ROWS * 4,
        .scalar_align = 4,
        .vectors = cpu_blocked(e, e->at.values, zero, deep, where.first),
        .vector_step_bytes = columns * e->lanes * 4,
    };
    LLVMValueRef sums[64];
    unsigned align = (unsigned)e->lanes * 4;
    for (int i = 0; i < rows; i++) {
        LLVMValueRef row = cpu_add(e, query, cpu_const(e, i));
        block.scalars[i] = cpu_cell(e, e->at.weights, e->cell, row);
        LLVMValueRef alpha =
            cpu_load(e, e->unit->f32, cpu_cell(e, e->at.alpha, e->unit->f32, row), 4);
        alpha = llvm_splat(e->unit, alpha, e->lanes);
        for (int j = 0; j < columns; j++) {
            LLVMValueRef at = cpu_blocked(e, e->at.output, row, CPU_QUERY_ROWS, where.first + j);
            sums[i * columns + j] =
                LLVMBuildFMul(e->unit->builder, cpu_load(e, e->floats, at, align), alpha, "");
        }
    }
    multiply_block(e, &block, 0, deep, sums);
    for (int i = 0; i < rows * columns; i++) {
        LLVMValueRef row = cpu_add(e, query, cpu_const(e, i / columns));
        cpu_store(e, sums[i],
                  cpu_blocked(e, e->at.output, row, CPU_QUERY_ROWS, where.first + i % columns),
                  align);
    }
}

static LLVMValueRef emit_values(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "values");
    LLVMValueRef end = cpu_get(e, e->at.item_rows, e->unit->i64);
    for (int number = 0; number < cpu_block_count(e); number++) {
        int rows = cpu_block(e, number).count * 8 <= 4 * e->block_vectors ? 8 : 4;
        struct llvm_loop queries;
        llvm_loop_begin(e->unit, &queries, cpu_const(e, 0), end, cpu_const(e, rows), "queries");
        values_block(e, rows, number, queries.index);
        llvm_loop_end(&queries);
    }
    cpu_function_end(e);
    return function;
}

// ---- instruction sets ---------------------------------------------------------------------------

const struct cpu_multiply cpu_multiply_float = {
    .name = "float",
    .group = 1,
    .reads_keys_apart = true,
    .logits = emit_logits,
    .values = emit_values,
    .add = add_floats,
};

const struct cpu_multiply cpu_multiply_dot = {
    .name = "bf16 pairs",
    .group = 2,
    .reads_keys_apart = true,
    .logits = emit_logits,
    .values = emit_values,
    .add = add_pairs,
};
