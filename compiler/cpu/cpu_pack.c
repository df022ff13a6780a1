// Packed operands of the two products.
//
//            cells of floats                       cells of pairs (group 2)
//   Q^T      [d][64 queries]                       [d/2][64 queries] of (q[d], q[d+1])
//   K        [64 keys][d]                          [64 keys][d/2] of (k[d], k[d+1]): as in memory
//   V        [64 keys][d], blocked                 [32][d] of (v[key], v[key+1]), blocked
//   P        [64 keys][64 queries]                 [32][64 queries] of (p[key], p[key+1])
//
// K that is in memory as it would be packed stays there: each tile reads it once. V is read once
// per block of queries, so it is always packed.
//
// As floats, Q takes the factor scale * log2(e) while it is packed. Pairs hold Q exactly as given,
// and the factor goes on the logits.
#include "compiler/cpu/cpu_emit.h"

#include <stddef.h>

// scale in units of the base-2 softmax; with a score the logit stays in natural units until then.
static LLVMValueRef logit_scale(struct cpu_emit *e) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef scale = CPU_FIELD(e, scale, e->unit->f64);
    if (!e->spec->pattern->score) {
        LLVMValueRef log2_e = LLVMConstReal(e->unit->f64, 1.4426950408889634074);
        scale = LLVMBuildFMul(b, scale, log2_e, "");
    }
    scale = LLVMBuildFPTrunc(b, scale, e->unit->f32, "");
    return llvm_splat(e->unit, scale, e->lanes);
}

LLVMValueRef cpu_scale_after(struct cpu_emit *e) {
    return e->multiply->group == 1 ? NULL : logit_scale(e);
}

LLVMValueRef cpu_packed_key(struct cpu_emit *e, LLVMValueRef key) {
    int64_t cells = (e->dim + e->multiply->group - 1) / e->multiply->group;
    int64_t row_bytes = (cells + e->lanes - 1) / e->lanes * e->lanes * 4;
    LLVMValueRef skip = cpu_mul(e, key, cpu_const(e, row_bytes));
    return llvm_byte_offset(e->unit, cpu_at(e, e->at.keys), skip);
}

// `lanes` cells of a row, from element d.
static LLVMValueRef load_cells(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef row,
                               int d) {
    if (e->multiply->group == 1)
        return cpu_load_floats(e, t, row, d);
    LLVMValueRef raw = cpu_load_raw(e, t, row, d, 2 * e->lanes);
    return LLVMBuildBitCast(e->unit->builder, raw, e->cells, "");
}

// A block of `lanes` rows by `lanes` cells, from element d of the rows on, to Q^T at `to`.
static void pack_query_block(struct cpu_emit *e, const struct cpu_tensor *t,
                             const LLVMValueRef *row, int d, LLVMValueRef scale, LLVMValueRef to) {
    LLVMValueRef cells[64];
    for (int i = 0; i < e->lanes; i++) {
        cells[i] = load_cells(e, t, row[i], d);
        if (scale)
            cells[i] = LLVMBuildFMul(e->unit->builder, cells[i], scale, "");
    }
    cpu_transpose(e, cells);
    for (int i = 0; i < e->lanes; i++) {
        LLVMValueRef skip = cpu_const(e, i * CPU_QUERY_ROWS * 4);
        cpu_store(e, cells[i], llvm_byte_offset(e->unit, to, skip), (unsigned)e->lanes * 4);
    }
}

// `lanes` rows, their addresses in row[]: whole blocks in a loop, then what is left of dim.
static void pack_query_rows(struct cpu_emit *e, const struct cpu_tensor *t, const LLVMValueRef *row,
                            LLVMValueRef scale, LLVMValueRef to) {
    int width = e->lanes * e->multiply->group, whole = e->dim / width * width;
    int64_t cell_bytes = CPU_QUERY_ROWS * 4 / e->multiply->group; // of Q^T, per element of dim
    if (whole) {
        struct llvm_loop loop;
        llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, whole), cpu_const(e, width),
                        "dim");
        LLVMValueRef bytes = cpu_mul(e, loop.index, cpu_const(e, e->element_bytes)), at[64];
        if (t->dim_stride)
            bytes = cpu_mul(e, bytes, t->dim_stride);
        for (int i = 0; i < e->lanes; i++)
            at[i] = llvm_byte_offset(e->unit, row[i], bytes);
        LLVMValueRef skip = cpu_mul(e, loop.index, cpu_const(e, cell_bytes));
        pack_query_block(e, t, at, 0, scale, llvm_byte_offset(e->unit, to, skip));
        llvm_loop_end(&loop);
    }
    if (whole < e->dim)
        pack_query_block(e, t, row, whole, scale,
                         llvm_byte_offset(e->unit, to, cpu_const(e, whole * cell_bytes)));
}

LLVMValueRef cpu_emit_pack_queries(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "pack_queries");
    struct cpu_tensor t = cpu_queries(e);
    LLVMValueRef scale = e->multiply->group == 1 ? logit_scale(e) : NULL, row[64];
    LLVMValueRef end = cpu_get(e, e->at.item_rows, e->unit->i64);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), end, cpu_const(e, e->lanes), "rows");
    for (int i = 0; i < e->lanes; i++)
        row[i] = cpu_query_row(e, &t, cpu_add(e, loop.index, cpu_const(e, i)));
    pack_query_rows(e, &t, row, scale, cpu_cell(e, e->at.queries, e->cell, loop.index));
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

