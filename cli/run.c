// heddle run: tensors in, attention, tensors out; optionally against the reference.
#include "cli/command.h"
#include "cli/gpu_plan.h"
#include "cli/measure.h"
#include "cli/problem.h"
#include "cli/progress.h"
#include "cli/selected.h"
#include "cli/target.h"
#include "cli/tensors.h"
#include "cli/tune.h"
#include "runtime/reference.h"
#include "runtime/reference_select.h"

#include <inttypes.h>
#include <stdio.h>

// The reference takes 3 to 7 ns a product (more for long predicates): a few seconds.
static const int64_t verify_budget_products = (int64_t)1 << 29;
// Elements of stages and selections, a microsecond or several each.
static const double verify_budget_rows = (double)(1 << 23);

struct run_args {
    const char *q, *k, *v, *out, *lse, *dump;
    int64_t seed, repeat, threads;
    bool verify, tune;
};

#define MEMBER(name) offsetof(struct run_args, name)
static const struct option_row run_options[] = {
    {"seed", 0, OPTION_INT, MEMBER(seed), "N", "of the normal inputs (1)", NULL},
    {"q", 0, OPTION_TEXT, MEMBER(q), "FILE", NULL, NULL},
    {"k", 0, OPTION_TEXT, MEMBER(k), "FILE", NULL, NULL},
    {"v", 0, OPTION_TEXT, MEMBER(v), "FILE", ".npy, [batch, heads, tokens, dim]", NULL},
    {"out", 0, OPTION_TEXT, MEMBER(out), "FILE", NULL, NULL},
    {"lse", 0, OPTION_TEXT, MEMBER(lse), "FILE", NULL, NULL},
    {"dump-sets", 0, OPTION_TEXT, MEMBER(dump), "DIR", "write results, sets as DIR/NAME.npy", NULL},
    {"verify", 0, OPTION_FLAG, MEMBER(verify), "", "compare with the reference", NULL},
    {"repeat", 0, OPTION_COUNT, MEMBER(repeat), "N", NULL, NULL},
    {"threads", 0, OPTION_COUNT, MEMBER(threads), "N", "(median of 1; all processors)", NULL},
    {"tune", 0, OPTION_FLAG, MEMBER(tune), "", "measure which boxes are best, and remember", NULL},
};

// One run's things, so that there is one place that frees them.
struct run {
    struct run_args args;
    struct problem_args problem_args;
    struct tensor_files files;
    struct problem problem;
    struct plan *plan;
    struct tensors tensors;
    struct tuning tuning;
    struct verify_result verified;
    struct verify_select_result selected;
    bool selection_verified, passed; // with --verify
    struct target target;
    struct gpu_run gpu;
};

static int prepare(struct run *run, const char *file) {
    struct problem_shape shape;
    if (run->args.tune && run->problem_args.untuned)
        return usage_error("--tune and --untuned exclude each other");
    run->problem_args.untuned |=
        run->args.tune; // the planner's own choice is what others must beat
    int status = target_open(&run->target, &run->problem_args);
    if (status == EXIT_DONE)
        status = problem_load(&run->problem, &run->problem_args, file);
    if (status == EXIT_DONE && run->args.tune && run->problem.program->bundle &&
        run->target.kind == HEDDLE_TARGET_CUDA)
        status = usage_error(
            "--tune: a bundle's GPU kernels are of fixed boxes; tune the "
            "pattern's file, and make the bundle then");
    run->problem.target = &run->target;
    run->problem.threads = thread_count(run->args.threads);
    if (status == EXIT_DONE)
        status = tensor_files_read(&run->files, run->args.q, run->args.k, run->args.v, &shape);
    if (status == EXIT_DONE)
        status = problem_bind(&run->problem, &run->problem_args, &shape, false);
    if (status == EXIT_DONE)
        status = problem_plan(&run->problem, &run->problem_args, false, &run->plan);
    if (status == EXIT_DONE)
        status = tensors_create(&run->tensors, run->plan, &run->files, (uint64_t)run->args.seed);
    if (status == EXIT_DONE && run->args.tune)
        status = tune(&run->problem, &run->problem_args, &run->tensors, &run->plan, &run->tuning);
    return status;
}

// About so many products of rows make the stages and selections.
static double selection_products(const struct plan *plan) {
    const struct pattern *pattern = plan->program->pattern;
    double products = 0;
    for (int i = 0; i < pattern->input_count; i++) {
        double elements = 1;
        for (int j = 0; pattern->inputs[i].derived && j < ABI_INDICES; j++)
            elements *= (double)plan->launch.env.arrays[i].extent[j];
        products += pattern->inputs[i].derived ? elements : 0;
    }
    return products;
}

static int verify(struct run *run) {
    struct error error = {0};
    struct progress progress;
    progress_begin(&progress, "verifying", 0);
    enum heddle_status status = verify_tensors(run->plan, &run->tensors.run, verify_budget_products,
                                               (uint64_t)run->args.seed, &run->verified, &error);
    bool selects = pattern_selects(run->plan->program->pattern);
    if (status == HEDDLE_OK && selects && selection_products(run->plan) < verify_budget_rows) {
        status = verify_select(run->plan, &run->tensors.run, &run->selected, &error);
        run->selection_verified = status == HEDDLE_OK;
    }
    run->passed = run->verified.passed && (!run->selection_verified || run->selected.passed);
    progress_end(&progress);
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}

