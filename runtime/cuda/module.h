// A kernel in the GPU: PTX assembled by the driver, or a cubin that somebody assembled before.
#ifndef HEDDLE_RUNTIME_CUDA_MODULE_H
#define HEDDLE_RUNTIME_CUDA_MODULE_H

#include "runtime/cuda/device.h"

struct cuda_kernel {
    CUmodule module;
    CUfunction function;
};

// Loads `cubin`, where there is one (else NULL) that the driver takes; otherwise assembles `ptx`
// (NUL-terminated), the same code. The assembler's log is in the error. Within the device's
// context, as the functions below.
enum heddle_status cuda_module_load(const struct cuda_device *device, const char *cubin,
                                    const char *ptx, CUmodule *out, struct error *error);

// The same, and finds `name` in it.
enum heddle_status cuda_kernel_load(const struct cuda_device *device, const char *cubin,
                                    const char *ptx, const char *name, int shared_bytes,
                                    struct cuda_kernel *out, struct error *error);
void cuda_kernel_unload(const struct cuda_device *device, struct cuda_kernel *kernel);

#endif
