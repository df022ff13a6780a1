// Stage `emit`, selection. See select_emit.h; expressions are in select_walk.c.

#include "compiler/select/select_emit.h"

#include "compiler/select/select_walk.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

_Static_assert((int)MAX_BANDS == (int)SELECT_BAND_ROOM, "as many");

struct emitter {
    struct select_walk walk;
    const struct pattern_input *input;
    const struct pattern_derived *derived;
    LLVMValueRef function, index; // const int64_t *
};

// pointers: how many of the parameters are.
static void begin(struct emitter *e, struct llvm_unit *unit, const struct pattern *pattern,
                  const struct select_spec *spec, int number, const char *what,
                  const LLVMTypeRef *params, unsigned count) {
    char name[64];
    LLVMTypeRef type = LLVMFunctionType(unit->void_type, (LLVMTypeRef *)params, count, false);
    e->function = LLVMAddFunction(unit->module, select_symbol(what, number, name), type);
    e->input = &pattern->inputs[number];
    e->derived = e->input->derived;
    e->index = LLVMGetParam(e->function, 1);
    LLVMPositionBuilderAtEnd(unit->builder,
                             LLVMAppendBasicBlockInContext(unit->context, e->function, "entry"));
    select_walk_init(&e->walk, unit, pattern, spec, LLVMGetParam(e->function, 0));
}

static LLVMValueRef index_at(struct emitter *e, int i) {
    struct llvm_unit *unit = e->walk.unit;
    return LLVMBuildLoad2(unit->builder, unit->i64,
                          llvm_element(unit, unit->i64, e->index, llvm_int(unit->i64, i)), "");
}

// A key/value head's queries begin here.
static LLVMValueRef first_head(struct emitter *e, LLVMValueRef kv_head) {
    struct llvm_unit *unit = e->walk.unit;
    LLVMValueRef heads =
        llvm_load_field(unit, e->walk.args, offsetof(struct abi_env, heads), unit->i64, "");
    LLVMValueRef kv_heads =
        llvm_load_field(unit, e->walk.args, offsetof(struct abi_env, kv_heads), unit->i64, "");
    return LLVMBuildMul(unit->builder, kv_head, LLVMBuildSDiv(unit->builder, heads, kv_heads, ""),
                        "");
}

// Batch and head, and a variable for each index that has one. `last`: the value of the last index,
// or NULL: as given.
static void place(struct emitter *e, LLVMValueRef last) {
    struct llvm_unit *unit = e->walk.unit;
    LLVMValueRef batch = llvm_int(unit->i64, 0), head = batch;
    int count = e->derived->index_count;
    for (int i = 0; i < count; i++) {
        enum index_kind kind = e->input->indices[i].kind;
        LLVMValueRef value = last && i == count - 1 ? last : index_at(e, i);
        if (e->derived->index_var[i] >= 0)
            select_walk_open(&e->walk, e->derived->index_var[i], value);
        else if (kind == INDEX_BATCH)
            batch = value;
        else
            head = kind == INDEX_KV_HEAD ? first_head(e, value) : value;
    }
    select_walk_place(&e->walk, batch, head);
}

static void hoist(struct emitter *e, const struct expr *node, int variable) {
    if (node)
        select_walk_hoist(&e->walk, node, variable);
}

// ---- stages ----------------------------------------------------------------------------------

// All dims of one element, to `out`.
static void store_row(struct emitter *e, LLVMValueRef out) {
    struct select_walk *w = &e->walk;
    struct llvm_unit *unit = w->unit;
    select_walk_hoist(w, e->derived->value, -1);
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, llvm_int(unit->i64, 0), llvm_int(unit->i64, w->spec->dim),
                    llvm_int(unit->i64, w->lanes), "dims");
    struct select_scope scope = select_walk_open(w, -1, NULL);
    w->at = loop.index;
    LLVMValueRef row = llvm_splat(unit, select_walk_row(w, e->derived->value), w->lanes);
    LLVMValueRef store =
        LLVMBuildStore(unit->builder, row, llvm_element(unit, unit->f32, out, loop.index));
    LLVMSetAlignment(store, 4);
    select_walk_close(w, &scope);
    llvm_loop_end(&loop);
}

static void store_element(struct emitter *e, LLVMValueRef out) {
    struct llvm_unit *unit = e->walk.unit;
    if (e->derived->rows) {
        store_row(e, out);
        return;
    }
    LLVMValueRef value = select_walk_value(&e->walk, e->derived->value);
    LLVMBuildStore(unit->builder, LLVMBuildFPTrunc(unit->builder, value, unit->f32, ""), out);
}

