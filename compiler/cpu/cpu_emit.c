// The layout of a thread's scratch, and the small steps of emission all files here share.
#include "compiler/cpu/cpu_emit.h"

#include <stddef.h>

int64_t cpu_reserve(struct cpu_emit *e, int64_t bytes) {
    int64_t offset = e->at.bytes;
    e->at.bytes += (bytes + 63) / 64 * 64;
    return offset;
}

static int64_t reserve_scalar(struct cpu_emit *e) {
    return cpu_reserve(e, 8);
}

static void reserve_axes(struct cpu_emit *e, int64_t *offsets, int64_t bytes) {
    for (int a = 0; a < ABI_AXES; a++)
        offsets[a] = cpu_reserve(e, bytes);
}

void cpu_layout_init(struct cpu_emit *e) {
    struct cpu_layout *at = &e->at;
    const int64_t ints = CPU_KEY_ROWS * 4, matrix = CPU_KEY_ROWS * CPU_QUERY_ROWS * 4;
    const int64_t rows = CPU_KEY_ROWS * (int64_t)e->dim_padded * 4;
    reserve_axes(e, at->tile_offset, ints);
    at->tile_token = cpu_reserve(e, ints);
    int64_t *scalars[] = {&at->item_head, &at->item_batch,  &at->item_rows,    &at->item_vectors,
                          &at->item_keys, &at->item_values, &at->item_queries, &at->item_output};
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        *scalars[i] = reserve_scalar(e);
    reserve_axes(e, at->item_residue, 8);
    reserve_axes(e, at->item_extent, 8);
    reserve_axes(e, at->query_position, ints);
    reserve_axes(e, at->query_axis, ints);
    at->query_token = cpu_reserve(e, ints);
    at->queries = cpu_reserve(e, rows);
    at->output = cpu_reserve(e, rows);
    at->maximum = cpu_reserve(e, CPU_QUERY_ROWS * 4);
    at->sum = cpu_reserve(e, CPU_QUERY_ROWS * 4);
    at->alpha = cpu_reserve(e, CPU_QUERY_ROWS * 4);
    reserve_axes(e, at->key_position, ints);
    reserve_axes(e, at->key_axis, ints);
    at->key_token = cpu_reserve(e, ints);
    at->key_valid = cpu_reserve(e, CPU_KEY_ROWS);
    at->keys = cpu_reserve(e, rows);
    at->values = cpu_reserve(e, rows);
    at->logits = cpu_reserve(e, matrix);
    at->weights = e->multiply->group == 1 ? at->logits : cpu_reserve(e, matrix / 2);
    at->kept = cpu_reserve(e, CPU_KEY_ROWS * (int64_t)e->query_vectors * 2);
    at->bad_count = reserve_scalar(e);
    at->bad_keys = cpu_reserve(e, CPU_KEY_ROWS * 8);
    at->bad_flag = cpu_reserve(e, CPU_KEY_ROWS);
    if (e->pooled) {
        int64_t *of_source[] = {&at->key_stride,       &at->value_stride, &at->key_dim_stride,
                                &at->value_dim_stride, &at->key_last,     &at->whole_bias,
                                &at->ragged_bias};
        for (size_t i = 0; i < sizeof of_source / sizeof *of_source; i++)
            *of_source[i] = reserve_scalar(e);
        at->key_bias = cpu_reserve(e, CPU_KEY_ROWS * 4);
    }
    if (pattern_is_gated(e->spec->pattern)) {
        at->total = cpu_reserve(e, rows);
        at->total_maximum = cpu_reserve(e, CPU_QUERY_ROWS * 4);
        at->total_sum = cpu_reserve(e, CPU_QUERY_ROWS * 4);
    }
    if (e->multiply == &cpu_multiply_amx) {
        at->amx_config = cpu_reserve(e, 64);
        at->amx_weights = cpu_reserve(e, matrix / 2);
    }
    if (e->spec->pattern->axis_count == 1) { // no arithmetic between position and axis
        at->query_axis[0] = at->query_position[ABI_AXES - 1];
        at->key_axis[0] = at->key_position[ABI_AXES - 1];
    }
}

