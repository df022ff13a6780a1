// A driver that is none: enough of libcuda.so.1 to load, choose, upload and launch, and to fail in
// the ways that FAKE_CUDA names. Device memory is the heap; a launch is noted in FAKE_CUDA_LOG and
// computes nothing. Built as a shared object for test_fake.py.
#include "runtime/cuda/cuda_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE __attribute__((visibility("default")))

static int mode_is(const char *name) {
    const char *mode = getenv("FAKE_CUDA");
    return mode && strcmp(mode, name) == 0;
}

static void note(const char *text) {
    const char *path = getenv("FAKE_CUDA_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file)
        return;
    fprintf(file, "%s\n", text);
    fclose(file);
}

#define CUDA_FUNCTION(member, symbol, name, parameters)                                            \
    FAKE CUresult fake_##member parameters __asm__(symbol);
#define CUDA_CONSTANT(name, value)
#include "runtime/cuda/cuda_api.def"

CUresult fake_Init(unsigned int flags) {
    (void)flags;
    return mode_is("no_device") ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}
CUresult fake_DriverGetVersion(int *version) {
    *version = mode_is("old_driver") ? 12000 : 13000;
    return CUDA_SUCCESS;
}
CUresult fake_GetErrorName(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
            : error == CUDA_ERROR_NO_DEVICE   ? "CUDA_ERROR_NO_DEVICE"
                                              : "CUDA_ERROR_FAKE";
    return CUDA_SUCCESS;
}
CUresult fake_GetErrorString(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_OUT_OF_MEMORY        ? "out of memory"
            : error == CUDA_ERROR_DEVICE_UNAVAILABLE ? "the device is busy or unavailable"
                                                     : "a fake failure";
    return CUDA_SUCCESS;
}
CUresult fake_DeviceGetCount(int *count) {
    *count = mode_is("empty") ? 0 : 1;
    return CUDA_SUCCESS;
}
CUresult fake_DeviceGet(CUdevice *device, int number) {
    *device = number;
    return CUDA_SUCCESS;
}
CUresult fake_DeviceGetName(char *name, int room, CUdevice device) {
    (void)device;
    snprintf(name, (size_t)room, "Fake GPU");
    return CUDA_SUCCESS;
}
CUresult fake_DeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    (void)device;
    *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
                 ? (mode_is("old_gpu") ? 8 : 9)
             : attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT ? 3
                                                                     : 0;
    return CUDA_SUCCESS;
}
CUresult fake_DeviceTotalMem(size_t *bytes, CUdevice device) {
    (void)device;
    *bytes = (size_t)1 << 30;
    return CUDA_SUCCESS;
}
CUresult fake_PrimaryCtxRetain(CUcontext *context, CUdevice device) {
    (void)device;
    *context = NULL;
    if (mode_is("busy"))
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    *context = (CUcontext)(void *)"context";
    return CUDA_SUCCESS;
}
CUresult fake_PrimaryCtxRelease(CUdevice device) {
    (void)device;
    note("released");
    return CUDA_SUCCESS;
}
CUresult fake_CtxPushCurrent(CUcontext context) {
    (void)context;
    return CUDA_SUCCESS;
}
CUresult fake_CtxPopCurrent(CUcontext *context) {
    *context = NULL;
    return CUDA_SUCCESS;
}
CUresult fake_CtxGetDevice(CUdevice *device) {
    *device = 0;
    return 201; // no context is current
}
CUresult fake_ModuleLoadDataEx(CUmodule *module, const void *image, unsigned int count,
                               CUjit_option *options, void **values) {
    *module = (CUmodule)(void *)"module";
    if (!mode_is("bad_ptx"))
        return strstr(image, ".target sm_90a") ? CUDA_SUCCESS : 1;
    for (unsigned int i = 0; i < count; i++)
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
            strcpy(values[i], "ptxas fatal: the fake assembler's log");
    return 218;
}
CUresult fake_ModuleUnload(CUmodule module) {
    (void)module;
    note("unloaded");
    return CUDA_SUCCESS;
}
CUresult fake_ModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    (void)module;
    *function = (CUfunction)(void *)"function";
    return strncmp(name, "heddle_", 7) == 0 ? CUDA_SUCCESS : 500;
}
CUresult fake_FuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    (void)function;
    return attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && value <= 232448
               ? CUDA_SUCCESS
               : 1;
}
CUresult fake_MemAlloc(CUdeviceptr *out, size_t bytes) {
    void *memory = mode_is("out_of_memory") ? NULL : aligned_alloc(256, (bytes + 255) / 256 * 256);
    *out = (CUdeviceptr)(uintptr_t)memory;
    return memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult fake_MemFree(CUdeviceptr memory) {
    free((void *)(uintptr_t)memory);
    return CUDA_SUCCESS;
}
CUresult fake_MemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
    memcpy((void *)(uintptr_t)to, from, bytes);
    return CUDA_SUCCESS;
}
CUresult fake_MemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return CUDA_SUCCESS;
}
CUresult fake_StreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
    (void)stream;
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}
CUresult fake_EventCreate(CUevent *event, unsigned int flags) {
    (void)flags;
    *event = (CUevent)(void *)"event";
    return CUDA_SUCCESS;
}
CUresult fake_EventRecord(CUevent event, CUstream stream) {
    (void)event;
    (void)stream;
    return CUDA_SUCCESS;
}
// The stream waits for the host's function on a thread of its own; nothing else runs on the stream,
// so that only who synchronises has to wait for it.
static struct held {
    bool is;
    pthread_t thread;
    CUhostFn function;
    void *context;
} held;

