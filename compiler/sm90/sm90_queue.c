// The scout: one thread of the producer warpgroup that finds out what the block does next, ahead of
// everybody else, so that nobody waits for memory where an item ends.
//
// Blocks take items from a queue in the launch's order (longest first): block b begins with the
// b-th, and each next one is drawn by counting up a number in device memory. Which block computes
// an item changes nothing in its result. The last block to find the queue empty winds it back.
//
// Per item the scout leaves a record in shared memory (sm90_emit.h), lets the producer thread begin
// on the tiles as soon as the list is known, and then fetches the queries.
#include "compiler/sm90/sm90_emit.h"

#include <stddef.h>

enum { HEAD_BYTES = sizeof(struct sm90_head), BOX_BYTES = sizeof(struct sm90_box) };
_Static_assert(SM90_RECORD_HEAD + HEAD_BYTES == SM90_RECORD_BOX, "the box follows the head");
_Static_assert(SM90_RECORD_BOX + BOX_BYTES == SM90_RECORD_BYTES, "and ends the record");

// Items 0, 1, ... of the block, each when its barrier `ready` says so, until there are none. `body`
// gets the item's number and what it gave for the item before, 0 at first.
void sm90_each_item(struct sm90_emit *e, enum sm90_barrier ready, sm90_item_fn *body,
                    void *context) {
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef head = llvm_new_block(e->unit, "items");
    LLVMBasicBlockRef more = llvm_new_block(e->unit, "item");
    LLVMBasicBlockRef after = llvm_new_block(e->unit, "");
    LLVMValueRef zero = sm90_i32(e, 0);
    int ring = ready == SM90_ITEM_FULL ? SM90_ITEM_RECORDS : e->shape.query_buffers;
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    LLVMValueRef items = LLVMBuildPhi(e->b, e->unit->i32, "items");
    LLVMValueRef carried = LLVMBuildPhi(e->b, e->unit->i32, "");
    LLVMAddIncoming(items, &zero, &before, 1);
    LLVMAddIncoming(carried, &zero, &before, 1);
    sm90_wait(e, sm90_barrier_at(e, ready, sm90_stage(e, items, ring)),
              sm90_parity(e, items, ring));
    LLVMValueRef state = sm90_shared_load(e, sm90_item_record(e, items), 0);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, state, sm90_i32(e, SM90_ITEM_NONE), ""),
                    after, more);
    LLVMPositionBuilderAtEnd(e->b, more);
    LLVMValueRef given = body(context, items, carried);
    LLVMValueRef next = sm90_add_const(e, items, 1);
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(items, &next, &last, 1);
    LLVMAddIncoming(carried, &given, &last, 1);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, after);
}

struct scout {
    struct sm90_emit *e;
    LLVMValueRef items, buffer, record; // of the item in hand: number, query buffer, its record
    LLVMValueRef head_at, box_at;       // in device memory
};

// The block's first item is its own number, later ones are drawn.
static LLVMValueRef draw_work(struct scout *s) {
    struct sm90_emit *e = s->e;
    LLVMValueRef args[] = {SM90_ARG(e, queue, e->unit->i64), s->items, sm90_block(e),
                           sm90_block_count(e)};
    return sm90_asm(e, e->unit->i32,
                    "{ .reg .pred p; .reg .b32 n; setp.ne.u32 p, $2, 0; mov.b32 $0, $3; "
                    "@p atom.global.add.u32 n, [$1], 1; @p add.u32 $0, n, $4; }",
                    "=&r,l,r,r,r,~{memory}", args, 4);
}

static void leave_queue(struct scout *s) {
    struct sm90_emit *e = s->e;
    LLVMValueRef args[] = {SM90_ARG(e, queue, e->unit->i64),
                           sm90_add_const(e, sm90_block_count(e), -1)};
    sm90_asm(e, NULL,
             "{ .reg .pred p; .reg .b32 n; atom.global.inc.u32 n, [$0+4], $1; "
             "setp.eq.u32 p, n, $1; @p st.global.u32 [$0], 0; }",
             "l,r,~{memory}", args, 2);
}

// The one of `kind` that the buffer's item before this one leaves; nothing at first.
static void wait_for(struct scout *s, enum sm90_barrier kind) {
    struct sm90_emit *e = s->e;
    LLVMValueRef parity = sm90_parity(e, s->items, e->shape.query_buffers);
    sm90_wait(e, sm90_barrier_at(e, kind, s->buffer),
              LLVMBuildXor(e->b, parity, sm90_i32(e, 1), ""));
}

