// The CPU kernel against the plain double loop: random patterns, shapes, dtypes, layouts and lists.
// A failing case prints its seed; HEDDLE_TEST_SEED=<seed> runs that case alone.
#include "compiler/cpu/cpu_kernel.h"
#include "tests/kernel/kernel_patterns.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kernel { // compiled
    struct llvm_unit *unit;
    abi_attention_fn *run;
    int64_t scratch_bytes;
};

static struct kernel compile(const struct problem *p, const char *cpu, bool without_amx) {
    struct kernel kernel;
    struct error error = {0};
    void *address = NULL;
    struct cpu_kernel_spec spec = {p->pattern, p->dtype, p->dim, p->contiguous};
    enum heddle_status status = llvm_unit_create(cpu, NULL, &kernel.unit, &error);
    if (!status && without_amx)
        kernel.unit->has_amx_bf16 = false;
    if (!status)
        status = cpu_kernel_emit(kernel.unit, &spec, &kernel.scratch_bytes, &error);
    if (!status)
        status = llvm_unit_verify(kernel.unit, &error);
    if (!status)
        status = llvm_unit_optimize(kernel.unit, &error);
    if (!status)
        status = llvm_unit_jit(kernel.unit, &error);
    if (!status)
        status = llvm_unit_symbol(kernel.unit, "heddle_attention", &address, &error);
    cr_assert_eq(status, HEDDLE_OK, "%s", error_text(&error));
    memcpy(&kernel.run, &address, sizeof kernel.run);
    return kernel;
}

static void run(const struct kernel *kernel, struct problem *p) {
    size_t bytes = ((size_t)kernel->scratch_bytes + 63) / 64 * 64;
    char *scratch = aligned_alloc(64, bytes);
    memset(scratch, 0xff, bytes); // what is left over from another launch may be NaN
    int64_t half = p->items / 2;  // two calls, as two threads would make
    kernel->run(&p->launch, half, p->items, scratch);
    kernel->run(&p->launch, 0, half, scratch);
    free(scratch);
}

// ---- cases --------------------------------------------------------------------------------------

struct choice { // what a test fixes; 0 (or -1): drawn
    int dim, keep, score, dtype, lists;
    bool bad_values, without_amx;
    const char *cpu;
};
static const struct choice any = {.keep = -1, .score = -1, .dtype = -1, .lists = -1};

static void draw_shape(struct problem *p, int axes) {
    static const int64_t limits[] = {260, 20, 8};
    if (axes == 1) {
        p->size[0] = p->keys = 1 + problem_random(p, limits[0]);
        p->queries = problem_random(p, 3) ? p->keys : 1 + problem_random(p, 150);
    } else {
        p->keys = 1;
        for (int a = 0; a < axes; a++)
            p->keys *= p->size[a] = 1 + problem_random(p, limits[axes - 1]);
        int64_t slices = problem_random(p, 2) ? p->size[0] : 1 + problem_random(p, p->size[0]);
        p->queries = p->keys / p->size[0] * slices;
    }
    p->fused = axes > 1 && problem_random(p, 3) == 0;
    bool splits = problem_random(p, 4) == 0 && !p->fused && p->queries <= p->keys;
    p->dilation = splits ? 1 + problem_random(p, 3) : 1;
    if (p->dilation > p->size[axes - 1])
        p->dilation = 1;
}

static void draw(struct problem *p, struct arena *arena, const struct choice *choice) {
    static const int dims[] = {8, 16, 24, 32, 40, 64, 72, 80, 96, 100, 128, 255, 256};
    static const double scales[] = {0.125, 0.3, 1.0};
    int axes = 1 + (int)problem_random(p, 3);
    int keep = choice->keep >= 0 ? choice->keep : (int)problem_random(p, TEST_KEEPS);
    int score = choice->score >= 0 ? choice->score
                                   : (int)(problem_random(p, 2) * problem_random(p, TEST_SCORES));
    p->arena = arena;
    p->dtype = (enum heddle_dtype)(choice->dtype >= 0 ? choice->dtype : problem_random(p, 3));
    p->dim = choice->dim ? choice->dim : dims[problem_random(p, sizeof dims / sizeof *dims)];
    p->batches = 1 + problem_random(p, 2);
    p->kv_heads = 1 + problem_random(p, 2);
    p->heads = p->kv_heads * (1 + problem_random(p, 3));
    p->contiguous = problem_random(p, 4) != 0;
    p->lists = (enum list_mode)(choice->lists >= 0 ? choice->lists : problem_random(p, LIST_MODES));
    p->narrow = problem_random(p, 3) != 0;
    p->with_lse = problem_random(p, 4) != 0;
    p->scale = scales[problem_random(p, 3)] / (p->dim > 64 ? 4 : 1);
    draw_shape(p, axes);
    p->pattern = test_pattern(arena, axes, keep, score, p->dilation);
    test_arguments(p);
    problem_build(p, choice->bad_values);
}

