// The smallest host: causal attention over a window of 256 keys, on the CPU.
//
//   cc embed.c $(pkg-config --cflags --libs heddle) -o embed && ./embed
#include <heddle.h>

#include <stdio.h>

enum { HEADS = 4, TOKENS = 1024, DIM = 64 };
static float q[HEADS][TOKENS][DIM], k[HEADS][TOKENS][DIM], v[HEADS][TOKENS][DIM];
static float o[HEADS][TOKENS][DIM];

// Tensors in the memory of the process want a context of the CPU: without options it takes a GPU
// where there is one, and tensors must be in the GPU's memory (heddle_context_target says which).
static enum heddle_status attend(void) {
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = HEDDLE_TARGET_CPU};
    const struct heddle_param before = {"before", 1, (const int64_t[]){256}, NULL};
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT; // batch 1, dim 64, fp32
    problem.sizes[0] = TOKENS, problem.heads = problem.kv_heads = HEADS;
    problem.params = &before, problem.param_count = 1;
    const struct heddle_tensors tensors = {
        .q = {.data = q}, .k = {.data = k}, .v = {.data = v}, .o = {.data = o}};

    struct heddle_context *context = NULL;
    struct heddle_pattern *pattern = NULL;
    struct heddle_plan *plan = NULL;
    enum heddle_status status = heddle_context_create(&options, &context);
    if (status == HEDDLE_OK)
        status = heddle_pattern_load(context, "window", NULL, &pattern);
    if (status == HEDDLE_OK)
        status = heddle_plan_create(context, pattern, &problem, &plan);
    if (status == HEDDLE_OK)
        status = heddle_run(plan, &tensors, NULL); // as often as you like
    heddle_plan_destroy(plan);                     // NULL is fine
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    return status;
}

int main(void) {
    // Queries of 0 weigh all keys alike, so a row of o is the mean of the values it sees.
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < TOKENS; i++)
            v[h][i][0] = (float)i;
    if (attend() != HEDDLE_OK) {
        fprintf(stderr, "embed: %s\n", heddle_last_error());
        return 1;
    }
    const float last = o[HEADS - 1][TOKENS - 1][0]; // the mean of 768 .. 1023
    printf("the last token sees %g on average\n", (double)last);
    return last > 895.4f && last < 895.6f ? 0 : 1;
}
