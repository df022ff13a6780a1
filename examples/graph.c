// A CUDA graph of heddle_replan and heddle_run: one launch per step plans for the documents of the
// batch at hand, and attends. The ids change between launches, the graph does not.
//
//   cc graph.c $(pkg-config --cflags --libs heddle) -ldl -o graph && ./graph
//
// Without a GPU that heddle has kernels for: one line, and exit status 77. A host includes cuda.h
// and links libcuda; this one finds the driver's functions itself, so that it builds where neither
// is.
#include <heddle.h>

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 2, TOKENS = 2048, DIM = 64, SKIPPED = 77, CAPTURE_THREAD_LOCAL = 1 };
enum { Q, K, V, O, LSE, IDS, BUFFERS };
static const size_t bytes_of[BUFFERS] = {
    [Q] = HEADS * TOKENS * DIM * 2, [K] = HEADS * TOKENS * DIM * 2, [V] = HEADS * TOKENS * DIM * 2,
    [O] = HEADS * TOKENS * DIM * 2, [LSE] = HEADS * TOKENS * 4,     [IDS] = TOKENS * 4};

// ---- the driver ---------------------------------------------------------------------------------

static struct {
    int (*retain)(void **context, int device), (*set)(void *context);
    int (*allocate)(void **, size_t), (*zero)(void *, unsigned char, size_t);
    int (*upload)(void *, const void *, size_t), (*download)(void *, const void *, size_t);
    int (*stream)(void **, unsigned), (*wait)(void *);
    int (*capture)(void *stream, int mode), (*captured)(void *stream, void **graph);
    int (*instantiate)(void **exec, void *graph, unsigned long long flags);
    int (*launch)(void *exec, void *stream);
    int (*drop_exec)(void *), (*drop_graph)(void *), (*drop_stream)(void *), (*free)(void *);
    int (*release)(int device);
} cu;

static int find_driver(void) {
    static const struct {
        const char *name;
        void *to;
    } symbols[] = {{"cuDevicePrimaryCtxRetain", &cu.retain},
                   {"cuCtxSetCurrent", &cu.set},
                   {"cuMemAlloc_v2", &cu.allocate},
                   {"cuMemsetD8_v2", &cu.zero},
                   {"cuMemcpyHtoD_v2", &cu.upload},
                   {"cuMemcpyDtoH_v2", &cu.download},
                   {"cuStreamCreate", &cu.stream},
                   {"cuStreamSynchronize", &cu.wait},
                   {"cuStreamBeginCapture_v2", &cu.capture},
                   {"cuStreamEndCapture", &cu.captured},
                   {"cuGraphInstantiateWithFlags", &cu.instantiate},
                   {"cuGraphLaunch", &cu.launch},
                   {"cuGraphExecDestroy", &cu.drop_exec},
                   {"cuGraphDestroy", &cu.drop_graph},
                   {"cuStreamDestroy_v2", &cu.drop_stream},
                   {"cuMemFree_v2", &cu.free},
                   {"cuDevicePrimaryCtxRelease_v2", &cu.release}};
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    for (size_t i = 0; library && i < sizeof symbols / sizeof *symbols; i++)
        if (!(*(void **)symbols[i].to = dlsym(library, symbols[i].name)))
            return 0;
    return library != NULL;
}

static void must(int outcome, const char *what) { // of the driver's calls, and of heddle's
    if (outcome == 0)
        return;
    fprintf(stderr, "graph: %s: %d (heddle: %s)\n", what, outcome, heddle_last_error());
    exit(1);
}

// ---- the graph ----------------------------------------------------------------------------------

struct host {
    struct heddle_context *context;
    struct heddle_pattern *pattern;
    struct heddle_plan *plan;
    void *buffers[BUFFERS], *stream, *graph, *exec; // on the GPU
};

// One document, or several of `length` tokens.
static void write_ids(const struct host *host, int length) {
    static int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        ids[i] = i / length;
    must(cu.upload(host->buffers[IDS], ids, sizeof ids), "document ids");
}

