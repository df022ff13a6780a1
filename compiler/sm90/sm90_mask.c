// Predicates and scores over the logits of a thread: straight-line code, a walk of the expression
// per pair. What a column of keys or a row of queries alone decides comes from shared memory where
// it costs something (sm90_slots.c); the rest is emitted again for each pair and shared by LLVM,
// which sees the same operations on the same values.
#include "compiler/sm90/sm90_mask.h"

#include <math.h>

static LLVMValueRef minus_infinity(struct sm90_emit *e) {
    return LLVMConstReal(e->unit->f32, -INFINITY);
}

struct sm90_walk *sm90_new_walk(struct sm90_emit *e, const struct sm90_item *item, int index_bits,
                                int real_bits) {
    struct sm90_walk *w = ARENA_NEW(e->arena, struct sm90_walk);
    llvm_alg_init(&w->alg, e->unit, 1, index_bits, real_bits, false);
    expr_walk_init(&w->walk, e->arena, e->pattern->graph, &w->alg.alg);
    w->walk.point_leaf = sm90_leaf;
    w->e = e;
    w->item = item;
    return w;
}

// ---- bounds -------------------------------------------------------------------------------------

void sm90_key_positions(struct sm90_mask *m, int j, int i, LLVMValueRef *out) {
    sm90_key_offset(m->e, m->thread, j, i, out);
    for (int a = 0; a < ABI_AXES; a++)
        out[a] = sm90_position(m->e, m->item, a, sm90_add(m->e, out[a], m->at->origin[a]));
}

// The tile's columns that it may touch: inside the grid and its ownership box.
static void bound_bits(struct sm90_mask *m, LLVMValueRef *out) {
    struct sm90_emit *e = m->e;
    for (int a = ABI_AXES - e->spec->axes; a < ABI_AXES; a++) {
        LLVMValueRef bits[SM90_MASK_WORDS], origin = m->at->origin[a];
        sm90_axis_bits(e, a, m->lane_columns, LLVMBuildSub(e->b, m->at->low[a], origin, ""),
                       LLVMBuildSub(e->b, m->at->high[a], origin, ""), bits);
        sm90_and_bits(e, out, bits);
    }
}

// ---- pairs --------------------------------------------------------------------------------------

static struct sm90_program *program_of(struct sm90_emit *e, const struct sm90_item *item,
                                       int real_bits) {
    struct sm90_program *program = ARENA_NEW(e->arena, struct sm90_program);
    program->real_bits = real_bits;
    program->walk = sm90_new_walk(e, item, e->spec->narrow ? 32 : 64, real_bits);
    return program;
}

static const struct sm90_slot *
slot_of(const struct sm90_emit *e, const struct sm90_program *program, int number, bool of_key) {
    const struct sm90_slot *slot = sm90_slot(e, number);
    return slot->of_key == of_key && slot->real_bits == program->real_bits ? slot : NULL;
}

static void place_rows(struct sm90_mask *m, struct sm90_program *program) {
    LLVMValueRef first = sm90_first_row(m->e, m->thread);
    for (int i = 0; i < sm90_slot_count(m->e); i++) {
        const struct sm90_slot *slot = slot_of(m->e, program, i, false);
        for (int row = 0; row < SM90_ROWS && slot; row++)
            program->query[row][i] =
                sm90_slot_load(m->e, slot, NULL, sm90_add_const(m->e, first, 8 * row));
    }
}

void sm90_place_key(struct sm90_mask *m, struct sm90_program *program, int j, int i) {
    LLVMValueRef offset[ABI_AXES];
    sm90_key_offset(m->e, m->thread, j, i, offset);
    LLVMValueRef lane = LLVMBuildAnd(m->e->b, m->thread, sm90_i32(m->e, 3), "");
    LLVMValueRef number = sm90_add_const(m->e, sm90_mul_const(m->e, lane, 2), 8 * j + i);
    for (int s = 0; s < sm90_slot_count(m->e); s++) {
        const struct sm90_slot *slot = slot_of(m->e, program, s, true);
        if (slot)
            program->key[s] =
                sm90_slot_load(m->e, slot, m->copy, slot->axis < 0 ? number : offset[slot->axis]);
    }
}

