// Transcendental functions of floats as polynomials. The reductions are the usual ones:
//
//   2^x   = 2^n * 2^f,             n = round(x), f in [-1/2, 1/2]     (n falls out of
//   adding 1.5*2^23) e^x   = 2^n * e^r,             n = round(x / ln 2), r = x - n ln 2 (ln 2 in
//   two parts) ln x  = e ln 2 + ln(1 + m),    1 + m in [sqrt(1/2), sqrt(2)) tanh  = odd polynomial
//   near 0, else 1 - 2 / (e^2|x| + 1)
//
// Coefficients: exponentials by a Remez exchange on the relative error; logarithm and tanh from
// Cephes (S. Moshier: logf.c, tanhf.c).
#include "compiler/llvm/llvm_alg_math.h"

struct math { // one function being emitted: the unit, and the shape of its values
    struct llvm_unit *unit;
    LLVMBuilderRef b;
    LLVMValueRef like; // a float value of the right shape
    LLVMTypeRef ints;  // i32 with that shape
};

LLVMValueRef llvm_real_like(struct llvm_unit *unit, LLVMValueRef like, double value) {
    LLVMTypeRef type = LLVMTypeOf(like);
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
        return LLVMConstReal(type, value);
    LLVMValueRef scalar = LLVMConstReal(LLVMGetElementType(type), value);
    return llvm_splat(unit, scalar, (int)LLVMGetVectorSize(type));
}

LLVMValueRef llvm_fma(struct llvm_unit *unit, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
    return llvm_intrinsic3(unit, "llvm.fmuladd", x, y, z);
}

static struct math math_of(struct llvm_unit *unit, LLVMValueRef x) {
    LLVMTypeRef type = LLVMTypeOf(x), ints = unit->i32;
    if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
        ints = LLVMVectorType(unit->i32, LLVMGetVectorSize(type));
    return (struct math){unit, unit->builder, x, ints};
}

static LLVMValueRef real(struct math *m, double value) {
    return llvm_real_like(m->unit, m->like, value);
}

static LLVMValueRef integer(struct math *m, int64_t value) {
    LLVMValueRef scalar = llvm_int(m->unit->i32, value);
    if (LLVMGetTypeKind(m->ints) != LLVMVectorTypeKind)
        return scalar;
    return llvm_splat(m->unit, scalar, (int)LLVMGetVectorSize(m->ints));
}

// c[0] x^(count-1) + ... + c[count-1]
static LLVMValueRef polynomial(struct math *m, LLVMValueRef x, const double *c, int count) {
    LLVMValueRef sum = real(m, c[0]);
    for (int i = 1; i < count; i++)
        sum = llvm_fma(m->unit, sum, x, real(m, c[i]));
    return sum;
}

static LLVMValueRef as_int(struct math *m, LLVMValueRef x) {
    return LLVMBuildBitCast(m->b, x, m->ints, "");
}

static LLVMValueRef as_real(struct math *m, LLVMValueRef x) {
    return LLVMBuildBitCast(m->b, x, LLVMTypeOf(m->like), "");
}

// x below low becomes low, x above high high; NaN stays.
static LLVMValueRef clamp(struct math *m, LLVMValueRef x, double low, double high) {
    LLVMValueRef under = LLVMBuildFCmp(m->b, LLVMRealOLT, x, real(m, low), "");
    x = LLVMBuildSelect(m->b, under, real(m, low), x, "");
    LLVMValueRef over = LLVMBuildFCmp(m->b, LLVMRealOGT, x, real(m, high), "");
    return LLVMBuildSelect(m->b, over, real(m, high), x, "");
}

// Adding 1.5 * 2^23 + 127 leaves round(x) + 127 in the low bits: shifted up by 23 they are the
// float 2^round(x). Below -127 the exponent field would wrap, so x is held there, where 2^n is 0.
LLVMValueRef llvm_fast_exp2(struct llvm_unit *unit, LLVMValueRef x, int degree) {
    static const double POWERS[4][7] = {
        {0.055171669092611660, 0.24261112222375322, 0.69326098545424570, 0.99992807353515970},
        {0.0095701020143256290, 0.055917860306325650, 0.24024744824991692, 0.69312181463260130,
         0.99999926144693120},
        {0.0013276472167819944, 0.0096755413310213920, 0.055507132728755130, 0.24022119723969180,
         0.69314696706526490, 1.0000000716546416},
        {0.00015594678161326620, 0.0013406643902351759, 0.0096176929729930620, 0.055503105510137970,
         0.24022652782887738, 0.69314721496802790, 1.0},
    };
    struct math m = math_of(unit, x);
    LLVMValueRef magic = real(&m, 12582912.0 + 127.0);
    LLVMValueRef under = LLVMBuildFCmp(m.b, LLVMRealOLT, x, real(&m, -127.0), "");
    x = LLVMBuildSelect(m.b, under, real(&m, -127.0), x, "");
    LLVMValueRef rounded = LLVMBuildFAdd(m.b, x, magic, "");
    LLVMValueRef f = LLVMBuildFSub(m.b, x, LLVMBuildFSub(m.b, rounded, magic, ""), "");
    LLVMValueRef scale = as_real(&m, LLVMBuildShl(m.b, as_int(&m, rounded), integer(&m, 23), ""));
    return LLVMBuildFMul(m.b, polynomial(&m, f, POWERS[degree - 3], degree + 1), scale, "");
}

