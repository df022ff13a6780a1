// The algebra in which an operation's compiled meanings are written.
//
// A row of the operation table gives two meanings as C functions over this interface: `point` (the
// value for one query-key pair) and `box` (an interval for a box of pairs). The same function then
// serves two purposes, according to the algebra it is handed:
//
//   alg_concrete   computes with int64_t and double now: plan-time checks, tests, `explain`
//   LLVM (compiler/llvm/llvm_alg.h)  appends instructions: planner, masks, scores
//
// so what the planner proves and what the kernel does cannot drift apart. The reference does not
// come through here: it uses each row's `eval`, written separately.
//
// Values are scalars, or in the LLVM algebra vectors too; an operation on a scalar and a vector
// splats the scalar. Booleans are `b` (0 or 1) in the concrete algebra and i1 in LLVM.
#ifndef HEDDLE_DSL_ALG_H
#define HEDDLE_DSL_ALG_H

#include <stdbool.h>
#include <stdint.h>

typedef union aval {
    int64_t i;
    double r;
    bool b;
    void *v; // LLVMValueRef
} aval;

enum alg_unary {
    ALG_B_NOT,
    ALG_I_CLZ,  // leading zeros of the 64-bit (or index-width) pattern; width for 0
    ALG_I_TO_R, // exact or rounded to nearest
    ALG_R_TO_I, // towards zero; the caller keeps it in range
    ALG_R_NEG,
    ALG_R_ABS,
    ALG_R_SQRT, // IEEE
    ALG_R_FLOOR,
    ALG_R_BITS,      // bit pattern of a double as an integer
    ALG_R_FROM_BITS, // and back
    ALG_UNARY_COUNT
};

enum alg_binary {
    ALG_I_ADD,
    ALG_I_SUB,
    ALG_I_MUL,  // saturating in planner code, wrapping in masks (range proved at plan time)
    ALG_I_QUOT, // towards zero, divisor non-zero
    ALG_I_REM,  // sign of the dividend
    ALG_I_AND,
    ALG_I_OR,
    ALG_I_XOR,
    ALG_I_SHL, // count 0..width-1
    ALG_I_SHR, // arithmetic
    ALG_I_MIN,
    ALG_I_MAX,
    ALG_I_LT, // signed; give booleans
    ALG_I_LE,
    ALG_I_EQ,
    ALG_B_AND,
    ALG_B_OR,
    ALG_B_XOR,
    ALG_R_ADD, // IEEE, never contracted
    ALG_R_SUB,
    ALG_R_MUL,
    ALG_R_DIV,
    ALG_R_MIN, // a < b ? a : b
    ALG_R_MAX, // a > b ? a : b
    ALG_R_LT,  // ordered: false with NaN
    ALG_R_LE,
    ALG_R_EQ,
    ALG_BINARY_COUNT
};

// Transcendental functions. Predicates leave `math` NULL in their algebra and so use the one
// software routine of alg_math.c on every target; scores may install a faster approximation.
enum alg_math { ALG_EXP2, ALG_LOG2, ALG_EXP, ALG_LOG, ALG_TANH, ALG_MATH_COUNT };

struct alg {
    aval (*iconst)(struct alg *, int64_t);
    aval (*rconst)(struct alg *, double);
    aval (*bconst)(struct alg *, bool);
    aval (*unary)(struct alg *, enum alg_unary, aval);
    aval (*binary)(struct alg *, enum alg_binary, aval, aval);
    aval (*select)(struct alg *, aval condition, aval yes, aval no); // any kind of value
    aval (*math)(struct alg *, enum alg_math, aval);                 // or NULL
    // True when the value is known now to be this boolean/integer (always answerable in the
    // concrete algebra, only for constants in LLVM). Lets a meaning skip dead cases.
    bool (*known)(struct alg *, aval, int64_t *out_value);
    // for (i = begin; i < end; i += step) body(context, i, state): `state` holds count values
    // before, is updated by the body, and holds the results after. begin, end, step are scalars.
    void (*loop)(struct alg *, aval begin, aval end, aval step, int count, aval *state,
                 void (*body)(void *context, aval i, aval *state), void *context);
    int index_bits; // width of integers: 64, or 32 in masks whose ranges allow it
};

// The concrete algebra. Integer overflow saturates and sets `overflow`; a division by zero gives 0
// and sets `zero_divisor`; a shift count out of range sets `bad_shift`.
struct alg_concrete {
    struct alg alg;
    bool overflow, zero_divisor, bad_shift;
    bool past_32_bits; // some integer result left the range of int32_t
};

void alg_concrete_init(struct alg_concrete *alg);

// exp2, log2, ... by one software routine: + - * / and bit operations only (alg_math.c), or the
// algebra's own `math`.
aval alg_math(struct alg *alg, enum alg_math function, aval x);

// Shorthands, so that meanings read like formulas.
static inline aval a_int(struct alg *a, int64_t x) {
    return a->iconst(a, x);
}
static inline aval a_real(struct alg *a, double x) {
    return a->rconst(a, x);
}
static inline aval a_bool(struct alg *a, bool x) {
    return a->bconst(a, x);
}
static inline aval a1(struct alg *a, enum alg_unary op, aval x) {
    return a->unary(a, op, x);
}
static inline aval a2(struct alg *a, enum alg_binary op, aval x, aval y) {
    return a->binary(a, op, x, y);
}
static inline aval a_select(struct alg *a, aval c, aval x, aval y) {
    return a->select(a, c, x, y);
}

#endif
