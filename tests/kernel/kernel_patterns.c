#include "tests/kernel/kernel_patterns.h"

#include <string.h>

struct maker {
    struct expr_graph *g;
    int axes;
};
typedef const struct expr *node;
static const struct span nowhere;

static node integer(struct maker *m, int64_t x) {
    return expr_int(m->g, nowhere, x);
}
static node real(struct maker *m, double x) {
    return expr_real(m->g, nowhere, x);
}
static node op1(struct maker *m, enum op op, node a) {
    return expr_op1(m->g, op, a);
}
static node op2(struct maker *m, enum op op, node a, node b) {
    return expr_op2(m->g, op, a, b);
}
static node op3(struct maker *m, enum op op, node a, node b, node c) {
    return expr_op3(m->g, op, a, b, c);
}
static node ref(struct maker *m, enum op op, enum type type, int index, int side) {
    return expr_ref(m->g, nowhere, op, type, (uint16_t)index, (uint16_t)side, NULL, 0);
}
static node read1(struct maker *m, enum op op, enum type type, int index, node a) {
    return expr_ref(m->g, nowhere, op, type, (uint16_t)index, 0, (node[]){a}, 1);
}
static node read2(struct maker *m, enum op op, enum type type, int index, node a, node b) {
    return expr_ref(m->g, nowhere, op, type, (uint16_t)index, 0, (node[]){a, b}, 2);
}
static node coord(struct maker *m, int side, int axis) {
    return ref(m, OP_COORD, TYPE_INT, axis, side);
}
static node last(struct maker *m, int side) {
    return coord(m, side, m->axes - 1);
}
static node token(struct maker *m, int side) {
    return ref(m, OP_TOKEN, TYPE_INT, 0, side);
}
static node head(struct maker *m) {
    return ref(m, OP_HEAD, TYPE_INT, 0, 0);
}
static node param(struct maker *m) {
    return ref(m, OP_PARAM, TYPE_INT, 0, 0);
}
static node real_param(struct maker *m) {
    return ref(m, OP_PARAM, TYPE_REAL, 1, 0);
}
static node table(struct maker *m) {
    return read1(m, OP_TABLE, TYPE_INT, 0, head(m));
}
static node slope(struct maker *m) {
    return read1(m, OP_TABLE, TYPE_REAL, 1, head(m));
}
static node difference(struct maker *m, int axis) {
    return op2(m, OP_SUB, coord(m, SIDE_QUERY, axis), coord(m, SIDE_KEY, axis));
}

// A token for indexing inputs: queries may have negative ones.
static node safe_token(struct maker *m, int side) {
    return op2(m, OP_MAX, token(m, side), integer(m, 0));
}

static node box_around(struct maker *m) {
    node keep = expr_bool(m->g, nowhere, true);
    for (int a = 0; a < m->axes; a++)
        keep = op2(m, OP_AND, keep, op2(m, OP_LE, op1(m, OP_ABS, difference(m, a)), param(m)));
    return keep;
}

static node any_power(struct maker *m) { // any e in 0 .. table[head]: q - k == (1 << e) + 1
    node e = expr_ref(m->g, nowhere, OP_VAR, TYPE_INT, 0, 0, NULL, 0);
    node power = op2(m, OP_ADD, op2(m, OP_SHL, integer(m, 1), e), integer(m, 1));
    node body = op2(m, OP_EQ, difference(m, m->axes - 1), power);
    node args[] = {integer(m, 0), table(m), integer(m, 1), body};
    return expr_ref(m->g, nowhere, OP_ANY, TYPE_BOOL, 0, 0, args, 4);
}

static node count_of(struct maker *m) { // count e in 0 .. 5 step 2: (k + e) % 3 == q % 2, below 2
    node e = expr_ref(m->g, nowhere, OP_VAR, TYPE_INT, 0, 0, NULL, 0);
    node body = op2(m, OP_EQ, op2(m, OP_MOD, op2(m, OP_ADD, last(m, SIDE_KEY), e), integer(m, 3)),
                    op2(m, OP_MOD, last(m, SIDE_QUERY), integer(m, 2)));
    node args[] = {integer(m, 0), integer(m, 5), integer(m, 2), body};
    node count = expr_ref(m->g, nowhere, OP_COUNT, TYPE_INT, 0, 0, args, 4);
    return op2(m, OP_LT, count, integer(m, 2));
}

