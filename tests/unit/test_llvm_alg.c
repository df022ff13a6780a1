// The LLVM algebra against the concrete one: every row of the operation table, its `point` and its
// `box`, on random arguments. One function per row and configuration is emitted, all are compiled
// together, and each result is compared with what the same meaning computes now.
#include "compiler/llvm/llvm_alg.h"
#include "dsl/expr.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 400, MAX_LANES = 16 };
typedef void call_fn(const int64_t *in, int64_t *out);

struct config {
    const char *name;
    int lanes, index_bits;
    bool saturate;
};
static const struct config configs[] = {
    {"scalar64", 1, 64, true},  {"vector64", 8, 64, false}, {"vector32", 16, 32, false},
    {"scalar32", 1, 32, false}, {"vector64s", 4, 64, true},
};
enum { CONFIGS = sizeof configs / sizeof *configs };

// ---- arguments ----------------------------------------------------------------------------------

static unsigned seed;

static int64_t random_bits(void) {
    return (int64_t)((uint64_t)(unsigned)rand_r(&seed) << 42 ^
                     (uint64_t)(unsigned)rand_r(&seed) << 21 ^ (uint64_t)(unsigned)rand_r(&seed));
}

// Small, medium and, in 64 bits, enormous; shift counts and divisors come up often enough.
static int64_t random_integer(int index_bits) {
    int64_t x = random_bits();
    switch (rand_r(&seed) % (index_bits == 32 ? 4 : 6)) {
    case 0:
        return x % 4;
    case 1:
        return x % 70;
    case 2:
        return x & 15;
    case 3:
        return x % 40000;
    case 4:
        return x % ((int64_t)1 << 40);
    default:
        return x;
    }
}

static double random_real(void) {
    double u = rand_r(&seed) / (double)RAND_MAX;
    switch (rand_r(&seed) % 5) {
    case 0:
        return floor(u * 9) - 4;
    case 1:
        return (u - 0.5) * 100;
    case 2:
        return u * 1e-3;
    case 3:
        return (u - 0.5) * 3000;
    default:
        return u;
    }
}

static aval random_value(char type, int index_bits) {
    aval value = {.i = 0};
    if (type == 'b')
        value.b = rand_r(&seed) & 1;
    else if (type == 'r')
        value.r = random_real();
    else
        value.i = random_integer(index_bits);
    return value;
}

static int64_t to_bits(char type, aval value) {
    int64_t bits = type == 'b' ? (int64_t)value.b : value.i;
    if (type == 'r')
        memcpy(&bits, &value.r, sizeof bits);
    return bits;
}

static char result_type(const struct op_info *info) {
    return strchr(info->signature, '>')[1];
}

static int arity_of(const struct op_info *info) {
    return (int)(strchr(info->signature, '>') - info->signature);
}

// ---- emission -----------------------------------------------------------------------------------

static LLVMValueRef begin_function(struct llvm_unit *unit, const char *name) {
    LLVMTypeRef params[] = {unit->ptr, unit->ptr};
    LLVMTypeRef type = LLVMFunctionType(unit->void_type, params, 2, false);
    LLVMValueRef function = LLVMAddFunction(unit->module, name, type);
    LLVMPositionBuilderAtEnd(unit->builder,
                             LLVMAppendBasicBlockInContext(unit->context, function, ""));
    return function;
}

// Argument `number`, `lanes` wide, of 64-bit cells.
static aval load_argument(struct llvm_alg *alg, LLVMValueRef in, int number, char type) {
    struct llvm_unit *unit = alg->unit;
    LLVMTypeRef cells = llvm_lanes_type(unit->i64, alg->lanes);
    LLVMValueRef at = llvm_element(unit, unit->i64, in, llvm_int(unit->i64, number * alg->lanes));
    LLVMValueRef x = LLVMBuildLoad2(unit->builder, cells, at, "");
    LLVMSetAlignment(x, 8);
    if (type == 'r')
        return (aval){
            .v = LLVMBuildBitCast(unit->builder, x, llvm_lanes_type(unit->f64, alg->lanes), "")};
    LLVMTypeRef element = type == 'b' ? unit->i1 : alg->integer;
    LLVMTypeRef to = llvm_lanes_type(element, alg->lanes);
    return (aval){.v = LLVMBuildIntCast2(unit->builder, x, to, true, "")};
}

static void store_result(struct llvm_alg *alg, LLVMValueRef out, int number, char type,
                         aval value) {
    struct llvm_unit *unit = alg->unit;
    LLVMTypeRef cells = llvm_lanes_type(unit->i64, alg->lanes);
    LLVMValueRef x = llvm_alg_vector(alg, value.v);
    x = type == 'r' ? LLVMBuildBitCast(unit->builder, x, cells, "")
                    : LLVMBuildIntCast2(unit->builder, x, cells, type == 'i', "");
    LLVMValueRef at = llvm_element(unit, unit->i64, out, llvm_int(unit->i64, number * alg->lanes));
    LLVMSetAlignment(LLVMBuildStore(unit->builder, x, at), 8);
}

