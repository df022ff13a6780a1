// The smallest host: causal attention over a window of 256 keys. Its tensors are in the memory of
// the process, so it asks for the CPU; without options a context takes a GPU where there is one,
// and tensors must be in the GPU's memory then (heddle_context_target says which).
//
//   cc window.c $(pkg-config --cflags --libs heddle) -o window && ./window [patterns/window.heddle]
#include <heddle.h>

#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 1024, HEADS = 4, DIM = 64, ELEMENTS = HEADS * TOKENS * DIM };

static float *tensor(unsigned seed) {
    float *data = malloc(ELEMENTS * sizeof *data);
    for (int i = 0; data && i < ELEMENTS; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
    return data;
}

int main(int argc, char **argv) {
    struct heddle_context *context = NULL;
    struct heddle_pattern *pattern = NULL;
    struct heddle_plan *plan = NULL;
    float *q = tensor(1), *k = tensor(2), *v = tensor(3), *o = tensor(4);
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = HEDDLE_TARGET_CPU};
    const int64_t before = 256;
    const struct heddle_param param = {.name = "before", .count = 1, .ints = &before};
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = TOKENS;
    problem.heads = problem.kv_heads = HEADS;
    problem.dim = DIM;
    problem.params = &param;
    problem.param_count = 1;
    const struct heddle_tensors tensors = {
        .q = {.data = q}, .k = {.data = k}, .v = {.data = v}, .o = {.data = o}};

    int right = q && k && v && o && heddle_context_create(&options, &context) == HEDDLE_OK &&
                heddle_pattern_load(context, argc > 1 ? argv[1] : "patterns/window.heddle", NULL,
                                    &pattern) == HEDDLE_OK &&
                heddle_plan_create(context, pattern, &problem, &plan) == HEDDLE_OK &&
                heddle_run(plan, &tensors, NULL) == HEDDLE_OK;
    if (right)
        printf("o[0] = %g, o[last] = %g\n", (double)o[0], (double)o[ELEMENTS - 1]);
    else
        fprintf(stderr, "window: %s\n", heddle_last_error());

    heddle_plan_destroy(plan);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    free(q);
    free(k);
    free(v);
    free(o);
    return right ? 0 : 1;
}
