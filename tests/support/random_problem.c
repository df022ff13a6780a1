#include "tests/support/random_problem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t random_sizes(struct random_source *source, int axes, const int64_t *most,
                            struct heddle_problem *out) {
    int64_t keys = 1;
    for (int a = 0; a < axes; a++)
        keys *= out->sizes[a] = random_in(source, 1, most[axes]);
    if (random_in(source, 0, 3) == 0)
        out->queries = keys / out->sizes[0] * random_in(source, 1, out->sizes[0]);
    if (axes == 1 && random_in(source, 0, 5) == 0)
        out->queries = keys + random_in(source, 1, 70);
    out->heads = random_in(source, 1, RANDOM_HEADS);
    return keys;
}

static void random_documents(struct random_source *source, int64_t keys, int32_t *out) {
    bool sorted = random_in(source, 0, 1);
    for (int64_t i = 0, id = 0; i < keys; i++) {
        id = sorted ? id + (random_in(source, 0, 20) == 0) : random_in(source, 0, 2);
        out[i] = (int32_t)id;
    }
}

void random_problem(struct random_source *source, int axes, const int64_t *most, bool with_input,
                    struct random_problem *out) {
    static const struct heddle_problem plain = HEDDLE_PROBLEM_INIT;
    *out = (struct random_problem){.problem = plain};
    int64_t keys = random_sizes(source, axes, most, &out->problem);
    out->p0 = random_in(source, -2, 30);
    out->p1 = random_in(source, 1, 9);
    for (int64_t h = 0; h < out->problem.heads; h++)
        out->table[h] = random_in(source, 0, 20);
    out->params[0] = (struct heddle_param){.name = "p0", .count = 1, .ints = &out->p0};
    out->params[1] = (struct heddle_param){.name = "p1", .count = 1, .ints = &out->p1};
    out->params[2] =
        (struct heddle_param){.name = "t", .count = (int)out->problem.heads, .ints = out->table};
    out->problem.params = out->params;
    out->problem.param_count = 3;
    random_documents(source, keys, out->doc);
    out->input = (struct heddle_input){
        .name = "doc", .data = out->doc, .element = HEDDLE_INT32, .rank = 1, .shape = {keys}};
    out->problem.inputs = &out->input;
    out->problem.input_count = with_input;
}

uint64_t random_seed(uint64_t fallback) {
    const char *text = getenv("HEDDLE_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : fallback;
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    return seed;
}

int random_cases(int fallback) {
    const char *text = getenv("HEDDLE_TEST_CASES");
    return text ? atoi(text) : fallback;
}