static void *run_held(void *unused) {
    held.function(held.context);
    return unused;
}

static void wait_for_stream(void) {
    if (held.is)
        pthread_join(held.thread, NULL);
    held.is = false;
}

CUresult fake_LaunchHostFunc(CUstream stream, CUhostFn function, void *context) {
    (void)stream;
    wait_for_stream();
    note("hold");
    held.function = function;
    held.context = context;
    held.is = pthread_create(&held.thread, NULL, run_held, NULL) == 0;
    return held.is ? CUDA_SUCCESS : 1;
}

CUresult fake_StreamSynchronize(CUstream stream) {
    (void)stream;
    wait_for_stream();
    return CUDA_SUCCESS;
}
CUresult fake_EventSynchronize(CUevent event) {
    (void)event;
    wait_for_stream();
    return mode_is("crash") ? 700 : CUDA_SUCCESS;
}
CUresult fake_EventElapsedTime(float *ms, CUevent begin, CUevent end) {
    (void)begin;
    (void)end;
    *ms = 0.5f;
    return CUDA_SUCCESS;
}
CUresult fake_EventDestroy(CUevent event) {
    (void)event;
    return CUDA_SUCCESS;
}
CUresult fake_LaunchKernel(CUfunction function, unsigned int x, unsigned int y, unsigned int z,
                           unsigned int threads, unsigned int threads_y, unsigned int threads_z,
                           unsigned int shared_bytes, CUstream stream, void **params,
                           void **extra) {
    char text[128];
    (void)function;
    (void)stream;
    (void)params;
    (void)extra;
    snprintf(text, sizeof text, "launch %u %u %u x %u %u %u, %s", x, y, z, threads, threads_y,
             threads_z, shared_bytes > 49152 ? "large" : "small");
    note(text);
    return CUDA_SUCCESS;
}
// The real one refuses the same things.
CUresult fake_TensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                                   void *base, const cuuint64_t *size, const cuuint64_t *stride,
                                   const cuuint32_t *box, const cuuint32_t *step,
                                   CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                   CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
    (void)type;
    (void)interleave;
    (void)swizzle;
    (void)promotion;
    (void)fill;
    memset(map, 0, sizeof *map);
    if (rank < 3 || rank > 5 || (uintptr_t)base % 16 != 0)
        return 1;
    for (cuuint32_t i = 0; i < rank; i++)
        if (size[i] < 1 || size[i] > (cuuint64_t)1 << 32 || box[i] < 1 || box[i] > 256 ||
            step[i] != 1 || (i > 0 && (stride[i - 1] % 16 != 0 || stride[i - 1] >> 40)))
            return 1;
    return CUDA_SUCCESS;
}
