// Where test_device runs: a GPU, or, with --cpu, this processor under the same tests. Its memory,
// streams and graphs. A failure of the machine itself ends the program: it is no test's result.
#ifndef HEDDLE_TESTS_GPU_MACHINE_H
#define HEDDLE_TESTS_GPU_MACHINE_H

#include "runtime/cuda/device.h"

#include <stdbool.h>

typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;

// What the tests ask of the driver besides what heddle does: see machine.c for the names.
struct machine_api {
    CUresult (*stream_create)(CUstream *, unsigned int);
    CUresult (*stream_destroy)(CUstream);
    CUresult (*synchronize)(void);
    CUresult (*get_current)(CUcontext *);
    CUresult (*begin_capture)(CUstream, int);
    CUresult (*end_capture)(CUstream, CUgraph *);
    CUresult (*instantiate)(CUgraphExec *, CUgraph, unsigned long long);
    CUresult (*launch)(CUgraphExec, CUstream);
    CUresult (*destroy_exec)(CUgraphExec);
    CUresult (*destroy_graph)(CUgraph);
};

struct machine {
    bool on_gpu;
    struct cuda_device gpu; // its primary context is held, and current nowhere
    struct machine_api api;
    struct heddle_context *context;
    char reason[256]; // why there is no GPU
};

// False: there is no GPU to use, and reason says why.
bool machine_open(struct machine *machine, bool on_gpu);
void machine_close(struct machine *machine);
// Ends the program with `what` when a call of the driver failed.
void machine_must(const struct machine *machine, CUresult result, const char *what);

// Memory that exists on both sides; the machine's is aligned to 256 bytes.
struct slab {
    unsigned char *host, *there; // there: a device address, or memory of its own with --cpu
    size_t bytes;
};
void slab_make(const struct machine *machine, struct slab *slab, size_t bytes);
void slab_free(const struct machine *machine, struct slab *slab);
void slab_upload(const struct machine *machine, const struct slab *slab);
void slab_download(const struct machine *machine, const struct slab *slab);

// Streams that do not wait for the default one; NULL on the CPU.
CUstream machine_stream(const struct machine *machine);
void machine_stream_destroy(const struct machine *machine, CUstream stream);
void machine_wait(const struct machine *machine); // until all that was queued is done

// What is queued on the stream between these becomes a graph.
void machine_capture(const struct machine *machine, CUstream stream);
CUgraphExec machine_captured(const struct machine *machine, CUstream stream);
void machine_replay(const struct machine *machine, CUgraphExec graph, CUstream stream);
void machine_graph_destroy(const struct machine *machine, CUgraphExec graph);

#endif
