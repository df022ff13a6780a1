// A host in C++17 with -Wall -Wextra -Wpedantic: heddle.h in use, not only included.
#include "heddle.h"

#include <cmath>
#include <cstdio>
#include <vector>

static bool is_right(const std::vector<float> &o) {
    for (float x : o) // the mean of ones
        if (!(std::fabs(x - 1.0f) < 1e-5f))
            return false;
    return true;
}

int main() {
    enum { HEADS = 2, SIDE = 8, DIM = 64 };
    heddle_context_options options = {};
    options.struct_bytes = sizeof options;
    options.target = HEDDLE_TARGET_CPU;
    options.log = [](void *, heddle_log_level, const char *) {};
    heddle_context *context = nullptr;
    heddle_pattern *pattern = nullptr;
    heddle_plan *plan = nullptr;
    const int64_t window = 3;
    const heddle_param params[] = {{"win_y", 1, &window, nullptr}, {"win_x", 1, &window, nullptr}};
    heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = problem.sizes[1] = SIDE;
    problem.heads = problem.kv_heads = HEADS;
    problem.params = params;
    problem.param_count = 2;
    std::vector<float> ones(HEADS * SIDE * SIDE * DIM, 1.0f), o(ones.size());
    heddle_tensors tensors = {};
    tensors.q.data = tensors.k.data = tensors.v.data = ones.data();
    tensors.o.data = o.data();

    bool right = heddle_context_create(&options, &context) == HEDDLE_OK &&
                 heddle_pattern_load(context, "neighborhood2d", nullptr, &pattern) == HEDDLE_OK &&
                 heddle_plan_create(context, pattern, &problem, &plan) == HEDDLE_OK &&
                 heddle_run(plan, &tensors, nullptr) == HEDDLE_OK;
    struct heddle_plan_info info = {};
    info.struct_bytes = sizeof info;
    if (right)
        heddle_plan_info(plan, &info);
    else
        std::fprintf(stderr, "%s\n", heddle_last_error());
    heddle_plan_destroy(plan);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    return right && info.keys == SIDE * SIDE && is_right(o) ? 0 : 1;
}
