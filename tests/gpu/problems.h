// Random problems of the shipped patterns: sizes that divide nothing, fewer and more queries than
// keys, one token, batches, grouped heads, head dims from 8 to 256, parameters within `require`s,
// per-head tables, inputs. tests/oracle/problems.py is the same in Python.
#ifndef HEDDLE_TESTS_GPU_PROBLEMS_H
#define HEDDLE_TESTS_GPU_PROBLEMS_H

#include "heddle.h"
#include "tests/support/random_pattern.h"

enum { MOST_PARAMS = 12, MOST_HEADS = 6, TEXT_ROOM = 1024 };

struct device_problem { // points into itself: not to be copied
    const char *pattern;
    int axes;
    struct heddle_pattern_options options; // `block`, where the pattern has it
    struct heddle_assignment block;
    char block_text[24];
    struct heddle_problem problem;
    struct heddle_param params[MOST_PARAMS];
    int64_t ints[MOST_PARAMS][MOST_HEADS];
    double reals[MOST_PARAMS][MOST_HEADS];
    struct heddle_input inputs[2];
    void *input_data[2]; // owned
};

int pattern_count(void);
const char *pattern_name(int number); // NULL past the last

// A problem of pattern `number` with at most about `tokens` keys. fp32 only where `with_fp32`.
void problem_random(struct device_problem *p, int number, int64_t tokens, bool with_fp32,
                    struct random_source *random);
// A problem of the caller's choice: sizes, then parameters by problem_set.
void problem_plain(struct device_problem *p, const char *pattern, const int64_t *sizes);
void problem_set(struct device_problem *p, const char *name, int64_t value);
void problem_finish(struct device_problem *p);

int64_t problem_keys(const struct device_problem *p);
int64_t problem_queries(const struct device_problem *p);
// One line: what would bring the problem back by hand.
void problem_text(const struct device_problem *p, char out[TEXT_ROOM]);

// One of several values, each as likely as the others.
#define ONE_OF(random, ...)                                                                        \
    ((const int64_t[]){__VA_ARGS__}[random_in(                                                     \
        random, 0, (int64_t)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)) - 1)])

#endif
