// The tensors of a run, checked: what both targets ask of them.
#ifndef HEDDLE_RUNTIME_RUN_TENSORS_H
#define HEDDLE_RUNTIME_RUN_TENSORS_H

#include "runtime/plan.h"

enum run_tensor { RUN_Q, RUN_K, RUN_V, RUN_O, RUN_TENSORS };

struct run_view { // one of them, as the plan's shapes make it
    const char *name;
    struct abi_tensor tensor; // strides in elements, filled in where the caller left all 0
    int64_t heads, tokens;    // of this tensor; batch and dim are the plan's
    bool of_queries;          // q and o: tokens are the plan's queries
};

// Fills out[RUN_TENSORS] in the order q, k, v, o. HEDDLE_BAD_ARGUMENT: a tensor is missing or not
// aligned to its elements, its strides reach further than an address can, rows of o share memory
// (a stride of 0), or lse is not aligned to a float.
enum heddle_status run_tensors_check(const struct plan *plan, const struct heddle_tensors *tensors,
                                     struct run_view *out, struct error *error);

#endif
