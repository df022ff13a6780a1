// Meanings of the integer operations.
//
// Division and remainder floor. Boxes are in ops_int_box.c.

#include "dsl/ops.h"

#define UNUSED(x) ((void)(x))

static union value as_int(int64_t i) {
    return (union value){.i = i};
}
static union value as_bool(bool b) {
    return (union value){.b = b};
}
static union value fail(enum eval_fault *fault, enum eval_fault what) {
    if (*fault == EVAL_OK)
        *fault = what;
    return as_int(0);
}

// ---- eval: the plain meaning ------------------------------------------------------------------

union value eval_neg(const union value *args, enum eval_fault *fault) {
    return args[0].i == INT64_MIN ? fail(fault, EVAL_OVERFLOW) : as_int(-args[0].i);
}
union value eval_add(const union value *args, enum eval_fault *fault) {
    int64_t sum;
    bool over = __builtin_add_overflow(args[0].i, args[1].i, &sum);
    return over ? fail(fault, EVAL_OVERFLOW) : as_int(sum);
}
union value eval_sub(const union value *args, enum eval_fault *fault) {
    int64_t difference;
    bool over = __builtin_sub_overflow(args[0].i, args[1].i, &difference);
    return over ? fail(fault, EVAL_OVERFLOW) : as_int(difference);
}
union value eval_mul(const union value *args, enum eval_fault *fault) {
    int64_t product;
    bool over = __builtin_mul_overflow(args[0].i, args[1].i, &product);
    return over ? fail(fault, EVAL_OVERFLOW) : as_int(product);
}
union value eval_div(const union value *args, enum eval_fault *fault) {
    int64_t a = args[0].i, b = args[1].i;
    if (b == 0)
        return fail(fault, EVAL_ZERO_DIVISOR);
    if (a == INT64_MIN && b == -1)
        return fail(fault, EVAL_OVERFLOW);
    return as_int(a / b - (a % b != 0 && (a % b < 0) != (b < 0)));
}
union value eval_mod(const union value *args, enum eval_fault *fault) {
    int64_t a = args[0].i, b = args[1].i;
    if (b == 0)
        return fail(fault, EVAL_ZERO_DIVISOR);
    if (b == -1)
        return as_int(0);
    int64_t rest = a % b;
    return as_int(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}
union value eval_ceildiv(const union value *args, enum eval_fault *fault) {
    int64_t a = args[0].i, b = args[1].i;
    if (b == 0)
        return fail(fault, EVAL_ZERO_DIVISOR);
    if (a == INT64_MIN && b == -1)
        return fail(fault, EVAL_OVERFLOW);
    return as_int(a / b + (a % b != 0 && (a % b < 0) == (b < 0)));
}
union value eval_min(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_int(args[0].i < args[1].i ? args[0].i : args[1].i);
}
union value eval_max(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_int(args[0].i > args[1].i ? args[0].i : args[1].i);
}
union value eval_abs(const union value *args, enum eval_fault *fault) {
    return args[0].i < 0 ? eval_neg(args, fault) : args[0];
}
union value eval_bits(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    int64_t bits = 0;
    for (int64_t x = args[0].i; x > 0; x >>= 1)
        bits++;
    return as_int(bits);
}
union value eval_log2(const union value *args, enum eval_fault *fault) {
    return as_int(eval_bits(args, fault).i - 1);
}
union value eval_bitand(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_int(args[0].i & args[1].i);
}
union value eval_bitxor(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_int(args[0].i ^ args[1].i);
}
union value eval_bitor(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_int(args[0].i | args[1].i);
}
union value eval_shl(const union value *args, enum eval_fault *fault) {
    int64_t x = args[0].i, count = args[1].i;
    if (count < 0 || count > 63)
        return fail(fault, EVAL_SHIFT);
    for (; count > 0; count--) {
        if (x > INT64_MAX / 2 || x < INT64_MIN / 2)
            return fail(fault, EVAL_OVERFLOW);
        x *= 2;
    }
    return as_int(x);
}
union value eval_shr(const union value *args, enum eval_fault *fault) {
    int64_t x = args[0].i, count = args[1].i;
    if (count < 0 || count > 63)
        return fail(fault, EVAL_SHIFT);
    for (; count > 0; count--)
        x = x / 2 - (x % 2 < 0);
    return as_int(x);
}
union value eval_lt(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_bool(args[0].i < args[1].i);
}
union value eval_le(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_bool(args[0].i <= args[1].i);
}
union value eval_eq(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_bool(args[0].i == args[1].i);
}
union value eval_ne(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    return as_bool(args[0].i != args[1].i);
}
union value eval_in_pow2(const union value *args, enum eval_fault *fault) {
    UNUSED(fault);
    for (int64_t e = args[1].i > 0 ? args[1].i : 0; e < args[2].i && e < 63; e++)
        if (args[0].i == (int64_t)1 << e)
            return as_bool(true);
    return as_bool(false);
}

// ---- point: one pair, over an algebra ---------------------------------------------------------

aval point_neg(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_SUB, a_int(alg, 0), args[0]);
}
aval point_add(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_ADD, args[0], args[1]);
}
aval point_sub(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_SUB, args[0], args[1]);
}
aval point_mul(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_MUL, args[0], args[1]);
}

