// A consumer warpgroup: 64 query rows of each item of its block. Within an item the products of a
// tile overlap the softmax of the one before:
//
//   first     S0 = Q.K0               softmax S0 -> P0
//   steady    Sj = Q.Kj  and  O += Pj-1.Vj-1  in flight;  softmax Sj -> Pj;  rescale O
//   tail      O += Pn.Vn, store
//
// `first` and `steady` exist twice, for full and for partial tiles; nothing of the predicate is in
// the full ones. The block between them reads what the producer wrote about the next tile.
#include "compiler/sm90/sm90_emit.h"

struct state {          // what flows between tiles
    LLVMValueRef tiles; // consumed so far, by this block: stages and phases follow from it
    LLVMValueRef flags; // of the last tile
    LLVMValueRef output[SM90_MAX_OUTPUT], weights[SM90_MAX_WEIGHTS];
    struct sm90_softmax softmax;
};

struct consumer {
    struct sm90_emit *e;
    struct sm90_item item;
    LLVMValueRef query, query_empty; // descriptor of this warpgroup's rows, barrier
    struct state at;                 // phis at the head of the tile loop
    LLVMBasicBlockRef head;
    LLVMValueRef next_flags;
};

// ---- phis ---------------------------------------------------------------------------------------

// Calls `visit` on each value of the state, with the phi it belongs to.
static int state_values(struct sm90_emit *e, struct state *state, LLVMValueRef **out) {
    int count = 0;
    out[count++] = &state->tiles;
    out[count++] = &state->flags;
    for (int i = 0; i < e->output_count; i++)
        out[count++] = &state->output[i];
    for (int i = 0; i < e->weight_count; i++)
        out[count++] = &state->weights[i];
    for (int row = 0; row < SM90_ROWS; row++) {
        out[count++] = &state->softmax.maximum[row];
        out[count++] = &state->softmax.sum[row];
    }
    return count;
}

enum { MOST_VALUES = SM90_MAX_OUTPUT + SM90_MAX_WEIGHTS + 8 };

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
    for (int i = 0; i < count; i++) {
        bool integer =
            i < 2 || (i >= 2 + e->output_count && i < 2 + e->output_count + e->weight_count);
        *phis[i] = LLVMBuildPhi(e->b, integer ? e->unit->i32 : e->unit->f32, "");
    }
}

// ---- one tile -----------------------------------------------------------------------------------

static LLVMValueRef stage_address(struct sm90_emit *e, LLVMValueRef stage, int at) {
    LLVMValueRef to = sm90_add(e, e->shared, sm90_mul_const(e, stage, e->shape.tile_bytes));
    return sm90_add_const(e, to, at);
}

// Waits for tile `count`'s keys and reads its flags.
static LLVMValueRef await_keys(struct sm90_emit *e, LLVMValueRef count) {
    LLVMValueRef stage = sm90_stage(e, count, e->shape.stages);
    sm90_wait(e, sm90_barrier_at(e, SM90_KEY_FULL, stage), sm90_parity(e, count, e->shape.stages));
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, stage, 48));
    return sm90_shared_load(e, at, e->shape.tile_record_at + 12);
}

static LLVMValueRef issue_logits(struct consumer *c, LLVMValueRef count, LLVMValueRef *logits) {
    struct sm90_emit *e = c->e;
    LLVMValueRef stage = sm90_stage(e, count, e->shape.stages);
    LLVMValueRef key = sm90_key_descriptor(e, stage_address(e, stage, e->shape.key_at));
    sm90_fence(e);
    sm90_issue_logits(e, c->query, key, logits);
    sm90_commit(e);
    return stage;
}

static LLVMValueRef issue_output(struct consumer *c, LLVMValueRef count, LLVMValueRef *output,
                                 const LLVMValueRef *weights) {
    struct sm90_emit *e = c->e;
    LLVMValueRef stage = sm90_stage(e, count, e->shape.stages);
    sm90_wait(e, sm90_barrier_at(e, SM90_VALUE_FULL, stage),
              sm90_parity(e, count, e->shape.stages));
    LLVMValueRef value = sm90_value_descriptor(e, stage_address(e, stage, e->shape.value_at));
    sm90_issue_output(e, output, weights, value);
    sm90_commit(e);
    return stage;
}

// Where a tile is, and its key slots: while its logits are being multiplied.
struct prepared {
    struct sm90_tile_place place;
    LLVMValueRef copy;
    bool placed;
};

