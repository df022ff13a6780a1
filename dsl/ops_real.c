// Meanings of the operations on reals (doubles in predicates).
//
// Rounding is monotone, so the ends of an interval computed with ordinary arithmetic bound every
// value inside. The transcendental functions come from one software routine (alg_math.c) whose
// error is a few units in the last place: their boxes are widened by more than that. Where a NaN
// could arise, a box reaches to both infinities, so that nothing is claimed about comparisons.

#include "dsl/ops.h"

#include <math.h>

#define UNUSED(x) ((void)(x))

static union value as_real(double r) {
    return (union value){.r = r};
}
static union value as_bool(bool b) {
    return (union value){.b = b};
}

static const double FLOOR_LIMIT = 0x1p62;

#define EVAL_REAL(name, formula)                                                                   \
    union value eval_##name(const union value *args, enum eval_fault *fault) {                     \
        UNUSED(fault);                                                                             \
        return formula;                                                                            \
    }

// The functions' definition is the software routine itself (the same bits everywhere), so the
// reference calls it too, over the concrete algebra.
static union value routine(enum alg_math function, double x) {
    struct alg_concrete concrete;
    alg_concrete_init(&concrete);
    return as_real(alg_math(&concrete.alg, function, (aval){.r = x}).r);
}

EVAL_REAL(to_real, as_real((double)args[0].i))
EVAL_REAL(floor, ((union value){.i = args[0].r < FLOOR_LIMIT ? args[0].r > -FLOOR_LIMIT
                                                                   ? (int64_t)floor(args[0].r)
                                                                   : -((int64_t)1 << 62)
                                                             : (int64_t)1 << 62}))
EVAL_REAL(rneg, as_real(-args[0].r))
EVAL_REAL(radd, as_real(args[0].r + args[1].r))
EVAL_REAL(rsub, as_real(args[0].r - args[1].r))
EVAL_REAL(rmul, as_real(args[0].r *args[1].r))
EVAL_REAL(rdiv, as_real(args[0].r / args[1].r))
EVAL_REAL(rmin, as_real(args[0].r < args[1].r ? args[0].r : args[1].r))
EVAL_REAL(rmax, as_real(args[0].r > args[1].r ? args[0].r : args[1].r))
EVAL_REAL(rabs, as_real(fabs(args[0].r)))
EVAL_REAL(rsqrt, as_real(sqrt(args[0].r)))
EVAL_REAL(rexp, routine(ALG_EXP, args[0].r))
EVAL_REAL(rexp2, routine(ALG_EXP2, args[0].r))
EVAL_REAL(rlog, routine(ALG_LOG, args[0].r))
EVAL_REAL(rlog2, routine(ALG_LOG2, args[0].r))
EVAL_REAL(rtanh, routine(ALG_TANH, args[0].r))
EVAL_REAL(rlt, as_bool(args[0].r < args[1].r))
EVAL_REAL(rle, as_bool(args[0].r <= args[1].r))
EVAL_REAL(req, as_bool(args[0].r == args[1].r))
EVAL_REAL(rne, as_bool(!(args[0].r == args[1].r)))

#define POINT1(name, formula)                                                                      \
    aval point_##name(struct alg *alg, const aval *args) {                                         \
        return formula;                                                                            \
    }

POINT1(to_real, a1(alg, ALG_I_TO_R, args[0]))
POINT1(floor, a1(alg, ALG_R_TO_I,
                 a1(alg, ALG_R_FLOOR,
                    a2(alg, ALG_R_MAX, a2(alg, ALG_R_MIN, args[0], a_real(alg, FLOOR_LIMIT)),
                       a_real(alg, -FLOOR_LIMIT)))))
