// Boxes of the integer operations: intervals with congruences.
//
// They are exact for monotone operations on independent arguments; where an argument is one value
// for the whole box (a parameter, a size) the cheaper form is taken. Congruences follow sums,
// products by constants, and remainders.

#include "dsl/ops.h"

#include <stdlib.h>

static int64_t floor_mod(int64_t a, int64_t m) {
    return (a % m + m) % m;
}

// A constant's box says so through its congruence: callers test mod == 0.
static bool constant(const struct box *box, int64_t *out) {
    *out = box->rem;
    return box->mod == 0;
}

static void set_congruence(struct box *box, int64_t mod, int64_t rem) {
    box->mod = mod;
    box->rem = mod > 0 ? floor_mod(rem, mod) : rem;
}

void box_neg(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(point_neg(alg, &args[0].hi), point_neg(alg, &args[0].lo));
    if (args[0].rem != INT64_MIN)
        set_congruence(out, args[0].mod, -args[0].rem);
}
void box_add(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_I_ADD, args[0].lo, args[1].lo),
                  a2(alg, ALG_I_ADD, args[0].hi, args[1].hi));
    int64_t rem;
    if (!__builtin_add_overflow(args[0].rem, args[1].rem, &rem))
        set_congruence(out, congruence_gcd(args[0].mod, args[1].mod), rem);
}
void box_sub(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_I_SUB, args[0].lo, args[1].hi),
                  a2(alg, ALG_I_SUB, args[0].hi, args[1].lo));
    int64_t rem;
    if (!__builtin_sub_overflow(args[0].rem, args[1].rem, &rem))
        set_congruence(out, congruence_gcd(args[0].mod, args[1].mod), rem);
}

// Least and greatest of four.
static struct box hull(struct alg *alg, aval a, aval b, aval c, aval d) {
    return box_of(a2(alg, ALG_I_MIN, a2(alg, ALG_I_MIN, a, b), a2(alg, ALG_I_MIN, c, d)),
                  a2(alg, ALG_I_MAX, a2(alg, ALG_I_MAX, a, b), a2(alg, ALG_I_MAX, c, d)));
}

void box_mul(struct alg *alg, const struct box *args, struct box *out) {
    if (box_single(&args[1]) || box_single(&args[0])) {
        const struct box *wide = box_single(&args[1]) ? &args[0] : &args[1];
        aval by = box_single(&args[1]) ? args[1].lo : args[0].lo;
        aval x = a2(alg, ALG_I_MUL, wide->lo, by), y = a2(alg, ALG_I_MUL, wide->hi, by);
        *out = box_of(a2(alg, ALG_I_MIN, x, y), a2(alg, ALG_I_MAX, x, y));
        int64_t factor, mod, rem;
        const struct box *factor_box = wide == &args[0] ? &args[1] : &args[0];
        if (constant(factor_box, &factor) && !__builtin_mul_overflow(wide->mod, factor, &mod) &&
            !__builtin_mul_overflow(wide->rem, factor, &rem) && mod != INT64_MIN)
            set_congruence(out, llabs(mod), rem);
        return;
    }
    *out = hull(
        alg, a2(alg, ALG_I_MUL, args[0].lo, args[1].lo), a2(alg, ALG_I_MUL, args[0].lo, args[1].hi),
        a2(alg, ALG_I_MUL, args[0].hi, args[1].lo), a2(alg, ALG_I_MUL, args[0].hi, args[1].hi));
}

// A divisor that may be zero is refused when the plan is made; here it must only not trap.
static aval safe_divisor(struct alg *alg, aval x) {
    int64_t value;
    if (alg->known(alg, x, &value) && value != 0)
        return x;
    return a_select(alg, a2(alg, ALG_I_EQ, x, a_int(alg, 0)), a_int(alg, 1), x);
}

static aval divide(struct alg *alg, aval (*point)(struct alg *, const aval *), aval a, aval b) {
    return point(alg, (aval[]){a, safe_divisor(alg, b)});
}

