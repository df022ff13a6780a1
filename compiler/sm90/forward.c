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

enum { PTX_KERNEL = 71, SHARED_SPACE = 3, CHUNK_BYTES = 128 };

// Wide heads leave little room and few registers for a costly predicate.
int sm90_key_rows(const struct pattern *pattern, int dim, struct arena *arena) {
    if (dim <= 128)
        return 128;
    if (sm90_predicate_is_costly(pattern, arena) || pattern->axis_count > 1)
        return 64;
    return dim <= 192 ? 112 : 80;
}

// Narrow heads have registers left, but for what is computed pair by pair.
static bool leaves_registers(const struct pattern *pattern, int dim, struct arena *arena) {
    return dim <= 64 && pattern->score == NULL && !pattern_is_pooled(pattern) &&
           !sm90_predicate_is_costly(pattern, arena);
}

// A wider tile spreads what is done once per tile and row.
int sm90_wide_key_rows(const struct pattern *pattern, int dim, struct arena *arena) {
    return leaves_registers(pattern, dim, arena) ? 192 : 0;
}

// Narrow heads spend as long on the softmax as on products. Two warpgroups that share their tiles
// tend to do the same at the same time; with a third one of them always has products to run.
int sm90_tall_rows(const struct pattern *pattern, int dim, struct arena *arena) {
    return leaves_registers(pattern, dim, arena) ? 3 * SM90_WARPGROUP_ROWS : 0;
}

static int round_up(int value, int to) {
    return (value + to - 1) / to * to;
}

int sm90_threads(int query_rows) {
    return SM90_WARPGROUP * (1 + query_rows / SM90_WARPGROUP_ROWS);
}

struct sm90_shape sm90_shape(int dim, int query_rows, int key_rows) {
    struct sm90_shape shape = {.query_rows = query_rows, .key_rows = key_rows};
    bool tall = query_rows > SM90_QUERY_ROWS;
    shape.consumers = query_rows / SM90_WARPGROUP_ROWS;
    shape.producer_registers = tall ? 32 : 40;
    shape.consumer_registers = tall ? 160 : 232;
    shape.chunks = round_up(dim, 64) / 64;
    shape.dim_steps = round_up(dim, 16) / 16;
    shape.output_dim = round_up(dim, 8);
    shape.query_bytes = shape.chunks * query_rows * CHUNK_BYTES;
    shape.tile_bytes = shape.chunks * key_rows * CHUNK_BYTES;
    shape.stages = tall ? 4 : 2; // three warpgroups drift further apart
    shape.query_buffers = 2;
    int records = 1024 + 1280 + 8 * query_rows; // barriers and records, aligning the base
    while (shape.query_buffers > 1 &&
           shape.query_buffers * shape.query_bytes + 2 * shape.stages * shape.tile_bytes + records >
               SM90_SHARED_LIMIT)
        shape.query_buffers--;
    // With one buffer the next item's queries are there already. The engine stores whole units of
    // 16 bytes, also past the end of a row.
    shape.staged = shape.query_buffers > 1 && dim % 8 == 0;
    shape.query_at = 0;
    shape.key_at = shape.query_buffers * shape.query_bytes;
    shape.value_at = shape.key_at + shape.stages * shape.tile_bytes;
    shape.tile_record_at = shape.value_at + shape.stages * shape.tile_bytes;
    shape.item_record_at = shape.tile_record_at + shape.stages * SM90_TILE_RECORD_BYTES;
    shape.lse_at = shape.item_record_at + SM90_ITEM_RECORDS * SM90_RECORD_BYTES;
    shape.barrier_at = shape.lse_at + (shape.staged ? shape.query_buffers * 4 * query_rows : 0);
    shape.shared_bytes =
        shape.barrier_at + 8 * (4 * shape.query_buffers + 4 * shape.stages + SM90_ITEM_RECORDS + 1);
    return shape;
}

int64_t sm90_tables_at(const struct pattern *pattern) {
    return SM90_PARAM + 8 * (int64_t)pattern->scalar_count;
}

int64_t sm90_arrays_at(const struct pattern *pattern) {
    return sm90_tables_at(pattern) + 8 * (int64_t)pattern->table_count;
}

int64_t sm90_args_bytes(const struct pattern *pattern) {
    int64_t arrays = (int64_t)pattern->input_count + pattern->map_count;
    int64_t bytes = sm90_arrays_at(pattern) + arrays * (int64_t)sizeof(struct sm90_array);
    return (bytes + 63) / 64 * 64;
}

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
