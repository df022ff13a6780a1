// Random problems for the patterns of random_pattern.h, and how long a property test runs.
#ifndef HEDDLE_TESTS_RANDOM_PROBLEM_H
#define HEDDLE_TESTS_RANDOM_PROBLEM_H

#include "heddle.h"
#include "tests/support/random_pattern.h"

enum { RANDOM_KEYS = 8192, RANDOM_HEADS = 3 }; // at most

struct random_problem { // the problem points into the rest
    struct heddle_problem problem;
    struct heddle_param params[3];
    int64_t p0, p1, table[RANDOM_HEADS];
    struct heddle_input input;
    int32_t doc[RANDOM_KEYS];
};

// Sizes up to most[axes] along each axis, heads and values; at times the last slices of queries
// only, or more queries than keys.
void random_problem(struct random_source *source, int axes, const int64_t *most, bool with_input,
                    struct random_problem *out);

// HEDDLE_TEST_SEED, which is printed, and HEDDLE_TEST_CASES, or what a test says.
uint64_t random_seed(uint64_t fallback);
int random_cases(int fallback);

#endif
