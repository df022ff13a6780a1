// The LLVM algebra. A value is a scalar or a vector of alg->lanes; an operation on one of each
// splats the scalar. What follows holds by construction:
//
//   no undefined behaviour   `and`, `or` and `?:` evaluate both sides here, so an operation may see
//                            arguments that the lazy meaning never hands it (a zero divisor behind
//                            a test). Every operation therefore yields *some* value for every
//                            argument: divisors are guarded, shift counts reduced, conversions
//                            frozen.
//   no reassociation         no fast-math flag, no contraction: reals in predicates have the same
//                            bits on every target.
//   widths may mix           the bit pattern of a double is 64 bits wide even where indices have
//                            32: of two widths the narrower operand is sign-extended, and a
//                            constant that does not fit the index type is made 64 bits wide.
#include "compiler/llvm/llvm_alg.h"
#include "compiler/llvm/llvm_alg_divide.h"
#include "compiler/llvm/llvm_alg_math.h"

#include <assert.h>

enum { MAX_LOOP_STATES = 32 };

static struct llvm_alg *self(struct alg *alg) {
    return (struct llvm_alg *)alg;
}

static aval wrap(LLVMValueRef value) {
    return (aval){.v = value};
}

LLVMValueRef llvm_alg_vector(struct llvm_alg *alg, LLVMValueRef value) {
    return llvm_splat(alg->unit, value, alg->lanes);
}