// For the item before; the first has none.
static void wait_until_late(struct scout *s) {
    struct sm90_emit *e = s->e;
    LLVMValueRef parity = LLVMBuildXor(e->b, sm90_parity(e, s->items, 1), sm90_i32(e, 1), "");
    sm90_wait(e, sm90_barrier_at(e, SM90_ITEM_LATE, sm90_i32(e, 0)), parity);
}

static void wait_for_buffer(struct scout *s) {
    wait_for(s, SM90_QUERY_READ);
    if (s->e->shape.staged)
        wait_for(s, SM90_OUTPUT_READ);
}

static LLVMValueRef head_field(struct scout *s, size_t offset) {
    return sm90_load(s->e, s->head_at, (int64_t)offset, s->e->unit->i32);
}

static LLVMValueRef box_field(struct scout *s, size_t offset, int axis) {
    return sm90_load(s->e, s->box_at, (int64_t)offset + 4 * axis, s->e->unit->i32);
}

static void write_record(struct scout *s, LLVMValueRef *words) {
    struct sm90_emit *e = s->e;
    LLVMValueRef slot = sm90_stage(e, s->items, SM90_ITEM_RECORDS);
    sm90_shared_store4(e, s->record, 0, words);
    sm90_shared_store4(e, s->record, 16, words + 4);
    sm90_arrive(e, sm90_barrier_at(e, SM90_ITEM_FULL, slot));
}

// The list of item (head number, box number): [begin, end) of the runs, and how many tiles.
static void find_list(struct scout *s, LLVMValueRef box, LLVMValueRef *begin, LLVMValueRef *end,
                      LLVMValueRef *tiles) {
    struct sm90_emit *e = s->e;
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef row =
        LLVMBuildZExt(e->b, head_field(s, offsetof(struct sm90_head, list_row)), i64, "");
    LLVMValueRef boxes = LLVMBuildZExt(e->b, SM90_ARG(e, box_count, e->unit->i32), i64, "");
    LLVMValueRef list = LLVMBuildAdd(e->b, LLVMBuildMul(e->b, row, boxes, ""),
                                     LLVMBuildZExt(e->b, box, i64, ""), "");
    LLVMValueRef begin_at = sm90_global(e, SM90_ARG(e, run_begin, i64), list, 8);
    LLVMValueRef end_at = sm90_global(e, SM90_ARG(e, run_end, i64), list, 8);
    *tiles = sm90_load(e, sm90_global(e, SM90_ARG(e, tiles, i64), list, 4), 0, e->unit->i32);
    *begin = LLVMBuildTrunc(e->b, sm90_load(e, begin_at, 0, i64), e->unit->i32, "");
    *end = LLVMBuildTrunc(e->b, sm90_load(e, end_at, 0, i64), e->unit->i32, "");
    LLVMValueRef first = sm90_global(e, SM90_ARG(e, runs, i64), *begin, sizeof(struct sm90_run));
    sm90_asm(e, NULL, "prefetch.global.L2 [$0];", "l,~{memory}", &first, 1);
}

static void copy_queries(struct scout *s, LLVMValueRef map, LLVMValueRef full) {
    struct sm90_emit *e = s->e;
    LLVMValueRef at[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++)
        at[a] = box_field(s, offsetof(struct sm90_box, begin), a);
    int outermost = ABI_AXES - e->spec->axes;
    at[outermost] = LLVMBuildSub(e->b, at[outermost],
                                 box_field(s, offsetof(struct sm90_box, query_first), 0), "");
    sm90_copy_tile(e, sm90_query_buffer(e, s->buffer), map, e->shape.query_rows, at,
                   head_field(s, offsetof(struct sm90_head, query_at)), full);
}

// The head and the box travel with the queries, which only items with keys need.
static void fetch(struct scout *s, LLVMValueRef filled, LLVMValueRef map) {
    struct sm90_emit *e = s->e;
    LLVMValueRef full = sm90_barrier_at(e, SM90_QUERY_FULL, s->buffer);
    LLVMValueRef bytes =
        LLVMBuildSelect(e->b, filled, sm90_i32(e, e->shape.query_bytes + HEAD_BYTES + BOX_BYTES),
                        sm90_i32(e, HEAD_BYTES + BOX_BYTES), "");
    sm90_expect(e, full, bytes);
    sm90_copy_bytes(e, sm90_add_const(e, s->record, SM90_RECORD_HEAD), s->head_at, HEAD_BYTES,
                    full);
    sm90_copy_bytes(e, sm90_add_const(e, s->record, SM90_RECORD_BOX), s->box_at, BOX_BYTES, full);
    struct llvm_if test;
    llvm_if_begin(e->unit, &test, filled, "queries");
    copy_queries(s, map, full);
    llvm_if_end(&test);
}

