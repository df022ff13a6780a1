// Part of stage `plan`: proof that every expression has a value for this problem.
#ifndef HEDDLE_RUNTIME_RANGES_H
#define HEDDLE_RUNTIME_RANGES_H

#include "runtime/plan.h"

// Walks `keep` and `score` over intervals with all positions, heads and batches at once. Refused
// (HEDDLE_PATTERN_ERROR, with place and values): an integer that may leave 64 bits, a divisor that
// may be zero, a shift count that may leave 0..63, an index that may leave its array. On success
// plan->launch.narrow says whether every integer fits 32 bits.
enum heddle_status ranges_check(struct plan *plan, struct error *error);

// Numbers that may be looked for in an input set are below this, at least 1 and at most the number
// of tokens. Reads the inputs that are no sets, which must be bound.
int64_t ranges_set_width(struct plan *plan, int input);

// The same proof for a map's condition over all of its indices, quantifiers of any number of turns
// included. False: some operation may have no value.
bool ranges_of_map(struct plan *plan, const struct pattern_map *map, const struct abi_array *array);

// Of a selection whose indices are bound: its elements lie below *out_below, for all its lists.
// Without a bound in the pattern: the number of keys.
enum heddle_status ranges_reach(struct plan *plan, int input, int64_t *out_below,
                                struct error *error);

#endif