static LLVMTypeRef element_type(LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

// `element` with the shape (scalar or vector) of `like`.
static LLVMTypeRef shaped(LLVMTypeRef element, LLVMValueRef like) {
    LLVMTypeRef type = LLVMTypeOf(like);
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
        return element;
    return LLVMVectorType(element, LLVMGetVectorSize(type));
}

static bool is_integer(LLVMValueRef value) {
    return LLVMGetTypeKind(element_type(value)) == LLVMIntegerTypeKind;
}

static int width_of(LLVMValueRef value) {
    return (int)LLVMGetIntTypeWidth(element_type(value));
}

// Two operands brought to one type.
static void match(struct llvm_alg *a, LLVMValueRef *x, LLVMValueRef *y) {
    if (llvm_is_vector(*x) != llvm_is_vector(*y)) {
        *x = llvm_alg_vector(a, *x);
        *y = llvm_alg_vector(a, *y);
    }
    if (!is_integer(*x) || width_of(*x) == width_of(*y))
        return;
    LLVMValueRef *narrow = width_of(*x) < width_of(*y) ? x : y;
    LLVMTypeRef wide = LLVMTypeOf(narrow == x ? *y : *x);
    *narrow = LLVMBuildSExt(a->unit->builder, *narrow, wide, "");
}

// ---- constants -------------------------------------------------------------------------------

static aval alg_iconst(struct alg *alg, int64_t value) {
    struct llvm_alg *a = self(alg);
    bool fits = alg->index_bits == 64 || value == (int32_t)value;
    return wrap(llvm_int(fits ? a->integer : a->unit->i64, value));
}

static aval alg_rconst(struct alg *alg, double value) {
    return wrap(LLVMConstReal(self(alg)->real, value));
}

static aval alg_bconst(struct alg *alg, bool value) {
    return wrap(llvm_int(self(alg)->unit->i1, value));
}

static bool alg_known(struct alg *alg, aval value, int64_t *out_value) {
    (void)alg;
    LLVMValueRef constant = LLVMIsAConstantInt(value.v);
    if (!constant)
        return false;
    bool is_bool = LLVMGetIntTypeWidth(LLVMTypeOf(constant)) == 1;
    *out_value = is_bool ? (int64_t)LLVMConstIntGetZExtValue(constant)
                         : (int64_t)LLVMConstIntGetSExtValue(constant);
    return true;
}

static bool known_as(LLVMValueRef value, int64_t expected) {
    int64_t is;
    return alg_known(NULL, wrap(value), &is) && is == expected;
}

// ---- integers --------------------------------------------------------------------------------

static LLVMValueRef saturating_mul(struct llvm_alg *a, LLVMValueRef x, LLVMValueRef y) {
    LLVMBuilderRef b = a->unit->builder;
    LLVMValueRef pair = llvm_intrinsic2(a->unit, "llvm.smul.with.overflow", x, y);
    LLVMValueRef product = LLVMBuildExtractValue(b, pair, 0, "");
    LLVMValueRef overflow = LLVMBuildExtractValue(b, pair, 1, "");
    LLVMValueRef signs = LLVMBuildXor(b, x, y, "");
    LLVMValueRef negative = LLVMBuildICmp(b, LLVMIntSLT, signs, LLVMConstNull(LLVMTypeOf(x)), "");
    int64_t low = INT64_MIN >> (64 - width_of(x));
    LLVMTypeRef element = element_type(x);
    int lanes = llvm_is_vector(x) ? a->lanes : 1;
    LLVMValueRef least = llvm_splat(a->unit, llvm_int(element, low), lanes);
    LLVMValueRef most = llvm_splat(a->unit, llvm_int(element, ~low), lanes);
    LLVMValueRef limit = LLVMBuildSelect(b, negative, least, most, "");
    return LLVMBuildSelect(b, overflow, limit, product, "");
}

// Saturating operations on two constants: the builder folds plain instructions, not intrinsics.
static bool fold_saturating(struct llvm_alg *a, enum alg_binary op, LLVMValueRef x, LLVMValueRef y,
                            LLVMValueRef *out) {
    int64_t p, q, r;
    if (!alg_known(NULL, wrap(x), &p) || !alg_known(NULL, wrap(y), &q))
        return false;
    bool over = op == ALG_I_ADD   ? __builtin_add_overflow(p, q, &r)
                : op == ALG_I_SUB ? __builtin_sub_overflow(p, q, &r)
                                  : __builtin_mul_overflow(p, q, &r);
    bool negative = op == ALG_I_MUL ? (p < 0) != (q < 0) : p < 0;
    if (over)
        r = negative ? INT64_MIN : INT64_MAX;
    int64_t low = INT64_MIN >> (64 - width_of(x));
    r = r < low ? low : r > ~low ? ~low : r;
    *out = llvm_int(element_type(x), r);
    (void)a;
    return true;
}

// x + 0, x - 0, x * 1, x * 0 and their mirrors, so that the planner's boxes stay small.
static bool fold_neutral(enum alg_binary op, LLVMValueRef x, LLVMValueRef y, LLVMValueRef *out) {
    if (op == ALG_I_QUOT && known_as(y, 1))
        return *out = x, true;
    if (op != ALG_I_ADD && op != ALG_I_SUB && op != ALG_I_MUL)
        return false;
    if (op == ALG_I_MUL) {
        if (known_as(x, 0) || known_as(y, 1))
            return *out = x, true;
        if (known_as(y, 0) || known_as(x, 1))
            return *out = y, true;
        return false;
    }
    if (known_as(y, 0))
        return *out = x, true;
    if (op == ALG_I_ADD && known_as(x, 0))
        return *out = y, true;
    return false;
}

static LLVMValueRef arithmetic(struct llvm_alg *a, enum alg_binary op, LLVMValueRef x,
                               LLVMValueRef y) {
    LLVMBuilderRef b = a->unit->builder;
    LLVMValueRef folded;
    if (!a->saturate)
        return op == ALG_I_ADD   ? LLVMBuildAdd(b, x, y, "")
               : op == ALG_I_SUB ? LLVMBuildSub(b, x, y, "")
                                 : LLVMBuildMul(b, x, y, "");
    if (fold_saturating(a, op, x, y, &folded))
        return folded;
    if (op == ALG_I_MUL)
        return saturating_mul(a, x, y);
    return llvm_intrinsic2(a->unit, op == ALG_I_ADD ? "llvm.sadd.sat" : "llvm.ssub.sat", x, y);
}

// A constant divisor that is neither 0 nor -1.
static bool plain_divisor(LLVMValueRef y) {
    int64_t value;
    return alg_known(NULL, wrap(y), &value) && value != 0 && value != -1;
}

static LLVMValueRef remainder_of(struct llvm_alg *a, LLVMValueRef x, LLVMValueRef y, bool plain) {
    LLVMBuilderRef b = a->unit->builder;
    LLVMValueRef quotient = llvm_alg_quotient(a, x, y, plain);
    return LLVMBuildSub(b, x, LLVMBuildMul(b, quotient, y, ""), "");
}

// Counts past the width come from 64-bit meanings computed in 32 bits: >> then fills with the sign,
// << gives 0. (Past 63 they are outside the language and give anything defined.)
static LLVMValueRef shift(struct llvm_alg *a, enum alg_binary op, LLVMValueRef x, LLVMValueRef y) {
    LLVMBuilderRef b = a->unit->builder;
    int lanes = llvm_is_vector(x) ? a->lanes : 1;
    LLVMValueRef last = llvm_splat(a->unit, llvm_int(element_type(x), width_of(x) - 1), lanes);
    LLVMValueRef fits = LLVMBuildICmp(b, LLVMIntULE, y, last, "");
    LLVMValueRef count = LLVMBuildSelect(b, fits, y, last, "");
    if (op == ALG_I_SHR)
        return LLVMBuildAShr(b, x, count, "");
    LLVMValueRef shifted = a->saturate ? llvm_intrinsic2(a->unit, "llvm.sshl.sat", x, count)
                                       : LLVMBuildShl(b, x, count, "");
    return LLVMBuildSelect(b, fits, shifted, LLVMConstNull(LLVMTypeOf(x)), "");
}

static LLVMValueRef extreme(struct llvm_alg *a, LLVMIntPredicate predicate, LLVMValueRef x,
                            LLVMValueRef y) {
    LLVMBuilderRef b = a->unit->builder;
    if (x == y)
        return x;
    return LLVMBuildSelect(b, LLVMBuildICmp(b, predicate, x, y, ""), x, y, "");
}

static LLVMValueRef integer_binary(struct llvm_alg *a, enum alg_binary op, LLVMValueRef x,
                                   LLVMValueRef y) {
    LLVMBuilderRef b = a->unit->builder;
    switch (op) {
    case ALG_I_AND:
    case ALG_B_AND:
        return LLVMBuildAnd(b, x, y, "");
    case ALG_I_OR:
    case ALG_B_OR:
        return LLVMBuildOr(b, x, y, "");
    case ALG_I_XOR:
    case ALG_B_XOR:
        return LLVMBuildXor(b, x, y, "");
    case ALG_I_SHL:
    case ALG_I_SHR:
        return shift(a, op, x, y);
    case ALG_I_MIN:
        return extreme(a, LLVMIntSLT, x, y);
    case ALG_I_MAX:
        return extreme(a, LLVMIntSGT, x, y);
    case ALG_I_LT:
        return LLVMBuildICmp(b, LLVMIntSLT, x, y, "");
    case ALG_I_LE:
        return LLVMBuildICmp(b, LLVMIntSLE, x, y, "");
    case ALG_I_EQ:
        return LLVMBuildICmp(b, LLVMIntEQ, x, y, "");
    default:
        return arithmetic(a, op, x, y);
    }
}

// ---- booleans --------------------------------------------------------------------------------

// With one side known, the builder would still make an instruction: decide here.
static bool fold_bool(enum alg_binary op, LLVMValueRef x, LLVMValueRef y, LLVMValueRef *out) {
    if (op == ALG_B_AND) {
        if (known_as(x, 0) || known_as(y, 1))
            return *out = x, true;
        if (known_as(y, 0) || known_as(x, 1))
            return *out = y, true;
    } else if (op == ALG_B_OR) {
        if (known_as(x, 1) || known_as(y, 0))
            return *out = x, true;
        if (known_as(y, 1) || known_as(x, 0))
            return *out = y, true;
    }
    return false;
}

// ---- reals -----------------------------------------------------------------------------------

static LLVMValueRef real_binary(struct llvm_alg *a, enum alg_binary op, LLVMValueRef x,
                                LLVMValueRef y) {
    LLVMBuilderRef b = a->unit->builder;
    switch (op) {
    case ALG_R_ADD:
        return LLVMBuildFAdd(b, x, y, "");
    case ALG_R_SUB:
        return LLVMBuildFSub(b, x, y, "");
    case ALG_R_MUL:
        return LLVMBuildFMul(b, x, y, "");
    case ALG_R_DIV:
        return LLVMBuildFDiv(b, x, y, "");
    case ALG_R_MIN:
        return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, x, y, ""), x, y, "");
    case ALG_R_MAX:
        return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, x, y, ""), x, y, "");
    case ALG_R_LT:
        return LLVMBuildFCmp(b, LLVMRealOLT, x, y, "");
    case ALG_R_LE:
        return LLVMBuildFCmp(b, LLVMRealOLE, x, y, "");
    default: // ALG_R_EQ
        return LLVMBuildFCmp(b, LLVMRealOEQ, x, y, "");
    }
}

