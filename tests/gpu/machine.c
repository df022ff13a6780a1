#include "tests/gpu/machine.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *symbol;
    size_t offset;
} FUNCTIONS[] = {
    {"cuStreamCreate", offsetof(struct machine_api, stream_create)},
    {"cuStreamDestroy_v2", offsetof(struct machine_api, stream_destroy)},
    {"cuCtxSynchronize", offsetof(struct machine_api, synchronize)},
    {"cuCtxGetCurrent", offsetof(struct machine_api, get_current)},
    {"cuStreamBeginCapture_v2", offsetof(struct machine_api, begin_capture)},
    {"cuStreamEndCapture", offsetof(struct machine_api, end_capture)},
    {"cuGraphInstantiateWithFlags", offsetof(struct machine_api, instantiate)},
    {"cuGraphLaunch", offsetof(struct machine_api, launch)},
    {"cuGraphExecDestroy", offsetof(struct machine_api, destroy_exec)},
    {"cuGraphDestroy", offsetof(struct machine_api, destroy_graph)},
};

enum { MEMORY_ALIGNMENT = 256, STREAM_NON_BLOCKING = 1 };

static _Noreturn void stop(const char *what, const char *why) {
    printf("test_device: %s: %s\n", what, why);
    exit(1);
}

void machine_must(const struct machine *machine, CUresult result, const char *what) {
    struct error error = {0};
    if (cuda_status(machine->gpu.api, result, what, &error) != HEDDLE_OK)
        stop("the machine failed", error_text(&error));
}

static void enter(const struct machine *machine) {
    struct error error = {0};
    if (cuda_device_enter(&machine->gpu, &error) != HEDDLE_OK)
        stop("entering the context", error_text(&error));
}

static bool open_gpu(struct machine *machine) {
    struct error error = {0};
    if (cuda_device_open(&machine->gpu, &error) != HEDDLE_OK) {
        snprintf(machine->reason, sizeof machine->reason, "%s", error_text(&error));
        error_finish(&error);
        return false;
    }
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        void *address = dlsym(machine->gpu.api->library, FUNCTIONS[i].symbol);
        if (!address)
            stop("the driver has no", FUNCTIONS[i].symbol);
        memcpy((char *)&machine->api + FUNCTIONS[i].offset, &address, sizeof address);
    }
    return true;
}

// On a GPU the context is made with AUTO, which must find it.
bool machine_open(struct machine *machine, bool on_gpu) {
    const struct heddle_context_options options = {
        .struct_bytes = sizeof options, .target = on_gpu ? HEDDLE_TARGET_AUTO : HEDDLE_TARGET_CPU};
    *machine = (struct machine){.on_gpu = on_gpu};
    if (on_gpu && !open_gpu(machine))
        return false;
    if (heddle_context_create(&options, &machine->context) != HEDDLE_OK)
        stop("making a context", heddle_last_error());
    if (on_gpu && heddle_context_target(machine->context) != HEDDLE_TARGET_CUDA)
        stop("making a context", "AUTO did not take the GPU that is there");
    return true;
}

void machine_close(struct machine *machine) {
    heddle_context_destroy(machine->context);
    cuda_device_close(&machine->gpu);
}

// ---- memory -------------------------------------------------------------------------------------

static void *aligned(size_t bytes) {
    size_t rounded = (bytes + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
    void *memory = aligned_alloc(MEMORY_ALIGNMENT, rounded);
    if (!memory)
        stop("memory", "there is none left");
    return memory;
}

void slab_make(const struct machine *machine, struct slab *slab, size_t bytes) {
    *slab = (struct slab){.host = aligned(bytes), .bytes = bytes};
    if (!machine->on_gpu) {
        slab->there = aligned(bytes);
        return;
    }
    CUdeviceptr at;
    enter(machine);
    machine_must(machine, machine->gpu.api->MemAlloc(&at, bytes), "memory for tensors");
    cuda_device_leave(&machine->gpu);
    slab->there = (unsigned char *)(uintptr_t)at;
}

void slab_free(const struct machine *machine, struct slab *slab) {
    free(slab->host);
    if (!machine->on_gpu)
        free(slab->there);
    if (machine->on_gpu && slab->there) {
        enter(machine);
        machine_must(machine, machine->gpu.api->MemFree((CUdeviceptr)(uintptr_t)slab->there),
                     "freeing tensors");
        cuda_device_leave(&machine->gpu);
    }
    *slab = (struct slab){0};
}

// A copy from ordinary memory may still be under way when it returns.
void slab_upload(const struct machine *machine, const struct slab *slab) {
    if (!machine->on_gpu) {
        memcpy(slab->there, slab->host, slab->bytes);
        return;
    }
    enter(machine);
    machine_must(
        machine,
        machine->gpu.api->MemcpyHtoD((CUdeviceptr)(uintptr_t)slab->there, slab->host, slab->bytes),
        "uploading tensors");
    machine_must(machine, machine->api.synchronize(), "uploading tensors");
    cuda_device_leave(&machine->gpu);
}

void slab_download(const struct machine *machine, const struct slab *slab) {
    if (!machine->on_gpu) {
        memcpy(slab->host, slab->there, slab->bytes);
        return;
    }
    enter(machine);
    machine_must(
        machine,
        machine->gpu.api->MemcpyDtoH(slab->host, (CUdeviceptr)(uintptr_t)slab->there, slab->bytes),
        "downloading tensors");
    cuda_device_leave(&machine->gpu);
}

// ---- streams and graphs -------------------------------------------------------------------------

CUstream machine_stream(const struct machine *machine) {
    CUstream stream = NULL;
    if (!machine->on_gpu)
        return NULL;
    enter(machine);
    machine_must(machine, machine->api.stream_create(&stream, STREAM_NON_BLOCKING), "a stream");
    cuda_device_leave(&machine->gpu);
    return stream;
}

void machine_stream_destroy(const struct machine *machine, CUstream stream) {
    if (!stream)
        return;
    enter(machine);
    machine_must(machine, machine->api.stream_destroy(stream), "destroying a stream");
    cuda_device_leave(&machine->gpu);
}

void machine_wait(const struct machine *machine) {
    if (!machine->on_gpu)
        return;
    enter(machine);
    machine_must(machine, machine->api.synchronize(), "running a kernel");
    cuda_device_leave(&machine->gpu);
}

// In global mode, the strictest: a call that may not be captured fails, whatever its stream.
void machine_capture(const struct machine *machine, CUstream stream) {
    enum { CAPTURE_GLOBAL = 0 };
    enter(machine);
    machine_must(machine, machine->api.begin_capture(stream, CAPTURE_GLOBAL), "capturing");
    cuda_device_leave(&machine->gpu);
}

CUgraphExec machine_captured(const struct machine *machine, CUstream stream) {
    CUgraph graph;
    CUgraphExec exec;
    enter(machine);
    machine_must(machine, machine->api.end_capture(stream, &graph), "ending a capture");
    machine_must(machine, machine->api.instantiate(&exec, graph, 0), "making a graph");
    machine_must(machine, machine->api.destroy_graph(graph), "destroying a graph");
    cuda_device_leave(&machine->gpu);
    return exec;
}

void machine_replay(const struct machine *machine, CUgraphExec graph, CUstream stream) {
    enter(machine);
    machine_must(machine, machine->api.launch(graph, stream), "replaying a graph");
    cuda_device_leave(&machine->gpu);
}

void machine_graph_destroy(const struct machine *machine, CUgraphExec graph) {
    enter(machine);
    machine_must(machine, machine->api.destroy_exec(graph), "destroying a graph");
    cuda_device_leave(&machine->gpu);
}
