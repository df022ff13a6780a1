// Range queries over inputs and maps: what the planner's intervals read of an array. Plain C, also
// compiled for a GPU.
#ifndef HEDDLE_COMPILER_PLANNER_ARRAY_RANGE_H
#define HEDDLE_COMPILER_PLANNER_ARRAY_RANGE_H

#include "compiler/abi.h"

#include <stdbool.h>

// abi_range_fn. Bounds that hold for every element of the box; exact for one row, and for boxes of
// at most a few dozen rows. A float range that holds a NaN is everything.
void array_range(const struct abi_array *array, int64_t element, const int64_t *lo,
                 const int64_t *hi, struct abi_range *out);

// Level `level` >= 1 of the pyramid: whether there is one, its pairs (of level 0: the elements),
// and one of them from the level below (`out` is the level's first pair).
bool array_has_level(const struct abi_array *array, int level);
int64_t array_groups(const struct abi_array *array, int level);
void array_build_group(const struct abi_array *array, int64_t element, int level, int64_t group,
                       struct abi_pair *out);

#endif
