#include "runtime/cuda/cuda_api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static const char DRIVER[] = "libcuda.so.1";

static const struct {
    const char *symbol;
    size_t offset;
} FUNCTIONS[] = {
#define CUDA_FUNCTION(member, symbol, name, parameters) {symbol, offsetof(struct cuda_api, member)},
#define CUDA_CONSTANT(name, value)
#include "runtime/cuda/cuda_api.def"
#undef CUDA_FUNCTION
#undef CUDA_CONSTANT
};

static enum heddle_status find_functions(struct cuda_api *api, const char *library,
                                         struct error *error) {
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        void *address = dlsym(api->library, FUNCTIONS[i].symbol);
        if (!address)
            return error_set(error, HEDDLE_DEVICE_ERROR,
                             "%s is too old: it has no %s (heddle needs a driver for CUDA 12.3 or "
                             "later)",
                             library, FUNCTIONS[i].symbol);
        memcpy((char *)api + FUNCTIONS[i].offset, &address, sizeof address);
    }
    return HEDDLE_OK;
}

static enum heddle_status open_driver(struct cuda_api *api, const char *library,
                                      struct error *error) {
    if (!api->library)
        api->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!api->library)
        return error_set(error, HEDDLE_DEVICE_ERROR, "no NVIDIA driver: %s", dlerror());
    enum heddle_status status = find_functions(api, library, error);
    return status == HEDDLE_OK ? cuda_status(api, api->Init(0), "starting the NVIDIA driver", error)
                               : status;
}

// A library that was loaded stays loaded: it does not survive being closed and opened again. A
// driver that did not start may the next time.
enum heddle_status cuda_api_open(const char *library, const struct cuda_api **out_api,
                                 struct error *error) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static struct cuda_api shared;
    static int opened;
    enum heddle_status status = HEDDLE_OK;
    *out_api = NULL;
    pthread_mutex_lock(&mutex);
    if (!opened)
        status = open_driver(&shared, library ? library : DRIVER, error);
    opened = status == HEDDLE_OK;
    if (status == HEDDLE_OK)
        *out_api = &shared;
    pthread_mutex_unlock(&mutex);
    return status;
}

enum heddle_status cuda_status(const struct cuda_api *api, CUresult result, const char *what,
                               struct error *error) {
    const char *name = NULL, *text = NULL;
    if (result == CUDA_SUCCESS)
        return HEDDLE_OK;
    api->GetErrorName(result, &name);
    api->GetErrorString(result, &text);
    bool memory = result == CUDA_ERROR_OUT_OF_MEMORY;
    return error_set(error, memory ? HEDDLE_OUT_OF_MEMORY : HEDDLE_DEVICE_ERROR, "%s: %s (%s)",
                     what, text ? text : "the driver failed", name ? name : "unknown error");
}
