// A consumer warpgroup: 64 query rows of each item of its block. The products of a tile overlap the
// softmax of the one before, also where an item ends and the next begins:
//
// clang-format off
//   first    S = Q.K0;                           softmax S -> P                (nothing goes before)
//   steady   S = Q.Kj  and O += P.V(j-1) together; softmax S -> P;  rescale O
//   turn     S = Q'.K0 and O += P.Vn     together; softmax S -> P;  store O, begin another
//   drain    O += P.Vn;                                           store O      (nothing follows)
// clang-format on
//
// `steady` and `turn` issue their products before they ask what kind the tile is, so that nothing
// waits for the answer. What follows exists twice, for full and for partial tiles; nothing of the
// predicate is in the full ones.
//
// Items without keys are written as they are met. A turn never goes past one: its buffer comes free
// only when the item before last has been stored, which may be the one still in registers. So an
// item that such an item or none follows is drained, and the next with keys begins like the first.
#include "compiler/sm90/sm90_emit.h"

#include <string.h>

struct state {          // what flows between tiles
    LLVMValueRef items; // number of the item in hand, among this block's: buffers follow from it
    LLVMValueRef tiles; // consumed so far, by this block: stages and phases follow from it
    LLVMValueRef flags; // of the last tile
    LLVMValueRef output[SM90_MAX_OUTPUT], weights[SM90_MAX_WEIGHTS];
    struct sm90_softmax softmax;
};

struct consumer {
    struct sm90_emit *e;
    LLVMValueRef warpgroup;
    struct state at; // phis at the head of the tile loop
    LLVMBasicBlockRef head;
};

// ---- phis ---------------------------------------------------------------------------------------

enum { INTEGERS = 3, MOST_VALUES = INTEGERS + SM90_MAX_OUTPUT + SM90_MAX_WEIGHTS + 4 };

// Lists the state's values; returns how many there are. The first INTEGERS and the weights are i32.
static int state_values(struct sm90_emit *e, struct state *state, LLVMValueRef **out) {
    int count = 0;
    out[count++] = &state->items;
    out[count++] = &state->tiles;
    out[count++] = &state->flags;
    for (int i = 0; i < e->weight_count; i++)
        out[count++] = &state->weights[i];
    for (int i = 0; i < e->output_count; i++)
        out[count++] = &state->output[i];
    for (int row = 0; row < SM90_ROWS; row++) {
        out[count++] = &state->softmax.maximum[row];
        out[count++] = &state->softmax.sum[row];
    }
    return count;
}

static void go_to_head(struct consumer *c, struct state *from) {
    LLVMValueRef *phis[MOST_VALUES], *values[MOST_VALUES];
    int count = state_values(c->e, &c->at, phis);
    state_values(c->e, from, values);
    LLVMBasicBlockRef block = LLVMGetInsertBlock(c->e->b);
    for (int i = 0; i < count; i++)
        LLVMAddIncoming(*phis[i], values[i], &block, 1);
    LLVMBuildBr(c->e->b, c->head);
}

static void make_head(struct consumer *c) {
    struct sm90_emit *e = c->e;
    LLVMValueRef *phis[MOST_VALUES];
    c->head = llvm_new_block(e->unit, "tiles");
    LLVMPositionBuilderAtEnd(e->b, c->head);
    int count = state_values(e, &c->at, phis);
    for (int i = 0; i < count; i++)
        *phis[i] =
            LLVMBuildPhi(e->b, i < INTEGERS + e->weight_count ? e->unit->i32 : e->unit->f32, "");
}

static void branch_on(struct sm90_emit *e, LLVMValueRef flags, int flag, LLVMBasicBlockRef yes,
                      LLVMBasicBlockRef no) {
    LLVMValueRef bit = LLVMBuildAnd(e->b, flags, sm90_i32(e, flag), "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, bit, sm90_i32(e, 0), ""), yes, no);
}

// Where an item begins that no other goes before: phis of its number, and of tiles consumed.
struct start {
    LLVMBasicBlockRef block;
    LLVMValueRef items, tiles;
};

// Leaves the builder where it was.
static void make_start(struct consumer *c, struct start *out) {
    struct sm90_emit *e = c->e;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    out->block = llvm_new_block(e->unit, "start");
    LLVMPositionBuilderAtEnd(e->b, out->block);
    out->items = LLVMBuildPhi(e->b, e->unit->i32, "from");
    out->tiles = LLVMBuildPhi(e->b, e->unit->i32, "");
    LLVMPositionBuilderAtEnd(e->b, here);
}

static void start_from(struct consumer *c, struct start *start, LLVMValueRef items,
                       LLVMValueRef tiles) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(c->e->b);
    LLVMAddIncoming(start->items, &items, &here, 1);
    LLVMAddIncoming(start->tiles, &tiles, &here, 1);
    LLVMBuildBr(c->e->b, start->block);
}