static node real_rule(struct maker *m) { // 0.7 q > sqrt(k) * p and exp2(-k) < log(q + 3)...
    node q = op1(m, OP_TO_REAL, safe_token(m, SIDE_QUERY));
    node k = op1(m, OP_TO_REAL, token(m, SIDE_KEY));
    node first = op2(m, OP_RLT, op2(m, OP_RMUL, op1(m, OP_RSQRT, k), real_param(m)),
                     op2(m, OP_RMUL, q, real(m, 0.7)));
    node second =
        op2(m, OP_RLE, op1(m, OP_REXP2, op2(m, OP_RMUL, k, real(m, -0.3))),
            op1(m, OP_RLOG, op2(m, OP_RADD, op2(m, OP_RMUL, q, real(m, 0.01)), real(m, 1.1))));
    return op2(m, OP_OR, first, second);
}

static node hashed(struct maker *m) {
    node a =
        op2(m, OP_MUL, op2(m, OP_BITAND, token(m, SIDE_QUERY), integer(m, 1023)), integer(m, 7919));
    node b = op2(m, OP_MUL, token(m, SIDE_KEY), integer(m, 10007));
    node x = op2(m, OP_BITXOR, a, op2(m, OP_SHR, b, integer(m, 3)));
    return op2(m, OP_LT, op2(m, OP_MOD, x, integer(m, 11)), integer(m, 3));
}

static node divided(struct maker *m) { // a divisor that only the launch knows
    node q = op2(m, OP_DIV, token(m, SIDE_QUERY), param(m));
    node k = op2(m, OP_DIV, op2(m, OP_SUB, token(m, SIDE_KEY), integer(m, 5)), param(m));
    node steps = op2(m, OP_MOD, op2(m, OP_SUB, q, k), op2(m, OP_ADD, param(m), integer(m, 1)));
    return op2(m, OP_LE, steps, integer(m, 1));
}

static node mapped(struct maker *m) {
    node q = op2(m, OP_DIV, op2(m, OP_MAX, last(m, SIDE_QUERY), integer(m, 0)), integer(m, 4));
    node k = op2(m, OP_DIV, last(m, SIDE_KEY), integer(m, 4));
    return read2(m, OP_MAP, TYPE_BOOL, 0, q, k);
}

static node documents(struct maker *m) {
    return op2(m, OP_EQ, read1(m, OP_INPUT, TYPE_INT, 0, safe_token(m, SIDE_QUERY)),
               read1(m, OP_INPUT, TYPE_INT, 0, token(m, SIDE_KEY)));
}

static const char *const keep_names[TEST_KEEPS] = {
    "all", "causal", "window", "box",  "divided", "documents", "map",
    "any", "count",  "real",   "hash", "heads",   "key only",  "query only"};

const char *test_keep_name(int keep) {
    return keep_names[keep];
}

static node keep_of(struct maker *m, int number) {
    node q = token(m, SIDE_QUERY), k = token(m, SIDE_KEY), one = integer(m, 1);
    switch (number) {
    case 0:
        return expr_bool(m->g, nowhere, true);
    case 1:
        return op2(m, OP_LE, k, q);
    case 2:
        return op2(m, OP_AND, op2(m, OP_LE, k, q), op2(m, OP_LT, op2(m, OP_SUB, q, table(m)), k));
    case 3:
        return box_around(m);
    case 4:
        return divided(m);
    case 5:
        return documents(m);
    case 6:
        return mapped(m);
    case 7:
        return any_power(m);
    case 8:
        return count_of(m);
    case 9:
        return real_rule(m);
    case 10:
        return hashed(m);
    case 11: // heads 1, 3, ... keep nothing, the others every fifth key
        return op2(m, OP_AND, op2(m, OP_EQ, op2(m, OP_BITAND, head(m), one), integer(m, 0)),
                   op2(m, OP_EQ, op2(m, OP_MOD, k, integer(m, 5)), one));
    case 12:
        return op2(m, OP_EQ, op2(m, OP_MOD, k, param(m)), integer(m, 0));
    default:
        return op2(m, OP_EQ, op2(m, OP_MOD, q, integer(m, 2)), one);
    }
}

