// The producer: one thread walks the items that the scout has found (sm90_queue.c) and their runs,
// and issues the copies of keys and values. Per tile a record in its stage says where the tile is,
// whether it is partial and whether it is the item's last; consumers read no list.
//
// Runs are read again for each brick: they sit in the first-level cache, and the thread has few
// registers.
#include "compiler/sm90/sm90_emit.h"

#include <stddef.h>

struct producer {
    struct sm90_emit *e;
    LLVMValueRef record;          // of the item in hand
    LLVMValueRef maps[2], key_at; // its own keys' and values'
    LLVMValueRef late_at;         // the tile with which the scout draws another item
};

// So many tiles before an item's last one is fetched (and two or four more before it is computed)
// the next is drawn: finding its list takes some microseconds.
static int tiles_ahead(const struct sm90_emit *e) {
    return e->spec->dim <= 64 ? 6 : 3;
}

static void tell_late(struct producer *p, LLVMValueRef condition) {
    struct sm90_emit *e = p->e;
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, condition, "late");
    sm90_arrive(e, sm90_barrier_at(e, SM90_ITEM_LATE, sm90_i32(e, 0)));
    llvm_if_end(&test);
}

// Maps in device memory were written by a kernel before this one (runtime/cuda/cuda_maps.c),
// through another proxy than the copy engine reads by: PTX 9.7.13.4, fence.proxy.tensormap.
LLVMValueRef sm90_map(struct sm90_emit *e, LLVMValueRef set, enum sm90_map_number number) {
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef more = SM90_ARG(e, more_maps, i64);
    LLVMValueRef there = sm90_global(e, more, set, SM90_TENSOR_MAPS * SM90_MAP_BYTES);
    LLVMValueRef here = LLVMBuildPtrToInt(e->b, e->args, i64, "");
    LLVMValueRef several = LLVMBuildICmp(e->b, LLVMIntNE, more, llvm_int(i64, 0), "");
    LLVMValueRef map = LLVMBuildSelect(e->b, several, there, here, "");
    struct llvm_if test;
    map = sm90_add_const(e, map, (int64_t)number * SM90_MAP_BYTES);
    llvm_if_begin(e->unit, &test, several, "map");
    sm90_asm(e, NULL, "fence.proxy.tensormap::generic.acquire.gpu [$0], 128;", "l,~{memory}", &map,
             1);
    llvm_if_end(&test);
    return map;
}

void sm90_copy_tile(struct sm90_emit *e, LLVMValueRef to, LLVMValueRef map, int rows,
                    const LLVMValueRef *at, LLVMValueRef head, LLVMValueRef barrier) {
    for (int chunk = 0; chunk < e->shape.chunks; chunk++)
        sm90_copy_box(e, sm90_add_const(e, to, (int64_t)chunk * rows * 128), map, 64 * chunk, at,
                      head, barrier);
}

// ---- sources ------------------------------------------------------------------------------------

LLVMValueRef sm90_source_of(struct sm90_emit *e, LLVMValueRef flags) {
    LLVMValueRef number = LLVMBuildLShr(e->b, flags, sm90_i32(e, SM90_FLAG_SOURCE), "");
    return LLVMBuildAnd(e->b, number, sm90_i32(e, MAX_SOURCES - 1), "");
}

// What is known of a source is read again for each tile and use, as runs are.
static LLVMValueRef source_at(struct sm90_emit *e, LLVMValueRef number) {
    return sm90_global(e, SM90_ARG(e, sources, e->unit->i64), number, sizeof(struct sm90_source));
}

struct ragged {
    LLVMValueRef column, value; // of the tile; value: 0 where it does not hold the last group
};

// The source's last group, where it has fewer keys than the others.
static struct ragged find_ragged(struct sm90_emit *e, LLVMValueRef source, LLVMValueRef *origin) {
    LLVMTypeRef i32 = e->unit->i32;
    LLVMValueRef at = source_at(e, source);
    LLVMValueRef last = sm90_load(e, at, offsetof(struct sm90_source, ragged_at), i32);
    LLVMValueRef value = sm90_load(e, at, offsetof(struct sm90_source, ragged), i32);
    struct ragged ragged = {.column = LLVMBuildSub(e->b, last, origin[ABI_AXES - 1], "")};
    LLVMValueRef here =
        LLVMBuildICmp(e->b, LLVMIntULT, ragged.column, sm90_i32(e, e->shape.key_rows), "");
    ragged.value = LLVMBuildSelect(e->b, here, value, sm90_i32(e, 0), "");
    return ragged;
}

