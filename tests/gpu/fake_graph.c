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
    fake_cuda_note("capture");
    fake_cuda_capture(true);
    return stream == STREAM && mode >= 0 && mode <= 2 ? 0 : INVALID;
}
CUresult fake_cuStreamEndCapture(void *stream, void **graph) {
    fake_cuda_note("captured");
    fake_cuda_capture(false);
    *graph = GRAPH;
    return stream == STREAM ? 0 : INVALID;
}
CUresult fake_cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
    *exec = EXEC;
    return graph == GRAPH && flags == 0 ? 0 : INVALID;
}
CUresult fake_cuGraphLaunch(void *exec, void *stream) {
    fake_cuda_note("replay");
    return exec == EXEC && stream == STREAM ? 0 : INVALID;
}
CUresult fake_cuGraphExecDestroy(void *exec) {
    fake_cuda_note("exec gone");
    return exec == EXEC ? 0 : INVALID;
}
CUresult fake_cuGraphDestroy(void *graph) {
    fake_cuda_note("graph gone");
    return graph == GRAPH ? 0 : INVALID;
}
