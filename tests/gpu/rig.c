#include "tests/gpu/rig.h"

#include "runtime/launch.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFERENCE_PRODUCTS = 60000 * 64 };

static char patterns_folder[4096] = HEDDLE_TEST_PATTERNS;

void rig_set_patterns(const char *folder) {
    snprintf(patterns_folder, sizeof patterns_folder, "%s", folder);
}

bool verdict_fail(struct verdict *verdict, const char *format, ...) {
    va_list args;
    if (verdict->failed)
        return false;
    verdict->failed = true;
    va_start(args, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, args);
    va_end(args);
    return false;
}

// ---- tolerances ---------------------------------------------------------------------------------

// Of a row of o, |a - b| / |b| in the Euclidean norm, where rows that nearly cancel count as a
// tenth of the usual one. Both sides round the probabilities and the result to the dtype and sum in
// fp32 in orders of their own: each is within half of this of the exact row.
static double row_tolerance(enum heddle_dtype dtype) {
    return dtype == HEDDLE_F32 ? 4e-5 : dtype == HEDDLE_F16 ? 4e-3 : 2.4e-2;
}

// Of a log-sum-exp: sums of fp32, relative where it is above 1.
static const double lse_tolerance = 4e-4;

// ---- making -------------------------------------------------------------------------------------

static void find_shapes(struct rig *rig, struct random_source *random) {
    const struct heddle_problem *problem = &rig->problem->problem;
    int64_t queries = problem_queries(rig->problem), keys = problem_keys(rig->problem);
    rig->shapes = (struct shapes){
        .batch = problem->batch,
        .heads = {problem->heads, problem->kv_heads, problem->kv_heads, problem->heads},
        .tokens = {queries, keys, keys, queries},
        .dim = problem->dim,
        .dtype = problem->dtype,
    };
    for (int t = Q; t < O; t++) {
        rig->shapes.shared_heads[t] = random_in(random, 0, 7) == 0;
        rig->shapes.shared_batches[t] = random_in(random, 0, 7) == 0;
    }
}

static bool make_plans(struct rig *rig, const char *path, struct verdict *verdict) {
    const struct device_problem *p = rig->problem;
    struct check_options check = {.consts = (const void *)p->options.consts,
                                  .const_count = p->options.const_count};
    const struct plan_options options = {.basis = -1, .target = HEDDLE_TARGET_CPU};
    struct error error = {0};
    if (program_create(path, NULL, 0, &check, &rig->program, &error) != HEDDLE_OK ||
        plan_create(rig->program, &p->problem, &options, &rig->cpu, &error) != HEDDLE_OK) {
        verdict_fail(verdict, "the CPU's plan: %s", error_text(&error));
        error_finish(&error);
        return false;
    }
    if (heddle_pattern_load(rig->machine->context, path, &p->options, &rig->pattern) != HEDDLE_OK ||
        heddle_plan_create(rig->machine->context, rig->pattern, &p->problem, &rig->plan) !=
            HEDDLE_OK)
        return verdict_fail(verdict, "the plan: %s", heddle_last_error());
    return true;
}

static bool run_on_cpu(struct rig *rig, struct verdict *verdict) {
    const struct shapes *s = &rig->shapes;
    size_t bytes = (size_t)shapes_count(s, O) * (size_t)dtype_bytes(s->dtype);
    size_t rows = (size_t)(s->batch * s->heads[O] * s->tokens[O]);
    rig->expected = malloc(bytes);
    rig->first = malloc(bytes);
    rig->expected_lse = malloc(rows * sizeof(float));
    rig->first_lse = malloc(rows * sizeof(float));
    assert(rig->expected && rig->first && rig->expected_lse && rig->first_lse);
    const struct heddle_tensors tensors = {.q = {rig->numbers.of[Q], {0}},
                                           .k = {rig->numbers.of[K], {0}},
                                           .v = {rig->numbers.of[V], {0}},
                                           .o = {rig->expected, {0}},
                                           .lse = rig->expected_lse};
    struct error error = {0};
    if (plan_run_once(rig->cpu, &tensors, 0, &error) == HEDDLE_OK)
        return true;
    verdict_fail(verdict, "the CPU's run: %s", error_text(&error));
    error_finish(&error);
    return false;
}