// Quotients are monotone in the dividend, and in the divisor on either side of zero: the ends of
// both decide. A divisor range that contains zero reaches +-|dividend|.
static void box_quotient(struct alg *alg, const struct box *args,
                         aval (*point)(struct alg *, const aval *), struct box *out) {
    if (box_single(&args[1])) {
        aval x = divide(alg, point, args[0].lo, args[1].lo);
        aval y = divide(alg, point, args[0].hi, args[1].lo);
        int64_t known;
        if (alg->known(alg, args[1].lo, &known) && known > 0)
            *out = box_of(x, y);
        else
            *out = box_of(a2(alg, ALG_I_MIN, x, y), a2(alg, ALG_I_MAX, x, y));
        return;
    }
    struct box ends = hull(
        alg, divide(alg, point, args[0].lo, args[1].lo), divide(alg, point, args[0].lo, args[1].hi),
        divide(alg, point, args[0].hi, args[1].lo), divide(alg, point, args[0].hi, args[1].hi));
    aval zero = a_int(alg, 0);
    aval spans_zero = a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, args[1].lo, zero),
                         a2(alg, ALG_I_LE, zero, args[1].hi));
    aval reach = a2(alg, ALG_I_MAX, point_abs(alg, &args[0].lo), point_abs(alg, &args[0].hi));
    *out = box_of(a_select(alg, spans_zero, point_neg(alg, &reach), ends.lo),
                  a_select(alg, spans_zero, reach, ends.hi));
}
void box_div(struct alg *alg, const struct box *args, struct box *out) {
    box_quotient(alg, args, point_div, out);
    int64_t divisor;
    if (constant(&args[1], &divisor) && divisor > 0 && args[0].mod > 0 &&
        args[0].mod % divisor == 0) {
        int64_t rest = floor_mod(args[0].rem, divisor);
        set_congruence(out, args[0].mod / divisor, (args[0].rem - rest) / divisor);
    }
}
void box_ceildiv(struct alg *alg, const struct box *args, struct box *out) {
    box_quotient(alg, args, point_ceildiv, out);
}

// Inside one period the remainder is the shifted dividend; otherwise anything below the divisor.
void box_mod(struct alg *alg, const struct box *args, struct box *out) {
    aval zero = a_int(alg, 0), one = a_int(alg, 1);
    aval top = a2(alg, ALG_I_MAX, zero, a2(alg, ALG_I_SUB, args[1].hi, one));
    int64_t least;
    bool positive = alg->known(alg, args[1].lo, &least) && least > 0;
    aval bottom = positive ? zero : a2(alg, ALG_I_MIN, zero, a2(alg, ALG_I_ADD, args[1].lo, one));
    *out = box_of(bottom, top);
    if (box_single(&args[1])) {
        aval first = divide(alg, point_div, args[0].lo, args[1].lo);
        aval last = divide(alg, point_div, args[0].hi, args[1].lo);
        aval same = a2(alg, ALG_I_EQ, first, last);
        aval start = a2(alg, ALG_I_MUL, first, args[1].lo);
        out->lo = a_select(alg, same, a2(alg, ALG_I_SUB, args[0].lo, start), bottom);
        out->hi = a_select(alg, same, a2(alg, ALG_I_SUB, args[0].hi, start), top);
    }
    int64_t divisor;
    if (constant(&args[1], &divisor) && divisor > 0) {
        int64_t mod = congruence_gcd(args[0].mod, divisor);
        set_congruence(out, mod, args[0].rem);
        if (mod == divisor) // the remainder is one value
            *out = (struct box){a_int(alg, out->rem), a_int(alg, out->rem), 0, out->rem};
    }
}

