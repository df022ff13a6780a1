// The public functions of heddle.h, over programs and plans.

#include "heddle.h"

#include "compiler/base/status.h"
#include "compiler/program.h"
#include "heddle_config.h"
#include "runtime/api_check.h"
#include "runtime/cpu_device.h"
#include "runtime/cuda/cuda_launch.h"
#include "runtime/cuda/cuda_planner.h"
#include "runtime/cuda/cuda_replan.h"
#include "runtime/launch.h"
#include "runtime/plan.h"
#include "runtime/shipped.h"
#include "runtime/struct_take.h"
#include "runtime/threads.h"
#include "runtime/tuned.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct heddle_context {
    int threads;
    enum heddle_target target; // CPU or CUDA
    struct cuda_device gpu;    // zeroed on the CPU
    char device_name[128];
    struct tuned_machine machine;
    char **import_dirs;
    int import_dir_count;
};

struct heddle_pattern {
    struct program *program;
};

struct heddle_plan {
    struct plan *plan;
    struct cuda_plan *gpu; // NULL on the CPU
    int threads;
};

// ---- errors -----------------------------------------------------------------------------------

// The message of each thread's last failure: the one thing that outlives a call.
static _Thread_local char last_error[16384] = "no error";

static enum heddle_status fail(struct error *error, enum heddle_status status) {
    if (status != HEDDLE_OK)
        snprintf(last_error, sizeof last_error, "%s", error_text(error));
    error_finish(error);
    return status;
}

static enum heddle_status bad_argument(const char *what) {
    snprintf(last_error, sizeof last_error, "%s", what);
    return HEDDLE_BAD_ARGUMENT;
}

static enum heddle_status no_memory(void) {
    snprintf(last_error, sizeof last_error, "out of memory");
    return HEDDLE_OUT_OF_MEMORY;
}

const char *heddle_last_error(void) {
    return last_error;
}

const char *heddle_status_name(enum heddle_status status) {
    static const char *const names[] = {
        "ok",        "bad argument", "pattern error",  "limit exceeded", "out of memory",
        "I/O error", "device error", "internal error", "no compiler"};
    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown status";
}

const char *heddle_version(void) {
    return HEDDLE_VERSION;
}

// ---- context ----------------------------------------------------------------------------------

// The caller's folders, then that of the shipped patterns.
static bool set_import_dirs(struct heddle_context *context,
                            const struct heddle_context_options *options) {
    char shipped[4096];
    bool found = shipped_patterns_dir(shipped, sizeof shipped);
    int count = options->import_dir_count + found;
    context->import_dirs = calloc((size_t)count + 1, sizeof(char *));
    for (int i = 0; context->import_dirs && i < count; i++) {
        const char *dir = i < options->import_dir_count ? options->import_dirs[i] : shipped;
        context->import_dirs[i] = strdup(dir);
        if (!context->import_dirs[i])
            return false;
        context->import_dir_count++;
    }
    return context->import_dirs != NULL;
}

// AUTO: a GPU that cannot be had is no failure.
static enum heddle_status open_target(struct heddle_context *context, enum heddle_target wanted,
                                      struct error *error) {
    struct cpu_device cpu;
    enum heddle_status status = HEDDLE_OK;
    context->target = HEDDLE_TARGET_CPU;
    if (wanted != HEDDLE_TARGET_CPU)
        status = cuda_device_open(&context->gpu, error);
    if (wanted != HEDDLE_TARGET_CPU && status == HEDDLE_OK)
        context->target = HEDDLE_TARGET_CUDA;
    if (context->target == HEDDLE_TARGET_CPU)
        cpu_device_query(&cpu);
    snprintf(context->device_name, sizeof context->device_name, "%s",
             context->target == HEDDLE_TARGET_CUDA ? context->gpu.name : cpu.name);
    return wanted == HEDDLE_TARGET_CUDA ? status : HEDDLE_OK;
}

enum heddle_status heddle_context_create(const struct heddle_context_options *given,
                                         struct heddle_context **out_context) {
    struct heddle_context_options taken = {.struct_bytes = sizeof taken}, *options = &taken;
    if (!out_context)
        return bad_argument("heddle_context_create: no place for the context");
    *out_context = NULL;
    if (given && !struct_take(options, sizeof taken, given, sizeof taken))
        return bad_argument("heddle_context_create: struct_bytes is of no version known here");
    if (api_context_fault(options))
        return bad_argument(api_context_fault(options));
    struct heddle_context *context = calloc(1, sizeof *context);
    if (!context)
        return no_memory();
    struct error error = {0};
    enum heddle_status status = open_target(context, options->target, &error);
    if (status != HEDDLE_OK) {
        heddle_context_destroy(context);
        return fail(&error, status);
    }
    error_finish(&error);
    context->threads = options->threads;
    bool on_gpu = context->target == HEDDLE_TARGET_CUDA;
    context->machine = tuned_machine(on_gpu ? &context->gpu : NULL, context->threads);
    if (!set_import_dirs(context, options)) {
        heddle_context_destroy(context);
        return no_memory();
    }
    *out_context = context;
    return HEDDLE_OK;
}