// The base-2 logarithm of a constant power of two, or -1.
static int power_of_two(struct alg *alg, aval x) {
    int64_t value;
    if (!alg->known(alg, x, &value) || value < 1 || (value & (value - 1)) != 0)
        return -1;
    return __builtin_ctzll((uint64_t)value);
}

// 1 where rest is non-zero and its sign differs from the divisor's: the quotient towards zero is
// then one above the floor.
static aval rounds_down(struct alg *alg, aval rest, aval divisor) {
    aval zero = a_int(alg, 0);
    aval inexact = a1(alg, ALG_B_NOT, a2(alg, ALG_I_EQ, rest, zero));
    aval signs = a2(alg, ALG_I_LT, a2(alg, ALG_I_XOR, rest, divisor), zero);
    return a2(alg, ALG_B_AND, inexact, signs);
}
aval point_div(struct alg *alg, const aval *args) {
    int shift = power_of_two(alg, args[1]);
    if (shift >= 0)
        return a2(alg, ALG_I_SHR, args[0], a_int(alg, shift));
    aval quotient = a2(alg, ALG_I_QUOT, args[0], args[1]);
    aval rest = a2(alg, ALG_I_SUB, args[0], a2(alg, ALG_I_MUL, quotient, args[1]));
    aval down = rounds_down(alg, rest, args[1]);
    return a_select(alg, down, a2(alg, ALG_I_SUB, quotient, a_int(alg, 1)), quotient);
}
aval point_mod(struct alg *alg, const aval *args) {
    int shift = power_of_two(alg, args[1]);
    if (shift >= 0)
        return a2(alg, ALG_I_AND, args[0], a_int(alg, ((int64_t)1 << shift) - 1));
    aval rest = a2(alg, ALG_I_REM, args[0], args[1]);
    aval down = rounds_down(alg, rest, args[1]);
    return a_select(alg, down, a2(alg, ALG_I_ADD, rest, args[1]), rest);
}
aval point_ceildiv(struct alg *alg, const aval *args) {
    aval floor = point_div(alg, args);
    aval exact = a2(alg, ALG_I_EQ, a2(alg, ALG_I_MUL, floor, args[1]), args[0]);
    return a_select(alg, exact, floor, a2(alg, ALG_I_ADD, floor, a_int(alg, 1)));
}
aval point_min(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_MIN, args[0], args[1]);
}
aval point_max(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_MAX, args[0], args[1]);
}
aval point_abs(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_MAX, args[0], point_neg(alg, args));
}
aval point_bits(struct alg *alg, const aval *args) {
    aval clipped = a2(alg, ALG_I_MAX, args[0], a_int(alg, 0));
    return a2(alg, ALG_I_SUB, a_int(alg, alg->index_bits), a1(alg, ALG_I_CLZ, clipped));
}
aval point_log2(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_SUB, point_bits(alg, args), a_int(alg, 1));
}
aval point_bitand(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_AND, args[0], args[1]);
}
aval point_bitxor(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_XOR, args[0], args[1]);
}
aval point_bitor(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_OR, args[0], args[1]);
}
aval point_shl(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_SHL, args[0], args[1]);
}
aval point_shr(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_SHR, args[0], args[1]);
}
aval point_lt(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_LT, args[0], args[1]);
}
aval point_le(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_LE, args[0], args[1]);
}
aval point_eq(struct alg *alg, const aval *args) {
    return a2(alg, ALG_I_EQ, args[0], args[1]);
}
aval point_ne(struct alg *alg, const aval *args) {
    return a1(alg, ALG_B_NOT, point_eq(alg, args));
}
aval point_in_pow2(struct alg *alg, const aval *args) {
    aval one = a_int(alg, 1), zero = a_int(alg, 0);
    aval single =
        a2(alg, ALG_I_EQ, a2(alg, ALG_I_AND, args[0], a2(alg, ALG_I_SUB, args[0], one)), zero);
    aval positive = a2(alg, ALG_I_LT, zero, args[0]);
    aval exponent = point_log2(alg, args);
    aval inside = a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, args[1], exponent),
                     a2(alg, ALG_I_LT, exponent, args[2]));
    return a2(alg, ALG_B_AND, a2(alg, ALG_B_AND, positive, single), inside);
}

