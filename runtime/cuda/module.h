// A kernel in the GPU: PTX assembled by the driver, or what it assembled before.
#ifndef HEDDLE_RUNTIME_CUDA_MODULE_H
#define HEDDLE_RUNTIME_CUDA_MODULE_H

#include "compiler/cache/cache.h"
#include "runtime/cuda/device.h"

struct cuda_kernel {
    CUmodule module;
    CUfunction function;
};

struct cuda_source {
    const char *ptx;             // NUL-terminated
    const struct cache_key *key; // of the text, in the cache; NULL: the text is its own key
    struct cache *cache;
};

// Loads the code of `source`. Where code can be kept, the driver assembles it to a cubin, once for
// this text, compute capability and driver; later calls, of any process, find it in the cache.
// Elsewhere, and when the driver does not take what was found, it assembles for this call alone.
// The assembler's log is in the error. Within the device's context, as the functions below.
enum heddle_status cuda_module_load(const struct cuda_device *device,
                                    const struct cuda_source *source, CUmodule *out,
                                    struct error *error);

// The same, and finds `name` in it.
enum heddle_status cuda_kernel_load(const struct cuda_device *device,
                                    const struct cuda_source *source, const char *name,
                                    int shared_bytes, struct cuda_kernel *out, struct error *error);
void cuda_kernel_unload(const struct cuda_device *device, struct cuda_kernel *kernel);

#endif
