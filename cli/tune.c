// Candidates take turns, each some runs at a time, and each turn begins with another one: what
// drifts (clocks, heat, other programs) then meets all of them alike. Another candidate than the
// planner's is taken only if its median is lower by more than the noise and it also wins most of
// the turns, pair by pair.
#include "cli/tune.h"

#include "cli/boxes.h"
#include "cli/command.h"
#include "cli/measure.h"
#include "cli/progress.h"
#include "cli/target.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TURNS = 15, LEAST_TURNS = 3, MOST_RUNS = 32 };

static const double most_cost = 1.5;   // of a candidate worth measuring, in the cheapest one's
static const double least_gain = 0.02; // less is noise
static const double turn_ms = 20, all_turns_ms = 3000, shown_run_ms = 1000;

struct contest {
    const struct problem *problem;
    struct tensors *tensors;
    struct tuning *tuning;
    struct plan *plans[TUNE_MOST_ROWS];
    struct cuda_plan *gpu_plans[TUNE_MOST_ROWS]; // all NULL on the CPU
    struct gpu_run gpu; // the tensors of all plans; its plan is that of the row in hand
    double turns_ms[TUNE_MOST_ROWS][MOST_TURNS]; // medians
};

static bool on_gpu(const struct contest *contest) {
    return contest->problem->target->kind == HEDDLE_TARGET_CUDA;
}

// ---- who takes part -----------------------------------------------------------------------------

static int choose_rows(struct tuning *tuning, const struct plan *plan) {
    const struct plan_candidate **ranks = boxes_ranked(plan);
    const struct plan_candidate *predicted = &plan->candidates[plan->predicted];
    if (!ranks) {
        complain("no memory to rank candidates");
        return EXIT_DEVICE;
    }
    tuning->rows[tuning->count++].candidate = *predicted;
    for (int i = 0; i < plan->candidate_count && tuning->count < TUNE_MOST_ROWS; i++)
        if (ranks[i] != predicted && ranks[i]->row_ms <= most_cost * ranks[0]->row_ms)
            tuning->rows[tuning->count++].candidate = *ranks[i];
    free(ranks);
    return EXIT_DONE;
}

static int make_plans(struct contest *contest, const struct problem_args *args) {
    int status = EXIT_DONE;
    for (int i = 1; i < contest->tuning->count && status == EXIT_DONE; i++)
        status = problem_plan_in(contest->problem, args, &contest->tuning->rows[i].candidate.boxes,
                                 &contest->plans[i]);
    return status;
}

static int load_plans(struct contest *contest) {
    const struct target *target = contest->problem->target;
    struct error error = {0};
    int status = gpu_run_create(&contest->gpu, target, contest->plans[0], contest->tensors);
    contest->gpu_plans[0] = contest->gpu.plan;
    for (int i = 1; i < contest->tuning->count && status == EXIT_DONE; i++)
        if (cuda_plan_create(&target->device, contest->plans[i], &contest->gpu_plans[i], &error) !=
            HEDDLE_OK)
            status = fail(&error);
    return status;
}

static void unload_plans(struct contest *contest) {
    for (int i = 1; i < contest->tuning->count; i++)
        cuda_plan_destroy(contest->gpu_plans[i]);
    contest->gpu.plan = contest->gpu_plans[0];
    gpu_run_destroy(&contest->gpu);
}

// ---- turns --------------------------------------------------------------------------------------

static int time_row(struct contest *contest, int row, int64_t untimed, int64_t runs,
                    double *out_ms) {
    struct timing timing = {0};
    int status;
    contest->gpu.plan = contest->gpu_plans[row];
    if (on_gpu(contest))
        status = gpu_run_measure(&contest->gpu, untimed, runs, &timing);
    else
        status = measure(contest->plans[row], contest->tensors, contest->problem->threads, untimed,
                         runs, &timing);
    *out_ms = timing.median_ms;
    return status;
}

static double within(double value, double least, double most) {
    return value < least ? least : value > most ? most : value;
}

// A run of each, after one that loads what was put off: how many runs fit a turn, and how many
// turns the time for all.
static int set_pace(struct contest *contest, double *out_longest_ms) {
    struct tuning *tuning = contest->tuning;
    int status = EXIT_DONE;
    double total = 0, ms;
    *out_longest_ms = 0;
    for (int i = 0; i < tuning->count && status == EXIT_DONE; i++) {
        status = time_row(contest, i, 1, 1, &ms);
        total += ms;
        *out_longest_ms = fmax(*out_longest_ms, ms);
    }
    total = fmax(total, 1e-6); // a clock may be too coarse for one run
    tuning->runs = (int64_t)within(turn_ms * tuning->count / total, 1, MOST_RUNS);
    double round_ms = total * (double)tuning->runs;
    tuning->turns = (int64_t)within(all_turns_ms / round_ms, LEAST_TURNS, MOST_TURNS);
    return status;
}

