// Inside compiler/sm90/: the state of one kernel's emission, and the tile primitives.
//
// A tile of logits S is 64 queries x key_rows keys per warpgroup, spread over its threads as wgmma
// leaves it: thread `lane` of warp w holds, for rows 16 w + lane / 4 (r = 0) and 8 below (r = 1),
// columns 8 j + 2 (lane % 4) + {0, 1}. In `logits`, element 4 j + 2 r + e.
#ifndef HEDDLE_COMPILER_SM90_EMIT_H
#define HEDDLE_COMPILER_SM90_EMIT_H

#include "compiler/analyse/intervals.h"
#include "compiler/base/arena.h"
#include "compiler/llvm/llvm_build.h"
#include "compiler/sm90/sm90_kernel.h"

enum { SM90_MAX_LOGITS = 128, SM90_MAX_OUTPUT = 128, SM90_MAX_WEIGHTS = 64, SM90_ROWS = 2 };

// An item's record in shared memory, written by the scout (sm90_queue.c):
//
//   words   state, first run, end of runs, key_at, set of maps, tiles, source_at, head
//                                                                  (i32; ready with SM90_ITEM_FULL)
//   head    its struct sm90_head                                   (with SM90_QUERY_FULL)
//   box     its struct sm90_box
//
// It is read until the item is stored, when up to three more may have been written.
enum { SM90_ITEM_EMPTY, SM90_ITEM_FILLED, SM90_ITEM_NONE }; // NONE: there are no more
enum {
    SM90_RECORD_BEGIN = 4,
    SM90_RECORD_END = 8,
    SM90_RECORD_KEY_AT = 12,
    SM90_RECORD_SET = 16,
    SM90_RECORD_TILES = 20,
    SM90_RECORD_SOURCE_AT = 24, // batch * kv_heads + kv_head
    SM90_RECORD_HEAD_NUMBER = 28,
    SM90_RECORD_HEAD = 32,
    SM90_RECORD_BOX = 64,
    SM90_RECORD_BYTES = 128,
    SM90_ITEM_RECORDS = 8
};
// A tile's record, in its stage: origin and flags, low and bias, high and ragged. Bias and ragged
// (floats) are those of a source (sm90_source); ragged is 0 in tiles without the last group. Its
// column takes the place of the outermost axis's origin, which bases of one axis do not have.
enum {
    SM90_TILE_RAGGED_COLUMN = 0,
    SM90_TILE_FLAGS = 12,
    SM90_TILE_BIAS = 28,
    SM90_TILE_RAGGED = 44,
    SM90_TILE_RECORD_BYTES = 48
};
enum {
    SM90_FLAG_PARTIAL = 1,
    SM90_FLAG_LAST = 2,
    SM90_FLAG_SOURCE = 8, // the bit where its number begins
    SM90_FLAG_NEVER = 1 << 30
};

struct sm90_emit {
    struct llvm_unit *unit;
    LLVMBuilderRef b;
    const struct pattern *pattern;
    const struct intervals *mask; // the predicate, by conjunct
    const struct sm90_spec *spec;
    struct sm90_shape shape;
    struct arena *arena;
    LLVMValueRef function, args;                 // the kernel and its parameter
    LLVMValueRef shared;                         // i32: base of shared memory
    int logit_count, output_count, weight_count; // registers of a thread
    bool full_needs_place;                       // the score reads coordinates
    struct sm90_intervals *intervals;
    struct sm90_words *words;
    struct sm90_slots *slots;
    int intervals_at, words_at, slots_at; // in shared memory
    // Of a pattern with sources: this again with the predicate of each, its intervals and its
    // slots.
    struct sm90_emit *views;
    int source_count; // or 0
};
static inline bool sm90_has_sources(const struct sm90_emit *e) {
    return e->source_count > 0;
}
// The number of the source that a tile's flags hold (sm90_producer.c).
LLVMValueRef sm90_source_of(struct sm90_emit *e, LLVMValueRef flags);

// ---- small steps (sm90_asm.c) -------------------------------------------------------------------

