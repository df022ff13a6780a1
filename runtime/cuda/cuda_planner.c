#include "runtime/cuda/cuda_planner.h"

#include "compiler/pipeline.h"
#include "compiler/planner/array_range.h"
#include "runtime/cuda/cuda_lists.h"
#include "runtime/lists.h"

#include <stdlib.h>
#include <string.h>

enum {
    WARP = 32,                // threads of a block that makes lists
    WARPS_A_PROCESSOR = 16,   // as many as their registers allow
    WORKERS_A_PROCESSOR = 64, // more gain nothing
    WORKERS_MOST_BYTES = 64 << 20,
    ARRAY_THREADS = 128, // of a block that changes an input or makes a level
    ARRAY_BLOCKS = 1024,
};

// ---- room ---------------------------------------------------------------------------------------

static enum heddle_status room_for(struct cuda_planner *p, int64_t count, size_t size_bytes,
                                   void *out_pointer, struct error *error) {
    CUdeviceptr at = 0;
    enum heddle_status status = cuda_allocate(&p->memory, (size_t)count * size_bytes, &at, error);
    memcpy(out_pointer, &at, sizeof at); // a pointer there: 64 bits, as here
    return status;
}

static enum heddle_status send(struct cuda_planner *p, const void *data, int64_t count,
                               size_t size_bytes, void *out_pointer, struct error *error) {
    CUdeviceptr at = 0;
    enum heddle_status status =
        cuda_upload(&p->memory, data, (size_t)count * size_bytes, &at, error);
    memcpy(out_pointer, &at, sizeof at);
    return status;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// One worker a warp, since lists take different ways through the code; more where there are more
// workers than warps that can run at a time. (Measured: 4 a warp plan a million tokens' window
// twice as fast, and unlike lists no slower.)
static void spread_workers(struct cuda_planner *p) {
    int64_t lists = list_count(&p->list_job), processors = p->c->device->processors;
    p->worker_bytes = piece_space_bytes(&p->list_job.limits);
    int64_t workers = least(lists, WORKERS_A_PROCESSOR * processors);
    workers = least(workers, WORKERS_MOST_BYTES / p->worker_bytes + 1);
    p->warp_workers = 1;
    while (p->warp_workers * WARPS_A_PROCESSOR * processors < workers && p->warp_workers < WARP)
        p->warp_workers *= 2;
    p->warps = (workers + p->warp_workers - 1) / p->warp_workers;
}

static enum heddle_status make_room(struct cuda_planner *p, struct error *error) {
    struct list_job *job = &p->list_job;
    int64_t lists = list_count(job), items = p->c->plan->batch * p->c->plan->heads * job->box_count;
    int inputs = p->c->plan->program->pattern->input_count;
    spread_workers(p);
    enum heddle_status status =
        room_for(p, lists * job->limits.runs, sizeof *job->runs, &job->runs, error);
    if (status == HEDDLE_OK)
        status = room_for(p, lists, sizeof *job->run_begin, &job->run_begin, error);
    if (status == HEDDLE_OK)
        status = room_for(p, lists, sizeof *job->run_end, &job->run_end, error);
    if (status == HEDDLE_OK)
        status = room_for(p, lists, sizeof *job->tiles, &job->tiles, error);
    if (status == HEDDLE_OK)
        status = room_for(p, lists, sizeof *job->merged, &job->merged, error);
    if (status == HEDDLE_OK)
        status = room_for(p, items, sizeof *p->order_job.order, &p->order_job.order, error);
    if (status == HEDDLE_OK)
        status = room_for(p, items, sizeof *p->order_job.spare, &p->order_job.spare, error);
    if (status == HEDDLE_OK)
        status = room_for(p, inputs, sizeof(uint32_t), &p->outside_at, error);
    if (status == HEDDLE_OK)
        status =
            room_for(p, p->warps * p->warp_workers, (size_t)p->worker_bytes, &p->workers_at, error);
    return status;
}

// ---- what the planner reads ---------------------------------------------------------------------

enum abi_element cuda_planner_element(const struct pattern *pattern, int array) {
    return array >= pattern->input_count || pattern_is_set(&pattern->inputs[array]) ? ABI_BYTE
           : pattern->inputs[array].type == TYPE_REAL                               ? ABI_FLOAT32
                                                                                    : ABI_INT32;
}

static int array_count(const struct cuda_planner *p) {
    const struct pattern *pattern = p->c->plan->program->pattern;
    return pattern->input_count + pattern->map_count;
}

// Elements are where the attention kernel reads them; pyramids are made here.
static enum heddle_status place_arrays(struct cuda_planner *p, struct error *error) {
    const struct pattern *pattern = p->c->plan->program->pattern;
    int count = array_count(p);
    enum heddle_status status = HEDDLE_OK;
    p->arrays = ARENA_ARRAY(&p->c->arena, struct abi_array, (size_t)count + 1);
    for (int i = 0; i < count && status == HEDDLE_OK; i++) {
        struct abi_array *array = &p->arrays[i];
        struct sm90_array there;
        memcpy(&there, p->c->args + sm90_arrays_at(pattern) + (size_t)i * sizeof there,
               sizeof there);
        *array = p->c->plan->launch.env.arrays[i];
        memcpy(&array->data, &there.data, sizeof array->data);
        for (int level = 1; array_has_level(array, level) && status == HEDDLE_OK; level++)
            status = room_for(p, array_groups(array, level), sizeof(struct abi_pair),
                              &array->levels[level], error);
    }
    if (status == HEDDLE_OK)
        status = send(p, p->arrays, count, sizeof *p->arrays, &p->arrays_at, error);
    return status;
}

static enum heddle_status place_env(struct cuda_planner *p, struct error *error) {
    const struct pattern *pattern = p->c->plan->program->pattern;
    struct abi_env *env = &p->list_job.env;
    CUdeviceptr tables;
    enum heddle_status status =
        send(p, env->params, pattern->scalar_count, sizeof *env->params, &p->scalars_at, error);
    if (status == HEDDLE_OK)
        status = send(p, p->c->tables, pattern->table_count, sizeof *p->c->tables, &tables, error);
    if (status == HEDDLE_OK)
        status = place_arrays(p, error);
    if (status != HEDDLE_OK)
        return status;
    memcpy(&env->params, &p->scalars_at, sizeof env->params);
    memcpy(&env->tables, &tables, sizeof env->tables);
    memcpy(&env->arrays, &p->arrays_at, sizeof env->arrays);
    env->array_range = NULL;
    return HEDDLE_OK;
}

static enum heddle_status place_boxes(struct cuda_planner *p, struct error *error) {
    const struct plan *plan = p->c->plan;
    struct list_job *job = &p->list_job;
    int64_t *members = ARENA_ARRAY(&p->c->arena, int64_t, (size_t)plan->row_count);
    for (int64_t row = 0; row < plan->row_count; row++) {
        int64_t batch, head;
        lists_member(plan, row, &batch, &head);
        members[row] = batch * plan->heads + head;
    }
    job->box_count = plan->launch.box_count;
    enum heddle_status status =
        send(p, plan->launch.boxes, job->box_count, sizeof *job->boxes, &job->boxes, error);
    if (status == HEDDLE_OK)
        status = send(p, members, plan->row_count, sizeof *members, &job->members, error);
    return status;
}

// The attention kernel reads the lists where they are made.
static void point_kernel(struct cuda_planner *p) {
    struct sm90_args *args = (struct sm90_args *)(void *)p->c->args;
    args->runs = (uint64_t)(uintptr_t)p->list_job.runs;
    args->run_begin = (uint64_t)(uintptr_t)p->list_job.run_begin;
    args->run_end = (uint64_t)(uintptr_t)p->list_job.run_end;
    args->tiles = (uint64_t)(uintptr_t)p->list_job.tiles;
    args->order = (uint64_t)(uintptr_t)p->order_job.order;
}

static enum heddle_status place_all(struct cuda_planner *p, struct error *error) {
    const struct sm90_args *args = (const struct sm90_args *)(const void *)p->c->args;
    lists_job(p->c->plan, &p->list_job);
    p->list_job.regions = NULL;
    p->list_job.classify = NULL;
    p->order_job = cuda_order_job(p->c->plan);
    enum heddle_status status = place_env(p, error);
    if (status == HEDDLE_OK)
        status = place_boxes(p, error);
    if (status == HEDDLE_OK)
        status = make_room(p, error);
    p->order_job.tiles = p->list_job.tiles;
    p->order_job.heads = (const struct sm90_head *)(uintptr_t)args->heads;
    if (status == HEDDLE_OK)
        status = send(p, &p->list_job, 1, sizeof p->list_job, &p->list_job_at, error);
    if (status == HEDDLE_OK)
        status = send(p, &p->order_job, 1, sizeof p->order_job, &p->order_job_at, error);
    point_kernel(p);
    return status;
}

// ---- launches -----------------------------------------------------------------------------------

static enum heddle_status launch(struct cuda_planner *p, CUfunction function, int64_t blocks,
                                 unsigned threads, CUstream stream, void **params,
                                 struct error *error) {
    const struct cuda_api *api = p->c->device->api;
    CUresult result =
        api->LaunchKernel(function, (unsigned)blocks, 1, 1, threads, 1, 1, 0, stream, params, NULL);
    return cuda_status(api, result, "launching the planner", error);
}

static int64_t array_blocks(int64_t elements) {
    int64_t blocks = (elements + ARRAY_THREADS - 1) / ARRAY_THREADS;
    return blocks < 1 ? 1 : least(blocks, ARRAY_BLOCKS);
}

enum heddle_status cuda_planner_clear(struct cuda_planner *p, int input, CUstream stream,
                                      struct error *error) {
    CUdeviceptr at = p->outside_at + (size_t)input * sizeof(uint32_t);
    void *params[] = {&at};
    return launch(p, p->clear, 1, 1, stream, params, error);
}

enum heddle_status cuda_planner_change(struct cuda_planner *p, const struct array_change *change,
                                       CUstream stream, struct error *error) {
    void *params[] = {(void *)(uintptr_t)change};
    return launch(p, p->change, array_blocks(change->count), ARRAY_THREADS, stream, params, error);
}

enum heddle_status cuda_planner_zero(struct cuda_planner *p, int input, CUstream stream,
                                     struct error *error) {
    const void *table = p->arrays[input].data;
    int64_t bytes = array_groups(&p->arrays[input], 0);
    void *params[] = {&table, &bytes};
    return launch(p, p->zero, array_blocks(bytes / 8), ARRAY_THREADS, stream, params, error);
}

enum heddle_status cuda_planner_levels(struct cuda_planner *p, int array, CUstream stream,
                                       struct error *error) {
    CUdeviceptr at = p->arrays_at + (size_t)array * sizeof *p->arrays;
    int64_t element = cuda_planner_element(p->c->plan->program->pattern, array);
    enum heddle_status status = HEDDLE_OK;
    for (int64_t level = 1; array_has_level(&p->arrays[array], (int)level) && status == HEDDLE_OK;
         level++) {
        void *params[] = {&at, &element, &level};
        int64_t blocks = array_blocks(array_groups(&p->arrays[array], (int)level));
        status = launch(p, p->levels, blocks, ARRAY_THREADS, stream, params, error);
    }
    return status;
}

static enum heddle_status launch_lists(struct cuda_planner *p, CUstream stream,
                                       struct error *error) {
    int64_t spread = WARP / p->warp_workers;
    void *params[] = {&p->list_job_at, &p->workers_at, &p->worker_bytes, &spread};
    return launch(p, p->lists, p->warps, WARP, stream, params, error);
}

static enum heddle_status launch_order(struct cuda_planner *p, CUstream stream,
                                       struct error *error) {
    enum { MOST_BLOCKS = 4096 };
    uint32_t sections = order_sections(&p->order_job);
    void *params[] = {&p->order_job_at};
    return launch(p, p->order, sections < MOST_BLOCKS ? sections : MOST_BLOCKS, ORDER_WORKERS,
                  stream, params, error);
}

enum heddle_status cuda_planner_make(struct cuda_planner *p, CUstream stream, struct error *error) {
    enum heddle_status status = launch_lists(p, stream, error);
    return status == HEDDLE_OK ? launch_order(p, stream, error) : status;
}

enum heddle_status cuda_planner_launch(struct cuda_planner *p, CUstream stream,
                                       struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < array_count(p) && status == HEDDLE_OK; i++)
        status = cuda_planner_levels(p, i, stream, error);
    return status == HEDDLE_OK ? cuda_planner_make(p, stream, error) : status;
}

