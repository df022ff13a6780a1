// Between sm90_mask.c (which pairs) and sm90_leaf.c (what expressions read).
#ifndef HEDDLE_COMPILER_SM90_MASK_H
#define HEDDLE_COMPILER_SM90_MASK_H

#include "compiler/llvm/llvm_alg.h"
#include "compiler/sm90/sm90_emit.h"
#include "dsl/expr_walk.h"

// `keep` or `score` being emitted for one pair after another.
struct sm90_walk {
    struct expr_walk walk; // first: its point_leaf finds this struct
    struct llvm_alg alg;
    struct sm90_emit *e;
    const struct sm90_item *item;
    const LLVMValueRef *query, *key; // positions on the basis axes of the pair at hand
    const LLVMValueRef *place;       // OP_PLACE: the row's basis coordinates
    const LLVMValueRef *tile;        // and the tile's, on axes where it has one
    LLVMValueRef score;              // OP_SCORE
};

struct sm90_walk *sm90_new_walk(struct sm90_emit *e, const struct sm90_item *item, int index_bits,
                                int real_bits);
aval sm90_leaf(struct expr_walk *walk, const struct expr *node, const aval *args);

// ---- slots (sm90_slots.c) -----------------------------------------------------------------------

struct sm90_slot {
    const struct expr *node;
    int real_bits; // 64: of the predicate, 32: of the score
    bool of_key;
    int axis;   // of key slots: the basis axis whose offset indexes it, or -1: the key
    int extent; // entries
    int bytes, at;
};
int sm90_slot_count(const struct sm90_emit *e);
const struct sm90_slot *sm90_slot(const struct sm90_emit *e, int number);
LLVMValueRef sm90_slot_load(struct sm90_emit *e, const struct sm90_slot *slot, LLVMValueRef copy,
                            LLVMValueRef index);

// ---- one tile (sm90_mask.c) ---------------------------------------------------------------------

// Columns of a row as bits: word e has bit j for column 8 j + 2 (lane % 4) + e.
enum { SM90_MOST_SLOTS = 48, SM90_MOST_FACTORS = 16, SM90_MASK_WORDS = 2 };

struct sm90_mask {
    struct sm90_emit *e;
    const struct sm90_item *item;
    const struct sm90_tile_place *at;
    LLVMValueRef thread, lane_columns; // 2 (lane % 4)
    LLVMValueRef copy;                 // of the key slots
    struct sm90_rows rows;
};

struct sm90_program { // values of the predicate's parts, or of the score
    struct sm90_walk *walk;
    int real_bits;
    LLVMValueRef query[SM90_ROWS][SM90_MOST_SLOTS], key[SM90_MOST_SLOTS]; // by slot
};

void sm90_key_positions(struct sm90_mask *m, int j, int i, LLVMValueRef *out);
void sm90_place_key(struct sm90_mask *m, struct sm90_program *program, int j, int i);
LLVMValueRef sm90_pair_value(struct sm90_mask *m, struct sm90_program *program,
                             const struct expr *root, const LLVMValueRef *key, int row);
// The same of what reads the key through node `preset` alone, which is `value`; or not (NULL).
LLVMValueRef sm90_row_value(struct sm90_mask *m, struct sm90_program *program,
                            const struct expr *root, int row, const struct expr *preset,
                            LLVMValueRef value);

// ---- intervals (sm90_intervals.c) ---------------------------------------------------------------

// Chooses the conjuncts that become intervals, within the room; returns the bytes they take.
int sm90_plan_intervals(struct sm90_emit *e, int room_bytes);
bool sm90_has_intervals(const struct sm90_emit *e);
bool sm90_is_interval(const struct sm90_emit *e, int part); // of e->mask
bool sm90_has_tile_intervals(const struct sm90_emit *e);    // some ends change from tile to tile
// The ends of row `row` of the query tile, by the warp that owns it: those that change from tile to
// tile (w->tile), or the others.
void sm90_fill_intervals(struct sm90_emit *e, struct sm90_walk *w, LLVMValueRef row, bool of_tile);
// Columns inside [begin, end) of an axis, from the tile's origin: SM90_MASK_WORDS words.
void sm90_axis_bits(struct sm90_emit *e, int axis, LLVMValueRef lane_columns, LLVMValueRef begin,
                    LLVMValueRef end, LLVMValueRef *out);
void sm90_and_bits(struct sm90_emit *e, LLVMValueRef *into, const LLVMValueRef *bits);
// Ands what the intervals keep into the bits of the thread's rows.
void sm90_interval_bits(struct sm90_mask *m, LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS]);

// ---- words (sm90_words.c) -----------------------------------------------------------------------

// Chooses the conjuncts that become words, after the intervals; returns the bytes they take.
int sm90_plan_words(struct sm90_emit *e, int room_bytes);
bool sm90_is_words(const struct sm90_emit *e, int part); // of e->mask
bool sm90_has_words(const struct sm90_emit *e);          // some wait in shared memory
// By all threads of consumer warpgroup `group`, once per tile that needs them.
void sm90_fill_words(struct sm90_emit *e, const struct sm90_item *item,
                     const struct sm90_tile_place *at, LLVMValueRef group, LLVMValueRef copy);
// Ands what they keep into the bits of the thread's rows.
void sm90_word_bits(struct sm90_mask *m, struct sm90_program *keep,
                    LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS]);

// ---- factors (sm90_factors.c) -------------------------------------------------------------------

struct sm90_rest { // what is to be tested pair by pair
    const struct expr *parts[SM90_MOST_FACTORS];
    int count;
};
// The predicate's parts that are no intervals: those of one axis go into the bits, others to rest.
void sm90_factors(struct sm90_mask *m, struct sm90_program *keep,
                  LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS], struct sm90_rest *rest);
// The one basis axis that the key side of `node` reads; -1: several, -2: none.
int sm90_key_axis(const struct sm90_emit *e, const struct expr *node);

#endif
