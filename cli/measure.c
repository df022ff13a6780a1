#include "cli/measure.h"

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "runtime/cpu_device.h"
#include "runtime/launch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

// Partial tiles are tested pair by pair up to this many pairs; beyond, kept pairs are an estimate.
static const int64_t kept_budget_pairs = (int64_t)1 << 26;

enum { MAX_THREADS = 4096 };

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct timing timing_of(double *ms, int64_t runs) {
    qsort(ms, (size_t)runs, sizeof *ms, by_value);
    return (struct timing){.median_ms = (ms[(runs - 1) / 2] + ms[runs / 2]) / 2,
                           .least_ms = ms[0],
                           .most_ms = ms[runs - 1],
                           .runs = runs};
}

int thread_count(int64_t given) {
    return given > MAX_THREADS ? MAX_THREADS : (int)given;
}

static enum heddle_status run_all(struct plan *plan, const struct tensors *tensors,
                                  struct thread_pool *pool, int64_t untimed, int64_t repeats,
                                  double *out_ms, struct error *error) {
    struct run_scratch scratch = {.grows = true};
    enum heddle_status status = HEDDLE_OK;
    struct progress progress;
    thread_pool_start(pool);
    progress_begin(&progress, "running", untimed + repeats > 1 ? untimed + repeats : 0);
    for (int64_t i = -untimed; i < repeats && status == HEDDLE_OK; i++) {
        double begin = now_ms();
        status = plan_run(plan, &tensors->run, pool, &scratch, error);
        if (i >= 0)
            out_ms[i] = now_ms() - begin;
        progress_step(&progress, untimed + i + 1);
    }
    progress_end(&progress);
    run_scratch_finish(&scratch);
    return status;
}

int measure(struct plan *plan, const struct tensors *tensors, int threads, int64_t untimed,
            int64_t repeats, struct timing *out) {
    double *ms = calloc((size_t)repeats, sizeof *ms);
    if (!ms) {
        complain("no memory for %" PRId64 " timings", repeats);
        return EXIT_DEVICE;
    }
    struct error error = {0};
    struct thread_pool *pool;
    enum heddle_status status = thread_pool_create(threads, &pool, &error);
    if (status == HEDDLE_OK)
        status = run_all(plan, tensors, pool, untimed, repeats, ms, &error);
    thread_pool_destroy(pool);
    *out = timing_of(ms, repeats);
    free(ms);
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}

// From text to kernel: everything but the plan.
static double compile_ms(const struct plan *plan) {
    const struct program *program = plan->program;
    return program->front_ms + program->compile_ms + plan->compile_ms;
}

static bool from_cache(const struct plan *plan) {
    const struct cache *cache = &plan->program->cache;
    return cache->found > 0 && cache->made == 0;
}

struct figures figures_of(const struct plan *plan, const struct timing *timing) {
    struct figures figures = {.timing = *timing};
    figures.pairs = plan->batch * plan->heads * plan->queries * plan->keys;
    figures.kept_pairs = plan_kept_pairs(plan, kept_budget_pairs, &figures.kept_exact);
    figures.computed_pairs = plan->counts.computed_pairs;
    double per_pair = 4 * (double)plan->dim / (timing->median_ms * 1e9);
    figures.tflops_useful = per_pair * (double)figures.kept_pairs;
    figures.tflops_computed = per_pair * (double)figures.computed_pairs;
    return figures;
}