LLVMValueRef sm90_i32(struct sm90_emit *e, int64_t value);
LLVMValueRef sm90_add(struct sm90_emit *e, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef sm90_add_const(struct sm90_emit *e, LLVMValueRef x, int64_t value);
LLVMValueRef sm90_mul_const(struct sm90_emit *e, LLVMValueRef x, int64_t value);
// Inline PTX. `type` NULL: no result.
LLVMValueRef sm90_asm(struct sm90_emit *e, LLVMTypeRef type, const char *text,
                      const char *constraints, LLVMValueRef *args, int count);
// The same without effects: a function of its arguments, free to move.
LLVMValueRef sm90_pure(struct sm90_emit *e, LLVMTypeRef type, const char *text,
                       const char *constraints, LLVMValueRef *args, int count);
// A field of the kernel's parameter.
LLVMValueRef sm90_arg_at(struct sm90_emit *e, int64_t offset, LLVMTypeRef type);
#define SM90_ARG(e, field, type) sm90_arg_at(e, offsetof(struct sm90_args, field), type)
#define SM90_ARG_AT(e, field, number, type)                                                        \
    sm90_arg_at(e, offsetof(struct sm90_args, field) + 8 * (size_t)(number), type)
// Global memory at base (an address, i64) + index * size + offset.
LLVMValueRef sm90_global(struct sm90_emit *e, LLVMValueRef base, LLVMValueRef index, int64_t size);
LLVMValueRef sm90_load(struct sm90_emit *e, LLVMValueRef at, int64_t offset, LLVMTypeRef type);
LLVMValueRef sm90_shared_load(struct sm90_emit *e, LLVMValueRef at, int64_t offset); // i32
// The same by lane 0 alone (0 elsewhere), and its value to all lanes of the warp: for words that
// lane 0's arrival on a barrier gives back to their writer.
LLVMValueRef sm90_shared_load_lane0(struct sm90_emit *e, LLVMValueRef at, int64_t offset);
LLVMValueRef sm90_from_lane0(struct sm90_emit *e, LLVMValueRef x);
// The same where LLVM may share or drop the load: what a barrier has made visible for long.
LLVMValueRef sm90_shared_field(struct sm90_emit *e, LLVMValueRef at, int64_t offset);
void sm90_shared_store4(struct sm90_emit *e, LLVMValueRef at, int64_t offset, LLVMValueRef *values);
void sm90_shared_store(struct sm90_emit *e, LLVMValueRef at, LLVMValueRef value); // i32 or f32
// 2 or 4 matrices of 8 x 8 elements, a word of each a thread; `at` differs from lane to lane.
void sm90_shared_store_matrices(struct sm90_emit *e, LLVMValueRef at, LLVMValueRef *words,
                                int count);
// The value (f32 or i32) of the lane whose number differs in the bits of `distance`.
LLVMValueRef sm90_from_lane(struct sm90_emit *e, LLVMValueRef x, int distance);
// Bit n: whether it holds in lane n of the warp, all of whose lanes are here.
LLVMValueRef sm90_ballot(struct sm90_emit *e, LLVMValueRef holds);
LLVMValueRef sm90_thread(struct sm90_emit *e); // tid.x, opaque to hoisting
LLVMValueRef sm90_block(struct sm90_emit *e);
LLVMValueRef sm90_block_count(struct sm90_emit *e);

// ---- barriers and copies (sm90_asm.c) -----------------------------------------------------------

enum sm90_barrier {
    SM90_QUERY_FULL,
    SM90_QUERY_READ,  // multiplied by all keys of the item
    SM90_OUTPUT_FULL, // the item's rows are staged in its query buffer
    SM90_OUTPUT_READ, // and have left it
    SM90_KEY_FULL,
    SM90_KEY_EMPTY,
    SM90_VALUE_FULL,
    SM90_VALUE_EMPTY,
    SM90_ITEM_FULL, // by record
    SM90_ITEM_LATE, // one: the item's last tiles are being fetched
    SM90_BARRIER_KINDS
};
// How a running count of tiles (or items) maps to a stage and the parity of its phase.
LLVMValueRef sm90_stage(struct sm90_emit *e, LLVMValueRef count, int stages);
LLVMValueRef sm90_parity(struct sm90_emit *e, LLVMValueRef count, int stages);
LLVMValueRef sm90_barrier_at(struct sm90_emit *e, enum sm90_barrier kind, LLVMValueRef stage);
void sm90_barrier_init(struct sm90_emit *e); // by one thread
void sm90_wait(struct sm90_emit *e, LLVMValueRef barrier, LLVMValueRef parity);
void sm90_arrive(struct sm90_emit *e, LLVMValueRef barrier);                     // one thread
void sm90_expect(struct sm90_emit *e, LLVMValueRef barrier, LLVMValueRef bytes); // and arrives
void sm90_arrive_warp(struct sm90_emit *e, LLVMValueRef barrier);                // one per warp
// Lane 0, where `flags` has `flag`; for a warp that has just been synchronised.
void sm90_arrive_lane0_if(struct sm90_emit *e, LLVMValueRef barrier, LLVMValueRef flags, int flag);
void sm90_arrive_group(struct sm90_emit *e, LLVMValueRef barrier); // one per warpgroup
void sm90_copy_box(struct sm90_emit *e, LLVMValueRef to, LLVMValueRef map, int column,
                   const LLVMValueRef *at, LLVMValueRef head, LLVMValueRef barrier);
// Whole 16-byte words of global memory.
void sm90_copy_bytes(struct sm90_emit *e, LLVMValueRef to, LLVMValueRef from, int bytes,
                     LLVMValueRef barrier);
void sm90_store_box(struct sm90_emit *e, LLVMValueRef from, LLVMValueRef map, int column,
                    const LLVMValueRef *at, LLVMValueRef head);
void sm90_await_stores(struct sm90_emit *e); // by the thread that issued them (others: no wait)
void sm90_fence_copies(struct sm90_emit *e); // by each thread that has written
void sm90_set_registers(struct sm90_emit *e, bool more, int count);

// ---- products (sm90_multiply.c) -----------------------------------------------------------------

LLVMValueRef sm90_query_descriptor(struct sm90_emit *e, LLVMValueRef address);
LLVMValueRef sm90_key_descriptor(struct sm90_emit *e, LLVMValueRef address);
LLVMValueRef sm90_value_descriptor(struct sm90_emit *e, LLVMValueRef address);
void sm90_fence(struct sm90_emit *e);
void sm90_commit(struct sm90_emit *e);
// S = Q K^T, asynchronous.
void sm90_issue_logits(struct sm90_emit *e, LLVMValueRef query, LLVMValueRef key,
                       LLVMValueRef *logits);
// O += P V, asynchronous; `output` is replaced.
void sm90_issue_output(struct sm90_emit *e, LLVMValueRef *output, const LLVMValueRef *weights,
                       LLVMValueRef value);
// Until at most `pending` groups are in flight; the registers may be read afterwards.
void sm90_wait_products(struct sm90_emit *e, int pending, LLVMValueRef *registers, int count);

// ---- softmax (sm90_softmax.c) -------------------------------------------------------------------

struct sm90_softmax {                                // base 2, by row of the thread
    LLVMValueRef maximum[SM90_ROWS], sum[SM90_ROWS]; // of raw or scaled logits; this thread's part
    LLVMValueRef rescale[SM90_ROWS];                 // what the last tile made of earlier output
};
void sm90_softmax_begin(struct sm90_emit *e, struct sm90_softmax *softmax);
// logits -> probabilities, in place. `bias` is added to all logits; NULL: none.
void sm90_softmax_tile(struct sm90_emit *e, struct sm90_softmax *softmax, LLVMValueRef *logits,
                       LLVMValueRef bias);
void sm90_pack(struct sm90_emit *e, const LLVMValueRef *probabilities, LLVMValueRef *weights);
// Two floats as a word of two elements, rounded to nearest even.
LLVMValueRef sm90_pack_pair(struct sm90_emit *e, LLVMValueRef low, LLVMValueRef high);
LLVMValueRef sm90_row_total(struct sm90_emit *e, LLVMValueRef sum); // of the threads of a row
void sm90_rescale(struct sm90_emit *e, const struct sm90_softmax *softmax, LLVMValueRef *output);

// ---- geometry (sm90_geometry.c) -----------------------------------------------------------------

// Where the thread's rows and keys are. Coordinates are i32, positions and tokens too.
struct sm90_rows {
    LLVMValueRef offset[SM90_ROWS][ABI_AXES];   // in the box
    LLVMValueRef position[SM90_ROWS][ABI_AXES]; // on the basis axes
};
struct sm90_tile_place { // as the producer left it in the stage's record
    LLVMValueRef origin[ABI_AXES], low[ABI_AXES], high[ABI_AXES];
};
struct sm90_item {       // what consumers know of their item
    LLVMValueRef record; // in shared memory
};
LLVMValueRef sm90_item_record(struct sm90_emit *e, LLVMValueRef items); // of item number `items`
// Fields of its sm90_head and sm90_box.
LLVMValueRef sm90_head_field(struct sm90_emit *e, const struct sm90_item *item, size_t offset);
LLVMValueRef sm90_box_field(struct sm90_emit *e, const struct sm90_item *item, size_t offset,
                            int axis);
// Offsets in a box of these extents, x fastest, of element `index`.
void sm90_unravel(struct sm90_emit *e, LLVMValueRef index, const int *extent, LLVMValueRef *out);
// Where the item's box begins, on the queries' map.
void sm90_query_origin(struct sm90_emit *e, const struct sm90_item *item, LLVMValueRef *out);
// Of row `row` of the query tile; offset may be NULL.
void sm90_row_position(struct sm90_emit *e, const struct sm90_item *item, LLVMValueRef row,
                       LLVMValueRef *out_offset, LLVMValueRef *out_position);
// The same in basis coordinates; rows past the box take its last place.
void sm90_row_place(struct sm90_emit *e, const struct sm90_item *item, LLVMValueRef row,
                    LLVMValueRef *out);
LLVMValueRef sm90_first_row(struct sm90_emit *e, LLVMValueRef thread); // in the tile, r = 0
struct sm90_rows sm90_rows_place(struct sm90_emit *e, const struct sm90_item *item,
                                 LLVMValueRef thread);
struct sm90_tile_place sm90_tile_read(struct sm90_emit *e, LLVMValueRef stage);
// Column offset of the tile's key in column pair j, element i, for a thread.
void sm90_key_offset(struct sm90_emit *e, LLVMValueRef thread, int j, int i, LLVMValueRef *out);
// residue + dilation * coordinate
LLVMValueRef sm90_position(struct sm90_emit *e, const struct sm90_item *item, int axis,
                           LLVMValueRef coordinate);
// Coordinate on pattern axis `axis`, and the token, of a position.
LLVMValueRef sm90_axis(struct sm90_emit *e, const LLVMValueRef *position, int axis);
LLVMValueRef sm90_token(struct sm90_emit *e, const LLVMValueRef *position);

// ---- masks and scores (sm90_mask.c, sm90_leaf.c) ------------------------------------------------

// What waits in shared memory for the pairs (sm90_slots.c). Planning takes what room is left and
// adds it to the shape.
void sm90_plan_slots(struct sm90_emit *e);
// Does computing it take more than adding and comparing? `cost` is by node id, zeroed before the
// first call; `spec` NULL: not decided yet (sm90_limits.c).
bool sm90_is_costly(const struct expr *node, uint8_t *cost, const struct sm90_spec *spec);
void sm90_fill_query_slots(struct sm90_emit *e, const struct sm90_item *item); // once per item
void sm90_fill_tile_intervals(struct sm90_emit *e, const struct sm90_item *item,
                              const struct sm90_tile_place *at); // once per partial tile
bool sm90_has_key_slots(const struct sm90_emit *e);              // of its own, not of its views
// The copy of the key slots that tile number `count` uses.
LLVMValueRef sm90_key_copy(struct sm90_emit *e, LLVMValueRef count);
// By all threads of a warpgroup.
void sm90_fill_key_slots(struct sm90_emit *e, const struct sm90_item *item,
                         const struct sm90_tile_place *at, LLVMValueRef copy);

struct sm90_mask_input {
    const struct sm90_item *item;
    const struct sm90_tile_place *at; // NULL: a full tile whose score reads no place
    LLVMValueRef flags, copy;
    // With sources: what the logits of the last group get besides (f32), and its column; else NULL.
    LLVMValueRef ragged, ragged_column;
};
// Applies the score, and on partial tiles the predicate and the tile's bounds.
void sm90_mask(struct sm90_emit *e, const struct sm90_mask_input *input, bool partial,
               LLVMValueRef *logits);

// ---- the sides (sm90_queue.c, sm90_producer.c, sm90_consumer.c, sm90_output.c, ...) -------------

void sm90_producer(struct sm90_emit *e);
void sm90_scout(struct sm90_emit *e);
void sm90_writer(struct sm90_emit *e);
typedef LLVMValueRef sm90_item_fn(void *context, LLVMValueRef items, LLVMValueRef carried);
void sm90_each_item(struct sm90_emit *e, enum sm90_barrier ready, sm90_item_fn *body,
                    void *context);
// Address of a tensor map: in the parameter, or in device memory when there are several sets.
enum sm90_map_number { SM90_MAP_Q, SM90_MAP_K, SM90_MAP_V, SM90_MAP_O };
LLVMValueRef sm90_map(struct sm90_emit *e, LLVMValueRef set, enum sm90_map_number number);
// Of all sources, by the producer thread before it copies.
void sm90_acquire_source_maps(struct sm90_emit *e);
// All columns of a tile, 64 at a time.
void sm90_copy_tile(struct sm90_emit *e, LLVMValueRef to, LLVMValueRef map, int rows,
                    const LLVMValueRef *at, LLVMValueRef head, LLVMValueRef barrier);
void sm90_consumer(struct sm90_emit *e, LLVMValueRef warpgroup);
// The end of item number `items`; NULL softmax and output: it has no keys.
void sm90_finish_item(struct sm90_emit *e, LLVMValueRef items, const struct sm90_softmax *softmax,
                      const LLVMValueRef *output);
// Results of the thread's rows, from registers: log-sum-exps, and output words as wgmma leaves
// them, which are overwritten.
void sm90_store_rows(struct sm90_emit *e, const struct sm90_item *item, LLVMValueRef *lse,
                     LLVMValueRef words[SM90_ROWS][SM90_MAX_OUTPUT / 4]);
// Where an item's rows and log-sum-exps are staged.
LLVMValueRef sm90_query_buffer(struct sm90_emit *e, LLVMValueRef buffer);
LLVMValueRef sm90_lse_buffer(struct sm90_emit *e, LLVMValueRef buffer);

// ---- results in device memory (sm90_results.c) --------------------------------------------------

struct sm90_results {
    struct sm90_item item;
    LLVMValueRef head, batch; // i64
};
struct sm90_results sm90_results_of(struct sm90_emit *e, const struct sm90_item *item);
// Is the row (its offset in the box) one of the box, and not past its clipped end?
LLVMValueRef sm90_row_exists(struct sm90_emit *e, const struct sm90_item *item,
                             const LLVMValueRef *offset);
LLVMValueRef sm90_row_query(struct sm90_emit *e, const LLVMValueRef *position); // number, i64
LLVMValueRef sm90_output_row(struct sm90_emit *e, const struct sm90_results *results,
                             LLVMValueRef query); // its address
LLVMValueRef sm90_wants_lse(struct sm90_emit *e); // i1
void sm90_store_lse(struct sm90_emit *e, const struct sm90_results *results, LLVMValueRef query,
                    LLVMValueRef value);
void sm90_store(struct sm90_emit *e, LLVMValueRef at, int64_t offset, LLVMValueRef value);

#endif
