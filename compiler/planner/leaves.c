// Part of stage `emit`, planner: leaf values.

#include "compiler/planner/leaves.h"

#include <stddef.h>

static struct leaves *of(struct expr_walk *walk) {
    return walk->context;
}
static aval val(LLVMValueRef v) {
    return (aval){.v = v};
}
static LLVMValueRef env_field(struct leaves *leaves, size_t offset, LLVMTypeRef type) {
    return llvm_load_field(leaves->unit, leaves->env, offset, type, "");
}
LLVMValueRef leaves_item_field(struct leaves *leaves, size_t offset) {
    return llvm_load_field(leaves->unit, leaves->item, offset, leaves->unit->i64, "");
}

// ---- uniform leaves ---------------------------------------------------------------------------

static aval load_slot(struct leaves *leaves, LLVMValueRef slots, aval index, enum type type) {
    LLVMTypeRef element = type == TYPE_REAL ? leaves->unit->f64 : leaves->unit->i64;
    LLVMValueRef at = llvm_element(leaves->unit, leaves->unit->i64, slots, index.v);
    return val(LLVMBuildLoad2(leaves->unit->builder, element, at, ""));
}

static aval load_param(struct leaves *leaves, const struct expr *node) {
    LLVMValueRef slots = env_field(leaves, offsetof(struct abi_env, params), leaves->unit->ptr);
    return load_slot(leaves, slots, a_int(&leaves->alg.alg, node->payload.ref.index), node->type);
}

static LLVMValueRef table_slots(struct leaves *leaves, const struct expr *node) {
    LLVMValueRef tables = env_field(leaves, offsetof(struct abi_env, tables), leaves->unit->ptr);
    LLVMValueRef at = llvm_element(leaves->unit, leaves->unit->ptr, tables,
                                   llvm_int(leaves->unit->i64, node->payload.ref.index));
    return LLVMBuildLoad2(leaves->unit->builder, leaves->unit->ptr, at, "");
}

static aval heads(struct leaves *leaves) {
    return val(env_field(leaves, offsetof(struct abi_env, heads), leaves->unit->i64));
}

static aval clamped(struct leaves *leaves, aval index, aval end) {
    struct alg *alg = &leaves->alg.alg;
    aval last = a2(alg, ALG_I_SUB, end, a_int(alg, 1));
    return a2(alg, ALG_I_MAX, a2(alg, ALG_I_MIN, index, last), a_int(alg, 0));
}

static aval kv_head(struct leaves *leaves) {
    struct alg *alg = &leaves->alg.alg;
    aval kv_heads = val(env_field(leaves, offsetof(struct abi_env, kv_heads), leaves->unit->i64));
    aval head = val(leaves_item_field(leaves, offsetof(struct abi_item, head)));
    return a2(alg, ALG_I_QUOT, head, a2(alg, ALG_I_QUOT, heads(leaves), kv_heads));
}

// Leaves that are one value for an item, in either meaning.
static bool uniform_leaf(struct leaves *leaves, const struct expr *node, aval *out) {
    unsigned index = node->payload.ref.index;
    switch (node->op) {
    case OP_SIZE:
        *out = val(env_field(leaves, offsetof(struct abi_env, size) + index * sizeof(int64_t),
                             leaves->unit->i64));
        return true;
    case OP_HEAD:
        *out = val(leaves_item_field(leaves, offsetof(struct abi_item, head)));
        return true;
    case OP_BATCH:
        *out = val(leaves_item_field(leaves, offsetof(struct abi_item, batch)));
        return true;
    case OP_HEADS:
        *out = heads(leaves);
        return true;
    case OP_KV_HEAD:
        *out = kv_head(leaves);
        return true;
    case OP_PARAM:
        *out = load_param(leaves, node);
        return true;
    case OP_RESIDUE:
        *out = val(leaves_item_field(leaves,
                                     offsetof(struct abi_item, residue) + index * sizeof(int64_t)));
        return true;
    case OP_DILATION:
        *out = val(leaves_item_field(leaves, offsetof(struct abi_item, dilation) +
                                                 index * sizeof(int64_t)));
        return true;
    default:
        return false;
    }
}

