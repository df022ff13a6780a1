// The forward skeleton: the walk of an item over its list of key tiles, in terms of tile primitives
// (cpu_emit.h). Nothing here knows of vectors, dtypes or strides.
//
//   heddle_attention(launch, begin, end, scratch):
//     tile_offsets
//     for each item:    place_queries, pack_queries, begin_softmax
//       for each run, [use_source,] for each of its bricks:
//         full:         place, pack K and V, logits, [score],       [add_bias,] softmax, values
//         partial:      place, pack K and V, logits, [score], mask, [add_bias,] softmax, values,
//                       add_bad
//       finish_item
#include "compiler/cpu/cpu_emit.h"
#include "compiler/cpu/cpu_kernel.h"

#include <setjmp.h>
#include <stddef.h>

struct forward { // the primitives, emitted
    LLVMValueRef tile_offsets, place_queries, place_full, place_partial, axes;
    LLVMValueRef pack_queries, pack_keys, pack_values, pack_checked;
    LLVMValueRef logits, values, begin_softmax, softmax, add_bad, finish_item;
    LLVMValueRef use_source[MAX_SOURCES], add_bias; // where the pattern has sources
    struct cpu_mask_functions narrow[MAX_SOURCES], wide[MAX_SOURCES];
    LLVMValueRef tile_full[MAX_SOURCES], tile_partial[MAX_SOURCES];
    LLVMValueRef begin_gates, fold_branch[MAX_SOURCES], end_gates; // of branches with gates
    int source_count;
};

static void emit_primitives(struct cpu_emit *e, struct forward *f) {
    f->tile_offsets = cpu_emit_tile_offsets(e);
    f->place_queries = cpu_emit_place_queries(e);
    f->place_full = e->score ? NULL : cpu_emit_place_full(e); // a score needs coordinates too
    f->place_partial = cpu_emit_place_partial(e);
    f->axes = e->spec->pattern->axis_count > 1 ? cpu_emit_axes(e) : NULL;
    f->pack_queries = cpu_emit_pack_queries(e);
    f->pack_keys = e->keys_in_place ? NULL : cpu_emit_pack_keys(e);
    f->pack_values = cpu_emit_pack_values(e, false);
    f->pack_checked = cpu_emit_pack_values(e, true);
    f->logits = e->multiply->logits(e);
    f->values = e->multiply->values(e);
    f->begin_softmax = cpu_emit_begin_softmax(e);
    f->softmax = cpu_emit_softmax(e);
    f->add_bad = cpu_emit_add_bad(e);
    f->finish_item = cpu_emit_finish_item(e);
    f->add_bias = e->pooled ? cpu_emit_add_bias(e) : NULL;
    if (pattern_is_gated(e->spec->pattern)) {
        f->begin_gates = cpu_emit_begin_gates(e);
        for (int i = 0; i < e->spec->pattern->branch_count; i++)
            f->fold_branch[i] = cpu_emit_fold_branch(e, i);
        f->end_gates = cpu_emit_end_gates(e);
    }
    f->source_count = pattern_source_count(e->spec->pattern);
    for (int s = 0; s < f->source_count; s++) {
        f->use_source[s] = e->pooled ? cpu_emit_use_source(e, s) : NULL;
        f->narrow[s] = cpu_emit_masks(e, 32, s);
        f->wide[s] = cpu_emit_masks(e, 64, s);
    }
}

static void call0(struct cpu_emit *e, LLVMValueRef function) {
    cpu_call(e, function, NULL, NULL, NULL, NULL);
}

// Calls the narrow or the wide version, as the launch says.
static void call_mask(struct cpu_emit *e, LLVMValueRef narrow, LLVMValueRef wide) {
    LLVMValueRef flag = CPU_FIELD(e, narrow, e->unit->i64);
    struct llvm_if test;
    llvm_if_begin(e->unit, &test,
                  LLVMBuildICmp(e->unit->builder, LLVMIntNE, flag, cpu_const(e, 0), ""), "narrow");
    call0(e, narrow);
    llvm_if_else(&test);
    call0(e, wide);
    llvm_if_end(&test);
}

static void call_axes(struct cpu_emit *e, struct forward *f, const int64_t *position,
                      const int64_t *axis) {
    if (f->axes)
        cpu_call(e, f->axes, cpu_const(e, position[0]), cpu_const(e, axis[0]), NULL, NULL);
}

// tile(corner x 3, own)
static LLVMValueRef emit_tile(struct cpu_emit *e, struct forward *f, int source, bool partial) {
    const struct cpu_mask_functions *narrow = &f->narrow[source], *wide = &f->wide[source];
    LLVMValueRef function = cpu_function_begin(e, partial ? "tile_partial" : "tile_full");
    bool coordinates = partial || e->score;
    cpu_call(e, coordinates ? f->place_partial : f->place_full, e->args[0], e->args[1], e->args[2],
             e->args[3]);
    if (f->pack_keys)
        call0(e, f->pack_keys);
    call0(e, partial ? f->pack_checked : f->pack_values);
    call0(e, f->logits);
    if (coordinates) {
        call_axes(e, f, e->at.key_position, e->at.key_axis);
        call_mask(e, narrow->keys, wide->keys);
        call_mask(e, partial ? narrow->partial : f->narrow[0].full,
                  partial ? wide->partial : f->wide[0].full);
    }
    if (f->add_bias)
        call0(e, f->add_bias);
    call0(e, f->softmax);
    call0(e, f->values);
    if (partial)
        call0(e, f->add_bad);
    cpu_function_end(e);
    return function;
}