static void emit_point(struct llvm_unit *unit, int op, int config) {
    char name[64];
    snprintf(name, sizeof name, "point_%d_%d", op, config);
    LLVMValueRef function = begin_function(unit, name);
    const struct config *c = &configs[config];
    const struct op_info *info = &op_table[op];
    struct llvm_alg alg;
    llvm_alg_init(&alg, unit, c->lanes, c->index_bits, 64, c->saturate);
    aval args[MAX_EXPR_ARGS];
    for (int i = 0; i < arity_of(info); i++)
        args[i] = load_argument(&alg, LLVMGetParam(function, 0), i, info->signature[i]);
    store_result(&alg, LLVMGetParam(function, 1), 0, result_type(info),
                 info->point(&alg.alg, args));
    LLVMBuildRetVoid(unit->builder);
}

// How an argument of a box meaning is given: an interval, one unknown value, or a constant.
enum given { INTERVAL, SINGLE, CONSTANT };
enum { BOX_VARIANTS = 5 };
static const enum given variants[BOX_VARIANTS][3] = {{INTERVAL, INTERVAL, INTERVAL},
                                                     {INTERVAL, SINGLE, SINGLE},
                                                     {INTERVAL, CONSTANT, CONSTANT},
                                                     {SINGLE, INTERVAL, SINGLE},
                                                     {CONSTANT, INTERVAL, INTERVAL}};

static aval constant_for(int op, int argument, char type) {
    aval value = {.i = 0};
    int64_t n = (op * 7 + argument * 3) % 9;
    if (type == 'b')
        value.b = n & 1;
    else if (type == 'r')
        value.r = (double)n + 0.5;
    else
        value.i = n + 1;
    return value;
}

static struct box constant_box(struct alg *alg, char type, aval value) {
    aval x = type == 'b'   ? a_bool(alg, value.b)
             : type == 'r' ? a_real(alg, value.r)
                           : a_int(alg, value.i);
    return (struct box){x, x, type == 'i' ? 0 : 1, type == 'i' ? value.i : 0};
}

static void emit_box(struct llvm_unit *unit, int op, int variant) {
    char name[64];
    snprintf(name, sizeof name, "box_%d_%d", op, variant);
    LLVMValueRef function = begin_function(unit, name);
    const struct op_info *info = &op_table[op];
    struct llvm_alg alg;
    llvm_alg_init(&alg, unit, 1, 64, 64, true);
    struct box args[MAX_EXPR_ARGS], result;
    for (int i = 0; i < arity_of(info); i++) {
        char type = info->signature[i];
        LLVMValueRef in = LLVMGetParam(function, 0);
        aval lo = load_argument(&alg, in, 2 * i, type);
        aval hi = load_argument(&alg, in, 2 * i + 1, type);
        args[i] = (struct box){lo, variants[variant][i] == SINGLE ? lo : hi, 1, 0};
        if (variants[variant][i] == CONSTANT)
            args[i] = constant_box(&alg.alg, type, constant_for(op, i, type));
    }
    info->box(&alg.alg, args, &result);
    LLVMValueRef out = LLVMGetParam(function, 1);
    store_result(&alg, out, 0, result_type(info), result.lo);
    store_result(&alg, out, 1, result_type(info), result.hi);
    LLVMBuildRetVoid(unit->builder);
}

static bool has_meanings(int op) {
    return op_table[op].point != NULL && op_table[op].box != NULL;
}

static struct llvm_unit *compile(void) {
    struct error error = {0};
    struct llvm_unit *unit;
    cr_assert_eq(llvm_unit_create(NULL, NULL, &unit, &error), HEDDLE_OK, "%s", error_text(&error));
    for (int op = 0; op < OP_COUNT_; op++) {
        if (!has_meanings(op))
            continue;
        for (int config = 0; config < CONFIGS; config++)
            emit_point(unit, op, config);
        for (int variant = 0; variant < BOX_VARIANTS; variant++)
            emit_box(unit, op, variant);
    }
    cr_assert_eq(llvm_unit_verify(unit, &error), HEDDLE_OK, "%s", error_text(&error));
    cr_assert_eq(llvm_unit_optimize(unit, &error), HEDDLE_OK, "%s", error_text(&error));
    cr_assert_eq(llvm_unit_jit(unit, &error), HEDDLE_OK, "%s", error_text(&error));
    return unit;
}

static call_fn *find(struct llvm_unit *unit, const char *kind, int op, int number) {
    char name[64];
    void *address;
    struct error error = {0};
    snprintf(name, sizeof name, "%s_%d_%d", kind, op, number);
    cr_assert_eq(llvm_unit_symbol(unit, name, &address, &error), HEDDLE_OK, "%s",
                 error_text(&error));
    call_fn *call;
    memcpy(&call, &address, sizeof call);
    return call;
}

