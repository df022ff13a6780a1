// heddle compile --emit=bundle: every problem of the sweeps, for every target, into one bundle.
#include "cli/bundle.h"

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/sweep.h"
#include "compiler/pipeline.h"
#include "runtime/cuda/cuda_spec.h"

#include <string.h>

static const char USUAL_CPUS[] = "x86-64-v3,x86-64-v4";
enum { MOST_LEVELS = 16 };

struct making {
    struct problem *problem;
    const struct bundle_args *args;
    struct bundle_maker maker;
    const struct cpu_level *levels[MOST_LEVELS];
    int level_count;
    struct strbuf ptxas; // its path
};

// ---- what it is for -----------------------------------------------------------------------------

static int unknown_level(const char *name) {
    const char *names[MOST_LEVELS];
    int count = 0;
    struct strbuf known = {0};
    for (; cpu_level(count); count++) {
        names[count] = cpu_level(count)->name;
        strbuf_printf(&known, "%s%s", count ? ", " : "", names[count]);
    }
    int status = usage_error("--cpu: '%s' is none of %s%s", name, known.text ? known.text : "",
                             did_you_mean(name, names, count).text);
    strbuf_finish(&known);
    return status;
}

static int choose_levels(struct making *making) {
    const char *given = making->args->cpus ? making->args->cpus : USUAL_CPUS;
    char *list = arena_text(&making->problem->arena, given, strlen(given));
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        int number = cpu_level_named(name);
        if (number < 0)
            return unknown_level(name);
        if (making->level_count == MOST_LEVELS)
            return usage_error("--cpu: too many");
        making->levels[making->level_count++] = cpu_level(number);
    }
    return making->level_count ? EXIT_DONE : usage_error("--cpu: no CPU is named");
}

static void choose_assembler(struct making *making) {
    const char *given = making->args->ptxas;
    if (given && strcmp(given, "none") == 0)
        return;
    if (assemble_find(given, &making->ptxas)) {
        making->maker.assemble = assemble;
        making->maker.context = making->ptxas.text;
    }
}

// ---- one problem --------------------------------------------------------------------------------

// What every plan needs, of GPUs too.
static enum heddle_status add_host(struct bundle_maker *maker, const struct cpu_level *level,
                                   struct error *error) {
    enum heddle_status status = bundle_add_planner(maker, level, error);
    return status == HEDDLE_OK ? bundle_add_maps(maker, level, error) : status;
}

// What is compiled for a CPU depends on no input.
static int bind_for_cpu(struct problem *problem, const struct problem_args *args) {
    problem->no_inputs = true;
    int status = problem_bind(problem, args, NULL, true);
    problem->no_inputs = false;
    return status;
}

static int add_cpu(struct making *making, struct problem_args *args) {
    struct problem *problem = making->problem;
    struct bundle_maker *maker = &making->maker;
    struct error error = {0};
    args->target = HEDDLE_TARGET_CPU + 1;
    int bound = bind_for_cpu(problem, args);
    if (bound != EXIT_DONE)
        return bound;
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < making->level_count && status == HEDDLE_OK; i++) {
        const struct cpu_level *level = making->levels[i];
        struct kernel_spec spec = {problem->spec.dtype, (int)problem->spec.dim, true};
        if (problem->spec.dim < 8 || problem->spec.dim > 256)
            return usage_error("--dim: head dims are 8 .. 256");
        status = add_host(maker, level, &error);
        for (int apart = 0; apart < 2 && status == HEDDLE_OK; apart++) { // tensors of any stride
            const struct select_spec select = {spec.dtype, spec.dim, !apart};
            spec.dim_contiguous = !apart;
            status = bundle_add_kernel(maker, &spec, level, &error);
            if (status == HEDDLE_OK)
                status = bundle_add_select(maker, &select, level, &error);
        }
    }
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}

static int add_gpu_code(struct making *making, const struct plan *plan) {
    struct sm90_spec spec;
    struct error error = {0};
    cuda_spec(plan, &spec);
    enum heddle_status status = bundle_add_gpu_kernel(&making->maker, &spec, &error);
    // Lists of patterns that pool are made on the host.
    if (status == HEDDLE_OK && program_plans_on_gpus(plan->program) &&
        !pattern_is_pooled(plan->program->pattern))
        status = bundle_add_gpu_planner(&making->maker, plan->basis, &error);
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}