// ---- the planner --------------------------------------------------------------------------------

static enum heddle_status load(struct cuda_planner *p, struct error *error) {
    const struct cuda_api *api = p->c->device->api;
    const struct ptx_planner *planner;
    enum heddle_status status =
        program_ptx_planner(p->c->plan->program, p->c->plan->basis, &planner, error);
    if (status == HEDDLE_OK)
        status = cuda_module_load(p->c->device, planner->cubin.text, planner->ptx.text, &p->module,
                                  error);
    if (status != HEDDLE_OK)
        return status;
    static const char *const names[] = {DEVICE_KERNEL_CLEAR, DEVICE_KERNEL_CHANGE,
                                        DEVICE_KERNEL_ZERO,  DEVICE_KERNEL_LEVELS,
                                        DEVICE_KERNEL_LISTS, DEVICE_KERNEL_ORDER};
    CUfunction *to[] = {&p->clear, &p->change, &p->zero, &p->levels, &p->lists, &p->order};
    CUresult result = CUDA_SUCCESS;
    for (int i = 0; i < 6 && result == CUDA_SUCCESS; i++)
        result = api->ModuleGetFunction(to[i], p->module, names[i]);
    return cuda_status(api, result, "preparing the planner", error);
}

// Every kernel runs once here, inputs unchanged: none is to be loaded while a stream is captured.
static enum heddle_status plan_first(struct cuda_planner *p, struct error *error) {
    const struct pattern *pattern = p->c->plan->program->pattern;
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < pattern->input_count && status == HEDDLE_OK; i++) {
        const struct array_change nothing = {.count = 0};
        const void *table = NULL;
        int64_t bytes = 0;
        status = cuda_planner_clear(p, i, NULL, error);
        if (status == HEDDLE_OK && pattern_is_set(&pattern->inputs[i]))
            status = launch(p, p->zero, 1, 1, NULL, (void *[]){&table, &bytes}, error);
        if (status == HEDDLE_OK)
            status = cuda_planner_change(p, &nothing, NULL, error);
    }
    if (status == HEDDLE_OK)
        status = cuda_planner_launch(p, NULL, error);
    return status == HEDDLE_OK ? cuda_planner_lists(p, NULL, &p->first, error) : status;
}

enum heddle_status cuda_planner_create(struct cuda_plan *c, struct cuda_planner **out,
                                       struct error *error) {
    struct cuda_planner *p = ARENA_NEW(&c->arena, struct cuda_planner);
    *out = p; // destroyed with the plan, finished or not
    p->c = c;
    p->memory.device = c->device;
    enum heddle_status status = load(p, error);
    if (status == HEDDLE_OK)
        status = place_all(p, error);
    return status == HEDDLE_OK ? plan_first(p, error) : status;
}

void cuda_planner_unload(struct cuda_planner *p) {
    if (!p)
        return;
    cuda_memory_free(&p->memory);
    if (p->module)
        p->c->device->api->ModuleUnload(p->module);
}

void cuda_planner_finish(struct cuda_planner *p) {
    if (p)
        cuda_memory_finish(&p->memory);
}
