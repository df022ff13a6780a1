// Parts of a predicate or score that one side decides and that cost something (a division, a read,
// a quantifier, reals) are computed once where they are decided and wait in shared memory:
//
//   QUERY  once per item: lanes 0 .. 15 of a warp, for the warp's own 16 rows
//   KEY    once per tile that needs them: the threads of a warpgroup, one key each. What depends on
//          one axis only is indexed by that axis's offset in the tile, so that a tile of 8 x 16
//          keys computes 8 + 16 values, and pairs of equal y share what y decides
//
// Key slots are double: a warp that writes for the next tile has passed the barrier that all warps
// reach after their reads of the tile before.
#include "compiler/sm90/sm90_mask.h"

#include <string.h>

enum { SLOT_COUNT = SM90_MOST_SLOTS, SHARED_SPACE = 3 };

struct sm90_slots {
    struct sm90_slot slots[SLOT_COUNT];
    int count, room_bytes, used_bytes;
    uint8_t *seen, *cost;         // by node id; cost: 1 known cheap, 2 known dear
    const struct sm90_spec *spec; // or NULL: not decided yet
    bool of_query;                // alone
};

// ---- planning -----------------------------------------------------------------------------------

int sm90_key_axis(const struct sm90_emit *e, const struct expr *node) {
    if (node->op == OP_TOKEN)
        return e->spec->axes == 1 ? ABI_AXES - 1 : -1;
    if (node->op == OP_COORD)
        return e->spec->axis_basis[node->payload.ref.index];
    int axis = -2; // none yet
    for (int i = 0; i < node->arity; i++) {
        if (!(node->args[i]->deps & DEP_KEY))
            continue;
        int part = sm90_key_axis(e, node->args[i]);
        if (part == -1 || (axis != -2 && axis != part))
            return -1;
        axis = part;
    }
    return axis;
}

static void add_slot(struct sm90_emit *e, struct sm90_slots *slots, const struct expr *node,
                     int real_bits) {
    struct sm90_slot slot = {.node = node, .real_bits = real_bits};
    slot.of_key = node->deps & DEP_KEY;
    slot.axis = slot.of_key ? sm90_key_axis(e, node) : -1;
    bool wide =
        node->type == TYPE_REAL ? real_bits == 64 : node->type == TYPE_INT && !e->spec->narrow;
    slot.bytes = wide ? 8 : 4;
    slot.extent = !slot.of_key     ? e->shape.query_rows
                  : slot.axis >= 0 ? e->spec->key_tile[slot.axis]
                                   : e->shape.key_rows;
    int bytes = slot.bytes * slot.extent * (slot.of_key ? 2 * e->shape.consumers : 1);
    bytes = (bytes + 15) / 16 * 16;
    if (slots->count == SLOT_COUNT || slots->used_bytes + bytes > slots->room_bytes ||
        (slot.of_key && slot.extent > SM90_WARPGROUP))
        return; // computed for each pair instead
    slot.at = slots->used_bytes;
    slots->used_bytes += bytes;
    slots->slots[slots->count++] = slot;
}

static void find_slots(struct sm90_emit *e, struct sm90_slots *slots, const struct expr *node,
                       int real_bits) {
    if (slots->seen[node->id])
        return;
    slots->seen[node->id] = 1;
    bool query = node->deps & DEP_QUERY, key = node->deps & DEP_KEY;
    if (!sm90_is_costly(node, slots->cost, slots->spec) || (!query && !key))
        return;
    if (key && !query && slots->of_query)
        return;
    if (query != key && !node->vars && !(node->deps & DEP_SCORE)) {
        add_slot(e, slots, node, real_bits);
        return;
    }
    for (int i = 0; i < node->arity; i++)
        find_slots(e, slots, node->args[i], real_bits);
}

