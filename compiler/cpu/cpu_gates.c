// Branches that a gate merges: each has a softmax of its own, and the item's result is the sum of
// gate times result over them.
//
//   begin_gates     total = 0
//   for each branch: begin_softmax, its runs, fold_branch: total += gate / sum * O
//   end_gates       O = total, as finish_item takes it
//
// The log-sum-exp is that of all branches' keys together; so (maximum, sum) are merged beside the
// totals, and at the end O = total * sum, which finish_item divides by sum.
#include "compiler/cpu/cpu_emit.h"
#include "compiler/cpu/cpu_mask.h"
#include "compiler/llvm/llvm_alg_math.h"

#include <math.h>

static unsigned vector_align(const struct cpu_emit *e) {
    return (unsigned)e->lanes * 4;
}

static LLVMValueRef floats_of(struct cpu_emit *e, double value) {
    return llvm_splat(e->unit, LLVMConstReal(e->unit->f32, value), e->lanes);
}

static LLVMValueRef get(struct cpu_emit *e, int64_t array, LLVMValueRef query) {
    return cpu_load(e, e->floats, cpu_cell(e, array, e->unit->f32, query), vector_align(e));
}

static void put(struct cpu_emit *e, int64_t array, LLVMValueRef query, LLVMValueRef value) {
    cpu_store(e, value, cpu_cell(e, array, e->unit->f32, query), vector_align(e));
}

LLVMValueRef cpu_emit_begin_gates(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "begin_gates");
    LLVMValueRef zero = cpu_const(e, 0), step = cpu_const(e, e->lanes);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, zero, cpu_const(e, CPU_QUERY_ROWS), step, "");
    put(e, e->at.total_maximum, loop.index, floats_of(e, -INFINITY));
    put(e, e->at.total_sum, loop.index, floats_of(e, 0));
    llvm_loop_end(&loop);
    LLVMValueRef end = cpu_const(e, CPU_QUERY_ROWS * (int64_t)e->dim_padded);
    llvm_loop_begin(e->unit, &loop, zero, end, step, "");
    put(e, e->at.total, loop.index, floats_of(e, 0));
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

// For a vector of queries: merges (maximum, sum), and leaves gate / sum in alpha, 0 for a branch
// that keeps nothing.
static void fold_sums(struct cpu_emit *e, const struct mask_program *gate, LLVMValueRef query) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef maximum = get(e, e->at.maximum, query), sum = get(e, e->at.sum, query);
    LLVMValueRef old = get(e, e->at.total_maximum, query);
    LLVMValueRef above = LLVMBuildFCmp(b, LLVMRealOGT, maximum, old, "");
    LLVMValueRef most = LLVMBuildSelect(b, above, maximum, old, "");
    LLVMValueRef nothing = LLVMBuildFCmp(b, LLVMRealOEQ, most, floats_of(e, -INFINITY), "");
    LLVMValueRef base = LLVMBuildSelect(b, nothing, floats_of(e, 0), most, "");
    LLVMValueRef before = llvm_fast_exp2(e->unit, LLVMBuildFSub(b, old, base, ""), 6);
    LLVMValueRef here = llvm_fast_exp2(e->unit, LLVMBuildFSub(b, maximum, base, ""), 6);
    LLVMValueRef total = LLVMBuildFMul(b, get(e, e->at.total_sum, query), before, "");
    put(e, e->at.total_sum, query, llvm_fma(e->unit, sum, here, total));
    put(e, e->at.total_maximum, query, most);
    LLVMValueRef empty = LLVMBuildFCmp(b, LLVMRealOEQ, sum, floats_of(e, 0), "");
    LLVMValueRef factor = LLVMBuildFDiv(b, cpu_query_values(e, gate, query), sum, "");
    put(e, e->at.alpha, query, LLVMBuildSelect(b, empty, floats_of(e, 0), factor, ""));
}

// to[row] = from[row] * factor, plus to[row] where `add`.
static void scale_row(struct cpu_emit *e, int64_t from, int64_t to, LLVMValueRef row,
                      LLVMValueRef factor, bool add) {
    LLVMBuilderRef b = e->unit->builder;
    // A factor of 0 must not meet what is not finite: 0 * infinity.
    LLVMValueRef zero = LLVMBuildFCmp(b, LLVMRealOEQ, factor, floats_of(e, 0), "");
    for (int v = 0; v < e->dim_vectors; v++) {
        LLVMValueRef source = cpu_blocked(e, from, row, CPU_QUERY_ROWS, v);
        LLVMValueRef target = cpu_blocked(e, to, row, CPU_QUERY_ROWS, v);
        LLVMValueRef x =
            LLVMBuildFMul(b, cpu_load(e, e->floats, source, vector_align(e)), factor, "");
        x = LLVMBuildSelect(b, zero, floats_of(e, 0), x, "");
        if (add)
            x = LLVMBuildFAdd(b, x, cpu_load(e, e->floats, target, vector_align(e)), "");
        cpu_store(e, x, target, vector_align(e));
    }
}

static void scale_rows(struct cpu_emit *e, int64_t from, int64_t to, int64_t factors, bool add) {
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_get(e, e->at.item_rows, e->unit->i64),
                    cpu_const(e, 1), "rows");
    LLVMValueRef factor =
        cpu_load(e, e->unit->f32, cpu_cell(e, factors, e->unit->f32, loop.index), 4);
    scale_row(e, from, to, loop.index, llvm_splat(e->unit, factor, e->lanes), add);
    llvm_loop_end(&loop);
}

LLVMValueRef cpu_emit_fold_branch(struct cpu_emit *e, int branch) {
    LLVMValueRef function = cpu_function_begin(e, "fold_branch");
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_get(e, e->at.item_vectors, e->unit->i64),
                    cpu_const(e, 1), "queries");
    fold_sums(e, e->gates[branch], cpu_mul(e, loop.index, cpu_const(e, e->lanes)));
    llvm_loop_end(&loop);
    scale_rows(e, e->at.output, e->at.total, e->at.alpha, true);
    cpu_function_end(e);
    return function;
}

LLVMValueRef cpu_emit_end_gates(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "end_gates");
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_QUERY_ROWS),
                    cpu_const(e, e->lanes), "queries");
    put(e, e->at.maximum, loop.index, get(e, e->at.total_maximum, loop.index));
    put(e, e->at.sum, loop.index, get(e, e->at.total_sum, loop.index));
    llvm_loop_end(&loop);
    scale_rows(e, e->at.total, e->at.output, e->at.sum, false);
    cpu_function_end(e);
    return function;
}
