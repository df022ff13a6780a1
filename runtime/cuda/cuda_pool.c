#include "runtime/cuda/cuda_pool.h"

#include "compiler/pipeline.h"
#include "compiler/pool/pool_device.h"
#include "runtime/cuda/cuda_maps.h"
#include "runtime/pool.h"

#include <string.h>

enum { ELEMENT_BYTES = 2 };

static int64_t row_elems(const struct plan *plan) { // whole chunks, which the engine reads too
    return (plan->dim + POOL_CHUNK - 1) / POOL_CHUNK * POOL_CHUNK;
}

// ---- copies -------------------------------------------------------------------------------------

// The maps of the sources that read a factor of a pool: i is 0 for K, 1 for V.
static enum heddle_status map_copy(struct cuda_plan *c, int pool, int64_t factor, int i,
                                   CUdeviceptr copy, struct sm90_source *sources,
                                   struct error *error) {
    const struct plan *plan = c->plan;
    const struct pattern *pattern = plan->program->pattern;
    enum heddle_status status = HEDDLE_OK;
    for (int s = 0; s < pattern->source_count && status == HEDDLE_OK; s++)
        if (pattern->sources[s].pool == pool && pattern->sources[s].factor == factor)
            status = cuda_maps_copy(c, copy, plan->launch.sources[s].keys, row_elems(plan),
                                    sources[s].maps[i], error);
    return status;
}

static enum heddle_status place_level(struct cuda_plan *c, int pool, struct pool_job jobs[2],
                                      int64_t level, struct sm90_source *sources,
                                      struct error *error) {
    const struct plan *plan = c->plan;
    int64_t factor = jobs[0].factor[level], groups = (plan->keys + factor - 1) / factor;
    size_t bytes =
        (size_t)(plan->batch * plan->kv_heads * groups * row_elems(plan) * ELEMENT_BYTES);
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < 2 && status == HEDDLE_OK; i++) {
        CUdeviceptr copy = 0;
        status = cuda_allocate(&c->memory, bytes, &copy, error);
        jobs[i].to[level] = (void *)(uintptr_t)copy;
        if (status == HEDDLE_OK)
            status = map_copy(c, pool, factor, i, copy, sources, error);
    }
    return status;
}

static enum heddle_status place_pool(struct cuda_plan *c, int pool, struct sm90_source *sources,
                                     struct error *error) {
    const struct abi_tensor none = {0};
    struct pool_job jobs[2];
    enum heddle_status status = HEDDLE_OK;
    pool_jobs(c->plan, &none, &none, pool, jobs);
    if (!jobs[0].level_count)
        return HEDDLE_OK;
    for (int i = 0; i < 2;
         i++) { // as many units as there can be: a thread has a few of its columns
        jobs[i].row_elems = row_elems(c->plan);
        jobs[i].unit_keys = jobs[i].factor[jobs[i].level_count - 1];
    }
    for (int64_t level = 0; level < jobs[0].level_count && status == HEDDLE_OK; level++)
        status = place_level(c, pool, jobs, level, sources, error);
    int number = c->pool->count++;
    c->pool->units[number] = pool_units(&jobs[0], c->plan->batch);
    c->pool->few &= jobs[0].level_count <= POOL_FEW_LEVELS;
    if (status == HEDDLE_OK)
        status = cuda_upload(&c->memory, jobs, sizeof jobs, &c->pool->jobs[number], error);
    return status;
}

// ---- what the attention kernel reads ------------------------------------------------------------

