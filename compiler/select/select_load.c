// Elements of stages, and rows of q, k and stages of rows, as they lie in memory. What does not
// exist is read from a row of zeros.

#include "compiler/select/select_walk.h"

#include <stddef.h>

static aval val(LLVMValueRef v) {
    return (aval){.v = v};
}

static LLVMValueRef in_range(struct select_walk *w, LLVMValueRef x, LLVMValueRef end) {
    struct alg *alg = &w->values.alg;
    aval low = a2(alg, ALG_I_LE, a_int(alg, 0), val(x)), high = a2(alg, ALG_I_LT, val(x), val(end));
    return a2(alg, ALG_B_AND, low, high).v;
}

static LLVMValueRef either(struct select_walk *w, LLVMValueRef condition, LLVMValueRef yes,
                           LLVMValueRef no) {
    return LLVMBuildSelect(w->unit->builder, condition, yes, no, "");
}

static LLVMValueRef array_of(struct select_walk *w, const struct expr *node) {
    LLVMValueRef arrays =
        llvm_load_field(w->unit, w->args, offsetof(struct abi_env, arrays), w->unit->ptr, "arrays");
    int64_t bytes = node->payload.ref.index * (int64_t)sizeof(struct abi_array);
    return llvm_byte_offset(w->unit, arrays, llvm_int(w->unit->i64, bytes));
}

// The number of an element among those of a stage, as if it existed; *out_inside says whether.
static LLVMValueRef element_of(struct select_walk *w, const struct expr *node, LLVMValueRef array,
                               LLVMValueRef *out_inside) {
    struct llvm_unit *unit = w->unit;
    LLVMValueRef at = llvm_int(unit->i64, 0), inside = llvm_int(unit->i1, 1);
    for (int i = 0; i < node->arity; i++) {
        size_t offset = offsetof(struct abi_array, extent) + (size_t)i * sizeof(int64_t);
        LLVMValueRef extent = llvm_load_field(unit, array, offset, unit->i64, "");
        LLVMValueRef index = select_walk_value(w, node->args[i]);
        inside = LLVMBuildAnd(unit->builder, inside, in_range(w, index, extent), "");
        at = LLVMBuildAdd(unit->builder, LLVMBuildMul(unit->builder, at, extent, ""), index, "");
    }
    *out_inside = inside;
    return at;
}

static LLVMValueRef array_data(struct select_walk *w, LLVMValueRef array) {
    return llvm_load_field(w->unit, array, offsetof(struct abi_array, data), w->unit->ptr, "");
}

// Outside of the stage: the zero row's, whose first float is 0.
LLVMValueRef select_load_value(struct select_walk *w, const struct expr *node) {
    struct llvm_unit *unit = w->unit;
    LLVMValueRef array = array_of(w, node), inside;
    LLVMValueRef at = element_of(w, node, array, &inside);
    LLVMValueRef place = llvm_element(unit, unit->f32, array_data(w, array), at);
    place = either(w, inside, place, w->zero_row);
    LLVMValueRef loaded = LLVMBuildLoad2(unit->builder, unit->f32, place, "");
    return LLVMBuildFPExt(unit->builder, loaded, unit->f64, "");
}

static int64_t element_bytes(const struct select_walk *w) {
    return w->spec->dtype == HEDDLE_F32 ? 4 : 2;
}

static LLVMValueRef times(struct select_walk *w, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildMul(w->unit->builder, x, y, "");
}

