// Runs timed by the GPU's own events. Each launch stands between two of them, and the stream is
// held until a batch is queued: what the host takes to launch is then no part of a sample, however
// short the kernel.
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "runtime/cuda/cuda_launch.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

enum { QUEUED = 32 }; // launches in flight: far below what a stream takes without blocking the host

static const struct cuda_api *api_of(const struct gpu_run *gpu) {
    return gpu->plan->device->api;
}

// ---- holding the stream -------------------------------------------------------------------------

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    bool open;
};

// On a thread of the driver's, when the stream gets there.
static void wait_at(void *context) {
    struct gate *gate = context;
    pthread_mutex_lock(&gate->mutex);
    while (!gate->open)
        pthread_cond_wait(&gate->opened, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

static void set_open(struct gate *gate, bool open) {
    pthread_mutex_lock(&gate->mutex);
    gate->open = open;
    pthread_cond_broadcast(&gate->opened);
    pthread_mutex_unlock(&gate->mutex);
}

static enum heddle_status hold(const struct cuda_api *api, struct gate *gate, struct error *error) {
    set_open(gate, false);
    return cuda_status(api, api->LaunchHostFunc(NULL, wait_at, gate), "timing", error);
}

// ---- a batch ------------------------------------------------------------------------------------

struct events {
    CUevent begin, end;
};

static enum heddle_status queue_run(struct gpu_run *gpu, const struct events *events,
                                    struct error *error) {
    const struct cuda_api *api = api_of(gpu);
    enum heddle_status status =
        cuda_status(api, api->EventRecord(events->begin, NULL), "timing", error);
    if (status == HEDDLE_OK)
        status = cuda_plan_run(gpu->plan, &gpu->run, 0, NULL, error);
    if (status == HEDDLE_OK)
        status = cuda_status(api, api->EventRecord(events->end, NULL), "timing", error);
    return status;
}

// Waits for everything queued, and reads the clock of each run.
static enum heddle_status collect(const struct cuda_api *api, const struct events *events,
                                  int64_t count, double *ms, struct error *error) {
    CUresult result = api->EventSynchronize(events[count - 1].end);
    for (int64_t i = 0; i < count && result == CUDA_SUCCESS; i++) {
        float elapsed = 0;
        result = api->EventElapsedTime(&elapsed, events[i].begin, events[i].end);
        ms[i] = elapsed;
    }
    return cuda_status(api, result, "running the kernel", error);
}

// `gate` NULL: the runs start as they are queued.
static enum heddle_status time_batch(struct gpu_run *gpu, struct gate *gate,
                                     const struct events *events, int64_t count, double *ms,
                                     struct error *error) {
    const struct cuda_api *api = api_of(gpu);
    enum heddle_status status = gate ? hold(api, gate, error) : HEDDLE_OK;
    for (int64_t i = 0; i < count && status == HEDDLE_OK; i++)
        status = queue_run(gpu, &events[i], error);
    if (gate)
        set_open(gate, true);
    if (status == HEDDLE_OK)
        status = collect(api, events, count, ms, error);
    if (status != HEDDLE_OK)
        api->StreamSynchronize(NULL); // the gate outlives its waiter
    return status;
}

// ---- all of them --------------------------------------------------------------------------------

static enum heddle_status warm_up(struct gpu_run *gpu, int64_t runs, struct error *error) {
    const struct cuda_api *api = api_of(gpu);
    enum heddle_status status = HEDDLE_OK;
    for (int64_t i = 0; i < runs && status == HEDDLE_OK; i++)
        status = cuda_plan_run(gpu->plan, &gpu->run, 0, NULL, error);
    if (status == HEDDLE_OK)
        status = cuda_status(api, api->StreamSynchronize(NULL), "running the kernel", error);
    return status;
}

static enum heddle_status time_all(struct gpu_run *gpu, const struct events *events, bool held,
                                   int64_t repeats, double *ms, struct error *error) {
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    enum heddle_status status = HEDDLE_OK;
    struct progress progress;
    progress_begin(&progress, "running", repeats);
    for (int64_t done = 0; done < repeats && status == HEDDLE_OK; done += QUEUED) {
        int64_t count = repeats - done < QUEUED ? repeats - done : QUEUED;
        status = time_batch(gpu, held ? &gate : NULL, events, count, ms + done, error);
        progress_step(&progress, done + count);
    }
    progress_end(&progress);
    return status;
}

static enum heddle_status run_all(struct gpu_run *gpu, int64_t untimed, int64_t repeats, double *ms,
                                  struct error *error) {
    const struct cuda_api *api = api_of(gpu);
    struct events events[QUEUED] = {{NULL, NULL}};
    enum heddle_status status = warm_up(gpu, untimed, error);
    for (int i = 0; i < QUEUED && i < repeats && status == HEDDLE_OK; i++) {
        CUresult result = api->EventCreate(&events[i].begin, 0);
        if (result == CUDA_SUCCESS)
            result = api->EventCreate(&events[i].end, 0);
        status = cuda_status(api, result, "timing", error);
    }
    // The first run of all loads what the driver has put off, which may wait for the whole device:
    // it must not stand behind a gate.
    if (status == HEDDLE_OK)
        status = time_all(gpu, events, untimed > 0, repeats, ms, error);
    for (int i = 0; i < QUEUED; i++) {
        if (events[i].begin)
            api->EventDestroy(events[i].begin);
        if (events[i].end)
            api->EventDestroy(events[i].end);
    }
    return status;
}

int gpu_run_measure(struct gpu_run *gpu, int64_t untimed, int64_t repeats, struct timing *out) {
    double *ms = calloc((size_t)repeats, sizeof *ms);
    struct error error = {0};
    if (!ms) {
        complain("no memory for %" PRId64 " timings", repeats);
        return EXIT_DEVICE;
    }
    enum heddle_status status = cuda_device_enter(gpu->plan->device, &error);
    if (status == HEDDLE_OK) {
        status = run_all(gpu, untimed, repeats, ms, &error);
        cuda_device_leave(gpu->plan->device);
    }
    *out = timing_of(ms, repeats);
    free(ms);
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}
