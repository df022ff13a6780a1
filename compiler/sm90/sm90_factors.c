// Predicates on grids are mostly conjunctions in which each part looks at one axis: a window in y,
// and a window in x. A tile of 8 x 16 keys has 8 values of y and a thread 4 of x, against 32
// columns: each part is decided once per value, and the columns it keeps are or-ed together as
// constants.
//
//   bits of a row = (or over y: part_y(y) ? columns of y : 0) and (or over x: ...)
#include "compiler/sm90/sm90_mask.h"

struct conjunction {
    const struct expr *of_axis[ABI_AXES][SM90_MOST_FACTORS];
    int count[ABI_AXES];
};

static bool add_rest(struct sm90_factors *out, const struct expr *node) {
    if (out->rest_count == SM90_MOST_FACTORS)
        return false;
    out->rest[out->rest_count++] = node;
    return true;
}

static bool split(const struct sm90_emit *e, const struct expr *node, struct conjunction *parts,
                  struct sm90_factors *out) {
    if (node->op == OP_AND)
        return split(e, node->args[0], parts, out) && split(e, node->args[1], parts, out);
    int axis = node->deps & DEP_KEY ? sm90_key_axis(e, node) : -2;
    if (axis < 0 || parts->count[axis] == SM90_MOST_FACTORS)
        return add_rest(out, node);
    parts->of_axis[axis][parts->count[axis]++] = node;
    return true;
}

// Which value of the axis column pair j, element i has, up to what depends on the lane.
static int value_number(const struct sm90_emit *e, int axis, int j, int i) {
    int at = 8 * j;
    for (int a = ABI_AXES - 1; a > axis; a--)
        at /= e->spec->key_tile[a];
    if (axis > ABI_AXES - e->spec->axes)
        at %= e->spec->key_tile[axis];
    return axis == ABI_AXES - 1 ? at / 8 * 2 + i : at;
}

static LLVMValueRef holds(struct sm90_mask *m, struct sm90_program *keep,
                          const struct conjunction *parts, int axis, const LLVMValueRef *key,
                          int row) {
    LLVMValueRef all = NULL;
    for (int i = 0; i < parts->count[axis]; i++) {
        LLVMValueRef one = sm90_pair_value(m, keep, parts->of_axis[axis][i], key, row);
        all = all ? LLVMBuildAnd(m->e->b, all, one, "") : one;
    }
    return all;
}

// Bits of the columns that share pair `pair`'s value on the axis.
static void columns_of(const struct sm90_emit *e, int axis, int pair, uint32_t *out) {
    int value = value_number(e, axis, pair / 2, pair % 2);
    for (int p = 0; p < e->logit_count / 2; p++)
        if (value_number(e, axis, p / 2, p % 2) == value)
            out[p / 32] |= UINT32_C(1) << p % 32;
}

static void axis_bits(struct sm90_mask *m, struct sm90_program *keep,
                      const struct conjunction *parts, int axis,
                      LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS]) {
    struct sm90_emit *e = m->e;
    LLVMValueRef key[ABI_AXES], zero = sm90_i32(e, 0);
    uint32_t done[SM90_MASK_WORDS] = {0};
    for (int pair = 0; pair < e->logit_count / 2; pair++) {
        uint32_t columns[SM90_MASK_WORDS] = {0};
        if (done[pair / 32] >> pair % 32 & 1)
            continue;
        columns_of(e, axis, pair, columns);
        sm90_key_positions(m, pair / 2, pair % 2, key);
        sm90_place_key(m, keep, pair / 2, pair % 2);
        for (int row = 0; row < SM90_ROWS; row++) {
            LLVMValueRef yes = holds(m, keep, parts, axis, key, row);
            for (int w = 0; w < SM90_MASK_WORDS; w++) {
                LLVMValueRef here =
                    LLVMBuildSelect(e->b, yes, sm90_i32(e, (int64_t)columns[w]), zero, "");
                bits[row][w] = LLVMBuildOr(e->b, bits[row][w], here, "");
            }
        }
        for (int w = 0; w < SM90_MASK_WORDS; w++)
            done[w] |= columns[w];
    }
}

void sm90_factors(struct sm90_mask *m, struct sm90_program *keep, struct sm90_factors *out) {
    struct sm90_emit *e = m->e;
    struct conjunction parts = {0};
    int first = ABI_AXES - e->spec->axes;
    bool grid = e->spec->axes > 1 && e->spec->key_tile[ABI_AXES - 1] % 8 == 0;
    *out = (struct sm90_factors){0};
    if (!grid || !split(e, keep->root, &parts, out)) {
        *out = (struct sm90_factors){.rest = {keep->root}, .rest_count = 1};
        return;
    }
    for (int axis = first; axis < ABI_AXES; axis++) {
        LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS];
        if (!parts.count[axis])
            continue;
        for (int i = 0; i < SM90_ROWS * SM90_MASK_WORDS; i++)
            bits[i / SM90_MASK_WORDS][i % SM90_MASK_WORDS] = sm90_i32(e, 0);
        axis_bits(m, keep, &parts, axis, bits);
        for (int i = 0; i < SM90_ROWS * SM90_MASK_WORDS; i++) {
            LLVMValueRef *to = &out->bits[i / SM90_MASK_WORDS][i % SM90_MASK_WORDS];
            LLVMValueRef from = bits[i / SM90_MASK_WORDS][i % SM90_MASK_WORDS];
            *to = *to ? LLVMBuildAnd(e->b, *to, from, "") : from;
        }
    }
}

LLVMValueRef sm90_factor_bit(struct sm90_emit *e, const struct sm90_factors *factors, int pair,
                             int row) {
    LLVMValueRef bits = factors->bits[row][pair / 32];
    if (!bits)
        return NULL;
    LLVMValueRef bit =
        LLVMBuildAnd(e->b, bits, sm90_i32(e, (int64_t)(UINT32_C(1) << pair % 32)), "");
    return LLVMBuildICmp(e->b, LLVMIntNE, bit, sm90_i32(e, 0), "");
}
