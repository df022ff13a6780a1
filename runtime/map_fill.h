// Part of stage `plan`: the tables of maps.
#ifndef HEDDLE_RUNTIME_MAP_FILL_H
#define HEDDLE_RUNTIME_MAP_FILL_H

#include "runtime/plan.h"

// Fills data[] (so many elements, by the extents of `array`) with map number `number`: by compiled
// code (compiler/maps.h) on all threads where it is much work and every operation provably has a
// value, else element by element as the reference evaluates. HEDDLE_PATTERN_ERROR, with the place,
// where an element has no value or quantifiers take too many turns.
enum heddle_status map_fill(struct plan *plan, int number, const struct abi_array *array,
                            int64_t elements, uint8_t *data, struct error *error);

#endif
