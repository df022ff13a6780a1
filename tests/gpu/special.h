// What a host may do with plans besides running one after another: streams, threads, graphs,
// contexts, tensors that change, and keys whose numbers must not matter.
#ifndef HEDDLE_TESTS_GPU_SPECIAL_H
#define HEDDLE_TESTS_GPU_SPECIAL_H

#include "tests/gpu/rig.h"

struct special {
    const char *name;
    bool gpu_only;
    void (*run)(const struct machine *machine, uint64_t seed, struct verdict *verdict);
};
extern const struct special SPECIALS[];
extern const int SPECIAL_COUNT;

#endif
