#include "tests/gpu/fake_host.h"

#include <criterion/criterion.h>

enum heddle_status fake_context(enum heddle_target target, struct heddle_context **out) {
    const struct heddle_context_options options = {.struct_bytes = sizeof options,
                                                   .target = target};
    return heddle_context_create(&options, out);
}

static void set_params(struct fake_host *host, const char *const *names, const int64_t *values,
                       int count) {
    for (int i = 0; i < count; i++) {
        host->values[i] = values[i];
        host->params[i] =
            (struct heddle_param){.name = names[i], .count = 1, .ints = &host->values[i]};
    }
    host->problem.params = host->params;
    host->problem.param_count = count;
}

static void choose(struct fake_host *host, enum fake_kind kind) {
    static const char *const line[] = {"before", "after"};
    static const char *const grid[] = {"win_y", "dilation_y", "win_x", "dilation_x"};
    host->problem = (struct heddle_problem)HEDDLE_PROBLEM_INIT;
    host->problem.dtype = HEDDLE_BF16;
    host->problem.heads = 4;
    host->problem.kv_heads = 2;
    host->problem.batch = kind == FAKE_ONE_SET ? 1 : 3;
    host->sets = kind == FAKE_RESIDUES ? FAKE_MOST_SETS : host->problem.batch;
    if (kind == FAKE_RESIDUES) {
        host->problem.sizes[0] = 21;
        host->problem.sizes[1] = 26;
        set_params(host, grid, (const int64_t[]){5, 2, 5, 3}, 4); // 3 batches, 2 x 3 residues
    } else {
        host->problem.sizes[0] = 300;
        set_params(host, line, (const int64_t[]){50, 10}, 2);
    }
}

void fake_host_open(struct fake_host *host, enum fake_kind kind) {
    const char *path = kind == FAKE_RESIDUES ? HEDDLE_TEST_PATTERNS "/neighborhood2d.heddle"
                                             : HEDDLE_TEST_PATTERNS "/window.heddle";
    *host = (struct fake_host){0};
    choose(host, kind);
    cr_assert_eq(fake_context(HEDDLE_TARGET_CUDA, &host->context), HEDDLE_OK, "%s",
                 heddle_last_error());
    cr_assert_eq(heddle_pattern_load(host->context, path, NULL, &host->pattern), HEDDLE_OK, "%s",
                 heddle_last_error());
}

void fake_host_plan(struct fake_host *host) {
    cr_assert_eq(heddle_plan_create(host->context, host->pattern, &host->problem, &host->plan),
                 HEDDLE_OK, "%s", heddle_last_error());
}

void fake_host_close(struct fake_host *host) {
    heddle_plan_destroy(host->plan);
    heddle_pattern_destroy(host->pattern);
    heddle_context_destroy(host->context);
}

struct heddle_tensors fake_tensors(int place) {
    char *base = (char *)((uintptr_t)(place + 1) << 40);
    const size_t apart = (size_t)1 << 32;
    return (struct heddle_tensors){.q = {base, {0}},
                                   .k = {base + apart, {0}},
                                   .v = {base + 2 * apart, {0}},
                                   .o = {base + 3 * apart, {0}},
                                   .lse = (float *)(void *)(base + 4 * apart)};
}
