#include "runtime/api_check.h"

const char *api_context_fault(const struct heddle_context_options *options) {
    if ((unsigned)options->target > HEDDLE_TARGET_CUDA || options->threads < 0)
        return "heddle_context_create: an unknown target, or fewer than 0 threads";
    if (options->import_dir_count < 0 || (options->import_dir_count && !options->import_dirs))
        return "heddle_context_create: import_dir_count, but no import_dirs";
    if ((unsigned)options->log_level > HEDDLE_LOG_TRACE)
        return "heddle_context_create: an unknown log_level";
    for (int i = 0; i < options->import_dir_count; i++)
        if (!options->import_dirs[i])
            return "heddle_context_create: one of import_dirs is missing";
    return NULL;
}

const char *api_pattern_fault(const struct heddle_pattern_options *options) {
    if (options->const_count < 0 || (options->const_count && !options->consts))
        return "heddle_pattern_load: const_count, but no consts";
    for (int i = 0; i < options->const_count; i++)
        if (!options->consts[i].name || !options->consts[i].value)
            return "heddle_pattern_load: a constant without a name or a value";
    return NULL;
}

const char *api_inputs_fault(const struct heddle_input *inputs, int count) {
    for (int i = 0; i < count; i++)
        if (!inputs[i].name || (unsigned)inputs[i].element > HEDDLE_FLOAT32)
            return "an input without a name, or of unknown elements";
    return NULL;
}

const char *api_problem_fault(const struct heddle_problem *problem) {
    if (problem->param_count < 0 || (problem->param_count && !problem->params) ||
        problem->input_count < 0 || (problem->input_count && !problem->inputs))
        return "heddle_plan_create: a count of params or inputs, but none of them";
    for (int i = 0; i < problem->param_count; i++)
        if (!problem->params[i].name)
            return "heddle_plan_create: a parameter without a name";
    return api_inputs_fault(problem->inputs, problem->input_count);
}
