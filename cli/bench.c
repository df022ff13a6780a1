// heddle bench: the median over many runs.
#include "cli/command.h"
#include "cli/measure.h"
#include "cli/target.h"

struct bench_args {
    int64_t seed, repeat, warmup, threads;
};

#define MEMBER(name) offsetof(struct bench_args, name)
static const struct option_row bench_options[] = {
    {"seed", 0, OPTION_INT, MEMBER(seed), "N", "of the normal inputs (1)", NULL},
    {"repeat", 0, OPTION_COUNT, MEMBER(repeat), "N", NULL, NULL},
    {"warmup", 0, OPTION_INT, MEMBER(warmup), "N", "timed and untimed runs (10, 2)", NULL},
    {"threads", 0, OPTION_COUNT, MEMBER(threads), "N", "(all processors)", NULL},
};

struct bench {
    struct bench_args args;
    struct problem_args problem_args;
    struct problem problem;
    struct plan *plan;
    struct tensors tensors;
    struct target target;
    struct gpu_run gpu;
};

static int prepare(struct bench *bench, const char *file) {
    static const struct tensor_files no_files;
    int status = target_open(&bench->target, &bench->problem_args);
    if (status == EXIT_DONE)
        status = problem_load(&bench->problem, &bench->problem_args, file);
    bench->problem.target = &bench->target;
    if (status == EXIT_DONE)
        status = problem_bind(&bench->problem, &bench->problem_args, NULL, false);
    if (status == EXIT_DONE)
        status = problem_plan(&bench->problem, &bench->problem_args, false, &bench->plan);
    if (status == EXIT_DONE)
        status =
            tensors_create(&bench->tensors, bench->plan, &no_files, (uint64_t)bench->args.seed);
    return status;
}

static void report(const struct bench *bench, const struct timing *timing) {
    struct figures figures = figures_of(bench->plan, timing);
    if (!bench->problem_args.json) {
        report_text(&bench->problem, bench->plan, &figures);
        return;
    }
    struct json json;
    json_open(&json, stdout);
    report_json(&json, &bench->problem, bench->plan, &figures);
    json_close(&json);
}

static int time_runs(struct bench *bench, struct timing *timing) {
    const struct bench_args *args = &bench->args;
    if (bench->target.kind == HEDDLE_TARGET_CPU)
        return measure(bench->plan, &bench->tensors, args->threads, args->warmup, args->repeat,
                       timing);
    int status = gpu_run_create(&bench->gpu, &bench->target, bench->plan, &bench->tensors);
    return status == EXIT_DONE ? gpu_run_measure(&bench->gpu, args->warmup, args->repeat, timing)
                               : status;
}

static int execute(void *context, const char *file) {
    struct bench *bench = context;
    struct timing timing;
    int status = prepare(bench, file);
    if (status == EXIT_DONE)
        status = time_runs(bench, &timing);
    if (status == EXIT_DONE)
        report(bench, &timing);
    gpu_run_destroy(&bench->gpu);
    tensors_destroy(&bench->tensors);
    plan_destroy(bench->plan);
    problem_finish(&bench->problem);
    target_close(&bench->target);
    return status;
}

int command_bench(int argc, char **argv) {
    struct bench bench = {.args = {.seed = 1, .repeat = 10, .warmup = 2}};
    const struct option_set sets[] = {PROBLEM_SET(&bench.problem_args),
                                      OPTION_SET(bench_options, &bench.args)};
    const struct option_use use = {"bench FILE", "Times attention over a pattern.", sets, 2};
    return problem_command(&use, &bench.problem_args, argc, argv, execute, &bench);
}