// Where a row of q or k starts.
static LLVMValueRef tensor_base(struct select_walk *w, const struct expr *node) {
    struct llvm_unit *unit = w->unit;
    LLVMBuilderRef b = unit->builder;
    bool query = node->payload.ref.side == SIDE_QUERY;
    size_t tensor = query ? offsetof(struct select_args, q) : offsetof(struct select_args, k);
#define FIELD(member, type)                                                                        \
    llvm_load_field(unit, w->args, tensor + offsetof(struct abi_tensor, member), type, #member)
    LLVMValueRef head = select_walk_value(w, node->args[0]);
    LLVMValueRef token = select_walk_value(w, node->args[1]);
    LLVMValueRef heads = query ? ARG(w, env.heads, unit->i64) : ARG(w, env.kv_heads, unit->i64);
    LLVMValueRef keys = ARG(w, keys, unit->i64), rows = keys;
    if (query) { // the queries are the last positions
        rows = ARG(w, queries, unit->i64);
        token = LLVMBuildSub(b, token, LLVMBuildSub(b, keys, rows, ""), "");
    }
    LLVMValueRef batch =
        llvm_load_field(unit, w->item, offsetof(struct abi_item, batch), unit->i64, "batch");
    LLVMValueRef at = times(w, batch, FIELD(batch_stride, unit->i64));
    at = LLVMBuildAdd(b, at, times(w, head, FIELD(head_stride, unit->i64)), "");
    at = LLVMBuildAdd(b, at, times(w, token, FIELD(token_stride, unit->i64)), "");
    at = times(w, at, llvm_int(unit->i64, element_bytes(w)));
    LLVMValueRef inside =
        LLVMBuildAnd(b, in_range(w, head, heads), in_range(w, token, rows), "exists");
    select_walk_keep(w, &w->stride[node->id],
                     either(w, inside, FIELD(dim_stride, unit->i64), llvm_int(unit->i64, 0)));
    return either(w, inside, llvm_byte_offset(unit, FIELD(data, unit->ptr), at), w->zero_row);
#undef FIELD
}

static LLVMValueRef stage_base(struct select_walk *w, const struct expr *node) {
    struct llvm_unit *unit = w->unit;
    LLVMValueRef array = array_of(w, node), inside;
    LLVMValueRef at = element_of(w, node, array, &inside);
    at = times(w, at, llvm_int(unit->i64, w->spec->dim));
    LLVMValueRef place = llvm_element(unit, unit->f32, array_data(w, array), at);
    return either(w, inside, place, w->zero_row);
}

bool select_is_row_leaf(const struct expr *node) {
    return node->op == OP_TENSOR || (node->op == OP_STAGE && node->deps & DEP_ROW);
}

LLVMValueRef select_row_base(struct select_walk *w, const struct expr *node) {
    LLVMValueRef *place = &w->base[node->id];
    if (*place)
        return *place;
    return select_walk_keep(w, place,
                            node->op == OP_TENSOR ? tensor_base(w, node) : stage_base(w, node));
}

static LLVMValueRef widened(struct select_walk *w, LLVMValueRef raw) {
    struct llvm_unit *unit = w->unit;
    LLVMBuilderRef b = unit->builder;
    LLVMTypeRef floats = llvm_lanes_type(unit->f32, w->lanes);
    if (w->spec->dtype == HEDDLE_F16)
        return LLVMBuildFPExt(b, raw, floats, "");
    LLVMTypeRef words = llvm_lanes_type(unit->i32, w->lanes);
    LLVMValueRef sixteen = llvm_splat(unit, llvm_int(unit->i32, 16), w->lanes);
    LLVMValueRef bits = LLVMBuildShl(b, LLVMBuildZExt(b, raw, words, ""), sixteen, "");
    return LLVMBuildBitCast(b, bits, floats, "");
}

LLVMValueRef select_load_row(struct select_walk *w, const struct expr *node) {
    struct llvm_unit *unit = w->unit;
    LLVMValueRef base = select_row_base(w, node), at = w->at;
    bool floats = node->op == OP_STAGE || w->spec->dtype == HEDDLE_F32;
    LLVMTypeRef element = floats                         ? unit->f32
                          : w->spec->dtype == HEDDLE_F16 ? LLVMHalfTypeInContext(unit->context)
                                                         : unit->i16;
    if (node->op == OP_TENSOR && !w->spec->contiguous)
        at = times(w, at, w->stride[node->id]);
    LLVMValueRef place = llvm_element(unit, element, base, at);
    LLVMValueRef raw = LLVMBuildLoad2(unit->builder, llvm_lanes_type(element, w->lanes), place, "");
    LLVMSetAlignment(raw, floats ? 4 : 2);
    return floats ? raw : widened(w, raw);
}
