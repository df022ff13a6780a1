// The online softmax, base 2, and the item's end. Per query, over the tiles seen so far:
//
//   maximum = max s        sum = sum of 2^(s - maximum)        O = sum of 2^(s - maximum) V
//
// A tile with a larger maximum scales what came before by alpha = 2^(old - new), which is exactly 1
// when nothing changed: over many tiles any other error would add up. While a query has
// kept nothing, its maximum is -inf; then 0 stands in for it, so that no -inf - -inf arises and
// every weight is exactly 0.
#include "compiler/cpu/cpu_emit.h"
#include "compiler/llvm/llvm_alg.h"
#include "compiler/llvm/llvm_alg_math.h"

#include <math.h>

static LLVMValueRef floats_of(struct cpu_emit *e, double value) {
    return llvm_splat(e->unit, LLVMConstReal(e->unit->f32, value), e->lanes);
}

static LLVMValueRef larger(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef builder = e->unit->builder;
    return LLVMBuildSelect(builder, LLVMBuildFCmp(builder, LLVMRealOGT, a, b, ""), a, b, "");
}

// Outputs of halves need less, but lse is a float for them too.
static int exp2_degree(struct cpu_emit *e) {
    return e->spec->dtype == HEDDLE_F32 ? 5 : 4;
}

LLVMValueRef cpu_emit_begin_softmax(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "begin_softmax");
    LLVMValueRef zero = cpu_const(e, 0);
    unsigned align = (unsigned)e->lanes * 4;
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, zero, cpu_const(e, CPU_QUERY_ROWS), cpu_const(e, e->lanes), "");
    cpu_store(e, floats_of(e, -INFINITY), cpu_cell(e, e->at.maximum, e->unit->f32, loop.index),
              align);
    cpu_store(e, floats_of(e, 0), cpu_cell(e, e->at.sum, e->unit->f32, loop.index), align);
    llvm_loop_end(&loop);
    LLVMValueRef end = cpu_const(e, CPU_QUERY_ROWS * (int64_t)e->dim_padded);
    llvm_loop_begin(e->unit, &loop, zero, end, cpu_const(e, e->lanes * 4), "");
    for (int i = 0; i < 4; i++) {
        LLVMValueRef index = cpu_add(e, loop.index, cpu_const(e, i * e->lanes));
        cpu_store(e, floats_of(e, 0), cpu_cell(e, e->at.output, e->unit->f32, index), align);
    }
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

static LLVMValueRef logit(struct cpu_emit *e, LLVMValueRef key, LLVMValueRef query, int ahead) {
    LLVMValueRef index = cpu_add(e, cpu_mul(e, key, cpu_const(e, CPU_QUERY_ROWS)), query);
    index = cpu_add(e, index, cpu_const(e, ahead * CPU_QUERY_ROWS));
    return cpu_load(e, e->floats, cpu_cell(e, e->at.logits, e->unit->f32, index),
                    (unsigned)e->lanes * 4);
}

enum { CHAINS = 4 }; // independent maxima and sums, to hide latency

static LLVMValueRef column_maximum(struct cpu_emit *e, LLVMValueRef query, LLVMValueRef initial) {
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS),
                    cpu_const(e, CHAINS), "maximum");
    LLVMValueRef chain[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        chain[i] = llvm_loop_carry(&loop, initial);
    for (int i = 0; i < CHAINS; i++)
        llvm_loop_next(&loop, i, larger(e, logit(e, loop.index, query, i), chain[i]));
    llvm_loop_end(&loop);
    return larger(e, larger(e, loop.carried[0], loop.carried[1]),
                  larger(e, loop.carried[2], loop.carried[3]));
}

// P = 2^(S - maximum); returns the sum over keys.
static LLVMValueRef column_weights(struct cpu_emit *e, LLVMValueRef vector, LLVMValueRef query,
                                   LLVMValueRef maximum) {
    LLVMBuilderRef b = e->unit->builder;
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS),
                    cpu_const(e, CHAINS), "weights");
    LLVMValueRef weights[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        llvm_loop_carry(&loop, floats_of(e, 0));
    for (int i = 0; i < CHAINS; i++) {
        LLVMValueRef x = LLVMBuildFSub(b, logit(e, loop.index, query, i), maximum, "");
        weights[i] = llvm_fast_exp2(e->unit, x, exp2_degree(e));
        llvm_loop_next(&loop, i, LLVMBuildFAdd(b, loop.carried[i], weights[i], ""));
    }
    for (int i = 0; i < CHAINS; i += e->multiply->group)
        cpu_store_weights(e, cpu_add(e, loop.index, cpu_const(e, i)), vector, &weights[i]);
    llvm_loop_end(&loop);
    return LLVMBuildFAdd(b, LLVMBuildFAdd(b, loop.carried[0], loop.carried[1], ""),
                         LLVMBuildFAdd(b, loop.carried[2], loop.carried[3], ""), "");
}