POINT1(rneg, a1(alg, ALG_R_NEG, args[0]))
POINT1(radd, a2(alg, ALG_R_ADD, args[0], args[1]))
POINT1(rsub, a2(alg, ALG_R_SUB, args[0], args[1]))
POINT1(rmul, a2(alg, ALG_R_MUL, args[0], args[1]))
POINT1(rdiv, a2(alg, ALG_R_DIV, args[0], args[1]))
POINT1(rmin, a2(alg, ALG_R_MIN, args[0], args[1]))
POINT1(rmax, a2(alg, ALG_R_MAX, args[0], args[1]))
POINT1(rabs, a1(alg, ALG_R_ABS, args[0]))
POINT1(rsqrt, a1(alg, ALG_R_SQRT, args[0]))
POINT1(rexp, alg_math(alg, ALG_EXP, args[0]))
POINT1(rexp2, alg_math(alg, ALG_EXP2, args[0]))
POINT1(rlog, alg_math(alg, ALG_LOG, args[0]))
POINT1(rlog2, alg_math(alg, ALG_LOG2, args[0]))
POINT1(rtanh, alg_math(alg, ALG_TANH, args[0]))
POINT1(rlt, a2(alg, ALG_R_LT, args[0], args[1]))
POINT1(rle, a2(alg, ALG_R_LE, args[0], args[1]))
POINT1(req, a2(alg, ALG_R_EQ, args[0], args[1]))
POINT1(rne, a1(alg, ALG_B_NOT, a2(alg, ALG_R_EQ, args[0], args[1])))

// [lo, hi], or everything where an end is not a number.
static struct box real_box(struct alg *alg, aval lo, aval hi) {
    aval known = a2(alg, ALG_B_AND, a2(alg, ALG_R_EQ, lo, lo), a2(alg, ALG_R_EQ, hi, hi));
    return box_of(a_select(alg, known, lo, a_real(alg, -INFINITY)),
                  a_select(alg, known, hi, a_real(alg, INFINITY)));
}

void box_to_real(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(point_to_real(alg, &args[0].lo), point_to_real(alg, &args[0].hi));
}
void box_floor(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(point_floor(alg, &args[0].lo), point_floor(alg, &args[0].hi));
}
void box_rneg(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(point_rneg(alg, &args[0].hi), point_rneg(alg, &args[0].lo));
}
void box_radd(struct alg *alg, const struct box *args, struct box *out) {
    *out = real_box(alg, a2(alg, ALG_R_ADD, args[0].lo, args[1].lo),
                    a2(alg, ALG_R_ADD, args[0].hi, args[1].hi));
}
void box_rsub(struct alg *alg, const struct box *args, struct box *out) {
    *out = real_box(alg, a2(alg, ALG_R_SUB, args[0].lo, args[1].hi),
                    a2(alg, ALG_R_SUB, args[0].hi, args[1].lo));
}

// Least and greatest of the four combinations; a NaN among them gives everything.
static struct box corners(struct alg *alg, enum alg_binary op, const struct box *args) {
    aval v[4] = {a2(alg, op, args[0].lo, args[1].lo), a2(alg, op, args[0].lo, args[1].hi),
                 a2(alg, op, args[0].hi, args[1].lo), a2(alg, op, args[0].hi, args[1].hi)};
    aval lo = v[0], hi = v[0], sum = v[0];
    for (int i = 1; i < 4; i++) {
        lo = a2(alg, ALG_R_MIN, lo, v[i]);
        hi = a2(alg, ALG_R_MAX, hi, v[i]);
        // 0 * x is NaN exactly when x is infinite or NaN: a cheap test of all four at once.
        sum = a2(alg, ALG_R_ADD, a2(alg, ALG_R_MUL, sum, a_real(alg, 0.0)), v[i]);
    }
    aval finite = a2(alg, ALG_R_EQ, sum, sum);
    return box_of(a_select(alg, finite, lo, a_real(alg, -INFINITY)),
                  a_select(alg, finite, hi, a_real(alg, INFINITY)));
}
void box_rmul(struct alg *alg, const struct box *args, struct box *out) {
    *out = corners(alg, ALG_R_MUL, args);
}
void box_rdiv(struct alg *alg, const struct box *args, struct box *out) {
    struct box ends = corners(alg, ALG_R_DIV, args);
    aval zero = a_real(alg, 0.0);
    aval has_zero = a2(alg, ALG_B_AND, a2(alg, ALG_R_LE, args[1].lo, zero),
                       a2(alg, ALG_R_LE, zero, args[1].hi));
    *out = box_of(a_select(alg, has_zero, a_real(alg, -INFINITY), ends.lo),
                  a_select(alg, has_zero, a_real(alg, INFINITY), ends.hi));
}
void box_rmin(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_R_MIN, args[0].lo, args[1].lo),
                  a2(alg, ALG_R_MIN, args[0].hi, args[1].hi));
}
void box_rmax(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_R_MAX, args[0].lo, args[1].lo),
                  a2(alg, ALG_R_MAX, args[0].hi, args[1].hi));
}
void box_rabs(struct alg *alg, const struct box *args, struct box *out) {
    aval below = point_rneg(alg, &args[0].hi), above = point_rneg(alg, &args[0].lo);
    aval least = a2(alg, ALG_R_MAX, a2(alg, ALG_R_MAX, args[0].lo, below), a_real(alg, 0.0));
    *out = box_of(least, a2(alg, ALG_R_MAX, above, args[0].hi));
}

