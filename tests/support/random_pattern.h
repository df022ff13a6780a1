// Random pattern text for property tests: conditions of the shapes that planners meet (windows,
// blocks, combs, bands, documents) with random numbers, joined by and / or / not / ?:, on grids of
// one to three axes. All divisors and shifts are legal, so every pattern must plan.
#ifndef HEDDLE_TESTS_RANDOM_PATTERN_H
#define HEDDLE_TESTS_RANDOM_PATTERN_H

#include "compiler/base/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

struct random_source {
    uint64_t state;
};

uint64_t random_next(struct random_source *source);
int64_t random_in(struct random_source *source, int64_t first, int64_t last); // both possible

// Appends a pattern named `random` with `axes` axes (a, b, c), parameters p0 and p1, the per-head
// table t, and, when with_input, `input int doc[token]`.
void random_pattern(struct random_source *source, int axes, bool with_input, struct strbuf *out);

#endif
