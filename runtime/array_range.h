// Range queries over inputs and maps: what the planner's intervals read of an array.
#ifndef HEDDLE_RUNTIME_ARRAY_RANGE_H
#define HEDDLE_RUNTIME_ARRAY_RANGE_H

#include "compiler/abi.h"
#include "compiler/base/arena.h"

// abi_range_fn. Bounds that hold for every element of the box; exact for one row, and for boxes of
// at most a few dozen rows. A float range that holds a NaN is everything.
void array_range(const struct abi_array *array, int64_t element, const int64_t *lo,
                 const int64_t *hi, struct abi_range *out);

// Builds array->levels from its data, in the arena: one pair per 16 elements and level.
void array_build_levels(struct arena *arena, struct abi_array *array, enum abi_element element);

#endif