LLVMValueRef cpu_emit_softmax(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "softmax");
    LLVMBuilderRef b = e->unit->builder;
    unsigned align = (unsigned)e->lanes * 4;
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_get(e, e->at.item_vectors, e->unit->i64),
                    cpu_const(e, 1), "queries");
    LLVMValueRef query = cpu_mul(e, loop.index, cpu_const(e, e->lanes));
    LLVMValueRef maximum_at = cpu_cell(e, e->at.maximum, e->unit->f32, query);
    LLVMValueRef sum_at = cpu_cell(e, e->at.sum, e->unit->f32, query);
    LLVMValueRef old = cpu_load(e, e->floats, maximum_at, align);
    LLVMValueRef maximum = column_maximum(e, query, old);
    LLVMValueRef nothing = floats_of(e, -INFINITY);
    LLVMValueRef empty = LLVMBuildFCmp(b, LLVMRealOEQ, maximum, nothing, "");
    LLVMValueRef base = LLVMBuildSelect(b, empty, floats_of(e, 0), maximum, "");
    LLVMValueRef alpha = llvm_fast_exp2(e->unit, LLVMBuildFSub(b, old, base, ""), 6);
    LLVMValueRef sum = column_weights(e, loop.index, query, base);
    sum = llvm_fma(e->unit, cpu_load(e, e->floats, sum_at, align), alpha, sum);
    cpu_store(e, maximum, maximum_at, align);
    cpu_store(e, sum, sum_at, align);
    cpu_store(e, alpha, cpu_cell(e, e->at.alpha, e->unit->f32, query), align);
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

// ---- rows of V that are not finite --------------------------------------------------------------
//
// 0 * NaN is NaN, so such rows were packed as zeros. Here they are added for the queries that keep
// them, and for no others.

static LLVMValueRef is_kept(struct cpu_emit *e, LLVMValueRef key, LLVMValueRef query) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMTypeRef bits = e->lanes == 16 ? e->unit->i16 : e->unit->i8;
    LLVMValueRef vector = LLVMBuildUDiv(b, query, cpu_const(e, e->lanes), "");
    LLVMValueRef lane = LLVMBuildURem(b, query, cpu_const(e, e->lanes), "");
    LLVMValueRef index = cpu_add(e, cpu_mul(e, key, cpu_const(e, e->query_vectors)), vector);
    LLVMValueRef word =
        cpu_load(e, bits, cpu_cell(e, e->at.kept, bits, index), e->lanes == 16 ? 2 : 1);
    LLVMValueRef shifted = LLVMBuildLShr(b, LLVMBuildZExt(b, word, e->unit->i64, ""), lane, "");
    return LLVMBuildTrunc(b, shifted, e->unit->i1, "");
}

static void add_row(struct cpu_emit *e, const struct cpu_tensor *values, LLVMValueRef row,
                    LLVMValueRef key, LLVMValueRef query) {
    unsigned align = (unsigned)e->lanes * 4;
    LLVMValueRef weight = llvm_splat(e->unit, cpu_load_weight(e, key, query), e->lanes);
    for (int v = 0; v < e->dim_vectors; v++) {
        LLVMValueRef at = cpu_blocked(e, e->at.output, query, CPU_QUERY_ROWS, v);
        LLVMValueRef value = cpu_load_floats(e, values, row, v * e->lanes);
        LLVMValueRef sum = llvm_fma(e->unit, weight, value, cpu_load(e, e->floats, at, align));
        cpu_store(e, sum, at, align);
    }
}

LLVMValueRef cpu_emit_add_bad(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "add_bad");
    struct cpu_tensor values = cpu_values(e);
    LLVMValueRef zero = cpu_const(e, 0), one = cpu_const(e, 1);
    struct llvm_loop keys, queries;
    llvm_loop_begin(e->unit, &keys, zero, cpu_get(e, e->at.bad_count, e->unit->i64), one, "keys");
    LLVMValueRef key =
        cpu_load(e, e->unit->i64, cpu_cell(e, e->at.bad_keys, e->unit->i64, keys.index), 8);
    LLVMValueRef row = cpu_key_row(e, &values, key);
    llvm_loop_begin(e->unit, &queries, zero, cpu_get(e, e->at.item_rows, e->unit->i64), one, "");
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, is_kept(e, key, queries.index), "kept");
    add_row(e, &values, row, key, queries.index);
    llvm_if_end(&test);
    llvm_loop_end(&queries);
    llvm_loop_end(&keys);
    cpu_function_end(e);
    return function;
}

// ---- the end of an item -------------------------------------------------------------------------