// ---- one tile -----------------------------------------------------------------------------------

static LLVMValueRef stage_address(struct sm90_emit *e, LLVMValueRef stage, int at) {
    LLVMValueRef to = sm90_add(e, e->shared, sm90_mul_const(e, stage, e->shape.tile_bytes));
    return sm90_add_const(e, to, at);
}

static LLVMValueRef load_record(struct sm90_emit *e, LLVMValueRef stage, int at_bytes) {
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, stage, SM90_TILE_RECORD_BYTES));
    return sm90_shared_load_lane0(e, at, e->shape.tile_record_at + at_bytes);
}

// What lane 0 has read of a tile's record: flags, and with sources the bias.
struct tile_kind {
    LLVMValueRef flags, bias;
};

// Waits for tile `count`'s keys.
static struct tile_kind await_keys(struct sm90_emit *e, LLVMValueRef count) {
    LLVMValueRef stage = sm90_stage(e, count, e->shape.stages);
    struct tile_kind kind = {.bias = NULL};
    sm90_wait(e, sm90_barrier_at(e, SM90_KEY_FULL, stage), sm90_parity(e, count, e->shape.stages));
    kind.flags = load_record(e, stage, SM90_TILE_FLAGS);
    if (sm90_has_sources(e))
        kind.bias = load_record(e, stage, SM90_TILE_BIAS);
    return kind;
}

static LLVMValueRef real_from_lane0(struct sm90_emit *e, LLVMValueRef word) {
    return LLVMBuildBitCast(e->b, sm90_from_lane0(e, word), e->unit->f32, "");
}

// Of the warpgroup's rows of item number `items`.
static LLVMValueRef query_descriptor(struct consumer *c, LLVMValueRef items) {
    struct sm90_emit *e = c->e;
    LLVMValueRef rows = sm90_mul_const(e, sm90_add_const(e, c->warpgroup, -1), 64 * 128);
    LLVMValueRef at = sm90_query_buffer(e, sm90_stage(e, items, e->shape.query_buffers));
    return sm90_query_descriptor(e, sm90_add(e, at, rows));
}

struct tile {
    LLVMValueRef items, tiles, flags, bias;
    bool partial;
    LLVMValueRef stage, value_stage; // of its keys; of the values of the tile before
    LLVMValueRef logits[SM90_MAX_LOGITS];
    // Where it is and its key slots, prepared while the logits are being multiplied.
    bool placed;
    struct sm90_item item;
    struct sm90_tile_place place;
    LLVMValueRef copy;
    LLVMValueRef ragged, ragged_column; // as sm90_mask_input
};

static void take_kind(struct sm90_emit *e, struct tile *tile, const struct tile_kind *kind) {
    tile->flags = sm90_from_lane0(e, kind->flags);
    tile->bias = kind->bias ? real_from_lane0(e, kind->bias) : NULL;
}

static void issue_logits(struct consumer *c, struct tile *tile) {
    struct sm90_emit *e = c->e;
    tile->stage = sm90_stage(e, tile->tiles, e->shape.stages);
    LLVMValueRef key = sm90_key_descriptor(e, stage_address(e, tile->stage, e->shape.key_at));
    LLVMValueRef query = query_descriptor(c, tile->items);
    sm90_fence(e);
    sm90_issue_logits(e, query, key, tile->logits);
    sm90_commit(e);
}

static LLVMValueRef issue_output(struct consumer *c, LLVMValueRef count, LLVMValueRef *output,
                                 const LLVMValueRef *weights) {
    struct sm90_emit *e = c->e;
    LLVMValueRef stage = sm90_stage(e, count, e->shape.stages);
    sm90_wait(e, sm90_barrier_at(e, SM90_VALUE_FULL, stage),
              sm90_parity(e, count, e->shape.stages));
    LLVMValueRef value = sm90_value_descriptor(e, stage_address(e, stage, e->shape.value_at));
    sm90_fence(e); // after the wait: where control flow lies between, the assembler puts its own
    sm90_issue_output(e, output, weights, value);
    sm90_commit(e);
    return stage;
}

static LLVMValueRef is_source(struct sm90_emit *e, const struct tile *tile, int source) {
    LLVMValueRef number = sm90_source_of(e, tile->flags);
    return LLVMBuildICmp(e->b, LLVMIntEQ, number, sm90_i32(e, source), "");
}

