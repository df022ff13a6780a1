// Lists made on a GPU against the host's, bit for bit.
#include "runtime/cuda/cuda_lists.h"
#include "runtime/cuda/cuda_planner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void *fetch(const struct cuda_planner *p, const void *from, int64_t count, size_t size_bytes,
                   enum heddle_status *status, struct error *error) {
    const struct cuda_api *api = p->c->device->api;
    size_t bytes = (size_t)count * size_bytes;
    if (*status != HEDDLE_OK)
        return NULL;
    void *to = malloc(bytes + 1);
    if (!to) {
        *status = error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the GPU's lists");
        return NULL;
    }
    CUresult result = api->MemcpyDtoH(to, (CUdeviceptr)(uintptr_t)from, bytes);
    *status = cuda_status(api, result, "fetching the GPU's lists", error);
    return to;
}

enum heddle_status cuda_planner_fetch(struct cuda_planner *p, struct cuda_made *out,
                                      struct error *error) {
    const struct list_job *job = &p->list_job;
    const struct sm90_args *args = (const struct sm90_args *)(const void *)p->c->args;
    int64_t lists = list_count(job);
    enum heddle_status status = HEDDLE_OK;
    *out = (struct cuda_made){0};
    out->runs = fetch(p, job->runs, lists * job->limits.runs, sizeof *out->runs, &status, error);
    out->run_end = fetch(p, job->run_end, lists, sizeof *out->run_end, &status, error);
    out->tiles = fetch(p, job->tiles, lists, sizeof *out->tiles, &status, error);
    out->merged = fetch(p, job->merged, lists, sizeof *out->merged, &status, error);
    out->order = fetch(p, p->order_job.order, args->items, sizeof *out->order, &status, error);
    return status;
}

void cuda_made_finish(struct cuda_made *made) {
    free(made->runs);
    free(made->run_end);
    free(made->tiles);
    free(made->merged);
    free(made->order);
    *made = (struct cuda_made){0};
}

// ---- comparing ----------------------------------------------------------------------------------

struct host_lists {
    struct sm90_run *records; // by run of the plan
    uint32_t *order;
};

static bool differs(struct error *error, const char *what, int64_t where, int64_t here,
                    int64_t there) {
    error_set(error, HEDDLE_INTERNAL,
              "the GPU's %s differ first at %" PRId64 ": %" PRId64 " on the host, %" PRId64
              " on the GPU",
              what, where, here, there);
    return false;
}

static bool same_list(const struct plan *plan, int64_t list, const struct host_lists *host,
                      const struct cuda_made *made, struct error *error) {
    int64_t begin = plan->launch.run_begin[list], end = plan->launch.run_begin[list + 1];
    int64_t at = list * plan->limits.runs, count = made->run_end[list] - at;
    if (count != end - begin)
        return differs(error, "numbers of runs by list", list, end - begin, count);
    for (int64_t i = 0; i < count; i++) {
        const struct sm90_run *here = &host->records[begin + i], *there = &made->runs[at + i];
        for (size_t word = 0; word < sizeof *here / 4; word++) {
            int32_t x, y;
            memcpy(&x, (const char *)here + 4 * word, 4);
            memcpy(&y, (const char *)there + 4 * word, 4);
            if (x != y) {
                error_set(error, HEDDLE_INTERNAL,
                          "the GPU's runs differ first in list %" PRId64 ", run %" PRId64
                          ", word %zu: %d on the host, %d on the GPU",
                          list, i, word, x, y);
                return false;
            }
        }
    }
    return true;
}

static bool same(const struct plan *plan, const struct host_lists *host,
                 const struct cuda_made *made, struct error *error) {
    int64_t lists = plan->row_count * plan->launch.box_count, merged = 0;
    int64_t items = plan->batch * plan->heads * plan->launch.box_count;
    for (int64_t list = 0; list < lists; list++) {
        if (!same_list(plan, list, host, made, error))
            return false;
        merged += made->merged[list];
    }
    if (merged != plan->counts.merged_lists)
        return differs(error, "counts of merged lists", 0, plan->counts.merged_lists, merged);
    for (int64_t i = 0; i < items; i++)
        if (host->order[i] != made->order[i])
            return differs(error, "work orders", i, host->order[i], made->order[i]);
    return true;
}

static enum heddle_status make_host_lists(struct plan *plan, struct host_lists *out,
                                          struct error *error) {
    enum heddle_status status = plan_make_lists(plan, error);
    *out = (struct host_lists){0};
    if (status != HEDDLE_OK)
        return status;
    int64_t lists = plan->row_count * plan->launch.box_count;
    int64_t items = plan->batch * plan->heads * plan->launch.box_count;
    out->records = malloc(((size_t)plan->launch.run_begin[lists] + 1) * sizeof *out->records);
    out->order = malloc((size_t)items * sizeof *out->order);
    if (!out->records || !out->order)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory to compare lists");
    cuda_list_records(plan, out->records);
    if (!cuda_work_order(plan, out->order))
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory to compare lists");
    return HEDDLE_OK;
}

enum heddle_status cuda_planner_compare(struct cuda_planner *p, struct plan *plan, bool *out_same,
                                        struct error *error) {
    struct cuda_made made = {0};
    struct host_lists host;
    *out_same = false;
    enum heddle_status status = make_host_lists(plan, &host, error);
    if (status == HEDDLE_OK)
        status = cuda_device_enter(p->c->device, error);
    if (status == HEDDLE_OK) {
        status = cuda_planner_fetch(p, &made, error);
        cuda_device_leave(p->c->device);
    }
    if (status == HEDDLE_OK)
        *out_same = same(plan, &host, &made, error);
    cuda_made_finish(&made);
    free(host.records);
    free(host.order);
    return status;
}
