// Stage `launch`. See launch.h.

#include "runtime/launch.h"

#include "compiler/pipeline.h"
#include "runtime/run_tensors.h"
#include "runtime/selection.h"
#include "runtime/threads.h"

static enum heddle_status place_tensors(const struct plan *plan,
                                        const struct heddle_tensors *tensors,
                                        struct abi_launch *launch, struct error *error) {
    struct run_view views[RUN_TENSORS];
    enum heddle_status status = run_tensors_check(plan, tensors, views, error);
    if (status != HEDDLE_OK)
        return status;
    launch->q = views[RUN_Q].tensor;
    launch->k = views[RUN_K].tensor;
    launch->v = views[RUN_V].tensor;
    launch->o = views[RUN_O].tensor;
    launch->lse = tensors->lse;
    launch->lse_batch_stride = plan->heads * plan->queries;
    launch->lse_head_stride = plan->queries;
    launch->lse_token_stride = 1;
    return HEDDLE_OK;
}

struct attention {
    const struct abi_launch *launch;
    abi_attention_fn *run;
};

static void run_items(void *context, int64_t begin, int64_t end, void *scratch) {
    const struct attention *attention = context;
    attention->run(attention->launch, begin, end, scratch);
}

// The plan's kernel reads contiguous head dims; another is compiled for tensors that are not.
static enum heddle_status choose_kernel(struct plan *plan, const struct abi_launch *launch,
                                        const struct kernel **out_kernel, struct error *error) {
    bool contiguous = launch->q.dim_stride == 1 && launch->k.dim_stride == 1 &&
                      launch->v.dim_stride == 1 && launch->o.dim_stride == 1;
    *out_kernel = plan->kernel;
    if (contiguous && plan->kernel)
        return HEDDLE_OK;
    const struct kernel_spec spec = {plan->dtype, (int)plan->dim, contiguous};
    return program_kernel(plan->program, &spec, out_kernel, error);
}

static enum heddle_status attend(struct plan *plan, const struct heddle_tensors *tensors,
                                 int threads, struct error *error) {
    struct abi_launch launch = plan->launch;
    const struct kernel *kernel;
    enum heddle_status status = place_tensors(plan, tensors, &launch, error);
    if (status == HEDDLE_OK)
        status = choose_kernel(plan, &launch, &kernel, error);
    if (status != HEDDLE_OK)
        return status;
    struct attention attention = {&launch, kernel->run};
    int64_t items = plan->batch * plan->heads * plan->launch.box_count;
    return threads_each(threads, items, 1, kernel->scratch_bytes, run_items, &attention, error);
}

enum heddle_status plan_run(struct plan *plan, const struct heddle_tensors *tensors, int threads,
                            struct error *error) {
    if (plan->options.key_major)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "a key-major plan has no kernel to run");
    enum heddle_status status = selection_run(plan, tensors, threads, error);
    return status == HEDDLE_OK ? attend(plan, tensors, threads, error) : status;
}
