// The reference against numbers worked out by hand, on a plan put together here: two axes,
// grouped heads, fewer queries than keys.
#include "runtime/pair_env.h"
#include "runtime/reference.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

enum { ROWS = 2, COLUMNS = 3, KEYS = ROWS * COLUMNS, QUERIES = COLUMNS, HEADS = 2, DIM = 2 };

static struct arena arena;
static struct expr_graph graph;
static struct pattern pattern;
static struct program program;
static struct plan plan;
static float q[HEADS * QUERIES * DIM], k[KEYS * DIM], v[KEYS * DIM], o[HEADS * QUERIES * DIM];
static float lse[HEADS * QUERIES];
static struct heddle_tensors tensors = {
    .q = {.data = q}, .k = {.data = k}, .v = {.data = v}, .o = {.data = o}, .lse = lse};

static const struct expr *coordinate(uint16_t axis, enum side side) {
    return expr_ref(&graph, (struct span){0}, OP_COORD, TYPE_INT, axis, (uint16_t)side, NULL, 0);
}

// keep q.x == k.x and head == 0 or k.token < 0: head 0 sees its column, head 1 nothing.
static const struct expr *column_of_head_0(void) {
    const struct expr *head = expr_ref(&graph, (struct span){0}, OP_HEAD, TYPE_INT, 0, 0, NULL, 0);
    const struct expr *zero = expr_int(&graph, (struct span){0}, 0);
    return expr_op2(&graph, OP_AND,
                    expr_op2(&graph, OP_EQ, coordinate(1, SIDE_QUERY), coordinate(1, SIDE_KEY)),
                    expr_op2(&graph, OP_EQ, head, zero));
}

static void setup(void) {
    arena_init(&arena, 0);
    expr_graph_init(&graph, &arena);
    pattern = (struct pattern){.path = "test", .axis_count = 2, .axes = {"y", "x"}};
    pattern.written = pattern.keep = column_of_head_0();
    program.pattern = &pattern;
    plan = (struct plan){.program = &program,
                         .size = {ROWS, COLUMNS},
                         .keys = KEYS,
                         .queries = QUERIES,
                         .query_offset = KEYS - QUERIES,
                         .batch = 1,
                         .heads = HEADS,
                         .kv_heads = 1,
                         .dim = DIM,
                         .scale = 1};
    plan.launch.env.size[0] = ROWS;
    plan.launch.env.size[1] = COLUMNS;
    plan.launch.env.heads = HEADS;
    plan.launch.env.kv_heads = 1;
    memset(q, 0, sizeof q);
    memset(k, 0, sizeof k);
    memset(v, 0, sizeof v);
    q[0] = 1;                 // query row 0 is token 3, at (1, 0)
    k[3 * DIM] = logf(3);     // its own key weighs 3, key 0 at (0, 0) weighs 1
    v[0] = 8, v[3 * DIM] = 4; // (8 + 3 * 4) / 4 = 5
    v[1] = -4, v[3 * DIM + 1] = 0;
    v[1 * DIM] = NAN; // in another column: must not be read into row 0
}

static void teardown(void) {
    arena_finish(&arena);
}

TestSuite(reference, .init = setup, .fini = teardown);

Test(reference, keeps_what_the_expression_says) {
    for (int64_t row = 0; row < QUERIES; row++)
        for (int64_t key = 0; key < KEYS; key++) {
            cr_expect(plan_keeps(&plan, 0, 0, row, key) == (key % COLUMNS == row));
            cr_expect(not(plan_keeps(&plan, 0, 1, row, key)));
        }
}

Test(reference, row_by_hand) {
    double out[DIM], row_lse;
    struct error error = {0};
    cr_assert(reference_row(&plan, &tensors, 0, 0, 0, out, &row_lse, &error) == HEDDLE_OK);
    cr_expect(ieee_ulp_eq(dbl, round(out[0] * 1e6) / 1e6, 5, 4));
    cr_expect(ieee_ulp_eq(dbl, round(out[1] * 1e6) / 1e6, -1, 4));
    cr_expect(fabs(row_lse - log(4)) < 1e-6);
}

Test(reference, empty_row_is_zero_and_minus_infinity) {
    double out[DIM] = {1, 1}, row_lse = 1;
    struct error error = {0};
    cr_assert(reference_row(&plan, &tensors, 0, 1, 0, out, &row_lse, &error) == HEDDLE_OK);
    cr_expect(out[0] == 0 && out[1] == 0 && row_lse == -INFINITY);
}

static struct verify_result verify_within(int64_t budget_products) {
    struct verify_result result = {0};
    struct error error = {0};
    cr_assert(verify_tensors(&plan, &tensors, budget_products, 1, &result, &error) == HEDDLE_OK);
    return result;
}

static struct verify_result verify(void) {
    return verify_within(1 << 20);
}

