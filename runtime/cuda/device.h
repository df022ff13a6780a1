// A GPU: found, described, and its context held.
#ifndef HEDDLE_RUNTIME_CUDA_DEVICE_H
#define HEDDLE_RUNTIME_CUDA_DEVICE_H

#include "runtime/cuda/cuda_api.h"

struct cuda_device {
    const struct cuda_api *api;
    CUdevice device;
    CUcontext context; // its primary one, shared with the host's CUDA runtime
    char name[128];
    int major, minor, processors; // compute capability, multiprocessors
    int driver;                   // CUDA version of the driver: 1000 major + 10 minor
    size_t memory_bytes;
};

// How many GPUs there are (0 without a driver, and then *error says why).
int cuda_device_count(struct error *error);
// Describes GPU `number`; no context is made.
enum heddle_status cuda_device_query(int number, struct cuda_device *out, struct error *error);
// Can heddle's kernels run on it? HEDDLE_DEVICE_ERROR says what it lacks.
enum heddle_status cuda_device_check(const struct cuda_device *device, struct error *error);
// The GPU of the CUDA context that is current in this thread; where there is none, the first GPU
// that passes the check and is not busy. Its primary context is held, and is not made current.
// HEDDLE_DEVICE_ERROR says why there is none.
enum heddle_status cuda_device_open(struct cuda_device *out, struct error *error);
void cuda_device_close(struct cuda_device *device); // zeroed is fine

// Calls between these run in the device's context, whatever is current in the thread.
enum heddle_status cuda_device_enter(const struct cuda_device *device, struct error *error);
void cuda_device_leave(const struct cuda_device *device);

#endif
