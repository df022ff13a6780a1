// The producer: one thread walks the items of its block and their runs, and issues the copies. Per
// item a record (which head, which box, whether there is any tile), per tile a record in its stage
// (where it is, whether it is partial, whether it is the item's last), then the copies; consumers
// read no list.
//
// Runs are read again for each brick: they sit in the first-level cache, and the thread has few
// registers.
#include "compiler/sm90/sm90_emit.h"

#include <stddef.h>

struct producer {
    struct sm90_emit *e;
    LLVMValueRef head_at, box_at, maps, query_at, key_at;
};

static LLVMValueRef head_field(struct producer *p, size_t offset) {
    return sm90_load(p->e, p->head_at, (int64_t)offset, p->e->unit->i32);
}

static LLVMValueRef box_field(struct producer *p, size_t offset, int axis) {
    return sm90_load(p->e, p->box_at, (int64_t)offset + 4 * axis, p->e->unit->i32);
}

// The item's tensor maps: in the parameter, or in device memory when there are several sets.
static LLVMValueRef find_maps(struct producer *p) {
    struct sm90_emit *e = p->e;
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef more = SM90_ARG(e, more_maps, i64);
    LLVMValueRef set = sm90_add(e, head_field(p, offsetof(struct sm90_head, set)),
                                box_field(p, offsetof(struct sm90_box, set), 0));
    LLVMValueRef there = sm90_global(e, more, set, SM90_TENSOR_MAPS * SM90_MAP_BYTES);
    LLVMValueRef here = LLVMBuildPtrToInt(e->b, e->args, i64, "");
    LLVMValueRef one = LLVMBuildICmp(e->b, LLVMIntEQ, more, llvm_int(i64, 0), "");
    return LLVMBuildSelect(e->b, one, here, there, "");
}

// All columns of a tile, 64 at a time.
static void copy_tile(struct producer *p, int map, LLVMValueRef to, int rows,
                      const LLVMValueRef *at, LLVMValueRef head, LLVMValueRef barrier) {
    struct sm90_emit *e = p->e;
    LLVMValueRef tensor = sm90_add_const(e, p->maps, map * SM90_MAP_BYTES);
    for (int chunk = 0; chunk < e->shape.chunks; chunk++)
        sm90_copy_box(e, sm90_add_const(e, to, (int64_t)chunk * rows * 128), tensor, 64 * chunk, at,
                      head, barrier);
}

static void produce_queries(struct producer *p, LLVMValueRef buffer, LLVMValueRef full) {
    struct sm90_emit *e = p->e;
    LLVMValueRef at[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++)
        at[a] = box_field(p, offsetof(struct sm90_box, begin), a);
    int outermost = ABI_AXES - e->spec->axes;
    at[outermost] = LLVMBuildSub(e->b, at[outermost],
                                 box_field(p, offsetof(struct sm90_box, query_first), 0), "");
    sm90_expect(e, full, e->shape.query_bytes);
    LLVMValueRef to = sm90_add(e, e->shared, sm90_mul_const(e, buffer, e->shape.query_bytes));
    copy_tile(p, 0, sm90_add_const(e, to, e->shape.query_at), SM90_QUERY_ROWS, at, p->query_at,
              full);
}

// ---- tiles --------------------------------------------------------------------------------------