// The source's number; and a tile that adds to single logits is a partial one.
static LLVMValueRef source_flags(struct producer *p, LLVMValueRef kind, LLVMValueRef *origin) {
    struct sm90_emit *e = p->e;
    LLVMValueRef source = LLVMBuildLShr(e->b, kind, sm90_i32(e, ABI_RUN_SOURCE), "");
    LLVMValueRef ragged = find_ragged(e, source, origin).value;
    LLVMValueRef partial = LLVMBuildICmp(e->b, LLVMIntNE, ragged, sm90_i32(e, 0), "");
    return LLVMBuildOr(e->b, LLVMBuildShl(e->b, source, sm90_i32(e, SM90_FLAG_SOURCE), ""),
                       LLVMBuildZExt(e->b, partial, e->unit->i32, ""), "");
}

static void add_source_words(struct producer *p, LLVMValueRef *origin, LLVMValueRef flags,
                             LLVMValueRef words[3][4]) {
    struct sm90_emit *e = p->e;
    LLVMValueRef source = sm90_source_of(e, flags);
    struct ragged ragged = find_ragged(e, source, origin);
    LLVMValueRef bias =
        sm90_load(e, source_at(e, source), offsetof(struct sm90_source, bias), e->unit->i64);
    LLVMValueRef head = sm90_shared_load(e, p->record, SM90_RECORD_HEAD_NUMBER);
    words[0][0] = ragged.column;
    words[1][ABI_AXES] = sm90_load(e, sm90_global(e, bias, head, 4), 0, e->unit->i32);
    words[2][ABI_AXES] = ragged.value;
}

// Where the tile's keys (0) or values (1) come from: sources of the keys themselves read the
// tensors' own maps.
struct origin_map {
    LLVMValueRef map, head;
};

static struct origin_map map_of(struct producer *p, int which, LLVMValueRef flags) {
    struct sm90_emit *e = p->e;
    struct origin_map own = {p->maps[which], p->key_at};
    if (!sm90_has_sources(e))
        return own;
    LLVMValueRef source = sm90_source_of(e, flags), of_keys = llvm_int(e->unit->i1, 0);
    for (int s = 0; s < e->source_count; s++)
        if (e->pattern->sources[s].factor == 1)
            of_keys = LLVMBuildOr(e->b, of_keys,
                                  LLVMBuildICmp(e->b, LLVMIntEQ, source, sm90_i32(e, s), ""), "");
    LLVMValueRef map = sm90_add_const(e, source_at(e, source), which * SM90_MAP_BYTES);
    LLVMValueRef head = sm90_shared_load(e, p->record, SM90_RECORD_SOURCE_AT);
    return (struct origin_map){LLVMBuildSelect(e->b, of_keys, own.map, map, ""),
                               LLVMBuildSelect(e->b, of_keys, own.head, head, "")};
}

// ---- tiles --------------------------------------------------------------------------------------

static void write_record(struct producer *p, LLVMValueRef stage, LLVMValueRef run,
                         LLVMValueRef *origin, LLVMValueRef flags) {
    struct sm90_emit *e = p->e;
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, stage, SM90_TILE_RECORD_BYTES));
    LLVMValueRef words[3][4] = {{origin[0], origin[1], origin[2], flags}};
    for (int i = 0; i < 4; i++) {
        int64_t low = offsetof(struct sm90_run, low), high = offsetof(struct sm90_run, high);
        words[1][i] = sm90_load(e, run, low + 4 * i, e->unit->i32);
        words[2][i] = sm90_load(e, run, high + 4 * i, e->unit->i32);
    }
    if (sm90_has_sources(e))
        add_source_words(p, origin, flags, words);
    for (int i = 0; i < 3; i++)
        sm90_shared_store4(e, at, e->shape.tile_record_at + 16 * i, words[i]);
}

