// One ranking: compiler/select/choose.c against a literal reading of its rules, and the reference's
// judgement of right and wrong choices.
#include "compiler/select/choose.h"
#include "runtime/reference_rank.h"
#include "tests/support/random_pattern.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 700 };

struct ranking {
    struct choose_job job;
    float scores[MOST];
    uint8_t forced[MOST], chosen[MOST];
    int32_t levels[MOST];
};

static void run(struct ranking *r) {
    void *scratch = malloc((size_t)choose_scratch_bytes(r->job.count));
    r->job.scores = r->scores;
    r->job.forced = r->forced;
    r->job.chosen = r->chosen;
    r->job.levels = r->levels;
    choose(&r->job, scratch);
    free(scratch);
}

// Few different scores, so that many are equal; NaN, infinities and zeros of both signs.
static void random_scores(struct ranking *r, struct random_source *source, bool weights) {
    static const float odd[] = {NAN, NAN, INFINITY, -INFINITY, 0.0f, -0.0f};
    r->job.count = random_in(source, 0, MOST);
    r->job.amounts.least = r->job.amounts.most = -1;
    for (int64_t i = 0; i < r->job.count; i++) {
        r->scores[i] = (float)random_in(source, weights ? 0 : -20, 20) / 4;
        if (random_in(source, 0, 9) == 0)
            r->scores[i] = odd[weights ? 0 : random_in(source, 0, 5)];
        r->forced[i] = random_in(source, 0, 40) == 0;
    }
}

// The best candidate that is not taken; -1: none is left.
static int64_t best(const struct ranking *r, const bool *taken) {
    int64_t at = -1;
    for (int64_t i = 0; i < r->job.count; i++)
        if (!isnan(r->scores[i]) && !taken[i] && (at < 0 || r->scores[i] > r->scores[at]))
            at = i;
    return at;
}

static void expect_set(const struct ranking *r, const bool *expected) {
    for (int64_t i = 0; i < r->job.count; i++)
        cr_assert_eq(r->chosen[i] != 0, expected[i], "element %d of score %g", (int)i,
                     r->scores[i]);
}

Test(choose, top_takes_the_forced_and_then_the_best) {
    struct random_source source = {7};
    for (int turn = 0; turn < 300; turn++) {
        struct ranking r = {.job.mode = CHOOSE_TOP};
        bool expected[MOST] = {false};
        int64_t count = 0, at;
        random_scores(&r, &source, false);
        r.job.amounts.amount = (double)random_in(&source, -2, r.job.count + 3);
        for (int64_t i = 0; i < r.job.count; i++)
            count += expected[i] = r.forced[i];
        while ((double)count < r.job.amounts.amount && (at = best(&r, expected)) >= 0)
            expected[at] = true, count++;
        run(&r);
        expect_set(&r, expected);
    }
}

Test(choose, mass_keeps_or_drops_the_one_that_crosses) {
    struct random_source source = {8};
    for (int turn = 0; turn < 300; turn++) {
        struct ranking r = {.job.mode = CHOOSE_MASS, .job.inclusive = turn % 2};
        bool expected[MOST] = {false};
        double sum = 0, so_far = 0;
        random_scores(&r, &source, true);
        r.job.amounts.amount = (double)random_in(&source, 0, 10) / 8; // exact sums
        for (int64_t i = 0; i < r.job.count; i++)
            sum += isnan(r.scores[i]) ? 0 : (double)r.scores[i];
        for (int64_t at; (at = best(&r, expected)) >= 0; expected[at] = true) {
            so_far += (double)r.scores[at];
            if (so_far > r.job.amounts.amount * sum) {
                expected[at] = turn % 2;
                break;
            }
        }
        for (int64_t i = 0; i < r.job.count; i++)
            expected[i] |= r.forced[i];
        run(&r);
        expect_set(&r, expected);
    }
}

Test(choose, above_and_bounds) {
    struct ranking r = {.job = {.mode = CHOOSE_ABOVE, .count = 6}, .scores = {3, 1, NAN, 2, 2, 5}};
    r.job.amounts = (struct select_amounts){.amount = 2, .least = -1, .most = -1};
    run(&r);
    cr_expect_arr_eq(r.chosen, ((uint8_t[]){1, 0, 0, 0, 0, 1}), 6);
    r.job.amounts.least = 3;
    run(&r);
    cr_expect_arr_eq(r.chosen, ((uint8_t[]){1, 0, 0, 1, 0, 1}), 6);
    r.job.amounts.most = 1;
    run(&r);
    cr_expect_arr_eq(r.chosen, ((uint8_t[]){0, 0, 0, 0, 0, 1}), 6);
    r.job.amounts.amount = NAN; // nothing is above
    r.job.amounts.least = -1;
    run(&r);
    cr_expect_arr_eq(r.chosen, ((uint8_t[]){0, 0, 0, 0, 0, 0}), 6);
}