void sm90_plan_slots(struct sm90_emit *e) {
    struct sm90_slots *slots = ARENA_NEW(e->arena, struct sm90_slots);
    size_t nodes = e->pattern->graph->count;
    slots->spec = e->spec;
    e->intervals_at = (e->shape.shared_bytes + 15) / 16 * 16;
    e->words_at = e->intervals_at + sm90_plan_intervals(e, SM90_SHARED_LIMIT - e->intervals_at);
    e->slots_at = e->words_at + sm90_plan_words(e, SM90_SHARED_LIMIT - e->words_at);
    slots->room_bytes = SM90_SHARED_LIMIT - e->slots_at;
    slots->cost = ARENA_ARRAY(e->arena, uint8_t, nodes);
    slots->seen = ARENA_ARRAY(e->arena, uint8_t, nodes);
    for (int of_query = 0; of_query < 2; of_query++)
        for (int i = 0; i < e->mask->count; i++) {
            slots->of_query = of_query; // words compute what the key decides
            if (!sm90_is_interval(e, i) && sm90_is_words(e, i) == slots->of_query)
                find_slots(e, slots, e->mask->parts[i].keep, 64);
        }
    slots->seen = ARENA_ARRAY(e->arena, uint8_t, nodes);
    if (e->pattern->score)
        find_slots(e, slots, e->pattern->score, 32);
    e->slots = slots;
    e->shape.shared_bytes = e->slots_at + slots->used_bytes;
}

// ---- shared memory ------------------------------------------------------------------------------

static LLVMTypeRef slot_type(struct sm90_emit *e, const struct sm90_slot *slot) {
    struct llvm_unit *unit = e->unit;
    if (slot->node->type == TYPE_REAL)
        return slot->bytes == 8 ? unit->f64 : unit->f32;
    return slot->bytes == 8 ? unit->i64 : unit->i32;
}

static LLVMValueRef slot_at(struct sm90_emit *e, const struct sm90_slot *slot, LLVMValueRef copy,
                            LLVMValueRef index) {
    LLVMValueRef at = sm90_add_const(e, e->shared, e->slots_at + slot->at);
    if (slot->of_key)
        at = sm90_add(e, at, sm90_mul_const(e, copy, (int64_t)slot->bytes * slot->extent));
    at = sm90_add(e, at, sm90_mul_const(e, index, slot->bytes));
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->unit->context, SHARED_SPACE);
    return LLVMBuildIntToPtr(e->b, at, pointer, "");
}

static void store(struct sm90_emit *e, const struct sm90_slot *slot, LLVMValueRef to,
                  LLVMValueRef value) {
    LLVMTypeRef type = slot_type(e, slot);
    if (slot->node->type == TYPE_BOOL)
        value = LLVMBuildZExt(e->b, value, type, "");
    else if (slot->node->type == TYPE_INT)
        value = LLVMBuildIntCast2(e->b, value, type, true, "");
    LLVMBuildStore(e->b, value, to);
}

LLVMValueRef sm90_slot_load(struct sm90_emit *e, const struct sm90_slot *slot, LLVMValueRef copy,
                            LLVMValueRef index) {
    LLVMValueRef x = LLVMBuildLoad2(e->b, slot_type(e, slot), slot_at(e, slot, copy, index), "");
    if (slot->node->type == TYPE_BOOL)
        return LLVMBuildICmp(e->b, LLVMIntNE, x, llvm_int(e->unit->i32, 0), "");
    return x;
}

int sm90_slot_count(const struct sm90_emit *e) {
    return e->slots->count;
}

const struct sm90_slot *sm90_slot(const struct sm90_emit *e, int number) {
    return &e->slots->slots[number];
}

static bool any_slot(const struct sm90_emit *e, bool of_key) {
    for (int i = 0; i < e->slots->count; i++)
        if (e->slots->slots[i].of_key == of_key)
            return true;
    return false;
}

// ---- division -----------------------------------------------------------------------------------

