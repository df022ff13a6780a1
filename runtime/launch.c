// Stage `launch`. See launch.h.

#include "runtime/launch.h"

#include "compiler/pipeline.h"
#include "runtime/reference.h"
#include "runtime/threads.h"

#include <string.h>

// Fills in the strides of a contiguous [batch, heads, tokens, dim] tensor where none are given.
static struct abi_tensor tensor_of(const struct plan *plan, const struct heddle_tensor *tensor,
                                   int64_t heads, int64_t tokens) {
    const int64_t *s = tensor->strides;
    if (s[0] || s[1] || s[2] || s[3])
        return (struct abi_tensor){tensor->data, s[0], s[1], s[2], s[3]};
    return (struct abi_tensor){tensor->data, heads * tokens * plan->dim, tokens * plan->dim,
                               plan->dim, 1};
}

static enum heddle_status check_tensor(const struct plan *plan, const char *name,
                                       const struct heddle_tensor *tensor, struct error *error) {
    if (!tensor->data)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "tensor %s is missing", name);
    if ((uintptr_t)tensor->data % (uintptr_t)dtype_bytes(plan->dtype) != 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s is not aligned to its elements of %d bytes", name,
                         (int)dtype_bytes(plan->dtype));
    return HEDDLE_OK;
}

static enum heddle_status place_tensors(const struct plan *plan,
                                        const struct heddle_tensors *tensors,
                                        struct abi_launch *launch, struct error *error) {
    const struct heddle_tensor *given[] = {&tensors->q, &tensors->k, &tensors->v, &tensors->o};
    static const char *const names[] = {"q", "k", "v", "o"};
    struct abi_tensor *to[] = {&launch->q, &launch->k, &launch->v, &launch->o};
    for (int i = 0; i < 4; i++) {
        bool query_side = i == 0 || i == 3;
        enum heddle_status status = check_tensor(plan, names[i], given[i], error);
        if (status != HEDDLE_OK)
            return status;
        *to[i] = tensor_of(plan, given[i], query_side ? plan->heads : plan->kv_heads,
                           query_side ? plan->queries : plan->keys);
    }
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

enum heddle_status plan_run(struct plan *plan, const struct heddle_tensors *tensors, int threads,
                            struct error *error) {
    struct abi_launch launch = plan->launch;
    const struct kernel *kernel;
    if (plan->options.key_major)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "a key-major plan has no kernel to run");
    enum heddle_status status = place_tensors(plan, tensors, &launch, error);
    if (status == HEDDLE_OK)
        status = choose_kernel(plan, &launch, &kernel, error);
    if (status != HEDDLE_OK)
        return status;
    struct attention attention = {&launch, kernel->run};
    int64_t items = plan->batch * plan->heads * plan->launch.box_count;
    return threads_each(threads, items, 1, kernel->scratch_bytes, run_items, &attention, error);
}
