// Selections through heddle.h on the CPU: run after run of one plan, layouts, NaN, and what a plan
// refuses.
#include "heddle.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TOKENS = 200, DIM = 16, HEADS = 2, NUMBERS = HEADS * TOKENS * DIM };

static const char TOP[] =
    "pattern p { axes i; param int n = 2; select c[head, blocks(i, 16)] as (h, b) = top(n) of x in "
    "0 .. b + 1 ranked by dot(mean(q, 16)[h, b], mean(k, 16)[h, x]); keep causal and k.i / 16 in "
    "c[head, q.i / 16]; }";

struct host {
    struct heddle_context *context;
    struct heddle_pattern *pattern;
    struct heddle_plan *plan;
};

static enum heddle_status plan_of(struct host *host, const char *text, int64_t n,
                                  enum heddle_target target) {
    struct heddle_context_options options = {
        .struct_bytes = sizeof options, .target = target, .threads = 2};
    struct heddle_param param = {.name = "n", .ints = &n, .count = 1};
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = TOKENS;
    problem.heads = HEADS;
    problem.dim = DIM;
    problem.params = &param;
    problem.param_count = 1;
    *host = (struct host){0};
    cr_assert_eq(heddle_context_create(&options, &host->context), HEDDLE_OK);
    cr_assert_eq(heddle_pattern_parse(host->context, "p", text, strlen(text), NULL, &host->pattern),
                 HEDDLE_OK, "%s", heddle_last_error());
    return heddle_plan_create(host->context, host->pattern, &problem, &host->plan);
}

static void close_host(struct host *host) {
    heddle_plan_destroy(host->plan);
    heddle_pattern_destroy(host->pattern);
    heddle_context_destroy(host->context);
}

static void fill(float *x, int count, unsigned seed) {
    for (int i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int)(seed >> 8 & 0xffff) / 32768.0f - 1.0f;
    }
}

// q has two heads, k and v have one; element d of a row at d * step.
static void run(struct host *host, const float *q, const float *k, const float *v, float *o,
                int64_t step) {
    int64_t row = DIM * step;
    struct heddle_tensors tensors = {
        .q = {(void *)(uintptr_t)q, {HEADS * TOKENS * row, TOKENS * row, row, step}},
        .k = {(void *)(uintptr_t)k, {TOKENS * row, TOKENS * row, row, step}},
        .v = {(void *)(uintptr_t)v, {TOKENS * row, TOKENS * row, row, step}},
        .o = {o, {NUMBERS, TOKENS * DIM, DIM, 1}}};
    cr_assert_eq(heddle_run(host->plan, &tensors, NULL), HEDDLE_OK, "%s", heddle_last_error());
}

static float q[NUMBERS], k[NUMBERS], v[NUMBERS], other[NUMBERS], o[NUMBERS], again[NUMBERS];

static void setup(void) {
    fill(q, NUMBERS, 1);
    fill(k, NUMBERS, 2);
    fill(v, NUMBERS, 3);
    fill(other, NUMBERS, 4);
}
TestSuite(selection, .init = setup);

Test(selection, a_run_depends_on_its_own_tensors_only) {
    struct host host;
    cr_assert_eq(plan_of(&host, TOP, 2, HEDDLE_TARGET_CPU), HEDDLE_OK, "%s", heddle_last_error());
    run(&host, q, k, v, o, 1);
    run(&host, other, k, v, again, 1);
    cr_expect(memcmp(o, again, sizeof o) != 0);
    run(&host, q, k, v, again, 1);
    cr_expect(memcmp(o, again, sizeof o) == 0);
    close_host(&host);
}

// Strides of the head dim take other code; selected is the same.
Test(selection, spread_rows) {
    static float wide[3][NUMBERS * 3];
    const float *given[] = {q, k, v};
    struct host host;
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < NUMBERS; i++)
            wide[t][i * 3] = given[t][i];
    cr_assert_eq(plan_of(&host, TOP, 2, HEDDLE_TARGET_CPU), HEDDLE_OK);
    run(&host, q, k, v, o, 1);
    run(&host, wide[0], wide[1], wide[2], again, 3);
    for (int i = 0; i < NUMBERS; i++)
        cr_assert_float_eq(o[i], again[i], 1e-4, "element %d: %g, %g", i, o[i], again[i]);
    close_host(&host);
}