static void produce_tile(struct producer *p, LLVMValueRef count, LLVMValueRef run,
                         LLVMValueRef *origin, LLVMValueRef flags) {
    struct sm90_emit *e = p->e;
    static const enum sm90_barrier kinds[2][2] = {{SM90_KEY_FULL, SM90_KEY_EMPTY},
                                                  {SM90_VALUE_FULL, SM90_VALUE_EMPTY}};
    const int places[] = {e->shape.key_at, e->shape.value_at};
    LLVMValueRef stage = sm90_stage(e, count, e->shape.stages);
    LLVMValueRef parity = sm90_parity(e, count, e->shape.stages);
    LLVMValueRef free = LLVMBuildXor(e->b, parity, sm90_i32(e, 1), "");
    tell_late(p, LLVMBuildICmp(e->b, LLVMIntEQ, count, p->late_at, ""));
    for (int i = 0; i < 2; i++) {
        LLVMValueRef full = sm90_barrier_at(e, kinds[i][0], stage);
        sm90_wait(e, sm90_barrier_at(e, kinds[i][1], stage), free);
        if (i == 0)
            write_record(p, stage, run, origin, flags);
        sm90_expect(e, full, sm90_i32(e, e->shape.tile_bytes));
        LLVMValueRef to = sm90_add(e, e->shared, sm90_mul_const(e, stage, e->shape.tile_bytes));
        struct origin_map from = map_of(p, i, flags);
        sm90_copy_tile(e, sm90_add_const(e, to, places[i]), from.map, e->shape.key_rows, origin,
                       from.head, full);
    }
}

static LLVMValueRef run_field(struct producer *p, LLVMValueRef run, size_t offset, int axis) {
    return sm90_load(p->e, run, (int64_t)offset + 4 * axis, p->e->unit->i32);
}

// The bricks of a run, x fastest: the odometer's digits are carried by the loop.
static LLVMValueRef produce_run(struct producer *p, LLVMValueRef run, LLVMValueRef last_run,
                                LLVMValueRef count) {
    struct sm90_emit *e = p->e;
    LLVMBuilderRef b = e->b;
    int first = ABI_AXES - e->spec->axes;
    LLVMValueRef zero = sm90_i32(e, 0), one = sm90_i32(e, 1), total = one;
    LLVMValueRef digit[ABI_AXES], next[ABI_AXES], origin[ABI_AXES];
    for (int a = first; a < ABI_AXES; a++)
        total = LLVMBuildMul(b, total, run_field(p, run, offsetof(struct sm90_run, count), a), "");
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, zero, total, one, "bricks");
    LLVMValueRef tiles = llvm_loop_carry(&loop, count);
    for (int a = first; a < ABI_AXES; a++)
        digit[a] = llvm_loop_carry(&loop, zero);
    for (int a = 0; a < ABI_AXES; a++) {
        origin[a] = zero;
        if (a < first)
            continue;
        LLVMValueRef step = run_field(p, run, offsetof(struct sm90_run, step), a);
        origin[a] = sm90_add(e, run_field(p, run, offsetof(struct sm90_run, origin), a),
                             LLVMBuildMul(b, digit[a], step, ""));
    }
    LLVMValueRef at_end = LLVMBuildICmp(b, LLVMIntEQ, sm90_add(e, loop.index, one), total, "");
    LLVMValueRef last = LLVMBuildAnd(b, at_end, last_run, "");
    LLVMValueRef kind = run_field(p, run, offsetof(struct sm90_run, kind), 0);
    LLVMValueRef flags =
        LLVMBuildOr(b, LLVMBuildAnd(b, kind, one, ""),
                    LLVMBuildSelect(b, last, sm90_i32(e, SM90_FLAG_LAST), zero, ""), "");
    if (sm90_has_sources(e))
        flags = LLVMBuildOr(b, flags, source_flags(p, kind, origin), "");
    produce_tile(p, tiles, run, origin, flags);
    LLVMValueRef carry = one;
    for (int a = ABI_AXES - 1; a >= first; a--) {
        LLVMValueRef end = run_field(p, run, offsetof(struct sm90_run, count), a);
        LLVMValueRef moved = sm90_add(e, digit[a], carry);
        LLVMValueRef wraps = LLVMBuildICmp(b, LLVMIntSGE, moved, end, "");
        next[a] = LLVMBuildSelect(b, wraps, zero, moved, "");
        carry = LLVMBuildZExt(b, wraps, e->unit->i32, "");
    }
    llvm_loop_next(&loop, 0, sm90_add(e, tiles, one));
    for (int a = first; a < ABI_AXES; a++)
        llvm_loop_next(&loop, 1 + a - first, next[a]);
    llvm_loop_end(&loop);
    return loop.carried[0];
}

