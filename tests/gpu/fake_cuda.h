// What tests in the process can do with the driver that is none (fake_cuda.c): make a call fail,
// and look at what is held and what was launched.
#ifndef HEDDLE_TESTS_GPU_FAKE_CUDA_H
#define HEDDLE_TESTS_GPU_FAKE_CUDA_H

#include "compiler/sm90/sm90_args.h"
#include "runtime/cuda/cuda_api.h"

#include <stdbool.h>

// The n-th call of the driver from now on fails with `result`, and no other; n = 0: none. A call
// that takes something takes nothing then. One that gives something back does that all the same:
// the real driver reports failures of earlier work there.
void fake_cuda_fail(int64_t n, CUresult result);
// The call that failed since, by its name in cuda_api.def; NULL: the n-th was not reached.
const char *fake_cuda_failed(void);

// The calls since fake_cuda_record, by their names in cuda_api.def, each with a space after it; the
// text is good until the next call of the driver.
void fake_cuda_record(void);
const char *fake_cuda_recorded(void);

struct fake_cuda_held { // taken and not given back
    int64_t memory, modules, contexts, pushes, events;
};
struct fake_cuda_held fake_cuda_held(void);

// A line of the driver's log, $FAKE_CUDA_LOG.
void fake_cuda_note(const char *text);

// Streams say from now on whether they are captured in a graph.
void fake_cuda_capture(bool capturing);

struct fake_cuda_launches { // since the program began
    int64_t attention, place, pool;
    struct sm90_args parameter; // of the latest launch of the attention kernel, without its end
};
const struct fake_cuda_launches *fake_cuda_launches(void);

#endif
