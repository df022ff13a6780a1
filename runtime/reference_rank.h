// One ranking of the reference: what should be chosen, and whether what was chosen is right within
// rounding. The rules are those of compiler/select/choose.h, written again.
#ifndef HEDDLE_RUNTIME_REFERENCE_RANK_H
#define HEDDLE_RUNTIME_REFERENCE_RANK_H

#include "dsl/pattern.h"

struct rank_item {
    double score; // NaN: no candidate
    bool forced;
    int32_t chosen; // by the run: 0 or 1, or a level
};

struct rank_rule {
    enum select_mode mode;
    bool inclusive;
    double amount, least, most; // -1: no bound
    int band_count;
    int64_t level[MAX_BANDS];
    double share[MAX_BANDS], step[MAX_BANDS];
    int64_t count;
    const struct rank_item *items; // by place
};

// Adds to *differences the elements that the reference would not have chosen, or not left, whose
// scores are within rounding of where the ranking was cut. False, with words in `why`, where an
// element is further away, or too many or too few are chosen.
bool rank_agrees(const struct rank_rule *rule, int64_t *differences, char *why, size_t room);

#endif
