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

_Static_assert((int)SM90_MOST_FACTORS >= (int)MAX_INTERVAL_PARTS, "every part may be a rest");

// The parts of an axis that a tile holds few values of.
static void sort_parts(const struct sm90_emit *e, struct conjunction *parts,
                       struct sm90_rest *rest) {
    bool grid = e->spec->axes > 1 && e->spec->key_tile[ABI_AXES - 1] % 8 == 0;
    for (int i = 0; i < e->mask->count; i++) {
        const struct expr *node = e->mask->parts[i].keep;
        int axis = grid && node->deps & DEP_KEY ? sm90_key_axis(e, node) : -2;
        if (sm90_is_interval(e, i) || sm90_is_words(e, i))
            continue;
        if (axis < 0)
            rest->parts[rest->count++] = node;
        else
            parts->of_axis[axis][parts->count[axis]++] = node;
    }
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
            out[p % 2] |= UINT32_C(1) << p / 2;
}

static void axis_bits(struct sm90_mask *m, struct sm90_program *keep,
                      const struct conjunction *parts, int axis,
                      LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS]) {
    struct sm90_emit *e = m->e;
    LLVMValueRef key[ABI_AXES], zero = sm90_i32(e, 0);
    uint32_t done[SM90_MASK_WORDS] = {0};
    for (int pair = 0; pair < e->logit_count / 2; pair++) {
        uint32_t columns[SM90_MASK_WORDS] = {0};
        if (done[pair % 2] >> pair / 2 & 1)
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

void sm90_factors(struct sm90_mask *m, struct sm90_program *keep,
                  LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS], struct sm90_rest *rest) {
    struct sm90_emit *e = m->e;
    struct conjunction parts = {0};
    sort_parts(e, &parts, rest);
    for (int axis = 0; axis < ABI_AXES; axis++) {
        LLVMValueRef here[SM90_ROWS][SM90_MASK_WORDS];
        if (!parts.count[axis])
            continue;
        for (int i = 0; i < SM90_ROWS * SM90_MASK_WORDS; i++)
            here[i / SM90_MASK_WORDS][i % SM90_MASK_WORDS] = sm90_i32(e, 0);
        axis_bits(m, keep, &parts, axis, here);
        for (int row = 0; row < SM90_ROWS; row++)
            sm90_and_bits(e, bits[row], here[row]);
    }
}
