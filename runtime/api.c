// The public functions of heddle.h that make patterns and plans.

#include "heddle.h"

#include "compiler/base/debug.h"
#include "compiler/base/status.h"
#include "compiler/program.h"
#include "runtime/api_check.h"
#include "runtime/api_objects.h"
#include "runtime/cuda/cuda_planner.h"
#include "runtime/cuda/cuda_replan.h"
#include "runtime/shipped.h"
#include "runtime/struct_take.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

// ---- patterns ---------------------------------------------------------------------------------

static enum heddle_status make_pattern(struct heddle_context *context, const char *path,
                                       const char *text, size_t length_bytes,
                                       const struct heddle_pattern_options *given,
                                       struct heddle_pattern **out_pattern) {
    struct heddle_pattern_options taken = {.struct_bytes = sizeof taken}, *options = &taken;
    if (!context || !path || !out_pattern)
        return api_bad_argument("heddle_pattern_load: a pointer is missing");
    *out_pattern = NULL;
    if (given && !struct_take(options, sizeof taken, given, sizeof taken))
        return api_bad_argument("heddle_pattern_load: struct_bytes is of no version known here");
    if (api_pattern_fault(options))
        return api_bad_argument(api_pattern_fault(options));
    struct check_options check = {.pattern = options->name,
                                  .const_count = options->const_count,
                                  .import_dirs = (const char *const *)context->import_dirs,
                                  .import_dir_count = context->import_dir_count};
    // The two structs are the same pair of texts.
    _Static_assert(sizeof(struct const_override) == sizeof(struct heddle_assignment), "a pair");
    check.consts = (const void *)options->consts;
    struct heddle_pattern *pattern = calloc(1, sizeof *pattern);
    struct error error = {0};
    if (!pattern)
        return api_no_memory();
    struct log_scope outer = log_enter(&context->log);
    struct stage stage = stage_begin("heddle_pattern_load");
    enum heddle_status status =
        program_create(path, text, length_bytes, &check, &pattern->program, &error);
    stage_end(&stage);
    log_leave(outer);
    if (status != HEDDLE_OK) {
        free(pattern);
        return api_fail(&error, status);
    }
    *out_pattern = pattern;
    return HEDDLE_OK;
}

enum heddle_status heddle_pattern_load(struct heddle_context *context, const char *path,
                                       const struct heddle_pattern_options *options,
                                       struct heddle_pattern **out_pattern) {
    char found[PATTERN_PATH_ROOM];
    if (path)
        shipped_find_pattern(path, found);
    return make_pattern(context, path ? found : NULL, NULL, 0, options, out_pattern);
}

enum heddle_status heddle_pattern_parse(struct heddle_context *context, const char *name,
                                        const char *text, size_t length_bytes,
                                        const struct heddle_pattern_options *options,
                                        struct heddle_pattern **out_pattern) {
    if (!text)
        return api_bad_argument("heddle_pattern_parse: no text");
    return make_pattern(context, name, text, length_bytes, options, out_pattern);
}

void heddle_pattern_destroy(struct heddle_pattern *pattern) {
    if (!pattern)
        return;
    program_destroy(pattern->program);
    free(pattern);
}

// ---- plans ------------------------------------------------------------------------------------

// Who makes the lists: see enum heddle_planner.
static enum heddle_status choose_planner(const struct heddle_context *context,
                                         const struct heddle_pattern *pattern,
                                         const struct heddle_problem *problem, bool *out_on_device,
                                         struct error *error) {
    bool on_gpu = context->target == HEDDLE_TARGET_CUDA, there = false;
    for (int i = 0; i < problem->input_count; i++)
        there |= problem->inputs[i].on_device != 0;
    *out_on_device = problem->planner == HEDDLE_PLANNER_DEVICE ||
                     (problem->planner == HEDDLE_PLANNER_AUTO && there &&
                      program_plans_on_gpus(pattern->program));
    if ((unsigned)problem->planner > HEDDLE_PLANNER_DEVICE)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "unknown planner %d", (int)problem->planner);
    if (!on_gpu && (there || *out_on_device))
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "inputs in a GPU's memory and HEDDLE_PLANNER_DEVICE are of CUDA targets");
    return HEDDLE_OK;
}

// HEDDLE_DEBUG=verify: lists that the GPU made are those that the host makes.
static enum heddle_status verify_lists(struct heddle_plan *plan, struct error *error) {
    bool same = true;
    if (!plan->gpu->planner || !(debug_words() & DEBUG_VERIFY))
        return HEDDLE_OK;
    struct stage stage = stage_begin("verify lists");
    enum heddle_status status = cuda_planner_compare(plan->gpu->planner, plan->plan, &same, error);
    stage_end(&stage);
    return status == HEDDLE_OK && !same ? HEDDLE_INTERNAL : status;
}

static enum heddle_status make_gpu_plan(struct heddle_context *context,
                                        struct heddle_pattern *pattern,
                                        const struct heddle_problem *problem,
                                        const struct plan_options *options,
                                        struct heddle_plan *plan, struct error *error) {
    struct cuda_problem fetched;
    enum heddle_status status = cuda_problem_fetch(&context->gpu, problem, &fetched, error);
    if (status == HEDDLE_OK)
        status = plan_create(pattern->program, &fetched.problem, options, &plan->plan, error);
    if (status == HEDDLE_OK)
        status = cuda_plan_create(&context->gpu, plan->plan, &plan->gpu, error);
    cuda_problem_finish(&fetched);
    return status == HEDDLE_OK ? verify_lists(plan, error) : status;
}

