// Sources of a pattern that reads keys at several resolutions: where their rows are, and what their
// keys weigh.
//
// What differs from source to source is kept in scratch, and one set of primitives serves all:
// only masks exist per source. A whole group weighs the same everywhere, the last group of a source
// less where it is ragged; both are added to the logits, base 2.
#include "compiler/cpu/cpu_emit.h"

#include <stddef.h>

static LLVMValueRef field(struct cpu_emit *e, LLVMValueRef source, size_t offset,
                          LLVMTypeRef type) {
    return llvm_load_field(e->unit, source, offset, type, "");
}

// A tensor of the source (`record`: its struct abi_tensor) at the item's batch and head.
static void put_tensor(struct cpu_emit *e, LLVMValueRef source, size_t record, int64_t base,
                       int64_t token_stride, int64_t dim_stride) {
    LLVMValueRef batch = cpu_get(e, e->at.item_batch, e->unit->i64);
    LLVMValueRef head = cpu_kv_head(e, cpu_get(e, e->at.item_head, e->unit->i64));
    LLVMValueRef tensor = llvm_byte_offset(e->unit, source, cpu_const(e, (int64_t)record));
    cpu_put(e, base, cpu_tensor_base(e, tensor, batch, head));
    cpu_put(e, token_stride,
            field(e, tensor, offsetof(struct abi_tensor, token_stride), e->unit->i64));
    cpu_put(e, dim_stride, field(e, tensor, offsetof(struct abi_tensor, dim_stride), e->unit->i64));
}

LLVMValueRef cpu_emit_use_source(struct cpu_emit *e, int source) {
    LLVMValueRef function = cpu_function_begin(e, "use_source");
    struct llvm_unit *unit = e->unit;
    LLVMValueRef from = llvm_byte_offset(unit, CPU_FIELD(e, sources, unit->ptr),
                                         cpu_const(e, source * (int64_t)sizeof(struct abi_source)));
    put_tensor(e, from, offsetof(struct abi_source, k), e->at.item_keys, e->at.key_stride,
               e->at.key_dim_stride);
    put_tensor(e, from, offsetof(struct abi_source, v), e->at.item_values, e->at.value_stride,
               e->at.value_dim_stride);
    LLVMValueRef keys = field(e, from, offsetof(struct abi_source, keys), unit->i64);
    cpu_put(e, e->at.item_extent[ABI_AXES - 1], keys);
    cpu_put(e, e->at.key_last, LLVMBuildSub(unit->builder, keys, cpu_const(e, 1), ""));
    LLVMValueRef biases = field(e, from, offsetof(struct abi_source, bias), unit->ptr);
    LLVMValueRef head = cpu_get(e, e->at.item_head, unit->i64);
    cpu_put(e, e->at.whole_bias,
            cpu_load(e, unit->f32, llvm_element(unit, unit->f32, biases, head), 4));
    cpu_put(e, e->at.ragged_bias, field(e, from, offsetof(struct abi_source, ragged), unit->f32));
    cpu_function_end(e);
    return function;
}

// Biases of the tile's 64 keys: a row that repeats the last group is masked, whatever it gets.
static void put_biases(struct cpu_emit *e) {
    struct llvm_unit *unit = e->unit;
    LLVMBuilderRef b = unit->builder;
    LLVMValueRef last = LLVMBuildTrunc(b, cpu_get(e, e->at.key_last, unit->i64), unit->i32, "");
    last = llvm_splat(unit, last, e->lanes);
    LLVMValueRef whole = llvm_splat(unit, cpu_get(e, e->at.whole_bias, unit->f32), e->lanes);
    LLVMValueRef less = llvm_splat(unit, cpu_get(e, e->at.ragged_bias, unit->f32), e->lanes);
    LLVMValueRef ragged = LLVMBuildFAdd(b, whole, less, "");
    for (int j = 0; j < CPU_KEY_ROWS; j += e->lanes) {
        LLVMValueRef index = cpu_const(e, j);
        LLVMValueRef key = cpu_load(e, e->ints, cpu_cell(e, e->at.key_token, unit->i32, index), 4);
        LLVMValueRef is_last = LLVMBuildICmp(b, LLVMIntEQ, key, last, "");
        cpu_store(e, LLVMBuildSelect(b, is_last, ragged, whole, ""),
                  cpu_cell(e, e->at.key_bias, unit->f32, index), 4);
    }
}

LLVMValueRef cpu_emit_add_bias(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "add_bias");
    struct llvm_unit *unit = e->unit;
    unsigned align = (unsigned)e->lanes * 4;
    LLVMValueRef zero = cpu_const(e, 0), one = cpu_const(e, 1);
    put_biases(e);
    struct llvm_loop vectors, keys;
    llvm_loop_begin(unit, &keys, zero, cpu_const(e, CPU_KEY_ROWS), one, "keys");
    LLVMValueRef bias =
        cpu_load(e, unit->f32, cpu_cell(e, e->at.key_bias, unit->f32, keys.index), 4);
    bias = llvm_splat(unit, bias, e->lanes);
    llvm_loop_begin(unit, &vectors, zero, cpu_get(e, e->at.item_vectors, unit->i64), one,
                    "queries");
    LLVMValueRef query = cpu_mul(e, vectors.index, cpu_const(e, e->lanes));
    LLVMValueRef index = cpu_add(e, cpu_mul(e, keys.index, cpu_const(e, CPU_QUERY_ROWS)), query);
    LLVMValueRef at = cpu_cell(e, e->at.logits, unit->f32, index);
    LLVMValueRef s = cpu_load(e, e->floats, at, align);
    cpu_store(e, LLVMBuildFAdd(unit->builder, s, bias, ""), at, align);
    llvm_loop_end(&vectors);
    llvm_loop_end(&keys);
    cpu_function_end(e);
    return function;
}
