// The concrete algebra: computes at once, and remembers what went out of range.

#include "dsl/alg.h"

#include <math.h>
#include <string.h>

static struct alg_concrete *self(struct alg *alg) {
    return (struct alg_concrete *)alg;
}

static aval iconst(struct alg *alg, int64_t x) {
    (void)alg;
    return (aval){.i = x};
}
static aval rconst(struct alg *alg, double x) {
    (void)alg;
    return (aval){.r = x};
}
static aval from_bool(bool x) {
    aval value = {.i = 0};
    value.b = x;
    return value;
}
static aval bconst(struct alg *alg, bool x) {
    (void)alg;
    return from_bool(x);
}

// Records ranges that plans care about: the whole of a pattern must fit 64 bits, and a mask whose
// integers all fit 32 may use those.
static aval integer(struct alg *alg, int64_t x) {
    if (x < INT32_MIN || x > INT32_MAX)
        self(alg)->past_32_bits = true;
    return (aval){.i = x};
}
static aval saturated(struct alg *alg, bool over, int64_t x, bool negative) {
    if (!over)
        return integer(alg, x);
    self(alg)->overflow = true;
    return integer(alg, negative ? INT64_MIN : INT64_MAX);
}

static aval unary(struct alg *alg, enum alg_unary op, aval x) {
    aval out = {.i = 0};
    switch (op) {
    case ALG_B_NOT:
        return from_bool(!x.b);
    case ALG_I_CLZ:
        return (aval){.i = x.i ? __builtin_clzll((uint64_t)x.i) : 64};
    case ALG_I_TO_R:
        return (aval){.r = (double)x.i};
    case ALG_R_TO_I:
        if (!(fabs(x.r) < 0x1p63))
            return saturated(alg, true, 0, x.r < 0);
        return (aval){.i = (int64_t)x.r};
    case ALG_R_NEG:
        return (aval){.r = -x.r};
    case ALG_R_ABS:
        return (aval){.r = fabs(x.r)};
    case ALG_R_SQRT:
        return (aval){.r = sqrt(x.r)};
    case ALG_R_FLOOR:
        return (aval){.r = floor(x.r)};
    case ALG_R_BITS:
        memcpy(&out.i, &x.r, sizeof out.i);
        return out;
    case ALG_R_FROM_BITS:
        memcpy(&out.r, &x.i, sizeof out.r);
        return out;
    case ALG_UNARY_COUNT:
        break;
    }
    return out;
}

static aval quotient(struct alg *alg, int64_t x, int64_t y, bool rest) {
    if (y == 0) {
        self(alg)->zero_divisor = true;
        return (aval){.i = 0};
    }
    if (y == -1)
        return rest ? (aval){.i = 0}
                    : saturated(alg, x == INT64_MIN, x == INT64_MIN ? 0 : -x, false);
    return integer(alg, rest ? x % y : x / y);
}

static aval shift_left(struct alg *alg, int64_t x, int64_t count) {
    if (count < 0 || count > 63) {
        self(alg)->bad_shift = true;
        return (aval){.i = 0};
    }
    int64_t shifted = (int64_t)((uint64_t)x << count);
    return saturated(alg, shifted >> count != x, shifted, x < 0);
}
static aval shift_right(struct alg *alg, int64_t x, int64_t count) {
    if (count < 0 || count > 63) {
        self(alg)->bad_shift = true;
        return (aval){.i = 0};
    }
    return (aval){.i = x >> count};
}

static aval binary(struct alg *alg, enum alg_binary op, aval x, aval y) {
    int64_t i = 0;
    bool over;
    switch (op) {
    case ALG_I_ADD:
        over = __builtin_add_overflow(x.i, y.i, &i);
        return saturated(alg, over, i, x.i < 0);
    case ALG_I_SUB:
        over = __builtin_sub_overflow(x.i, y.i, &i);
        return saturated(alg, over, i, x.i < 0);
    case ALG_I_MUL:
        over = __builtin_mul_overflow(x.i, y.i, &i);
        return saturated(alg, over, i, (x.i < 0) != (y.i < 0));
    case ALG_I_QUOT:
        return quotient(alg, x.i, y.i, false);
    case ALG_I_REM:
        return quotient(alg, x.i, y.i, true);
    case ALG_I_AND:
        return integer(alg, x.i & y.i);
    case ALG_I_OR:
        return integer(alg, x.i | y.i);
    case ALG_I_XOR:
        return integer(alg, x.i ^ y.i);
    case ALG_I_SHL:
        return shift_left(alg, x.i, y.i);
    case ALG_I_SHR:
        return shift_right(alg, x.i, y.i);
    case ALG_I_MIN:
        return x.i < y.i ? x : y;
    case ALG_I_MAX:
        return x.i > y.i ? x : y;
    case ALG_I_LT:
        return from_bool(x.i < y.i);
    case ALG_I_LE:
        return from_bool(x.i <= y.i);
    case ALG_I_EQ:
        return from_bool(x.i == y.i);
    case ALG_B_AND:
        return from_bool(x.b && y.b);
    case ALG_B_OR:
        return from_bool(x.b || y.b);
    case ALG_B_XOR:
        return from_bool(x.b != y.b);
    case ALG_R_ADD:
        return (aval){.r = x.r + y.r};
    case ALG_R_SUB:
        return (aval){.r = x.r - y.r};
    case ALG_R_MUL:
        return (aval){.r = x.r * y.r};
    case ALG_R_DIV:
        return (aval){.r = x.r / y.r};
    case ALG_R_MIN:
        return x.r < y.r ? x : y;
    case ALG_R_MAX:
        return x.r > y.r ? x : y;
    case ALG_R_LT:
        return from_bool(x.r < y.r);
    case ALG_R_LE:
        return from_bool(x.r <= y.r);
    case ALG_R_EQ:
        return from_bool(x.r == y.r);
    case ALG_BINARY_COUNT:
        break;
    }
    return (aval){.i = 0};
}

static aval select_value(struct alg *alg, aval condition, aval yes, aval no) {
    (void)alg;
    return condition.b ? yes : no;
}

// Booleans are kept with their other bytes zero, so the integer member reads either kind.
static bool known(struct alg *alg, aval x, int64_t *out_value) {
    (void)alg;
    *out_value = x.i;
    return true;
}

static void loop(struct alg *alg, aval begin, aval end, aval step, int count, aval *state,
                 void (*body)(void *context, aval i, aval *state), void *context) {
    (void)alg;
    (void)count;
    for (int64_t i = begin.i; i<end.i; i += step.i> 0 ? step.i : 1)
        body(context, (aval){.i = i}, state);
}

void alg_concrete_init(struct alg_concrete *concrete) {
    memset(concrete, 0, sizeof *concrete);
    concrete->alg = (struct alg){.iconst = iconst,
                                 .rconst = rconst,
                                 .bconst = bconst,
                                 .unary = unary,
                                 .binary = binary,
                                 .select = select_value,
                                 .known = known,
                                 .loop = loop,
                                 .index_bits = 64};
}