// Starts the walk anew, with what waits in slots of the query, and of the key where it is in hand.
static void begin_walk(struct sm90_mask *m, struct sm90_program *program, const LLVMValueRef *key,
                       int row) {
    struct sm90_walk *w = program->walk;
    expr_walk_reset(&w->walk);
    w->query = m->rows.position[row];
    w->key = key;
    for (int i = 0; i < sm90_slot_count(m->e); i++) {
        const struct sm90_slot *slot = sm90_slot(m->e, i);
        LLVMValueRef value = slot->of_key ? program->key[i] : program->query[row][i];
        if (slot->real_bits == program->real_bits && (key || !slot->of_key))
            expr_walk_preset(&w->walk, slot->node, (aval){.v = value});
    }
}

LLVMValueRef sm90_pair_value(struct sm90_mask *m, struct sm90_program *program,
                             const struct expr *root, const LLVMValueRef *key, int row) {
    begin_walk(m, program, key, row);
    return expr_walk_point(&program->walk->walk, root).v;
}

LLVMValueRef sm90_row_value(struct sm90_mask *m, struct sm90_program *program,
                            const struct expr *root, int row, const struct expr *preset,
                            LLVMValueRef value) {
    begin_walk(m, program, NULL, row);
    if (preset)
        expr_walk_preset(&program->walk->walk, preset, (aval){.v = value});
    return expr_walk_point(&program->walk->walk, root).v;
}

static LLVMValueRef scored(struct sm90_mask *m, struct sm90_program *score, const LLVMValueRef *key,
                           int row, LLVMValueRef logit) {
    struct sm90_emit *e = m->e;
    LLVMTypeRef f32 = e->unit->f32;
    if (!e->pattern->score)
        return LLVMBuildFMul(e->b, logit, SM90_ARG(e, scale_log2, f32), "");
    score->walk->score = LLVMBuildFMul(e->b, logit, SM90_ARG(e, scale, f32), "");
    return LLVMBuildFMul(e->b, sm90_pair_value(m, score, e->pattern->score, key, row),
                         LLVMConstReal(f32, 1.4426950408889634074), "");
}

// Logits, output and weights fill the registers already, and the driver's assembler likes to
// compute many pairs side by side. Cutting the code into blocks, by a test that is never true but
// that it cannot see through, holds it to a group of columns at a time.
static void cut_block(struct sm90_emit *e, LLVMValueRef flags) {
    LLVMBasicBlockRef never = llvm_new_block(e->unit, ""), next = llvm_new_block(e->unit, "");
    LLVMValueRef bit = LLVMBuildAnd(e->b, flags, sm90_i32(e, SM90_FLAG_NEVER), "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, bit, sm90_i32(e, 0), ""), never, next);
    LLVMPositionBuilderAtEnd(e->b, never);
    sm90_asm(e, NULL, "trap;", "", NULL, 0);
    LLVMBuildUnreachable(e->b);
    LLVMPositionBuilderAtEnd(e->b, next);
}

enum { GROUP = 8 }; // columns (in pairs of a thread's) between cuts

static void score_pairs(struct sm90_mask *m, bool partial, LLVMValueRef flags,
                        LLVMValueRef *logits) {
    struct sm90_emit *e = m->e;
    struct sm90_program *score = program_of(e, m->item, 32);
    LLVMValueRef key[ABI_AXES] = {NULL};
    place_rows(m, score);
    for (int pair = 0; pair < e->logit_count / 2; pair++) {
        int j = pair / 2, i = pair % 2;
        if (partial && pair && pair % GROUP == 0)
            cut_block(e, flags);
        if (m->at)
            sm90_key_positions(m, j, i, key);
        sm90_place_key(m, score, j, i);
        for (int row = 0; row < SM90_ROWS; row++) {
            LLVMValueRef *x = &logits[4 * j + 2 * row + i];
            *x = scored(m, score, key, row, *x);
        }
    }
}

// Clears the bits of pairs that a part tested pair by pair drops, a group of columns at a time.
static void test_pairs(struct sm90_mask *m, struct sm90_program *keep, const struct sm90_rest *rest,
                       LLVMValueRef flags, LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS]) {
    struct sm90_emit *e = m->e;
    LLVMValueRef key[ABI_AXES];
    for (int pair = 0; pair < e->logit_count / 2; pair++) {
        int j = pair / 2, i = pair % 2;
        if (pair && pair % GROUP == 0)
            cut_block(e, flags);
        sm90_key_positions(m, j, i, key);
        sm90_place_key(m, keep, j, i);
        for (int row = 0; row < SM90_ROWS; row++) {
            LLVMValueRef all = llvm_int(e->unit->i1, 1);
            for (int p = 0; p < rest->count; p++)
                all =
                    LLVMBuildAnd(e->b, all, sm90_pair_value(m, keep, rest->parts[p], key, row), "");
            LLVMValueRef others = sm90_i32(e, (int64_t) ~(UINT32_C(1) << j));
            LLVMValueRef without = LLVMBuildAnd(e->b, bits[row][i], others, "");
            bits[row][i] = LLVMBuildSelect(e->b, all, bits[row][i], without, "");
        }
    }
}