static void write_record(struct producer *p, LLVMValueRef stage, LLVMValueRef run,
                         LLVMValueRef *origin, LLVMValueRef flags) {
    struct sm90_emit *e = p->e;
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, stage, 48));
    LLVMValueRef words[3][4] = {{origin[0], origin[1], origin[2], flags}};
    for (int i = 0; i < 4; i++) {
        int64_t low = offsetof(struct sm90_run, low), high = offsetof(struct sm90_run, high);
        words[1][i] = sm90_load(e, run, low + 4 * i, e->unit->i32);
        words[2][i] = sm90_load(e, run, high + 4 * i, e->unit->i32);
    }
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
    for (int i = 0; i < 2; i++) {
        LLVMValueRef full = sm90_barrier_at(e, kinds[i][0], stage);
        sm90_wait(e, sm90_barrier_at(e, kinds[i][1], stage), free);
        if (i == 0)
            write_record(p, stage, run, origin, flags);
        sm90_expect(e, full, e->shape.tile_bytes);
        LLVMValueRef to = sm90_add(e, e->shared, sm90_mul_const(e, stage, e->shape.tile_bytes));
        copy_tile(p, 1 + i, sm90_add_const(e, to, places[i]), e->shape.key_rows, origin, p->key_at,
                  full);
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

struct list { // of an item
    LLVMValueRef begin, end;
};

static struct list find_item(struct producer *p, LLVMValueRef work, LLVMValueRef *record) {
    struct sm90_emit *e = p->e;
    LLVMTypeRef i64 = e->unit->i64, i32 = e->unit->i32;
    LLVMValueRef item = sm90_load(e, sm90_global(e, SM90_ARG(e, order, i64), work, 4), 0, i32);
    LLVMValueRef box_count = SM90_ARG(e, box_count, i32);
    record[0] = LLVMBuildUDiv(e->b, item, box_count, "");
    record[1] = LLVMBuildURem(e->b, item, box_count, "");
    p->head_at = sm90_global(e, SM90_ARG(e, heads, i64), record[0], sizeof(struct sm90_head));
    p->box_at = sm90_global(e, SM90_ARG(e, boxes, i64), record[1], sizeof(struct sm90_box));
    LLVMValueRef row = head_field(p, offsetof(struct sm90_head, list_row));
    LLVMValueRef list = LLVMBuildAdd(e->b,
                                     LLVMBuildMul(e->b, LLVMBuildZExt(e->b, row, i64, ""),
                                                  LLVMBuildZExt(e->b, box_count, i64, ""), ""),
                                     LLVMBuildZExt(e->b, record[1], i64, ""), "");
    LLVMValueRef begins = sm90_global(e, SM90_ARG(e, run_begin, i64), list, 8);
    struct list runs = {sm90_load(e, begins, 0, i64), sm90_load(e, begins, 8, i64)};
    p->maps = find_maps(p);
    p->query_at = head_field(p, offsetof(struct sm90_head, query_at));
    p->key_at = head_field(p, offsetof(struct sm90_head, key_at));
    return runs;
}

// Returns how many tiles have been produced since the start.
static LLVMValueRef produce_item(struct producer *p, LLVMValueRef work, LLVMValueRef items,
                                 LLVMValueRef tiles) {
    struct sm90_emit *e = p->e;
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef record[4] = {NULL, NULL, NULL, sm90_i32(e, 0)};
    struct list runs = find_item(p, work, record);
    LLVMValueRef filled = LLVMBuildICmp(e->b, LLVMIntSLT, runs.begin, runs.end, "");
    record[2] = LLVMBuildZExt(e->b, filled, e->unit->i32, "");
    int buffers = e->shape.query_buffers;
    LLVMValueRef buffer = sm90_stage(e, items, buffers);
    LLVMValueRef parity = sm90_parity(e, items, buffers);
    sm90_wait(e, sm90_barrier_at(e, SM90_QUERY_EMPTY, buffer),
              LLVMBuildXor(e->b, parity, sm90_i32(e, 1), ""));
    LLVMValueRef slot = sm90_add(e, e->shared, sm90_mul_const(e, sm90_stage(e, items, 2), 16));
    sm90_shared_store4(e, slot, e->shape.item_record_at, record);
    LLVMValueRef full = sm90_barrier_at(e, SM90_QUERY_FULL, buffer);
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, filled, "filled");
    produce_queries(p, buffer, full);
    llvm_if_else(&test);
    sm90_arrive(e, full);
    llvm_if_end(&test);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, runs.begin, runs.end, llvm_int(i64, 1), "runs");
    LLVMValueRef count = llvm_loop_carry(&loop, tiles);
    LLVMValueRef run = sm90_global(e, SM90_ARG(e, runs, i64), loop.index, sizeof(struct sm90_run));
    LLVMValueRef last = LLVMBuildICmp(
        e->b, LLVMIntEQ, LLVMBuildAdd(e->b, loop.index, llvm_int(i64, 1), ""), runs.end, "");
    llvm_loop_next(&loop, 0, produce_run(p, run, last, count));
    llvm_loop_end(&loop);
    return loop.carried[0];
}

void sm90_producer(struct sm90_emit *e) {
    struct producer producer = {.e = e};
    LLVMValueRef zero = sm90_i32(e, 0), one = sm90_i32(e, 1);
    sm90_set_registers(e, false, 24);
    struct llvm_if test;
    LLVMValueRef is_first = LLVMBuildICmp(e->b, LLVMIntEQ, sm90_thread(e), zero, "");
    llvm_if_begin(e->unit, &test, is_first, "producer");
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, sm90_block(e), SM90_ARG(e, items, e->unit->i32),
                    sm90_block_count(e), "items");
    LLVMValueRef items = llvm_loop_carry(&loop, zero), tiles = llvm_loop_carry(&loop, zero);
    llvm_loop_next(&loop, 1, produce_item(&producer, loop.index, items, tiles));
    llvm_loop_next(&loop, 0, sm90_add(e, items, one));
    llvm_loop_end(&loop);
    llvm_if_end(&test);
}