// Block 3 of the keys is a NaN: later blocks leave it out, and know nothing of it.
Test(selection, nan_is_no_candidate) {
    struct host host;
    cr_assert_eq(plan_of(&host, TOP, 2, HEDDLE_TARGET_CPU), HEDDLE_OK);
    k[3 * 16 * DIM + 5] = NAN;
    run(&host, q, k, v, o, 1);
    for (int row = 0; row < TOKENS; row++)
        for (int d = 0; d < DIM; d++)
            cr_assert_not(isnan(o[row * DIM + d]), "row %d", row);
    close_host(&host);
}

Test(selection, as_many_as_there_are) {
    static const char all[] = "pattern p { axes i; param int n = 2; keep causal; require n > 0; }";
    struct host some, whole;
    cr_assert_eq(plan_of(&some, TOP, 1000000, HEDDLE_TARGET_CPU), HEDDLE_OK);
    cr_assert_eq(plan_of(&whole, all, 1, HEDDLE_TARGET_CPU), HEDDLE_OK);
    run(&some, q, k, v, o, 1);
    run(&whole, q, k, v, again, 1);
    for (int i = 0; i < NUMBERS; i++)
        cr_assert_float_eq(o[i], again[i], 1e-5);
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    heddle_plan_info(some.plan, &info);
    cr_expect_gt(info.computed_pairs, HEADS * TOKENS * TOKENS / 2);
    close_host(&some);
    close_host(&whole);
}

static void refused(const char *text, int64_t n, const char *words) {
    struct host host;
    cr_expect_neq(plan_of(&host, text, n, HEDDLE_TARGET_CPU), HEDDLE_OK);
    cr_expect_not_null(strstr(heddle_last_error(), words), "no \"%s\" in \"%s\"", words,
                       heddle_last_error());
    close_host(&host);
}

#define BEFORE "pattern p { axes i; param int n = 2; "
#define AFTER " keep causal and k.i in c[head]; }"

Test(selection, problems_without_a_value) {
    refused(BEFORE "select c[head] = top(n) of x in 0 .. size(i) / n ranked by real(x);" AFTER, 0,
            "a divisor that may be zero");
    refused(BEFORE
            "stage s[head, b in blocks(i, n)] = 1.0; select c[head] = top(1) of x in 0 .. 4 "
            "ranked by s[head, x];" AFTER,
            0, "the extent of an index has no value");
    refused(BEFORE
            "select d[head, blocks(i, 16)] = top(1) of x in 0 .. 4 ranked by real(x); select "
            "c[head] = top(1) of x in d[head, n] ranked by real(x);" AFTER,
            13, "a second index that may leave 0 .. 13");
    refused(BEFORE
            "stage s[head, a in 0 .. n, b in 0 .. n] = 1.0; select c[head] = top(1) of x in "
            "0 .. 4 ranked by s[head, x, x];" AFTER,
            1000000, "has over");
}

// Rows that do not exist are zeros, elements of a stage that do not exist are 0, a reduction over
// nothing is 0, and a list without candidates is empty.
Test(selection, what_does_not_exist) {
    static const char text[] = BEFORE
        "stage s[head, x in 0 .. 4] = dot(k[kv_head, x - 9], k[kv_head, 5]) + "
        "dot(q[head, size(i) + x], q[head, 1]); "
        "stage t[head] = s[head, 7] + s[head, -1] + (sum x in 5 .. 3 : 1.0) + "
        "(mean x in 5 .. 5 : 1.0); "
        "select c[head] = top(4) of x in 0 .. 4 where s[head, x] != 0.0 or t[head] != 0.0 "
        "ranked by 1.0;" AFTER;
    struct host host;
    cr_assert_eq(plan_of(&host, text, 2, HEDDLE_TARGET_CPU), HEDDLE_OK, "%s", heddle_last_error());
    run(&host, q, k, v, o, 1);
    for (int i = 0; i < NUMBERS; i++)
        cr_assert_eq(o[i], 0.0f);
    close_host(&host);
}
