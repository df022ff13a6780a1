// What predicates and scores read: coordinates, sizes, heads, parameters, inputs and maps.
#include "compiler/cpu/cpu_mask.h"

#include <stddef.h>

static LLVMValueRef index_value(struct mask_walk *w, LLVMValueRef i64_value) {
    return LLVMBuildIntCast2(w->e->unit->builder, i64_value, w->alg.integer, true, "");
}

// The vector of 32-bit entries of `array` at w->index, in the walk's index width.
static LLVMValueRef coordinates(struct mask_walk *w, int64_t array) {
    struct cpu_emit *e = w->e;
    LLVMValueRef at = cpu_cell(e, array, e->unit->i32, w->index);
    LLVMValueRef x = cpu_load(e, e->ints, at, (unsigned)e->lanes * 4);
    if (w->alg.alg.index_bits == 32)
        return x;
    LLVMTypeRef wide = LLVMVectorType(e->unit->i64, (unsigned)e->lanes);
    return LLVMBuildSExt(e->unit->builder, x, wide, "");
}

static LLVMValueRef kv_head(struct cpu_emit *e) {
    return cpu_kv_head(e, cpu_get(e, e->at.item_head, e->unit->i64));
}

static LLVMValueRef load_slot(struct mask_walk *w, LLVMValueRef slot, enum type type) {
    LLVMBuilderRef b = w->e->unit->builder;
    if (type == TYPE_REAL)
        return LLVMBuildFPCast(b, cpu_load(w->e, w->e->unit->f64, slot, 8), w->alg.real, "");
    return index_value(w, cpu_load(w->e, w->e->unit->i64, slot, 8));
}

static LLVMValueRef parameter(struct mask_walk *w, const struct expr *node) {
    struct cpu_emit *e = w->e;
    LLVMValueRef params = CPU_FIELD(e, env.params, e->unit->ptr);
    LLVMValueRef number = cpu_const(e, node->payload.ref.index);
    return load_slot(w, llvm_element(e->unit, e->unit->i64, params, number), node->type);
}

// ---- reads by index -----------------------------------------------------------------------------

// `load`ing an element at each lane of a vector of i64 offsets, or at the one scalar offset.
static LLVMValueRef gather(struct mask_walk *w, LLVMTypeRef element, LLVMValueRef base,
                           LLVMValueRef offset) {
    struct cpu_emit *e = w->e;
    LLVMBuilderRef b = e->unit->builder;
    unsigned align = element == e->unit->i8 ? 1 : element == e->unit->i64 ? 8 : 4;
    if (!llvm_is_vector(offset))
        return cpu_load(e, element, llvm_element(e->unit, element, base, offset), align);
    LLVMValueRef all = LLVMGetPoison(LLVMVectorType(element, (unsigned)e->lanes));
    for (int i = 0; i < e->lanes; i++) {
        LLVMValueRef lane = LLVMBuildExtractElement(b, offset, cpu_const(e, i), "");
        LLVMValueRef at = llvm_element(e->unit, element, base, lane);
        all = LLVMBuildInsertElement(b, all, cpu_load(e, element, at, align), cpu_const(e, i), "");
    }
    return all;
}

static LLVMTypeRef shaped_like(LLVMTypeRef element, LLVMValueRef like) {
    if (!llvm_is_vector(like))
        return element;
    return LLVMVectorType(element, LLVMGetVectorSize(LLVMTypeOf(like)));
}

// An index held inside 0 .. extent - 1, as i64.
static LLVMValueRef held_index(struct mask_walk *w, aval index, LLVMValueRef extent) {
    struct cpu_emit *e = w->e;
    struct alg *alg = &w->alg.alg;
    LLVMValueRef last = LLVMBuildSub(e->unit->builder, extent, cpu_const(e, 1), "");
    if (alg->index_bits == 32)
        last = cpu_min(e, last, cpu_const(e, INT32_MAX));
    aval held = a2(alg, ALG_I_MIN, index, (aval){.v = index_value(w, last)});
    held = a2(alg, ALG_I_MAX, held, a_int(alg, 0));
    return LLVMBuildIntCast2(e->unit->builder, held.v, shaped_like(e->unit->i64, held.v), true, "");
}

// Row-major offset of args into an abi_array.
static LLVMValueRef array_offset(struct mask_walk *w, LLVMValueRef array, const aval *args,
                                 int count) {
    struct cpu_emit *e = w->e;
    struct llvm_alg wide;
    llvm_alg_init(&wide, e->unit, w->alg.lanes, 64, 64, false);
    aval offset = a_int(&wide.alg, 0);
    for (int i = 0; i < count; i++) {
        size_t at = offsetof(struct abi_array, extent) + 8 * (size_t)i;
        LLVMValueRef extent = llvm_load_field(e->unit, array, at, e->unit->i64, "extent");
        aval index = {.v = held_index(w, args[i], extent)};
        offset = a2(&wide.alg, ALG_I_MUL, offset, (aval){.v = extent});
        offset = a2(&wide.alg, ALG_I_ADD, offset, index);
    }
    return offset.v;
}