static int take_turn(struct contest *contest, int64_t turn) {
    const struct tuning *tuning = contest->tuning;
    int status = EXIT_DONE;
    for (int i = 0; i < tuning->count && status == EXIT_DONE; i++) {
        int row = (int)((i + turn) % tuning->count);
        status =
            time_row(contest, row, tuning->runs > 1, tuning->runs, &contest->turns_ms[row][turn]);
    }
    return status;
}

static int take_turns(struct contest *contest) {
    const struct tuning *tuning = contest->tuning;
    double longest_ms;
    struct progress progress;
    int status = set_pace(contest, &longest_ms);
    bool shown = longest_ms < shown_run_ms; // longer runs show themselves
    if (shown)
        progress_begin(&progress, "tuning", tuning->turns);
    for (int64_t turn = 0; turn < tuning->turns && status == EXIT_DONE; turn++) {
        status = take_turn(contest, turn);
        if (shown)
            progress_step(&progress, turn + 1);
    }
    if (shown)
        progress_end(&progress);
    return status;
}

// ---- who wins -----------------------------------------------------------------------------------

static bool beats_planner(const struct contest *contest, int row) {
    const struct tuning *tuning = contest->tuning;
    int64_t won = 0;
    for (int64_t turn = 0; turn < tuning->turns; turn++)
        won += contest->turns_ms[row][turn] < contest->turns_ms[0][turn];
    return tuning->rows[row].ms < (1 - least_gain) * tuning->rows[0].ms &&
           4 * won > 3 * tuning->turns;
}

static void judge(struct contest *contest) {
    struct tuning *tuning = contest->tuning;
    for (int i = 0; i < tuning->count; i++) {
        double sorted_ms[MOST_TURNS];
        memcpy(sorted_ms, contest->turns_ms[i], sizeof sorted_ms);
        tuning->rows[i].ms = timing_of(sorted_ms, tuning->turns).median_ms;
    }
    for (int i = 1; i < tuning->count; i++)
        if (beats_planner(contest, i) && tuning->rows[i].ms < tuning->rows[tuning->chosen].ms)
            tuning->chosen = i;
}

static void remember(struct contest *contest) {
    struct tuning *tuning = contest->tuning;
    struct plan *winner = contest->plans[tuning->chosen];
    struct error error = {0};
    winner->tuned = true;
    tuning->remembered = tuned_store(winner, contest->problem->machine.text, &error) == HEDDLE_OK;
    if (!tuning->remembered)
        complain("the boxes that won could not be remembered: %s", error_text(&error));
    error_finish(&error);
}

int tune(const struct problem *problem, const struct problem_args *args, struct tensors *tensors,
         struct plan **plan, struct tuning *out) {
    struct contest contest = {
        .problem = problem, .tensors = tensors, .tuning = out, .plans = {*plan}};
    *out = (struct tuning){.count = 0};
    int status = choose_rows(out, *plan);
    if (status == EXIT_DONE)
        status = make_plans(&contest, args);
    if (status == EXIT_DONE && on_gpu(&contest))
        status = load_plans(&contest);
    if (status == EXIT_DONE)
        status = take_turns(&contest);
    if (status == EXIT_DONE) {
        judge(&contest);
        remember(&contest);
        *plan = contest.plans[out->chosen];
    }
    unload_plans(&contest);
    for (int i = 0; i < TUNE_MOST_ROWS; i++)
        if (contest.plans[i] != *plan)
            plan_destroy(contest.plans[i]);
    tensors_clear_results(tensors, *plan);
    return status;
}

// ---- report -------------------------------------------------------------------------------------

void tuning_text(const struct tuning *tuning, const struct problem *problem) {
    boxes_heading("tuning");
    printf(" %9s %9s\n", "us a row", "ms");
    for (int i = 0; i < tuning->count; i++) {
        const struct tuning_row *row = &tuning->rows[i];
        boxes_text(problem->program, &row->candidate.boxes);
        printf(" %9.4f %9.4g%s\n", 1e3 * row->candidate.row_ms, row->ms,
               i == tuning->chosen ? "  chosen"
               : i == 0            ? "  predicted best"
                                   : "");
    }
    printf("             medians of %" PRId64 " turns, of %" PRId64 " run%s each; %sremembered\n",
           tuning->turns, tuning->runs, tuning->runs == 1 ? "" : "s",
           tuning->remembered ? "" : "not ");
}

void tuning_json(struct json *json, const struct tuning *tuning, const struct problem *problem) {
    json_begin(json, "tuning", '[');
    for (int i = 0; i < tuning->count; i++) {
        const struct tuning_row *row = &tuning->rows[i];
        json_begin(json, NULL, '{');
        boxes_json(json, problem->program, &row->candidate.boxes);
        json_real(json, "row_ms", row->candidate.row_ms);
        json_real(json, "ms", row->ms);
        json_bool(json, "predicted", i == 0);
        json_bool(json, "chosen", i == tuning->chosen);
        json_end(json, '{');
    }
    json_end(json, '[');
    json_int(json, "tuning_turns", tuning->turns);
    json_int(json, "tuning_runs", tuning->runs);
    json_bool(json, "remembered", tuning->remembered);
}
