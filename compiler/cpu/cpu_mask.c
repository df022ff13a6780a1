// Predicates and scores of a tile. An expression is evaluated in phases, each part as rarely as
// what it depends on allows, and the results wait in scratch:
//
//   UNIFORM  once per item      scalars
//   QUERY    once per item      a vector over the item's rows
//   KEY      once per tile      a vector over the tile's keys
//   PAIR     per key, for a vector of rows: what mixes both. QUERY results are vectors there and
//            KEY results scalars, so neither is transposed
//
//   k.x - k.x % w <= q.x and doc[k.x] == doc[q.x]
//   [     KEY   ]    [Q]     [ KEY  ]    [QUERY ]        PAIR: one <=, one ==, one and
//
// All phases exist twice, with 32-bit and with 64-bit indices; the launch says which to call.
#include "compiler/cpu/cpu_mask.h"

#include <math.h>
#include <string.h>

// ---- which subexpressions to keep ---------------------------------------------------------------

static enum mask_phase phase_of(const struct expr *node) {
    bool query = node->deps & DEP_QUERY, key = node->deps & DEP_KEY;
    if (node->vars || (node->deps & DEP_SCORE) || (query && key))
        return MASK_PAIR;
    return query ? MASK_QUERY : key ? MASK_KEY : MASK_UNIFORM;
}

static bool is_constant(const struct expr *node) {
    return node->op == OP_INT || node->op == OP_REAL || node->op == OP_BOOL || node->op == OP_VAR;
}

struct plan {
    struct cpu_emit *e;
    struct mask_program *program;
    uint8_t *seen; // by node id; bit: visited as part of the phase
};

static void add_slot(struct plan *plan, const struct expr *node, enum mask_phase phase) {
    struct mask_program *program = plan->program;
    for (int i = 0; i < program->slot_count; i++)
        if (program->slots[i].node == node)
            return;
    int64_t bytes = phase == MASK_UNIFORM ? 8 : CPU_KEY_ROWS * 8;
    program->slots[program->slot_count++] =
        (struct mask_slot){node, phase, cpu_reserve(plan->e, bytes)};
}

// Parts of `node`, which is computed in `phase`, that an earlier phase computes.
static void find_slots(struct plan *plan, const struct expr *node, enum mask_phase phase) {
    if (plan->seen[node->id] & 1 << phase)
        return;
    plan->seen[node->id] |= (uint8_t)(1 << phase);
    for (int i = 0; i < node->arity; i++) {
        const struct expr *arg = node->args[i];
        enum mask_phase part = phase_of(arg);
        if (is_constant(arg) || phase == MASK_UNIFORM)
            continue;
        if (part == MASK_UNIFORM || (phase == MASK_PAIR && part != MASK_PAIR)) {
            add_slot(plan, arg, part);
            find_slots(plan, arg, part);
        } else {
            find_slots(plan, arg, phase);
        }
    }
}

static struct mask_program *plan_program(struct cpu_emit *e, const struct expr *root,
                                         int real_bits) {
    uint32_t nodes = e->spec->pattern->graph->count;
    struct mask_program *program = ARENA_NEW(e->arena, struct mask_program);
    program->root = root;
    program->real_bits = real_bits;
    program->slots = ARENA_ARRAY(e->arena, struct mask_slot, nodes);
    struct plan plan = {e, program, ARENA_ARRAY(e->arena, uint8_t, nodes)};
    enum mask_phase phase = phase_of(root);
    if (phase != MASK_PAIR && !is_constant(root))
        add_slot(&plan, root, phase);
    find_slots(&plan, root, phase);
    return program;
}

void cpu_plan_masks(struct cpu_emit *e) {
    const struct pattern *pattern = e->spec->pattern;
    for (int s = 0; s < pattern_source_count(pattern); s++)
        e->keeps[s] = plan_program(e, pattern_source(pattern, s).view->keep, 64);
    for (int i = 0; pattern_is_gated(pattern) && i < pattern->branch_count; i++)
        e->gates[i] = plan_program(e, pattern->branches[i].gate, 32);
    e->score = pattern->score ? plan_program(e, pattern->score, 32) : NULL;
}