static void store_nothing(struct emitter *e, LLVMValueRef out) {
    struct llvm_unit *unit = e->walk.unit;
    double nothing = e->derived->softmax ? -INFINITY : 0.0;
    if (!e->derived->rows)
        LLVMBuildStore(unit->builder, LLVMConstReal(unit->f32, nothing), out);
    else
        LLVMBuildMemSet(unit->builder, out, llvm_int(unit->i8, 0),
                        llvm_int(unit->i64, (int64_t)e->walk.spec->dim * 4), 4);
}

static void store_where(struct emitter *e, LLVMValueRef out) {
    if (!e->derived->where) {
        store_element(e, out);
        return;
    }
    struct llvm_if test;
    llvm_if_begin(e->walk.unit, &test, select_walk_value(&e->walk, e->derived->where), "where");
    struct select_scope scope = select_walk_open(&e->walk, -1, NULL);
    store_element(e, out);
    select_walk_close(&e->walk, &scope);
    llvm_if_else(&test);
    store_nothing(e, out);
    llvm_if_end(&test);
}

static void emit_stage(struct llvm_unit *unit, const struct pattern *pattern,
                       const struct select_spec *spec, int number) {
    const LLVMTypeRef params[] = {unit->ptr, unit->ptr, unit->i64, unit->i64, unit->ptr};
    struct emitter e;
    begin(&e, unit, pattern, spec, number, "stage", params, 5);
    LLVMValueRef first = LLVMGetParam(e.function, 2), out = LLVMGetParam(e.function, 4);
    int last = e.derived->index_count - 1, variable = e.derived->index_var[last];
    if (variable >= 0) { // everything that it does not change, once
        place(&e, NULL);
        hoist(&e, e.derived->value, variable);
        hoist(&e, e.derived->where, variable);
    }
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, first, LLVMGetParam(e.function, 3), llvm_int(unit->i64, 1), "x");
    struct select_scope scope = select_walk_open(&e.walk, variable, loop.index);
    if (variable < 0)
        place(&e, loop.index);
    LLVMValueRef offset = LLVMBuildSub(unit->builder, loop.index, first, "");
    if (e.derived->rows)
        offset = LLVMBuildMul(unit->builder, offset, llvm_int(unit->i64, spec->dim), "");
    store_where(&e, llvm_element(unit, unit->f32, out, offset));
    select_walk_close(&e.walk, &scope);
    llvm_loop_end(&loop);
    LLVMBuildRetVoid(unit->builder);
}

// ---- selections ------------------------------------------------------------------------------

static LLVMValueRef clipped(struct emitter *e, LLVMValueRef x, LLVMValueRef low,
                            LLVMValueRef high) {
    struct alg *alg = &e->walk.values.alg;
    aval above = a2(alg, ALG_I_MAX, (aval){.v = x}, (aval){.v = low});
    return a2(alg, ALG_I_MIN, above, (aval){.v = high}).v;
}

static void emit_scores(struct emitter *e, LLVMValueRef width, LLVMValueRef scores) {
    struct select_walk *w = &e->walk;
    struct llvm_unit *unit = w->unit;
    LLVMValueRef zero = llvm_int(unit->i64, 0);
    LLVMValueRef first = clipped(e, select_walk_value(w, e->derived->begin), zero, width);
    LLVMValueRef end = clipped(e, select_walk_value(w, e->derived->end), zero, width);
    hoist(e, e->derived->value, e->derived->variable);
    hoist(e, e->derived->where, e->derived->variable);
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, first, end, llvm_int(unit->i64, 1), "candidates");
    struct select_scope scope = select_walk_open(w, e->derived->variable, loop.index);
    LLVMValueRef out = llvm_element(unit, unit->f32, scores, loop.index);
    struct llvm_if test;
    if (e->derived->where)
        llvm_if_begin(unit, &test, select_walk_value(w, e->derived->where), "where");
    struct select_scope inner = select_walk_open(w, -1, NULL);
    LLVMValueRef score = select_walk_value(w, e->derived->value);
    LLVMBuildStore(unit->builder, LLVMBuildFPTrunc(unit->builder, score, unit->f32, ""), out);
    select_walk_close(w, &inner);
    if (e->derived->where)
        llvm_if_end(&test);
    select_walk_close(w, &scope);
    llvm_loop_end(&loop);
}

