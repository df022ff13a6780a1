// The planner against brute force: on random patterns every kept pair must be in exactly one tile
// and every full tile must be kept whole, in every basis and on both sides; on the shipped static
// patterns, at the tile shapes chosen, no partial tile may be all or nothing either.
//
// HEDDLE_TEST_SEED and HEDDLE_TEST_CASES change the run; the seed is printed.

#include "compiler/analyse/facts.h"
#include "compiler/program.h"
#include "heddle_config.h"
#include "tests/support/plan_check.h"
#include "tests/support/random_problem.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct setting {
    struct heddle_problem problem;
    struct heddle_param params[8];
    int64_t values[8][8];
};

static void set_param(struct setting *s, const char *name, int count, const int64_t *values) {
    int n = s->problem.param_count++;
    memcpy(s->values[n], values, (size_t)count * sizeof *values);
    s->params[n] = (struct heddle_param){.name = name, .count = count, .ints = s->values[n]};
    s->problem.params = s->params;
}

static void start(struct setting *s) {
    static const struct heddle_problem plain = HEDDLE_PROBLEM_INIT;
    memset(s, 0, sizeof *s);
    s->problem = plain;
}

// ---- random patterns --------------------------------------------------------------------------

static void check_random(struct program *program, const struct random_problem *s,
                         const struct plan_options *options, const char *text) {
    struct error error = {0};
    struct plan *plan;
    enum heddle_status status = plan_create(program, &s->problem, options, &plan, &error);
    // More queries than keys start before 0: patterns that index by query are then refused.
    if (status == HEDDLE_PATTERN_ERROR && s->problem.queries > s->problem.sizes[0]) {
        error_finish(&error);
        return;
    }
    cr_assert_eq(status, HEDDLE_OK, "%s\n%s", error_text(&error), text);
    struct plan_faults faults = plan_check(plan);
    cr_assert(!plan_unsound(&faults),
              "%s\nside %d basis %d sizes %" PRId64 " %" PRId64 " %" PRId64 " queries %" PRId64
              " p0 %" PRId64 " p1 %" PRId64 "\n%s",
              faults.first, options->key_major, plan->basis, s->problem.sizes[0],
              s->problem.sizes[1], s->problem.sizes[2], s->problem.queries, s->p0, s->p1, text);
    plan_destroy(plan);
}

static void check_pattern(struct random_source *random) {
    static const int64_t most[] = {0, 300, 20, 8};
    static struct random_problem s;
    int axes = (int)random_in(random, 1, 3);
    bool with_input = random_in(random, 0, 3) == 0;
    struct strbuf text = {0};
    struct program *program;
    struct error error = {0};
    random_pattern(random, axes, with_input, &text);
    struct check_options check = {0};
    enum heddle_status status =
        program_create("random.heddle", text.text, text.length, &check, &program, &error);
    cr_assert_eq(status, HEDDLE_OK, "%s\n%s", error_text(&error), text.text);
    for (int round = 0; round < 3; round++) {
        random_problem(random, axes, most, with_input, &s);
        for (int side = 0; side < SIDE_COUNT; side++)
            for (int b = 0; b < program->facts->basis_count; b++) {
                struct plan_options options = {
                    .lists_only = true, .key_major = side == SIDE_KEY, .basis = b};
                if (random_in(random, 0, 7) == 0)
                    options.run_room = random_in(random, 1, 3); // merging must stay right
                if ((side == SIDE_QUERY || round == 0) && program->facts->sides[side][b].usable)
                    check_random(program, &s, &options, text.text);
            }
    }
    program_destroy(program);
    strbuf_finish(&text);
}

Test(planner, random_patterns_are_covered_once, .timeout = 900) {
    struct random_source random = {random_seed(20261123)};
    int cases = random_cases(60);
    for (int i = 0; i < cases; i++)
        check_pattern(&random);
}

// ---- shipped patterns -------------------------------------------------------------------------

static struct program *shipped(const char *name) {
    char path[512];
    struct program *program;
    struct error error = {0};
    const char *dirs[] = {HEDDLE_SOURCE_PATTERNS};
    struct check_options check = {.import_dirs = dirs, .import_dir_count = 1};
    snprintf(path, sizeof path, "%s/%s.heddle", HEDDLE_SOURCE_PATTERNS, name);
    enum heddle_status status = program_create(path, NULL, 0, &check, &program, &error);
    cr_assert_eq(status, HEDDLE_OK, "%s", error_text(&error));
    return program;
}

static void check_exact(struct program *program, struct setting *s, bool key_major) {
    struct plan_options options = {.lists_only = true, .key_major = key_major, .basis = -1};
    struct error error = {0};
    struct plan *plan;
    enum heddle_status status = plan_create(program, &s->problem, &options, &plan, &error);
    cr_assert_eq(status, HEDDLE_OK, "%s", error_text(&error));
    struct plan_faults f = plan_check(plan);
    cr_assert(!plan_unsound(&f), "%s: %s", program->pattern->name, f.first);
    cr_assert(f.loose_full == 0 && f.loose_empty == 0,
              "%s: %s\nside %d basis %d sizes %" PRId64 " %" PRId64 " %" PRId64
              ", first parameters %" PRId64 " %" PRId64 " %" PRId64,
              program->pattern->name, f.first, key_major, plan->basis, s->problem.sizes[0],
              s->problem.sizes[1], s->problem.sizes[2], s->values[0][0], s->values[1][0],
              s->values[2][0]);
    plan_destroy(plan);
}