static LLVMValueRef array_of(struct mask_walk *w, const struct expr *node) {
    struct cpu_emit *e = w->e;
    int64_t number = node->payload.ref.index;
    if (node->op == OP_MAP)
        number += e->spec->pattern->input_count;
    return llvm_byte_offset(e->unit, CPU_FIELD(e, env.arrays, e->unit->ptr),
                            cpu_const(e, number * (int64_t)sizeof(struct abi_array)));
}

static LLVMValueRef array_element(struct mask_walk *w, const struct expr *node, const aval *args) {
    struct cpu_emit *e = w->e;
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef array = array_of(w, node);
    LLVMValueRef data =
        llvm_load_field(e->unit, array, offsetof(struct abi_array, data), e->unit->ptr, "data");
    LLVMValueRef offset = array_offset(w, array, args, node->arity);
    LLVMTypeRef element = node->type == TYPE_BOOL   ? e->unit->i8
                          : node->type == TYPE_REAL ? e->unit->f32
                                                    : e->unit->i32;
    LLVMValueRef x = gather(w, element, data, offset);
    if (node->type == TYPE_BOOL)
        return LLVMBuildICmp(b, LLVMIntNE, x, LLVMConstNull(LLVMTypeOf(x)), "");
    if (node->type == TYPE_REAL)
        return LLVMBuildFPCast(b, x, shaped_like(w->alg.real, x), "");
    return LLVMBuildIntCast2(b, x, shaped_like(w->alg.integer, x), true, "");
}

// In a set: a byte of its table, and no element outside of that.
static LLVMValueRef member(struct mask_walk *w, const struct expr *node, const aval *args) {
    struct cpu_emit *e = w->e;
    struct alg *alg = &w->alg.alg;
    aval x = args[node->arity - 1];
    LLVMValueRef array = array_of(w, node);
    size_t at = offsetof(struct abi_array, extent) + 8 * (size_t)(node->arity - 1);
    LLVMValueRef extent = llvm_load_field(e->unit, array, at, e->unit->i64, "extent");
    aval inside = a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, a_int(alg, 0), x),
                     a2(alg, ALG_I_LT, x, (aval){.v = index_value(w, extent)}));
    return a2(alg, ALG_B_AND, inside, (aval){.v = array_element(w, node, args)}).v;
}

static LLVMValueRef table_element(struct mask_walk *w, const struct expr *node, aval index) {
    struct cpu_emit *e = w->e;
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef tables = CPU_FIELD(e, env.tables, e->unit->ptr);
    LLVMValueRef number = cpu_const(e, node->payload.ref.index);
    LLVMValueRef base =
        cpu_load(e, e->unit->ptr, llvm_element(e->unit, e->unit->ptr, tables, number), 8);
    LLVMValueRef held = held_index(w, index, CPU_FIELD(e, env.heads, e->unit->i64));
    if (node->type == TYPE_REAL) {
        LLVMValueRef bits = gather(w, e->unit->i64, base, held);
        LLVMValueRef x = LLVMBuildBitCast(b, bits, shaped_like(e->unit->f64, bits), "");
        return LLVMBuildFPCast(b, x, shaped_like(w->alg.real, x), "");
    }
    LLVMValueRef x = gather(w, e->unit->i64, base, held);
    return LLVMBuildIntCast2(b, x, shaped_like(w->alg.integer, x), true, "");
}

// ---- dispatch -----------------------------------------------------------------------------------

static LLVMValueRef leaf(struct mask_walk *w, const struct expr *node, const aval *args) {
    struct cpu_emit *e = w->e;
    LLVMTypeRef i64 = e->unit->i64;
    bool query = node->payload.ref.side == SIDE_QUERY;
    int axis = node->payload.ref.index;
    switch (node->op) {
    case OP_COORD:
        return coordinates(w, query ? e->at.query_axis[axis] : e->at.key_axis[axis]);
    case OP_TOKEN:
        return coordinates(w, query ? e->at.query_token : e->at.key_token);
    case OP_SIZE:
        return index_value(w, CPU_FIELD_AT(e, env.size, axis, i64));
    case OP_HEAD:
        return index_value(w, cpu_get(e, e->at.item_head, i64));
    case OP_HEADS:
        return index_value(w, CPU_FIELD(e, env.heads, i64));
    case OP_KV_HEAD:
        return index_value(w, kv_head(e));
    case OP_BATCH:
        return index_value(w, cpu_get(e, e->at.item_batch, i64));
    case OP_PARAM:
        return parameter(w, node);
    case OP_TABLE:
        return table_element(w, node, args[0]);
    case OP_SCORE:
        return w->score;
    case OP_MEMBER:
        return member(w, node, args);
    default: // OP_INPUT, OP_MAP
        return array_element(w, node, args);
    }
}

aval mask_leaf(struct expr_walk *walk, const struct expr *node, const aval *args) {
    return (aval){.v = leaf((struct mask_walk *)walk, node, args)};
}
