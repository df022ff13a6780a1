// The two products of a tile, as wgmma of a warpgroup on tiles with the 128-byte swizzle.
//
//   Q, K   K-major: rows of 64 columns are 128 bytes; 8 rows further are 1,024 bytes; the next
//          k16 step is 32 bytes on; the next 64 columns are a whole column block on
//   V      MN-major: the next 8 keys are 1,024 bytes on (a k16 step 2,048), the next 64 columns a
//          whole block
//
// A block of inline assembly holds one whole product. Accumulators pass through it and through the
// wait that ends it, so LLVM cannot move a use before the wait.
#include "compiler/sm90/sm90_emit.h"

#include "compiler/base/strbuf.h"

enum { SWIZZLE_128 = 1, ROW_BYTES = 128, CORE_BYTES = 1024 };

static LLVMValueRef descriptor(struct sm90_emit *e, LLVMValueRef address, int leading_bytes,
                               int stride_bytes) {
    uint64_t layout = (uint64_t)SWIZZLE_128 << 62 | (uint64_t)(stride_bytes >> 4) << 32 |
                      (uint64_t)(leading_bytes >> 4) << 16;
    LLVMValueRef place = LLVMBuildLShr(e->b, address, sm90_i32(e, 4), "");
    place = LLVMBuildAnd(e->b, place, sm90_i32(e, 0x3fff), "");
    place = LLVMBuildZExt(e->b, place, e->unit->i64, "");
    return LLVMBuildOr(e->b, place, llvm_int(e->unit->i64, (int64_t)layout), "");
}

LLVMValueRef sm90_query_descriptor(struct sm90_emit *e, LLVMValueRef address) {
    return descriptor(e, address, 16, CORE_BYTES);
}

LLVMValueRef sm90_key_descriptor(struct sm90_emit *e, LLVMValueRef address) {
    return descriptor(e, address, 16, CORE_BYTES);
}

LLVMValueRef sm90_value_descriptor(struct sm90_emit *e, LLVMValueRef address) {
    return descriptor(e, address, e->shape.key_rows * ROW_BYTES, CORE_BYTES);
}

void sm90_fence(struct sm90_emit *e) {
    sm90_asm(e, NULL, "wgmma.fence.sync.aligned;", "~{memory}", NULL, 0);
}

void sm90_commit(struct sm90_emit *e) {
    sm90_asm(e, NULL, "wgmma.commit_group.sync.aligned;", "~{memory}", NULL, 0);
}

static LLVMTypeRef floats(struct sm90_emit *e, int count) {
    LLVMTypeRef types[SM90_MAX_LOGITS];
    for (int i = 0; i < count; i++)
        types[i] = e->unit->f32;
    return LLVMStructTypeInContext(e->unit->context, types, (unsigned)count, false);
}

static void unpack(struct sm90_emit *e, LLVMValueRef all, int count, LLVMValueRef *out) {
    for (int i = 0; i < count; i++)
        out[i] = LLVMBuildExtractValue(e->b, all, (unsigned)i, "");
}

static void add_list(struct strbuf *text, int first, int count) {
    for (int i = 0; i < count; i++)
        strbuf_printf(text, "%s$%d", i ? "," : "{", first + i);
    strbuf_puts(text, "}");
}

static void add_constraints(struct strbuf *text, const char *what, int count) {
    for (int i = 0; i < count; i++)
        strbuf_printf(text, "%s%s", text->length ? "," : "", what);
}

static void add_ties(struct strbuf *text, int count) {
    for (int i = 0; i < count; i++)
        strbuf_printf(text, "%s%d", text->length ? "," : "", i);
}

static const char *element(struct sm90_emit *e) {
    return e->spec->dtype == HEDDLE_BF16 ? "bf16" : "f16";
}

static void add_multiply(struct sm90_emit *e, struct strbuf *text, int columns) {
    strbuf_printf(text, "wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s.%s ", columns, element(e),
                  element(e));
}

