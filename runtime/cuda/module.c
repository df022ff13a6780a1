#include "runtime/cuda/module.h"

#include "compiler/base/log.h"

#include <stdbool.h>

enum { LOG_BYTES = 8192 };

// A driver older than the assembler does not take its cubins.
static bool load_cubin(const struct cuda_device *device, const char *cubin, CUmodule *out) {
    CUmodule module = NULL;
    bool loaded =
        cubin && device->api->ModuleLoadDataEx(&module, cubin, 0, NULL, NULL) == CUDA_SUCCESS;
    *out = loaded ? module : NULL;
    return loaded;
}

enum heddle_status cuda_module_load(const struct cuda_device *device, const char *cubin,
                                    const char *ptx, CUmodule *out, struct error *error) {
    if (load_cubin(device, cubin, out))
        return HEDDLE_OK;
    char log[LOG_BYTES] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    CUmodule module = NULL; // what the driver leaves here when it fails is nobody's
    struct stage stage = stage_begin("assemble");
    CUresult result = device->api->ModuleLoadDataEx(&module, ptx, 2, options, values);
    stage_end(&stage);
    *out = result == CUDA_SUCCESS ? module : NULL;
    enum heddle_status status = cuda_status(device->api, result, "assembling the kernel", error);
    log[LOG_BYTES - 1] = '\0';
    if (status != HEDDLE_OK && log[0])
        error_context(error, "%s", log);
    return status;
}

enum heddle_status cuda_kernel_load(const struct cuda_device *device, const char *cubin,
                                    const char *ptx, const char *name, int shared_bytes,
                                    struct cuda_kernel *out, struct error *error) {
    const struct cuda_api *api = device->api;
    *out = (struct cuda_kernel){0};
    enum heddle_status status = cuda_module_load(device, cubin, ptx, &out->module, error);
    if (status != HEDDLE_OK)
        return status;
    CUresult result = api->ModuleGetFunction(&out->function, out->module, name);
    if (result == CUDA_SUCCESS)
        result = api->FuncSetAttribute(
            out->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes);
    status = cuda_status(api, result, "preparing the kernel", error);
    if (status != HEDDLE_OK)
        cuda_kernel_unload(device, out);
    return status;
}

void cuda_kernel_unload(const struct cuda_device *device, struct cuda_kernel *kernel) {
    if (kernel->module)
        device->api->ModuleUnload(kernel->module);
    *kernel = (struct cuda_kernel){0};
}