void heddle_context_destroy(struct heddle_context *context) {
    if (!context)
        return;
    for (int i = 0; context->import_dirs && i < context->import_dir_count; i++)
        free(context->import_dirs[i]);
    free(context->import_dirs);
    cuda_device_close(&context->gpu);
    free(context);
}

enum heddle_target heddle_context_target(const struct heddle_context *context) {
    return context->target;
}

const char *heddle_context_device_name(const struct heddle_context *context) {
    return context->device_name;
}

// ---- patterns ---------------------------------------------------------------------------------

static enum heddle_status make_pattern(struct heddle_context *context, const char *path,
                                       const char *text, size_t length_bytes,
                                       const struct heddle_pattern_options *given,
                                       struct heddle_pattern **out_pattern) {
    struct heddle_pattern_options taken = {.struct_bytes = sizeof taken}, *options = &taken;
    if (!context || !path || !out_pattern)
        return bad_argument("heddle_pattern_load: a pointer is missing");
    *out_pattern = NULL;
    if (given && !struct_take(options, sizeof taken, given, sizeof taken))
        return bad_argument("heddle_pattern_load: struct_bytes is of no version known here");
    if (api_pattern_fault(options))
        return bad_argument(api_pattern_fault(options));
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
        return no_memory();
    enum heddle_status status =
        program_create(path, text, length_bytes, &check, &pattern->program, &error);
    if (status != HEDDLE_OK) {
        free(pattern);
        return fail(&error, status);
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
        return bad_argument("heddle_pattern_parse: no text");
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
    return status;
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
    return plan_create(pattern->program, problem, &options, &plan->plan, error);
}

enum heddle_status heddle_plan_create(struct heddle_context *context,
                                      struct heddle_pattern *pattern,
                                      const struct heddle_problem *given,
                                      struct heddle_plan **out_plan) {
    struct heddle_problem taken, *problem = &taken;
    if (!context || !pattern || !given || !out_plan)
        return bad_argument("heddle_plan_create: a pointer is missing");
    *out_plan = NULL;
    if (!struct_take(problem, sizeof taken, given, sizeof taken))
        return bad_argument("heddle_plan_create: struct_bytes is of no version known here");
    if (api_problem_fault(problem))
        return bad_argument(api_problem_fault(problem));
    struct heddle_plan *plan = calloc(1, sizeof *plan);
    struct error error = {0};
    if (!plan)
        return no_memory();
    plan->threads = context->threads;
    enum heddle_status status = make_plan(context, pattern, problem, plan, &error);
    if (status != HEDDLE_OK) {
        heddle_plan_destroy(plan);
        return fail(&error, status);
    }
    *out_plan = plan;
    return HEDDLE_OK;
}

void heddle_plan_destroy(struct heddle_plan *plan) {
    if (!plan)
        return;
    cuda_plan_destroy(plan->gpu);
    plan_destroy(plan->plan);
    free(plan);
}

void heddle_plan_info(const struct heddle_plan *plan, struct heddle_plan_info *out_info) {
    const struct plan_counts *counts = &plan->plan->counts;
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
    };
    struct_give(out_info, &info, sizeof info, sizeof info);
}

enum heddle_status heddle_run(struct heddle_plan *plan, const struct heddle_tensors *tensors,
                              void *stream) {
    if (!plan || !tensors)
        return bad_argument("heddle_run: a pointer is missing");
    if (stream && !plan->gpu)
        return bad_argument("heddle_run: streams are for CUDA targets; pass NULL on the CPU");
    struct error error = {0};
    enum heddle_status status = plan->gpu ? cuda_plan_run(plan->gpu, tensors, stream, &error)
                                          : plan_run(plan->plan, tensors, plan->threads, &error);
    return fail(&error, status);
}

// ---- planning again ---------------------------------------------------------------------------

enum heddle_status heddle_replan(struct heddle_plan *plan, const struct heddle_input *inputs,
                                 int input_count, void *stream) {
    if (!plan || input_count < 0 || (input_count && !inputs))
        return bad_argument("heddle_replan: a pointer is missing");
    if (api_inputs_fault(inputs, input_count))
        return bad_argument(api_inputs_fault(inputs, input_count));
    if (!plan->gpu)
        return bad_argument("heddle_replan: plans of the CPU are made once");
    struct error error = {0};
    return fail(&error, cuda_replan(plan->gpu, inputs, input_count, stream, &error));
}

enum heddle_status heddle_plan_lists(struct heddle_plan *plan, void *stream,
                                     struct heddle_lists *out_lists) {
    if (!plan || !out_lists)
        return bad_argument("heddle_plan_lists: a pointer is missing");
    struct heddle_lists lists = {0};
    if (!struct_give(out_lists, &lists, sizeof lists, sizeof lists))
        return bad_argument("heddle_plan_lists: struct_bytes is of no version known here");
    if (!plan->gpu)
        return bad_argument("heddle_plan_lists: plans of the CPU are made once");
    struct error error = {0};
    enum heddle_status status = cuda_plan_lists(plan->gpu, stream, &lists, &error);
    if (status == HEDDLE_OK)
        struct_give(out_lists, &lists, sizeof lists, sizeof lists);
    return fail(&error, status);
}
