// A tensor as the copy engine sees it: (d, x, y, t, head), the basis axes in use, one map per
// residue and batch. A split axis is a tensor of its own: its base is the residue's first position
// and its stride the dilation's. Queries may be the trailing slices of the grid only, or begin
// before it: their map begins at the first query.
#include "runtime/cuda/cuda_launch.h"

#include "compiler/pipeline.h"

#include <inttypes.h>
#include <string.h>

enum { ELEMENT_BYTES = 2, ENGINE_BYTES = 16 };

struct view { // one of q, k, v
    const char *name;
    struct abi_tensor tensor;
    int64_t heads;
    bool queries;
};

static struct abi_tensor tensor_of(const struct plan *plan, const struct heddle_tensor *tensor,
                                   int64_t heads, int64_t tokens) {
    const int64_t *s = tensor->strides;
    if (s[0] || s[1] || s[2] || s[3])
        return (struct abi_tensor){tensor->data, s[0], s[1], s[2], s[3]};
    return (struct abi_tensor){tensor->data, heads * tokens * plan->dim, tokens * plan->dim,
                               plan->dim, 1};
}

static bool misfit(int64_t stride) {
    return stride < 0 || stride * ELEMENT_BYTES % ENGINE_BYTES != 0 ||
           stride * ELEMENT_BYTES >= INT64_C(1) << 40;
}

static enum heddle_status check_view(const struct plan *plan, const struct view *view,
                                     struct error *error) {
    const struct abi_tensor *t = &view->tensor;
    int64_t tokens = view->queries ? plan->queries : plan->keys;
    if (!t->data)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "tensor %s is missing", view->name);
    if ((uintptr_t)t->data % ENGINE_BYTES != 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s: its address is no multiple of 16 bytes, which the GPU's copy "
                         "engine needs; copy it to an aligned buffer",
                         view->name);
    if (t->dim_stride != 1)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s: the head dim has stride %" PRId64
                         "; on a GPU it must be contiguous",
                         view->name, t->dim_stride);
    if ((tokens > 1 && misfit(t->token_stride)) || (view->heads > 1 && misfit(t->head_stride)) ||
        (plan->batch > 1 && misfit(t->batch_stride)))
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s has strides (%" PRId64 ", %" PRId64 ", %" PRId64
                         ") over batch, head and token; on a GPU they must be multiples of 8 "
                         "elements: pad the head dim %" PRId64 " to %" PRId64,
                         view->name, t->batch_stride, t->head_stride, t->token_stride, plan->dim,
                         (plan->dim + 7) / 8 * 8);
    return HEDDLE_OK;
}

// ---- maps ---------------------------------------------------------------------------------------

