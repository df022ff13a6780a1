// A host of heddle.h on the driver that is none: a context on the fake GPU, a pattern, a plan.
#ifndef HEDDLE_TESTS_GPU_FAKE_HOST_H
#define HEDDLE_TESTS_GPU_FAKE_HOST_H

#include "heddle.h"
#include "tests/gpu/fake_cuda.h"

// Problems that differ in how many sets of tensor maps they need: one, one per batch, and one per
// batch and residue, more than one launch places.
enum fake_kind { FAKE_ONE_SET, FAKE_BATCHES, FAKE_RESIDUES };
enum { FAKE_MOST_SETS = 18 };

struct fake_host {
    struct heddle_context *context;
    struct heddle_pattern *pattern;
    struct heddle_problem problem; // change it before making the plan
    struct heddle_param params[4];
    int64_t values[4];
    int64_t sets;
    struct heddle_plan *plan; // NULL until made
};

enum heddle_status fake_context(enum heddle_target target, struct heddle_context **out);
// Both end the test when they fail.
void fake_host_open(struct fake_host *host, enum fake_kind kind);
void fake_host_plan(struct fake_host *host);
void fake_host_close(struct fake_host *host);

// Contiguous tensors of the problem, somewhere in the device's memory, which nobody reads: place 0,
// 1, ... are far apart.
struct heddle_tensors fake_tensors(int place);

#endif
