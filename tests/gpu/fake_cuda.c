// A driver that is none: enough of libcuda.so.1 to load, choose, upload and launch, and to fail in
// the ways that FAKE_CUDA names or at the call that FAKE_CUDA_FAIL numbers. Device memory is the
// heap; a launch is noted in FAKE_CUDA_LOG and computes nothing, but for that of the tensor maps'
// kernel, which copies them. Built as a shared object: test_fake.py puts it before the program,
// tests in C link it and use fake_cuda.h.
#include "tests/gpu/fake_cuda.h"

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

void fake_cuda_note(const char *text) {
    const char *path = getenv("FAKE_CUDA_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file)
        return;
    fprintf(file, "%s\n", text);
    fclose(file);
}

// ---- calls that fail, things that are held ------------------------------------------------------

enum {
    FAILURE = 999, // where no other is asked for
    CAPTURING = 1, // CU_STREAM_CAPTURE_STATUS_ACTIVE
};

static struct {
    int64_t calls, fail_at;
    CUresult result;
    const char *failed;
} failing;
static struct {
    bool on;
    size_t length;
    char text[4096];
} record;
static char ATTENTION[] = "the attention kernel", PLACE[] = "the tensor maps' kernel";
static char PLANNER[] = "one of the planner's kernels", POOL[] = "one of the pooling kernels";
static struct fake_cuda_held held;
static struct fake_cuda_launches launches;
static bool capturing;

FAKE void fake_cuda_fail(int64_t n, CUresult result) {
    failing.calls = 0;
    failing.fail_at = n;
    failing.result = result;
    failing.failed = NULL;
}
FAKE void fake_cuda_record(void) {
    record.on = true;
    record.length = 0;
    record.text[0] = '\0';
}
FAKE const char *fake_cuda_recorded(void) {
    record.on = false;
    return record.text;
}
FAKE const char *fake_cuda_failed(void) {
    return failing.failed;
}
FAKE struct fake_cuda_held fake_cuda_held(void) {
    return held;
}
FAKE void fake_cuda_capture(bool capturing_now) {
    capturing = capturing_now;
}
FAKE const struct fake_cuda_launches *fake_cuda_launches(void) {
    return &launches;
}

__attribute__((constructor)) static void read_environment(void) {
    const char *n = getenv("FAKE_CUDA_FAIL");
    if (n)
        fake_cuda_fail(atoll(n), FAILURE);
}

static void note_number(const char *what, int64_t number) {
    char text[64];
    snprintf(text, sizeof text, "%s still held: %lld", what, (long long)number);
    if (number)
        fake_cuda_note(text);
}

__attribute__((destructor)) static void note_held(void) {
    note_number("memory", held.memory);
    note_number("modules", held.modules);
    note_number("contexts", held.contexts);
    note_number("pushes", held.pushes);
    note_number("events", held.events);
}

// Counts a call; what it gives.
static CUresult called(const char *name) {
    char text[64];
    if (record.on && record.length + strlen(name) + 2 < sizeof record.text)
        record.length += (size_t)sprintf(record.text + record.length, "%s ", name);
    if (++failing.calls != failing.fail_at)
        return CUDA_SUCCESS;
    failing.failed = name;
    snprintf(text, sizeof text, "failed %s", name);
    fake_cuda_note(text);
    return failing.result;
}

// Begins a function that fails before it does anything.
#define CALL(name)                                                                                 \
    do {                                                                                           \
        CUresult outcome = called(#name);                                                          \
        if (outcome != CUDA_SUCCESS)                                                               \
            return outcome;                                                                        \
    } while (0)

// ---- the driver ---------------------------------------------------------------------------------

#define CUDA_FUNCTION(member, symbol, name, parameters)                                            \
    FAKE CUresult fake_##member parameters __asm__(symbol);
#define CUDA_CONSTANT(name, value)
#include "runtime/cuda/cuda_api.def"

CUresult fake_Init(unsigned int flags) {
    CALL(Init);
    (void)flags;
    return mode_is("no_device") ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}
CUresult fake_DriverGetVersion(int *version) {
    CALL(DriverGetVersion);
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
    CALL(DeviceGetCount);
    *count = mode_is("empty") ? 0 : 1;
    return CUDA_SUCCESS;
}
CUresult fake_DeviceGet(CUdevice *device, int number) {
    CALL(DeviceGet);
    *device = number;
    return CUDA_SUCCESS;
}
CUresult fake_DeviceGetName(char *name, int room, CUdevice device) {
    CALL(DeviceGetName);
    (void)device;
    snprintf(name, (size_t)room, "Fake GPU");
    return CUDA_SUCCESS;
}
CUresult fake_DeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    CALL(DeviceGetAttribute);
    (void)device;
    *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
                 ? (mode_is("old_gpu") ? 8 : 9)
             : attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT ? 3
                                                                     : 0;
    return CUDA_SUCCESS;
}
CUresult fake_DeviceTotalMem(size_t *bytes, CUdevice device) {
    CALL(DeviceTotalMem);
    (void)device;
    *bytes = (size_t)1 << 30;
    return CUDA_SUCCESS;
}
CUresult fake_PrimaryCtxRetain(CUcontext *context, CUdevice device) {
    CALL(PrimaryCtxRetain);
    (void)device;
    *context = NULL;
    if (mode_is("busy"))
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    *context = (CUcontext)(void *)"context";
    held.contexts++;
    return CUDA_SUCCESS;
}
CUresult fake_PrimaryCtxRelease(CUdevice device) {
    (void)device;
    fake_cuda_note("released");
    held.contexts--;
    return called("PrimaryCtxRelease");
}
CUresult fake_CtxPushCurrent(CUcontext context) {
    CALL(CtxPushCurrent);
    (void)context;
    held.pushes++;
    return CUDA_SUCCESS;
}
CUresult fake_CtxPopCurrent(CUcontext *context) {
    *context = NULL;
    held.pushes--;
    return called("CtxPopCurrent");
}
CUresult fake_CtxGetCurrent(CUcontext *context) {
    CALL(CtxGetCurrent);
    *context = held.pushes ? (CUcontext)(void *)"context" : NULL;
    return CUDA_SUCCESS;
}
CUresult fake_CtxGetDevice(CUdevice *device) {
    CALL(CtxGetDevice);
    *device = 0;
    return held.pushes ? CUDA_SUCCESS : 201; // no context is current
}
CUresult fake_ModuleLoadDataEx(CUmodule *module, const void *image, unsigned int count,
                               CUjit_option *options, void **values) {
    CALL(ModuleLoadDataEx);
    *module = (CUmodule)(void *)"module";
    if (!mode_is("bad_ptx")) {
        bool cubin = memcmp(image, "\177ELF", 4) == 0;
        bool right = cubin ? !mode_is("old_cubins") : strstr(image, ".target sm_90a") != NULL;
        if (cubin)
            fake_cuda_note(right ? "cubin taken" : "cubin refused");
        held.modules += right;
        return right ? CUDA_SUCCESS : 1;
    }
    for (unsigned int i = 0; i < count; i++)
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
            strcpy(values[i], "ptxas fatal: the fake assembler's log");
    return 218;
}
CUresult fake_ModuleUnload(CUmodule module) {
    (void)module;
    fake_cuda_note("unloaded");
    held.modules--;
    return called("ModuleUnload");
}
CUresult fake_ModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    CALL(ModuleGetFunction);
    (void)module;
    bool places = strcmp(name, "heddle_place_maps") == 0;
    bool plans = strncmp(name, "heddle_plan_", 12) == 0;
    bool pools = strncmp(name, "heddle_pool", 11) == 0;
    *function = (CUfunction)(void *)(places ? PLACE : plans ? PLANNER : pools ? POOL : ATTENTION);
    return places || plans || pools || strcmp(name, "heddle_attention") == 0 ? CUDA_SUCCESS : 500;
}
CUresult fake_FuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    CALL(FuncSetAttribute);
    (void)function;
    return attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && value <= 232448
               ? CUDA_SUCCESS
               : 1;
}
CUresult fake_MemAlloc(CUdeviceptr *out, size_t bytes) {
    CALL(MemAlloc);
    void *memory = mode_is("out_of_memory") ? NULL : aligned_alloc(256, (bytes + 255) / 256 * 256);
    *out = (CUdeviceptr)(uintptr_t)memory;
    held.memory += memory != NULL;
    return memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult fake_MemFree(CUdeviceptr memory) {
    free((void *)(uintptr_t)memory);
    held.memory--;
    return called("MemFree");
}
CUresult fake_MemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
    CALL(MemcpyHtoD);
    memcpy((void *)(uintptr_t)to, from, bytes);
    return CUDA_SUCCESS;
}
CUresult fake_MemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
    CALL(MemcpyDtoH);
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return CUDA_SUCCESS;
}
CUresult fake_StreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
    CALL(StreamIsCapturing);
    (void)stream;
    *status = capturing ? CAPTURING : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}
