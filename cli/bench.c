// heddle bench: the spread over many runs, of one problem or of a sweep over several.
#include "cli/command.h"
#include "cli/gpu_plan.h"
#include "cli/measure.h"
#include "cli/sweep.h"
#include "cli/target.h"

#include <inttypes.h>
#include <stdio.h>

struct bench_args {
    int64_t seed, repeat, warmup, threads;
    struct text_list sweeps;
};

#define MEMBER(name) offsetof(struct bench_args, name)
static const struct option_row bench_options[] = {
    {"seed", 0, OPTION_INT, MEMBER(seed), "N", "of the normal inputs (1)", NULL},
    {"repeat", 0, OPTION_COUNT, MEMBER(repeat), "N", NULL, NULL},
    {"warmup", 0, OPTION_INT, MEMBER(warmup), "N", "timed and untimed runs (10, 2)", NULL},
    {"threads", 0, OPTION_COUNT, MEMBER(threads), "N", "(all processors)", NULL},
    {"sweep", 0, OPTION_LIST, MEMBER(sweeps), "name=V,V,...",
     "an axis, parameter or option, each value", NULL},
};

struct bench {
    struct bench_args args;
    struct problem_args problem_args;
    struct target target;
    struct problem problem;
    struct sweep sweep;
};

// One problem's things, so that there is one place that frees them.
struct timed {
    struct problem_args args;
    struct plan *plan;
    struct tensors tensors;
    struct gpu_run gpu;
    struct timing timing;
};

static int bind(struct bench *bench, int64_t number, struct problem_args *out_args) {
    struct problem *problem = &bench->problem;
    int status = sweep_args(&bench->sweep, number, &bench->problem_args, &problem->arena, out_args);
    return status == EXIT_DONE ? problem_bind(problem, out_args, NULL, false) : status;
}

static int prepare(struct bench *bench, int64_t number, struct timed *timed) {
    static const struct tensor_files no_files;
    int status = bind(bench, number, &timed->args);
    if (status == EXIT_DONE)
        status = problem_plan(&bench->problem, &timed->args, false, &timed->plan);
    if (status == EXIT_DONE)
        status =
            tensors_create(&timed->tensors, timed->plan, &no_files, (uint64_t)bench->args.seed);
    return status;
}

static int time_runs(const struct bench *bench, struct timed *timed) {
    const struct bench_args *args = &bench->args;
    if (bench->target.kind == HEDDLE_TARGET_CPU)
        return measure(timed->plan, &timed->tensors, bench->problem.threads, args->warmup,
                       args->repeat, &timed->timing);
    int status = gpu_run_create(&timed->gpu, &bench->target, timed->plan, &timed->tensors);
    if (status == EXIT_DONE)
        status = gpu_run_measure(&timed->gpu, args->warmup, args->repeat, &timed->timing);
    return status == EXIT_DONE ? gpu_plan_measure(timed->gpu.plan, timed->plan, false) : status;
}

// ---- report -------------------------------------------------------------------------------------

// The first problem's shape, and the table's head.
static void print_heading(const struct bench *bench, const struct plan *plan) {
    const struct sweep *sweep = &bench->sweep;
    report_problem_text(&bench->problem, plan);
    report_target_text(&bench->problem);
    printf("sweep        from there over");
    for (int i = 0; i < sweep->count; i++)
        printf("%s %s", i ? "," : "", sweep->rows[i].name);
    printf("; ms is the median of %" PRId64 "; TFLOP/s useful and computed\n", bench->args.repeat);
    for (int i = 0; i < sweep->count; i++)
        printf("%-*s  ", sweep->rows[i].width, sweep->rows[i].name);
    printf("%10s %10s %10s %9s %9s %8s %8s\n", "ms", "least", "most", "useful", "computed",
           "kept %", "plan ms");
}

static void print_row(const struct bench *bench, int64_t number, const struct plan *plan,
                      const struct figures *figures) {
    const struct sweep *sweep = &bench->sweep;
    const struct timing *timing = &figures->timing;
    for (int i = 0; i < sweep->count; i++)
        printf("%-*s  ", sweep->rows[i].width, sweep_value(sweep, i, number));
    printf("%10.4g %10.4g %10.4g %9.4g %9.4g %8.4g %8.4g%s\n", timing->median_ms, timing->least_ms,
           timing->most_ms, figures->tflops_useful, figures->tflops_computed,
           100 * (double)figures->kept_pairs / (double)figures->pairs, report_plan_ms(plan),
           plan->tuned ? "  tuned" : "");
    fflush(stdout);
}

static void report(const struct bench *bench, int64_t number, const struct timed *timed) {
    struct figures figures = figures_of(timed->plan, &timed->timing);
    if (bench->problem_args.json) {
        struct json json;
        json_open(&json, stdout);
        report_json(&json, &bench->problem, timed->plan, &figures);
        json_close(&json);
        fflush(stdout);
    } else if (bench->sweep.count) {
        if (number == 0)
            print_heading(bench, timed->plan);
        print_row(bench, number, timed->plan, &figures);
    } else {
        report_text(&bench->problem, timed->plan, &figures);
    }
}

// ---- all of it ----------------------------------------------------------------------------------

static int bench_one(struct bench *bench, int64_t number) {
    struct timed timed = {.plan = NULL};
    int status = prepare(bench, number, &timed);
    if (status == EXIT_DONE)
        status = time_runs(bench, &timed);
    if (status == EXIT_DONE)
        report(bench, number, &timed);
    gpu_run_destroy(&timed.gpu);
    tensors_destroy(&timed.tensors);
    plan_destroy(timed.plan);
    problem_unbind(&bench->problem);
    problem_args_finish(&timed.args);
    return status;
}

// A wrong value is found before the first run, not after an hour of them.
static int check_values(struct bench *bench) {
    int status = EXIT_DONE;
    for (int64_t i = 0; status == EXIT_DONE && i < bench->sweep.problems; i++) {
        struct problem_args args;
        status = bind(bench, i, &args);
        problem_unbind(&bench->problem);
        problem_args_finish(&args);
    }
    return status;
}

static int execute(void *context, const char *file) {
    struct bench *bench = context;
    struct problem *problem = &bench->problem;
    int status = target_open(&bench->target, &bench->problem_args);
    if (status == EXIT_DONE)
        status = problem_load(problem, &bench->problem_args, file);
    problem->target = &bench->target;
    problem->threads = thread_count(bench->args.threads);
    if (status == EXIT_DONE)
        status = sweep_parse(&bench->args.sweeps, problem->program->pattern, &problem->arena,
                             &bench->sweep);
    if (status == EXIT_DONE && bench->sweep.count)
        status = check_values(bench);
    for (int64_t i = 0; status == EXIT_DONE && i < bench->sweep.problems; i++)
        status = bench_one(bench, i);
    problem_finish(problem);
    target_close(&bench->target);
    return status;
}

int command_bench(int argc, char **argv) {
    struct bench bench = {.args = {.seed = 1, .repeat = 10, .warmup = 2}};
    const struct option_set sets[] = {PROBLEM_SET(&bench.problem_args),
                                      OPTION_SET(bench_options, &bench.args)};
    const struct option_use use = {"bench FILE", "Times attention over a pattern.", sets, 2};
    int status = problem_command(&use, &bench.problem_args, argc, argv, execute, &bench);
    text_list_finish(&bench.args.sweeps);
    return status;
}