static void scout_item(struct scout *s, LLVMValueRef work) {
    struct sm90_emit *e = s->e;
    LLVMTypeRef i64 = e->unit->i64, i32 = e->unit->i32;
    LLVMValueRef begin, end, tiles, zero = sm90_i32(e, 0);
    LLVMValueRef item = sm90_load(e, sm90_global(e, SM90_ARG(e, order, i64), work, 4), 0, i32);
    LLVMValueRef box_count = SM90_ARG(e, box_count, i32);
    LLVMValueRef head = LLVMBuildUDiv(e->b, item, box_count, "");
    LLVMValueRef box = LLVMBuildURem(e->b, item, box_count, "");
    s->head_at = sm90_global(e, SM90_ARG(e, heads, i64), head, HEAD_BYTES);
    s->box_at = sm90_global(e, SM90_ARG(e, boxes, i64), box, BOX_BYTES);
    find_list(s, box, &begin, &end, &tiles);
    LLVMValueRef set = sm90_add(e, head_field(s, offsetof(struct sm90_head, set)),
                                box_field(s, offsetof(struct sm90_box, set), 0));
    LLVMValueRef filled = LLVMBuildICmp(e->b, LLVMIntSLT, begin, end, "");
    LLVMValueRef state = LLVMBuildSelect(e->b, filled, sm90_i32(e, SM90_ITEM_FILLED),
                                         sm90_i32(e, SM90_ITEM_EMPTY), "");
    LLVMValueRef words[8] = {state, begin, end,  head_field(s, offsetof(struct sm90_head, key_at)),
                             set,   tiles, zero, zero};
    if (sm90_has_sources(e)) {
        LLVMValueRef kv_heads = LLVMBuildTrunc(e->b, SM90_ARG(e, kv_head_count, i64), i32, "");
        LLVMValueRef batch = head_field(s, offsetof(struct sm90_head, batch));
        words[6] = sm90_add(e, LLVMBuildMul(e->b, batch, kv_heads, ""),
                            head_field(s, offsetof(struct sm90_head, kv_head)));
        words[7] = head_field(s, offsetof(struct sm90_head, head));
    }
    write_record(s, words);
    wait_for_buffer(s);
    fetch(s, filled, sm90_map(e, set, SM90_MAP_Q));
}

static void scout_end(struct scout *s) {
    struct sm90_emit *e = s->e;
    LLVMValueRef words[8];
    for (int i = 0; i < 8; i++)
        words[i] = sm90_i32(e, i == 0 ? SM90_ITEM_NONE : 0);
    write_record(s, words);
    wait_for_buffer(s);
    sm90_arrive(e, sm90_barrier_at(e, SM90_QUERY_FULL, s->buffer));
    leave_queue(s);
}

// An item is drawn when the last tiles of the one before are being fetched, not earlier: what is
// drawn too soon cannot be taken over by a block that has time. (Drawn when the one before began,
// two long items fell to one block where there are few: 15 % of causal 4,096 x 24.)
void sm90_scout(struct sm90_emit *e) {
    struct scout s = {.e = e};
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef head = llvm_new_block(e->unit, "scout");
    LLVMBasicBlockRef more = llvm_new_block(e->unit, "drawn");
    LLVMBasicBlockRef none = llvm_new_block(e->unit, "drained");
    LLVMValueRef zero = sm90_i32(e, 0);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, head);
    s.items = LLVMBuildPhi(e->b, e->unit->i32, "items");
    LLVMAddIncoming(s.items, &zero, &before, 1);
    s.buffer = sm90_stage(e, s.items, e->shape.query_buffers);
    s.record = sm90_item_record(e, s.items);
    wait_until_late(&s);
    LLVMValueRef work = draw_work(&s);
    LLVMValueRef some = LLVMBuildICmp(e->b, LLVMIntULT, work, SM90_ARG(e, items, e->unit->i32), "");
    LLVMBuildCondBr(e->b, some, more, none);
    LLVMPositionBuilderAtEnd(e->b, more);
    scout_item(&s, work);
    LLVMValueRef next = sm90_add_const(e, s.items, 1);
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(s.items, &next, &last, 1);
    LLVMBuildBr(e->b, head);
    LLVMPositionBuilderAtEnd(e->b, none);
    scout_end(&s);
}
