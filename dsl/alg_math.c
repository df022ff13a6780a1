// exp2, log2, exp, log and tanh from + - * / and bit operations alone, so that a predicate means
// the same, to the bit, on every target (no libm, no approximate instructions, no contraction).
//
// Powers: x = n + f with |f| <= 1/2; e^(f ln 2) by its Taylor series (|f ln 2| < 0.35, so the terms
// fall below 2^-56 at the fourteenth); 2^n by writing the exponent field, in two halves so that
// subnormal results come out. Logarithms: x = 2^e m with m in [sqrt 1/2, sqrt 2); ln m by the
// series of 2 artanh((m - 1) / (m + 1)). Powers of two and integers come out exact.

#include "dsl/alg.h"

#include <math.h>

static const double LN2_HIGH = 0x1.62e42fee00000p-1, LN2_LOW = 0x1.a39ef35793c76p-33;
static const double LOG2_E = 0x1.71547652b82fep+0;
static const double LN2 = 0x1.62e42fefa39efp-1;

static aval radd(struct alg *alg, aval x, aval y) {
    return a2(alg, ALG_R_ADD, x, y);
}
static aval rsub(struct alg *alg, aval x, aval y) {
    return a2(alg, ALG_R_SUB, x, y);
}
static aval rmul(struct alg *alg, aval x, aval y) {
    return a2(alg, ALG_R_MUL, x, y);
}
static aval rdiv(struct alg *alg, aval x, aval y) {
    return a2(alg, ALG_R_DIV, x, y);
}

// Evaluates c[0] + x (c[1] + x (c[2] + ...)).
static aval polynomial(struct alg *alg, aval x, const double *c, int count) {
    aval sum = a_real(alg, c[count - 1]);
    for (int i = count - 2; i >= 0; i--)
        sum = radd(alg, rmul(alg, sum, x), a_real(alg, c[i]));
    return sum;
}

// 2^n for an integer n in [-1022, 1023].
static aval power_of_two(struct alg *alg, aval n) {
    aval field = a2(alg, ALG_I_SHL, a2(alg, ALG_I_ADD, n, a_int(alg, 1023)), a_int(alg, 52));
    return a1(alg, ALG_R_FROM_BITS, field);
}

// e^r * 2^n, |r| < 0.35, |n| <= 2044.
static aval scaled_exp(struct alg *alg, aval r, aval n) {
    static const double series[] = {1.0,
                                    1.0,
                                    1.0 / 2,
                                    1.0 / 6,
                                    1.0 / 24,
                                    1.0 / 120,
                                    1.0 / 720,
                                    1.0 / 5040,
                                    1.0 / 40320,
                                    1.0 / 362880,
                                    1.0 / 3628800,
                                    1.0 / 39916800,
                                    1.0 / 479001600,
                                    1.0 / 6227020800,
                                    1.0 / 87178291200.0};
    aval value = polynomial(alg, r, series, sizeof series / sizeof *series);
    aval half = a2(alg, ALG_I_SHR, n, a_int(alg, 1));
    value = rmul(alg, value, power_of_two(alg, half));
    return rmul(alg, value, power_of_two(alg, a2(alg, ALG_I_SUB, n, half)));
}

static aval clipped(struct alg *alg, aval x, double limit) {
    return a2(alg, ALG_R_MAX, a2(alg, ALG_R_MIN, x, a_real(alg, limit)), a_real(alg, -limit));
}

static aval nearest(struct alg *alg, aval x) {
    return a1(alg, ALG_R_FLOOR, radd(alg, x, a_real(alg, 0.5)));
}

// NaN goes through: every comparison with it is false, so `clipped` would lose it.
static aval keep_nan(struct alg *alg, aval x, aval value) {
    return a_select(alg, a2(alg, ALG_R_EQ, x, x), value, x);
}

static aval exp2_of(struct alg *alg, aval x) {
    aval bounded = clipped(alg, x, 1100.0);
    aval n = nearest(alg, bounded);
    aval r = rmul(alg, rsub(alg, bounded, n), a_real(alg, LN2));
    return keep_nan(alg, x, scaled_exp(alg, r, a1(alg, ALG_R_TO_I, n)));
}

static aval exp_of(struct alg *alg, aval x) {
    aval bounded = clipped(alg, x, 760.0);
    aval n = nearest(alg, rmul(alg, bounded, a_real(alg, LOG2_E)));
    aval r = rsub(alg, rsub(alg, bounded, rmul(alg, n, a_real(alg, LN2_HIGH))),
                  rmul(alg, n, a_real(alg, LN2_LOW)));
    return keep_nan(alg, x, scaled_exp(alg, r, a1(alg, ALG_R_TO_I, n)));
}