// ---- the interface ---------------------------------------------------------------------------

static aval alg_binary_op(struct alg *alg, enum alg_binary op, aval p, aval q) {
    struct llvm_alg *a = self(alg);
    LLVMValueRef x = p.v, y = q.v, folded;
    if (fold_bool(op, x, y, &folded) || fold_neutral(op, x, y, &folded))
        return wrap(folded);
    bool divides = op == ALG_I_QUOT || op == ALG_I_REM;
    bool plain = divides && plain_divisor(y);
    match(a, &x, &y);
    if (divides)
        return wrap(op == ALG_I_QUOT ? llvm_alg_quotient(a, x, y, plain)
                                     : remainder_of(a, x, y, plain));
    return wrap(op >= ALG_R_ADD ? real_binary(a, op, x, y) : integer_binary(a, op, x, y));
}

static LLVMValueRef leading_zeros(struct llvm_alg *a, LLVMValueRef x) {
    LLVMBuilderRef b = a->unit->builder;
    LLVMTypeRef type = shaped(a->integer, x);
    if (width_of(x) > a->alg.index_bits)
        x = LLVMBuildTrunc(b, x, type, "");
    LLVMValueRef args[] = {x, llvm_int(a->unit->i1, 0)};
    return llvm_intrinsic(a->unit, "llvm.ctlz", &type, 1, args, 2);
}

