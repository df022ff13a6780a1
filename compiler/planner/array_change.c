// Part of the planner: inputs that change. See array_change.h.

#include "compiler/planner/array_change.h"

#include <stdbool.h>

static int64_t int_from(const struct array_change *change, int64_t i) {
    return change->wide ? ((const int64_t *)change->from)[i]
                        : (int64_t)((const int32_t *)change->from)[i];
}

// True when the value was inside.
static bool take_int(const struct array_change *change, int64_t i) {
    int64_t least = (int64_t)change->range.least, greatest = (int64_t)change->range.greatest;
    int64_t x = int_from(change, i);
    int64_t kept = x < least ? least : x > greatest ? greatest : x;
    ((int32_t *)change->to)[i] = (int32_t)kept;
    return kept == x;
}

static bool take_float(const struct array_change *change, int64_t i) {
    float least = (float)change->range.least, greatest = (float)change->range.greatest;
    float x = ((const float *)change->from)[i];
    bool inside = x >= least && x <= greatest;
    if (x != x)
        inside = least == -__builtin_inff() && greatest == __builtin_inff();
    ((float *)change->to)[i] = inside ? x : x > greatest ? greatest : least;
    return inside;
}

// All who put an element put the same byte, so the order does not matter.
static bool take_element(const struct array_change *change, int64_t i) {
    int64_t x = int_from(change, i);
    if (x >= 0 && x < change->width)
        ((uint8_t *)change->to)[i / change->room * change->width + x] = 1;
    return x >= -1 && x < change->tokens;
}

void array_clear(void *table, int64_t bytes, int64_t worker, int64_t workers) {
    uint64_t *words = table;
    for (int64_t i = worker; i < bytes / 8; i += workers)
        words[i] = 0;
    for (int64_t i = bytes / 8 * 8 + worker; i < bytes; i += workers)
        ((uint8_t *)table)[i] = 0;
}

void array_change(const struct array_change *change, int64_t worker, int64_t workers) {
    bool inside = true;
    for (int64_t i = worker; i < change->count; i += workers)
        inside &= change->element == ABI_FLOAT32 ? take_float(change, i)
                  : change->element == ABI_BYTE  ? take_element(change, i)
                                                 : take_int(change, i);
    if (!inside)
        *change->outside = 1; // the same word from all
}
