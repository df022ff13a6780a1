// The online softmax of a tile, in base 2, over the registers of a thread. It cannot make a NaN of
// finite logits: a row whose keys are all masked so far has maximum -inf and takes 0 in its place,
// so every difference below is finite or -inf, and 2^-inf is 0.
//
// Earlier output is rescaled by 2^((old maximum - new) * scale), which is exactly 1 when the
// maximum stays; a fused old * scale - rounded(new * scale) is not, and drifts.
#include "compiler/sm90/sm90_emit.h"

#include <math.h>
#include <stddef.h>

static LLVMValueRef real(struct sm90_emit *e, double value) {
    return LLVMConstReal(e->unit->f32, value);
}

static LLVMValueRef larger(struct sm90_emit *e, LLVMValueRef x, LLVMValueRef y) {
    return llvm_intrinsic2(e->unit, "llvm.maxnum", x, y);
}

static LLVMValueRef power_of_two(struct sm90_emit *e, LLVMValueRef x) {
    return sm90_pure(e, e->unit->f32, "ex2.approx.ftz.f32 $0, $1;", "=f,f", &x, 1);
}

// The greatest logit of a row: over this thread's, then over the four threads that share the row.
static LLVMValueRef row_maximum(struct sm90_emit *e, const LLVMValueRef *logits, int row) {
    LLVMValueRef parts[4] = {NULL};
    for (int i = 0; i < e->logit_count / 2; i++) {
        LLVMValueRef x = logits[4 * (i / 2) + 2 * row + i % 2];
        parts[i % 4] = parts[i % 4] ? larger(e, parts[i % 4], x) : x;
    }
    LLVMValueRef most = larger(e, larger(e, parts[0], parts[1]), larger(e, parts[2], parts[3]));
    most = larger(e, most, sm90_from_lane(e, most, 1));
    return larger(e, most, sm90_from_lane(e, most, 2));
}

void sm90_softmax_begin(struct sm90_emit *e, struct sm90_softmax *softmax) {
    for (int row = 0; row < SM90_ROWS; row++) {
        softmax->maximum[row] = real(e, -INFINITY);
        softmax->sum[row] = real(e, 0.0);
        softmax->rescale[row] = real(e, 0.0);
    }
}

static void softmax_row(struct sm90_emit *e, struct sm90_softmax *softmax, LLVMValueRef *logits,
                        LLVMValueRef bias, int row) {
    LLVMBuilderRef b = e->b;
    bool scaled = e->spec->scale_first != 0;
    LLVMValueRef scale = scaled ? NULL : SM90_ARG(e, scale_log2, e->unit->f32);
    LLVMValueRef old = softmax->maximum[row];
    LLVMValueRef here = row_maximum(e, logits, row);
    if (bias)
        here = LLVMBuildFAdd(b, here, bias, "");
    LLVMValueRef most = larger(e, old, here);
    LLVMValueRef none = LLVMBuildFCmp(b, LLVMRealOEQ, most, real(e, -INFINITY), "");
    LLVMValueRef use = LLVMBuildSelect(b, none, real(e, 0.0), most, "");
    LLVMValueRef most_less_bias = bias ? LLVMBuildFSub(b, use, bias, "") : use;
    LLVMValueRef less =
        LLVMBuildFNeg(b, scaled ? most_less_bias : LLVMBuildFMul(b, most_less_bias, scale, ""), "");
    LLVMValueRef moved = LLVMBuildFSub(b, old, use, "");
    LLVMValueRef rescale = power_of_two(e, scaled ? moved : LLVMBuildFMul(b, moved, scale, ""));
    LLVMValueRef sums[4] = {NULL};
    for (int i = 0; i < e->logit_count / 2; i++) {
        LLVMValueRef *x = &logits[4 * (i / 2) + 2 * row + i % 2];
        LLVMValueRef y = scaled ? LLVMBuildFAdd(b, *x, less, "")
                                : llvm_intrinsic3(e->unit, "llvm.fma", *x, scale, less);
        *x = power_of_two(e, y);
        sums[i % 4] = sums[i % 4] ? LLVMBuildFAdd(b, sums[i % 4], *x, "") : *x;
    }
    LLVMValueRef tile = LLVMBuildFAdd(b, LLVMBuildFAdd(b, sums[0], sums[1], ""),
                                      LLVMBuildFAdd(b, sums[2], sums[3], ""), "");
    LLVMValueRef before = softmax->sum[row];
    softmax->sum[row] = llvm_intrinsic3(e->unit, "llvm.fma", before, rescale, tile);
    softmax->maximum[row] = most;
    softmax->rescale[row] = rescale;
}

