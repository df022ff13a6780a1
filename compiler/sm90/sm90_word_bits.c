// Conditions as bits of columns, for one row: see sm90_words.c.
#include "compiler/sm90/sm90_words.h"

enum { FAR = 1 << 20 }; // past any column, and 32 bits are enough

static void key_bits(struct sm90_mask *m, int number, LLVMValueRef *out) {
    struct sm90_emit *e = m->e;
    LLVMValueRef at = sm90_words_at(e, number, m->copy);
    at = sm90_add(e, at, sm90_mul_const(e, m->lane_columns, 4));
    for (int i = 0; i < SM90_MASK_WORDS; i++)
        out[i] = LLVMBuildLoad2(e->b, e->unit->i32,
                                sm90_words_pointer(e, sm90_add_const(e, at, 4 * i)), "");
}

static void diagonal_bits(struct sm90_mask *m, int number, int row, LLVMValueRef *out) {
    struct sm90_emit *e = m->e;
    LLVMValueRef at = sm90_words_at(e, number, m->copy), mine = sm90_first_row(e, m->thread);
    mine = sm90_add_const(e, mine, 8 * row);
    mine = LLVMBuildAnd(e->b, mine, sm90_i32(e, SM90_WARPGROUP_ROWS - 1), "");
    LLVMValueRef above = LLVMBuildSub(e->b, sm90_i32(e, SM90_WARPGROUP_ROWS - 1), mine, "");
    for (int i = 0; i < SM90_MASK_WORDS; i++) {
        LLVMValueRef first = sm90_add_const(e, sm90_add(e, m->lane_columns, above), i);
        LLVMValueRef word = LLVMBuildAnd(e->b, first, sm90_i32(e, SM90_WORDS - 1), "");
        LLVMValueRef from = sm90_words_pointer(e, sm90_add(e, at, sm90_mul_const(e, word, 4)));
        LLVMValueRef bits = LLVMBuildLoad2(e->b, e->unit->i32, from, "");
        out[i] = LLVMBuildLShr(e->b, bits, LLVMBuildLShr(e->b, first, sm90_i32(e, 3), ""), "");
    }
}

// The block of the tile's first column, rounded down wherever that is.
static LLVMValueRef first_block(struct sm90_mask *m, struct sm90_walk *w, const struct expr *by) {
    struct sm90_emit *e = m->e;
    int axis = ABI_AXES - 1;
    LLVMValueRef at = sm90_position(e, m->item, axis, m->at->origin[axis]);
    at = LLVMBuildIntCast2(e->b, at, w->alg.integer, true, "");
    aval args[] = {{.v = at}, a_int(&w->alg.alg, by->payload.i)};
    LLVMValueRef block = op_table[OP_DIV].point(&w->alg.alg, args).v;
    return LLVMBuildIntCast2(e->b, block, e->unit->i32, true, "");
}

// The columns of each block that the tile may meet, where the condition holds of it.
static void block_bits(struct sm90_mask *m, struct sm90_program *keep, const struct expr *node,
                       int row, LLVMValueRef *out) {
    struct sm90_emit *e = m->e;
    struct sm90_walk *w = keep->walk;
    const struct expr *quotient = NULL;
    sm90_by_quotient(e, node, &quotient);
    int64_t size = quotient->args[1]->payload.i;
    int blocks = (int)((e->shape.key_rows + size - 2) / size) + 1;
    LLVMValueRef first = first_block(m, w, quotient->args[1]), zero = sm90_i32(e, 0);
    for (int i = 0; i < SM90_MASK_WORDS; i++)
        out[i] = zero;
    for (int n = 0; n < blocks; n++) {
        LLVMValueRef columns[SM90_MASK_WORDS], block = sm90_add_const(e, first, n);
        LLVMValueRef value = LLVMBuildIntCast2(e->b, block, w->alg.integer, true, "");
        LLVMValueRef holds = sm90_row_value(m, keep, node, row, quotient, value);
        LLVMValueRef begin =
            LLVMBuildSub(e->b, sm90_mul_const(e, block, size), m->at->origin[ABI_AXES - 1], "");
        sm90_axis_bits(e, ABI_AXES - 1, m->lane_columns, begin, sm90_add_const(e, begin, size),
                       columns);
        for (int i = 0; i < SM90_MASK_WORDS; i++)
            out[i] =
                LLVMBuildOr(e->b, out[i], LLVMBuildSelect(e->b, holds, columns[i], zero, ""), "");
    }
}

