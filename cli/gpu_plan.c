#include "cli/gpu_plan.h"

#include "cli/command.h"
#include "cli/measure.h"
#include "runtime/cuda/cuda_planner.h"

enum { UNTIMED = 2, REPEATS = 11 };

static enum heddle_status time_one(struct cuda_planner *planner, CUevent begin, CUevent end,
                                   double *out_ms, struct error *error) {
    const struct cuda_api *api = planner->c->device->api;
    float ms = 0;
    CUresult result = api->EventRecord(begin, NULL);
    enum heddle_status status = cuda_status(api, result, "timing", error);
    if (status == HEDDLE_OK)
        status = cuda_planner_launch(planner, NULL, error);
    if (status != HEDDLE_OK)
        return status;
    result = api->EventRecord(end, NULL);
    if (result == CUDA_SUCCESS)
        result = api->EventSynchronize(end);
    if (result == CUDA_SUCCESS)
        result = api->EventElapsedTime(&ms, begin, end);
    *out_ms = ms;
    return cuda_status(api, result, "running the planner", error);
}

static enum heddle_status time_all(struct cuda_planner *planner, double *ms, struct error *error) {
    const struct cuda_api *api = planner->c->device->api;
    CUevent begin = NULL, end = NULL;
    double ignored;
    CUresult result = api->EventCreate(&begin, 0);
    if (result == CUDA_SUCCESS)
        result = api->EventCreate(&end, 0);
    enum heddle_status status = cuda_status(api, result, "timing", error);
    for (int i = -UNTIMED; i < REPEATS && status == HEDDLE_OK; i++)
        status = time_one(planner, begin, end, i < 0 ? &ignored : &ms[i], error);
    if (begin)
        api->EventDestroy(begin);
    if (end)
        api->EventDestroy(end);
    return status;
}

static int compare_lists(struct cuda_planner *planner, struct plan *plan) {
    struct error error = {0};
    bool same;
    enum heddle_status status = cuda_planner_compare(planner, plan, &same, &error);
    if (status != HEDDLE_OK)
        return fail(&error);
    if (!same)
        complain("%s", error_text(&error));
    error_finish(&error);
    return same ? EXIT_DONE : EXIT_VERIFY;
}

int gpu_plan_measure(struct cuda_plan *gpu, struct plan *plan, bool compare) {
    double ms[REPEATS] = {0};
    struct error error = {0};
    if (!gpu || !gpu->planner)
        return EXIT_DONE;
    enum heddle_status status = cuda_device_enter(gpu->device, &error);
    if (status == HEDDLE_OK) {
        status = time_all(gpu->planner, ms, &error);
        cuda_device_leave(gpu->device);
    }
    if (status == HEDDLE_OK)
        status = plan_make_lists(plan, &error);
    if (status != HEDDLE_OK)
        return fail(&error);
    plan->device_plan_bytes = gpu->planner->memory.bytes;
    plan->device_plan_ms = timing_of(ms, REPEATS).median_ms;
    return compare ? compare_lists(gpu->planner, plan) : EXIT_DONE;
}