bool rig_make(struct rig *rig, const struct machine *machine, const struct device_problem *problem,
              struct random_source *random, struct verdict *verdict) {
    char path[sizeof patterns_folder + 64];
    double loudness = random_in(random, 0, 2) ? 1 : 6;
    *rig = (struct rig){.machine = machine, .problem = problem};
    snprintf(path, sizeof path, "%s/%s.heddle", patterns_folder, problem->pattern);
    find_shapes(rig, random);
    numbers_make(&rig->numbers, &rig->shapes, loudness, random);
    return make_plans(rig, path, verdict) && run_on_cpu(rig, verdict);
}

void rig_free(struct rig *rig) {
    heddle_plan_destroy(rig->plan);
    heddle_pattern_destroy(rig->pattern);
    plan_destroy(rig->cpu);
    if (rig->program)
        program_destroy(rig->program);
    numbers_free(&rig->numbers);
    free(rig->expected);
    free(rig->expected_lse);
    free(rig->first);
    free(rig->first_lse);
}

// ---- judging ------------------------------------------------------------------------------------

static double row_norm(const struct shapes *s, const void *o, int64_t row) {
    double sum = 0;
    for (int64_t d = 0; d < s->dim; d++)
        sum += pow(dtype_load(s->dtype, o, row * s->dim + d), 2);
    return sqrt(sum);
}

static double row_distance(const struct shapes *s, const void *a, const void *b, int64_t row) {
    double sum = 0;
    for (int64_t d = 0; d < s->dim; d++)
        sum += pow(dtype_load(s->dtype, a, row * s->dim + d) -
                       dtype_load(s->dtype, b, row * s->dim + d),
                   2);
    return sqrt(sum);
}

static bool compare_lse(const struct rig *rig, const float *lse, int64_t row,
                        struct verdict *verdict) {
    double got = (double)lse[row], want = (double)rig->expected_lse[row];
    if (got == want || fabs(got - want) <= lse_tolerance * fmax(1, fabs(want)))
        return true;
    return verdict_fail(verdict, "lse of row %" PRId64 " is %.7g, on the CPU %.7g", row, got, want);
}

// Rows are numbered over batches, heads and queries. Rows without a key are 0 and -inf exactly.
static bool compare_with_cpu(const struct rig *rig, bool with_lse, struct verdict *verdict) {
    const struct shapes *s = &rig->shapes;
    int64_t rows = s->batch * s->heads[O] * s->tokens[O];
    double usual = 0;
    for (int64_t row = 0; row < rows; row++)
        usual += pow(row_norm(s, rig->expected, row), 2);
    usual = sqrt(usual / (double)rows);
    for (int64_t row = 0; row < rows; row++) {
        double off = row_distance(s, rig->first, rig->expected, row);
        double size = fmax(row_norm(s, rig->expected, row), 0.1 * usual);
        bool empty = rig->expected_lse[row] == -INFINITY;
        if (!(off <= (empty ? 0 : row_tolerance(s->dtype) * size)))
            return verdict_fail(verdict, "row %" PRId64 " of %" PRId64 " is off the CPU's by %.2e",
                                row, rows, off / (size > 0 ? size : 1));
        if (with_lse && !compare_lse(rig, rig->first_lse, row, verdict))
            return false;
    }
    return true;
}

// Sampled rows, from the memory that the run itself read and wrote.
static bool compare_with_reference(const struct rig *rig, const struct layout *layout,
                                   struct verdict *verdict) {
    struct heddle_tensors tensors = layout_tensors(layout, true);
    struct verify_result result;
    struct error error = {0};
    if (verify_tensors(rig->cpu, &tensors, REFERENCE_PRODUCTS, 7, &result, &error) != HEDDLE_OK) {
        verdict_fail(verdict, "the reference: %s", error_text(&error));
        error_finish(&error);
        return false;
    }
    if (result.passed)
        return true;
    return verdict_fail(
        verdict,
        "off the reference by %.2e (lse %.2e), batch %" PRId64 " head %" PRId64 " row %" PRId64,
        result.error, result.lse_error, result.worst_batch, result.worst_head, result.worst_row);
}