// Importances of ten blocks, and levels worked out by hand.
static void expect_levels(bool mass, int bands, const int64_t *level, const double *share,
                          const double *step, const int32_t *expected) {
    struct ranking r = {
        .job = {.mode = CHOOSE_BANDS, .count = 10, .band_count = bands + 1, .inclusive = mass},
        .scores = {.02f, .30f, .05f, .01f, .20f, .03f, .15f, .04f, .08f, .12f}};
    memcpy(r.job.band_level, level, (size_t)bands * sizeof *level);
    memcpy(r.job.amounts.share, share, (size_t)bands * sizeof *share);
    memcpy(r.job.amounts.step, step, (size_t)bands * sizeof *step);
    r.job.amounts.least = r.job.amounts.most = -1;
    run(&r);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(r.levels[i], expected[i], "block %d: %d, not %d", i, r.levels[i], expected[i]);
}

Test(choose, rank_bands) {
    expect_levels(false, 3, (int64_t[]){1, 2, 8}, (double[]){.10, .15, .35}, (double[]){1, 1, 2},
                  (int32_t[]){0, 1, 0, 0, 8, 0, 8, 0, 0, 0});
    expect_levels(false, 3, (int64_t[]){1, 2, 8}, (double[]){.10, .15, .35}, (double[]){1, 1, 4},
                  (int32_t[]){0, 1, 0, 0, 8, 0, 8, 0, 8, 8});
    expect_levels(false, 4, (int64_t[]){1, 2, 4, 8}, (double[]){.05, .15, .25, .50},
                  (double[]){1, 2, 4, 8}, (int32_t[]){8, 2, 8, 8, 2, 8, 8, 8, 8, 8});
    expect_levels(true, 4, (int64_t[]){1, 2, 4, 8}, (double[]){.4, .5, .6, .8},
                  (double[]){1, 1, 1, 2}, (int32_t[]){0, 1, 0, 0, 1, 0, 2, 0, 8, 8});
}

// ---- the reference's judgement ------------------------------------------------------------------

struct judged {
    struct rank_rule rule;
    struct rank_item items[MOST];
};

static bool agrees(struct judged *j, int64_t *differences) {
    char why[256];
    *differences = 0;
    j->rule.items = j->items;
    return rank_agrees(&j->rule, differences, why, sizeof why);
}

static void hundred(struct judged *j, enum select_mode mode, double amount) {
    *j = (struct judged){
        .rule = {.mode = mode, .count = 100, .amount = amount, .least = -1, .most = -1}};
    for (int i = 0; i < 100; i++)
        j->items[i] = (struct rank_item){.score = i + 1, .chosen = i >= 90};
}

Test(rank, right_and_wrong_choices) {
    struct judged j;
    int64_t differences;
    hundred(&j, SELECT_TOP, 10);
    cr_expect(agrees(&j, &differences) && differences == 0);
    j.items[10].chosen = 1; // far below the cut
    cr_expect_not(agrees(&j, &differences));
    j.items[10].chosen = 0;
    j.items[95].chosen = 0; // one too few
    cr_expect_not(agrees(&j, &differences));
    j.items[10].chosen = 1; // as many as there should be, but the wrong one
    cr_expect_not(agrees(&j, &differences));
    hundred(&j, SELECT_TOP, 10);
    j.items[89].score = 91 - 1e-6; // the other side of a cut within rounding
    j.items[89].chosen = 1;
    j.items[90].chosen = 0;
    cr_expect(agrees(&j, &differences) && differences == 2);
    hundred(&j, SELECT_TOP, 10);
    j.items[3].forced = true; // forced, and left
    cr_expect_not(agrees(&j, &differences));
    j.items[3].chosen = 1; // one too many now
    cr_expect_not(agrees(&j, &differences));
    j.items[90].chosen = 0;
    cr_expect(agrees(&j, &differences));
    j.items[50].score = NAN; // no candidate, and chosen
    j.items[50].chosen = 1;
    cr_expect_not(agrees(&j, &differences));
}

Test(rank, thresholds_and_shares) {
    struct judged j;
    int64_t differences;
    hundred(&j, SELECT_ABOVE, 90.5);
    cr_expect(agrees(&j, &differences) && differences == 0);
    j.rule.amount = 88.5;
    cr_expect_not(agrees(&j, &differences));
    hundred(&j, SELECT_MASS, 955.0 / 5050);
    j.rule.inclusive = false; // 91 .. 100 are 955
    cr_expect(agrees(&j, &differences));
    j.rule.amount = 0.5;
    cr_expect_not(agrees(&j, &differences));
    j.rule.amount = 900.0 / 5050; // the one that crosses is kept
    cr_expect_not(agrees(&j, &differences));
    j.rule.inclusive = true;
    cr_expect(agrees(&j, &differences));
}