static struct prepared prepare(struct consumer *c, LLVMValueRef count, bool partial) {
    struct sm90_emit *e = c->e;
    struct prepared tile = {.placed = partial || e->full_needs_place};
    if (!tile.placed)
        return tile;
    tile.place = sm90_tile_read(e, sm90_stage(e, count, e->shape.stages));
    tile.copy = sm90_fill_key_slots(e, &c->item, &tile.place, count);
    return tile;
}

// What the logits' stage says has been read: it can be handed back.
static void finish_logits(struct consumer *c, LLVMValueRef stage, const struct prepared *tile,
                          LLVMValueRef flags, bool partial, LLVMValueRef *logits,
                          struct sm90_softmax *softmax) {
    struct sm90_emit *e = c->e;
    struct sm90_mask_input input = {&c->item, tile->placed ? &tile->place : NULL, flags,
                                    tile->copy};
    sm90_arrive_warp(e, sm90_barrier_at(e, SM90_KEY_EMPTY, stage));
    if (partial || e->spec->scale_first)
        sm90_mask(e, &input, partial, logits);
    sm90_softmax_tile(e, softmax, logits);
}

static void first_tile(struct consumer *c, LLVMValueRef count, LLVMValueRef flags, bool partial) {
    struct sm90_emit *e = c->e;
    struct state state;
    LLVMValueRef logits[SM90_MAX_LOGITS];
    LLVMValueRef stage = issue_logits(c, count, logits);
    struct prepared tile = prepare(c, count, partial);
    sm90_wait_products(e, 0, logits, e->logit_count);
    sm90_softmax_begin(e, &state.softmax);
    finish_logits(c, stage, &tile, flags, partial, logits, &state.softmax);
    sm90_pack(e, logits, state.weights);
    for (int i = 0; i < e->output_count; i++)
        state.output[i] = LLVMConstReal(e->unit->f32, 0.0);
    state.tiles = sm90_add_const(e, count, 1);
    state.flags = flags;
    go_to_head(c, &state);
}

static void steady_tile(struct consumer *c, bool partial) {
    struct sm90_emit *e = c->e;
    struct state state = c->at;
    LLVMValueRef logits[SM90_MAX_LOGITS];
    LLVMValueRef key_stage = issue_logits(c, state.tiles, logits);
    LLVMValueRef value_stage =
        issue_output(c, sm90_add_const(e, state.tiles, -1), state.output, state.weights);
    struct prepared tile = prepare(c, state.tiles, partial);
    sm90_wait_products(e, 1, logits, e->logit_count);
    finish_logits(c, key_stage, &tile, c->next_flags, partial, logits, &state.softmax);
    sm90_wait_products(e, 0, state.output, e->output_count);
    sm90_arrive_group(e, sm90_barrier_at(e, SM90_VALUE_EMPTY, value_stage));
    sm90_pack(e, logits, state.weights);
    sm90_rescale(e, &state.softmax, state.output);
    state.tiles = sm90_add_const(e, state.tiles, 1);
    state.flags = c->next_flags;
    go_to_head(c, &state);
}

// ---- one item -----------------------------------------------------------------------------------

static void branch_on(struct sm90_emit *e, LLVMValueRef flags, int flag, LLVMBasicBlockRef yes,
                      LLVMBasicBlockRef no) {
    LLVMValueRef bit = LLVMBuildAnd(e->b, flags, sm90_i32(e, flag), "");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, bit, sm90_i32(e, 0), ""), yes, no);
}

// Emits `make` for full and for partial tiles, each in its block.
static void both_kinds(struct consumer *c, LLVMValueRef flags, LLVMValueRef count, bool first) {
    struct sm90_emit *e = c->e;
    LLVMBasicBlockRef blocks[2];
    blocks[0] = llvm_new_block(e->unit, first ? "first_full" : "full");
    blocks[1] = llvm_new_block(e->unit, first ? "first_partial" : "partial");
    branch_on(e, flags, SM90_FLAG_PARTIAL, blocks[1], blocks[0]);
    for (int partial = 0; partial < 2; partial++) {
        LLVMPositionBuilderAtEnd(e->b, blocks[partial]);
        if (first)
            first_tile(c, count, flags, partial);
        else
            steady_tile(c, partial);
    }
}