static enum heddle_status place_bias(struct cuda_plan *c, int source, struct sm90_source *out,
                                     struct error *error) {
    const struct plan *plan = c->plan;
    const struct abi_source *from = &plan->launch.sources[source];
    double unit = plan->ptx && plan->ptx->spec.scale_first
                      ? 1.0
                      : plan->scale * 1.4426950408889634074; // of the kernel's logits
    float *bias = ARENA_ARRAY(&c->arena, float, (size_t)plan->heads);
    for (int64_t head = 0; head < plan->heads; head++)
        bias[head] = (float)((double)from->bias[head] / unit);
    out->ragged_at = (int32_t)(from->keys - 1);
    out->ragged = (float)((double)from->ragged / unit);
    return cuda_upload(&c->memory, bias, (size_t)plan->heads * sizeof *bias,
                       (CUdeviceptr *)&out->bias, error);
}

static enum heddle_status load(struct cuda_plan *c, struct error *error) {
    if (pool_device_ptx_bytes == 0)
        return error_set(error, HEDDLE_LIMIT,
                         "this heddle was built without a pooling stage for GPUs: building one "
                         "takes clang of LLVM's version (clang-22 beside llvm-22-dev)");
    return cuda_kernel_load(c->device, NULL, (const char *)pool_device_ptx,
                            c->pool->few ? POOL_KERNEL_FEW : POOL_KERNEL, 0, &c->pool->kernel,
                            error);
}

enum heddle_status cuda_pool_create(struct cuda_plan *c, struct sm90_args *args,
                                    struct error *error) {
    const struct pattern *pattern = c->plan->program->pattern;
    if (!pattern_is_pooled(pattern))
        return HEDDLE_OK;
    size_t count = (size_t)pattern->source_count;
    struct sm90_source *sources = ARENA_ARRAY(&c->arena, struct sm90_source, count);
    enum heddle_status status = HEDDLE_OK;
    c->pool = ARENA_NEW(&c->arena, struct cuda_pool);
    c->pool->few = true;
    c->pool->jobs = ARENA_ARRAY(&c->arena, CUdeviceptr, (size_t)pattern->pool_count);
    c->pool->units = ARENA_ARRAY(&c->arena, int64_t, (size_t)pattern->pool_count);
    for (int s = 0; s < pattern->source_count && status == HEDDLE_OK; s++)
        status = place_bias(c, s, &sources[s], error);
    for (int p = 0; p < pattern->pool_count && status == HEDDLE_OK; p++)
        status = place_pool(c, p, sources, error);
    if (status == HEDDLE_OK)
        status = cuda_upload(&c->memory, sources, count * sizeof *sources,
                             (CUdeviceptr *)&args->sources, error);
    return status == HEDDLE_OK && c->pool->count ? load(c, error) : status;
}

void cuda_pool_unload(struct cuda_plan *c) {
    if (c->pool)
        cuda_kernel_unload(c->device, &c->pool->kernel);
}

// ---- a run --------------------------------------------------------------------------------------

static struct pool_from from_of(const struct abi_tensor *t) {
    return (struct pool_from){t->data, t->batch_stride, t->head_stride, t->token_stride};
}

enum heddle_status cuda_pool_run(struct cuda_plan *c, const struct run_view *views, CUstream stream,
                                 struct error *error) {
    const struct cuda_api *api = c->device->api;
    CUresult result = CUDA_SUCCESS;
    for (int p = 0; c->pool && p < c->pool->count && result == CUDA_SUCCESS; p++) {
        struct pool_from k = from_of(&views[RUN_K].tensor), v = from_of(&views[RUN_V].tensor);
        int64_t threads = c->pool->units[p] * (row_elems(c->plan) / POOL_CHUNK);
        unsigned blocks = (unsigned)((threads + POOL_THREADS - 1) / POOL_THREADS);
        void *params[] = {&c->pool->jobs[p], &k.data,         &k.batch_stride,
                          &k.head_stride,    &k.token_stride, &v.data,
                          &v.batch_stride,   &v.head_stride,  &v.token_stride};
        result = api->LaunchKernel(c->pool->kernel.function, blocks, 2, 1, POOL_THREADS, 1, 1, 0,
                                   stream, params, NULL);
    }
    return cuda_status(api, result, "pooling keys and values", error);
}