// ln of the sum of e^s, into alpha's place: (maximum + log2(sum)) * ln 2; -inf where sum is 0.
static void column_lse(struct cpu_emit *e) {
    LLVMBuilderRef b = e->unit->builder;
    unsigned align = (unsigned)e->lanes * 4;
    struct llvm_alg alg;
    llvm_alg_init(&alg, e->unit, e->lanes, 32, 32, false);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_get(e, e->at.item_vectors, e->unit->i64),
                    cpu_const(e, 1), "lse");
    LLVMValueRef query = cpu_mul(e, loop.index, cpu_const(e, e->lanes));
    LLVMValueRef maximum =
        cpu_load(e, e->floats, cpu_cell(e, e->at.maximum, e->unit->f32, query), align);
    LLVMValueRef sum = cpu_load(e, e->floats, cpu_cell(e, e->at.sum, e->unit->f32, query), align);
    LLVMValueRef log = alg_math(&alg.alg, ALG_LOG2, (aval){.v = sum}).v;
    LLVMValueRef lse = LLVMBuildFMul(b, LLVMBuildFAdd(b, maximum, log, ""),
                                     floats_of(e, 0.69314718055994530942), "");
    LLVMValueRef empty = LLVMBuildFCmp(b, LLVMRealOEQ, sum, floats_of(e, 0), "");
    lse = LLVMBuildSelect(b, empty, floats_of(e, -INFINITY), lse, "");
    cpu_store(e, lse, cpu_cell(e, e->at.alpha, e->unit->f32, query), align);
    llvm_loop_end(&loop);
}

static void store_row(struct cpu_emit *e, const struct cpu_tensor *output, LLVMValueRef query) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef sum = cpu_load(e, e->unit->f32, cpu_cell(e, e->at.sum, e->unit->f32, query), 4);
    LLVMValueRef empty = LLVMBuildFCmp(b, LLVMRealOEQ, sum, LLVMConstReal(e->unit->f32, 0), "");
    LLVMValueRef inverse = LLVMBuildFDiv(b, LLVMConstReal(e->unit->f32, 1), sum, "");
    LLVMValueRef factor = llvm_splat(e->unit, inverse, e->lanes);
    LLVMValueRef row = cpu_query_row(e, output, query);
    for (int v = 0; v < e->dim_vectors; v++) {
        LLVMValueRef at = cpu_blocked(e, e->at.output, query, CPU_QUERY_ROWS, v);
        LLVMValueRef x =
            LLVMBuildFMul(b, cpu_load(e, e->floats, at, (unsigned)e->lanes * 4), factor, "");
        x = LLVMBuildSelect(b, empty, LLVMConstNull(e->floats), x, "");
        cpu_store_floats(e, output, row, v * e->lanes, x);
    }
}

// Address of lse[batch][head][query row].
static LLVMValueRef lse_at(struct cpu_emit *e, LLVMValueRef base, LLVMValueRef query) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef token =
        cpu_load(e, e->unit->i32, cpu_cell(e, e->at.query_token, e->unit->i32, query), 4);
    token = LLVMBuildSExt(b, token, i64, "");
    token = LLVMBuildSub(b, token, CPU_FIELD(e, query_offset, i64), "");
    LLVMValueRef index = cpu_mul(e, token, CPU_FIELD(e, lse_token_stride, i64));
    LLVMValueRef head = cpu_get(e, e->at.item_head, i64);
    LLVMValueRef batch = cpu_get(e, e->at.item_batch, i64);
    index = cpu_add(e, index, cpu_mul(e, head, CPU_FIELD(e, lse_head_stride, i64)));
    index = cpu_add(e, index, cpu_mul(e, batch, CPU_FIELD(e, lse_batch_stride, i64)));
    return llvm_element(e->unit, e->unit->f32, base, index);
}

static void store_lse(struct cpu_emit *e) {
    LLVMValueRef base = CPU_FIELD(e, lse, e->unit->ptr);
    LLVMValueRef wanted = LLVMBuildIsNotNull(e->unit->builder, base, "");
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, wanted, "lse");
    column_lse(e);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_get(e, e->at.item_rows, e->unit->i64),
                    cpu_const(e, 1), "rows");
    LLVMValueRef from = cpu_cell(e, e->at.alpha, e->unit->f32, loop.index);
    cpu_store(e, cpu_load(e, e->unit->f32, from, 4), lse_at(e, base, loop.index), 4);
    llvm_loop_end(&loop);
    llvm_if_end(&test);
}

LLVMValueRef cpu_emit_finish_item(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "finish_item");
    struct cpu_tensor output = cpu_output(e);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_get(e, e->at.item_rows, e->unit->i64),
                    cpu_const(e, 1), "rows");
    store_row(e, &output, loop.index);
    llvm_loop_end(&loop);
    store_lse(e);
    cpu_function_end(e);
    return function;
}
