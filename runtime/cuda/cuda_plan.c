#include "runtime/cuda/cuda_plan.h"

#include "compiler/base/log.h"
#include "compiler/pipeline.h"
#include "runtime/cuda/cuda_lists.h"
#include "runtime/cuda/cuda_maps.h"
#include "runtime/cuda/cuda_planner.h"
#include "runtime/cuda/cuda_pool.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static enum heddle_status upload(struct cuda_plan *c, const void *data, size_t bytes,
                                 CUdeviceptr *out, struct error *error) {
    return cuda_upload(&c->memory, data, bytes, out, error);
}

// ---- residues -----------------------------------------------------------------------------------

static int64_t ceil_div(int64_t a, int64_t b) { // b > 0; rounds up for negative a too
    return a >= 0 ? (a + b - 1) / b : -(-a / b);
}

static int64_t set_number(const struct plan *plan, const int32_t *residue) {
    int64_t set = 0;
    for (int a = 0; a < ABI_AXES; a++)
        set = set * plan->launch.dilation[a] + residue[a];
    return set;
}

struct cuda_residue cuda_residue_of(const struct plan *plan, int64_t set) {
    const struct abi_launch *launch = &plan->launch;
    struct cuda_residue at;
    for (int a = ABI_AXES - 1; a >= 0; a--) {
        int64_t d = launch->dilation[a];
        at.residue[a] = set % d;
        at.extent[a] = ceil_div(launch->basis_extent[a] - at.residue[a], d);
        set /= d;
    }
    int outer = ABI_AXES - plan->basis_axes;
    int64_t begin = plan->query_offset / launch->token_stride[outer];
    at.query_first = ceil_div(begin - at.residue[outer], launch->dilation[outer]);
    return at;
}

// ---- lists --------------------------------------------------------------------------------------

static enum heddle_status upload_heads(struct cuda_plan *c, struct sm90_args *args,
                                       struct error *error) {
    const struct plan *plan = c->plan;
    int64_t count = plan->batch * plan->heads, group = plan->heads / plan->kv_heads;
    struct sm90_head *heads = ARENA_ARRAY(&c->arena, struct sm90_head, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        int64_t batch = i / plan->heads, head = i % plan->heads;
        heads[i].list_row = (int32_t)plan->launch.list_of[i];
        heads[i].head = (int32_t)head;
        heads[i].batch = (int32_t)batch;
        heads[i].kv_head = (int32_t)(head / group);
        heads[i].query_at = heads[i].head; // maps are made per batch
        heads[i].key_at = heads[i].kv_head;
        heads[i].set = (int32_t)(batch * c->residue_sets);
    }
    return upload(c, heads, (size_t)count * sizeof *heads, (CUdeviceptr *)&args->heads, error);
}

static enum heddle_status upload_boxes(struct cuda_plan *c, struct sm90_args *args,
                                       struct error *error) {
    const struct plan *plan = c->plan;
    int64_t count = plan->launch.box_count;
    struct sm90_box *boxes = ARENA_ARRAY(&c->arena, struct sm90_box, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        const struct abi_query_box *from = &plan->launch.boxes[i];
        int64_t set = set_number(plan, from->residue);
        struct cuda_residue at = cuda_residue_of(plan, set);
        for (int a = 0; a < ABI_AXES; a++) {
            boxes[i].begin[a] = from->begin[a];
            boxes[i].end[a] = from->end[a];
            boxes[i].residue[a] = from->residue[a];
            boxes[i].extent[a] = (int32_t)at.extent[a];
        }
        boxes[i].set = (int32_t)set;
        boxes[i].query_first = (int32_t)at.query_first;
    }
    return upload(c, boxes, (size_t)count * sizeof *boxes, (CUdeviceptr *)&args->boxes, error);
}

static enum heddle_status upload_runs(struct cuda_plan *c, struct sm90_args *args,
                                      struct error *error) {
    const struct plan *plan = c->plan;
    const struct abi_launch *launch = &plan->launch;
    int64_t lists = plan->row_count * launch->box_count, count = launch->run_begin[lists];
    struct sm90_run *runs = malloc(((size_t)count + 1) * sizeof *runs);
    if (!runs)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the GPU's lists");
    cuda_list_records(plan, runs);
    enum heddle_status status =
        upload(c, runs, (size_t)count * sizeof *runs, (CUdeviceptr *)&args->runs, error);
    free(runs);
    if (status == HEDDLE_OK)
        status = upload(c, launch->run_begin, ((size_t)lists + 1) * sizeof *launch->run_begin,
                        (CUdeviceptr *)&args->run_begin, error);
    args->run_end =
        args->run_begin + sizeof *launch->run_begin; // each list ends where the next begins
    return status;
}