static node score_of(struct maker *m, int number) {
    node s = ref(m, OP_SCORE, TYPE_REAL, 0, 0);
    node distance = op2(m, OP_SUB, token(m, SIDE_KEY), token(m, SIDE_QUERY));
    switch (number) {
    case 1: // ALiBi
        return op2(m, OP_RADD, s, op2(m, OP_RMUL, slope(m), op1(m, OP_TO_REAL, distance)));
    case 2: // soft cap
        return op2(m, OP_RMUL, real(m, 3.0), op1(m, OP_RTANH, op2(m, OP_RDIV, s, real(m, 3.0))));
    case 3: { // a bias per key
        node kv = ref(m, OP_KV_HEAD, TYPE_INT, 0, 0);
        return op2(m, OP_RADD, s, read2(m, OP_INPUT, TYPE_REAL, 1, kv, token(m, SIDE_KEY)));
    }
    case 4: { // -|s| log2(|distance| + 2), which depends on the pair all over
        node size = op1(m, OP_TO_REAL, op2(m, OP_ADD, op1(m, OP_ABS, distance), integer(m, 2)));
        return op2(m, OP_RSUB, real(m, 0),
                   op2(m, OP_RMUL, op1(m, OP_RABS, s), op1(m, OP_RLOG2, size)));
    }
    default: // near keys are raised
        return op3(m, OP_SELECT_R, op2(m, OP_LT, op1(m, OP_ABS, distance), table(m)),
                   op2(m, OP_RADD, s, real_param(m)), op2(m, OP_RMIN, s, real(m, 0.5)));
    }
}

struct pattern *test_pattern(struct arena *arena, int axis_count, int keep, int score,
                             int64_t dilation) {
    struct pattern *pattern = ARENA_NEW(arena, struct pattern);
    struct maker m = {ARENA_NEW(arena, struct expr_graph), axis_count};
    expr_graph_init(m.g, arena);
    pattern->name = keep_names[keep];
    pattern->graph = m.g;
    pattern->axis_count = axis_count;
    pattern->input_count = 2;
    pattern->map_count = 1;
    pattern->scalar_count = 2;
    pattern->table_count = 2;
    pattern->keep = keep_of(&m, keep);
    if (dilation > 1) // keys of other residues are in no list of an item
        pattern->keep =
            op2(&m, OP_AND, pattern->keep,
                op2(&m, OP_EQ, op2(&m, OP_MOD, last(&m, SIDE_QUERY), integer(&m, dilation)),
                    op2(&m, OP_MOD, last(&m, SIDE_KEY), integer(&m, dilation))));
    pattern->score = score ? score_of(&m, score) : NULL;
    return pattern;
}

// ---- arguments ----------------------------------------------------------------------------------

static void *copy_guarded(const void *from, size_t bytes) {
    return memcpy(guarded_alloc(bytes), from, bytes);
}

void test_arguments(struct problem *p) {
    p->params = ARENA_ARRAY(p->arena, union value, 2);
    p->params[0].i = 1 + problem_random(p, 7);
    p->params[1].r = problem_uniform(p, 0.2, 2);
    p->tables = ARENA_ARRAY(p->arena, union value *, 2);
    for (int i = 0; i < 2; i++)
        p->tables[i] = ARENA_ARRAY(p->arena, union value, (size_t)p->heads);
    for (int64_t h = 0; h < p->heads; h++) {
        p->tables[0][h].i = 1 + problem_random(p, 9);
        p->tables[1][h].r = problem_uniform(p, 0, 0.2);
    }
    int64_t blocks = (p->size[p->pattern->axis_count - 1] + 3) / 4;
    size_t counts[] = {(size_t)p->keys, (size_t)(p->kv_heads * p->keys), (size_t)(blocks * blocks)};
    int32_t *ids = ARENA_ARRAY(p->arena, int32_t, counts[0]);
    float *bias = ARENA_ARRAY(p->arena, float, counts[1]);
    uint8_t *map = ARENA_ARRAY(p->arena, uint8_t, counts[2]);
    for (size_t i = 0; i < counts[0]; i++)
        ids[i] = (int32_t)problem_random(p, 3);
    for (size_t i = 0; i < counts[1]; i++)
        bias[i] = (float)problem_uniform(p, -2, 2);
    for (size_t i = 0; i < counts[2]; i++)
        map[i] = (uint8_t)(problem_random(p, 3) == 0);
    p->array_count = 3;
    p->arrays = ARENA_ARRAY(p->arena, struct eval_array, 3);
    p->arrays[0] = (struct eval_array){copy_guarded(ids, counts[0] * 4), TYPE_INT, 1, {p->keys}};
    p->arrays[1] = (struct eval_array){
        copy_guarded(bias, counts[1] * 4), TYPE_REAL, 2, {p->kv_heads, p->keys}};
    p->arrays[2] =
        (struct eval_array){copy_guarded(map, counts[2]), TYPE_BOOL, 2, {blocks, blocks}};
}

void test_arguments_release(struct problem *p) {
    for (int i = 0; i < p->array_count; i++) {
        const struct eval_array *array = &p->arrays[i];
        size_t count = array->type == TYPE_BOOL ? 1 : 4;
        for (int d = 0; d < array->index_count; d++)
            count *= (size_t)array->extent[d];
        guarded_free((void *)array->data, count);
    }
}
