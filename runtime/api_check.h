// What is wrong with the arguments of heddle.h, as far as it shows without a pattern or a device:
// counts, missing pointers, numbers that are no enum's. Each gives a message, or NULL.
#ifndef HEDDLE_RUNTIME_API_CHECK_H
#define HEDDLE_RUNTIME_API_CHECK_H

#include "heddle.h"

const char *api_context_fault(const struct heddle_context_options *options);
const char *api_pattern_fault(const struct heddle_pattern_options *options);
const char *api_problem_fault(const struct heddle_problem *problem);
const char *api_inputs_fault(const struct heddle_input *inputs, int count);

#endif