// A rising function known to within a few units in the last place. Where it has no value at the
// low end (the root or logarithm of a negative number) nothing is claimed.
static struct box rising(struct alg *alg, aval (*point)(struct alg *, const aval *),
                         const struct box *args) {
    const double slack = 0x1p-48, tiny = 0x1p-1000;
    aval lo = point(alg, &args[0].lo), hi = point(alg, &args[0].hi);
    aval below = a2(alg, ALG_R_ADD, a2(alg, ALG_R_MUL, a1(alg, ALG_R_ABS, lo), a_real(alg, slack)),
                    a_real(alg, tiny));
    aval above = a2(alg, ALG_R_ADD, a2(alg, ALG_R_MUL, a1(alg, ALG_R_ABS, hi), a_real(alg, slack)),
                    a_real(alg, tiny));
    // Infinite ends stay (inf - inf would not).
    struct box wide = box_of(a2(alg, ALG_R_SUB, lo, below), a2(alg, ALG_R_ADD, hi, above));
    aval lo_infinite = a2(alg, ALG_R_EQ, a1(alg, ALG_R_ABS, lo), a_real(alg, INFINITY));
    aval hi_infinite = a2(alg, ALG_R_EQ, a1(alg, ALG_R_ABS, hi), a_real(alg, INFINITY));
    wide.lo = a_select(alg, lo_infinite, lo, wide.lo);
    wide.hi = a_select(alg, hi_infinite, hi, wide.hi);
    return real_box(alg, wide.lo, wide.hi);
}
void box_rexp(struct alg *alg, const struct box *args, struct box *out) {
    *out = rising(alg, point_rexp, args);
}
void box_rexp2(struct alg *alg, const struct box *args, struct box *out) {
    *out = rising(alg, point_rexp2, args);
}
void box_rlog(struct alg *alg, const struct box *args, struct box *out) {
    *out = rising(alg, point_rlog, args);
}
void box_rlog2(struct alg *alg, const struct box *args, struct box *out) {
    *out = rising(alg, point_rlog2, args);
}
void box_rsqrt(struct alg *alg, const struct box *args, struct box *out) {
    *out = rising(alg, point_rsqrt, args);
}
void box_rtanh(struct alg *alg, const struct box *args, struct box *out) {
    *out = rising(alg, point_rtanh, args);
}

void box_rlt(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_R_LT, args[0].hi, args[1].lo),
                  a2(alg, ALG_R_LT, args[0].lo, args[1].hi));
}
void box_rle(struct alg *alg, const struct box *args, struct box *out) {
    *out = box_of(a2(alg, ALG_R_LE, args[0].hi, args[1].lo),
                  a2(alg, ALG_R_LE, args[0].lo, args[1].hi));
}
void box_req(struct alg *alg, const struct box *args, struct box *out) {
    aval single = a2(alg, ALG_B_AND, a2(alg, ALG_R_EQ, args[0].lo, args[0].hi),
                     a2(alg, ALG_R_EQ, args[1].lo, args[1].hi));
    aval same = a2(alg, ALG_B_AND, single, a2(alg, ALG_R_EQ, args[0].lo, args[1].lo));
    *out = box_of(same, a2(alg, ALG_B_AND, a2(alg, ALG_R_LE, args[0].lo, args[1].hi),
                           a2(alg, ALG_R_LE, args[1].lo, args[0].hi)));
}
void box_rne(struct alg *alg, const struct box *args, struct box *out) {
    struct box equal;
    box_req(alg, args, &equal);
    box_not(alg, &equal, out);
}