static int write_results(const struct run *run) {
    int status = EXIT_DONE;
    if (run->args.out)
        status = tensors_write_output(&run->tensors, run->plan, run->args.out);
    if (status == EXIT_DONE && run->args.lse)
        status = tensors_write_lse(&run->tensors, run->plan, run->args.lse);
    if (status == EXIT_DONE && run->args.dump)
        status = selected_dump(run->plan, run->args.dump);
    return status;
}

static void print_selection(const struct run *run) {
    const struct verify_select_result *selected = &run->selected;
    if (run->selection_verified)
        printf("selection    %" PRId64 " rankings compared, %" PRId64
               " elements within rounding of the other choice; stages off by %.3g\n",
               selected->rankings, selected->differences, selected->stage_error);
    else if (pattern_selects(run->plan->program->pattern))
        puts("selection    not compared: too large for the reference");
}

static void print_text(const struct run *run, const struct figures *figures) {
    const struct verify_result *verified = &run->verified;
    report_text(&run->problem, run->plan, figures);
    selected_text(run->plan);
    if (run->args.tune)
        tuning_text(&run->tuning, &run->problem);
    if (!run->args.verify) {
        puts("error        not compared (--verify)");
        return;
    }
    printf("error        %.3g, at most %.3g allowed; log-sum-exp %.3g", verified->error,
           verified->tolerance, verified->lse_error);
    if (verified->rows == verified->rows_total)
        printf("; all %" PRId64 " rows\n", verified->rows);
    else
        printf("; a random sample of %" PRId64 " of %" PRId64 " rows\n", verified->rows,
               verified->rows_total);
    print_selection(run);
}

static void print_json(const struct run *run, const struct figures *figures) {
    const struct verify_result *verified = &run->verified;
    struct json json;
    json_open(&json, stdout);
    report_json(&json, &run->problem, run->plan, figures);
    selected_json(&json, run->plan);
    if (run->args.tune)
        tuning_json(&json, &run->tuning, &run->problem);
    if (run->args.verify) {
        json_real(&json, "error", verified->error);
        json_real(&json, "tolerance", verified->tolerance);
        json_real(&json, "lse_error", verified->lse_error);
        json_int(&json, "verified_rows", verified->rows);
        json_int(&json, "rows", verified->rows_total);
        if (run->selection_verified) {
            json_int(&json, "verified_rankings", run->selected.rankings);
            json_int(&json, "rounded_choices", run->selected.differences);
            json_real(&json, "stage_error", run->selected.stage_error);
        }
        json_bool(&json, "passed", run->passed);
    } else {
        json_null(&json, "error");
    }
    json_close(&json);
}

static int report(const struct run *run, const struct timing *timing) {
    const struct verify_result *verified = &run->verified;
    struct figures figures = figures_of(run->plan, timing);
    if (run->problem_args.json)
        print_json(run, &figures);
    else
        print_text(run, &figures);
    if (!run->args.verify || run->passed)
        return EXIT_DONE;
    if (run->selection_verified && !run->selected.passed)
        complain("--verify failed: %s", run->selected.message);
    if (verified->passed)
        return EXIT_VERIFY;
    complain(
        "--verify failed: error %.3g (at most %.3g), log-sum-exp error %.3g; worst in batch "
        "%" PRId64 ", head %" PRId64 ", query %" PRId64,
        verified->error, verified->tolerance, verified->lse_error, verified->worst_batch,
        verified->worst_head, verified->worst_row);
    return EXIT_VERIFY;
}

static int time_runs(struct run *run, struct timing *timing) {
    int64_t untimed = run->args.repeat > 1;
    if (run->target.kind == HEDDLE_TARGET_CPU)
        return measure(run->plan, &run->tensors, run->problem.threads, untimed, run->args.repeat,
                       timing);
    int status = gpu_run_create(&run->gpu, &run->target, run->plan, &run->tensors);
    if (status == EXIT_DONE)
        status = gpu_run_measure(&run->gpu, untimed, run->args.repeat, timing);
    if (status == EXIT_DONE)
        status = gpu_run_fetch(&run->gpu, &run->tensors);
    return status == EXIT_DONE ? gpu_plan_measure(run->gpu.plan, run->plan, run->args.verify)
                               : status;
}

static int execute(void *context, const char *file) {
    struct run *run = context;
    struct timing timing;
    int status = prepare(run, file);
    if (status == EXIT_DONE)
        status = time_runs(run, &timing);
    if (status == EXIT_DONE)
        status = write_results(run);
    if (status == EXIT_DONE && run->args.verify)
        status = verify(run);
    if (status == EXIT_DONE)
        status = report(run, &timing);
    gpu_run_destroy(&run->gpu);
    tensors_destroy(&run->tensors);
    plan_destroy(run->plan);
    problem_finish(&run->problem);
    tensor_files_finish(&run->files);
    target_close(&run->target);
    return status;
}

int command_run(int argc, char **argv) {
    struct run run = {.args = {.seed = 1, .repeat = 1}};
    const struct option_set sets[] = {PROBLEM_SET(&run.problem_args),
                                      OPTION_SET(run_options, &run.args)};
    const struct option_use use = {"run FILE", "Runs attention over a pattern.", sets, 2};
    return problem_command(&use, &run.problem_args, argc, argv, execute, &run);
}
