// A problem set up on the machine: its plan there, the same plan on the CPU, numbers, and what the
// CPU makes of them. Trials are runs of it in some layout.
#ifndef HEDDLE_TESTS_GPU_RIG_H
#define HEDDLE_TESTS_GPU_RIG_H

#include "runtime/plan.h"
#include "tests/gpu/layouts.h"
#include "tests/gpu/problems.h"

struct verdict { // the first thing that went wrong, if any
    bool failed;
    char text[1024];
};
// Notes a failure unless there was one; returns false.
bool verdict_fail(struct verdict *verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct rig {
    const struct machine *machine;
    const struct device_problem *problem; // borrowed
    struct heddle_pattern *pattern;
    struct heddle_plan *plan; // on the machine
    struct program *program;
    struct plan *cpu; // the same problem on the CPU
    struct shapes shapes;
    struct numbers numbers;
    void *expected; // o of the CPU, contiguous
    float *expected_lse;
    void *first; // o and lse of the machine's first trial, once there was one
    float *first_lse;
    bool tried;
};

// Where the patterns are; NULL: with the sources, or where they were installed.
void rig_set_patterns(const char *folder);
// Both plans, random numbers, and the CPU's result. False: verdict says why.
bool rig_make(struct rig *rig, const struct machine *machine, const struct device_problem *problem,
              struct random_source *random, struct verdict *verdict);
void rig_free(struct rig *rig);

// Queues a run in `layout`, which was filled.
bool rig_queue(const struct rig *rig, const struct layout *layout, CUstream stream,
               struct verdict *verdict);
// The same with options, a workspace for instance; NULL: none.
bool rig_queue_with(const struct rig *rig, const struct layout *layout,
                    const struct heddle_run_options *options, CUstream stream,
                    struct verdict *verdict);
// Fetches and judges it: memory around results untouched; the first trial near the CPU's result and
// the reference, any other the same bits as the first.
bool rig_check(struct rig *rig, struct layout *layout, struct verdict *verdict);
// A random layout, a run, the judgement.
bool rig_try(struct rig *rig, CUstream stream, struct random_source *random,
             struct verdict *verdict);

#endif
