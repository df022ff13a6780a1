#include "runtime/run_tensors.h"

#include "runtime/reference.h"

#include <inttypes.h>

// Adds (size - 1) * |stride| to *reach; false when that passes what an address can.
static bool add_reach(int64_t *reach, int64_t size, int64_t stride) {
    enum { ADDRESS_BITS = 56 };
    int64_t step, length;
    if (stride == INT64_MIN || __builtin_mul_overflow(size - 1, stride, &step))
        return false;
    length = step < 0 ? -step : step;
    return !__builtin_add_overflow(*reach, length, reach) && *reach < INT64_C(1) << ADDRESS_BITS;
}

// All strides 0: contiguous [batch, heads, tokens, dim]. The stride of a dimension of one means
// nothing, and becomes 0.
static struct abi_tensor with_strides(const struct plan *plan, const struct heddle_tensor *tensor,
                                      int64_t heads, int64_t tokens) {
    const int64_t *s = tensor->strides;
    struct abi_tensor out = {tensor->data, s[0], s[1], s[2], s[3]};
    if (!s[0] && !s[1] && !s[2] && !s[3])
        out = (struct abi_tensor){tensor->data, heads * tokens * plan->dim, tokens * plan->dim,
                                  plan->dim, 1};
    out.batch_stride = plan->batch > 1 ? out.batch_stride : 0;
    out.head_stride = heads > 1 ? out.head_stride : 0;
    out.token_stride = tokens > 1 ? out.token_stride : 0;
    return out;
}

static enum heddle_status check_memory(const struct plan *plan, const struct run_view *view,
                                       struct error *error) {
    const struct abi_tensor *t = &view->tensor;
    int64_t bytes = dtype_bytes(plan->dtype), reach = 0;
    if (!t->data)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "tensor %s is missing", view->name);
    if ((uintptr_t)t->data % (uintptr_t)bytes != 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s is not aligned to its elements of %" PRId64 " bytes",
                         view->name, bytes);
    if (!add_reach(&reach, plan->batch, t->batch_stride) ||
        !add_reach(&reach, view->heads, t->head_stride) ||
        !add_reach(&reach, view->tokens, t->token_stride) ||
        !add_reach(&reach, plan->dim, t->dim_stride))
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s has strides (%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                         ") over batch, head, token and dim, which reach past all memory",
                         view->name, t->batch_stride, t->head_stride, t->token_stride,
                         t->dim_stride);
    return HEDDLE_OK;
}

// Inputs may repeat by a stride of 0; results may not.
static enum heddle_status check_output(const struct plan *plan, const struct run_view *view,
                                       struct error *error) {
    const struct abi_tensor *t = &view->tensor;
    const char *along = plan->batch > 1 && t->batch_stride == 0    ? "batches"
                        : view->heads > 1 && t->head_stride == 0   ? "heads"
                        : view->tokens > 1 && t->token_stride == 0 ? "tokens"
                        : plan->dim > 1 && t->dim_stride == 0      ? "the head dim"
                                                                   : NULL;
    if (!along)
        return HEDDLE_OK;
    return error_set(error, HEDDLE_BAD_ARGUMENT,
                     "tensor %s has stride 0 over %s: its results would overwrite each other",
                     view->name, along);
}

enum heddle_status run_tensors_check(const struct plan *plan, const struct heddle_tensors *tensors,
                                     struct run_view *out, struct error *error) {
    const struct heddle_tensor *given[] = {&tensors->q, &tensors->k, &tensors->v, &tensors->o};
    static const char *const names[] = {"q", "k", "v", "o"};
    for (int i = 0; i < RUN_TENSORS; i++) {
        bool of_queries = i == RUN_Q || i == RUN_O;
        struct run_view *view = &out[i];
        *view = (struct run_view){.name = names[i], .of_queries = of_queries};
        view->heads = of_queries ? plan->heads : plan->kv_heads;
        view->tokens = of_queries ? plan->queries : plan->keys;
        view->tensor = with_strides(plan, given[i], view->heads, view->tokens);
        enum heddle_status status = check_memory(plan, view, error);
        if (status != HEDDLE_OK)
            return status;
    }
    if ((uintptr_t)tensors->lse % _Alignof(float) != 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "lse is not aligned to its floats of 4 bytes");
    return check_output(plan, &out[RUN_O], error);
}