static void fill_right_answer(void) {
    struct error error = {0};
    for (int64_t head = 0; head < HEADS; head++)
        for (int64_t row = 0; row < QUERIES; row++) {
            double out[DIM], row_lse;
            int64_t at = head * QUERIES + row;
            reference_row(&plan, &tensors, 0, head, row, out, &row_lse, &error);
            o[at * DIM] = (float)out[0];
            o[at * DIM + 1] = (float)out[1];
            lse[at] = (float)row_lse;
        }
}

Test(reference, verify_sees_every_kind_of_mistake) {
    v[1 * DIM] = 2;
    fill_right_answer();
    struct verify_result result = verify();
    cr_expect(result.passed);
    cr_expect(result.rows == HEADS * QUERIES);
    cr_expect(result.error < 1e-6);

    o[DIM] += 0.01f; // a wrong value
    result = verify();
    cr_expect(not(result.passed));
    cr_expect(result.worst_row == 1);
    fill_right_answer();
    o[(HEADS * QUERIES - 1) * DIM] = 1e-9f; // an empty row that is not quite 0
    cr_expect(not(verify().passed));
    fill_right_answer();
    lse[HEADS * QUERIES - 1] = -1e30f; // or whose log-sum-exp is finite
    cr_expect(not(verify().passed));
    fill_right_answer();
    o[0] = NAN;
    cr_expect(not(verify().passed));
    fill_right_answer();
    lse[0] += 1e-3f;
    cr_expect(not(verify().passed));
    fill_right_answer();
    cr_expect(verify().passed);
}

Test(reference, strides_are_followed) {
    float spread[KEYS * 5 * DIM] = {0};
    for (int key = 0; key < KEYS; key++)
        for (int d = 0; d < DIM; d++)
            spread[key * 5 + d * 2] = v[key * DIM + d];
    struct heddle_tensors strided = tensors;
    strided.v = (struct heddle_tensor){.data = spread, .strides = {0, 0, 5, 2}};
    double out[DIM], row_lse;
    struct error error = {0};
    cr_assert(reference_row(&plan, &strided, 0, 0, 0, out, &row_lse, &error) == HEDDLE_OK);
    cr_expect(fabs(out[0] - 5) < 1e-6 && fabs(out[1] + 1) < 1e-6);
}

Test(reference, compares_the_rows_that_the_budget_allows) {
    enum { ROW_PRODUCTS = KEYS * DIM };
    fill_right_answer();
    cr_expect(verify_within(HEADS * QUERIES * ROW_PRODUCTS).rows == HEADS * QUERIES);
    cr_expect(verify_within(2 * ROW_PRODUCTS + 1).rows == 2);
    cr_expect(verify_within(ROW_PRODUCTS - 1).rows == 1);
    cr_expect(verify_within(1).rows_total == HEADS * QUERIES);
}

Test(dtype, every_16_bit_value_survives) {
    for (int dtype = HEDDLE_F16; dtype <= HEDDLE_BF16; dtype++)
        for (uint32_t bits = 0; bits < 1 << 16; bits++) {
            uint16_t in = (uint16_t)bits, back = 0;
            double value = dtype_load((enum heddle_dtype)dtype, &in, 0);
            dtype_store((enum heddle_dtype)dtype, &back, 0, value);
            cr_assert(back == in || isnan(value));
        }
}

Test(dtype, rounds_to_nearest_even_once) {
    static const struct {
        enum heddle_dtype dtype;
        double value;
        uint16_t bits;
    } cases[] = {
        {HEDDLE_F16, 1 + 0x1p-11, 0x3c00},           // a tie, down to even
        {HEDDLE_F16, 1 + 3 * 0x1p-11, 0x3c02},       // a tie, up to even
        {HEDDLE_F16, 1 + 0x1p-11 + 0x1p-40, 0x3c01}, // through float this would be the tie
        {HEDDLE_F16, 65519.99, 0x7bff},              // the largest finite
        {HEDDLE_F16, 65520, 0x7c00},                 // past it
        {HEDDLE_F16, 0x1p-25, 0x0000},               // half the least subnormal
        {HEDDLE_F16, -0x1.8p-25, 0x8001},
        {HEDDLE_F16, 0x1p-14 - 0x1p-26, 0x0400}, // up into the normals
        {HEDDLE_BF16, 1 + 0x1p-8, 0x3f80},
        {HEDDLE_BF16, 1 + 3 * 0x1p-8, 0x3f82},
        {HEDDLE_BF16, 1e39, 0x7f80},
        {HEDDLE_BF16, -INFINITY, 0xff80},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t bits = 0;
        dtype_store(cases[i].dtype, &bits, 0, cases[i].value);
        cr_expect(bits == cases[i].bits, "case %zu: %04x", i, bits);
    }
}