// Divisors are mostly parameters (a dilation, a stride) that are mostly 1, and a division takes its
// time: where there are few of them, a test pays.
static aval quick_binary(struct alg *alg, enum alg_binary op, aval x, aval y) {
    struct llvm_alg *a = (struct llvm_alg *)alg, plain;
    LLVMBuilderRef b = a->unit->builder;
    int64_t known;
    llvm_alg_init(&plain, a->unit, 1, alg->index_bits, a->real == a->unit->f64 ? 64 : 32, false);
    if ((op != ALG_I_QUOT && op != ALG_I_REM) || alg->known(alg, y, &known) ||
        LLVMTypeOf(x.v) != LLVMTypeOf(y.v))
        return plain.alg.binary(&plain.alg, op, x, y);
    LLVMValueRef one = llvm_int(LLVMTypeOf(y.v), 1);
    LLVMValueRef quick = op == ALG_I_QUOT ? x.v : llvm_int(LLVMTypeOf(x.v), 0);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b);
    LLVMBasicBlockRef divide = llvm_new_block(a->unit, "divide");
    LLVMBasicBlockRef after = llvm_new_block(a->unit, "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntEQ, y.v, one, ""), after, divide);
    LLVMPositionBuilderAtEnd(b, divide);
    LLVMValueRef full = plain.alg.binary(&plain.alg, op, x, y).v;
    LLVMBasicBlockRef from = LLVMGetInsertBlock(b);
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, after);
    LLVMValueRef phi = LLVMBuildPhi(b, LLVMTypeOf(quick), "");
    LLVMAddIncoming(phi, &quick, &before, 1);
    LLVMAddIncoming(phi, &full, &from, 1);
    return (aval){.v = phi};
}

static struct sm90_walk *slot_walk(struct sm90_emit *e, const struct sm90_item *item,
                                   int index_bits, int real_bits) {
    struct sm90_walk *w = sm90_new_walk(e, item, index_bits, real_bits);
    w->alg.alg.binary = quick_binary;
    return w;
}

// ---- filling ------------------------------------------------------------------------------------

static LLVMValueRef below(struct sm90_emit *e, LLVMValueRef x, int limit) {
    return LLVMBuildICmp(e->b, LLVMIntULT, x, sm90_i32(e, limit), "");
}

static LLVMValueRef value_of(struct sm90_walk *walks[2], const struct sm90_slot *slot) {
    struct sm90_walk *w = walks[slot->real_bits == 32];
    return expr_walk_point(&w->walk, slot->node).v;
}

// Row of the query tile that lanes 0 .. 15 of a warp look after.
static LLVMValueRef lane_row(struct sm90_emit *e, LLVMValueRef *out_lane) {
    LLVMValueRef thread = sm90_thread(e);
    *out_lane = LLVMBuildAnd(e->b, thread, sm90_i32(e, 31), "");
    LLVMValueRef warp = LLVMBuildLShr(e->b, sm90_add_const(e, thread, -128), sm90_i32(e, 5), "");
    return sm90_add(e, sm90_mul_const(e, warp, 16), *out_lane);
}

static void sync_warp(struct sm90_emit *e) {
    sm90_asm(e, NULL, "bar.warp.sync 0xffffffff;", "~{memory}", NULL, 0);
}

void sm90_fill_tile_intervals(struct sm90_emit *e, const struct sm90_item *item,
                              const struct sm90_tile_place *at) {
    if (!sm90_has_tile_intervals(e))
        return;
    struct sm90_walk *ends = slot_walk(e, item, 64, 64);
    LLVMValueRef lane, row = lane_row(e, &lane), place[ABI_AXES];
    struct llvm_if test;
    sync_warp(e); // the tile before has been read
    llvm_if_begin(e->unit, &test, below(e, lane, 16), "tile_intervals");
    sm90_row_place(e, item, row, place);
    ends->place = place;
    ends->tile = at->origin;
    sm90_fill_intervals(e, ends, row, true);
    llvm_if_end(&test);
    sync_warp(e);
}