// What plans for GPUs refuse (runtime/plan.c).
static const char *why_on_cpus_only(const struct pattern *pattern) {
    return pattern_selects(pattern)    ? "selects from q and k"
           : pattern_is_gated(pattern) ? "merges branches by gates"
                                       : NULL;
}

// The boxes are those that a plan of the problem takes. Lists are of no use here.
static int add_gpu(struct making *making, struct problem_args *args) {
    struct problem *problem = making->problem;
    struct plan *plan = NULL;
    args->target = HEDDLE_TARGET_CUDA + 1;
    int status = problem_bind(problem, args, NULL, true);
    if (status == EXIT_DONE && problem->spec.dtype == HEDDLE_F32)
        return usage_error("--dtype fp32 is for the CPU: --target cpu");
    if (status == EXIT_DONE)
        status = problem_plan(problem, args, true, &plan);
    if (status == EXIT_DONE)
        status = add_gpu_code(making, plan);
    plan_destroy(plan);
    return status;
}

// Without a word on targets: the CPU, and a GPU where its kernels take the dtype.
static int add_problem(struct making *making, const struct problem_args *given) {
    struct problem_args args = *given;
    bool cpu = given->target != HEDDLE_TARGET_CUDA + 1;
    bool gpu = given->target != HEDDLE_TARGET_CPU + 1;
    bool is_fp32 = given->dtype == HEDDLE_F32 + 1;
    const char *why = why_on_cpus_only(making->problem->program->pattern);
    int status = EXIT_DONE;
    if (why && !cpu)
        return usage_error("pattern '%s' %s, which is computed on CPUs only: --target cpu",
                           making->problem->program->pattern->name, why);
    if (cpu)
        status = add_cpu(making, &args);
    problem_unbind(making->problem);
    if (status == EXIT_DONE && gpu && !why && !(cpu && is_fp32))
        status = add_gpu(making, &args);
    problem_unbind(making->problem);
    struct error error = {0};
    if (status == EXIT_DONE && !cpu)
        for (int i = 0; i < making->level_count && status == EXIT_DONE; i++)
            if (add_host(&making->maker, making->levels[i], &error) != HEDDLE_OK)
                status = fail(&error);
    return status;
}

// ---- all of them --------------------------------------------------------------------------------

// What --emit=c writes down as the problem.
static int bind_first(struct making *making, const struct problem_args *problem_args,
                      const struct sweep *sweep) {
    struct problem_args args;
    int status = sweep_args(sweep, 0, problem_args, &making->problem->arena, &args);
    if (args.target != HEDDLE_TARGET_CUDA + 1)
        args.target = HEDDLE_TARGET_CPU + 1;
    if (status == EXIT_DONE)
        status = bind_for_cpu(making->problem, &args);
    problem_args_finish(&args);
    return status;
}

static int add_problems(struct making *making, const struct problem_args *problem_args) {
    struct problem *problem = making->problem;
    struct sweep sweep;
    struct progress progress;
    int status =
        sweep_parse(&making->args->sweeps, problem->program->pattern, &problem->arena, &sweep);
    if (status != EXIT_DONE)
        return status;
    progress_begin(&progress, "compiling", sweep.problems);
    for (int64_t i = 0; status == EXIT_DONE && i < sweep.problems; i++) {
        struct problem_args args;
        status = sweep_args(&sweep, i, problem_args, &problem->arena, &args);
        if (status == EXIT_DONE)
            status = add_problem(making, &args);
        problem_args_finish(&args);
        progress_step(&progress, i + 1);
    }
    progress_end(&progress);
    return status == EXIT_DONE ? bind_first(making, problem_args, &sweep) : status;
}

int bundle_make(struct problem *problem, const struct bundle_args *args,
                const struct problem_args *problem_args, const char *file, struct strbuf *out,
                struct strbuf *contents) {
    struct making making = {.problem = problem, .args = args};
    struct error error = {0};
    int status = problem_load(problem, problem_args, file);
    if (status == EXIT_DONE && problem->program->bundle)
        status = usage_error("%s is a bundle: one is made of a pattern's text", file);
    making.maker.program = problem->program;
    if (status == EXIT_DONE)
        status = choose_levels(&making);
    if (status == EXIT_DONE) {
        choose_assembler(&making);
        status = add_problems(&making, problem_args);
    }
    if (status == EXIT_DONE && bundle_finish(&making.maker, out, &error) != HEDDLE_OK)
        status = fail(&error);
    bundle_made_contents(&making.maker, contents);
    bundle_maker_finish(&making.maker);
    strbuf_finish(&making.ptxas);
    return status;
}