static enum heddle_status encode(struct cuda_plan *c, const struct view *view, int64_t batch,
                                 const struct cuda_residue *at, unsigned char *out,
                                 struct error *error) {
    const struct plan *plan = c->plan;
    const struct abi_launch *launch = &plan->launch;
    const struct abi_tensor *t = &view->tensor;
    cuuint64_t size[5], stride[4];
    cuuint32_t box[5], step[5] = {1, 1, 1, 1, 1};
    int rank = 1, outer = ABI_AXES - plan->basis_axes;
    int64_t base = batch * t->batch_stride;
    base -= view->queries ? plan->query_offset * t->token_stride : 0;
    size[0] = (cuuint64_t)plan->dim;
    box[0] = 64;
    for (int a = ABI_AXES - 1; a >= outer; a--) {
        int64_t first = view->queries && a == outer ? at->query_first : 0;
        int64_t extent = at->extent[a] - first, tokens = launch->token_stride[a];
        base += (at->residue[a] + launch->dilation[a] * first) * tokens * t->token_stride;
        int64_t bytes = launch->dilation[a] * tokens * t->token_stride * ELEMENT_BYTES;
        size[rank] = extent > 0 ? (cuuint64_t)extent : 1;
        stride[rank - 1] = size[rank] == 1 ? ENGINE_BYTES : (cuuint64_t)bytes;
        box[rank++] = (cuuint32_t)(view->queries ? plan->query_tile[a] : launch->tile[a]);
    }
    size[rank] = (cuuint64_t)view->heads;
    stride[rank - 1] =
        view->heads == 1 ? ENGINE_BYTES : (cuuint64_t)(t->head_stride * ELEMENT_BYTES);
    box[rank++] = 1;
    CUtensorMap map;
    CUresult result = c->device->api->TensorMapEncodeTiled(
        &map,
        plan->dtype == HEDDLE_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                   : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        (cuuint32_t)rank, (char *)t->data + base * ELEMENT_BYTES, size, stride, box, step,
        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    memcpy(out, &map, sizeof map);
    return cuda_status(c->device->api, result, view->name, error);
}

static enum heddle_status encode_all(struct cuda_plan *c, const struct view *views,
                                     struct error *error) {
    unsigned char *to = c->host_maps;
    enum heddle_status status = HEDDLE_OK;
    for (int64_t batch = 0; batch < c->plan->batch && status == HEDDLE_OK; batch++)
        for (int64_t set = 0; set < c->residue_sets && status == HEDDLE_OK; set++) {
            struct cuda_residue at = cuda_residue_of(c->plan, set);
            for (int i = 0; i < SM90_TENSOR_MAPS && status == HEDDLE_OK; i++) {
                status = encode(c, &views[i], batch, &at, to, error);
                to += SM90_MAP_BYTES;
            }
        }
    return status;
}

// One set travels in the kernel's parameter; several are copied when they changed.
static enum heddle_status place_maps(struct cuda_plan *c, struct sm90_args *args, CUstream stream,
                                     struct error *error) {
    size_t bytes = (size_t)(c->residue_sets * c->plan->batch) * SM90_TENSOR_MAPS * SM90_MAP_BYTES;
    memcpy(args->maps, c->host_maps, sizeof args->maps);
    if (!c->maps || memcmp(c->host_maps, c->uploaded_maps, bytes) == 0)
        return HEDDLE_OK;
    memcpy(c->uploaded_maps, c->host_maps, bytes);
    return cuda_status(c->device->api,
                       c->device->api->MemcpyHtoDAsync(c->maps, c->uploaded_maps, bytes, stream),
                       "uploading tensor maps", error);
}

// ---- launch -------------------------------------------------------------------------------------

static enum heddle_status place_tensors(struct cuda_plan *c, const struct heddle_tensors *tensors,
                                        struct sm90_args *args, CUstream stream,
                                        struct error *error) {
    const struct plan *plan = c->plan;
    const struct heddle_tensor *given[] = {&tensors->q, &tensors->k, &tensors->v, &tensors->o};
    static const char *const names[] = {"q", "k", "v", "o"};
    struct view views[4];
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < 4 && status == HEDDLE_OK; i++) {
        bool queries = i == 0 || i == 3;
        int64_t heads = queries ? plan->heads : plan->kv_heads;
        views[i] = (struct view){
            names[i], tensor_of(plan, given[i], heads, queries ? plan->queries : plan->keys), heads,
            queries};
        status = check_view(plan, &views[i], error);
    }
    if (status == HEDDLE_OK)
        status = encode_all(c, views, error);
    if (status == HEDDLE_OK)
        status = place_maps(c, args, stream, error);
    if (status != HEDDLE_OK)
        return status;
    const struct abi_tensor *o = &views[3].tensor;
    args->o = (uint64_t)(uintptr_t)o->data;
    args->o_batch_stride = o->batch_stride;
    args->o_head_stride = o->head_stride;
    args->o_token_stride = o->token_stride;
    args->lse = (uint64_t)(uintptr_t)tensors->lse;
    args->lse_batch_stride = plan->heads * plan->queries;
    args->lse_head_stride = plan->queries;
    args->lse_token_stride = 1;
    return HEDDLE_OK;
}

static enum heddle_status launch(struct cuda_plan *c, CUstream stream, struct error *error) {
    const struct sm90_args *args = (const struct sm90_args *)(const void *)c->args;
    int blocks = args->items < c->device->processors ? args->items : c->device->processors;
    void *params[] = {c->args};
    CUresult result =
        c->device->api->LaunchKernel(c->kernel.function, (unsigned)blocks, 1, 1, SM90_THREADS, 1, 1,
                                     (unsigned)c->plan->ptx->shared_bytes, stream, params, NULL);
    return cuda_status(c->device->api, result, "launching the kernel", error);
}

enum heddle_status cuda_plan_run(struct cuda_plan *c, const struct heddle_tensors *tensors,
                                 CUstream stream, struct error *error) {
    struct sm90_args *args = (struct sm90_args *)(void *)c->args;
    enum heddle_status status = cuda_device_enter(c->device, error);
    if (status != HEDDLE_OK)
        return status;
    status = place_tensors(c, tensors, args, stream, error);
    if (status == HEDDLE_OK)
        status = launch(c, stream, error);
    cuda_device_leave(c->device);
    return status;
}
