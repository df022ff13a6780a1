// The public functions of heddle.h that run plans, and make lists of them again.

#include "runtime/api_check.h"
#include "runtime/api_objects.h"
#include "runtime/cuda/cuda_launch.h"
#include "runtime/cuda/cuda_replan.h"
#include "runtime/struct_take.h"

// Memory that the caller brings for one run; none: the plan's own is used.
static const char *workspace_fault(const struct heddle_plan *plan,
                                   const struct heddle_run_options *options) {
    if (!options->workspace)
        return options->workspace_bytes ? "heddle_run_with: a size, but no workspace" : NULL;
    if ((uintptr_t)options->workspace % HEDDLE_WORKSPACE_ALIGNMENT != 0)
        return "heddle_run_with: workspace is not aligned to HEDDLE_WORKSPACE_ALIGNMENT";
    if (plan->gpu && plan->gpu->pool)
        return "heddle_run_with: on a GPU the means that a pattern with 'pool' reads are the "
               "plan's, "
               "so it takes no workspace";
    if (options->workspace_bytes < (plan->gpu ? cuda_workspace_bytes(plan->gpu) : 1))
        return "heddle_run_with: workspace_bytes is less than heddle_plan_info says";
    return NULL;
}

// Runs with workspaces need no turns on the CPU, but for what is selected, which is the plan's. On
// a GPU the kernel's parameter is put together in the plan, until the driver has copied it.
static enum heddle_status run_cpu(struct heddle_plan *plan, const struct heddle_tensors *tensors,
                                  const struct heddle_run_options *options, struct error *error) {
    struct thread_pool *pool = plan->context->pool;
    struct run_scratch given = {.data = options->workspace, .bytes = options->workspace_bytes};
    struct run_scratch *scratch = given.data ? &given : &plan->scratch;
    if (given.data && !pattern_selects(plan->plan->program->pattern))
        return plan_run(plan->plan, tensors, pool, scratch, error);
    pthread_mutex_lock(&plan->mutex);
    enum heddle_status status = plan_run(plan->plan, tensors, pool, scratch, error);
    pthread_mutex_unlock(&plan->mutex);
    return status;
}

static enum heddle_status run_gpu(struct heddle_plan *plan, const struct heddle_tensors *tensors,
                                  const struct heddle_run_options *options, void *stream,
                                  struct error *error) {
    CUdeviceptr workspace = (CUdeviceptr)(uintptr_t)options->workspace;
    pthread_mutex_lock(&plan->mutex);
    enum heddle_status status = cuda_plan_run(plan->gpu, tensors, workspace, stream, error);
    pthread_mutex_unlock(&plan->mutex);
    return status;
}

static enum heddle_status run(struct heddle_plan *plan, const struct heddle_tensors *tensors,
                              const struct heddle_run_options *options, void *stream) {
    if (!plan || !tensors)
        return api_bad_argument("heddle_run: a pointer is missing");
    if (stream && !plan->gpu)
        return api_bad_argument("heddle_run: streams are for CUDA targets; pass NULL on the CPU");
    if (workspace_fault(plan, options))
        return api_bad_argument(workspace_fault(plan, options));
    struct error error = {0};
    struct log_scope outer = log_enter(&plan->context->log);
    struct stage stage = stage_begin("heddle_run");
    enum heddle_status status = plan->gpu ? run_gpu(plan, tensors, options, stream, &error)
                                          : run_cpu(plan, tensors, options, &error);
    stage_end(&stage);
    log_leave(outer);
    return api_fail(&error, status);
}

enum heddle_status heddle_run(struct heddle_plan *plan, const struct heddle_tensors *tensors,
                              void *stream) {
    return run(plan, tensors, &(const struct heddle_run_options){.struct_bytes = 0}, stream);
}

enum heddle_status heddle_run_with(struct heddle_plan *plan, const struct heddle_tensors *tensors,
                                   const struct heddle_run_options *given, void *stream) {
    struct heddle_run_options options;
    if (!given)
        return heddle_run(plan, tensors, stream);
    if (!struct_take(&options, sizeof options, given, sizeof options))
        return api_bad_argument("heddle_run_with: struct_bytes is of no version known here");
    return run(plan, tensors, &options, stream);
}

// ---- planning again ---------------------------------------------------------------------------

enum heddle_status heddle_replan(struct heddle_plan *plan, const struct heddle_input *inputs,
                                 int input_count, void *stream) {
    if (!plan || input_count < 0 || (input_count && !inputs))
        return api_bad_argument("heddle_replan: a pointer is missing");
    if (api_inputs_fault(inputs, input_count))
        return api_bad_argument(api_inputs_fault(inputs, input_count));
    if (!plan->gpu)
        return api_bad_argument("heddle_replan: plans of the CPU are made once");
    struct error error = {0};
    struct log_scope outer = log_enter(&plan->context->log);
    struct stage stage = stage_begin("heddle_replan");
    enum heddle_status status = cuda_replan(plan->gpu, inputs, input_count, stream, &error);
    stage_end(&stage);
    log_leave(outer);
    return api_fail(&error, status);
}

enum heddle_status heddle_plan_lists(struct heddle_plan *plan, void *stream,
                                     struct heddle_lists *out_lists) {
    if (!plan || !out_lists)
        return api_bad_argument("heddle_plan_lists: a pointer is missing");
    struct heddle_lists lists = {0};
    if (!struct_give(out_lists, &lists, sizeof lists, sizeof lists))
        return api_bad_argument("heddle_plan_lists: struct_bytes is of no version known here");
    if (!plan->gpu)
        return api_bad_argument("heddle_plan_lists: plans of the CPU are made once");
    struct error error = {0};
    enum heddle_status status = cuda_plan_lists(plan->gpu, stream, &lists, &error);
    if (status == HEDDLE_OK)
        struct_give(out_lists, &lists, sizeof lists, sizeof lists);
    return api_fail(&error, status);
}