static void emit_forced(struct emitter *e, LLVMValueRef width, LLVMValueRef forced) {
    struct select_walk *w = &e->walk;
    struct llvm_unit *unit = w->unit;
    hoist(e, e->derived->forced, e->derived->variable);
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, llvm_int(unit->i64, 0), width, llvm_int(unit->i64, 1), "forced");
    struct select_scope scope = select_walk_open(w, e->derived->variable, loop.index);
    LLVMValueRef is = select_walk_value(w, e->derived->forced);
    LLVMBuildStore(unit->builder, LLVMBuildZExt(unit->builder, is, unit->i8, ""),
                   llvm_element(unit, unit->i8, forced, loop.index));
    select_walk_close(w, &scope);
    llvm_loop_end(&loop);
}

// NaN everywhere, no element forced.
static void emit_cleared(struct llvm_unit *unit, LLVMValueRef width, LLVMValueRef scores,
                         LLVMValueRef forced) {
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, llvm_int(unit->i64, 0), width, llvm_int(unit->i64, 1), "clear");
    LLVMBuildStore(unit->builder, LLVMConstReal(unit->f32, (double)NAN),
                   llvm_element(unit, unit->f32, scores, loop.index));
    LLVMBuildStore(unit->builder, llvm_int(unit->i8, 0),
                   llvm_element(unit, unit->i8, forced, loop.index));
    llvm_loop_end(&loop);
}

static void emit_rank(struct llvm_unit *unit, const struct pattern *pattern,
                      const struct select_spec *spec, int number) {
    const LLVMTypeRef params[] = {unit->ptr, unit->ptr, unit->i64, unit->ptr, unit->ptr};
    struct emitter e;
    begin(&e, unit, pattern, spec, number, "rank", params, 5);
    LLVMValueRef width = LLVMGetParam(e.function, 2), scores = LLVMGetParam(e.function, 3);
    LLVMValueRef forced = LLVMGetParam(e.function, 4);
    emit_cleared(unit, width, scores, forced);
    place(&e, NULL);
    emit_scores(&e, width, scores);
    if (e.derived->forced)
        emit_forced(&e, width, forced);
    LLVMBuildRetVoid(unit->builder);
}

static void store_amount(struct emitter *e, size_t offset, const struct expr *node,
                         double otherwise) {
    struct llvm_unit *unit = e->walk.unit;
    LLVMValueRef value = LLVMConstReal(unit->f64, otherwise);
    if (node)
        value = select_walk_value(&e->walk, node);
    if (node && node->type == TYPE_INT)
        value = LLVMBuildSIToFP(unit->builder, value, unit->f64, "");
    LLVMBuildStore(
        unit->builder, value,
        llvm_byte_offset(unit, LLVMGetParam(e->function, 2), llvm_int(unit->i64, (int64_t)offset)));
}

static void emit_amounts(struct llvm_unit *unit, const struct pattern *pattern,
                         const struct select_spec *spec, int number) {
    const LLVMTypeRef params[] = {unit->ptr, unit->ptr, unit->ptr};
    struct emitter e;
    begin(&e, unit, pattern, spec, number, "amounts", params, 3);
    place(&e, NULL);
    store_amount(&e, offsetof(struct select_amounts, amount), e.derived->amount, 0);
    store_amount(&e, offsetof(struct select_amounts, least), e.derived->least, -1);
    store_amount(&e, offsetof(struct select_amounts, most), e.derived->most, -1);
    for (int i = 0; i + 1 < e.derived->band_count; i++) {
        size_t at = (size_t)i * sizeof(double);
        store_amount(&e, offsetof(struct select_amounts, share) + at, e.derived->band_share[i], 0);
        store_amount(&e, offsetof(struct select_amounts, step) + at, e.derived->band_step[i], 1);
    }
    LLVMBuildRetVoid(unit->builder);
}

enum heddle_status select_emit(struct llvm_unit *unit, const struct pattern *pattern,
                               const struct select_spec *spec, struct error *error) {
    for (int i = 0; i < pattern->input_count; i++) {
        const struct pattern_derived *derived = pattern->inputs[i].derived;
        if (derived && derived->is_select) {
            emit_rank(unit, pattern, spec, i);
            emit_amounts(unit, pattern, spec, i);
        } else if (derived) {
            emit_stage(unit, pattern, spec, i);
        }
    }
    return llvm_unit_verify(unit, error);
}
