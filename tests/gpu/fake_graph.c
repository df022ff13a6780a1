// Streams and graphs of the driver that is none (fake_cuda.c): what hosts use, heddle does not. A
// graph notes its launches; what was captured into it computed nothing before and does not now.
#include "tests/gpu/fake_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE __attribute__((visibility("default")))
#define DRIVER(name, ...) FAKE CUresult fake_##name(__VA_ARGS__) __asm__(#name)

static char STREAM[] = "a stream", GRAPH[] = "a graph", EXEC[] = "a graph, ready";
enum { INVALID = 1 };

static void note_graph(const char *text) {
    const char *path = getenv("FAKE_CUDA_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file)
        return;
    fprintf(file, "%s\n", text);
    fclose(file);
}

DRIVER(cuCtxSetCurrent, void *context);
DRIVER(cuMemsetD8_v2, void *to, unsigned char value, size_t bytes);
DRIVER(cuStreamCreate, void **stream, unsigned flags);
DRIVER(cuStreamDestroy_v2, void *stream);
DRIVER(cuStreamBeginCapture_v2, void *stream, int mode);
DRIVER(cuStreamEndCapture, void *stream, void **graph);
DRIVER(cuGraphInstantiateWithFlags, void **exec, void *graph, unsigned long long flags);
DRIVER(cuGraphLaunch, void *exec, void *stream);
DRIVER(cuGraphExecDestroy, void *exec);
DRIVER(cuGraphDestroy, void *graph);

CUresult fake_cuCtxSetCurrent(void *context) {
    return context ? 0 : INVALID;
}
CUresult fake_cuMemsetD8_v2(void *to, unsigned char value, size_t bytes) {
    memset(to, value, bytes);
    return 0;
}
CUresult fake_cuStreamCreate(void **stream, unsigned flags) {
    *stream = STREAM;
    return flags ? INVALID : 0;
}
CUresult fake_cuStreamDestroy_v2(void *stream) {
    return stream == STREAM ? 0 : INVALID;
}
CUresult fake_cuStreamBeginCapture_v2(void *stream, int mode) {
    note_graph("capture");
    fake_cuda_capture(true);
    return stream == STREAM && mode >= 0 && mode <= 2 ? 0 : INVALID;
}
CUresult fake_cuStreamEndCapture(void *stream, void **graph) {
    note_graph("captured");
    fake_cuda_capture(false);
    *graph = GRAPH;
    return stream == STREAM ? 0 : INVALID;
}
CUresult fake_cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
    *exec = EXEC;
    return graph == GRAPH && flags == 0 ? 0 : INVALID;
}
CUresult fake_cuGraphLaunch(void *exec, void *stream) {
    note_graph("replay");
    return exec == EXEC && stream == STREAM ? 0 : INVALID;
}
CUresult fake_cuGraphExecDestroy(void *exec) {
    note_graph("exec gone");
    return exec == EXEC ? 0 : INVALID;
}
CUresult fake_cuGraphDestroy(void *graph) {
    note_graph("graph gone");
    return graph == GRAPH ? 0 : INVALID;
}
