// The planner as PTX: a pattern's own functions for one basis, linked with the planner's kernels
// (planner_device.c), which clang compiled to LLVM bitcode when heddle was built.
#ifndef HEDDLE_COMPILER_PLANNER_PTX_H
#define HEDDLE_COMPILER_PLANNER_PTX_H

#include "compiler/analyse/facts.h"
#include "compiler/base/status.h"
#include "compiler/base/strbuf.h"

#include <stdbool.h>

// The bitcode; no bytes where heddle was built without a clang of LLVM's version.
extern const unsigned char planner_device_bitcode[];
extern const unsigned long planner_device_bitcode_bytes;

static inline bool planner_ptx_possible(void) {
    return planner_device_bitcode_bytes > 0;
}

#define PLANNER_PTX_CPU "sm_90a"
#define PLANNER_PTX_FEATURES "+ptx80"

// Appends PTX for sm_90a with the kernels of planner_device.h, for query-major lists in a basis
// that its facts mark usable. HEDDLE_DEVICE_ERROR: built without a planner for GPUs.
enum heddle_status planner_ptx(const struct pattern *pattern, const struct facts *facts, int basis,
                               struct strbuf *out, struct error *error);

#endif