static bool same_bits(const struct rig *rig, const void *o, const float *lse, bool with_lse,
                      struct verdict *verdict) {
    const struct shapes *s = &rig->shapes;
    size_t row_bytes = (size_t)(s->dim * dtype_bytes(s->dtype));
    int64_t rows = s->batch * s->heads[O] * s->tokens[O];
    for (int64_t row = 0; row < rows; row++)
        if (memcmp((const char *)o + (size_t)row * row_bytes,
                   (const char *)rig->first + (size_t)row * row_bytes, row_bytes) != 0)
            return verdict_fail(verdict, "row %" PRId64 " has other bits than in the first run",
                                row);
    if (with_lse && memcmp(lse, rig->first_lse, (size_t)rows * sizeof *lse) != 0)
        return verdict_fail(verdict, "lse has other bits than in the first run");
    return true;
}

bool rig_queue_with(const struct rig *rig, const struct layout *layout,
                    const struct heddle_run_options *options, CUstream stream,
                    struct verdict *verdict) {
    struct heddle_tensors tensors = layout_tensors(layout, false);
    if (heddle_run_with(rig->plan, &tensors, options, stream) == HEDDLE_OK)
        return true;
    return verdict_fail(verdict, "heddle_run: %s", heddle_last_error());
}

bool rig_queue(const struct rig *rig, const struct layout *layout, CUstream stream,
               struct verdict *verdict) {
    return rig_queue_with(rig, layout, NULL, stream, verdict);
}

static bool judge(struct rig *rig, const struct layout *layout, void *o, float *lse,
                  struct verdict *verdict) {
    layout_results(layout, o, lse);
    if (rig->tried)
        return same_bits(rig, o, lse, layout->with_lse, verdict);
    // An lse that the first run was not asked for cannot be compared with later: it must have been.
    assert(layout->with_lse);
    rig->tried = true;
    memcpy(rig->first, o, (size_t)(shapes_count(&rig->shapes, O) * dtype_bytes(rig->shapes.dtype)));
    memcpy(rig->first_lse, lse,
           (size_t)(rig->shapes.batch * rig->shapes.heads[O] * rig->shapes.tokens[O]) *
               sizeof *lse);
    return compare_with_cpu(rig, true, verdict) && compare_with_reference(rig, layout, verdict);
}

bool rig_check(struct rig *rig, struct layout *layout, struct verdict *verdict) {
    const struct shapes *s = &rig->shapes;
    const char *fault = layout_fetch(layout, rig->machine);
    if (fault)
        return verdict_fail(verdict, "%s", fault);
    void *o = malloc((size_t)(shapes_count(s, O) * dtype_bytes(s->dtype)));
    float *lse = malloc((size_t)(s->batch * s->heads[O] * s->tokens[O]) * sizeof *lse);
    assert(o && lse);
    bool right = judge(rig, layout, o, lse, verdict);
    free(o);
    free(lse);
    return right;
}

bool rig_try(struct rig *rig, CUstream stream, struct random_source *random,
             struct verdict *verdict) {
    struct layout layout;
    char text[512];
    layout_random(&layout, rig->machine, &rig->shapes, random);
    layout.with_lse |= !rig->tried;
    layout_fill(&layout, rig->machine, &rig->numbers);
    bool right = rig_queue(rig, &layout, stream, verdict);
    machine_wait(rig->machine);
    right = right && rig_check(rig, &layout, verdict);
    if (!right) {
        layout_text(&layout, text, sizeof text);
        size_t used = strlen(verdict->text);
        snprintf(verdict->text + used, sizeof verdict->text - used, "\n    %s", text);
    }
    layout_free(&layout, rig->machine);
    return right;
}
