// A run: tensors checked against what the GPU can read and write, their maps, one launch.
#include "runtime/cuda/cuda_launch.h"

#include "compiler/pipeline.h"
#include "runtime/cuda/cuda_maps.h"
#include "runtime/cuda/cuda_pool.h"

#include <inttypes.h>
#include <stdio.h>

enum { ELEMENT_BYTES = 2 };

// ---- what the GPU can take ----------------------------------------------------------------------

struct access { // how the kernel reaches a tensor
    int64_t unit_bytes;
    bool backwards; // a stride may be negative
    const char *why;
};
static const struct access INPUT = {16, false, "the GPU's copy engine reads pieces of 16 bytes"};
// Layouts of o that the copy engine cannot reach are stored by hand (compiler/sm90/sm90_writer.c).
static const struct access OUTPUT = {4, true, "the GPU stores words of 4 bytes"};

// Rows that are no whole number of units are the usual reason; else that stride alone is off.
static enum heddle_status refuse_stride(const struct plan *plan, const struct run_view *view,
                                        const struct access *access, const char *along,
                                        int64_t stride, struct error *error) {
    int64_t unit = access->unit_bytes / ELEMENT_BYTES;
    char remedy[96];
    if (plan->dim % unit != 0)
        snprintf(remedy, sizeof remedy, "give each row of %" PRId64 " room for %" PRId64, plan->dim,
                 (plan->dim + unit - 1) / unit * unit);
    else
        snprintf(remedy, sizeof remedy, "make it %" PRId64,
                 stride - stride % unit + (stride > 0 ? unit : -unit));
    return error_set(error, HEDDLE_BAD_ARGUMENT,
                     "tensor %s has stride %" PRId64 " over %s; it must be a multiple of %" PRId64
                     " elements, because %s: %s, or copy the tensor",
                     view->name, stride, along, unit, access->why, remedy);
}

static enum heddle_status check_stride(const struct plan *plan, const struct run_view *view,
                                       const struct access *access, const char *along,
                                       int64_t stride, struct error *error) {
    if (stride % (access->unit_bytes / ELEMENT_BYTES) != 0)
        return refuse_stride(plan, view, access, along, stride, error);
    if (stride < 0 && !access->backwards)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s has stride %" PRId64
                         " over %s; the GPU's copy engine only goes forwards: copy the tensor",
                         view->name, stride, along);
    return HEDDLE_OK;
}

static enum heddle_status check_view(const struct plan *plan, const struct run_view *view,
                                     const struct access *access, struct error *error) {
    // Every batch has maps of its own, so the engine never sees the batch's stride.
    struct access of_batch = *access;
    of_batch.backwards = true;
    const struct abi_tensor *t = &view->tensor;
    if ((uintptr_t)t->data % (uintptr_t)access->unit_bytes != 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s is at an address that is no multiple of %" PRId64
                         " bytes, but %s: begin it elsewhere, or copy it",
                         view->name, access->unit_bytes, access->why);
    if (t->dim_stride != 1)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "tensor %s has stride %" PRId64
                         " over the head dim; on a GPU it must be 1: copy the tensor",
                         view->name, t->dim_stride);
    enum heddle_status status = check_stride(plan, view, access, "tokens", t->token_stride, error);
    if (status == HEDDLE_OK)
        status = check_stride(plan, view, access, "heads", t->head_stride, error);
    if (status == HEDDLE_OK)
        status = check_stride(plan, view, &of_batch, "batches", t->batch_stride, error);
    return status;
}

static enum heddle_status check_all(const struct plan *plan, const struct heddle_tensors *tensors,
                                    struct run_view *views, struct error *error) {
    enum heddle_status status = run_tensors_check(plan, tensors, views, error);
    for (int i = 0; i < RUN_TENSORS && status == HEDDLE_OK; i++)
        status = check_view(plan, &views[i], i == RUN_O ? &OUTPUT : &INPUT, error);
    return status;
}

// ---- launch -------------------------------------------------------------------------------------

static void place_results(const struct plan *plan, const struct abi_tensor *o, const float *lse,
                          struct sm90_args *args) {
    args->o = (uint64_t)(uintptr_t)o->data;
    args->o_batch_stride = o->batch_stride;
    args->o_head_stride = o->head_stride;
    args->o_token_stride = o->token_stride;
    args->lse = (uint64_t)(uintptr_t)lse;
    args->lse_batch_stride = plan->heads * plan->queries;
    args->lse_head_stride = plan->queries;
    args->lse_token_stride = 1;
}

// The driver copies the parameter before it returns.
static enum heddle_status launch(struct cuda_plan *c, CUstream stream, struct error *error) {
    const struct sm90_args *args = (const struct sm90_args *)(const void *)c->args;
    int blocks = args->items < c->device->processors ? args->items : c->device->processors;
    const int64_t *tile = c->plan->query_tile;
    unsigned threads = (unsigned)sm90_threads((int)(tile[0] * tile[1] * tile[2]));
    void *params[] = {c->args};
    CUresult result =
        c->device->api->LaunchKernel(c->kernel.function, (unsigned)blocks, 1, 1, threads, 1, 1,
                                     (unsigned)c->plan->ptx->shared_bytes, stream, params, NULL);
    return cuda_status(c->device->api, result, "launching the kernel", error);
}

enum heddle_status cuda_plan_run(struct cuda_plan *c, const struct heddle_tensors *tensors,
                                 CUdeviceptr workspace, CUstream stream, struct error *error) {
    struct sm90_args *args = (struct sm90_args *)(void *)c->args;
    struct run_view views[RUN_TENSORS];
    enum heddle_status status = check_all(c->plan, tensors, views, error);
    if (status == HEDDLE_OK)
        status = cuda_device_enter(c->device, error);
    if (status != HEDDLE_OK)
        return status;
    place_results(c->plan, &views[RUN_O].tensor, tensors->lse, args);
    args->queue = workspace ? workspace : c->queue;
    status = cuda_maps_place(c, views, workspace, stream, error);
    if (status == HEDDLE_OK)
        status = cuda_pool_run(c, views, stream, error);
    if (status == HEDDLE_OK)
        status = launch(c, stream, error);
    cuda_device_leave(c->device);
    return status;
}
