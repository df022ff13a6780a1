// Conditions of one-axis bases that many pairs of a tile share, as bits of whole columns:
//
//   ROW        without the key: all columns of a row, or none
//   KEY        without the query: one value a column
//   DIAGONAL   of q - k alone: a tile of 64 rows and n columns holds 63 + n diagonals
//   BLOCK      of the key through k / B alone: a row has a value for each block of keys
//   EDGE       k against what the row decides: columns on one side of it
//   and, or, not, ?: of such
//
// A thread's columns are 8 j + 2 (lane % 4) + e, so the values of KEY and DIAGONAL conditions are
// kept as 8 words, one per remainder of 8: bit t of word r is the value at 8 t + r, counted from
// the tile's first column, or, for diagonals, from its first column against the warpgroup's last
// row. A thread then takes its columns of a row out of one word, by a shift. The words are made
// once per tile that needs them, 32 values of two words by each warp, and wait in shared memory as
// key slots do (sm90_slots.c). BLOCK and EDGE conditions are evaluated in place: a tile meets few
// blocks.
#include "compiler/sm90/sm90_words.h"

enum { WORD_BYTES = 4 * SM90_WORDS, LEAST_BLOCK = 16, SHARED_SPACE = 3 };
// Columns of a tile whose diagonals fit 32 bits a word: 8 t + r reaches 63 + columns.
enum { MOST_COLUMNS = 192 };

// ---- forms --------------------------------------------------------------------------------------

static bool is_place(const struct sm90_emit *e, const struct expr *node, enum side side) {
    bool only_axis = node->op == OP_COORD && e->pattern->axis_count == 1;
    return (node->op == OP_TOKEN || only_axis) && node->payload.ref.side == side;
}

// q - k: 1; k - q: -1; else 0.
static int difference_sign(const struct sm90_emit *e, const struct expr *node) {
    if (node->op != OP_SUB)
        return 0;
    if (is_place(e, node->args[0], SIDE_QUERY) && is_place(e, node->args[1], SIDE_KEY))
        return 1;
    return is_place(e, node->args[0], SIDE_KEY) && is_place(e, node->args[1], SIDE_QUERY) ? -1 : 0;
}

// Does `node` read positions through differences alone?
static bool by_difference(const struct sm90_emit *e, const struct expr *node) {
    if (!(node->deps & (DEP_QUERY | DEP_KEY)) || difference_sign(e, node))
        return true;
    for (int i = 0; i < node->arity; i++)
        if (!by_difference(e, node->args[i]))
            return false;
    return node->arity > 0;
}

static bool is_quotient(const struct sm90_emit *e, const struct expr *node) {
    return node->op == OP_DIV && is_place(e, node->args[0], SIDE_KEY) &&
           node->args[1]->op == OP_INT && node->args[1]->payload.i >= LEAST_BLOCK;
}

bool sm90_by_quotient(const struct sm90_emit *e, const struct expr *node, const struct expr **out) {
    if (!(node->deps & DEP_KEY))
        return true;
    if (is_quotient(e, node)) {
        bool same = !*out || *out == node;
        *out = node;
        return same;
    }
    for (int i = 0; i < node->arity; i++)
        if (!sm90_by_quotient(e, node->args[i], out))
            return false;
    return node->arity > 0;
}

static bool compares(enum op op) {
    return op == OP_LE || op == OP_LT || op == OP_EQ || op == OP_NE;
}

static bool is_edge(const struct sm90_emit *e, const struct expr *node) {
    if (!compares(node->op))
        return false;
    bool mirrored = node->args[0]->deps & DEP_KEY; // k on the left
    return is_place(e, node->args[!mirrored], SIDE_KEY) && !(node->args[mirrored]->deps & DEP_KEY);
}

static bool joins(enum op op) {
    return op == OP_AND || op == OP_OR || op == OP_NOT || op == OP_IFF || op == OP_XOR ||
           op == OP_SELECT_B;
}

enum sm90_form sm90_form_of(const struct sm90_emit *e, const struct expr *node) {
    const struct expr *quotient = NULL;
    if (!(node->deps & DEP_KEY))
        return SM90_ROW;
    if (!(node->deps & DEP_QUERY))
        return SM90_KEY;
    if (by_difference(e, node))
        return SM90_DIAGONAL;
    bool dilated = e->spec->dilated[ABI_AXES - 1]; // columns are not neighbours in the grid
    if (!dilated && is_edge(e, node))
        return SM90_EDGE;
    if (!dilated && sm90_by_quotient(e, node, &quotient))
        return SM90_BLOCK;
    for (int i = 0; i < node->arity && joins(node->op); i++)
        if (sm90_form_of(e, node->args[i]) == SM90_PAIR)
            return SM90_PAIR;
    return joins(node->op) ? SM90_JOINED : SM90_PAIR;
}

// ---- planning -----------------------------------------------------------------------------------

int sm90_words_number(const struct sm90_words *words, const struct expr *node) {
    int number = 0;
    while (number < words->count && words->nodes[number] != node)
        number++;
    return number;
}

// Finds the words of a part; false where there is no room for them.
static bool add_words(const struct sm90_emit *e, struct sm90_words *words, const struct expr *node,
                      int room_bytes) {
    enum sm90_form form = sm90_form_of(e, node);
    int number = sm90_words_number(words, node), bytes = WORD_BYTES * 2 * e->shape.consumers;
    for (int i = 0; i < node->arity && form == SM90_JOINED; i++)
        if (!add_words(e, words, node->args[i], room_bytes))
            return false;
    if ((form != SM90_KEY && form != SM90_DIAGONAL) || number < words->count)
        return true;
    if (number == SM90_MOST_WORDS || (number + 1) * bytes > room_bytes)
        return false;
    words->nodes[words->count++] = node;
    return true;
}

