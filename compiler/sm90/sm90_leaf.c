// What predicates and scores read: coordinates, sizes, heads, parameters, inputs and maps.
#include "compiler/sm90/sm90_mask.h"

#include <stddef.h>

static LLVMValueRef index_value(struct sm90_walk *w, LLVMValueRef value) {
    return LLVMBuildIntCast2(w->e->b, value, w->alg.integer, true, "");
}

static LLVMValueRef real_value(struct sm90_walk *w, LLVMValueRef bits) {
    LLVMValueRef x = LLVMBuildBitCast(w->e->b, bits, w->e->unit->f64, "");
    return LLVMBuildFPCast(w->e->b, x, w->alg.real, "");
}

static LLVMValueRef slot_value(struct sm90_walk *w, LLVMValueRef bits, enum type type) {
    return type == TYPE_REAL ? real_value(w, bits) : index_value(w, bits);
}

// An index held inside 0 .. extent - 1, as i64.
static LLVMValueRef held_index(struct sm90_walk *w, aval index, LLVMValueRef extent) {
    struct alg *alg = &w->alg.alg;
    LLVMBuilderRef b = w->e->b;
    LLVMValueRef last = LLVMBuildSub(b, extent, llvm_int(w->e->unit->i64, 1), "");
    if (alg->index_bits == 32)
        last = llvm_intrinsic2(w->e->unit, "llvm.smin", last, llvm_int(w->e->unit->i64, INT32_MAX));
    aval held = a2(alg, ALG_I_MIN, index, (aval){.v = index_value(w, last)});
    held = a2(alg, ALG_I_MAX, held, a_int(alg, 0));
    return LLVMBuildIntCast2(b, held.v, w->e->unit->i64, true, "");
}

static LLVMValueRef array_element(struct sm90_walk *w, const struct expr *node, const aval *args) {
    struct sm90_emit *e = w->e;
    LLVMTypeRef i64 = e->unit->i64;
    int64_t number = node->payload.ref.index;
    if (node->op == OP_MAP)
        number += e->pattern->input_count;
    int64_t at = sm90_arrays_at(e->pattern) + number * (int64_t)sizeof(struct sm90_array);
    LLVMValueRef offset = llvm_int(i64, 0);
    for (int i = 0; i < node->arity; i++) {
        int64_t field = at + (int64_t)offsetof(struct sm90_array, extent) + 8 * i;
        LLVMValueRef extent = sm90_arg_at(e, field, i64);
        offset = LLVMBuildMul(e->b, offset, extent, "");
        offset = LLVMBuildAdd(e->b, offset, held_index(w, args[i], extent), "");
    }
    LLVMTypeRef element = node->type == TYPE_BOOL   ? e->unit->i8
                          : node->type == TYPE_REAL ? e->unit->f32
                                                    : e->unit->i32;
    LLVMValueRef data = sm90_arg_at(e, at + (int64_t)offsetof(struct sm90_array, data), i64);
    LLVMValueRef x =
        sm90_load(e, sm90_global(e, data, offset, node->type == TYPE_BOOL ? 1 : 4), 0, element);
    if (node->type == TYPE_BOOL)
        return LLVMBuildICmp(e->b, LLVMIntNE, x, llvm_int(e->unit->i8, 0), "");
    return node->type == TYPE_REAL ? LLVMBuildFPCast(e->b, x, w->alg.real, "") : index_value(w, x);
}

// In a set: a byte of its table, and no element outside of that.
static LLVMValueRef member(struct sm90_walk *w, const struct expr *node, const aval *args) {
    struct alg *alg = &w->alg.alg;
    aval x = args[node->arity - 1];
    int64_t at = sm90_arrays_at(w->e->pattern) +
                 node->payload.ref.index * (int64_t)sizeof(struct sm90_array) +
                 (int64_t)offsetof(struct sm90_array, extent) + 8 * (node->arity - 1);
    aval extent = {.v = index_value(w, sm90_arg_at(w->e, at, w->e->unit->i64))};
    aval inside =
        a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, a_int(alg, 0), x), a2(alg, ALG_I_LT, x, extent));
    return a2(alg, ALG_B_AND, inside, (aval){.v = array_element(w, node, args)}).v;
}

static LLVMValueRef table_element(struct sm90_walk *w, const struct expr *node, aval index) {
    struct sm90_emit *e = w->e;
    LLVMTypeRef i64 = e->unit->i64;
    int64_t at = sm90_tables_at(e->pattern) + 8 * (int64_t)node->payload.ref.index;
    LLVMValueRef held = held_index(w, index, SM90_ARG(e, head_count, i64));
    LLVMValueRef bits = sm90_load(e, sm90_global(e, sm90_arg_at(e, at, i64), held, 8), 0, i64);
    return slot_value(w, bits, node->type);
}

static LLVMValueRef coordinate(struct sm90_walk *w, const struct expr *node) {
    bool query = node->payload.ref.side == SIDE_QUERY;
    const LLVMValueRef *position = query ? w->query : w->key;
    if (node->op == OP_TOKEN)
        return index_value(w, sm90_token(w->e, position));
    return index_value(w, sm90_axis(w->e, position, node->payload.ref.index));
}

static LLVMValueRef leaf(struct sm90_walk *w, const struct expr *node, const aval *args) {
    struct sm90_emit *e = w->e;
    LLVMTypeRef i64 = e->unit->i64;
    int number = node->payload.ref.index;
    switch (node->op) {
    case OP_COORD:
    case OP_TOKEN:
        return coordinate(w, node);
    case OP_SIZE:
        return index_value(w, SM90_ARG_AT(e, size, number, i64));
    case OP_HEAD:
        return index_value(w, sm90_head_field(e, w->item, offsetof(struct sm90_head, head)));
    case OP_HEADS:
        return index_value(w, SM90_ARG(e, head_count, i64));
    case OP_KV_HEAD:
        return index_value(w, sm90_head_field(e, w->item, offsetof(struct sm90_head, kv_head)));
    case OP_BATCH:
        return index_value(w, sm90_head_field(e, w->item, offsetof(struct sm90_head, batch)));
    case OP_PARAM:
        return slot_value(w, sm90_arg_at(e, SM90_PARAM + 8 * (int64_t)number, i64), node->type);
    case OP_TABLE:
        return table_element(w, node, args[0]);
    case OP_SCORE:
        return w->score;
    case OP_PLACE:
        return index_value(w, node->payload.ref.side == PLACE_OF_TILE ? w->tile[number]
                                                                      : w->place[number]);
    case OP_RESIDUE:
        return index_value(w,
                           sm90_box_field(e, w->item, offsetof(struct sm90_box, residue), number));
    case OP_DILATION:
        return index_value(w, SM90_ARG_AT(e, dilation, number, i64));
    case OP_MEMBER:
        return member(w, node, args);
    default: // OP_INPUT, OP_MAP
        return array_element(w, node, args);
    }
}

aval sm90_leaf(struct expr_walk *walk, const struct expr *node, const aval *args) {
    return (aval){.v = leaf((struct sm90_walk *)walk, node, args)};
}
