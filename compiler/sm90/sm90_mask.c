// Predicates and scores over the logits of a thread: straight-line code, a walk of the expression
// per pair. What a column of keys or a row of queries alone decides is emitted again for each pair
// and shared by LLVM, which sees the same operations on the same values; loops are not shared by
// LLVM, so parts with a quantifier that one side decides are computed once here.
#include "compiler/sm90/sm90_mask.h"

#include <math.h>
#include <string.h>

static LLVMValueRef minus_infinity(struct sm90_emit *e) {
    return LLVMConstReal(e->unit->f32, -INFINITY);
}

static struct sm90_walk *new_walk(struct sm90_emit *e, const struct sm90_item *item,
                                  int real_bits) {
    struct sm90_walk *w = ARENA_NEW(e->arena, struct sm90_walk);
    llvm_alg_init(&w->alg, e->unit, 1, e->spec->narrow ? 32 : 64, real_bits, false);
    expr_walk_init(&w->walk, e->arena, e->pattern->graph, &w->alg.alg);
    w->walk.point_leaf = sm90_leaf;
    w->e = e;
    w->item = item;
    return w;
}

// ---- parts that one side decides ----------------------------------------------------------------

enum { MOST_PARTS = 64 };

struct parts { // maximal subexpressions with a quantifier that read one side at most
    const struct expr *nodes[MOST_PARTS];
    aval values[SM90_ROWS][MOST_PARTS];
    int count;
    uint8_t *seen, *has_loop; // by node id
};

static bool one_sided(const struct expr *node) {
    bool both = (node->deps & DEP_QUERY) && (node->deps & DEP_KEY);
    return !both && !node->vars && !(node->deps & DEP_SCORE);
}

static bool find_loops(struct parts *parts, const struct expr *node) {
    if (parts->seen[node->id])
        return parts->has_loop[node->id];
    parts->seen[node->id] = 1;
    bool loops = node->op == OP_ANY || node->op == OP_ALL || node->op == OP_COUNT;
    for (int i = 0; i < node->arity; i++)
        loops |= find_loops(parts, node->args[i]);
    parts->has_loop[node->id] = loops;
    return loops;
}

static void find_parts(struct parts *parts, const struct expr *node) {
    if (parts->seen[node->id] == 2 || !parts->has_loop[node->id])
        return;
    parts->seen[node->id] = 2;
    if (one_sided(node) && parts->count < MOST_PARTS) {
        parts->nodes[parts->count++] = node;
        return;
    }
    for (int i = 0; i < node->arity; i++)
        find_parts(parts, node->args[i]);
}

static struct parts *parts_of(struct sm90_emit *e, const struct expr *root) {
    struct parts *parts = ARENA_NEW(e->arena, struct parts);
    parts->seen = ARENA_ARRAY(e->arena, uint8_t, e->pattern->graph->count);
    parts->has_loop = ARENA_ARRAY(e->arena, uint8_t, e->pattern->graph->count);
    find_loops(parts, root);
    find_parts(parts, root);
    return parts;
}

static bool reads_key(const struct expr *node) {
    return node->deps & DEP_KEY;
}

// Parts that read the key, or those that do not, for the pair's positions at hand.
static void compute_parts(struct sm90_walk *w, struct parts *parts, bool of_key, aval *out) {
    expr_walk_reset(&w->walk);
    for (int i = 0; i < parts->count; i++)
        if (reads_key(parts->nodes[i]) == of_key)
            out[i] = expr_walk_point(&w->walk, parts->nodes[i]);
}

static LLVMValueRef value_of(struct sm90_walk *w, const struct parts *parts,
                             const struct expr *root, int row) {
    expr_walk_reset(&w->walk);
    for (int i = 0; i < parts->count; i++)
        expr_walk_preset(&w->walk, parts->nodes[i], parts->values[row][i]);
    return expr_walk_point(&w->walk, root).v;
}

// ---- bounds -------------------------------------------------------------------------------------

struct mask { // of one tile
    struct sm90_emit *e;
    const struct sm90_item *item;
    const struct sm90_tile_place *at;
    LLVMValueRef thread;
};

