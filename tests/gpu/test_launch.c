// What heddle_run on a GPU asks of the driver: the context entered and left, kernel launches, and
// tensor maps where tensors are others than in the run before; nothing is allocated, copied or
// waited for. And that runs with workspaces keep apart. Prints the host's time for a run, of which
// the driver's part is missing here.
#include "tests/gpu/fake_host.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// The calls of a run of the tensors at `place`, by name, in their order.
static const char *calls_of(struct fake_host *host, int place, void *workspace) {
    struct heddle_tensors tensors = fake_tensors(place);
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    heddle_plan_info(host->plan, &info);
    const struct heddle_run_options options = {sizeof options, workspace,
                                               workspace ? info.workspace_bytes : 0};
    fake_cuda_record();
    cr_assert_eq(heddle_run_with(host->plan, &tensors, &options, NULL), HEDDLE_OK, "%s",
                 heddle_last_error());
    return fake_cuda_recorded();
}

static void expect_calls(struct fake_host *host, int place, void *workspace, const char *calls) {
    cr_expect_str_eq(calls_of(host, place, workspace), calls);
}

#define ENTER "CtxPushCurrent "
#define LEAVE "LaunchKernel CtxPopCurrent "
#define MAPS "TensorMapEncodeTiled TensorMapEncodeTiled TensorMapEncodeTiled TensorMapEncodeTiled "

Test(launch, calls_with_one_set_of_maps) {
    struct fake_host host;
    fake_host_open(&host, FAKE_ONE_SET);
    fake_host_plan(&host);
    expect_calls(&host, 0, NULL, ENTER MAPS LEAVE);
    expect_calls(&host, 0, NULL, ENTER LEAVE);
    expect_calls(&host, 1, NULL, ENTER MAPS LEAVE);
    expect_calls(&host, 1, NULL, ENTER LEAVE);
    fake_host_close(&host);
}

Test(launch, calls_with_a_set_a_batch) {
    struct fake_host host;
    fake_host_open(&host, FAKE_BATCHES);
    fake_host_plan(&host);
    expect_calls(&host, 0, NULL, ENTER MAPS MAPS MAPS "StreamIsCapturing LaunchKernel " LEAVE);
    expect_calls(&host, 0, NULL, ENTER "StreamIsCapturing " LEAVE);
    fake_host_close(&host);
}

// ---- workspaces ---------------------------------------------------------------------------------

static void *workspace_of(struct fake_host *host) {
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    heddle_plan_info(host->plan, &info);
    void *memory = aligned_alloc(HEDDLE_WORKSPACE_ALIGNMENT, (size_t)info.workspace_bytes);
    cr_assert_not_null(memory);
    return memset(memory, 0, (size_t)info.workspace_bytes);
}

// Runs in flight with a workspace each: neither writes to what the other one reads.
static void keep_apart(enum fake_kind kind) {
    struct fake_host host;
    struct sm90_args args[3];
    fake_host_open(&host, kind);
    fake_host_plan(&host);
    void *workspaces[] = {NULL, workspace_of(&host), workspace_of(&host)};
    unsigned char maps[3][FAKE_MOST_SETS * SM90_TENSOR_MAPS * SM90_MAP_BYTES];
    size_t bytes = (size_t)host.sets * SM90_TENSOR_MAPS * SM90_MAP_BYTES;
    for (int i = 0; i < 3; i++) {
        calls_of(&host, i, workspaces[i]);
        args[i] = fake_cuda_launches()->parameter;
        memcpy(maps[i], host.sets > 1 ? (void *)(uintptr_t)args[i].more_maps : (void *)args[i].maps,
               bytes);
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < i; j++) {
            cr_expect_neq(args[i].queue, args[j].queue);
            cr_expect_neq(memcmp(maps[i], maps[j], bytes), 0, "maps of other tensors");
            if (host.sets > 1)
                cr_expect_neq(args[i].more_maps, args[j].more_maps);
        }
    for (int i = 0; i < 3 && host.sets > 1; i++)
        cr_expect_eq(memcmp(maps[i], (void *)(uintptr_t)args[i].more_maps, bytes), 0,
                     "a later run wrote to the maps of another");
    free(workspaces[1]);
    free(workspaces[2]);
    fake_host_close(&host);
}

Test(launch, workspaces_with_one_set_of_maps) {
    keep_apart(FAKE_ONE_SET);
}

Test(launch, workspaces_with_many_sets_of_maps) {
    keep_apart(FAKE_RESIDUES);
}

// Maps in a workspace are put there by each run: the host may have used it for another plan.
Test(launch, workspaces_are_not_remembered) {
    struct fake_host host;
    fake_host_open(&host, FAKE_BATCHES);
    fake_host_plan(&host);
    void *workspace = workspace_of(&host);
    expect_calls(&host, 0, workspace, ENTER MAPS MAPS MAPS "LaunchKernel " LEAVE);
    expect_calls(&host, 0, workspace, ENTER "LaunchKernel " LEAVE);
    expect_calls(&host, 0, NULL, ENTER "StreamIsCapturing LaunchKernel " LEAVE);
    expect_calls(&host, 0, NULL, ENTER "StreamIsCapturing " LEAVE);
    free(workspace);
    fake_host_close(&host);
}

Test(launch, workspaces_that_do_not_fit) {
    struct fake_host host;
    struct heddle_tensors tensors = fake_tensors(0);
    fake_host_open(&host, FAKE_BATCHES);
    fake_host_plan(&host);
    char *workspace = workspace_of(&host);
    struct heddle_run_options options = {sizeof options, workspace + 64, 1 << 20};
    cr_expect_eq(heddle_run_with(host.plan, &tensors, &options, NULL), HEDDLE_BAD_ARGUMENT);
    options = (struct heddle_run_options){sizeof options, workspace, 128};
    cr_expect_eq(heddle_run_with(host.plan, &tensors, &options, NULL), HEDDLE_BAD_ARGUMENT);
    cr_expect_not_null(strstr(heddle_last_error(), "workspace_bytes"), "%s", heddle_last_error());
    free(workspace);
    fake_host_close(&host);
}

// ---- time ---------------------------------------------------------------------------------------

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

// Of a run, the least of some turns; `places` 2: tensors are others in each run.
static double run_ns(struct fake_host *host, int places) {
    enum { TURNS = 20, RUNS = 2000 };
    struct heddle_tensors tensors[] = {fake_tensors(0), fake_tensors(1)};
    double least = 1e12;
    for (int turn = 0; turn < TURNS; turn++) {
        double begin = now_ns();
        for (int i = 0; i < RUNS; i++)
            heddle_run(host->plan, &tensors[i % places], NULL);
        double ns = (now_ns() - begin) / RUNS;
        least = ns < least ? ns : least;
    }
    return least;
}

// The goal for all of a run on a GPU is 4 us; a tenth of it is left for heddle's own part, and a
// loaded machine or a sanitizer gets ten times that.
Test(launch, time_of_the_host) {
    static const char *const names[] = {"one set of maps", "a set a batch, 3", "18 sets"};
    enum { MOST_NS = 40000 };
    for (int kind = FAKE_ONE_SET; kind <= FAKE_RESIDUES; kind++) {
        struct fake_host host;
        fake_host_open(&host, (enum fake_kind)kind);
        fake_host_plan(&host);
        double same = run_ns(&host, 1), others = run_ns(&host, 2);
        fprintf(stderr, "heddle_run, %s: %.0f ns, %.0f of other tensors each time\n", names[kind],
                same, others);
        cr_expect_lt(same, MOST_NS);
        fake_host_close(&host);
    }
}