typedef void view_fn(struct sm90_emit *view, struct tile *tile);

// With the predicate of the tile's source: one of several, or the pattern's own.
static void for_each_view(struct sm90_emit *e, struct tile *tile, view_fn *body) {
    if (!sm90_has_sources(e))
        body(e, tile);
    for (int s = 0; s < e->source_count; s++) {
        struct llvm_if test;
        llvm_if_begin(e->unit, &test, is_source(e, tile, s), "source");
        body(&e->views[s], tile);
        llvm_if_end(&test);
    }
}

static bool any_key_slots(const struct sm90_emit *e) {
    bool any = !sm90_has_sources(e) && sm90_has_key_slots(e);
    for (int s = 0; s < e->source_count; s++)
        any |= sm90_has_key_slots(&e->views[s]);
    return any;
}

static void prepare_view(struct sm90_emit *view, struct tile *tile) {
    if (tile->partial)
        sm90_fill_tile_intervals(view, &tile->item, &tile->place);
    sm90_fill_key_slots(view, &tile->item, &tile->place, tile->copy);
}

static void prepare(struct consumer *c, struct tile *tile) {
    struct sm90_emit *e = c->e;
    tile->placed = tile->partial || e->full_needs_place;
    if (!tile->placed)
        return;
    tile->item.record = sm90_item_record(e, tile->items);
    tile->place = sm90_tile_read(e, tile->stage);
    if (any_key_slots(e))
        tile->copy = sm90_key_copy(e, tile->tiles);
    if (sm90_has_sources(e)) {
        tile->ragged = real_from_lane0(e, load_record(e, tile->stage, SM90_TILE_RAGGED));
        tile->ragged_column =
            sm90_from_lane0(e, load_record(e, tile->stage, SM90_TILE_RAGGED_COLUMN));
    }
    for_each_view(e, tile, prepare_view);
}

static void mask_view(struct sm90_emit *view, struct tile *tile, LLVMValueRef *logits) {
    struct sm90_mask_input input = {&tile->item,  tile->placed ? &tile->place : NULL,
                                    tile->flags,  tile->copy,
                                    tile->ragged, tile->ragged_column};
    sm90_mask(view, &input, tile->partial, logits);
}

// By the source's predicate; the last one asks no more.
static void mask_by_source(struct sm90_emit *e, struct tile *tile) {
    LLVMBasicBlockRef after = llvm_new_block(e->unit, "masked"), from[MAX_SOURCES];
    LLVMValueRef masked[MAX_SOURCES][SM90_MAX_LOGITS];
    for (int s = 0; s < e->source_count; s++) {
        LLVMBasicBlockRef next = NULL;
        if (s + 1 < e->source_count) {
            LLVMBasicBlockRef own = llvm_new_block(e->unit, "");
            next = llvm_new_block(e->unit, "");
            LLVMBuildCondBr(e->b, is_source(e, tile, s), own, next);
            LLVMPositionBuilderAtEnd(e->b, own);
        }
        memcpy(masked[s], tile->logits, sizeof tile->logits);
        mask_view(&e->views[s], tile, masked[s]);
        from[s] = LLVMGetInsertBlock(e->b);
        LLVMBuildBr(e->b, after);
        if (next)
            LLVMPositionBuilderAtEnd(e->b, next);
    }
    LLVMPositionBuilderAtEnd(e->b, after);
    for (int n = 0; n < e->logit_count; n++) {
        tile->logits[n] = LLVMBuildPhi(e->b, e->unit->f32, "");
        for (int s = 0; s < e->source_count; s++)
            LLVMAddIncoming(tile->logits[n], &masked[s][n], &from[s], 1);
    }
}

// The keys have been multiplied and the tile's record read: the stage can be handed back, and with
// an item's last tile its queries. Then logits -> probabilities, in place.
static void finish_logits(struct consumer *c, struct tile *tile, struct sm90_softmax *softmax) {
    struct sm90_emit *e = c->e;
    LLVMValueRef buffer = sm90_stage(e, tile->items, e->shape.query_buffers);
    sm90_arrive_warp(e, sm90_barrier_at(e, SM90_KEY_EMPTY, tile->stage));
    sm90_arrive_lane0_if(e, sm90_barrier_at(e, SM90_QUERY_READ, buffer), tile->flags,
                         SM90_FLAG_LAST);
    if (tile->partial || e->spec->scale_first) {
        if (sm90_has_sources(e))
            mask_by_source(e, tile);
        else
            mask_view(e, tile, tile->logits);
    }
    sm90_softmax_tile(e, softmax, tile->logits, tile->bias);
}

