// Tensors on the GPU. A head dim that is no multiple of 8 gets rows padded to one: the copy engine
// wants strides of 16 bytes.
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "runtime/cuda/cuda_launch.h"

#include <stdlib.h>
#include <string.h>

enum { ELEMENT_BYTES = 2, TENSORS = 4 };

static const struct cuda_api *api_of(const struct gpu_run *gpu) {
    return gpu->plan->device->api;
}

// Rows of `from_row` elements to rows of `to_row`.
static void repack(char *to, int64_t to_row, const char *from, int64_t from_row, int64_t rows) {
    int64_t least = to_row < from_row ? to_row : from_row;
    for (int64_t r = 0; r < rows; r++)
        memcpy(to + r * to_row * ELEMENT_BYTES, from + r * from_row * ELEMENT_BYTES,
               (size_t)(least * ELEMENT_BYTES));
}

static enum heddle_status no_memory(struct error *error) {
    return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory to copy tensors");
}

static enum heddle_status upload(struct gpu_run *gpu, int t, const struct tensors *tensors,
                                 struct error *error) {
    const struct cuda_api *api = api_of(gpu);
    int64_t dim = gpu->plan->plan->dim, rows = tensors->count[t] / dim;
    size_t bytes = (size_t)(rows * gpu->row_elements) * ELEMENT_BYTES;
    char *padded = gpu->row_elements == dim ? NULL : calloc(1, bytes);
    if (gpu->row_elements != dim && !padded)
        return no_memory(error);
    if (padded)
        repack(padded, gpu->row_elements, tensors->memory[t], dim, rows);
    enum heddle_status status =
        cuda_status(api, api->MemAlloc(&gpu->memory[t], bytes), "tensors on the GPU", error);
    const void *from = padded ? padded : tensors->memory[t];
    if (status == HEDDLE_OK)
        status = cuda_status(api, api->MemcpyHtoD(gpu->memory[t], from, bytes),
                             "copying tensors to the GPU", error);
    free(padded);
    return status;
}

static void place(struct gpu_run *gpu) {
    const struct plan *plan = gpu->plan->plan;
    struct heddle_tensor *to[] = {&gpu->run.q, &gpu->run.k, &gpu->run.v, &gpu->run.o};
    for (int t = 0; t < TENSORS; t++) {
        bool of_keys = t == 1 || t == 2;
        int64_t heads = of_keys ? plan->kv_heads : plan->heads;
        int64_t tokens = of_keys ? plan->keys : plan->queries, row = gpu->row_elements;
        *to[t] = (struct heddle_tensor){(void *)(uintptr_t)gpu->memory[t],
                                        {heads * tokens * row, tokens * row, row, 1}};
    }
    gpu->run.lse = (float *)(uintptr_t)gpu->memory[4];
}

static enum heddle_status create(struct gpu_run *gpu, const struct tensors *tensors,
                                 struct error *error) {
    const struct cuda_api *api = api_of(gpu);
    enum heddle_status status = HEDDLE_OK;
    gpu->row_elements = (gpu->plan->plan->dim + 7) / 8 * 8;
    for (int t = 0; t < TENSORS && status == HEDDLE_OK; t++)
        status = upload(gpu, t, tensors, error);
    size_t bytes = (size_t)tensors->rows * sizeof(float);
    if (status == HEDDLE_OK)
        status =
            cuda_status(api, api->MemAlloc(&gpu->memory[4], bytes), "tensors on the GPU", error);
    if (status == HEDDLE_OK)
        status = cuda_status(api, api->MemcpyHtoD(gpu->memory[4], tensors->run.lse, bytes),
                             "copying tensors to the GPU", error);
    place(gpu);
    return status;
}

int gpu_run_create(struct gpu_run *gpu, const struct target *target, const struct plan *plan,
                   const struct tensors *tensors) {
    struct error error = {0};
    struct progress progress;
    *gpu = (struct gpu_run){0};
    progress_begin(&progress, "loading the kernel and the tensors", 0);
    enum heddle_status status = cuda_plan_create(&target->device, plan, &gpu->plan, &error);
    if (status == HEDDLE_OK)
        status = cuda_device_enter(&target->device, &error);
    if (status == HEDDLE_OK) {
        status = create(gpu, tensors, &error);
        cuda_device_leave(&target->device);
    }
    progress_end(&progress);
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}

void gpu_run_destroy(struct gpu_run *gpu) {
    struct error ignored = {0};
    if (gpu->plan && cuda_device_enter(gpu->plan->device, &ignored) == HEDDLE_OK) {
        for (int t = 0; t < 5; t++)
            if (gpu->memory[t])
                api_of(gpu)->MemFree(gpu->memory[t]);
        cuda_device_leave(gpu->plan->device);
    }
    error_finish(&ignored);
    cuda_plan_destroy(gpu->plan);
    *gpu = (struct gpu_run){0};
}

// ---- results ------------------------------------------------------------------------------------

static enum heddle_status fetch(struct gpu_run *gpu, const struct tensors *tensors,
                                struct error *error) {
    const struct cuda_api *api = api_of(gpu);
    int64_t dim = gpu->plan->plan->dim, row = gpu->row_elements;
    size_t bytes = (size_t)(tensors->rows * row) * ELEMENT_BYTES;
    char *padded = row == dim ? NULL : malloc(bytes);
    if (row != dim && !padded)
        return no_memory(error);
    CUresult result = api->MemcpyDtoH(padded ? padded : tensors->memory[3], gpu->memory[3], bytes);
    if (result == CUDA_SUCCESS)
        result = api->MemcpyDtoH(tensors->run.lse, gpu->memory[4],
                                 (size_t)tensors->rows * sizeof(float));
    if (padded)
        repack(tensors->memory[3], dim, padded, row, tensors->rows);
    free(padded);
    return cuda_status(api, result, "copying results from the GPU", error);
}

int gpu_run_fetch(struct gpu_run *gpu, const struct tensors *tensors) {
    struct error error = {0};
    enum heddle_status status = cuda_device_enter(gpu->plan->device, &error);
    if (status == HEDDLE_OK) {
        status = fetch(gpu, tensors, &error);
        cuda_device_leave(gpu->plan->device);
    }
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}