// ---- items --------------------------------------------------------------------------------------

// Gives how many tiles have been produced since the start.
static LLVMValueRef produce_item(void *context, LLVMValueRef items, LLVMValueRef tiles) {
    struct producer *p = context;
    struct sm90_emit *e = p->e;
    LLVMValueRef record = sm90_item_record(e, items);
    LLVMValueRef begin = sm90_shared_load(e, record, SM90_RECORD_BEGIN);
    LLVMValueRef end = sm90_shared_load(e, record, SM90_RECORD_END);
    LLVMValueRef set = sm90_shared_load(e, record, SM90_RECORD_SET);
    p->record = record;
    p->key_at = sm90_shared_load(e, record, SM90_RECORD_KEY_AT);
    LLVMValueRef own = sm90_shared_load(e, record, SM90_RECORD_TILES);
    LLVMValueRef before = LLVMBuildSub(e->b, own, sm90_i32(e, tiles_ahead(e)), "");
    LLVMValueRef few = LLVMBuildICmp(e->b, LLVMIntULT, own, sm90_i32(e, tiles_ahead(e)), "");
    p->late_at = sm90_add(e, tiles, LLVMBuildSelect(e->b, few, sm90_i32(e, 0), before, ""));
    tell_late(p, LLVMBuildICmp(e->b, LLVMIntEQ, own, sm90_i32(e, 0), "")); // none at all
    p->maps[0] = sm90_map(e, set, SM90_MAP_K);
    p->maps[1] = sm90_map(e, set, SM90_MAP_V);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, begin, end, sm90_i32(e, 1), "runs");
    LLVMValueRef count = llvm_loop_carry(&loop, tiles);
    LLVMValueRef run =
        sm90_global(e, SM90_ARG(e, runs, e->unit->i64), loop.index, sizeof(struct sm90_run));
    LLVMValueRef last = LLVMBuildICmp(e->b, LLVMIntEQ, sm90_add_const(e, loop.index, 1), end, "");
    llvm_loop_next(&loop, 0, produce_run(p, run, last, count));
    llvm_loop_end(&loop);
    return loop.carried[0];
}

static LLVMValueRef is_thread(struct sm90_emit *e, int number) {
    return LLVMBuildICmp(e->b, LLVMIntEQ, sm90_thread(e), sm90_i32(e, number), "");
}

static LLVMValueRef is_warp(struct sm90_emit *e, int number) {
    LLVMValueRef warp = LLVMBuildLShr(e->b, sm90_thread(e), sm90_i32(e, 5), "");
    return LLVMBuildICmp(e->b, LLVMIntEQ, warp, sm90_i32(e, number), "");
}

// They were copied to the device's memory by the driver when the plan was made.
void sm90_acquire_source_maps(struct sm90_emit *e) {
    for (int i = 0; i < 2 * e->source_count; i++) {
        LLVMValueRef map =
            sm90_add_const(e, source_at(e, sm90_i32(e, i / 2)), i % 2 * SM90_MAP_BYTES);
        sm90_asm(e, NULL, "fence.proxy.tensormap::generic.acquire.gpu [$0], 128;", "l,~{memory}",
                 &map, 1);
    }
}

void sm90_producer(struct sm90_emit *e) {
    struct producer producer = {.e = e};
    struct llvm_if test;
    sm90_set_registers(e, false, e->shape.producer_registers);
    llvm_if_begin(e->unit, &test, is_thread(e, 0), "producer");
    sm90_each_item(e, SM90_ITEM_FULL, produce_item, &producer);
    llvm_if_end(&test);
    llvm_if_begin(e->unit, &test, is_thread(e, 32), "scout");
    sm90_scout(e);
    llvm_if_end(&test);
    if (!e->shape.staged)
        return;
    llvm_if_begin(e->unit, &test, is_warp(e, 2), "writer");
    sm90_writer(e);
    llvm_if_end(&test);
}