// ---- slots in scratch ---------------------------------------------------------------------------

static LLVMTypeRef slot_type(struct mask_walk *w, const struct expr *node) {
    return node->type == TYPE_BOOL  ? w->e->unit->i8
           : node->type == TYPE_INT ? w->alg.integer
                                    : w->alg.real;
}

static unsigned slot_bytes(struct mask_walk *w, const struct expr *node) {
    return node->type == TYPE_BOOL  ? 1
           : node->type == TYPE_INT ? (unsigned)w->alg.alg.index_bits / 8
                                    : (unsigned)w->program->real_bits / 8;
}

static void store_slot(struct mask_walk *w, const struct mask_slot *slot, LLVMValueRef value,
                       LLVMValueRef index) {
    LLVMBuilderRef b = w->e->unit->builder;
    LLVMTypeRef element = slot_type(w, slot->node);
    LLVMTypeRef type = llvm_lanes_type(element, w->alg.lanes);
    value = llvm_alg_vector(&w->alg, value);
    if (slot->node->type == TYPE_BOOL)
        value = LLVMBuildZExt(b, value, type, "");
    else if (slot->node->type == TYPE_INT)
        value = LLVMBuildIntCast2(b, value, type, true, "");
    cpu_store(w->e, value, cpu_cell(w->e, slot->offset, element, index), slot_bytes(w, slot->node));
}

// A slot's element at index, or a vector of `lanes` from there, as the walk's value of its node.
static void preset_slot(struct mask_walk *w, const struct mask_slot *slot, LLVMValueRef index,
                        int lanes) {
    LLVMBuilderRef b = w->e->unit->builder;
    LLVMTypeRef element = slot_type(w, slot->node);
    LLVMValueRef at = cpu_cell(w->e, slot->offset, element, index);
    LLVMValueRef value =
        cpu_load(w->e, llvm_lanes_type(element, lanes), at, slot_bytes(w, slot->node));
    if (slot->node->type == TYPE_BOOL)
        value = LLVMBuildICmp(b, LLVMIntNE, value, LLVMConstNull(LLVMTypeOf(value)), "");
    expr_walk_preset(&w->walk, slot->node, (aval){.v = value});
}

static void preset_phase(struct mask_walk *w, enum mask_phase phase, LLVMValueRef index,
                         int lanes) {
    for (int i = 0; i < w->program->slot_count; i++)
        if (w->program->slots[i].phase == phase)
            preset_slot(w, &w->program->slots[i], index, lanes);
}

static bool has_phase(const struct mask_program *program, enum mask_phase phase) {
    for (int i = 0; i < program->slot_count; i++)
        if (program->slots[i].phase == phase)
            return true;
    return false;
}

// ---- early phases
// ---------------------------------------------------------------------------------

static struct mask_walk *new_walk(struct cpu_emit *e, const struct mask_program *program,
                                  int index_bits, int lanes) {
    struct mask_walk *w = ARENA_NEW(e->arena, struct mask_walk);
    llvm_alg_init(&w->alg, e->unit, lanes, index_bits, program->real_bits, false);
    expr_walk_init(&w->walk, e->arena, e->spec->pattern->graph, &w->alg.alg);
    w->walk.point_leaf = mask_leaf;
    w->e = e;
    w->program = program;
    return w;
}

static void compute_slots(struct mask_walk *w, enum mask_phase phase, LLVMValueRef index) {
    for (int i = 0; i < w->program->slot_count; i++) {
        const struct mask_slot *slot = &w->program->slots[i];
        if (slot->phase == phase)
            store_slot(w, slot, expr_walk_point(&w->walk, slot->node).v, index);
    }
}

