#include "runtime/cuda/cuda_memory.h"

#include <stdlib.h>

enum heddle_status cuda_allocate(struct cuda_memory *memory, size_t bytes, CUdeviceptr *out,
                                 struct error *error) {
    const struct cuda_api *api = memory->device->api;
    if (memory->count == memory->room) {
        int room = memory->room ? 2 * memory->room : 16;
        CUdeviceptr *grown = realloc(memory->buffers, (size_t)room * sizeof *grown);
        if (!grown)
            return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the GPU's plan");
        memory->buffers = grown;
        memory->room = room;
    }
    enum heddle_status status =
        cuda_status(api, api->MemAlloc(out, bytes ? bytes : 16), "the plan on the GPU", error);
    if (status != HEDDLE_OK)
        return status;
    memory->buffers[memory->count++] = *out;
    memory->bytes += (int64_t)bytes;
    return HEDDLE_OK;
}

enum heddle_status cuda_upload(struct cuda_memory *memory, const void *data, size_t bytes,
                               CUdeviceptr *out, struct error *error) {
    const struct cuda_api *api = memory->device->api;
    enum heddle_status status = cuda_allocate(memory, bytes, out, error);
    if (status == HEDDLE_OK && bytes)
        status = cuda_status(api, api->MemcpyHtoD(*out, data, bytes), "uploading the plan", error);
    return status;
}

void cuda_memory_free(struct cuda_memory *memory) {
    for (int i = 0; i < memory->count; i++)
        memory->device->api->MemFree(memory->buffers[i]);
    memory->count = 0;
    memory->bytes = 0;
}

void cuda_memory_finish(struct cuda_memory *memory) {
    free(memory->buffers);
    *memory = (struct cuda_memory){.device = memory->device};
}
