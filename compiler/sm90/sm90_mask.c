// Predicates and scores over the logits of a thread: straight-line code, a walk of the expression
// per pair. What a column of keys or a row of queries alone decides comes from shared memory where
// it costs something (sm90_slots.c); the rest is emitted again for each pair and shared by LLVM,
// which sees the same operations on the same values.
#include "compiler/sm90/sm90_mask.h"

#include <math.h>

static LLVMValueRef minus_infinity(struct sm90_emit *e) {
    return LLVMConstReal(e->unit->f32, -INFINITY);
}

struct sm90_walk *sm90_new_walk(struct sm90_emit *e, const struct sm90_item *item, int real_bits) {
    struct sm90_walk *w = ARENA_NEW(e->arena, struct sm90_walk);
    llvm_alg_init(&w->alg, e->unit, 1, e->spec->narrow ? 32 : 64, real_bits, false);
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

// Does the tile stick out of what it may touch? Uniform over the block.
static LLVMValueRef sticks_out(struct sm90_mask *m) {
    struct sm90_emit *e = m->e;
    LLVMValueRef out = llvm_int(e->unit->i1, 0);
    for (int a = ABI_AXES - e->spec->axes; a < ABI_AXES; a++) {
        LLVMValueRef end = sm90_add_const(e, m->at->origin[a], e->spec->key_tile[a]);
        LLVMValueRef under = LLVMBuildICmp(e->b, LLVMIntSLT, m->at->origin[a], m->at->low[a], "");
        LLVMValueRef over = LLVMBuildICmp(e->b, LLVMIntSGT, end, m->at->high[a], "");
        out = LLVMBuildOr(e->b, out, LLVMBuildOr(e->b, under, over, ""), "");
    }
    return out;
}

static LLVMValueRef is_inside(struct sm90_mask *m, int j, int i) {
    struct sm90_emit *e = m->e;
    LLVMValueRef at[ABI_AXES], inside = NULL;
    sm90_key_offset(e, m->thread, j, i, at);
    for (int a = ABI_AXES - e->spec->axes; a < ABI_AXES; a++) {
        LLVMValueRef base = LLVMBuildSub(e->b, m->at->origin[a], m->at->low[a], "");
        LLVMValueRef size = LLVMBuildSub(e->b, m->at->high[a], m->at->low[a], "");
        LLVMValueRef here = LLVMBuildICmp(e->b, LLVMIntULT, sm90_add(e, base, at[a]), size, "");
        inside = inside ? LLVMBuildAnd(e->b, inside, here, "") : here;
    }
    return inside;
}

static void apply_bounds(struct sm90_mask *m, LLVMValueRef *logits) {
    struct sm90_emit *e = m->e;
    LLVMValueRef masked[SM90_MAX_LOGITS];
    LLVMValueRef out = sticks_out(m);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef test = llvm_new_block(e->unit, "bounds");
    LLVMBasicBlockRef after = llvm_new_block(e->unit, "");
    LLVMBuildCondBr(e->b, out, test, after);
    LLVMPositionBuilderAtEnd(e->b, test);
    for (int j = 0; j < e->logit_count / 4; j++)
        for (int i = 0; i < 2; i++) {
            LLVMValueRef inside = is_inside(m, j, i);
            for (int row = 0; row < SM90_ROWS; row++) {
                int n = 4 * j + 2 * row + i;
                masked[n] = LLVMBuildSelect(e->b, inside, logits[n], minus_infinity(e), "");
            }
        }
    LLVMBuildBr(e->b, after);
    LLVMPositionBuilderAtEnd(e->b, after);
    for (int n = 0; n < e->logit_count; n++) {
        LLVMValueRef phi = LLVMBuildPhi(e->b, e->unit->f32, "");
        LLVMAddIncoming(phi, &logits[n], &before, 1);
        LLVMAddIncoming(phi, &masked[n], &test, 1);
        logits[n] = phi;
    }
}

// ---- pairs --------------------------------------------------------------------------------------

static struct sm90_program *program_of(struct sm90_emit *e, const struct sm90_item *item,
                                       const struct expr *root, int real_bits) {
    struct sm90_program *program = ARENA_NEW(e->arena, struct sm90_program);
    program->root = root;
    program->real_bits = real_bits;
    if (root && !(root->type == TYPE_BOOL && expr_is_bool(root, true)))
        program->walk = sm90_new_walk(e, item, real_bits);
    return program;
}

static const struct sm90_slot *
slot_of(const struct sm90_emit *e, const struct sm90_program *program, int number, bool of_key) {
    const struct sm90_slot *slot = sm90_slot(e, number);
    return slot->of_key == of_key && slot->real_bits == program->real_bits ? slot : NULL;
}

static void place_rows(struct sm90_mask *m, struct sm90_program *program) {
    LLVMValueRef first = program->walk ? sm90_first_row(m->e, m->thread) : NULL;
    for (int i = 0; i < sm90_slot_count(m->e) && first; i++) {
        const struct sm90_slot *slot = slot_of(m->e, program, i, false);
        for (int row = 0; row < SM90_ROWS && slot; row++)
            program->query[row][i] =
                sm90_slot_load(m->e, slot, NULL, sm90_add_const(m->e, first, 8 * row));
    }
}

void sm90_place_key(struct sm90_mask *m, struct sm90_program *program, int j, int i) {
    LLVMValueRef offset[ABI_AXES];
    if (!program->walk)
        return;
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

LLVMValueRef sm90_pair_value(struct sm90_mask *m, struct sm90_program *program,
                             const struct expr *root, const LLVMValueRef *key, int row) {
    struct sm90_walk *w = program->walk;
    expr_walk_reset(&w->walk);
    w->query = m->rows.position[row];
    w->key = key;
    for (int i = 0; i < sm90_slot_count(m->e); i++) {
        const struct sm90_slot *slot = sm90_slot(m->e, i);
        LLVMValueRef value = slot->of_key ? program->key[i] : program->query[row][i];
        if (slot->real_bits == program->real_bits)
            expr_walk_preset(&w->walk, slot->node, (aval){.v = value});
    }
    return expr_walk_point(&w->walk, root).v;
}

static LLVMValueRef scored(struct sm90_mask *m, struct sm90_program *score, const LLVMValueRef *key,
                           int row, LLVMValueRef logit) {
    struct sm90_emit *e = m->e;
    LLVMTypeRef f32 = e->unit->f32;
    if (!e->spec->scale_first)
        return logit;
    if (!score->walk)
        return LLVMBuildFMul(e->b, logit, SM90_ARG(e, scale_log2, f32), "");
    score->walk->score = LLVMBuildFMul(e->b, logit, SM90_ARG(e, scale, f32), "");
    return LLVMBuildFMul(e->b, sm90_pair_value(m, score, score->root, key, row),
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

// What the predicate says of a pair: the bit of its factors by axis, and the rest.
static LLVMValueRef kept(struct sm90_mask *m, struct sm90_program *keep,
                         const struct sm90_factors *factors, const LLVMValueRef *key, int pair,
                         int row) {
    struct sm90_emit *e = m->e;
    LLVMValueRef all = sm90_factor_bit(e, factors, pair, row);
    for (int i = 0; i < factors->rest_count; i++) {
        LLVMValueRef one = sm90_pair_value(m, keep, factors->rest[i], key, row);
        all = all ? LLVMBuildAnd(e->b, all, one, "") : one;
    }
    return all;
}

static void mask_pairs(struct sm90_mask *m, struct sm90_program *keep, struct sm90_program *score,
                       bool place, LLVMValueRef flags, LLVMValueRef *logits) {
    struct sm90_emit *e = m->e;
    enum { GROUP = 4 }; // of 8 columns
    LLVMValueRef key[ABI_AXES] = {NULL};
    struct sm90_factors factors = {0};
    if (place)
        m->rows = sm90_rows_place(e, m->item, m->thread);
    place_rows(m, keep);
    place_rows(m, score);
    if (keep->walk)
        sm90_factors(m, keep, &factors);
    for (int pair = 0; pair < e->logit_count / 2; pair++) {
        int j = pair / 2, i = pair % 2;
        if (keep->walk && pair && pair % (2 * GROUP) == 0)
            cut_block(e, flags);
        if (place)
            sm90_key_positions(m, j, i, key);
        if (factors.rest_count)
            sm90_place_key(m, keep, j, i);
        sm90_place_key(m, score, j, i);
        for (int row = 0; row < SM90_ROWS; row++) {
            LLVMValueRef *x = &logits[4 * j + 2 * row + i];
            *x = scored(m, score, key, row, *x);
            if (keep->walk)
                *x = LLVMBuildSelect(e->b, kept(m, keep, &factors, key, pair, row), *x,
                                     minus_infinity(e), "");
        }
    }
}

void sm90_mask(struct sm90_emit *e, const struct sm90_mask_input *input, bool partial,
               LLVMValueRef *logits) {
    struct sm90_mask m = {.e = e, .item = input->item, .at = input->at, .copy = input->copy};
    struct sm90_program *keep = program_of(e, input->item, partial ? e->pattern->keep : NULL, 64);
    struct sm90_program *score = program_of(e, input->item, e->pattern->score, 32);
    m.thread = sm90_thread(e);
    if (keep->walk || e->spec->scale_first)
        mask_pairs(&m, keep, score, input->at != NULL, input->flags, logits);
    if (partial)
        apply_bounds(&m, logits);
}