LLVMValueRef cpu_query_values(struct cpu_emit *e, const struct mask_program *program,
                              LLVMValueRef query) {
    const struct mask_slot *slot = NULL;
    if (program->root->op == OP_REAL)
        return llvm_splat(e->unit, LLVMConstReal(e->unit->f32, program->root->payload.r), e->lanes);
    for (int i = 0; i < program->slot_count; i++)
        if (program->slots[i].node == program->root)
            slot = &program->slots[i];
    if (slot->phase == MASK_UNIFORM)
        return llvm_splat(e->unit, cpu_get(e, slot->offset, e->unit->f32), e->lanes);
    return cpu_load(e, e->floats, cpu_cell(e, slot->offset, e->unit->f32, query), 4);
}

// QUERY or KEY, over 64 entries.
static void emit_vectors(struct cpu_emit *e, const struct mask_program *program, int index_bits,
                         enum mask_phase phase) {
    if (!has_phase(program, phase))
        return;
    struct mask_walk *w = new_walk(e, program, index_bits, e->lanes);
    preset_phase(w, MASK_UNIFORM, cpu_const(e, 0), 1);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS),
                    cpu_const(e, e->lanes), phase == MASK_KEY ? "keys" : "queries");
    w->index = loop.index;
    compute_slots(w, phase, loop.index);
    llvm_loop_end(&loop);
}

static void emit_item_phases(struct cpu_emit *e, const struct mask_program *program,
                             int index_bits) {
    struct mask_walk *w = new_walk(e, program, index_bits, 1);
    compute_slots(w, MASK_UNIFORM, cpu_const(e, 0));
    emit_vectors(e, program, index_bits, MASK_QUERY);
}

// ---- pairs
// ----------------------------------------------------------------------------------------

struct pairs { // what is applied to S: NULL where there is nothing
    struct mask_walk *keep, *score;
};

static void preset_pairs(const struct pairs *pairs, enum mask_phase phase, LLVMValueRef index,
                         int lanes) {
    if (pairs->keep)
        preset_phase(pairs->keep, phase, index, lanes);
    if (pairs->score)
        preset_phase(pairs->score, phase, index, lanes);
}

static LLVMValueRef scored(struct cpu_emit *e, struct mask_walk *w, LLVMValueRef s) {
    w->score = s;
    LLVMValueRef value = llvm_alg_vector(&w->alg, expr_walk_point(&w->walk, w->program->root).v);
    LLVMValueRef log2_e = LLVMConstReal(e->unit->f32, 1.4426950408889634074);
    return LLVMBuildFMul(e->unit->builder, value, llvm_splat(e->unit, log2_e, e->lanes), "");
}

// Lanes that keep the key, also noted in `kept`.
static LLVMValueRef kept_lanes(struct cpu_emit *e, struct mask_walk *w, LLVMValueRef key,
                               LLVMValueRef vector) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef keep = expr_walk_point(&w->walk, w->program->root).v;
    LLVMValueRef byte = cpu_load(e, e->unit->i8, cpu_cell(e, e->at.key_valid, e->unit->i8, key), 1);
    LLVMValueRef valid = LLVMBuildICmp(b, LLVMIntNE, byte, llvm_int(e->unit->i8, 0), "");
    keep = LLVMBuildAnd(b, llvm_alg_vector(&w->alg, keep), llvm_alg_vector(&w->alg, valid), "");
    LLVMTypeRef word = e->lanes == 16 ? e->unit->i16 : e->unit->i8;
    LLVMTypeRef lanes = LLVMIntTypeInContext(e->unit->context, (unsigned)e->lanes);
    LLVMValueRef bits = LLVMBuildBitCast(b, keep, lanes, "");
    bits = LLVMBuildIntCast2(b, bits, word, false, "");
    LLVMValueRef index = cpu_add(e, cpu_mul(e, key, cpu_const(e, e->query_vectors)), vector);
    cpu_store(e, bits, cpu_cell(e, e->at.kept, word, index), e->lanes == 16 ? 2 : 1);
    return keep;
}