LLVMValueRef cpu_emit_pack_keys(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "pack_keys");
    struct cpu_tensor t = cpu_keys(e);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS), cpu_const(e, 1),
                    "keys");
    LLVMValueRef row = cpu_key_row(e, &t, loop.index);
    LLVMValueRef to = cpu_packed_key(e, loop.index);
    for (int d = 0, bytes = 0; d < e->dim; d += e->lanes * e->multiply->group) {
        cpu_store(e, load_cells(e, &t, row, d), llvm_byte_offset(e->unit, to, cpu_const(e, bytes)),
                  (unsigned)e->lanes * 4);
        bytes += e->lanes * 4;
    }
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

// One vector of V: of key, or (group 2) of key and the next, interleaved. bad[i] (NULL: not asked)
// makes the row of key + i zero.
static LLVMValueRef load_values(struct cpu_emit *e, const struct cpu_tensor *t,
                                const LLVMValueRef *row, const LLVMValueRef *bad, int d) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef part[2];
    for (int i = 0; i < e->multiply->group; i++) {
        part[i] = e->multiply->group == 1 ? cpu_load_floats(e, t, row[i], d)
                                          : cpu_load_raw(e, t, row[i], d, e->lanes);
        if (bad[i])
            part[i] = LLVMBuildSelect(b, bad[i], LLVMConstNull(LLVMTypeOf(part[i])), part[i], "");
    }
    if (e->multiply->group == 1)
        return part[0];
    LLVMValueRef pairs = cpu_interleave(e, part[0], part[1], e->lanes);
    return LLVMBuildBitCast(b, pairs, e->cells, "");
}

LLVMValueRef cpu_emit_pack_values(struct cpu_emit *e, bool check) {
    LLVMValueRef function = cpu_function_begin(e, check ? "pack_values_checked" : "pack_values");
    struct cpu_tensor t = cpu_values(e);
    int group = e->multiply->group;
    if (check)
        cpu_find_bad(e, &t);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS / group),
                    cpu_const(e, 1), "keys");
    LLVMValueRef row[2], bad[2] = {NULL, NULL};
    for (int i = 0; i < group; i++) {
        LLVMValueRef key = cpu_add(e, cpu_mul(e, loop.index, cpu_const(e, group)), cpu_const(e, i));
        row[i] = cpu_key_row(e, &t, key);
        if (check)
            bad[i] = cpu_is_bad(e, key);
    }
    for (int v = 0; v < e->dim_vectors; v++)
        cpu_store(e, load_values(e, &t, row, bad, v * e->lanes),
                  cpu_blocked(e, e->at.values, loop.index, CPU_KEY_ROWS / group, v),
                  (unsigned)e->lanes * 4);
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

// ---- weights ----------------------------------------------------------------------------------

static LLVMValueRef weight_index(struct cpu_emit *e, LLVMValueRef key, LLVMValueRef query) {
    if (e->multiply->group == 2)
        key = LLVMBuildLShr(e->unit->builder, key, cpu_const(e, 1), "");
    return cpu_add(e, cpu_mul(e, key, cpu_const(e, CPU_QUERY_ROWS)), query);
}

void cpu_store_weights(struct cpu_emit *e, LLVMValueRef key, LLVMValueRef vector,
                       const LLVMValueRef *weights) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef query = cpu_mul(e, vector, cpu_const(e, e->lanes)), cells = weights[0];
    if (e->multiply->group == 2) {
        LLVMTypeRef bfloat = LLVMBFloatTypeInContext(e->unit->context);
        LLVMTypeRef pairs = LLVMVectorType(bfloat, (unsigned)e->lanes * 2);
        LLVMValueRef both = cpu_interleave(e, weights[0], weights[1], e->lanes);
        cells = LLVMBuildBitCast(b, LLVMBuildFPTrunc(b, both, pairs, ""), e->cells, "");
    }
    cpu_store(e, cells, cpu_cell(e, e->at.weights, e->cell, weight_index(e, key, query)),
              (unsigned)e->lanes * 4);
}

LLVMValueRef cpu_load_weight(struct cpu_emit *e, LLVMValueRef key, LLVMValueRef query) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef at = cpu_cell(e, e->at.weights, e->cell, weight_index(e, key, query));
    LLVMValueRef cell = cpu_load(e, e->cell, at, 4);
    if (e->multiply->group == 1)
        return cell;
    LLVMValueRef odd = LLVMBuildTrunc(b, key, e->unit->i1, "");
    LLVMValueRef upper = LLVMBuildAnd(b, cell, llvm_int(e->unit->i32, (int32_t)0xffff0000), "");
    LLVMValueRef lower = LLVMBuildShl(b, cell, llvm_int(e->unit->i32, 16), "");
    LLVMValueRef bits = LLVMBuildSelect(b, odd, upper, lower, "");
    return LLVMBuildBitCast(b, bits, e->unit->f32, "");
}