// ---- lists ------------------------------------------------------------------------------------

static LLVMValueRef run_field(struct cpu_emit *e, LLVMValueRef run, size_t offset, int axis) {
    LLVMValueRef value = llvm_load_field(e->unit, run, offset + 4 * (size_t)axis, e->unit->i32, "");
    return LLVMBuildSExt(e->unit->builder, value, e->unit->i64, "");
}

// The bricks of a run, x fastest.
static void emit_run(struct cpu_emit *e, LLVMValueRef run, LLVMValueRef tile) {
    LLVMValueRef zero = cpu_const(e, 0), one = cpu_const(e, 1), corner[ABI_AXES];
    LLVMValueRef own = run_field(e, run, offsetof(struct abi_run, own), 0);
    struct llvm_loop loops[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++) {
        LLVMValueRef origin = run_field(e, run, offsetof(struct abi_run, origin), a);
        LLVMValueRef step = run_field(e, run, offsetof(struct abi_run, step), a);
        LLVMValueRef count = run_field(e, run, offsetof(struct abi_run, count), a);
        llvm_loop_begin(e->unit, &loops[a], zero, count, one, "bricks");
        corner[a] = cpu_add(e, origin, cpu_mul(e, loops[a].index, step));
    }
    cpu_call(e, tile, corner[0], corner[1], corner[2], own);
    for (int a = ABI_AXES - 1; a >= 0; a--)
        llvm_loop_end(&loops[a]);
}

// A run of one source: full or partial, as its kind says.
static void emit_kind(struct cpu_emit *e, struct forward *f, int source, LLVMValueRef run,
                      LLVMValueRef kind) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef flag = LLVMBuildAnd(b, kind, cpu_const(e, ABI_RUN_PARTIAL), "");
    struct llvm_if partial;
    llvm_if_begin(e->unit, &partial, LLVMBuildICmp(b, LLVMIntNE, flag, cpu_const(e, 0), ""),
                  "partial");
    emit_run(e, run, f->tile_partial[source]);
    llvm_if_else(&partial);
    emit_run(e, run, f->tile_full[source]);
    llvm_if_end(&partial);
}

// Of the sources of a branch; -1: of all.
static void emit_source_runs(struct cpu_emit *e, struct forward *f, int branch, LLVMValueRef run,
                             LLVMValueRef kind) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef number = LLVMBuildLShr(b, kind, cpu_const(e, ABI_RUN_SOURCE), "source");
    for (int s = 0; s < f->source_count; s++) {
        struct llvm_if here;
        if (branch >= 0 && e->spec->pattern->sources[s].branch != branch)
            continue;
        llvm_if_begin(e->unit, &here, LLVMBuildICmp(b, LLVMIntEQ, number, cpu_const(e, s), ""),
                      "source");
        call0(e, f->use_source[s]);
        emit_kind(e, f, s, run, kind);
        llvm_if_end(&here);
    }
}

static LLVMValueRef load_i64(struct cpu_emit *e, LLVMValueRef base, LLVMValueRef index) {
    return cpu_load(e, e->unit->i64, llvm_element(e->unit, e->unit->i64, base, index), 8);
}

static void emit_list(struct cpu_emit *e, struct forward *f, LLVMValueRef item, int branch) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef box_count = CPU_FIELD(e, box_count, e->unit->i64);
    LLVMValueRef head_row = LLVMBuildSDiv(b, item, box_count, "");
    LLVMValueRef box = LLVMBuildSRem(b, item, box_count, "");
    LLVMValueRef row = load_i64(e, CPU_FIELD(e, list_of, e->unit->ptr), head_row);
    LLVMValueRef list = cpu_add(e, cpu_mul(e, row, box_count), box);
    LLVMValueRef begins = CPU_FIELD(e, run_begin, e->unit->ptr);
    LLVMValueRef end = load_i64(e, begins, cpu_add(e, list, cpu_const(e, 1)));
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, load_i64(e, begins, list), end, cpu_const(e, 1), "runs");
    LLVMValueRef bytes = cpu_mul(e, loop.index, cpu_const(e, sizeof(struct abi_run)));
    LLVMValueRef run = llvm_byte_offset(e->unit, CPU_FIELD(e, runs, e->unit->ptr), bytes);
    LLVMValueRef kind = run_field(e, run, offsetof(struct abi_run, kind), 0);
    if (e->pooled)
        emit_source_runs(e, f, branch, run, kind);
    else
        emit_kind(e, f, 0, run, kind);
    llvm_loop_end(&loop);
}