// ---- functions --------------------------------------------------------------------------------

static void add_attribute(struct cpu_emit *e, LLVMValueRef function, unsigned where,
                          const char *name, size_t length, uint64_t value) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, length);
    LLVMAddAttributeAtIndex(function, where,
                            LLVMCreateEnumAttribute(e->unit->context, kind, value));
}

LLVMValueRef cpu_function_begin(struct cpu_emit *e, const char *name) {
    struct llvm_unit *unit = e->unit;
    if (!e->function_type) {
        LLVMTypeRef params[] = {unit->ptr, unit->ptr, unit->i64, unit->i64, unit->i64, unit->i64};
        e->function_type = LLVMFunctionType(unit->void_type, params, 6, false);
    }
    LLVMValueRef function = LLVMAddFunction(unit->module, name, e->function_type);
    LLVMSetLinkage(function, LLVMInternalLinkage);
    add_attribute(e, function, LLVMAttributeFunctionIndex, "nounwind", 8, 0);
    for (unsigned i = 1; i <= 2; i++) // launch, scratch
        add_attribute(e, function, i, "noalias", 7, 0);
    e->launch = LLVMGetParam(function, 0);
    e->scratch = LLVMGetParam(function, 1);
    for (unsigned i = 0; i < 4; i++)
        e->args[i] = LLVMGetParam(function, i + 2);
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(unit->context, function, "entry");
    LLVMPositionBuilderAtEnd(unit->builder, entry);
    return function;
}

void cpu_function_end(struct cpu_emit *e) {
    LLVMBuildRetVoid(e->unit->builder);
}

void cpu_call(struct cpu_emit *e, LLVMValueRef function, LLVMValueRef a, LLVMValueRef b,
              LLVMValueRef c, LLVMValueRef d) {
    LLVMValueRef zero = cpu_const(e, 0);
    LLVMValueRef args[] = {e->launch,    e->scratch,   a ? a : zero,
                           b ? b : zero, c ? c : zero, d ? d : zero};
    LLVMBuildCall2(e->unit->builder, e->function_type, function, args, 6, "");
}

// ---- instructions -----------------------------------------------------------------------------

LLVMValueRef cpu_const(struct cpu_emit *e, int64_t value) {
    return llvm_int(e->unit->i64, value);
}

LLVMValueRef cpu_add(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildAdd(e->unit->builder, a, b, "");
}

LLVMValueRef cpu_mul(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildMul(e->unit->builder, a, b, "");
}

LLVMValueRef cpu_min(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b) {
    return llvm_intrinsic2(e->unit, "llvm.smin", a, b);
}

LLVMValueRef cpu_max(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b) {
    return llvm_intrinsic2(e->unit, "llvm.smax", a, b);
}

LLVMValueRef cpu_at(struct cpu_emit *e, int64_t offset) {
    return llvm_byte_offset(e->unit, e->scratch, cpu_const(e, offset));
}

LLVMValueRef cpu_cell(struct cpu_emit *e, int64_t offset, LLVMTypeRef type, LLVMValueRef index) {
    return llvm_element(e->unit, type, cpu_at(e, offset), index);
}

LLVMValueRef cpu_get(struct cpu_emit *e, int64_t offset, LLVMTypeRef type) {
    return LLVMBuildLoad2(e->unit->builder, type, cpu_at(e, offset), "");
}

void cpu_put(struct cpu_emit *e, int64_t offset, LLVMValueRef value) {
    LLVMBuildStore(e->unit->builder, value, cpu_at(e, offset));
}

LLVMValueRef cpu_load(struct cpu_emit *e, LLVMTypeRef type, LLVMValueRef at, unsigned align) {
    LLVMValueRef load = LLVMBuildLoad2(e->unit->builder, type, at, "");
    LLVMSetAlignment(load, align);
    return load;
}

void cpu_store(struct cpu_emit *e, LLVMValueRef value, LLVMValueRef at, unsigned align) {
    LLVMSetAlignment(LLVMBuildStore(e->unit->builder, value, at), align);
}
