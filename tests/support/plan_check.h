// Brute force over a plan: what its lists must be, whatever the pattern.
#ifndef HEDDLE_TESTS_PLAN_CHECK_H
#define HEDDLE_TESTS_PLAN_CHECK_H

#include "runtime/plan.h"

struct plan_faults {
    int64_t uncovered;   // kept pairs in no tile
    int64_t repeated;    // pairs in more than one tile's ownership
    int64_t false_full;  // pairs of full tiles that are not kept
    int64_t loose_full;  // partial tiles of which every pair is kept
    int64_t loose_empty; // tiles of which no pair is kept
    int64_t tiles, kept_pairs;
    char first[256]; // where the first fault was
};

// Compares every item's tiles with the reference meaning, pair by pair (small problems only).
struct plan_faults plan_check(const struct plan *plan);

// uncovered, repeated or false_full.
static inline bool plan_unsound(const struct plan_faults *faults) {
    return faults->uncovered || faults->repeated || faults->false_full;
}

#endif