void sm90_fill_query_slots(struct sm90_emit *e, const struct sm90_item *item) {
    struct sm90_walk *ends = slot_walk(e, item, 64, 64);
    int index_bits = e->spec->narrow ? 32 : 64;
    struct sm90_walk *walks[] = {slot_walk(e, item, index_bits, 64),
                                 slot_walk(e, item, index_bits, 32)};
    LLVMValueRef lane, row = lane_row(e, &lane), position[ABI_AXES], place[ABI_AXES];
    if (!any_slot(e, false) && !sm90_has_intervals(e))
        return;
    sync_warp(e);
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, below(e, lane, 16), "query_slots");
    ends->place = place;
    sm90_row_place(e, item, row, place);
    sm90_fill_intervals(e, ends, row, false);
    sm90_row_position(e, item, row, NULL, position);
    walks[0]->query = walks[1]->query = position;
    for (int i = 0; i < e->slots->count; i++) {
        const struct sm90_slot *slot = &e->slots->slots[i];
        if (!slot->of_key)
            store(e, slot, slot_at(e, slot, NULL, row), value_of(walks, slot));
    }
    llvm_if_end(&test);
    sync_warp(e);
}

// All key slots of one axis (-1: of all axes together), by as many threads as it has offsets.
static void fill_axis(struct sm90_emit *e, const struct sm90_item *item,
                      const struct sm90_tile_place *at, int axis, LLVMValueRef index, int extent,
                      LLVMValueRef copy) {
    int index_bits = e->spec->narrow ? 32 : 64;
    struct sm90_walk *walks[] = {slot_walk(e, item, index_bits, 64),
                                 slot_walk(e, item, index_bits, 32)};
    LLVMValueRef offset[ABI_AXES], position[ABI_AXES];
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, below(e, index, extent), "key_slots");
    if (axis < 0)
        sm90_unravel(e, index, e->spec->key_tile, offset);
    for (int a = 0; a < ABI_AXES; a++) {
        LLVMValueRef c = axis < 0 ? offset[a] : a == axis ? index : sm90_i32(e, 0);
        position[a] = sm90_position(e, item, a, sm90_add(e, at->origin[a], c));
    }
    walks[0]->key = walks[1]->key = position;
    for (int i = 0; i < e->slots->count; i++) {
        const struct sm90_slot *slot = &e->slots->slots[i];
        if (slot->of_key && slot->axis == axis)
            store(e, slot, slot_at(e, slot, copy, index), value_of(walks, slot));
    }
    llvm_if_end(&test);
}

static LLVMValueRef consumer_group(struct sm90_emit *e) {
    return LLVMBuildLShr(e->b, sm90_add_const(e, sm90_thread(e), -128), sm90_i32(e, 7), "");
}

bool sm90_has_key_slots(const struct sm90_emit *e) {
    return any_slot(e, true) || sm90_has_words(e);
}

LLVMValueRef sm90_key_copy(struct sm90_emit *e, LLVMValueRef count) {
    LLVMValueRef half = LLVMBuildAnd(e->b, count, sm90_i32(e, 1), "");
    return sm90_add(e, sm90_mul_const(e, consumer_group(e), 2), half);
}

// Short axes go to warps of their own.
void sm90_fill_key_slots(struct sm90_emit *e, const struct sm90_item *item,
                         const struct sm90_tile_place *at, LLVMValueRef copy) {
    if (!sm90_has_key_slots(e))
        return;
    LLVMValueRef thread = sm90_thread(e);
    int turn = 0;
    for (int axis = -1; axis < ABI_AXES; axis++) {
        bool wanted = false;
        for (int i = 0; i < e->slots->count; i++)
            wanted |= e->slots->slots[i].of_key && e->slots->slots[i].axis == axis;
        if (!wanted)
            continue;
        int extent = axis < 0 ? e->shape.key_rows : e->spec->key_tile[axis];
        int first = extent <= 32 ? 32 * (turn++ % 4) : 0;
        LLVMValueRef in_group = LLVMBuildAnd(e->b, thread, sm90_i32(e, 127), "");
        fill_axis(e, item, at, axis, sm90_add_const(e, in_group, -first), extent, copy);
    }
    LLVMValueRef group = consumer_group(e);
    if (sm90_has_words(e))
        sm90_fill_words(e, item, at, group, copy);
    LLVMValueRef name = sm90_add_const(e, group, 1);
    sm90_asm(e, NULL, "bar.sync $0, 128;", "r,~{memory}", &name, 1);
}