static void begin_output(struct consumer *c, struct state *state) {
    for (int i = 0; i < c->e->output_count; i++)
        state->output[i] = LLVMConstReal(c->e->unit->f32, 0.0);
}

static void first_tile(struct consumer *c, LLVMValueRef items, LLVMValueRef tiles) {
    struct sm90_emit *e = c->e;
    struct tile tile = {.items = items, .tiles = tiles, .partial = true};
    struct state state = {.items = items, .tiles = sm90_add_const(e, tiles, 1)};
    struct tile_kind kind = await_keys(e, tile.tiles);
    issue_logits(c, &tile);
    take_kind(e, &tile, &kind);
    state.flags = tile.flags;
    prepare(c, &tile);
    sm90_wait_products(e, 0, tile.logits, e->logit_count);
    sm90_softmax_begin(e, &state.softmax);
    finish_logits(c, &tile, &state.softmax);
    sm90_pack(e, tile.logits, state.weights);
    begin_output(c, &state);
    go_to_head(c, &state);
}

// S = Q.K of `tile` and O += P.V of the tile before, together.
static void issue_both(struct consumer *c, struct tile *tile, struct state *state) {
    issue_logits(c, tile);
    tile->value_stage =
        issue_output(c, sm90_add_const(c->e, tile->tiles, -1), state->output, state->weights);
}

// Then what the softmax makes of S.
static void finish_both(struct consumer *c, struct tile *tile, struct state *state,
                        struct sm90_softmax *softmax) {
    struct sm90_emit *e = c->e;
    prepare(c, tile);
    sm90_wait_products(e, 1, tile->logits, e->logit_count);
    finish_logits(c, tile, softmax);
    sm90_wait_products(e, 0, state->output, e->output_count);
    sm90_arrive_group(e, sm90_barrier_at(e, SM90_VALUE_EMPTY, tile->value_stage));
}

static void steady_tile(struct consumer *c, struct tile tile, struct state state) {
    struct sm90_emit *e = c->e;
    finish_both(c, &tile, &state, &state.softmax);
    sm90_pack(e, tile.logits, state.weights);
    sm90_rescale(e, &state.softmax, state.output);
    state.tiles = sm90_add_const(e, state.tiles, 1);
    state.flags = tile.flags;
    go_to_head(c, &state);
}

// ---- items --------------------------------------------------------------------------------------

// Waits for the record and the queries of item number `items`; gives its state.
static LLVMValueRef await_item(struct sm90_emit *e, LLVMValueRef items) {
    int buffers = e->shape.query_buffers;
    LLVMValueRef buffer = sm90_stage(e, items, buffers);
    sm90_wait(e, sm90_barrier_at(e, SM90_QUERY_FULL, buffer), sm90_parity(e, items, buffers));
    return sm90_shared_load(e, sm90_item_record(e, items), 0);
}

static void begin_item(struct sm90_emit *e, LLVMValueRef items) {
    struct sm90_item item = {sm90_item_record(e, items)};
    if (!sm90_has_sources(e))
        sm90_fill_query_slots(e, &item);
    for (int s = 0; s < e->source_count; s++)
        sm90_fill_query_slots(&e->views[s], &item);
}

// Walks to the next item that has keys, from number `from` on, writing those that have none. The
// builder is left in the block where it is found; control goes to `none` when there is none.
static LLVMValueRef find_item(struct consumer *c, LLVMValueRef from, LLVMBasicBlockRef none) {
    struct sm90_emit *e = c->e;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef look = llvm_new_block(e->unit, "look");
    LLVMBasicBlockRef more = llvm_new_block(e->unit, "");
    LLVMBasicBlockRef empty = llvm_new_block(e->unit, "empty");
    LLVMBasicBlockRef found = llvm_new_block(e->unit, "item");
    LLVMBuildBr(e->b, look);
    LLVMPositionBuilderAtEnd(e->b, look);
    LLVMValueRef items = LLVMBuildPhi(e->b, e->unit->i32, "items");
    LLVMAddIncoming(items, &from, &before, 1);
    LLVMValueRef state = await_item(e, items);
    branch_on(e, state, SM90_ITEM_NONE, none, more);
    LLVMPositionBuilderAtEnd(e->b, more);
    branch_on(e, state, SM90_ITEM_FILLED, found, empty);
    LLVMPositionBuilderAtEnd(e->b, empty);
    LLVMValueRef buffer = sm90_stage(e, items, e->shape.query_buffers);
    sm90_arrive_warp(e, sm90_barrier_at(e, SM90_QUERY_READ, buffer));
    sm90_finish_item(e, items, NULL, NULL);
    LLVMValueRef next = sm90_add_const(e, items, 1);
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(items, &next, &last, 1);
    LLVMBuildBr(e->b, look);
    LLVMPositionBuilderAtEnd(e->b, found);
    begin_item(e, items);
    return items;
}