CUresult fake_EventCreate(CUevent *event, unsigned int flags) {
    CALL(EventCreate);
    (void)flags;
    *event = (CUevent)(void *)"event";
    held.events++;
    return CUDA_SUCCESS;
}
CUresult fake_EventRecord(CUevent event, CUstream stream) {
    CALL(EventRecord);
    (void)event;
    (void)stream;
    return CUDA_SUCCESS;
}
// The stream waits for the host's function on a thread of its own; nothing else runs on the stream,
// so that only who synchronises has to wait for it.
static struct waiting {
    bool is;
    pthread_t thread;
    CUhostFn function;
    void *context;
} waiting;

static void *run_waiting(void *unused) {
    waiting.function(waiting.context);
    return unused;
}

static void wait_for_stream(void) {
    if (waiting.is)
        pthread_join(waiting.thread, NULL);
    waiting.is = false;
}

CUresult fake_LaunchHostFunc(CUstream stream, CUhostFn function, void *context) {
    CALL(LaunchHostFunc);
    (void)stream;
    wait_for_stream();
    fake_cuda_note("hold");
    waiting.function = function;
    waiting.context = context;
    waiting.is = pthread_create(&waiting.thread, NULL, run_waiting, NULL) == 0;
    return waiting.is ? CUDA_SUCCESS : 1;
}

