// heddle explain: what a pattern costs, before any tensor exists.
#include "cli/command.h"
#include "cli/gpu_plan.h"
#include "cli/measure.h"
#include "cli/outlook.h"
#include "cli/progress.h"
#include "cli/selected.h"
#include "cli/target.h"
#include "cli/tiles.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Pairs of partial tiles that are tested to count kept pairs exactly: some seconds at most.
static const int64_t kept_budget_pairs = (int64_t)1 << 26;

struct explain {
    struct selected_args selected;
    struct problem_args args;
    struct target target;
    struct problem problem;
    struct plan *plan;
    struct outlook outlook;
};

struct spread { // of a count over items or heads
    int64_t least, most, total, count;
};

struct costs {
    int64_t pairs, kept_pairs;
    bool kept_exact;
    struct spread items, heads; // tiles
};

static void add(struct spread *spread, int64_t value) {
    if (spread->count++ == 0)
        spread->least = spread->most = value;
    spread->least = value < spread->least ? value : spread->least;
    spread->most = value > spread->most ? value : spread->most;
    spread->total += value;
}

// How much longer the largest takes than the mean: 1 is even.
static double imbalance(const struct spread *spread) {
    double mean = (double)spread->total / (double)spread->count;
    return mean > 0 ? (double)spread->most / mean : 1;
}

static struct costs count_costs(const struct plan *plan) {
    struct costs costs = {.pairs = plan->batch * plan->heads * plan->queries * plan->keys};
    struct progress progress;
    progress_begin(&progress, "counting pairs", 0);
    costs.kept_pairs = plan_kept_pairs(plan, kept_budget_pairs, &costs.kept_exact);
    for (int64_t batch = 0; batch < plan->batch; batch++)
        for (int64_t head = 0; head < plan->heads; head++) {
            int64_t before = costs.items.total;
            for (int64_t box = 0; box < plan->launch.box_count; box++)
                add(&costs.items, item_tiles(plan, batch, head, box));
            add(&costs.heads, costs.items.total - before);
        }
    progress_end(&progress);
    return costs;
}

// Tiles by the resolution at which their keys are read.
static void print_levels(const struct plan *plan) {
    const struct pattern *pattern = plan->program->pattern;
    for (int s = 0; s < pattern->source_count; s++)
        printf("%s%" PRId64 " by %" PRId64, s ? ", " : "levels       ",
               plan->counts.source_tiles[s], pattern->sources[s].factor);
    if (pattern->source_count)
        printf(" (tiles by keys in a group)\n");
}

static void levels_json(struct json *json, const struct plan *plan) {
    const struct pattern *pattern = plan->program->pattern;
    int64_t factors[MAX_SOURCES];
    if (!pattern->source_count)
        return;
    for (int s = 0; s < pattern->source_count; s++)
        factors[s] = pattern->sources[s].factor;
    json_ints(json, "source_factors", factors, pattern->source_count);
    json_ints(json, "source_tiles", plan->counts.source_tiles, pattern->source_count);
}

static void print_text(const struct explain *explain, const struct costs *costs) {
    const struct plan *plan = explain->plan;
    const struct plan_counts *counts = &plan->counts;
    double pairs = (double)costs->pairs;
    report_problem_text(&explain->problem, plan);
    report_target_text(&explain->problem);
    printf("pairs        %" PRId64 " of %" PRId64 " kept%s (%.4g %%)\n", costs->kept_pairs,
           costs->pairs, costs->kept_exact ? "" : ", estimated",
           100 * (double)costs->kept_pairs / pairs);
    printf("             %" PRId64 " computed (%.4g %%), %.3g times the kept ones\n",
           counts->computed_pairs, 100 * (double)counts->computed_pairs / pairs,
           costs->kept_pairs ? (double)counts->computed_pairs / (double)costs->kept_pairs : 0);
    printf("tiles        %" PRId64 " full, %" PRId64 " partial, in %" PRId64 " runs\n",
           counts->full_tiles, counts->partial_tiles, counts->runs);
    print_levels(plan);
    struct shape_text query = shape_text(plan->query_tile, plan->basis_axes),
                      key = shape_text(plan->launch.tile, plan->basis_axes);
    printf("items        %" PRId64 " query tiles of %s, key tiles of %s\n", counts->items,
           query.text, key.text);
    printf("imbalance    %.3g over query tiles (%" PRId64 " to %" PRId64
           " key tiles), %.3g over "
           "heads\n",
           imbalance(&costs->items), costs->items.least, costs->items.most,
           imbalance(&costs->heads));
    if (counts->merged_lists)
        printf("merged       %" PRId64 " of %" PRId64
               " lists had more runs than fit and became hulls\n",
               counts->merged_lists, counts->lists);
    selected_text(plan);
    report_plan_text(plan);
    puts("");
    report_tuned_text(plan);
    outlook_text(&explain->outlook, plan);
}

