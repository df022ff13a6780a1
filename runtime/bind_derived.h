// Part of stage `plan`: arrays of stages and selections, whose contents come with q and k.
// Private to runtime/.
#ifndef HEDDLE_RUNTIME_BIND_DERIVED_H
#define HEDDLE_RUNTIME_BIND_DERIVED_H

#include "runtime/plan.h"

// Extents and memory of input number `input` into plan->launch.env.arrays. A set holds a sample of
// elements until the first run: what boxes are chosen by, nothing else. *out_range (or NULL): what
// it may ever hold.
enum heddle_status bind_derived(struct plan *plan, int input, struct abi_pair *out_range,
                                struct error *error);
// Makes the range pyramid of an array again.
void derived_levels(const struct plan *plan, int input);

#endif
