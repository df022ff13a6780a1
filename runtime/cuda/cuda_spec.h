// What a plan makes the GPU's kernel specialise on.
#ifndef HEDDLE_RUNTIME_CUDA_SPEC_H
#define HEDDLE_RUNTIME_CUDA_SPEC_H

#include "compiler/sm90/sm90_kernel.h"
#include "runtime/plan.h"

// After the plan's geometry and tile shapes are chosen.
void cuda_spec(const struct plan *plan, struct sm90_spec *out);

#endif
