// The forward kernel: shared memory's layout, the entry, and who does what.
//
//   thread 0            barriers
//   warpgroup 0         producer (sm90_producer.c) and scout (sm90_queue.c), a thread each, and the
//                       writer (sm90_writer.c), a warp
//   warpgroups 1, 2     consumers of 64 query rows each (sm90_consumer.c); of tall items also 3
//
// Blocks are persistent: they draw items from a queue in the launch's order until it is empty.
#include "compiler/sm90/sm90_emit.h"

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { PTX_KERNEL = 71, SHARED_SPACE = 3 };

// ---- the function -------------------------------------------------------------------------------

static void text_attribute(struct sm90_emit *e, unsigned index, const char *name,
                           const char *value) {
    LLVMAttributeRef attribute = LLVMCreateStringAttribute(
        e->unit->context, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(e->function, index, attribute);
}

static void enum_attribute(struct sm90_emit *e, unsigned index, const char *name, uint64_t value) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(e->function, index,
                            LLVMCreateEnumAttribute(e->unit->context, kind, value));
}

// The parameter stays where it is (grid_constant): tensor maps are read from there by address.
static void declare_kernel(struct sm90_emit *e) {
    struct llvm_unit *unit = e->unit;
    LLVMTypeRef type = LLVMFunctionType(unit->void_type, &unit->ptr, 1, false);
    e->function = LLVMAddFunction(unit->module, "heddle_attention", type);
    LLVMSetFunctionCallConv(e->function, PTX_KERNEL);
    char threads[16];
    snprintf(threads, sizeof threads, "%d", sm90_threads(e->shape.query_rows));
    text_attribute(e, (unsigned)LLVMAttributeFunctionIndex, "nvvm.maxntid", threads);
    text_attribute(e, (unsigned)LLVMAttributeFunctionIndex, "nvvm.minctasm", "1");
    enum_attribute(e, (unsigned)LLVMAttributeFunctionIndex, "nounwind", 0);
    LLVMTypeRef words = LLVMArrayType2(unit->i64, (uint64_t)sm90_args_bytes(e->pattern) / 8);
    unsigned byval = LLVMGetEnumAttributeKindForName("byval", 5);
    LLVMAddAttributeAtIndex(e->function, 1, LLVMCreateTypeAttribute(unit->context, byval, words));
    enum_attribute(e, 1, "align", 64);
    text_attribute(e, 1, "nvvm.grid_constant", "");
    e->args = LLVMGetParam(e->function, 0);
    LLVMValueRef shared = LLVMAddGlobalInAddressSpace(unit->module, LLVMArrayType2(unit->i8, 0),
                                                      "heddle_shared", SHARED_SPACE);
    LLVMSetAlignment(shared, 1024);
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(unit->context, e->function, "entry");
    LLVMPositionBuilderAtEnd(e->b, entry);
    e->shared = LLVMBuildPtrToInt(e->b, shared, unit->i32, "");
}

static void synchronize_block(struct sm90_emit *e) {
    sm90_asm(e, NULL, "barrier.sync.aligned 0;", "~{memory}", NULL, 0);
}

// Of a pattern with sources: a copy for each, with its predicate and its own place for what waits
// for pairs.
static void plan_views(struct sm90_emit *e, struct facts *const *facts) {
    e->views = ARENA_ARRAY(e->arena, struct sm90_emit, (size_t)e->source_count);
    for (int s = 0; s < e->source_count; s++) {
        struct sm90_emit *view = &e->views[s];
        *view = *e;
        view->source_count = 0;
        view->pattern = e->pattern->sources[s].view;
        view->mask = &facts[s]->sides[SIDE_QUERY][e->spec->basis].mask;
        sm90_plan_slots(view);
        e->shape.shared_bytes = view->shape.shared_bytes;
    }
}

static void declare_views(struct sm90_emit *e) {
    for (int s = 0; s < e->source_count; s++) {
        e->views[s].function = e->function;
        e->views[s].args = e->args;
        e->views[s].shared = e->shared;
    }
}

static void emit_kernel(struct sm90_emit *e) {
    struct llvm_if test;
    declare_kernel(e);
    declare_views(e);
    LLVMValueRef thread = sm90_thread(e), zero = sm90_i32(e, 0);
    llvm_if_begin(e->unit, &test, LLVMBuildICmp(e->b, LLVMIntEQ, thread, zero, ""), "init");
    sm90_barrier_init(e);
    sm90_acquire_source_maps(e);
    llvm_if_end(&test);
    synchronize_block(e);
    LLVMValueRef warpgroup = LLVMBuildLShr(e->b, thread, sm90_i32(e, 7), "");
    llvm_if_begin(e->unit, &test, LLVMBuildICmp(e->b, LLVMIntEQ, warpgroup, zero, ""), "producers");
    sm90_producer(e);
    llvm_if_else(&test);
    sm90_consumer(e, warpgroup);
    llvm_if_end(&test);
    LLVMBuildRetVoid(e->b);
}

// ---- the stage ----------------------------------------------------------------------------------

static bool score_reads_places(const struct pattern *pattern) {
    return pattern->score && (pattern->score->deps & (DEP_QUERY | DEP_KEY));
}

static int emit(struct llvm_unit *unit, const struct pattern *pattern, struct facts *const *facts,
                const struct sm90_spec *spec, struct arena *arena) {
    int keys = spec->key_tile[0] * spec->key_tile[1] * spec->key_tile[2];
    int rows = spec->query_tile[0] * spec->query_tile[1] * spec->query_tile[2];
    struct sm90_emit e = {.unit = unit,
                          .b = unit->builder,
                          .pattern = pattern,
                          .mask = &facts[0]->sides[SIDE_QUERY][spec->basis].mask,
                          .spec = spec,
                          .shape = sm90_shape(spec->dim, rows, keys),
                          .arena = arena,
                          .full_needs_place = score_reads_places(pattern),
                          .source_count = pattern->source_count};
    e.logit_count = keys / 2;
    e.output_count = e.shape.output_dim / 2;
    e.weight_count = keys / 4;
    if (sm90_has_sources(&e))
        plan_views(&e, facts);
    else
        sm90_plan_slots(&e);
    emit_kernel(&e);
    return e.shape.shared_bytes;
}

enum heddle_status sm90_kernel_emit(struct llvm_unit *unit, const struct pattern *pattern,
                                    struct facts *const *facts, const struct sm90_spec *spec,
                                    int *out_shared_bytes, struct error *error) {
    if (spec->dtype == HEDDLE_F32)
        return error_set(error, HEDDLE_LIMIT,
                         "the CUDA target multiplies bf16 and fp16; fp32 runs on the CPU");
    if (sm90_args_bytes(pattern) > 4096)
        return error_set(error, HEDDLE_LIMIT,
                         "the pattern has more parameters and inputs than a kernel can take");
    struct arena arena;
    jmp_buf escape;
    arena_init(&arena, 0);
    arena.escape = &escape;
    if (setjmp(escape)) {
        arena_finish(&arena);
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory while emitting a kernel");
    }
    *out_shared_bytes = emit(unit, pattern, facts, spec, &arena);
    arena_finish(&arena);
    return HEDDLE_OK;
}