static void turn_tile(struct consumer *c, struct tile tile, struct state done) {
    struct sm90_emit *e = c->e;
    struct state next = {.items = tile.items, .flags = tile.flags};
    sm90_softmax_begin(e, &next.softmax);
    finish_both(c, &tile, &done, &next.softmax);
    sm90_pack(e, tile.logits, next.weights);
    sm90_finish_item(e, done.items, &done.softmax, done.output);
    next.tiles = sm90_add_const(e, done.tiles, 1);
    begin_output(c, &next);
    go_to_head(c, &next);
}

static void drain(struct consumer *c) {
    struct sm90_emit *e = c->e;
    struct state state = c->at;
    LLVMValueRef stage =
        issue_output(c, sm90_add_const(e, state.tiles, -1), state.output, state.weights);
    sm90_wait_products(e, 0, state.output, e->output_count);
    sm90_arrive_group(e, sm90_barrier_at(e, SM90_VALUE_EMPTY, stage));
    sm90_finish_item(e, state.items, &state.softmax, state.output);
}

// The block's next tile, of item number `items`: its products are under way before anybody asks
// what kind it is.
static void next_tile(struct consumer *c, LLVMValueRef items,
                      void (*finish)(struct consumer *, struct tile, struct state)) {
    struct sm90_emit *e = c->e;
    struct state state = c->at;
    struct tile tile = {.items = items, .tiles = state.tiles};
    LLVMBasicBlockRef kinds[2] = {llvm_new_block(e->unit, "full"),
                                  llvm_new_block(e->unit, "partial")};
    struct tile_kind kind = await_keys(e, tile.tiles);
    issue_both(c, &tile, &state);
    take_kind(e, &tile, &kind);
    branch_on(e, tile.flags, SM90_FLAG_PARTIAL, kinds[1], kinds[0]);
    for (int partial = 0; partial < 2; partial++) {
        LLVMPositionBuilderAtEnd(e->b, kinds[partial]);
        tile.partial = partial;
        finish(c, tile, state);
    }
}

// What follows an item's last tile: the next item at once, or a drain and another beginning.
static void end_item(struct consumer *c, struct start *start) {
    struct sm90_emit *e = c->e;
    LLVMBasicBlockRef turn = llvm_new_block(e->unit, "turn");
    LLVMBasicBlockRef last = llvm_new_block(e->unit, "drain");
    LLVMValueRef next = sm90_add_const(e, c->at.items, 1);
    branch_on(e, await_item(e, next), SM90_ITEM_FILLED, turn, last);
    LLVMPositionBuilderAtEnd(e->b, turn);
    begin_item(e, next);
    next_tile(c, next, turn_tile);
    LLVMPositionBuilderAtEnd(e->b, last);
    drain(c);
    start_from(c, start, next, c->at.tiles);
}

void sm90_consumer(struct sm90_emit *e, LLVMValueRef warpgroup) {
    struct consumer c = {.e = e, .warpgroup = warpgroup};
    LLVMBasicBlockRef end = llvm_new_block(e->unit, "done");
    struct start start;
    sm90_set_registers(e, true, e->shape.consumer_registers);
    make_start(&c, &start);
    start_from(&c, &start, sm90_i32(e, 0), sm90_i32(e, 0));
    make_head(&c);
    LLVMPositionBuilderAtEnd(e->b, start.block);
    first_tile(&c, find_item(&c, start.items, end), start.tiles);

    LLVMPositionBuilderAtEnd(e->b, c.head);
    LLVMBasicBlockRef more = llvm_new_block(e->unit, "more");
    LLVMBasicBlockRef ended = llvm_new_block(e->unit, "ended");
    branch_on(e, c.at.flags, SM90_FLAG_LAST, ended, more);
    LLVMPositionBuilderAtEnd(e->b, more);
    next_tile(&c, c.at.items, steady_tile);
    LLVMPositionBuilderAtEnd(e->b, ended);
    end_item(&c, &start);
    LLVMPositionBuilderAtEnd(e->b, end);
}