// Splits a positive finite x into 2^exponent * (1 + ...) and returns ln of the second factor.
static aval log_parts(struct alg *alg, aval x, aval *out_exponent) {
    aval small = a2(alg, ALG_R_LT, x, a_real(alg, 0x1p-1022));
    aval normal = a_select(alg, small, rmul(alg, x, a_real(alg, 0x1p54)), x);
    aval bits = a1(alg, ALG_R_BITS, normal);
    aval exponent = a2(alg, ALG_I_SUB, a2(alg, ALG_I_SHR, bits, a_int(alg, 52)), a_int(alg, 1023));
    aval fraction = a2(alg, ALG_I_AND, bits, a_int(alg, ((int64_t)1 << 52) - 1));
    aval m = a1(alg, ALG_R_FROM_BITS, a2(alg, ALG_I_OR, fraction, a_int(alg, (int64_t)1023 << 52)));
    aval large = a2(alg, ALG_R_LT, a_real(alg, 0x1.6a09e667f3bcdp+0), m);
    m = a_select(alg, large, rmul(alg, m, a_real(alg, 0.5)), m);
    exponent = a_select(alg, large, a2(alg, ALG_I_ADD, exponent, a_int(alg, 1)), exponent);
    exponent = a_select(alg, small, a2(alg, ALG_I_SUB, exponent, a_int(alg, 54)), exponent);
    *out_exponent = a1(alg, ALG_I_TO_R, exponent);
    static const double series[] = {2.0,      2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11,
                                    2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23};
    aval one = a_real(alg, 1.0);
    aval s = rdiv(alg, rsub(alg, m, one), radd(alg, m, one));
    return rmul(alg, s, polynomial(alg, rmul(alg, s, s), series, sizeof series / sizeof *series));
}

// The logarithm outside of the positive finite numbers.
static aval log_edges(struct alg *alg, aval x, aval value) {
    aval zero = a_real(alg, 0.0), infinity = a_real(alg, INFINITY);
    value = a_select(alg, a2(alg, ALG_R_LT, x, zero), a_real(alg, NAN), value);
    value = a_select(alg, a2(alg, ALG_R_EQ, x, zero), a_real(alg, -INFINITY), value);
    value = a_select(alg, a2(alg, ALG_R_EQ, x, infinity), infinity, value);
    return keep_nan(alg, x, value);
}

static aval log_of(struct alg *alg, aval x) {
    aval e, ln = log_parts(alg, x, &e);
    aval sum = radd(alg, rmul(alg, e, a_real(alg, LN2_HIGH)),
                    radd(alg, rmul(alg, e, a_real(alg, LN2_LOW)), ln));
    return log_edges(alg, x, sum);
}

static aval log2_of(struct alg *alg, aval x) {
    aval e, ln = log_parts(alg, x, &e);
    return log_edges(alg, x, radd(alg, e, rmul(alg, ln, a_real(alg, LOG2_E))));
}

// Near zero the series of tanh, elsewhere 1 - 2 / (e^2x + 1).
static aval tanh_of(struct alg *alg, aval x) {
    static const double series[] = {1.0,
                                    -1.0 / 3,
                                    2.0 / 15,
                                    -17.0 / 315,
                                    62.0 / 2835,
                                    -1382.0 / 155925,
                                    21844.0 / 6081075,
                                    -929569.0 / 638512875,
                                    6404582.0 / 10854718875.0,
                                    -443861162.0 / 1856156927625.0};
    aval bounded = clipped(alg, x, 0.25);
    aval near_zero =
        rmul(alg, bounded,
             polynomial(alg, rmul(alg, bounded, bounded), series, sizeof series / sizeof *series));
    aval one = a_real(alg, 1.0), two = a_real(alg, 2.0);
    aval far = rsub(alg, one, rdiv(alg, two, radd(alg, exp_of(alg, rmul(alg, two, x)), one)));
    aval small = a2(alg, ALG_R_LT, a1(alg, ALG_R_ABS, x), a_real(alg, 0.25));
    return a_select(alg, small, near_zero, far);
}

aval alg_math(struct alg *alg, enum alg_math function, aval x) {
    if (alg->math)
        return alg->math(alg, function, x);
    switch (function) {
    case ALG_EXP2:
        return exp2_of(alg, x);
    case ALG_LOG2:
        return log2_of(alg, x);
    case ALG_EXP:
        return exp_of(alg, x);
    case ALG_LOG:
        return log_of(alg, x);
    case ALG_TANH:
        return tanh_of(alg, x);
    case ALG_MATH_COUNT:
        break;
    }
    return x;
}