// ---- arrays -----------------------------------------------------------------------------------

// &arrays[n]: inputs come first, maps after them.
static LLVMValueRef array_of(struct leaves *leaves, const struct expr *node) {
    int64_t n = node->payload.ref.index;
    if (node->op == OP_MAP)
        n += leaves->pattern->input_count;
    LLVMValueRef arrays = env_field(leaves, offsetof(struct abi_env, arrays), leaves->unit->ptr);
    return llvm_byte_offset(leaves->unit, arrays,
                            llvm_int(leaves->unit->i64, n * (int64_t)sizeof(struct abi_array)));
}

static aval load_element(struct leaves *leaves, const struct expr *node, LLVMValueRef data,
                         aval at) {
    struct llvm_unit *unit = leaves->unit;
    LLVMTypeRef type = node->type == TYPE_BOOL   ? unit->i8
                       : node->type == TYPE_REAL ? unit->f32
                                                 : unit->i32;
    LLVMValueRef raw =
        LLVMBuildLoad2(unit->builder, type, llvm_element(unit, type, data, at.v), "");
    if (node->type == TYPE_BOOL)
        return val(LLVMBuildICmp(unit->builder, LLVMIntNE, raw, llvm_int(unit->i8, 0), ""));
    if (node->type == TYPE_REAL)
        return val(LLVMBuildFPExt(unit->builder, raw, unit->f64, ""));
    return val(LLVMBuildSExt(unit->builder, raw, unit->i64, ""));
}

static aval read_array(struct leaves *leaves, const struct expr *node, const aval *args) {
    struct alg *alg = &leaves->alg.alg;
    struct llvm_unit *unit = leaves->unit;
    LLVMValueRef array = array_of(leaves, node);
    aval at = a_int(alg, 0);
    for (int i = 0; i < node->arity; i++) {
        size_t offset = offsetof(struct abi_array, extent) + (size_t)i * sizeof(int64_t);
        aval extent = val(llvm_load_field(unit, array, offset, unit->i64, ""));
        at = a2(alg, ALG_I_ADD, a2(alg, ALG_I_MUL, at, extent), clamped(leaves, args[i], extent));
    }
    LLVMValueRef data =
        llvm_load_field(unit, array, offsetof(struct abi_array, data), unit->ptr, "");
    return load_element(leaves, node, data, at);
}

// Of a set's table, whose last index is the element: does it reach so far?
static aval in_table(struct leaves *leaves, const struct expr *node, aval x) {
    struct alg *alg = &leaves->alg.alg;
    size_t offset =
        offsetof(struct abi_array, extent) + (size_t)(node->arity - 1) * sizeof(int64_t);
    aval extent =
        val(llvm_load_field(leaves->unit, array_of(leaves, node), offset, leaves->unit->i64, ""));
    return a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, a_int(alg, 0), x), a2(alg, ALG_I_LT, x, extent));
}

static aval point_member(struct leaves *leaves, const struct expr *node, const aval *args) {
    aval inside = in_table(leaves, node, args[node->arity - 1]);
    return a2(&leaves->alg.alg, ALG_B_AND, inside, read_array(leaves, node, args));
}

static void store_index(struct leaves *leaves, int64_t slot, aval value) {
    LLVMValueRef at = llvm_element(leaves->unit, leaves->unit->i64, leaves->scratch,
                                   llvm_int(leaves->unit->i64, slot));
    LLVMBuildStore(leaves->unit->builder, value.v, at);
}

// By address on the host, by name on a GPU, where it is linked in.
static LLVMValueRef range_function(struct leaves *leaves, LLVMTypeRef type) {
    struct llvm_unit *unit = leaves->unit;
    if (!unit->on_gpu)
        return env_field(leaves, offsetof(struct abi_env, array_range), unit->ptr);
    LLVMValueRef function = LLVMGetNamedFunction(unit->module, "array_range");
    return function ? function : LLVMAddFunction(unit->module, "array_range", type);
}