// ---- fold: rules without numbers --------------------------------------------------------------

const struct expr *fold_neg(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    UNUSED(graph), UNUSED(span);
    return args[0]->op == OP_NEG ? args[0]->args[0] : NULL;
}

// x / b * b + x % b = x
static const struct expr *rejoined(const struct expr *product, const struct expr *rest) {
    if (product->op != OP_MUL || rest->op != OP_MOD)
        return NULL;
    for (int i = 0; i < 2; i++) {
        const struct expr *quotient = product->args[i], *by = product->args[1 - i];
        if (quotient->op == OP_DIV && by == rest->args[1] && quotient->args[1] == by &&
            quotient->args[0] == rest->args[0])
            return rest->args[0];
    }
    return NULL;
}
const struct expr *fold_add(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    UNUSED(graph), UNUSED(span);
    if (expr_is_int(args[0], 0))
        return args[1];
    if (expr_is_int(args[1], 0))
        return args[0];
    const struct expr *whole = rejoined(args[0], args[1]);
    return whole ? whole : rejoined(args[1], args[0]);
}
const struct expr *fold_sub(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    if (args[0] == args[1])
        return expr_int(graph, span, 0);
    return expr_is_int(args[1], 0) ? args[0] : NULL;
}
const struct expr *fold_mul(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    if (expr_is_int(args[0], 0) || expr_is_int(args[1], 0))
        return expr_int(graph, span, 0);
    if (expr_is_int(args[0], 1))
        return args[1];
    return expr_is_int(args[1], 1) ? args[0] : NULL;
}
const struct expr *fold_div(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    UNUSED(graph), UNUSED(span);
    return expr_is_int(args[1], 1) ? args[0] : NULL;
}
const struct expr *fold_mod(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    return expr_is_int(args[1], 1) ? expr_int(graph, span, 0) : NULL;
}
const struct expr *fold_min(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    UNUSED(graph), UNUSED(span);
    return args[0] == args[1] ? args[0] : NULL;
}
const struct expr *fold_max(struct expr_graph *graph, struct span span,
                            const struct expr *const *args) {
    return fold_min(graph, span, args);
}
const struct expr *fold_lt(struct expr_graph *graph, struct span span,
                           const struct expr *const *args) {
    return args[0] == args[1] ? expr_bool(graph, span, false) : NULL;
}
const struct expr *fold_le(struct expr_graph *graph, struct span span,
                           const struct expr *const *args) {
    return args[0] == args[1] ? expr_bool(graph, span, true) : NULL;
}