// y * 2^n for n (an integer as a float) in [-252, 254]: in two factors, so that neither overflows.
static LLVMValueRef scale_by_power(struct math *m, LLVMValueRef y, LLVMValueRef n) {
    LLVMValueRef whole = LLVMBuildFPToSI(m->b, n, m->ints, "");
    LLVMValueRef half = LLVMBuildAShr(m->b, whole, integer(m, 1), "");
    LLVMValueRef parts[] = {half, LLVMBuildSub(m->b, whole, half, "")};
    for (int i = 0; i < 2; i++) {
        LLVMValueRef biased = LLVMBuildAdd(m->b, parts[i], integer(m, 127), "");
        LLVMValueRef power = as_real(m, LLVMBuildShl(m->b, biased, integer(m, 23), ""));
        y = LLVMBuildFMul(m->b, y, power, "");
    }
    return y;
}

// What the clamp hid: NaN in, NaN out (and the conversion of a NaN must not be seen).
static LLVMValueRef keep_nan(struct math *m, LLVMValueRef x, LLVMValueRef y) {
    LLVMValueRef is_nan = LLVMBuildFCmp(m->b, LLVMRealUNO, x, x, "");
    return LLVMBuildSelect(m->b, is_nan, x, y, "");
}

static LLVMValueRef emit_exp2(struct math *m, LLVMValueRef x) {
    static const double POWERS[] = {0.00015594678161326620,
                                    0.0013406643902351759,
                                    0.0096176929729930620,
                                    0.055503105510137970,
                                    0.24022652782887738,
                                    0.69314721496802790,
                                    1.0};
    LLVMValueRef held = clamp(m, x, -152.0, 129.0);
    LLVMValueRef n = llvm_intrinsic1(m->unit, "llvm.rint", held);
    LLVMValueRef f = LLVMBuildFSub(m->b, held, n, "");
    return keep_nan(m, x, scale_by_power(m, polynomial(m, f, POWERS, 7), n));
}

static LLVMValueRef emit_exp(struct math *m, LLVMValueRef x) {
    static const double POWERS[] = {0.0014061277280612300,
                                    0.0083790207334058870,
                                    0.041664776494910155,
                                    0.16666365314881187,
                                    0.50000004346506060,
                                    1.0000000496716355,
                                    1.0};
    LLVMValueRef held = clamp(m, x, -105.0, 90.0);
    LLVMValueRef scaled = LLVMBuildFMul(m->b, held, real(m, 1.4426950408889634), "");
    LLVMValueRef n = llvm_intrinsic1(m->unit, "llvm.rint", scaled);
    // ln 2 = 0.693359375 (exact in 10 bits) - 2.12194440e-4
    LLVMValueRef r = llvm_fma(m->unit, n, real(m, -0.693359375), held);
    r = llvm_fma(m->unit, n, real(m, 2.12194440054690583e-4), r);
    return keep_nan(m, x, scale_by_power(m, polynomial(m, r, POWERS, 7), n));
}

// ln(1 + m) into *out_log and the exponent into *out_exponent, for positive finite x.
static void split_log(struct math *m, LLVMValueRef x, LLVMValueRef *out_log,
                      LLVMValueRef *out_exponent) {
    static const double LOG[] = {7.0376836292e-2,  -1.1514610310e-1, 1.1676998740e-1,
                                 -1.2420140846e-1, 1.4249322787e-1,  -1.6668057665e-1,
                                 2.0000714765e-1,  -2.4999993993e-1, 3.3333331174e-1};
    LLVMBuilderRef b = m->b;
    LLVMValueRef tiny = LLVMBuildFCmp(b, LLVMRealOLT, x, real(m, 1.17549435e-38), "");
    LLVMValueRef big = LLVMBuildFMul(b, x, real(m, 8388608.0), ""); // subnormals made normal
    LLVMValueRef bits = as_int(m, LLVMBuildSelect(b, tiny, big, x, ""));
    // Subtracting sqrt(1/2)'s bits puts the cut between exponents at sqrt(1/2) instead of 1.
    LLVMValueRef from_root = LLVMBuildSub(b, bits, integer(m, 0x3f3504f3), "");
    LLVMValueRef exponent = LLVMBuildAShr(b, from_root, integer(m, 23), "");
    LLVMValueRef mantissa =
        as_real(m, LLVMBuildSub(b, bits, LLVMBuildShl(b, exponent, integer(m, 23), ""), ""));
    LLVMValueRef shift = LLVMBuildSelect(b, tiny, integer(m, 23), integer(m, 0), "");
    exponent = LLVMBuildSub(b, exponent, shift, "");
    *out_exponent = LLVMBuildSIToFP(b, exponent, LLVMTypeOf(m->like), "");

    LLVMValueRef y = LLVMBuildFSub(b, mantissa, real(m, 1.0), "");
    LLVMValueRef square = LLVMBuildFMul(b, y, y, "");
    LLVMValueRef cubic =
        LLVMBuildFMul(b, polynomial(m, y, LOG, 9), LLVMBuildFMul(b, square, y, ""), "");
    *out_log = LLVMBuildFAdd(b, y, llvm_fma(m->unit, square, real(m, -0.5), cubic), "");
}