static LLVMValueRef bits_of(struct llvm_alg *a, LLVMValueRef x) {
    LLVMTypeRef bits = a->real == a->unit->f64 ? a->unit->i64 : a->unit->i32;
    return LLVMBuildBitCast(a->unit->builder, x, shaped(bits, x), "");
}

static LLVMValueRef from_bits(struct llvm_alg *a, LLVMValueRef x) {
    LLVMBuilderRef b = a->unit->builder;
    LLVMTypeRef bits = shaped(a->real == a->unit->f64 ? a->unit->i64 : a->unit->i32, x);
    if (LLVMTypeOf(x) != bits)
        x = LLVMBuildIntCast2(b, x, bits, true, "");
    return LLVMBuildBitCast(b, x, shaped(a->real, x), "");
}

// Doubles give 64 bits whatever the index width: alg_math.c builds bit patterns from the result.
static LLVMValueRef truncated(struct llvm_alg *a, LLVMValueRef x) {
    LLVMTypeRef integer = a->real == a->unit->f64 ? a->unit->i64 : a->integer;
    LLVMTypeRef types[] = {shaped(integer, x), LLVMTypeOf(x)};
    if (a->saturate)
        return llvm_intrinsic(a->unit, "llvm.fptosi.sat", types, 2, &x, 1);
    LLVMValueRef whole = LLVMBuildFPToSI(a->unit->builder, x, types[0], "");
    return LLVMBuildFreeze(a->unit->builder, whole, "");
}