// With all that a run needs, so that heddle_run allocates nothing and starts no threads.
static enum heddle_status make_cpu_plan(struct heddle_context *context,
                                        struct heddle_pattern *pattern,
                                        const struct heddle_problem *problem,
                                        const struct plan_options *options,
                                        struct heddle_plan *plan, struct error *error) {
    enum heddle_status status = plan_create(pattern->program, problem, options, &plan->plan, error);
    if (status != HEDDLE_OK)
        return status;
    thread_pool_start(context->pool);
    int64_t bytes = run_scratch_bytes(plan->plan, thread_pool_threads(context->pool));
    return run_scratch_reserve(&plan->scratch, bytes, error);
}

static enum heddle_status make_plan(struct heddle_context *context, struct heddle_pattern *pattern,
                                    const struct heddle_problem *problem, struct heddle_plan *plan,
                                    struct error *error) {
    bool on_gpu = context->target == HEDDLE_TARGET_CUDA;
    struct plan_options options = {.basis = -1,
                                   .target = context->target,
                                   .tuned_on = problem->tuned ? context->machine.text : NULL};
    enum heddle_status status =
        choose_planner(context, pattern, problem, &options.on_device, error);
    if (status != HEDDLE_OK)
        return status;
    if (on_gpu && problem->dtype == HEDDLE_F32)
        return error_set(error, HEDDLE_LIMIT,
                         "%s: heddle's GPU kernels compute in bf16 and fp16; for fp32 make the "
                         "context with HEDDLE_TARGET_CPU",
                         context->device_name);
    if (on_gpu)
        return make_gpu_plan(context, pattern, problem, &options, plan, error);
    return make_cpu_plan(context, pattern, problem, &options, plan, error);
}

static void report_plan(const struct heddle_plan *plan) {
    const struct plan_counts *counts = &plan->plan->counts;
    log_line(HEDDLE_LOG_INFO, "planned %s in %.1f ms, its kernel in %.1f ms",
             plan->plan->program->pattern->name, plan->plan->plan_ms, plan->plan->compile_ms);
    if (counts->merged_lists)
        log_line(HEDDLE_LOG_WARNING,
                 "%lld of %lld lists have more runs than fit, and are masked tiles throughout",
                 (long long)counts->merged_lists, (long long)counts->lists);
}

enum heddle_status heddle_plan_create(struct heddle_context *context,
                                      struct heddle_pattern *pattern,
                                      const struct heddle_problem *given,
                                      struct heddle_plan **out_plan) {
    struct heddle_problem taken, *problem = &taken;
    if (!context || !pattern || !given || !out_plan)
        return api_bad_argument("heddle_plan_create: a pointer is missing");
    *out_plan = NULL;
    if (!struct_take(problem, sizeof taken, given, sizeof taken))
        return api_bad_argument("heddle_plan_create: struct_bytes is of no version known here");
    if (api_problem_fault(problem))
        return api_bad_argument(api_problem_fault(problem));
    struct heddle_plan *plan = calloc(1, sizeof *plan);
    struct error error = {0};
    if (!plan)
        return api_no_memory();
    plan->context = context;
    plan->scratch.grows = true;
    pthread_mutex_init(&plan->mutex, NULL);
    struct log_scope outer = log_enter(&context->log);
    struct stage stage = stage_begin("heddle_plan_create");
    enum heddle_status status = make_plan(context, pattern, problem, plan, &error);
    stage_end(&stage);
    if (status == HEDDLE_OK)
        report_plan(plan);
    log_leave(outer);
    if (status != HEDDLE_OK) {
        heddle_plan_destroy(plan);
        return api_fail(&error, status);
    }
    *out_plan = plan;
    return HEDDLE_OK;
}

void heddle_plan_destroy(struct heddle_plan *plan) {
    if (!plan)
        return;
    cuda_plan_destroy(plan->gpu);
    plan_destroy(plan->plan);
    run_scratch_finish(&plan->scratch);
    pthread_mutex_destroy(&plan->mutex);
    free(plan);
}

static int64_t workspace_bytes(const struct heddle_plan *plan) {
    if (plan->gpu)
        return cuda_workspace_bytes(plan->gpu);
    return run_scratch_bytes(plan->plan, thread_pool_threads(plan->context->pool));
}

void heddle_plan_info(const struct heddle_plan *plan, struct heddle_plan_info *out_info) {
    static const size_t first_info_bytes = offsetof(struct heddle_plan_info, workspace_bytes);
    const struct plan_counts *counts = &plan->plan->counts;
    const struct cache *cache = &plan->plan->program->cache;
    bool on_gpu = plan->gpu && plan->gpu->planner;
    const struct heddle_plan_info info = {
        .queries = plan->plan->queries,
        .keys = plan->plan->keys,
        .computed_pairs =
            on_gpu ? plan->gpu->planner->first.computed_pairs : counts->computed_pairs,
        .plan_bytes = counts->plan_bytes,
        .plan_ms = plan->plan->plan_ms,
        .compile_ms = plan->plan->compile_ms,
        .tuned = plan->plan->tuned,
        .workspace_bytes = workspace_bytes(plan),
        .cached = cache->found > 0 && cache->made == 0,
    };
    struct_give(out_info, &info, sizeof info, first_info_bytes);
}