// Word by word, bit by bit: the driver's assembler then moves seven bits at a time into predicates
// (R2P), where in the logits' own order it tests each with an instruction of its own.
static void apply_bits(struct sm90_emit *e, LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS],
                       LLVMValueRef *logits) {
    LLVMValueRef zero = sm90_i32(e, 0);
    int columns = e->logit_count / 4;
    for (int n = 0; n < e->logit_count; n++) {
        int j = n % columns, i = n / columns % 2, row = n / columns / 2;
        LLVMValueRef *logit = &logits[4 * j + 2 * row + i];
        LLVMValueRef bit =
            LLVMBuildAnd(e->b, bits[row][i], sm90_i32(e, (int64_t)(UINT32_C(1) << j)), "");
        LLVMValueRef kept = LLVMBuildICmp(e->b, LLVMIntNE, bit, zero, "");
        *logit = LLVMBuildSelect(e->b, kept, *logit, minus_infinity(e), "");
    }
}

static void mask_pairs(struct sm90_mask *m, LLVMValueRef flags, LLVMValueRef *logits) {
    struct sm90_emit *e = m->e;
    LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS], bounds[SM90_MASK_WORDS] = {NULL};
    struct sm90_program *keep = program_of(e, m->item, 64);
    struct sm90_rest rest = {.count = 0};
    bound_bits(m, bounds);
    for (int i = 0; i < SM90_ROWS * SM90_MASK_WORDS; i++)
        bits[i / SM90_MASK_WORDS][i % SM90_MASK_WORDS] = bounds[i % SM90_MASK_WORDS];
    sm90_interval_bits(m, bits);
    place_rows(m, keep);
    sm90_word_bits(m, keep, bits);
    sm90_factors(m, keep, bits, &rest);
    if (rest.count)
        test_pairs(m, keep, &rest, flags, bits);
    apply_bits(e, bits, logits);
}

// To the logits of the last group, column `column` of this tile where `ragged` is not 0.
static void add_ragged(struct sm90_mask *m, LLVMValueRef ragged, LLVMValueRef column,
                       LLVMValueRef *logits) {
    struct sm90_emit *e = m->e;
    LLVMValueRef zero = LLVMConstReal(e->unit->f32, 0.0), sums[SM90_MAX_LOGITS];
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef add = llvm_new_block(e->unit, "ragged");
    LLVMBasicBlockRef after = llvm_new_block(e->unit, "");
    LLVMBuildCondBr(e->b, LLVMBuildFCmp(e->b, LLVMRealUNE, ragged, zero, ""), add, after);
    LLVMPositionBuilderAtEnd(e->b, add);
    column = LLVMBuildSub(e->b, column, m->lane_columns, "");
    for (int n = 0; n < e->logit_count; n++) {
        LLVMValueRef here =
            LLVMBuildICmp(e->b, LLVMIntEQ, column, sm90_i32(e, n / 4 * 8 + n % 2), "");
        sums[n] = LLVMBuildFAdd(e->b, logits[n], LLVMBuildSelect(e->b, here, ragged, zero, ""), "");
    }
    LLVMBuildBr(e->b, after);
    LLVMPositionBuilderAtEnd(e->b, after);
    for (int n = 0; n < e->logit_count; n++) {
        LLVMValueRef phi = LLVMBuildPhi(e->b, e->unit->f32, "");
        LLVMAddIncoming(phi, &logits[n], &before, 1);
        LLVMAddIncoming(phi, &sums[n], &add, 1);
        logits[n] = phi;
    }
}

void sm90_mask(struct sm90_emit *e, const struct sm90_mask_input *input, bool partial,
               LLVMValueRef *logits) {
    struct sm90_mask m = {.e = e, .item = input->item, .at = input->at, .copy = input->copy};
    m.thread = sm90_thread(e);
    m.lane_columns = sm90_mul_const(e, LLVMBuildAnd(e->b, m.thread, sm90_i32(e, 3), ""), 2);
    if (m.at)
        m.rows = sm90_rows_place(e, m.item, m.thread);
    if (e->spec->scale_first)
        score_pairs(&m, partial, input->flags, logits);
    if (partial && input->ragged)
        add_ragged(&m, input->ragged, input->ragged_column, logits);
    if (partial)
        mask_pairs(&m, input->flags, logits);
}