static void emit_pair(struct cpu_emit *e, const struct pairs *pairs, LLVMValueRef key,
                      LLVMValueRef vector) {
    LLVMValueRef query = cpu_mul(e, vector, cpu_const(e, e->lanes));
    LLVMValueRef index = cpu_add(e, cpu_mul(e, key, cpu_const(e, CPU_QUERY_ROWS)), query);
    LLVMValueRef at = cpu_cell(e, e->at.logits, e->unit->f32, index);
    LLVMValueRef s = cpu_load(e, e->floats, at, (unsigned)e->lanes * 4), keep = NULL;
    if (pairs->keep)
        keep = kept_lanes(e, pairs->keep, key, vector);
    if (pairs->score)
        s = scored(e, pairs->score, s);
    if (keep) {
        LLVMValueRef nothing =
            llvm_splat(e->unit, LLVMConstReal(e->unit->f32, -INFINITY), e->lanes);
        s = LLVMBuildSelect(e->unit->builder, keep, s, nothing, "");
    }
    cpu_store(e, s, at, (unsigned)e->lanes * 4);
}

// for each vector of queries, for each key: rows stay in registers while keys pass.
static void emit_pairs(struct cpu_emit *e, int index_bits, const struct mask_program *keep) {
    struct pairs pairs = {NULL, NULL};
    if (keep)
        pairs.keep = new_walk(e, keep, index_bits, e->lanes);
    if (e->score)
        pairs.score = new_walk(e, e->score, index_bits, e->lanes);
    LLVMValueRef zero = cpu_const(e, 0), one = cpu_const(e, 1);
    LLVMValueRef end = cpu_get(e, e->at.item_vectors, e->unit->i64);
    struct llvm_loop vectors, keys;
    preset_pairs(&pairs, MASK_UNIFORM, zero, 1);
    llvm_loop_begin(e->unit, &vectors, zero, end, one, "queries");
    LLVMValueRef query = cpu_mul(e, vectors.index, cpu_const(e, e->lanes));
    preset_pairs(&pairs, MASK_QUERY, query, e->lanes);
    llvm_loop_begin(e->unit, &keys, zero, cpu_const(e, CPU_KEY_ROWS), one, "keys");
    preset_pairs(&pairs, MASK_KEY, keys.index, 1);
    emit_pair(e, &pairs, keys.index, vectors.index);
    llvm_loop_end(&keys);
    llvm_loop_end(&vectors);
}

// ---- the functions
// --------------------------------------------------------------------------------

static LLVMValueRef begin(struct cpu_emit *e, const char *what, int index_bits) {
    return cpu_function_begin(e, arena_format(e->arena, "%s_%d", what, index_bits));
}

struct cpu_mask_functions cpu_emit_masks(struct cpu_emit *e, int index_bits, int source) {
    struct cpu_mask_functions functions = {0};
    const struct mask_program *keep = e->keeps[source];
    functions.item = begin(e, "mask_item", index_bits);
    emit_item_phases(e, keep, index_bits);
    if (e->score && source == 0)
        emit_item_phases(e, e->score, index_bits);
    for (int i = 0; source == 0 && i < e->spec->pattern->branch_count && e->gates[i]; i++)
        emit_item_phases(e, e->gates[i], index_bits);
    cpu_function_end(e);

    functions.keys = begin(e, "mask_keys", index_bits);
    emit_vectors(e, keep, index_bits, MASK_KEY);
    if (e->score)
        emit_vectors(e, e->score, index_bits, MASK_KEY);
    cpu_function_end(e);

    functions.partial = begin(e, "mask_partial", index_bits);
    emit_pairs(e, index_bits, keep);
    cpu_function_end(e);

    if (e->score && source == 0) {
        functions.full = begin(e, "score_full", index_bits);
        emit_pairs(e, index_bits, NULL);
        cpu_function_end(e);
    }
    return functions;
}