static void make_plan(struct host *host, const struct heddle_input *ids) {
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = TOKENS;
    problem.heads = problem.kv_heads = HEADS;
    problem.dim = DIM;
    problem.dtype = HEDDLE_BF16;
    problem.inputs = ids;
    problem.input_count = 1;
    problem.planner = HEDDLE_PLANNER_DEVICE;
    must((int)heddle_pattern_load(host->context, "documents", NULL, &host->pattern), "the pattern");
    must((int)heddle_plan_create(host->context, host->pattern, &problem, &host->plan), "the plan");
}

// Both calls only queue work, so they can be captured. The plan must outlive the graph.
static void capture(struct host *host, const struct heddle_input *ids) {
    const struct heddle_tensors tensors = {.q = {.data = host->buffers[Q]},
                                           .k = {.data = host->buffers[K]},
                                           .v = {.data = host->buffers[V]},
                                           .o = {.data = host->buffers[O]},
                                           .lse = host->buffers[LSE]};
    must(cu.stream(&host->stream, 0), "a stream");
    must(cu.capture(host->stream, CAPTURE_THREAD_LOCAL), "capturing");
    must((int)heddle_replan(host->plan, ids, 1, host->stream), "heddle_replan");
    must((int)heddle_run(host->plan, &tensors, host->stream), "heddle_run");
    must(cu.captured(host->stream, &host->graph), "the graph");
    must(cu.instantiate(&host->exec, host->graph, 0), "the graph");
}

// With queries of 0 every logit is 0, and the log-sum-exp of a row is the logarithm of how many
// keys it sees: of the last row, its document.
static int last_row_sees(const struct host *host, int length) {
    float lse[TOKENS];
    write_ids(host, length);
    must(cu.launch(host->exec, host->stream), "launching the graph");
    must(cu.wait(host->stream), "the graph");
    must(cu.download(lse, host->buffers[LSE], sizeof lse), "the result");
    printf("documents of %d tokens: the last row sees %.1f keys\n", length,
           exp((double)lse[TOKENS - 1]));
    return fabs(exp((double)lse[TOKENS - 1]) - length) < 0.5;
}

static void finish(struct host *host) {
    cu.drop_exec(host->exec); // before the plan
    cu.drop_graph(host->graph);
    heddle_plan_destroy(host->plan);
    heddle_pattern_destroy(host->pattern);
    heddle_context_destroy(host->context);
    cu.drop_stream(host->stream);
    for (int b = 0; b < BUFFERS; b++)
        cu.free(host->buffers[b]);
    cu.release(0);
}

int main(void) {
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = HEDDLE_TARGET_CUDA};
    struct host host = {.context = NULL};
    void *primary = NULL;
    if (heddle_context_create(&options, &host.context) != HEDDLE_OK) {
        printf("skipped: %s\n", heddle_last_error());
        return SKIPPED;
    }
    if (!find_driver())
        must(1, "the driver has no graphs");
    // heddle's context is the primary one of the GPU that it chose: the first, where none is
    // current.
    must(cu.retain(&primary, 0), "the primary context");
    must(cu.set(primary), "the primary context");
    for (int b = 0; b < BUFFERS; b++) {
        must(cu.allocate(&host.buffers[b], bytes_of[b]), "memory");
        must(cu.zero(host.buffers[b], 0, bytes_of[b]), "memory");
    }
    // Ids of any batch to come: 0 .. TOKENS - 1.
    const struct heddle_input ids = {.name = "doc",
                                     .data = host.buffers[IDS],
                                     .element = HEDDLE_INT32,
                                     .rank = 1,
                                     .shape = {TOKENS},
                                     .on_device = 1,
                                     .range = (const double[]){0, TOKENS - 1}};
    make_plan(&host, &ids);
    capture(&host, &ids);
    int right = last_row_sees(&host, TOKENS) && last_row_sees(&host, TOKENS / 2) &&
                last_row_sees(&host, TOKENS / 16);
    finish(&host);
    return right ? 0 : 1;
}