CUresult fake_StreamSynchronize(CUstream stream) {
    (void)stream;
    wait_for_stream(); // also where it fails: what the host's function reads may go then
    CALL(StreamSynchronize);
    return CUDA_SUCCESS;
}
CUresult fake_EventSynchronize(CUevent event) {
    CALL(EventSynchronize);
    (void)event;
    wait_for_stream();
    return mode_is("crash") ? 700 : CUDA_SUCCESS;
}
CUresult fake_EventElapsedTime(float *ms, CUevent begin, CUevent end) {
    CALL(EventElapsedTime);
    (void)begin;
    (void)end;
    *ms = 0.5f;
    return CUDA_SUCCESS;
}
CUresult fake_EventDestroy(CUevent event) {
    (void)event;
    held.events--;
    return called("EventDestroy");
}
CUresult fake_LaunchKernel(CUfunction function, unsigned int x, unsigned int y, unsigned int z,
                           unsigned int threads, unsigned int threads_y, unsigned int threads_z,
                           unsigned int shared_bytes, CUstream stream, void **params,
                           void **extra) {
    CALL(LaunchKernel);
    char text[128];
    (void)stream;
    (void)extra;
    if (function == (CUfunction)(void *)PLACE) {
        launches.place++;
        void **to = params[1];
        const uint32_t *words = params[2];
        memcpy(*to, params[0], 4 * (size_t)*words);
    } else if (function == (CUfunction)(void *)POOL) {
        launches.pool++;
    } else if (function == (CUfunction)(void *)ATTENTION) {
        launches.attention++;
        memcpy(&launches.parameter, params[0], sizeof launches.parameter);
    }
    snprintf(text, sizeof text, "launch %u %u %u x %u %u %u, %s", x, y, z, threads, threads_y,
             threads_z, shared_bytes > 49152 ? "large" : "small");
    fake_cuda_note(text);
    return CUDA_SUCCESS;
}
// The real one refuses the same things.
CUresult fake_TensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                                   void *base, const cuuint64_t *size, const cuuint64_t *stride,
                                   const cuuint32_t *box, const cuuint32_t *step,
                                   CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                   CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
    CALL(TensorMapEncodeTiled);
    (void)type;
    (void)interleave;
    (void)swizzle;
    (void)promotion;
    (void)fill;
    memset(map, 0, sizeof *map);
    map->opaque[0] = (uint64_t)(uintptr_t)base;
    if (rank < 3 || rank > 5 || (uintptr_t)base % 16 != 0)
        return 1;
    for (cuuint32_t i = 0; i < rank; i++)
        if (size[i] < 1 || size[i] > (cuuint64_t)1 << 32 || box[i] < 1 || box[i] > 256 ||
            step[i] != 1 || (i > 0 && (stride[i - 1] % 16 != 0 || stride[i - 1] >> 40)))
            return 1;
    return CUDA_SUCCESS;
}
