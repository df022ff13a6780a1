// Boxes that measuring found best, remembered for the next plan of the same problem.
//
// The schedule picks boxes by a model of costs; whoever measures (`heddle run --tune`) may know
// better and stores what it found. A record is found by everything that decides how fast boxes are:
// the pattern's normal form, the problem with its parameters and the shapes (not the values) of its
// inputs, the machine, and the version of the kernels. Nothing of a record is trusted: the schedule
// takes remembered boxes only where it could have tried them itself.
#ifndef HEDDLE_RUNTIME_TUNED_H
#define HEDDLE_RUNTIME_TUNED_H

#include "runtime/cuda/device.h"
#include "runtime/plan.h"

struct tuned_machine { // what runs the kernels, in words
    char text[512];
};
// `gpu` NULL: this CPU, with so many threads (0: all processors that this process may use).
struct tuned_machine tuned_machine(const struct cuda_device *gpu, int threads);

// The key of a plan whose problem is bound. False without memory.
bool tuned_key(const struct plan *plan, const char *machine, struct strbuf *out);

// The boxes remembered for the plan's problem on the machine of its options. False: none, for
// whatever reason.
bool tuned_find(const struct plan *plan, struct plan_boxes *out);

// Remembers the boxes of the plan, for `machine`. HEDDLE_IO_ERROR, HEDDLE_OUT_OF_MEMORY.
enum heddle_status tuned_store(const struct plan *plan, const char *machine, struct error *error);

#endif