static void describe(const struct problem *p, unsigned seed, char *out, size_t room) {
    snprintf(out, room,
             "seed %u: keep '%s'%s, %d axes (%d, %d, %d)%s, dilation %d, queries %d, dim %d%s, "
             "dtype %d, lists %d, %s, heads %d/%d, batches %d, tile %dx%dx%d",
             seed, p->pattern->name, p->pattern->score ? " with score" : "", p->pattern->axis_count,
             (int)p->size[0], (int)p->size[1], (int)p->size[2], p->fused ? " fused" : "",
             (int)p->dilation, (int)p->queries, p->dim, p->contiguous ? "" : " strided",
             (int)p->dtype, (int)p->lists, p->narrow ? "narrow" : "wide", (int)p->heads,
             (int)p->kv_heads, (int)p->batches, (int)p->launch.tile[0], (int)p->launch.tile[1],
             (int)p->launch.tile[2]);
}

static void check_case(unsigned seed, const struct choice *choice) {
    static const double tolerance[] = {3e-5, 2e-3, 2e-2};
    struct arena arena;
    arena_init(&arena, 0);
    struct problem p = {.seed = seed};
    draw(&p, &arena, choice);
    char text[512];
    describe(&p, seed, text, sizeof text);
    if (getenv("HEDDLE_TEST_VERBOSE"))
        fprintf(stderr, "%s\n", text);
    struct kernel kernel = compile(&p, choice->cpu, choice->without_amx);
    run(&kernel, &p);
    struct problem_result result = problem_check(&p);
    cr_expect(!result.wrong, "%s: %s (row %d)", text, result.wrong, (int)result.row);
    cr_expect(result.worst < tolerance[p.dtype], "%s: error %g in row %d", text, result.worst,
              (int)result.row);
    cr_expect(result.worst_lse < 1e-4, "%s: lse error %g", text, result.worst_lse);
    llvm_unit_destroy(kernel.unit);
    test_arguments_release(&p);
    problem_finish(&p);
    arena_finish(&arena);
}

static void check_cases(unsigned first, int count, const struct choice *choice) {
    const char *only = getenv("HEDDLE_TEST_SEED");
    if (only) {
        check_case((unsigned)strtoul(only, NULL, 10), choice);
        return;
    }
    for (int i = 0; i < count; i++)
        check_case(first + (unsigned)i, choice);
}

Test(cpu_kernel, random) {
    check_cases(1000, 100, &any);
}

Test(cpu_kernel, every_keep) {
    for (int keep = 0; keep < TEST_KEEPS; keep++) {
        struct choice choice = any;
        choice.keep = keep;
        check_cases(2000 + 10 * (unsigned)keep, 3, &choice);
    }
}

Test(cpu_kernel, every_score) {
    for (int score = 1; score < TEST_SCORES; score++) {
        struct choice choice = any;
        choice.score = score;
        check_cases(3000 + 10 * (unsigned)score, 3, &choice);
    }
}

Test(cpu_kernel, every_dim) {
    struct choice choice = any;
    for (choice.dim = 8; choice.dim <= 256; choice.dim += 8)
        check_cases(4000 + (unsigned)choice.dim, 1, &choice);
    for (choice.dim = 9; choice.dim <= 256; choice.dim += 19)
        check_cases(4000 + (unsigned)choice.dim, 1, &choice);
}