static enum heddle_status upload_tiles(struct cuda_plan *c, struct sm90_args *args,
                                       struct error *error) {
    size_t bytes = (size_t)(c->plan->row_count * args->box_count) * sizeof(uint32_t);
    uint32_t *tiles = malloc(bytes + 1);
    if (!tiles)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the lengths of lists");
    cuda_list_tiles(c->plan, tiles);
    enum heddle_status status = upload(c, tiles, bytes, (CUdeviceptr *)&args->tiles, error);
    free(tiles);
    return status;
}

static enum heddle_status upload_order(struct cuda_plan *c, struct sm90_args *args,
                                       struct error *error) {
    size_t bytes = (size_t)args->items * sizeof(uint32_t);
    uint32_t *order = malloc(bytes);
    enum heddle_status status =
        order && cuda_work_order(c->plan, order)
            ? upload(c, order, bytes, (CUdeviceptr *)&args->order, error)
            : error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the order of work");
    free(order);
    return status;
}

// The lists of a launch: made on the host and uploaded, or made on the GPU.
static enum heddle_status place_lists(struct cuda_plan *c, struct sm90_args *args,
                                      struct error *error) {
    const struct plan *plan = c->plan;
    int64_t items = plan->batch * plan->heads * plan->launch.box_count;
    if (items > INT32_MAX)
        return error_set(error, HEDDLE_LIMIT, "the problem has too many query tiles for a GPU");
    args->items = (int32_t)items;
    if (plan->options.on_device)
        return cuda_planner_create(c, &c->planner, error);
    enum heddle_status status = upload_runs(c, args, error);
    if (status == HEDDLE_OK)
        status = upload_tiles(c, args, error);
    return status == HEDDLE_OK ? upload_order(c, args, error) : status;
}

// ---- parameters and inputs ----------------------------------------------------------------------

static enum heddle_status upload_tables(struct cuda_plan *c, struct error *error) {
    const struct pattern *pattern = c->plan->program->pattern;
    const struct abi_env *env = &c->plan->launch.env;
    enum heddle_status status = HEDDLE_OK;
    c->tables = ARENA_ARRAY(&c->arena, CUdeviceptr, (size_t)pattern->table_count + 1);
    memcpy(c->args + SM90_PARAM, env->params, 8 * (size_t)pattern->scalar_count);
    for (int t = 0; t < pattern->table_count && status == HEDDLE_OK; t++) {
        CUdeviceptr at;
        status = upload(c, env->tables[t], 8 * (size_t)c->plan->heads, &at, error);
        c->tables[t] = at;
        if (status == HEDDLE_OK)
            memcpy(c->args + sm90_tables_at(pattern) + 8 * t, &at, sizeof at);
    }
    return status;
}

static enum heddle_status upload_arrays(struct cuda_plan *c, struct error *error) {
    const struct pattern *pattern = c->plan->program->pattern;
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < pattern->input_count + pattern->map_count && status == HEDDLE_OK; i++) {
        const struct abi_array *from = &c->plan->launch.env.arrays[i];
        struct sm90_array array;
        CUdeviceptr at;
        size_t bytes = cuda_planner_element(pattern, i) == ABI_BYTE ? 1 : 4;
        for (int n = 0; n < ABI_INDICES; n++) {
            array.extent[n] = from->extent[n];
            bytes *= (size_t)from->extent[n];
        }
        status = upload(c, from->data, bytes, &at, error);
        array.data = at;
        memcpy(c->args + sm90_arrays_at(pattern) + (size_t)i * sizeof array, &array, sizeof array);
    }
    return status;
}

static enum heddle_status make_queue(struct cuda_plan *c, struct error *error) {
    static const uint32_t empty[2] = {0, 0};
    return upload(c, empty, sizeof empty, &c->queue, error);
}

