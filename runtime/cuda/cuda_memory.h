// Device memory of one owner, freed together.
#ifndef HEDDLE_RUNTIME_CUDA_MEMORY_H
#define HEDDLE_RUNTIME_CUDA_MEMORY_H

#include "runtime/cuda/device.h"

struct cuda_memory {
    const struct cuda_device *device; // borrowed
    CUdeviceptr *buffers;
    int count, room;
    int64_t bytes; // in all
};

// All but the last within the device's context. HEDDLE_OUT_OF_MEMORY, HEDDLE_DEVICE_ERROR.
enum heddle_status cuda_allocate(struct cuda_memory *memory, size_t bytes, CUdeviceptr *out,
                                 struct error *error);
// Allocates and fills from the host.
enum heddle_status cuda_upload(struct cuda_memory *memory, const void *data, size_t bytes,
                               CUdeviceptr *out, struct error *error);
// The buffers; then, in any context or none, what the host remembers of them. Zeroed is fine.
void cuda_memory_free(struct cuda_memory *memory);
void cuda_memory_finish(struct cuda_memory *memory);

#endif