// How exact the outputs are, as a whole: rounding of inputs aside, what each dtype should give.
Test(cpu_kernel, precision) {
    static const double bounds[] = {5e-7, 4e-4, 3.5e-3};
    for (int dtype = 0; dtype < 3; dtype++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct problem p = {.seed = 9, .arena = &arena, .dtype = (enum heddle_dtype)dtype};
        p.dim = 64;
        p.batches = p.heads = p.kv_heads = p.dilation = 1;
        p.contiguous = p.narrow = p.with_lse = true;
        p.scale = 0.125;
        p.size[0] = p.queries = p.keys = 700;
        p.pattern = test_pattern(&arena, 1, 1, 0, 1);
        test_arguments(&p);
        problem_build(&p, false);
        struct kernel kernel = compile(&p, NULL, false);
        run(&kernel, &p);
        struct problem_result result = problem_check(&p);
        cr_log_info("dtype %d: relative error %.2g (rms), worst %.2g, of lse %.2g", dtype,
                    result.relative_rms, result.worst, result.worst_lse);
        cr_expect(result.relative_rms < bounds[dtype], "dtype %d: relative error %g", dtype,
                  result.relative_rms);
        llvm_unit_destroy(kernel.unit);
        test_arguments_release(&p);
        problem_finish(&p);
        arena_finish(&arena);
    }
}

// Dropped keys whose K or V is NaN or infinite leave no trace.
Test(cpu_kernel, bad_values) {
    struct choice choice = any;
    choice.bad_values = true;
    check_cases(5000, 40, &choice);
}

Test(cpu_kernel, avx2) {
    struct choice choice = any;
    choice.cpu = "x86-64-v3";
    choice.bad_values = true;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        check_cases(6000, 30, &choice);
}

Test(cpu_kernel, baseline) {
    struct choice choice = any;
    choice.cpu = "x86-64";
    choice.bad_values = true;
    check_cases(7000, 30, &choice);
}

static bool host_has_amx(void) {
    struct llvm_unit *unit;
    struct error error = {0};
    cr_assert_eq(llvm_unit_create(NULL, NULL, &unit, &error), HEDDLE_OK, "%s", error_text(&error));
    bool has_amx = unit->has_amx_bf16;
    llvm_unit_destroy(unit);
    return has_amx;
}

// Elsewhere than on hosts with tiles the other tests have multiplied bf16 without them.
Test(cpu_kernel, amx_and_without) {
    struct choice choice = any;
    choice.dtype = HEDDLE_BF16;
    choice.bad_values = true;
    if (!host_has_amx())
        return;
    check_cases(8000, 30, &choice);
    choice.bad_values = false;
    for (choice.dim = 8; choice.dim <= 256; choice.dim += 24)
        check_cases(8100 + (unsigned)choice.dim, 1, &choice);
    choice.dim = 0;
    choice.without_amx = true;
    check_cases(8400, 15, &choice);
}

// Compiles on every host; runs nothing.
Test(cpu_kernel, amx_assembly) {
    static const char features[] =
        "+avx2,+fma,+f16c,+avx512f,+avx512bw,+avx512dq,+avx512vl,"
        "+avx512bf16,+amx-tile,+amx-bf16";
    struct arena arena;
    arena_init(&arena, 0);
    struct cpu_kernel_spec spec = {test_pattern(&arena, 1, 1, 0, 1), HEDDLE_BF16, 100, true};
    struct llvm_unit *unit;
    struct error error = {0};
    struct strbuf text = {0};
    int64_t bytes;
    enum heddle_status status = llvm_unit_create("sapphirerapids", features, &unit, &error);
    if (!status)
        status = cpu_kernel_emit(unit, &spec, &bytes, &error);
    if (!status)
        status = llvm_unit_verify(unit, &error);
    if (!status)
        status = llvm_unit_optimize(unit, &error);
    if (!status)
        status = llvm_unit_assembly(unit, &text, &error);
    cr_assert_eq(status, HEDDLE_OK, "%s", error_text(&error));
    static const char *const expected[] = {"ldtilecfg", "tdpbf16ps", "tilerelease"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_expect(strstr(text.text, expected[i]) != NULL, "no %s", expected[i]);
    strbuf_finish(&text);
    llvm_unit_destroy(unit);
    arena_finish(&arena);
}