static void fill_scalars(const struct plan *plan, struct sm90_args *args) {
    const struct abi_launch *launch = &plan->launch;
    memcpy(args->token_stride, launch->token_stride, sizeof args->token_stride);
    memcpy(args->dilation, launch->dilation, sizeof args->dilation);
    memcpy(args->basis_extent, launch->basis_extent, sizeof args->basis_extent);
    memcpy(args->axis_divisor, launch->axis_divisor, sizeof args->axis_divisor);
    memcpy(args->axis_modulus, launch->axis_modulus, sizeof args->axis_modulus);
    memcpy(args->size, launch->env.size, sizeof args->size);
    args->head_count = plan->heads;
    args->kv_head_count = plan->kv_heads;
    args->query_offset = plan->query_offset;
    args->box_count = (int32_t)launch->box_count;
    args->scale = (float)plan->scale;
    args->scale_log2 = (float)(plan->scale * 1.4426950408889634074);
}

// ---- the plan -----------------------------------------------------------------------------------

static enum heddle_status fill(struct cuda_plan *c, struct error *error) {
    jmp_buf escape;
    if (setjmp(escape)) {
        c->arena.escape = NULL;
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the GPU's plan");
    }
    c->arena.escape = &escape;
    const struct plan *plan = c->plan;
    const int64_t *d = plan->launch.dilation;
    c->residue_sets = d[0] * d[1] * d[2];
    c->args =
        ARENA_ARRAY(&c->arena, unsigned char, (size_t)sm90_args_bytes(plan->program->pattern));
    struct sm90_args *args = (struct sm90_args *)(void *)c->args;
    fill_scalars(plan, args);
    enum heddle_status status = HEDDLE_OK;
    if (plan->ptx)
        status = cuda_kernel_load(c->device, plan->ptx->cubin.text, plan->ptx->ptx.text,
                                  "heddle_attention", plan->ptx->shared_bytes, &c->kernel, error);
    if (status == HEDDLE_OK)
        status = cuda_maps_create(c, error);
    if (status == HEDDLE_OK)
        status = upload_heads(c, args, error);
    if (status == HEDDLE_OK)
        status = upload_boxes(c, args, error);
    if (status == HEDDLE_OK)
        status = make_queue(c, error);
    if (status == HEDDLE_OK)
        status = upload_tables(c, error);
    if (status == HEDDLE_OK)
        status = upload_arrays(c, error);
    if (status == HEDDLE_OK)
        status = cuda_pool_create(c, args, error);
    if (status == HEDDLE_OK)
        status = place_lists(c, args, error);
    c->arena.escape = NULL;
    return status;
}

enum heddle_status cuda_plan_create(const struct cuda_device *device, const struct plan *plan,
                                    struct cuda_plan **out_plan, struct error *error) {
    struct cuda_plan *c = calloc(1, sizeof *c);
    *out_plan = NULL;
    if (!c)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the GPU's plan");
    double begin = now_ms();
    c->plan = plan;
    c->device = c->memory.device = device;
    arena_init(&c->arena, (size_t)1 << 40);
    enum heddle_status status = cuda_device_enter(device, error);
    if (status == HEDDLE_OK) {
        struct stage stage = stage_begin("load, upload");
        status = fill(c, error);
        // Copies from ordinary memory go through the driver's own and may still be under way: a run
        // on a stream that does not wait for the default one would overtake them.
        if (status == HEDDLE_OK)
            status = cuda_status(device->api, device->api->StreamSynchronize(NULL),
                                 "uploading the plan", error);
        stage_end(&stage);
        cuda_device_leave(device);
    }
    c->load_ms = now_ms() - begin;
    if (status != HEDDLE_OK) {
        cuda_plan_destroy(c);
        return status;
    }
    *out_plan = c;
    return HEDDLE_OK;
}

void cuda_plan_destroy(struct cuda_plan *c) {
    struct error ignored = {0};
    if (!c)
        return;
    if (cuda_device_enter(c->device, &ignored) == HEDDLE_OK) {
        cuda_planner_unload(c->planner);
        cuda_memory_free(&c->memory);
        cuda_maps_destroy(c);
        cuda_pool_unload(c);
        cuda_kernel_unload(c->device, &c->kernel);
        cuda_device_leave(c->device);
    }
    error_finish(&ignored);
    cuda_planner_finish(c->planner);
    cuda_memory_finish(&c->memory);
    arena_finish(&c->arena);
    free(c);
}