struct bytes_text bytes_text(int64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 3; unit++)
        value /= 1024;
    struct bytes_text text;
    snprintf(text.text, sizeof text.text, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

struct shape_text shape_text(const int64_t *extents, int axes) {
    struct shape_text shape = {""};
    size_t used = 0, room = sizeof shape.text;
    for (int i = ABI_AXES - axes; i < ABI_AXES && used < room; i++)
        used += (size_t)snprintf(shape.text + used, room - used, "%s%" PRId64, used ? " x " : "",
                                 extents[i]);
    return shape;
}

void report_problem_text(const struct problem *problem, const struct plan *plan) {
    char axes[512];
    problem_axes_text(problem, axes, sizeof axes);
    printf("pattern      %s, %s\n", problem->program->pattern->name, axes);
    printf("shape        batch %" PRId64 ", heads %" PRId64 " over %" PRId64 ", queries %" PRId64
           ", keys %" PRId64 ", dim %" PRId64 ", %s\n",
           plan->batch, plan->heads, plan->kv_heads, plan->queries, plan->keys, plan->dim,
           dtype_name(plan->dtype));
}

static bool on_gpu(const struct problem *problem) {
    return problem->target && problem->target->kind == HEDDLE_TARGET_CUDA;
}

void report_target_text(const struct problem *problem) {
    struct cpu_device cpu;
    if (on_gpu(problem) && problem->target->assumed) {
        printf("target       cuda: %s assumed, as no GPU of that kind is here\n",
               problem->target->device.name);
        return;
    }
    if (on_gpu(problem)) {
        const struct cuda_device *gpu = &problem->target->device;
        printf("target       cuda: %s, %d multiprocessors, driver for CUDA %d.%d\n", gpu->name,
               gpu->processors, gpu->driver / 1000, gpu->driver % 1000 / 10);
        return;
    }
    cpu_device_query(&cpu);
    printf("target       cpu: %s, %d threads\n", cpu.name, cpu.threads);
}

void report_target_json(struct json *json, const struct problem *problem) {
    struct cpu_device cpu;
    if (!on_gpu(problem))
        cpu_device_query(&cpu);
    json_text(json, "target", on_gpu(problem) ? "cuda" : "cpu");
    json_text(json, "device", on_gpu(problem) ? problem->target->device.name : cpu.name);
}

double report_plan_ms(const struct plan *plan) {
    return plan->options.on_device ? plan->device_plan_ms : plan->plan_ms;
}

void report_plan_text(const struct plan *plan) {
    if (plan->options.on_device)
        printf("plan         %.4g ms on the GPU, %s; room for %d runs a list", plan->device_plan_ms,
               bytes_text(plan->device_plan_bytes).text, plan->limits.runs);
    else
        printf("plan         %.4g ms, %s", plan->plan_ms, bytes_text(plan->counts.plan_bytes).text);
}

void report_tuned_text(const struct plan *plan) {
    if (plan->tuned)
        puts("tuned        boxes that `run --tune` measured to be best (--untuned: as predicted)");
}

void report_plan_json(struct json *json, const struct plan *plan) {
    bool there = plan->options.on_device;
    json_text(json, "planner", there ? "device" : "host");
    json_real(json, "plan_ms", report_plan_ms(plan));
    json_real(json, "host_plan_ms", plan->plan_ms);
    json_int(json, "plan_bytes", there ? plan->device_plan_bytes : plan->counts.plan_bytes);
    json_int(json, "run_room", plan->limits.runs);
    json_int(json, "merged_lists", plan->counts.merged_lists);
    json_bool(json, "tuned", plan->tuned);
}

void report_text(const struct problem *problem, const struct plan *plan,
                 const struct figures *figures) {
    const struct timing *timing = &figures->timing;
    report_problem_text(problem, plan);
    report_target_text(problem);
    printf("density      %s%.4g %% of the pairs kept, %.4g %% computed\n",
           figures->kept_exact ? "" : "about ",
           100 * (double)figures->kept_pairs / (double)figures->pairs,
           100 * (double)figures->computed_pairs / (double)figures->pairs);
    printf("time         %.4g ms", timing->median_ms);
    if (timing->runs > 1)
        printf(" (median of %" PRId64 ", %.4g to %.4g)", timing->runs, timing->least_ms,
               timing->most_ms);
    printf("\nTFLOP/s      %.4g useful, %.4g computed\n", figures->tflops_useful,
           figures->tflops_computed);
    report_plan_text(plan);
    printf("; compiled in %.4g ms%s\n", compile_ms(plan),
           from_cache(plan) ? " (code out of the cache)" : "");
    report_tuned_text(plan);
}

// Those that were given, in the order given.
static void report_params_json(struct json *json, const struct heddle_problem *spec) {
    json_begin(json, "params", '{');
    for (int i = 0; i < spec->param_count; i++) {
        const struct heddle_param *param = &spec->params[i];
        if (param->count > 1 && param->ints)
            json_ints(json, param->name, param->ints, param->count);
        else if (param->count > 1)
            json_reals(json, param->name, param->reals, param->count);
        else if (param->ints)
            json_int(json, param->name, *param->ints);
        else
            json_real(json, param->name, *param->reals);
    }
    json_end(json, '{');
}

void report_problem_json(struct json *json, const struct problem *problem,
                         const struct plan *plan) {
    const struct pattern *pattern = problem->program->pattern;
    json_text(json, "pattern", pattern->name);
    json_ints(json, "axes", problem->spec.sizes, pattern->axis_count);
    json_int(json, "batch", plan->batch);
    json_int(json, "heads", plan->heads);
    json_int(json, "kv_heads", plan->kv_heads);
    json_int(json, "queries", plan->queries);
    json_int(json, "keys", plan->keys);
    json_int(json, "dim", plan->dim);
    json_text(json, "dtype", dtype_name(plan->dtype));
    report_params_json(json, &problem->spec);
}

void report_json(struct json *json, const struct problem *problem, const struct plan *plan,
                 const struct figures *figures) {
    report_problem_json(json, problem, plan);
    report_target_json(json, problem);
    json_int(json, "kept_pairs", figures->kept_pairs);
    json_bool(json, "kept_exact", figures->kept_exact);
    json_int(json, "computed_pairs", figures->computed_pairs);
    json_real(json, "density", (double)figures->kept_pairs / (double)figures->pairs);
    json_real(json, "ms", figures->timing.median_ms);
    json_real(json, "ms_least", figures->timing.least_ms);
    json_real(json, "ms_most", figures->timing.most_ms);
    json_int(json, "repeats", figures->timing.runs);
    json_real(json, "tflops_useful", figures->tflops_useful);
    json_real(json, "tflops_computed", figures->tflops_computed);
    report_plan_json(json, plan);
    json_real(json, "compile_ms", compile_ms(plan));
    json_bool(json, "cached", from_cache(plan));
    json_int(json, "code_made", plan->program->cache.made);
    json_int(json, "code_found", plan->program->cache.found);
}