// Zero gives -inf, negative numbers and NaN give NaN, infinity itself.
static LLVMValueRef log_edges(struct math *m, LLVMValueRef x, LLVMValueRef y) {
    LLVMBuilderRef b = m->b;
    LLVMValueRef infinity = real(m, (double)__builtin_inff());
    LLVMValueRef is_inf = LLVMBuildFCmp(b, LLVMRealOEQ, x, infinity, "");
    LLVMValueRef is_zero = LLVMBuildFCmp(b, LLVMRealOEQ, x, real(m, 0.0), "");
    LLVMValueRef proper = LLVMBuildFCmp(b, LLVMRealOGE, x, real(m, 0.0), "");
    y = LLVMBuildSelect(b, is_inf, infinity, y, "");
    y = LLVMBuildSelect(b, is_zero, real(m, -(double)__builtin_inff()), y, "");
    return LLVMBuildSelect(b, proper, y, real(m, (double)__builtin_nanf("")), "");
}

static LLVMValueRef emit_log(struct math *m, LLVMValueRef x) {
    LLVMValueRef log, exponent;
    split_log(m, x, &log, &exponent);
    log = llvm_fma(m->unit, exponent, real(m, -2.12194440054690583e-4), log);
    log = llvm_fma(m->unit, exponent, real(m, 0.693359375), log);
    return log_edges(m, x, log);
}

static LLVMValueRef emit_log2(struct math *m, LLVMValueRef x) {
    LLVMValueRef log, exponent;
    split_log(m, x, &log, &exponent);
    // log2(e) = 1 + 0.44...: the product's rounding falls on the smaller part
    LLVMValueRef part = llvm_fma(m->unit, log, real(m, 0.44269504088896340), log);
    return log_edges(m, x, LLVMBuildFAdd(m->b, part, exponent, ""));
}

static LLVMValueRef emit_tanh(struct math *m, LLVMValueRef x) {
    static const double ODD[] = {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2,
                                 1.33314422036e-1, -3.33332819422e-1};
    LLVMBuilderRef b = m->b;
    LLVMValueRef size = llvm_intrinsic1(m->unit, "llvm.fabs", x);
    LLVMValueRef power = emit_exp(m, LLVMBuildFAdd(b, size, size, ""));
    LLVMValueRef ratio =
        LLVMBuildFDiv(b, real(m, -2.0), LLVMBuildFAdd(b, power, real(m, 1.0), ""), "");
    LLVMValueRef far = LLVMBuildFAdd(b, ratio, real(m, 1.0), "");
    far = llvm_intrinsic2(m->unit, "llvm.copysign", far, x);
    LLVMValueRef square = LLVMBuildFMul(b, x, x, "");
    LLVMValueRef cubic = LLVMBuildFMul(b, polynomial(m, square, ODD, 5), square, "");
    LLVMValueRef near = llvm_fma(m->unit, cubic, x, x);
    LLVMValueRef is_near = LLVMBuildFCmp(b, LLVMRealOLT, size, real(m, 0.625), "");
    return LLVMBuildSelect(b, is_near, near, far, "");
}

aval llvm_alg_float_math(struct alg *alg, enum alg_math function, aval x) {
    struct math m = math_of(((struct llvm_alg *)alg)->unit, x.v);
    switch (function) {
    case ALG_EXP2:
        return (aval){.v = emit_exp2(&m, x.v)};
    case ALG_LOG2:
        return (aval){.v = emit_log2(&m, x.v)};
    case ALG_EXP:
        return (aval){.v = emit_exp(&m, x.v)};
    case ALG_LOG:
        return (aval){.v = emit_log(&m, x.v)};
    default:
        return (aval){.v = emit_tanh(&m, x.v)};
    }
}