static void print_json(const struct explain *explain, const struct costs *costs) {
    const struct plan *plan = explain->plan;
    const struct plan_counts *counts = &plan->counts;
    int first = ABI_AXES - plan->basis_axes;
    struct json json;
    json_open(&json, stdout);
    report_problem_json(&json, &explain->problem, plan);
    report_target_json(&json, &explain->problem);
    json_bool(&json, "device_assumed", explain->target.assumed);
    json_int(&json, "pairs", costs->pairs);
    json_int(&json, "kept_pairs", costs->kept_pairs);
    json_bool(&json, "kept_exact", costs->kept_exact);
    json_int(&json, "computed_pairs", counts->computed_pairs);
    json_real(&json, "density", (double)costs->kept_pairs / (double)costs->pairs);
    json_real(&json, "computed_density", (double)counts->computed_pairs / (double)costs->pairs);
    json_int(&json, "full_tiles", counts->full_tiles);
    json_int(&json, "partial_tiles", counts->partial_tiles);
    levels_json(&json, plan);
    json_int(&json, "items", counts->items);
    json_int(&json, "lists", counts->lists);
    json_int(&json, "runs", counts->runs);
    json_int(&json, "least_tiles", costs->items.least);
    json_int(&json, "most_tiles", costs->items.most);
    json_real(&json, "imbalance_items", imbalance(&costs->items));
    json_real(&json, "imbalance_heads", imbalance(&costs->heads));
    json_ints(&json, "query_tile", plan->query_tile + first, plan->basis_axes);
    json_ints(&json, "key_tile", plan->launch.tile + first, plan->basis_axes);
    report_plan_json(&json, plan);
    selected_json(&json, plan);
    outlook_json(&json, &explain->outlook, plan);
    json_close(&json);
}

// Nothing runs, unless the GPU is to plan.
static int find_target(struct explain *explain) {
    if (problem_plans_on_device(&explain->args))
        return target_open(&explain->target, &explain->args);
    target_look(&explain->target, &explain->args);
    return EXIT_DONE;
}

// Makes the lists on the GPU too, without a kernel, and holds them against the host's.
static int plan_on_device(struct explain *explain) {
    struct cuda_plan *gpu;
    struct error error = {0};
    if (cuda_plan_create(&explain->target.device, explain->plan, &gpu, &error) != HEDDLE_OK)
        return fail(&error);
    int status = gpu_plan_measure(gpu, explain->plan, true);
    cuda_plan_destroy(gpu);
    return status;
}

// The boxes that suit what was selected.
static int choose_again(struct plan *plan) {
    struct error error = {0};
    if (!pattern_selects(plan->program->pattern) || plan_choose_again(plan, &error) == HEDDLE_OK)
        return EXIT_DONE;
    return fail(&error);
}

static int work_out(struct explain *explain, const char *file) {
    struct problem *problem = &explain->problem;
    struct problem_shape shape;
    int status = find_target(explain);
    if (status == EXIT_DONE)
        status = problem_load(problem, &explain->args, file);
    problem->target = &explain->target;
    if (status == EXIT_DONE)
        status = selected_read(&explain->selected, &shape);
    if (status == EXIT_DONE)
        status = problem_bind(problem, &explain->args, &shape, false);
    if (status == EXIT_DONE)
        status = problem_plan(problem, &explain->args, true, &explain->plan);
    if (status == EXIT_DONE)
        status = selected_run(&explain->selected, explain->plan);
    if (status == EXIT_DONE)
        status = choose_again(explain->plan);
    if (status == EXIT_DONE && problem_plans_on_device(&explain->args))
        status = plan_on_device(explain);
    if (status == EXIT_DONE)
        status = outlook_of(problem, explain->plan, &explain->outlook);
    return status;
}

static int execute(void *context, const char *file) {
    struct explain *explain = context;
    int status = work_out(explain, file);
    if (status == EXIT_DONE) {
        struct costs costs = count_costs(explain->plan);
        if (explain->args.json)
            print_json(explain, &costs);
        else
            print_text(explain, &costs);
    }
    plan_destroy(explain->plan);
    problem_finish(&explain->problem);
    selected_finish(&explain->selected);
    if (problem_plans_on_device(&explain->args))
        target_close(&explain->target);
    return status;
}

int command_explain(int argc, char **argv) {
    struct explain explain = {.selected.seed = 1};
    const struct option_set sets[] = {PROBLEM_SET(&explain.args), SELECTED_SET(&explain.selected)};
    const struct option_use use = {
        "explain FILE", "Says what a pattern costs: pairs, tiles, balance, time.", sets, 2};
    return problem_command(&use, &explain.args, argc, argv, execute, &explain);
}