int sm90_plan_words(struct sm90_emit *e, int room_bytes) {
    struct sm90_words *words = ARENA_NEW(e->arena, struct sm90_words);
    bool fits = e->spec->axes == 1 && e->shape.key_rows <= MOST_COLUMNS;
    for (int i = 0; i < e->mask->count && fits; i++) {
        const struct expr *node = e->mask->parts[i].keep;
        int before = words->count;
        words->chosen[i] = !sm90_is_interval(e, i) && sm90_form_of(e, node) != SM90_PAIR &&
                           add_words(e, words, node, room_bytes);
        if (!words->chosen[i])
            words->count = before;
    }
    e->words = words;
    return words->count * WORD_BYTES * 2 * e->shape.consumers;
}

bool sm90_is_words(const struct sm90_emit *e, int part) {
    return e->words->chosen[part];
}

bool sm90_has_words(const struct sm90_emit *e) {
    return e->words->count > 0;
}

// ---- words, once per tile -----------------------------------------------------------------------

LLVMValueRef sm90_words_at(struct sm90_emit *e, int number, LLVMValueRef copy) {
    int at = e->words_at + number * WORD_BYTES * 2 * e->shape.consumers;
    return sm90_add(e, sm90_add_const(e, e->shared, at), sm90_mul_const(e, copy, WORD_BYTES));
}

LLVMValueRef sm90_words_pointer(struct sm90_emit *e, LLVMValueRef at) {
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->unit->context, SHARED_SPACE);
    return LLVMBuildIntToPtr(e->b, at, pointer, "");
}

static void preset_differences(struct sm90_walk *w, const struct expr *node, LLVMValueRef distance,
                               uint8_t *seen) {
    struct sm90_emit *e = w->e;
    int sign = difference_sign(e, node);
    if (seen[node->id])
        return;
    seen[node->id] = 1;
    if (sign) {
        LLVMValueRef value = sign > 0 ? distance : LLVMBuildNeg(e->b, distance, "");
        value = LLVMBuildIntCast2(e->b, value, w->alg.integer, true, "");
        expr_walk_preset(&w->walk, node, (aval){.v = value});
    }
    for (int i = 0; i < node->arity && !sign; i++)
        preset_differences(w, node->args[i], distance, seen);
}

// Of the warpgroup's last row, whether or not the grid reaches so far.
static LLVMValueRef last_row(struct sm90_emit *e, const struct sm90_item *item,
                             LLVMValueRef group) {
    int axis = ABI_AXES - 1;
    LLVMValueRef begin = sm90_box_field(e, item, offsetof(struct sm90_box, begin), axis);
    LLVMValueRef rows = sm90_mul_const(e, group, SM90_WARPGROUP_ROWS);
    LLVMValueRef last = sm90_add_const(e, sm90_add(e, begin, rows), SM90_WARPGROUP_ROWS - 1);
    return sm90_position(e, item, axis, last);
}

static LLVMValueRef value_at(struct sm90_walk *w, const struct expr *node, const LLVMValueRef *key,
                             LLVMValueRef last) {
    struct sm90_emit *e = w->e;
    expr_walk_reset(&w->walk);
    w->key = key;
    if (node->deps & DEP_QUERY)
        preset_differences(w, node, LLVMBuildSub(e->b, last, key[ABI_AXES - 1], ""),
                           ARENA_ARRAY(e->arena, uint8_t, (size_t)node->id + 1));
    return expr_walk_point(&w->walk, node).v;
}

void sm90_fill_words(struct sm90_emit *e, const struct sm90_item *item,
                     const struct sm90_tile_place *at, LLVMValueRef group, LLVMValueRef copy) {
    struct sm90_walk *w = sm90_new_walk(e, item, e->spec->narrow ? 32 : 64, 64);
    LLVMValueRef thread = sm90_thread(e), last = last_row(e, item, group);
    LLVMValueRef lane = LLVMBuildAnd(e->b, thread, sm90_i32(e, 31), "");
    LLVMValueRef warp = LLVMBuildLShr(e->b, thread, sm90_i32(e, 5), "");
    warp = LLVMBuildAnd(e->b, warp, sm90_i32(e, 3), "");
    for (int half = 0; half < SM90_WORDS / 4; half++) {
        LLVMValueRef key[ABI_AXES], word = sm90_add_const(e, sm90_mul_const(e, warp, 2), half);
        LLVMValueRef column = sm90_add(e, sm90_mul_const(e, lane, SM90_WORDS), word);
        for (int a = 0; a < ABI_AXES; a++) {
            LLVMValueRef offset = a == ABI_AXES - 1 ? column : sm90_i32(e, 0);
            key[a] = sm90_position(e, item, a, sm90_add(e, at->origin[a], offset));
        }
        for (int i = 0; i < e->words->count; i++) {
            LLVMValueRef holds = value_at(w, e->words->nodes[i], key, last);
            LLVMValueRef bits = sm90_ballot(e, holds);
            LLVMValueRef to = sm90_add(e, sm90_words_at(e, i, copy), sm90_mul_const(e, word, 4));
            LLVMBuildStore(e->b, bits, sm90_words_pointer(e, to)); // all lanes the same
        }
    }
}