static aval alg_unary_op(struct alg *alg, enum alg_unary op, aval p) {
    struct llvm_alg *a = self(alg);
    LLVMBuilderRef b = a->unit->builder;
    LLVMValueRef x = p.v;
    switch (op) {
    case ALG_B_NOT:
        return wrap(LLVMBuildNot(b, x, ""));
    case ALG_I_CLZ:
        return wrap(leading_zeros(a, x));
    case ALG_I_TO_R:
        return wrap(LLVMBuildSIToFP(b, x, shaped(a->real, x), ""));
    case ALG_R_TO_I:
        return wrap(truncated(a, x));
    case ALG_R_NEG:
        return wrap(LLVMBuildFNeg(b, x, ""));
    case ALG_R_ABS:
        return wrap(llvm_intrinsic1(a->unit, "llvm.fabs", x));
    case ALG_R_SQRT:
        return wrap(llvm_intrinsic1(a->unit, "llvm.sqrt", x));
    case ALG_R_FLOOR:
        return wrap(llvm_intrinsic1(a->unit, "llvm.floor", x));
    case ALG_R_BITS:
        return wrap(bits_of(a, x));
    default: // ALG_R_FROM_BITS
        return wrap(from_bits(a, x));
    }
}

static aval alg_select(struct alg *alg, aval condition, aval yes, aval no) {
    struct llvm_alg *a = self(alg);
    int64_t decided;
    if (alg_known(alg, condition, &decided))
        return decided ? yes : no;
    LLVMValueRef c = condition.v, x = yes.v, y = no.v;
    if (x == y)
        return yes;
    match(a, &x, &y);
    if (llvm_is_vector(c)) {
        x = llvm_alg_vector(a, x);
        y = llvm_alg_vector(a, y);
    }
    return wrap(LLVMBuildSelect(a->unit->builder, c, x, y, ""));
}

// ---- loops -----------------------------------------------------------------------------------
//
// With scalar bounds a plain loop; its states are vectors from the start when lanes > 1, since what
// the body makes of them is not known before it is emitted. With a vector bound (one that depends
// on the key) each lane counts for itself and keeps its state once it is through:
//
//   i = begin, step = ...        lanes
//   while any(i < end):  state = select(i < end, body(i), state);  i += step
//
// Both end for whatever bounds a lazily skipped quantifier leaves: the step is at least 1, and the
// index saturates.

static bool any_vector(aval begin, aval end, aval step) {
    return llvm_is_vector(begin.v) || llvm_is_vector(end.v) || llvm_is_vector(step.v);
}

struct alg_loop_shape {
    LLVMBasicBlockRef before, head, body, after;
    LLVMValueRef index, end, step, active; // active: lanes still counting, or NULL
};

static LLVMValueRef add_phi(struct llvm_alg *a, LLVMValueRef initial, LLVMBasicBlockRef before) {
    LLVMValueRef phi = LLVMBuildPhi(a->unit->builder, LLVMTypeOf(initial), "");
    LLVMAddIncoming(phi, &initial, &before, 1);
    return phi;
}