// ---- comparison
// -----------------------------------------------------------------------------------

static bool same(char type, int64_t a, int64_t b) {
    double x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return a == b || (type == 'r' && ((isnan(x) && isnan(y)) || (x == 0 && y == 0)));
}

// Whether the concrete result holds in this configuration at all. Rows of reals work on 64-bit
// patterns inside, whatever the width of indices.
static bool comparable(const struct alg_concrete *alg, const struct op_info *info,
                       const struct config *config) {
    if (alg->zero_divisor || alg->bad_shift)
        return false;
    if (alg->overflow && !config->saturate)
        return false;
    return config->index_bits == 64 || !alg->past_32_bits || !strchr(info->signature, 'i');
}

static void check_point(struct llvm_unit *unit, int op, int config) {
    const struct config *c = &configs[config];
    const struct op_info *info = &op_table[op];
    call_fn *call = find(unit, "point", op, config);
    int arity = arity_of(info), compared = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t in[MAX_EXPR_ARGS * MAX_LANES], out[MAX_LANES], expected[MAX_LANES];
        bool valid[MAX_LANES];
        for (int lane = 0; lane < c->lanes; lane++) {
            aval args[MAX_EXPR_ARGS];
            for (int i = 0; i < arity; i++) {
                args[i] = random_value(info->signature[i], c->index_bits);
                in[i * c->lanes + lane] = to_bits(info->signature[i], args[i]);
            }
            struct alg_concrete concrete;
            alg_concrete_init(&concrete);
            expected[lane] = to_bits(result_type(info), info->point(&concrete.alg, args));
            valid[lane] = comparable(&concrete, info, c);
        }
        call(in, out);
        for (int lane = 0; lane < c->lanes; lane++) {
            compared += valid[lane];
            cr_assert(!valid[lane] || same(result_type(info), out[lane], expected[lane]),
                      "%s %s: lane %d of (%lld, %lld, %lld) is %lld, not %lld", info->name, c->name,
                      lane, (long long)in[lane], (long long)in[c->lanes + lane],
                      (long long)in[2 * c->lanes + lane], (long long)out[lane],
                      (long long)expected[lane]);
        }
    }
    cr_expect(compared > 30, "%s %s: hardly anything was compared", info->name, c->name);
}

static bool less(char type, aval a, aval b) {
    return type == 'b' ? a.b < b.b : type == 'r' ? a.r < b.r : a.i < b.i;
}

static void check_box(struct llvm_unit *unit, int op, int variant) {
    const struct op_info *info = &op_table[op];
    call_fn *call = find(unit, "box", op, variant);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t in[2 * MAX_EXPR_ARGS] = {0}, out[2];
        struct alg_concrete concrete;
        alg_concrete_init(&concrete);
        struct box args[MAX_EXPR_ARGS], result;
        bool distinct = true;
        for (int i = 0; i < arity_of(info); i++) {
            char type = info->signature[i];
            aval lo = random_value(type, 64), hi = random_value(type, 64);
            if (less(type, hi, lo)) {
                aval other = lo;
                lo = hi;
                hi = other;
            }
            in[2 * i] = to_bits(type, lo);
            in[2 * i + 1] = to_bits(type, hi);
            enum given given = variants[variant][i];
            // An interval that happens to be one value takes the concrete algebra another way.
            distinct = distinct && (given != INTERVAL || less(type, lo, hi));
            args[i] = (struct box){lo, given == SINGLE ? lo : hi, 1, 0};
            if (given == CONSTANT)
                args[i] = constant_box(&concrete.alg, type, constant_for(op, i, type));
        }
        if (!distinct)
            continue;
        info->box(&concrete.alg, args, &result);
        call(in, out);
        if (concrete.zero_divisor || concrete.bad_shift)
            continue;
        char type = result_type(info);
        cr_assert(
            same(type, out[0], to_bits(type, result.lo)) &&
                same(type, out[1], to_bits(type, result.hi)),
            "%s, variant %d: box of [%lld, %lld], [%lld, %lld], [%lld, %lld] is [%lld, %lld], "
            "not [%lld, %lld]",
            info->name, variant, (long long)in[0], (long long)in[1], (long long)in[2],
            (long long)in[3], (long long)in[4], (long long)in[5], (long long)out[0],
            (long long)out[1], (long long)to_bits(type, result.lo),
            (long long)to_bits(type, result.hi));
    }
}

Test(llvm_alg, every_row) {
    seed = 1;
    struct llvm_unit *unit = compile();
    for (int op = 0; op < OP_COUNT_; op++) {
        if (!has_meanings(op))
            continue;
        for (int config = 0; config < CONFIGS; config++)
            check_point(unit, op, config);
        for (int variant = 0; variant < BOX_VARIANTS; variant++)
            check_box(unit, op, variant);
    }
    llvm_unit_destroy(unit);
}
