// Extents and shapes: sets of list positions as products of intervals, one axis possibly a comb.
// Private to compiler/planner.
#ifndef HEDDLE_COMPILER_PLANNER_SHAPE_H
#define HEDDLE_COMPILER_PLANNER_SHAPE_H

#include "compiler/abi.h"

#include <stdbool.h>

// An interval [begin, end), or with period > 0 its part {x : (x - phase) mod period < width}.
struct extent {
    int64_t begin, end;
    int64_t period, phase, width;
};

struct shape { // a product of extents
    struct extent axis[ABI_AXES];
};

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t greatest(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t floor_div(int64_t a, int64_t b) { // b above 0
    return a / b - (a % b < 0);
}
static inline int64_t ceil_div(int64_t a, int64_t b) {
    return -floor_div(-a, b);
}

bool shape_empty(const struct shape *s);
// The axis along which a shape is periodic, or -1. Regions have one at most.
int shape_comb_axis(const struct shape *s);
bool shape_is_comb(const struct shape *s);
bool shape_meet(const struct shape *a, const struct shape *b);           // do their hulls?
bool shape_inside(const struct shape *small, const struct shape *large); // large plain
// Makes a the union of both where that is a plain box again.
bool shape_join(struct shape *a, const struct shape *b);

static inline struct extent extent_plain(int64_t begin, int64_t end) {
    return (struct extent){begin, end, 0, 0, 0};
}
// First tooth whose end lies beyond `at`; last tooth that starts before the extent's end.
int64_t extent_tooth_after(const struct extent *e, int64_t at);
int64_t extent_last_tooth(const struct extent *e);
// Drops a period that makes no difference: every position kept, or one tooth only. Trims the ends
// to the teeth.
struct extent extent_simplified(struct extent e);

#endif