static void key_positions(struct mask *m, int j, int i, LLVMValueRef *out) {
    sm90_key_offset(m->e, m->thread, j, i, out);
    for (int a = 0; a < ABI_AXES; a++)
        out[a] = sm90_position(m->e, m->item, a, sm90_add(m->e, out[a], m->at->origin[a]));
}

// Does the tile stick out of what it may touch? Uniform over the block.
static LLVMValueRef sticks_out(struct mask *m) {
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

static LLVMValueRef is_inside(struct mask *m, int j, int i) {
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

static void apply_bounds(struct mask *m, LLVMValueRef *logits) {
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

struct program { // keep or score; NULL walk: nothing to do
    struct sm90_walk *walk;
    struct parts *parts;
    const struct expr *root;
};

static struct program program_of(struct sm90_emit *e, const struct sm90_item *item,
                                 const struct expr *root, int real_bits) {
    struct program program = {NULL, NULL, root};
    if (!root || (root->type == TYPE_BOOL && expr_is_bool(root, true)))
        return program;
    program.walk = new_walk(e, item, real_bits);
    program.parts = parts_of(e, root);
    return program;
}

static void place_rows(struct program *program, const struct sm90_rows *rows) {
    for (int row = 0; row < SM90_ROWS && program->walk; row++) {
        program->walk->query = rows->position[row];
        compute_parts(program->walk, program->parts, false, program->parts->values[row]);
    }
}

static void place_key(struct program *program, const LLVMValueRef *key) {
    if (!program->walk)
        return;
    program->walk->key = key;
    for (int row = 0; row < SM90_ROWS; row++)
        compute_parts(program->walk, program->parts, true, program->parts->values[row]);
}

static LLVMValueRef pair_value(struct program *program, const struct sm90_rows *rows, int row) {
    program->walk->query = rows->position[row];
    return value_of(program->walk, program->parts, program->root, row);
}

static LLVMValueRef scored(struct sm90_emit *e, struct program *score, const struct sm90_rows *rows,
                           int row, LLVMValueRef logit) {
    if (!e->spec->scale_first)
        return logit;
    LLVMTypeRef f32 = e->unit->f32;
    if (!score->walk)
        return LLVMBuildFMul(e->b, logit, SM90_ARG(e, scale_log2, f32), "");
    score->walk->score = LLVMBuildFMul(e->b, logit, SM90_ARG(e, scale, f32), "");
    return LLVMBuildFMul(e->b, pair_value(score, rows, row),
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

static void mask_pairs(struct mask *m, struct program *keep, struct program *score, bool place,
                       LLVMValueRef flags, LLVMValueRef *logits) {
    struct sm90_emit *e = m->e;
    enum { GROUP = 4 }; // of 8 columns
    struct sm90_rows rows = {0};
    LLVMValueRef key[ABI_AXES] = {NULL};
    if (place)
        rows = sm90_rows_place(e, m->item, m->thread);
    place_rows(keep, &rows);
    place_rows(score, &rows);
    for (int pair = 0; pair < e->logit_count / 2; pair++) {
        int j = pair / 2, i = pair % 2;
        if (keep->walk && pair && pair % (2 * GROUP) == 0)
            cut_block(e, flags);
        if (place)
            key_positions(m, j, i, key);
        place_key(keep, key);
        place_key(score, key);
        for (int row = 0; row < SM90_ROWS; row++) {
            LLVMValueRef *x = &logits[4 * j + 2 * row + i];
            *x = scored(e, score, &rows, row, *x);
            if (keep->walk)
                *x = LLVMBuildSelect(e->b, pair_value(keep, &rows, row), *x, minus_infinity(e), "");
        }
    }
}

void sm90_mask(struct sm90_emit *e, const struct sm90_item *item, const struct sm90_tile_place *at,
               LLVMValueRef flags, bool partial, LLVMValueRef *logits) {
    struct mask m = {.e = e, .item = item, .at = at};
    struct program keep = program_of(e, item, partial ? e->pattern->keep : NULL, 64);
    struct program score = program_of(e, item, e->pattern->score, 32);
    bool place = partial || e->full_needs_place;
    if (place)
        m.thread = sm90_thread(e);
    if (keep.walk || e->spec->scale_first)
        mask_pairs(&m, &keep, &score, place, flags, logits);
    if (partial)
        apply_bounds(&m, logits);
}
