// Patterns for kernel tests, as expression graphs made without the parser.
#ifndef HEDDLE_TESTS_KERNEL_PATTERNS_H
#define HEDDLE_TESTS_KERNEL_PATTERNS_H

#include "tests/kernel/kernel_problem.h"

enum { TEST_KEEPS = 14, TEST_SCORES = 6 };

// A pattern with keep number `keep` and score number `score` (0: none), over `axis_count` axes; the
// last axis split by `dilation`. It has one int parameter, one real parameter, two tables (int,
// real), an int input [token], a real input [kv_head, token] and a map [last axis / 4, last axis /
// 4].
struct pattern *test_pattern(struct arena *arena, int axis_count, int keep, int score,
                             int64_t dilation);
const char *test_keep_name(int keep);
// Values for all of these, in the problem's arena (inputs guarded: release them).
void test_arguments(struct problem *p);
void test_arguments_release(struct problem *p);

#endif