static void check_sequence(const char *name, struct random_source *random,
                           void (*fill)(struct random_source *, struct setting *), int rounds) {
    static struct setting s;
    struct program *program = shipped(name);
    for (int i = 0; i < rounds; i++) {
        start(&s);
        s.problem.sizes[0] = random_in(random, 1, 900);
        if (random_in(random, 0, 3) == 0)
            s.problem.queries = random_in(random, 1, s.problem.sizes[0]);
        s.problem.heads = 2;
        fill(random, &s);
        check_exact(program, &s, false);
        check_exact(program, &s, true);
    }
    program_destroy(program);
}

static void no_params(struct random_source *random, struct setting *s) {
    (void)random;
    (void)s;
}
static void window_params(struct random_source *random, struct setting *s) {
    set_param(s, "before", 1, (int64_t[]){random_in(random, 0, 300)});
    set_param(s, "after", 1, (int64_t[]){random_in(random, 0, 100)});
}
static void sink_params(struct random_source *random, struct setting *s) {
    set_param(s, "sink", 1, (int64_t[]){random_in(random, 0, 200)});
    set_param(s, "before", 1, (int64_t[]){random_in(random, 1, 300)});
}
static void strided_params(struct random_source *random, struct setting *s) {
    set_param(s, "local", 1, (int64_t[]){random_in(random, 0, 4)});
    set_param(s, "stride", 1, (int64_t[]){random_in(random, 1, 5)});
}
static void setrec_params(struct random_source *random, struct setting *s) {
    int64_t begin = random_in(random, 0, s->problem.sizes[0]);
    int64_t end = random_in(random, begin, s->problem.sizes[0]), most = s->problem.sizes[0];
    set_param(s, "begin", 1, &begin);
    set_param(s, "end", 1, &end);
    set_param(s, "group", 1, (int64_t[]){random_in(random, 1, most < 9 ? most : 9)});
}

Test(planner, shipped_sequences_are_exact, .timeout = 900) {
    struct random_source random = {random_seed(7)};
    int rounds = random_cases(12);
    check_sequence("full", &random, no_params, 4);
    check_sequence("causal", &random, no_params, 4);
    check_sequence("power", &random, no_params, 4);
    check_sequence("alibi", &random, no_params, 2);
    check_sequence("window", &random, window_params, rounds);
    check_sequence("sink_window", &random, sink_params, rounds);
    check_sequence("strided", &random, strided_params, rounds);
    check_sequence("setrec", &random, setrec_params, rounds);
}

static void axis_params(struct random_source *random, struct setting *s, int64_t size,
                        const char *const *names) {
    int64_t dilation = random_in(random, 1, size < 6 ? 1 : 3);
    int64_t win = random_in(random, 1, size / dilation);
    int64_t values[] = {win < 2 && size > 1 ? 2 : win, random_in(random, 1, win), dilation,
                        random_in(random, 0, 1)};
    if (values[0] * dilation > size)
        values[2] = 1;
    for (int i = 0; i < 4; i++)
        set_param(s, names[i], 1, &values[i]);
}

Test(planner, shipped_neighbourhoods_are_exact, .timeout = 900) {
    static struct setting s;
    struct random_source random = {random_seed(8)};
    static const char *const y[] = {"win_y", "stride_y", "dilation_y", "causal_y"};
    static const char *const x[] = {"win_x", "stride_x", "dilation_x", "causal_x"};
    struct program *one = shipped("neighborhood1d"), *two = shipped("neighborhood2d");
    for (int i = 0; i < random_cases(20); i++) {
        start(&s);
        s.problem.sizes[0] = random_in(&random, 2, 700);
        axis_params(&random, &s, s.problem.sizes[0], x);
        check_exact(one, &s, i % 2);
        start(&s);
        s.problem.sizes[0] = random_in(&random, 2, 30);
        s.problem.sizes[1] = random_in(&random, 2, 30);
        axis_params(&random, &s, s.problem.sizes[0], y);
        axis_params(&random, &s, s.problem.sizes[1], x);
        check_exact(two, &s, i % 2);
    }
    program_destroy(one);
    program_destroy(two);
}

Test(planner, shipped_radial_is_exact, .timeout = 900) {
    static struct setting s;
    struct random_source random = {random_seed(9)};
    struct program *program = shipped("radial");
    for (int i = 0; i < random_cases(10); i++) {
        start(&s);
        s.problem.sizes[0] = random_in(&random, 1, 18);
        s.problem.sizes[1] = random_in(&random, 1, 10);
        s.problem.sizes[2] = random_in(&random, 1, 10);
        set_param(&s, "sink", 1, (int64_t[]){random_in(&random, 0, 2)});
        check_exact(program, &s, i % 2);
    }
    program_destroy(program);
}