// Least and greatest element of a box of indices, by the planner's range query.
static void range_array(struct leaves *leaves, const struct expr *node, const struct box *args,
                        struct box *out) {
    struct llvm_unit *unit = leaves->unit;
    for (int i = 0; i < ABI_INDICES; i++) {
        store_index(leaves, i, i < node->arity ? args[i].lo : a_int(&leaves->alg.alg, 0));
        store_index(leaves, ABI_INDICES + i,
                    i < node->arity ? args[i].hi : a_int(&leaves->alg.alg, 0));
    }
    int64_t element = node->type == TYPE_BOOL   ? ABI_BYTE
                      : node->type == TYPE_REAL ? ABI_FLOAT32
                                                : ABI_INT32;
    LLVMValueRef his =
        llvm_byte_offset(unit, leaves->scratch, llvm_int(unit->i64, ABI_INDICES * sizeof(int64_t)));
    LLVMValueRef result = llvm_byte_offset(unit, leaves->scratch,
                                           llvm_int(unit->i64, 2 * ABI_INDICES * sizeof(int64_t)));
    LLVMTypeRef params[] = {unit->ptr, unit->i64, unit->ptr, unit->ptr, unit->ptr};
    LLVMTypeRef type = LLVMFunctionType(unit->void_type, params, 5, 0);
    LLVMValueRef call_args[] = {array_of(leaves, node), llvm_int(unit->i64, element),
                                leaves->scratch, his, result};
    LLVMBuildCall2(unit->builder, type, range_function(leaves, type), call_args, 5, "");
    LLVMTypeRef read = node->type == TYPE_REAL ? unit->f64 : unit->i64;
    aval least = val(llvm_load_field(unit, result, 0, read, ""));
    aval greatest = val(llvm_load_field(unit, result, sizeof(int64_t), read, ""));
    if (node->type == TYPE_BOOL) {
        aval zero = a_int(&leaves->alg.alg, 0);
        least = a2(&leaves->alg.alg, ALG_I_LT, zero, least);
        greatest = a2(&leaves->alg.alg, ALG_I_LT, zero, greatest);
    }
    *out = (struct box){least, greatest, 1, 0};
}

// All of the box are members, and any: where it leaves the table there are none.
static void range_member(struct leaves *leaves, const struct expr *node, const struct box *args,
                         struct box *out) {
    struct alg *alg = &leaves->alg.alg;
    const struct box *x = &args[node->arity - 1];
    aval low_inside = in_table(leaves, node, x->lo), high_inside = in_table(leaves, node, x->hi);
    aval before = a2(alg, ALG_I_LT, x->hi, a_int(alg, 0));
    range_array(leaves, node, args, out);
    out->lo = a2(alg, ALG_B_AND, out->lo, a2(alg, ALG_B_AND, low_inside, high_inside));
    // Past the table on one side only; `lo` past its end is outside with all that follow it.
    aval past =
        a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, a_int(alg, 0), x->lo), a1(alg, ALG_B_NOT, low_inside));
    aval outside = a2(alg, ALG_B_OR, before, past);
    out->hi = a2(alg, ALG_B_AND, out->hi, a1(alg, ALG_B_NOT, outside));
}

// A table at an index that varies within the box: the least and greatest of all heads.
struct table_scan {
    struct leaves *leaves;
    LLVMValueRef slots;
    enum type type;
};

static void scan_turn(void *context, aval i, aval *state) {
    struct table_scan *scan = context;
    struct alg *alg = &scan->leaves->alg.alg;
    aval x = load_slot(scan->leaves, scan->slots, i, scan->type);
    state[0] = a2(alg, scan->type == TYPE_REAL ? ALG_R_MIN : ALG_I_MIN, state[0], x);
    state[1] = a2(alg, scan->type == TYPE_REAL ? ALG_R_MAX : ALG_I_MAX, state[1], x);
}