void sm90_softmax_tile(struct sm90_emit *e, struct sm90_softmax *softmax, LLVMValueRef *logits,
                       LLVMValueRef bias) {
    for (int row = 0; row < SM90_ROWS; row++)
        softmax_row(e, softmax, logits, bias, row);
}

LLVMValueRef sm90_pack_pair(struct sm90_emit *e, LLVMValueRef low, LLVMValueRef high) {
    const char *text = e->spec->dtype == HEDDLE_BF16 ? "cvt.rn.bf16x2.f32 $0, $1, $2;"
                                                     : "cvt.rn.f16x2.f32 $0, $1, $2;";
    LLVMValueRef args[] = {high, low};
    return sm90_pure(e, e->unit->i32, text, "=r,f,f", args, 2);
}

// The accumulator layout of Q.K is the operand layout of P.V once pairs are packed: two groups of
// 8 columns make a k16 step.
void sm90_pack(struct sm90_emit *e, const LLVMValueRef *probabilities, LLVMValueRef *weights) {
    for (int word = 0; word < e->weight_count; word++) {
        const LLVMValueRef *pair = &probabilities[2 * word];
        weights[word] = sm90_pack_pair(e, pair[0], pair[1]);
    }
}

// Does any row of the warp rescale by something else than 1?
static LLVMValueRef any_moved(struct sm90_emit *e, const struct sm90_softmax *softmax) {
    LLVMValueRef args[] = {softmax->rescale[0], softmax->rescale[1]};
    LLVMValueRef any = sm90_asm(
        e, e->unit->i32,
        "{ .reg .pred p, q; setp.neu.f32 p, $1, 0f3f800000; setp.neu.or.f32 p, $2, 0f3f800000, p; "
        "vote.sync.any.pred q, p, 0xffffffff; selp.u32 $0, 1, 0, q; }",
        "=r,f,f", args, 2);
    return LLVMBuildICmp(e->b, LLVMIntNE, any, sm90_i32(e, 0), "");
}

// Maxima settle after a few tiles, and then there is nothing to do.
void sm90_rescale(struct sm90_emit *e, const struct sm90_softmax *softmax, LLVMValueRef *output) {
    LLVMValueRef scaled[SM90_MAX_OUTPUT], moved = any_moved(e, softmax);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef scale = llvm_new_block(e->unit, "rescale");
    LLVMBasicBlockRef after = llvm_new_block(e->unit, "");
    LLVMBuildCondBr(e->b, moved, scale, after);
    LLVMPositionBuilderAtEnd(e->b, scale);
    for (int i = 0; i < e->output_count; i++)
        scaled[i] = LLVMBuildFMul(e->b, output[i], softmax->rescale[i / 2 % 2], "");
    LLVMBuildBr(e->b, after);
    LLVMPositionBuilderAtEnd(e->b, after);
    for (int i = 0; i < e->output_count; i++) {
        LLVMValueRef phi = LLVMBuildPhi(e->b, e->unit->f32, "");
        LLVMAddIncoming(phi, &output[i], &before, 1);
        LLVMAddIncoming(phi, &scaled[i], &scale, 1);
        output[i] = phi;
    }
}

LLVMValueRef sm90_row_total(struct sm90_emit *e, LLVMValueRef sum) {
    sum = LLVMBuildFAdd(e->b, sum, sm90_from_lane(e, sum, 1), "");
    return LLVMBuildFAdd(e->b, sum, sm90_from_lane(e, sum, 2), "");
}