static void emit_branches(struct cpu_emit *e, struct forward *f, LLVMValueRef item) {
    call0(e, f->begin_gates);
    for (int i = 0; i < e->spec->pattern->branch_count; i++) {
        call0(e, f->begin_softmax);
        emit_list(e, f, item, i);
        call0(e, f->fold_branch[i]);
    }
    call0(e, f->end_gates);
}

static void emit_item(struct cpu_emit *e, struct forward *f, LLVMValueRef item) {
    cpu_call(e, f->place_queries, item, NULL, NULL, NULL);
    call_axes(e, f, e->at.query_position, e->at.query_axis);
    for (int s = 0; s < f->source_count; s++)
        call_mask(e, f->narrow[s].item, f->wide[s].item);
    call0(e, f->pack_queries);
    if (f->begin_gates) {
        emit_branches(e, f, item);
    } else {
        call0(e, f->begin_softmax);
        emit_list(e, f, item, -1);
    }
    call0(e, f->finish_item);
}

// The one function that is called from outside, with abi_attention_fn's parameters.
static void emit_entry(struct cpu_emit *e, struct forward *f) {
    struct llvm_unit *unit = e->unit;
    LLVMTypeRef params[] = {unit->ptr, unit->i64, unit->i64, unit->ptr};
    LLVMTypeRef type = LLVMFunctionType(unit->void_type, params, 4, false);
    LLVMValueRef function = LLVMAddFunction(unit->module, "heddle_attention", type);
    LLVMPositionBuilderAtEnd(unit->builder,
                             LLVMAppendBasicBlockInContext(unit->context, function, "entry"));
    e->launch = LLVMGetParam(function, 0);
    e->scratch = LLVMGetParam(function, 3);
    if (e->multiply->begin)
        e->multiply->begin(e);
    call0(e, f->tile_offsets);
    struct llvm_loop items;
    llvm_loop_begin(unit, &items, LLVMGetParam(function, 1), LLVMGetParam(function, 2),
                    cpu_const(e, 1), "items");
    emit_item(e, f, items.index);
    llvm_loop_end(&items);
    if (e->multiply->end)
        e->multiply->end(e);
    LLVMBuildRetVoid(unit->builder);
}

// ---- the stage --------------------------------------------------------------------------------

static void init_emit(struct cpu_emit *e, struct llvm_unit *unit,
                      const struct cpu_kernel_spec *spec, struct arena *arena) {
    *e = (struct cpu_emit){.unit = unit, .spec = spec, .arena = arena, .dim = spec->dim};
    bool pairs = spec->dtype == HEDDLE_BF16 && unit->has_avx512_bf16;
    bool tiles = pairs && unit->has_amx_bf16;
    e->multiply = tiles ? &cpu_multiply_amx : pairs ? &cpu_multiply_dot : &cpu_multiply_float;
    e->keys_in_place = spec->dim_contiguous && e->multiply->reads_keys_apart &&
                       (spec->dtype == HEDDLE_F32 || (pairs && spec->dim % 2 == 0));
    e->pooled = pattern_is_pooled(spec->pattern);
    e->lanes = unit->vector_bits / 32;
    e->query_vectors = CPU_QUERY_ROWS / e->lanes;
    e->block_vectors = unit->has_avx512 ? 4 : 2;
    e->dim_vectors = (spec->dim + e->lanes - 1) / e->lanes;
    e->dim_padded = e->dim_vectors * e->lanes;
    e->element = spec->dtype == HEDDLE_F32 ? unit->f32 : unit->i16;
    e->element_bytes = spec->dtype == HEDDLE_F32 ? 4 : 2;
    e->floats = LLVMVectorType(unit->f32, (unsigned)e->lanes);
    e->ints = LLVMVectorType(unit->i32, (unsigned)e->lanes);
    e->cell = pairs ? unit->i32 : unit->f32;
    e->cells = pairs ? e->ints : e->floats;
    cpu_layout_init(e);
    cpu_plan_masks(e);
}

static int64_t emit(struct llvm_unit *unit, const struct cpu_kernel_spec *spec,
                    struct arena *arena) {
    struct cpu_emit e;
    struct forward f = {0};
    init_emit(&e, unit, spec, arena);
    emit_primitives(&e, &f);
    for (int s = 0; s < f.source_count; s++) {
        f.tile_full[s] = emit_tile(&e, &f, s, false);
        f.tile_partial[s] = emit_tile(&e, &f, s, true);
    }
    emit_entry(&e, &f);
    return e.at.bytes;
}

enum heddle_status cpu_kernel_emit(struct llvm_unit *unit, const struct cpu_kernel_spec *spec,
                                   int64_t *out_scratch_bytes, struct error *error) {
    if (spec->dim < 8 || spec->dim > 256)
        return error_set(error, HEDDLE_LIMIT, "head dim %d is outside 8 .. 256", spec->dim);
    struct arena arena;
    jmp_buf escape;
    arena_init(&arena, 0);
    arena.escape = &escape;
    if (setjmp(escape)) {
        arena_finish(&arena);
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory while emitting a kernel");
    }
    *out_scratch_bytes = emit(unit, spec, &arena);
    arena_finish(&arena);
    return HEDDLE_OK;
}