static void range_table(struct leaves *leaves, const struct expr *node, const struct box *index,
                        struct box *out) {
    struct alg *alg = &leaves->alg.alg;
    struct table_scan scan = {leaves, table_slots(leaves, node), node->type};
    aval begin = clamped(leaves, index->lo, heads(leaves));
    aval state[2] = {load_slot(leaves, scan.slots, begin, node->type)};
    state[1] = state[0];
    if (!(index->lo.v == index->hi.v)) {
        aval last = clamped(leaves, index->hi, heads(leaves));
        aval end = a2(alg, ALG_I_ADD, last, a_int(alg, 1));
        alg->loop(alg, begin, end, a_int(alg, 1), 2, state, scan_turn, &scan);
    }
    *out = (struct box){state[0], state[1], 1, 0};
}

// ---- the walk's leaf functions ----------------------------------------------------------------

static void box_leaf(struct expr_walk *walk, const struct expr *node, const struct box *args,
                     struct box *out) {
    struct leaves *leaves = of(walk);
    aval value;
    if (uniform_leaf(leaves, node, &value))
        *out = (struct box){value, value, 1, 0};
    else if (node->op == OP_PLACE)
        *out = leaves->place[node->payload.ref.side][node->payload.ref.index];
    else if (node->op == OP_TABLE)
        range_table(leaves, node, &args[0], out);
    else if (node->op == OP_MEMBER)
        range_member(leaves, node, args, out);
    else
        range_array(leaves, node, args, out);
}

static aval point_leaf(struct expr_walk *walk, const struct expr *node, const aval *args) {
    struct leaves *leaves = of(walk);
    aval value;
    if (uniform_leaf(leaves, node, &value))
        return value;
    if (node->op == OP_PLACE)
        return leaves->point[node->payload.ref.side][node->payload.ref.index];
    if (node->op == OP_TABLE)
        return load_slot(leaves, table_slots(leaves, node), clamped(leaves, args[0], heads(leaves)),
                         node->type);
    if (node->op == OP_MEMBER)
        return point_member(leaves, node, args);
    return read_array(leaves, node, args);
}

static struct box item_ends(struct leaves *leaves, size_t begin, size_t end) {
    struct alg *alg = &leaves->alg.alg;
    aval last = a2(alg, ALG_I_SUB, val(leaves_item_field(leaves, end)), a_int(alg, 1));
    return (struct box){val(leaves_item_field(leaves, begin)), last, 1, 0};
}

void leaves_init(struct leaves *leaves, struct llvm_unit *unit, const struct pattern *pattern,
                 LLVMValueRef env, LLVMValueRef item) {
    leaves->unit = unit;
    leaves->pattern = pattern;
    leaves->env = env;
    leaves->item = item;
    llvm_alg_init(&leaves->alg, unit, 1, 64, 64, true);
    LLVMTypeRef scratch = LLVMArrayType2(unit->i64, 2 * ABI_INDICES + 2);
    leaves->scratch = LLVMBuildAlloca(unit->builder, scratch, "scratch");
    for (size_t a = 0; a < ABI_AXES; a++) {
        size_t at = a * sizeof(int64_t);
        leaves->place[0][a] = item_ends(leaves, offsetof(struct abi_item, box.begin) + at,
                                        offsetof(struct abi_item, box.end) + at);
        leaves->place[1][a] = item_ends(leaves, offsetof(struct abi_item, list_begin) + at,
                                        offsetof(struct abi_item, list_end) + at);
    }
}

void leaves_walk(struct leaves *leaves, struct expr_walk *walk) {
    expr_walk_init(walk, leaves->pattern->graph->arena, leaves->pattern->graph, &leaves->alg.alg);
    walk->box_leaf = box_leaf;
    walk->point_leaf = point_leaf;
    walk->context = leaves;
}
