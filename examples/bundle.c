// A host without a compiler: it is linked with libheddle-rt alone, and runs a bundle.
//
//   heddle compile window --emit=bundle --axes i=1024 --dtype bf16 -o window.hbundle
//   cc bundle.c $(pkg-config --cflags --libs heddle-rt) -o bundle && ./bundle window.hbundle
#include <heddle.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { HEADS = 4, TOKENS = 1024, DIM = 64, BEFORE = 256 };
static uint16_t q[HEADS][TOKENS][DIM], k[HEADS][TOKENS][DIM], v[HEADS][TOKENS][DIM];
static uint16_t o[HEADS][TOKENS][DIM];

// bf16 is the upper half of a float; numbers of 8 bits fit exactly.
static uint16_t bf16_of(float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static float float_of(uint16_t number) {
    uint32_t bits = (uint32_t)number << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static enum heddle_status make_plan(struct heddle_context *context, struct heddle_pattern *pattern,
                                    int64_t dim, struct heddle_plan **out_plan) {
    const struct heddle_param before = {"before", 1, (const int64_t[]){BEFORE}, NULL};
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = TOKENS;
    problem.heads = problem.kv_heads = HEADS;
    problem.dim = dim;
    problem.dtype = HEDDLE_BF16;
    problem.params = &before;
    problem.param_count = 1;
    return heddle_plan_create(context, pattern, &problem, out_plan);
}

// Sizes, heads and parameters are free. What no code was compiled for is a failure of its own.
static int refuses_other_dims(struct heddle_context *context, struct heddle_pattern *pattern) {
    struct heddle_plan *plan;
    enum heddle_status status = make_plan(context, pattern, 96, &plan);
    heddle_plan_destroy(plan);
    return status == HEDDLE_NO_COMPILER;
}

static enum heddle_status attend(struct heddle_context *context, struct heddle_pattern *pattern) {
    const struct heddle_tensors tensors = {
        .q = {.data = q}, .k = {.data = k}, .v = {.data = v}, .o = {.data = o}};
    struct heddle_plan *plan;
    enum heddle_status status = make_plan(context, pattern, DIM, &plan);
    if (status == HEDDLE_OK)
        status = heddle_run(plan, &tensors, NULL);
    heddle_plan_destroy(plan);
    return status;
}

static int run(struct heddle_context *context, struct heddle_pattern *pattern) {
    if (!refuses_other_dims(context, pattern) || attend(context, pattern) != HEDDLE_OK) {
        fprintf(stderr, "bundle: %s\n", heddle_last_error());
        return 1;
    }
    // Queries of 0 weigh alike the 256 keys they see; half of these tokens are odd.
    const float share = float_of(o[HEADS - 1][TOKENS - 1][0]);
    printf("of what the last token sees, %g is odd\n", (double)share);
    return share > 0.49f && share < 0.51f ? 0 : 1;
}

int main(int argc, char **argv) {
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = HEDDLE_TARGET_CPU};
    struct heddle_context *context = NULL;
    struct heddle_pattern *pattern = NULL;
    int failed = 1;
    if (argc != 2) {
        fprintf(stderr, "usage: bundle FILE.hbundle\n");
        return 2;
    }
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < TOKENS; i++)
            v[h][i][0] = bf16_of((float)(i % 2));
    if (heddle_context_create(&options, &context) == HEDDLE_OK &&
        heddle_pattern_load(context, argv[1], NULL, &pattern) == HEDDLE_OK)
        failed = run(context, pattern);
    else
        fprintf(stderr, "bundle: %s\n", heddle_last_error());
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    return failed;
}
