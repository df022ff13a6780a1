#include "runtime/predict.h"

#include "runtime/cost.h"
#include "runtime/cuda/cuda_lists.h"

#include <math.h>
#include <stdlib.h>

// Beyond this many, the last items to end are nothing beside all the others.
enum { MOST_SIMULATED = 1 << 22 };

static double total_ms(const struct plan *plan, const struct cost *cost) {
    const struct plan_counts *counts = &plan->counts;
    return cost->full * (double)counts->full_tiles + cost->partial * (double)counts->partial_tiles +
           cost->item * (double)counts->items;
}

// ---- a GPU: blocks draw items from a queue ------------------------------------------------------

static double list_ms(const struct plan *plan, const struct cost *cost, int64_t list) {
    const struct abi_launch *launch = &plan->launch;
    double ms = cost->item;
    for (int64_t i = launch->run_begin[list]; i < launch->run_begin[list + 1]; i++) {
        const struct abi_run *run = &launch->runs[i];
        double tiles = (double)run->count[0] * run->count[1] * run->count[2];
        ms += tiles * (run->kind & ABI_RUN_PARTIAL ? cost->partial : cost->full);
    }
    return ms;
}

// The first of a heap (least first) has grown: moves it to its place.
static void sink(double *ends, int count) {
    int at = 0;
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && ends[child + 1] < ends[child])
            child++;
        if (ends[at] <= ends[child])
            return;
        double end = ends[at];
        ends[at] = ends[child];
        ends[child] = end;
    }
}

// Each item goes to the worker that is free first. `ends` is 0 at the start, one a worker.
static double last_end(const struct plan *plan, const double *of_list, const uint32_t *order,
                       int64_t items, double *ends, int workers) {
    int64_t boxes = plan->launch.box_count;
    double last = 0.0;
    for (int64_t i = 0; i < items; i++) {
        int64_t row = plan->launch.list_of[order[i] / boxes];
        ends[0] += of_list[row * boxes + order[i] % boxes];
        last = ends[0] > last ? ends[0] : last;
        sink(ends, workers);
    }
    return last;
}

static bool queue_ms(const struct plan *plan, const struct cost *cost, int workers, double *out) {
    int64_t lists = plan->row_count * plan->launch.box_count, items = plan->counts.items;
    if (items > MOST_SIMULATED) {
        *out = total_ms(plan, cost) / workers;
        return true;
    }
    double *of_list = calloc((size_t)lists + 1, sizeof *of_list);
    double *ends = calloc((size_t)workers, sizeof *ends);
    uint32_t *order = calloc((size_t)items + 1, sizeof *order);
    bool fits = of_list && ends && order && cuda_work_order(plan, order);
    for (int64_t i = 0; i < lists && fits; i++)
        of_list[i] = list_ms(plan, cost, i);
    if (fits)
        *out = last_end(plan, of_list, order, items, ends, workers);
    free(of_list);
    free(ends);
    free(order);
    return fits;
}

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// All items of a dense problem are alike: whole waves of them, in the rows that take less.
static double dense_ms(const struct plan *plan, const struct cost *cost, int workers) {
    double least = INFINITY;
    for (int i = 0; i < cost->dense_count; i++) {
        const struct cost_dense *dense = &cost->dense[i];
        int64_t items = plan->batch * plan->heads * ceil_div(plan->queries, (int64_t)dense->rows);
        double tiles = (double)ceil_div(plan->keys, (int64_t)dense->keys);
        double waves = (double)ceil_div(items, workers);
        least = fmin(least, waves * (tiles * dense->tile + dense->item));
    }
    return least;
}

static bool predict_gpu(const struct plan *plan, const struct cost *cost, int workers,
                        struct prediction *out) {
    double launch = cost_device_of(plan->options.target).launch_ms;
    if (!queue_ms(plan, cost, workers, &out->ms))
        return false;
    out->ms = launch + cost_sustained(plan, out->ms);
    out->dense_ms = launch + cost_sustained(plan, dense_ms(plan, cost, workers));
    return true;
}

// ---- a CPU: many more items than threads --------------------------------------------------------

static void predict_cpu(const struct plan *plan, const struct cost *cost, int workers,
                        struct prediction *out) {
    const struct cost_dense *dense = &cost->dense[0];
    double rows = (double)plan->batch * (double)plan->heads * (double)plan->queries;
    double tiles = (double)plan->keys / dense->keys;
    double ms = rows / dense->rows * (tiles * dense->tile + dense->item);
    *out = (struct prediction){total_ms(plan, cost) / workers, ms / workers};
}

bool predict(const struct plan *plan, int workers, struct prediction *out) {
    struct mask_ops ops;
    *out = (struct prediction){0};
    if (!mask_ops_count(plan, &ops))
        return false;
    struct cost cost = cost_of(plan, &ops);
    if (plan->options.target == HEDDLE_TARGET_CUDA)
        return predict_gpu(plan, &cost, workers, out);
    predict_cpu(plan, &cost, workers, out);
    return true;
}