// x - 1, x or x + 1 columns from the tile's first, held where 32 bits are enough.
static LLVMValueRef column_of(struct sm90_mask *m, LLVMValueRef x, int more) {
    struct sm90_emit *e = m->e;
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef origin = LLVMBuildSExt(e->b, m->at->origin[ABI_AXES - 1], i64, "");
    x = LLVMBuildIntCast2(e->b, x, i64, true, "");
    x = llvm_intrinsic2(e->unit, "llvm.smin", x, llvm_int(i64, INT32_MAX));
    x = llvm_intrinsic2(e->unit, "llvm.smax", x, llvm_int(i64, INT32_MIN));
    x = LLVMBuildSub(e->b, sm90_add_const(e, x, more), origin, "");
    x = llvm_intrinsic2(e->unit, "llvm.smin", x, llvm_int(i64, FAR));
    x = llvm_intrinsic2(e->unit, "llvm.smax", x, llvm_int(i64, -FAR));
    return LLVMBuildTrunc(e->b, x, e->unit->i32, "");
}

// x <= k, x < k, k <= x, k < x, x == k, x != k.
static void edge_bits(struct sm90_mask *m, struct sm90_program *keep, const struct expr *node,
                      int row, LLVMValueRef *out) {
    struct sm90_emit *e = m->e;
    bool mirrored = node->args[0]->deps & DEP_KEY;
    bool strict = node->op == OP_LT, equal = node->op == OP_EQ || node->op == OP_NE;
    LLVMValueRef x = sm90_row_value(m, keep, node->args[mirrored], row, NULL, NULL);
    LLVMValueRef begin = sm90_i32(e, -FAR), end = sm90_i32(e, FAR);
    if (equal || !mirrored)
        begin = column_of(m, x, strict);
    if (equal || mirrored)
        end = column_of(m, x, !strict);
    sm90_axis_bits(e, ABI_AXES - 1, m->lane_columns, begin, end, out);
    for (int i = 0; i < SM90_MASK_WORDS && node->op == OP_NE; i++)
        out[i] = LLVMBuildNot(e->b, out[i], "");
}

static LLVMValueRef join(struct sm90_emit *e, enum op op, LLVMValueRef x, LLVMValueRef y) {
    switch (op) {
    case OP_AND:
        return LLVMBuildAnd(e->b, x, y, "");
    case OP_OR:
        return LLVMBuildOr(e->b, x, y, "");
    case OP_XOR:
        return LLVMBuildXor(e->b, x, y, "");
    case OP_IFF:
        return LLVMBuildNot(e->b, LLVMBuildXor(e->b, x, y, ""), "");
    default: // OP_NOT
        return LLVMBuildNot(e->b, x, "");
    }
}

static void row_bits(struct sm90_mask *m, struct sm90_program *keep, const struct expr *node,
                     int row, LLVMValueRef *out);

static void joined_bits(struct sm90_mask *m, struct sm90_program *keep, const struct expr *node,
                        int row, LLVMValueRef *out) {
    struct sm90_emit *e = m->e;
    LLVMValueRef of[3][SM90_MASK_WORDS];
    for (int i = 0; i < node->arity; i++)
        row_bits(m, keep, node->args[i], row, of[i]);
    for (int i = 0; i < SM90_MASK_WORDS; i++) {
        if (node->op != OP_SELECT_B) {
            out[i] = join(e, node->op, of[0][i], node->arity > 1 ? of[1][i] : NULL);
            continue;
        }
        LLVMValueRef yes = LLVMBuildAnd(e->b, of[0][i], of[1][i], "");
        LLVMValueRef no = LLVMBuildAnd(e->b, LLVMBuildNot(e->b, of[0][i], ""), of[2][i], "");
        out[i] = LLVMBuildOr(e->b, yes, no, "");
    }
}

static void row_bits(struct sm90_mask *m, struct sm90_program *keep, const struct expr *node,
                     int row, LLVMValueRef *out) {
    struct sm90_emit *e = m->e;
    int number = sm90_words_number(e->words, node);
    switch (sm90_form_of(e, node)) {
    case SM90_KEY:
        key_bits(m, number, out);
        return;
    case SM90_DIAGONAL:
        diagonal_bits(m, number, row, out);
        return;
    case SM90_BLOCK:
        block_bits(m, keep, node, row, out);
        return;
    case SM90_EDGE:
        edge_bits(m, keep, node, row, out);
        return;
    case SM90_JOINED:
        joined_bits(m, keep, node, row, out);
        return;
    default: { // ROW
        LLVMValueRef holds = sm90_row_value(m, keep, node, row, NULL, NULL);
        for (int i = 0; i < SM90_MASK_WORDS; i++)
            out[i] = LLVMBuildSelect(e->b, holds, sm90_i32(e, -1), sm90_i32(e, 0), "");
    }
    }
}

void sm90_word_bits(struct sm90_mask *m, struct sm90_program *keep,
                    LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS]) {
    for (int p = 0; p < m->e->mask->count; p++)
        for (int row = 0; row < SM90_ROWS && m->e->words->chosen[p]; row++) {
            LLVMValueRef here[SM90_MASK_WORDS];
            row_bits(m, keep, m->e->mask->parts[p].keep, row, here);
            sm90_and_bits(m->e, bits[row], here);
        }
}
