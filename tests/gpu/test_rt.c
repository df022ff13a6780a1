// libheddle-rt on the driver that is none: bundles plan and run on a GPU without a compiler.
#include "tests/gpu/fake_host.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void open_file(struct fake_host *host, const char *path) {
    *host = (struct fake_host){0};
    cr_assert_eq(fake_context(HEDDLE_TARGET_CUDA, &host->context), HEDDLE_OK, "%s",
                 heddle_last_error());
    cr_assert_eq(heddle_pattern_load(host->context, path, NULL, &host->pattern), HEDDLE_OK, "%s",
                 heddle_last_error());
    host->problem = (struct heddle_problem)HEDDLE_PROBLEM_INIT;
    host->problem.sizes[0] = 700;
    host->problem.heads = 4;
    host->problem.kv_heads = 2;
    host->problem.dtype = HEDDLE_BF16;
}

static void open_bundle(struct fake_host *host) {
    open_file(host, HEDDLE_TEST_BUNDLE);
}

static void check_run(struct fake_host *host) {
    int64_t before = fake_cuda_launches()->attention;
    const struct heddle_tensors tensors = fake_tensors(0);
    fake_host_plan(host);
    cr_assert_eq(heddle_run(host->plan, &tensors, NULL), HEDDLE_OK, "%s", heddle_last_error());
    cr_assert_eq(fake_cuda_launches()->attention, before + 1);
}

Test(rt, runs) {
    struct fake_host host;
    open_bundle(&host);
    check_run(&host);
    fake_host_close(&host);
}

Test(rt, other_dtype) {
    struct fake_host host;
    open_bundle(&host);
    host.problem.dtype = HEDDLE_F16;
    check_run(&host);
    fake_host_close(&host);
}

#if HEDDLE_TEST_PLANNER
Test(rt, plans_on_the_gpu) {
    struct fake_host host;
    open_bundle(&host);
    host.problem.planner = HEDDLE_PLANNER_DEVICE;
    check_run(&host);
    cr_assert_eq(heddle_replan(host.plan, NULL, 0, NULL), HEDDLE_OK, "%s", heddle_last_error());
    fake_host_close(&host);
}
#endif

#if HEDDLE_TEST_PLANNER
// The kernel that makes the means is the library's, not the bundle's.
Test(rt, pools) {
    struct fake_host host;
    open_file(&host, HEDDLE_TEST_POOLED_BUNDLE);
    check_run(&host);
    cr_assert_gt(fake_cuda_launches()->pool, 0);
    fake_host_close(&host);
}
#endif

static void check_missing(struct fake_host *host, const char *words) {
    cr_assert_eq(heddle_plan_create(host->context, host->pattern, &host->problem, &host->plan),
                 HEDDLE_NO_COMPILER, "%s", heddle_last_error());
    cr_assert_null(host->plan);
    cr_assert_not_null(strstr(heddle_last_error(), words), "%s", heddle_last_error());
    cr_assert_not_null(strstr(heddle_last_error(), "sm_90a: bf16 dim 64 in boxes of "), "%s",
                       heddle_last_error());
}

Test(rt, no_such_kernel) {
    struct fake_host host;
    open_bundle(&host);
    host.problem.dim = 96;
    check_missing(&host, "no code for bf16 dim 96");
    host.problem.dim = 64;
    host.problem.scale = -1.0; // takes a kernel that scales first
    check_missing(&host, "no code for bf16 dim 64");
    fake_host_close(&host);
}

Test(rt, no_texts) {
    static const char text[] = "pattern p { axes i; keep causal; }";
    struct fake_host host;
    open_bundle(&host);
    struct heddle_pattern *pattern;
    cr_assert_eq(
        heddle_pattern_load(host.context, HEDDLE_TEST_PATTERNS "/window.heddle", NULL, &pattern),
        HEDDLE_NO_COMPILER);
    cr_assert_not_null(strstr(heddle_last_error(), "libheddle-rt has no compiler"));
    cr_assert_null(pattern);
    cr_assert_eq(heddle_pattern_parse(host.context, "p", text, strlen(text), NULL, &pattern),
                 HEDDLE_NO_COMPILER);
    cr_assert_eq(heddle_pattern_load(host.context, "nothing.hbundle", NULL, &pattern),
                 HEDDLE_IO_ERROR);
    fake_host_close(&host);
}
