// Part of stage `plan`: the sources of a pattern that reads keys at several resolutions. Private to
// runtime/.
#ifndef HEDDLE_RUNTIME_SOURCES_H
#define HEDDLE_RUNTIME_SOURCES_H

#include "runtime/plan.h"

// Factors, numbers of keys and biases into plan->launch.sources (NULL for a pattern without
// sources); their tensors are set by each launch. HEDDLE_PATTERN_ERROR: a weight that is not above
// 0 for this problem. HEDDLE_BAD_ARGUMENT: an input that is a level holds what is no factor.
enum heddle_status sources_bind(struct plan *plan, struct error *error);

// What a group of a source weighs, as a natural logarithm: what is added to its logit. `group`
// 0 .. plan_source_keys.
double source_bias(const struct plan *plan, int source, int64_t head, int64_t group);

#endif
