// A level's equality with a constant, inverted. See pool_expr.h.
//
//   1 << min(3, bits(x)) == 4    min(3, bits(x)) == 2    bits(x) == 2    2 <= x and x <= 3
//
// `within` says lowest <= node <= highest; the ends of int64 stand for no bound.

#include "dsl/pool_expr.h"

static const struct expr *within(struct expr_graph *g, const struct expr *node, int64_t lowest,
                                 int64_t highest);

static const struct expr *whole_number(struct expr_graph *g, const struct expr *node,
                                       int64_t value) {
    return expr_int(g, node->span, value);
}

static const struct expr *plainly(struct expr_graph *g, const struct expr *node, int64_t lowest,
                                  int64_t highest) {
    if (lowest == highest)
        return expr_op2(g, OP_EQ, node, whole_number(g, node, lowest));
    const struct expr *yes = expr_bool(g, node->span, true);
    const struct expr *above =
        lowest == INT64_MIN ? yes : expr_op2(g, OP_LE, whole_number(g, node, lowest), node);
    const struct expr *below =
        highest == INT64_MAX ? yes : expr_op2(g, OP_LE, node, whole_number(g, node, highest));
    return expr_op2(g, OP_AND, above, below);
}

// bound + by, where a bound at the end of int64 stays there.
static int64_t moved(int64_t bound, int64_t by) {
    int64_t sum;
    if (bound == INT64_MIN || bound == INT64_MAX)
        return bound;
    return __builtin_add_overflow(bound, by, &sum) ? (by < 0 ? INT64_MIN : INT64_MAX) : sum;
}

// min and max: both parts are above the lowest (below the highest), or one of them is enough.
static const struct expr *extreme(struct expr_graph *g, const struct expr *node, int64_t lowest,
                                  int64_t highest) {
    const struct expr *const *a = node->args;
    enum op above = node->op == OP_MIN ? OP_AND : OP_OR,
            below = node->op == OP_MIN ? OP_OR : OP_AND;
    const struct expr *low =
        expr_op2(g, above, within(g, a[0], lowest, INT64_MAX), within(g, a[1], lowest, INT64_MAX));
    const struct expr *high = expr_op2(g, below, within(g, a[0], INT64_MIN, highest),
                                       within(g, a[1], INT64_MIN, highest));
    if (a[0]->op == OP_INT && low->op != OP_BOOL && high->op != OP_BOOL)
        return within(g, a[1], lowest, highest);
    if (a[1]->op == OP_INT && low->op != OP_BOOL && high->op != OP_BOOL)
        return within(g, a[0], lowest, highest);
    return expr_op2(g, OP_AND, low, high);
}

static const struct expr *magnitude(struct expr_graph *g, const struct expr *x, int64_t lowest,
                                    int64_t highest) {
    if (highest < 0)
        return expr_bool(g, x->span, false);
    const struct expr *small = within(g, x, highest == INT64_MAX ? INT64_MIN : -highest, highest);
    if (lowest <= 0)
        return small;
    if (highest == INT64_MAX)
        return expr_op2(g, OP_OR, within(g, x, lowest, INT64_MAX),
                        within(g, x, INT64_MIN, -lowest));
    return expr_op2(g, OP_OR, within(g, x, lowest, highest), within(g, x, -highest, -lowest));
}

// The bit length of x: n for 2^(n-1) <= x < 2^n, 0 below 1.
static const struct expr *bit_length(struct expr_graph *g, const struct expr *x, int64_t lowest,
                                     int64_t highest) {
    if (highest < 0 || (lowest > 63 && lowest != INT64_MIN))
        return expr_bool(g, x->span, false);
    int64_t least = lowest <= 0 ? INT64_MIN : INT64_C(1) << (lowest - 1);
    int64_t most = highest >= 63 ? INT64_MAX : (INT64_C(1) << highest) - 1;
    return within(g, x, least, most);
}

// factor << count, with a positive factor.
static const struct expr *shifted(struct expr_graph *g, int64_t factor, const struct expr *count,
                                  int64_t lowest, int64_t highest) {
    int64_t least = 0, most = 0;
    while (least < 62 && factor <= INT64_MAX >> (least + 1) && factor << least < lowest)
        least++;
    if (factor > highest || factor << least < lowest)
        return expr_bool(g, count->span, false);
    while (most < 62 && factor <= INT64_MAX >> (most + 1) && factor << (most + 1) <= highest)
        most++;
    return within(g, count, least, highest == INT64_MAX ? INT64_MAX : most);
}

static const struct expr *choice(struct expr_graph *g, const struct expr *node, int64_t lowest,
                                 int64_t highest) {
    return expr_op3(g, OP_SELECT_B, node->args[0], within(g, node->args[1], lowest, highest),
                    within(g, node->args[2], lowest, highest));
}

static bool is_small(const struct expr *node) {
    return node->op == OP_INT && node->payload.i > -(INT64_C(1) << 40) &&
           node->payload.i < INT64_C(1) << 40;
}

static const struct expr *within(struct expr_graph *g, const struct expr *node, int64_t lowest,
                                 int64_t highest) {
    const struct expr *const *a = node->args;
    if (lowest > highest)
        return expr_bool(g, node->span, false);
    if (lowest == INT64_MIN && highest == INT64_MAX)
        return expr_bool(g, node->span, true);
    switch (node->op) {
    case OP_MIN:
    case OP_MAX:
        return extreme(g, node, lowest, highest);
    case OP_ABS:
        return magnitude(g, a[0], lowest, highest);
    case OP_BITS:
        return bit_length(g, a[0], lowest, highest);
    case OP_LOG2:
        return bit_length(g, a[0], moved(lowest, 1), moved(highest, 1));
    case OP_SELECT_I:
        return choice(g, node, lowest, highest);
    case OP_SHL:
        if (a[0]->op == OP_INT && a[0]->payload.i > 0)
            return shifted(g, a[0]->payload.i, a[1], lowest, highest);
        break;
    case OP_ADD:
        if (is_small(a[1]))
            return within(g, a[0], moved(lowest, -a[1]->payload.i),
                          moved(highest, -a[1]->payload.i));
        if (is_small(a[0]))
            return within(g, a[1], moved(lowest, -a[0]->payload.i),
                          moved(highest, -a[0]->payload.i));
        break;
    case OP_SUB:
        if (is_small(a[1]))
            return within(g, a[0], moved(lowest, a[1]->payload.i), moved(highest, a[1]->payload.i));
        break;
    default:
        break;
    }
    return plainly(g, node, lowest, highest);
}

const struct expr *pool_level_is(struct expr_graph *graph, const struct expr *level,
                                 int64_t value) {
    return within(graph, level, value, value);
}
