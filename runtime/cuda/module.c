#include "runtime/cuda/module.h"

#include "compiler/base/files.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { LOG_BYTES = 8192 };

// Loads PTX, which the driver assembles, or a cubin.
static enum heddle_status load_image(const struct cuda_device *device, const void *image,
                                     CUmodule *out, struct error *error) {
    char log[LOG_BYTES] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    CUmodule module = NULL; // what the driver leaves here when it fails is nobody's
    CUresult result = device->api->ModuleLoadDataEx(&module, image, 2, options, values);
    *out = result == CUDA_SUCCESS ? module : NULL;
    enum heddle_status status = cuda_status(device->api, result, "assembling the kernel", error);
    log[LOG_BYTES - 1] = '\0';
    if (status != HEDDLE_OK && log[0])
        error_context(error, "%s", log);
    return status;
}

// ---- cubins in the cache ------------------------------------------------------------------------

// The driver's release, where Linux tells: several have one CUDA version.
static void add_release(struct strbuf *out) {
    int descriptor = open("/proc/driver/nvidia/version", O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    files_read(descriptor, 4096, out);
    close(descriptor);
}

static void cubin_key(const struct cuda_device *device, const struct cuda_source *source,
                      struct cache_key *out) {
    const struct cache_key *of = source->key;
    *out = (struct cache_key){0};
    strbuf_printf(&out->bytes, "kind cubin\ncompute capability %d.%d\ndriver for CUDA %d\n",
                  device->major, device->minor, device->driver);
    add_release(&out->bytes);
    strbuf_puts(&out->bytes, "of\n");
    strbuf_add(&out->bytes, of ? of->bytes.text : source->ptx,
               of ? of->bytes.length : strlen(source->ptx));
    const char *what = of && of->label.text ? of->label.text : "ptx";
    strbuf_printf(&out->label, "cubin of %s", what);
}

struct assembly {
    const struct cuda_device *device;
    const struct cuda_source *source;
};

// By the driver's linker, which is the one to give the cubin out. Where it would not be kept the
// driver rather loads the text itself, and keeps the cubin in a cache of its own.
static enum heddle_status assemble(void *context, struct strbuf *out, int64_t *out_number,
                                   struct error *error) {
    const struct assembly *assembly = context;
    const struct cuda_api *api = assembly->device->api;
    CUlinkState link = NULL;
    void *cubin = NULL; // the linker's
    size_t bytes = 0;
    const char *ptx = assembly->source->ptx;
    *out_number = 0;
    if (!cache_keeps(assembly->source->cache))
        return error_set(error, HEDDLE_IO_ERROR, "there is no place for a cubin");
    CUresult result = api->LinkCreate(0, NULL, NULL, &link);
    if (result != CUDA_SUCCESS)
        return cuda_status(api, result, "assembling the kernel", error);
    result = api->LinkAddData(link, CU_JIT_INPUT_PTX, (void *)(uintptr_t)ptx, strlen(ptx) + 1,
                              "heddle", 0, NULL, NULL);
    if (result == CUDA_SUCCESS)
        result = api->LinkComplete(link, &cubin, &bytes);
    if (result == CUDA_SUCCESS)
        strbuf_add(out, cubin, bytes);
    api->LinkDestroy(link);
    return cuda_status(api, result, "assembling the kernel", error);
}

// False: no cubin that the driver takes, for whatever reason.
static bool load_cubin(const struct cuda_device *device, const struct cuda_source *source,
                       CUmodule *out) {
    struct assembly assembly = {device, source};
    struct error ignored = {0};
    struct cache_key key;
    struct cache_value value;
    bool found;
    cubin_key(device, source, &key);
    enum heddle_status status =
        cache_get(source->cache, &key, assemble, &assembly, &value, &found, &ignored);
    if (status == HEDDLE_OK)
        status = load_image(device, value.code, out, &ignored);
    cache_value_finish(&value);
    if (status != HEDDLE_OK && found &&
        cache_renew(source->cache, &key, assemble, &assembly, &value, &ignored) == HEDDLE_OK) {
        status = load_image(device, value.code, out, &ignored);
        cache_value_finish(&value);
    }
    cache_key_finish(&key);
    error_finish(&ignored);
    return status == HEDDLE_OK;
}

enum heddle_status cuda_module_load(const struct cuda_device *device,
                                    const struct cuda_source *source, CUmodule *out,
                                    struct error *error) {
    if (source->cache->folder && load_cubin(device, source, out))
        return HEDDLE_OK;
    atomic_fetch_add(&source->cache->made, 1);
    return load_image(device, source->ptx, out, error);
}

enum heddle_status cuda_kernel_load(const struct cuda_device *device,
                                    const struct cuda_source *source, const char *name,
                                    int shared_bytes, struct cuda_kernel *out,
                                    struct error *error) {
    const struct cuda_api *api = device->api;
    *out = (struct cuda_kernel){0};
    enum heddle_status status = cuda_module_load(device, source, &out->module, error);
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