static LLVMValueRef run_block(struct sm90_emit *e, LLVMTypeRef type, struct strbuf *text,
                              struct strbuf *constraints, LLVMValueRef *args, int count) {
    bool whole = !text->failed && !constraints->failed;
    LLVMValueRef all = whole ? sm90_asm(e, type, text->text, constraints->text, args, count) : NULL;
    strbuf_finish(text);
    strbuf_finish(constraints);
    if (!whole)
        arena_alloc(e->arena, SIZE_MAX); // escapes, as all do that memory fails
    return all;
}

// Advances, in descriptor units of 16 bytes, of k16 step `step` of a K-major operand.
static int step_units(int step, int rows) {
    return step % 4 * 2 + step / 4 * (rows * ROW_BYTES >> 4);
}

void sm90_issue_logits(struct sm90_emit *e, LLVMValueRef query, LLVMValueRef key,
                       LLVMValueRef *logits) {
    int count = e->logit_count, rows = e->shape.key_rows;
    struct strbuf text = {0}, constraints = {0};
    strbuf_puts(&text,
                "{ .reg .b64 qa, kb; .reg .pred p, q; setp.ne.b32 p, 0, 0; "
                "setp.eq.b32 q, 0, 0;\n");
    for (int step = 0; step < e->shape.dim_steps; step++) {
        strbuf_printf(&text, "add.s64 qa, $%d, %d; add.s64 kb, $%d, %d;\n", count,
                      step_units(step, e->shape.query_rows), count + 1, step_units(step, rows));
        add_multiply(e, &text, rows);
        add_list(&text, 0, count);
        strbuf_printf(&text, ", qa, kb, %s, 1, 1, 0, 0;\n", step ? "q" : "p");
    }
    strbuf_puts(&text, "}");
    add_constraints(&constraints, "=f", count);
    strbuf_puts(&constraints, ",l,l,~{memory}");
    LLVMValueRef args[] = {query, key};
    unpack(e, run_block(e, floats(e, count), &text, &constraints, args, 2), count, logits);
}

void sm90_issue_output(struct sm90_emit *e, LLVMValueRef *output, const LLVMValueRef *weights,
                       LLVMValueRef value) {
    int count = e->output_count, words = e->weight_count, at = 0;
    struct strbuf text = {0}, constraints = {0};
    strbuf_puts(&text, "{ .reg .b64 vb; .reg .pred q; setp.eq.b32 q, 0, 0;\n");
    for (int step = 0; step < e->shape.key_rows / 16; step++) {
        strbuf_printf(&text, "add.s64 vb, $%d, %d;\n", count + words, step * 2 * CORE_BYTES >> 4);
        add_multiply(e, &text, e->shape.output_dim);
        add_list(&text, 0, count);
        strbuf_puts(&text, ", ");
        add_list(&text, count + 4 * step, 4);
        strbuf_puts(&text, ", vb, q, 1, 1, 1;\n");
    }
    strbuf_puts(&text, "}");
    add_constraints(&constraints, "=f", count);
    add_constraints(&constraints, "r", words);
    strbuf_puts(&constraints, ",l");
    add_ties(&constraints, count);
    strbuf_puts(&constraints, ",~{memory}");
    LLVMValueRef args[SM90_MAX_WEIGHTS + 1 + SM90_MAX_OUTPUT];
    for (int i = 0; i < words; i++)
        args[at++] = weights[i];
    args[at++] = value;
    for (int i = 0; i < count; i++)
        args[at++] = output[i];
    unpack(e, run_block(e, floats(e, count), &text, &constraints, args, at), count, output);
}

void sm90_wait_products(struct sm90_emit *e, int pending, LLVMValueRef *registers, int count) {
    struct strbuf text = {0}, constraints = {0};
    strbuf_printf(&text, "wgmma.wait_group.sync.aligned %d;", pending);
    add_constraints(&constraints, "=f", count);
    add_ties(&constraints, count);
    strbuf_puts(&constraints, ",~{memory}");
    unpack(e, run_block(e, floats(e, count), &text, &constraints, registers, count), count,
           registers);
}
