// The float transcendental functions against libm in double, over random and special arguments.
#include "compiler/llvm/llvm_alg_math.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FAST_EXP2 = ALG_MATH_COUNT, FUNCTIONS, LANES = 16 };
typedef void apply_fn(const float *x, float *y);

// void f<n>(const float *x, float *y): sixteen values at once.
static void emit_function(struct llvm_unit *unit, int number) {
    LLVMTypeRef params[] = {unit->ptr, unit->ptr};
    char name[8] = {'f', (char)('0' + number)};
    LLVMValueRef function =
        LLVMAddFunction(unit->module, name, LLVMFunctionType(unit->void_type, params, 2, false));
    LLVMPositionBuilderAtEnd(unit->builder,
                             LLVMAppendBasicBlockInContext(unit->context, function, ""));
    LLVMTypeRef vector = LLVMVectorType(unit->f32, LANES);
    LLVMValueRef x = LLVMBuildLoad2(unit->builder, vector, LLVMGetParam(function, 0), "");
    LLVMSetAlignment(x, 4);
    struct llvm_alg alg;
    llvm_alg_init(&alg, unit, LANES, 32, 32, false);
    LLVMValueRef y = number == FAST_EXP2
                         ? llvm_fast_exp2(unit, x, 5)
                         : alg.alg.math(&alg.alg, (enum alg_math)number, (aval){.v = x}).v;
    LLVMSetAlignment(LLVMBuildStore(unit->builder, y, LLVMGetParam(function, 1)), 4);
    LLVMBuildRetVoid(unit->builder);
}

static double reference(int number, double x) {
    switch (number) {
    case ALG_LOG2:
        return log2(x);
    case ALG_EXP:
        return exp(x);
    case ALG_LOG:
        return log(x);
    case ALG_TANH:
        return tanh(x);
    default:
        return exp2(x);
    }
}

static float argument(int number, unsigned *seed) {
    double u = rand_r(seed) / (double)RAND_MAX;
    if (number == FAST_EXP2)
        return (float)(-u * u * 126);
    if (number == ALG_LOG || number == ALG_LOG2)
        return (float)(rand_r(seed) % 3 ? exp2(u * 250 - 124) : 0.5 + u);
    if (number == ALG_TANH)
        return (float)((u - 0.5) * 20 * u);
    return (float)((u - 0.5) * (number == ALG_EXP ? 170 : 250));
}

static void check_values(int number, apply_fn *apply) {
    unsigned seed = 1;
    double worst = 0, at = 0;
    for (int round = 0; round < 20000; round++) {
        float x[LANES], y[LANES];
        for (int i = 0; i < LANES; i++)
            x[i] = argument(number, &seed);
        apply(x, y);
        for (int i = 0; i < LANES; i++) {
            double exact = reference(number, x[i]);
            double error = fabs(y[i] - exact) / fmax(fabs(exact), 1e-37);
            if (!(error <= worst))
                worst = error, at = x[i];
        }
    }
    cr_log_info("function %d: worst relative error %.2g at %g", number, worst, at);
    cr_expect(worst < 4e-7, "function %d: relative error %g at %.9g", number, worst, at);
}

static bool same(float a, float b) {
    return (isnan(a) && isnan(b)) || a == b;
}

static void check_edges(int number, apply_fn *apply) {
    float x[LANES] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 1, -200, 1e-40f}, y[LANES];
    if (number != FAST_EXP2)
        x[8] = 1e30f, x[9] = -1e30f;
    else
        x[1] = 0;
    apply(x, y);
    for (int i = 0; i < 10; i++) {
        if (x[i] == 1 || (fabsf(x[i]) < 1 && x[i] != 0))
            continue;
        float exact = (float)reference(number, x[i]);
        if (number == FAST_EXP2 && x[i] == 0)
            cr_expect_float_eq(y[i], 1, 2e-7);
        else if (isfinite(exact) && exact != 0)
            cr_expect_float_eq(y[i], exact, fabsf(exact) * 4e-7f);
        else
            cr_expect(same(y[i], exact), "function %d of %g is %g, not %g", number, x[i], y[i],
                      exact);
    }
}

static void check_target(const char *cpu) {
    struct error error = {0};
    struct llvm_unit *unit;
    cr_assert_eq(llvm_unit_create(cpu, NULL, &unit, &error), HEDDLE_OK, "%s", error_text(&error));
    for (int i = 0; i < FUNCTIONS; i++)
        emit_function(unit, i);
    cr_assert_eq(llvm_unit_verify(unit, &error), HEDDLE_OK, "%s", error_text(&error));
    cr_assert_eq(llvm_unit_optimize(unit, &error), HEDDLE_OK, "%s", error_text(&error));
    cr_assert_eq(llvm_unit_jit(unit, &error), HEDDLE_OK, "%s", error_text(&error));
    for (int i = 0; i < FUNCTIONS; i++) {
        char name[8] = {'f', (char)('0' + i)};
        void *address;
        cr_assert_eq(llvm_unit_symbol(unit, name, &address, &error), HEDDLE_OK, "%s",
                     error_text(&error));
        apply_fn *apply;
        memcpy(&apply, &address, sizeof apply);
        check_values(i, apply);
        check_edges(i, apply);
    }
    llvm_unit_destroy(unit);
}

Test(llvm_alg_math, host) {
    check_target(NULL);
}

Test(llvm_alg_math, avx2) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return;
    check_target("x86-64-v3");
}

Test(llvm_alg_math, baseline) {
    check_target("x86-64");
}