static void open_loop(struct llvm_alg *a, struct alg_loop_shape *shape, LLVMValueRef begin,
                      bool vector, int count, LLVMValueRef *phis) {
    LLVMBuilderRef b = a->unit->builder;
    shape->before = LLVMGetInsertBlock(b);
    shape->head = llvm_new_block(a->unit, "each");
    shape->body = llvm_new_block(a->unit, "");
    shape->after = llvm_new_block(a->unit, "");
    LLVMBuildBr(b, shape->head);
    LLVMPositionBuilderAtEnd(b, shape->head);
    shape->index = add_phi(a, begin, shape->before);
    for (int i = 0; i < count; i++)
        phis[i] = add_phi(a, phis[i], shape->before);
    LLVMValueRef more = LLVMBuildICmp(b, LLVMIntSLT, shape->index, shape->end, "");
    shape->active = vector ? more : NULL;
    if (vector)
        more = llvm_intrinsic1(a->unit, "llvm.vector.reduce.or", more);
    LLVMBuildCondBr(b, more, shape->body, shape->after);
    LLVMPositionBuilderAtEnd(b, shape->body);
}

static void close_loop(struct llvm_alg *a, struct alg_loop_shape *shape, int count,
                       LLVMValueRef *phis, aval *state) {
    LLVMBuilderRef b = a->unit->builder;
    LLVMValueRef next = llvm_intrinsic2(a->unit, "llvm.sadd.sat", shape->index, shape->step);
    LLVMValueRef results[MAX_LOOP_STATES];
    for (int i = 0; i < count; i++) {
        LLVMValueRef value = state[i].v, old = phis[i];
        match(a, &value, &old);
        if (is_integer(value) && LLVMTypeOf(value) != LLVMTypeOf(phis[i]))
            value = LLVMBuildIntCast2(b, value, LLVMTypeOf(phis[i]), true, "");
        if (shape->active)
            value = LLVMBuildSelect(b, shape->active, value, phis[i], "");
        results[i] = value;
    }
    LLVMBasicBlockRef from = LLVMGetInsertBlock(b);
    LLVMAddIncoming(shape->index, &next, &from, 1);
    for (int i = 0; i < count; i++)
        LLVMAddIncoming(phis[i], &results[i], &from, 1);
    LLVMBuildBr(b, shape->head);
    LLVMPositionBuilderAtEnd(b, shape->after);
    for (int i = 0; i < count; i++)
        state[i] = wrap(phis[i]);
}

static void alg_loop(struct alg *alg, aval begin, aval end, aval step, int count, aval *state,
                     void (*body)(void *context, aval i, aval *state), void *context) {
    struct llvm_alg *a = self(alg);
    assert(count <= MAX_LOOP_STATES);
    bool vector = any_vector(begin, end, step);
    LLVMValueRef first = begin.v;
    struct alg_loop_shape shape = {.end = end.v};
    shape.step = a2(alg, ALG_I_MAX, step, alg_iconst(alg, 1)).v;
    match(a, &first, &shape.end);
    match(a, &first, &shape.step); // a wider or vector step widens the first,
    match(a, &first, &shape.end);  // and that the end
    LLVMValueRef phis[MAX_LOOP_STATES];
    for (int i = 0; i < count; i++)
        phis[i] = llvm_alg_vector(a, state[i].v);
    open_loop(a, &shape, first, vector, count, phis);
    for (int i = 0; i < count; i++)
        state[i] = wrap(phis[i]);
    body(context, wrap(shape.index), state);
    close_loop(a, &shape, count, phis, state);
}

void llvm_alg_init(struct llvm_alg *alg, struct llvm_unit *unit, int lanes, int index_bits,
                   int real_bits, bool saturate) {
    *alg = (struct llvm_alg){
        .alg = {.iconst = alg_iconst,
                .rconst = alg_rconst,
                .bconst = alg_bconst,
                .unary = alg_unary_op,
                .binary = alg_binary_op,
                .select = alg_select,
                .math = real_bits == 32 ? llvm_alg_float_math : NULL,
                .known = alg_known,
                .loop = alg_loop,
                .index_bits = index_bits},
        .unit = unit,
        .lanes = lanes,
        .saturate = saturate,
        .integer = index_bits == 64 ? unit->i64 : unit->i32,
        .real = real_bits == 64 ? unit->f64 : unit->f32,
    };
}