void box_min(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_join(alg, TYPE_INT, &args[0], &args[1]);
    out->lo = a2(alg, ALG_I_MIN, args[0].lo, args[1].lo);
    out->hi = a2(alg, ALG_I_MIN, args[0].hi, args[1].hi);
}
void box_max(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_join(alg, TYPE_INT, &args[0], &args[1]);
    out->lo = a2(alg, ALG_I_MAX, args[0].lo, args[1].lo);
    out->hi = a2(alg, ALG_I_MAX, args[0].hi, args[1].hi);
}
void box_abs(struct alg *alg, const struct box *args, struct box *out) {
    aval below = point_neg(alg, &args[0].hi);
    aval least = a2(alg, ALG_I_MAX, a2(alg, ALG_I_MAX, args[0].lo, below), a_int(alg, 0));
    *out = box_of(least, a2(alg, ALG_I_MAX, point_neg(alg, &args[0].lo), args[0].hi));
    if (args[0].rem == 0)
        set_congruence(out, args[0].mod, 0);
}
void box_bits(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(point_bits(alg, &args[0].lo), point_bits(alg, &args[0].hi));
}
void box_log2(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(point_log2(alg, &args[0].lo), point_log2(alg, &args[0].hi));
}

// 2^bits(x) - 1: the largest pattern as long as x's. x >= 0.
static aval ones_up_to(struct alg *alg, aval x) {
    aval bits = point_bits(alg, &x);
    aval most = a2(alg, ALG_I_MIN, bits, a_int(alg, 62));
    aval ones = a2(alg, ALG_I_SUB, a2(alg, ALG_I_SHL, a_int(alg, 1), most), a_int(alg, 1));
    aval huge = a2(alg, ALG_I_LT, a_int(alg, 62), bits);
    return a_select(alg, huge, a_int(alg, INT64_MAX), ones);
}

static aval both_known(struct alg *alg, const struct box *args) {
    return a2(alg, ALG_B_AND, a2(alg, ALG_I_EQ, args[0].lo, args[0].hi),
              a2(alg, ALG_I_EQ, args[1].lo, args[1].hi));
}

// Exact for single values, otherwise the given bounds.
static struct box exact_or(struct alg *alg, enum alg_binary op, const struct box *args, aval lo,
                           aval hi) {
    aval value = a2(alg, op, args[0].lo, args[1].lo), single = both_known(alg, args);
    return box_of(a_select(alg, single, value, lo), a_select(alg, single, value, hi));
}

void box_bitand(struct alg *alg, const struct box *args, struct box *out) {
    aval zero = a_int(alg, 0);
    aval a_sign = a2(alg, ALG_I_LT, args[0].lo, zero);
    aval b_sign = a2(alg, ALG_I_LT, args[1].lo, zero);
    // A non-negative operand bounds the result from above and keeps it non-negative.
    aval lowest = a_int(alg, INT64_MIN);
    aval lo = a_select(alg, a2(alg, ALG_B_AND, a_sign, b_sign), lowest, zero);
    aval hi =
        a_select(alg, a_sign, args[1].hi,
                 a_select(alg, b_sign, args[0].hi, a2(alg, ALG_I_MIN, args[0].hi, args[1].hi)));
    hi = a_select(alg, a2(alg, ALG_B_AND, a_sign, b_sign),
                  a2(alg, ALG_I_MAX, args[0].hi, args[1].hi), hi);
    hi = a2(alg, ALG_I_MAX, hi, lo);
    *out = exact_or(alg, ALG_I_AND, args, lo, hi);
}

// Or and xor of non-negative values stay within the longer pattern; else nothing is claimed.
static void box_bit_union(struct alg *alg, enum alg_binary op, const struct box *args,
                          struct box *out) {
    aval zero = a_int(alg, 0);
    aval plain = a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, zero, args[0].lo),
                    a2(alg, ALG_I_LE, zero, args[1].lo));
    aval longest = ones_up_to(alg, a2(alg, ALG_I_MAX, args[0].hi, args[1].hi));
    aval least = op == ALG_I_OR ? a2(alg, ALG_I_MAX, args[0].lo, args[1].lo) : zero;
    *out = exact_or(alg, op, args, a_select(alg, plain, least, a_int(alg, INT64_MIN)),
                    a_select(alg, plain, longest, a_int(alg, INT64_MAX)));
}
void box_bitor(struct alg *alg, const struct box *args, struct box *out) {
    box_bit_union(alg, ALG_I_OR, args, out);
}
void box_bitxor(struct alg *alg, const struct box *args, struct box *out) {
    box_bit_union(alg, ALG_I_XOR, args, out);
}