// The item's tiles; the builder is left after the store. Returns the tiles consumed since the
// start.
static LLVMValueRef consume_tiles(struct consumer *c, LLVMValueRef count) {
    struct sm90_emit *e = c->e;
    LLVMBasicBlockRef entry = LLVMGetInsertBlock(e->b);
    make_head(c);
    LLVMPositionBuilderAtEnd(e->b, entry);
    both_kinds(c, await_keys(e, count), count, true);
    LLVMPositionBuilderAtEnd(e->b, c->head);
    LLVMBasicBlockRef more = llvm_new_block(e->unit, "more"), tail = llvm_new_block(e->unit, "");
    branch_on(e, c->at.flags, SM90_FLAG_LAST, tail, more);
    LLVMPositionBuilderAtEnd(e->b, more);
    c->next_flags = await_keys(e, c->at.tiles);
    both_kinds(c, c->next_flags, NULL, false);

    LLVMPositionBuilderAtEnd(e->b, tail);
    struct state state = c->at;
    sm90_arrive_warp(e, c->query_empty);
    sm90_fence(e);
    LLVMValueRef stage =
        issue_output(c, sm90_add_const(e, state.tiles, -1), state.output, state.weights);
    sm90_wait_products(e, 0, state.output, e->output_count);
    sm90_arrive_group(e, sm90_barrier_at(e, SM90_VALUE_EMPTY, stage));
    sm90_store_item(e, &c->item, &state.softmax, state.output);
    return state.tiles;
}

static LLVMValueRef consume_item(struct consumer *c, LLVMValueRef warpgroup, LLVMValueRef items,
                                 LLVMValueRef tiles) {
    struct sm90_emit *e = c->e;
    int buffers = e->shape.query_buffers;
    LLVMValueRef buffer = sm90_stage(e, items, buffers), filled;
    c->query_empty = sm90_barrier_at(e, SM90_QUERY_EMPTY, buffer);
    sm90_wait(e, sm90_barrier_at(e, SM90_QUERY_FULL, buffer), sm90_parity(e, items, buffers));
    c->item = sm90_item_read(e, items, &filled);
    LLVMValueRef rows = sm90_mul_const(e, sm90_add_const(e, warpgroup, -1), 64 * 128);
    LLVMValueRef at = sm90_mul_const(e, buffer, e->shape.query_bytes);
    at = sm90_add_const(e, sm90_add(e, at, e->shared), e->shape.query_at);
    c->query = sm90_query_descriptor(e, sm90_add(e, at, rows));

    LLVMBasicBlockRef walk = llvm_new_block(e->unit, "walk");
    LLVMBasicBlockRef empty = llvm_new_block(e->unit, "empty");
    LLVMBasicBlockRef after = llvm_new_block(e->unit, "");
    branch_on(e, filled, 1, walk, empty);
    LLVMPositionBuilderAtEnd(e->b, empty);
    sm90_arrive_warp(e, c->query_empty);
    sm90_store_item(e, &c->item, NULL, NULL);
    LLVMBasicBlockRef from[2] = {LLVMGetInsertBlock(e->b)};
    LLVMBuildBr(e->b, after);
    LLVMPositionBuilderAtEnd(e->b, walk);
    sm90_fill_query_slots(e, &c->item);
    LLVMValueRef counts[2] = {tiles, consume_tiles(c, tiles)};
    from[1] = LLVMGetInsertBlock(e->b);
    LLVMBuildBr(e->b, after);
    LLVMPositionBuilderAtEnd(e->b, after);
    LLVMValueRef total = LLVMBuildPhi(e->b, e->unit->i32, "");
    LLVMAddIncoming(total, counts, from, 2);
    return total;
}

void sm90_consumer(struct sm90_emit *e, LLVMValueRef warpgroup) {
    struct consumer consumer = {.e = e};
    LLVMValueRef zero = sm90_i32(e, 0);
    sm90_set_registers(e, true, 240);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, sm90_block(e), SM90_ARG(e, items, e->unit->i32),
                    sm90_block_count(e), "items");
    LLVMValueRef items = llvm_loop_carry(&loop, zero), tiles = llvm_loop_carry(&loop, zero);
    llvm_loop_next(&loop, 1, consume_item(&consumer, warpgroup, items, tiles));
    llvm_loop_next(&loop, 0, sm90_add_const(e, items, 1));
    llvm_loop_end(&loop);
}