static aval shift_count(struct alg *alg, aval count, int most) {
    return a2(alg, ALG_I_MIN, a2(alg, ALG_I_MAX, count, a_int(alg, 0)), a_int(alg, most));
}

// x << n is x * 2^n; 2^63 does not fit, so a count of 63 counts as "at least 2^62".
void box_shl(struct alg *alg, const struct box *args, struct box *out) {
    aval one = a_int(alg, 1);
    struct box power = box_of(a2(alg, ALG_I_SHL, one, shift_count(alg, args[1].lo, 62)),
                              a2(alg, ALG_I_SHL, one, shift_count(alg, args[1].hi, 62)));
    if (box_single(&args[1]))
        power.hi = power.lo;
    int64_t count;
    if (constant(&args[1], &count) && count >= 0 && count < 63)
        set_congruence(&power, 0, (int64_t)1 << count);
    // A shift's own overflow is reported when 63 is possible and x is not 0 (see expr_walk.c);
    // the product reports every other.
    box_mul(alg, (struct box[]){args[0], power}, out);
}
void box_shr(struct alg *alg, const struct box *args, struct box *out) {
    aval few = shift_count(alg, args[1].lo, 63), many = shift_count(alg, args[1].hi, 63);
    *out = hull(alg, a2(alg, ALG_I_SHR, args[0].lo, few), a2(alg, ALG_I_SHR, args[0].lo, many),
                a2(alg, ALG_I_SHR, args[0].hi, few), a2(alg, ALG_I_SHR, args[0].hi, many));
}

void box_lt(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_I_LT, args[0].hi, args[1].lo),
                  a2(alg, ALG_I_LT, args[0].lo, args[1].hi));
}
void box_le(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_I_LE, args[0].hi, args[1].lo),
                  a2(alg, ALG_I_LE, args[0].lo, args[1].hi));
}
void box_eq(struct alg *alg, const struct box *args, struct box *out) {
    int64_t difference, mod = congruence_gcd(args[0].mod, args[1].mod);
    if (mod > 1 && !__builtin_sub_overflow(args[0].rem, args[1].rem, &difference) &&
        difference % mod != 0) {
        *out = box_of(a_bool(alg, false), a_bool(alg, false));
        return;
    }
    aval same =
        a2(alg, ALG_B_AND, both_known(alg, args), a2(alg, ALG_I_EQ, args[0].lo, args[1].lo));
    aval meet = a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, args[0].lo, args[1].hi),
                   a2(alg, ALG_I_LE, args[1].lo, args[0].hi));
    *out = box_of(same, meet);
}
void box_ne(struct alg *alg, const struct box *args, struct box *out) {
    struct box equal;
    box_eq(alg, args, &equal);
    box_not(alg, &equal, out);
}

// Some power of two may lie in [lo, hi] iff the largest one not above hi is at least lo.
void box_in_pow2(struct alg *alg, const struct box *args, struct box *out) {
    aval one = a_int(alg, 1), zero = a_int(alg, 0);
    aval most = a2(alg, ALG_I_SUB, args[2].hi, one); // the largest exponent
    aval top = point_log2(alg, &args[0].hi);
    top = a2(alg, ALG_I_MIN, top, most);
    aval allowed =
        a2(alg, ALG_B_AND, a2(alg, ALG_I_LE, zero, top), a2(alg, ALG_I_LE, args[1].lo, top));
    aval power = a2(alg, ALG_I_SHL, one, shift_count(alg, top, 62));
    aval some = a2(alg, ALG_B_AND, allowed, a2(alg, ALG_I_LE, args[0].lo, power));
    aval exact = point_in_pow2(alg, (aval[]){args[0].lo, args[1].lo, args[2].lo});
    aval single = a2(alg, ALG_B_AND, a2(alg, ALG_I_EQ, args[0].lo, args[0].hi),
                     a2(alg, ALG_B_AND, a2(alg, ALG_I_EQ, args[1].lo, args[1].hi),
                        a2(alg, ALG_I_EQ, args[2].lo, args[2].hi)));
    *out = box_of(a2(alg, ALG_B_AND, single, exact), some);
}
