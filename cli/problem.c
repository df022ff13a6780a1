#include "cli/problem.h"

#include "cli/assign.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "runtime/shipped.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER(name) offsetof(struct problem_args, name)

static const char *const dtypes[] = {"fp32", "fp16", "bf16", NULL}; // as enum heddle_dtype
static const char *const targets[] = {"auto", "cpu", "cuda", NULL}; // as enum heddle_target
static const char *const planners[] = {"host", "device", NULL};
enum { PLANNER_DEVICE = 2 }; // as typed: 1 + its place above

const struct option_row problem_options[PROBLEM_OPTIONS] = {
    {"axes", 0, OPTION_LIST, MEMBER(axes), "y=128,x=128", "sizes of all axes, in any order", NULL},
    {"queries", 0, OPTION_COUNT, MEMBER(queries), "N", "the last N positions (all)", NULL},
    {"batch", 0, OPTION_COUNT, MEMBER(batch), "N", NULL, NULL},
    {"heads", 0, OPTION_COUNT, MEMBER(heads), "N", "(1 each)", NULL},
    {"kv-heads", 0, OPTION_COUNT, MEMBER(kv_heads), "N", NULL, NULL},
    {"dim", 0, OPTION_COUNT, MEMBER(dim), "N", "(as many as heads; 64)", NULL},
    {"dtype", 0, OPTION_CHOICE, MEMBER(dtype), "fp32|fp16|bf16", "(fp32 on the CPU)", dtypes},
    {"param", 0, OPTION_LIST, MEMBER(params), "name=V", "per head: name=V,V,... or one for all",
     NULL},
    {"const", 0, OPTION_LIST, MEMBER(consts), "name=V", "a compile-time constant", NULL},
    {"input", 0, OPTION_LIST, MEMBER(inputs), "name=FILE.npy", "int32, int64; float32 for real",
     NULL},
    {"pattern", 0, OPTION_TEXT, MEMBER(pattern), "NAME",
     "(the one named like the file, else the last)", NULL},
    {"scale", 0, OPTION_REAL, MEMBER(scale), "X", "of the logits (1/sqrt(dim))", NULL},
    {"target", 0, OPTION_CHOICE, MEMBER(target), "auto|cpu|cuda",
     "where to run (auto: a GPU, else the CPU)", targets},
    {"planner", 0, OPTION_CHOICE, MEMBER(planner), "host|device",
     "where a GPU's lists are made (host)", planners},
    {"untuned", 0, OPTION_FLAG, MEMBER(untuned), "", "as predicted, not as run --tune found best",
     NULL},
    {"json", 0, OPTION_FLAG, MEMBER(json), "", "results as one JSON object", NULL},
};

void problem_args_finish(struct problem_args *args) {
    text_list_finish(&args->axes);
    text_list_finish(&args->params);
    text_list_finish(&args->consts);
    text_list_finish(&args->inputs);
}

struct problem_args problem_args_copy(const struct problem_args *args) {
    struct problem_args copy = *args;
    copy.axes = text_list_copy(&args->axes);
    copy.params = text_list_copy(&args->params);
    copy.consts = text_list_copy(&args->consts);
    copy.inputs = text_list_copy(&args->inputs);
    return copy;
}

void problem_axes_text(const struct problem *problem, char *out, size_t room) {
    const struct pattern *pattern = problem->program->pattern;
    size_t used = 0;
    for (int i = 0; i < pattern->axis_count && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s = %" PRId64, i ? ", " : "",
                                 pattern->axes[i], problem->spec.sizes[i]);
}

enum heddle_target problem_target(const struct problem *problem, const struct problem_args *args) {
    if (problem->target)
        return problem->target->kind;
    return args->target == HEDDLE_TARGET_CUDA + 1 ? HEDDLE_TARGET_CUDA : HEDDLE_TARGET_CPU;
}

bool problem_plans_on_device(const struct problem_args *args) {
    return args->planner == PLANNER_DEVICE;
}

// ---- the pattern ---------------------------------------------------------------------------

bool parse_consts(const struct text_list *list, struct arena *arena,
                  struct check_options *out_options) {
    struct const_override *consts = ARENA_ARRAY(arena, struct const_override, list->count + 1);
    for (int i = 0; i < list->count; i++) {
        struct assignment a;
        if (!assignment_parse("const", list->items[i], arena, &a))
            return false;
        for (int j = 0; j < i; j++)
            if (strcmp(consts[j].name, a.name) == 0) {
                usage_error("--const: '%s' is given twice", a.name);
                return false;
            }
        consts[i] = (struct const_override){a.name, a.value};
    }
    out_options->consts = consts;
    out_options->const_count = list->count;
    return true;
}

int problem_load(struct problem *problem, const struct problem_args *args, const char *file) {
    char path[PATTERN_PATH_ROOM], shipped[4096];
    const char *const import_dirs[] = {shipped};
    struct check_options options = {.pattern = args->pattern, .import_dirs = import_dirs};
    options.import_dir_count = shipped_patterns_dir(shipped, sizeof shipped);
    *problem = (struct problem){0};
    arena_init(&problem->arena, 0);
    if (!parse_consts(&args->consts, &problem->arena, &options))
        return EXIT_USAGE;
    shipped_find_pattern(file, path);
    struct error error = {0};
    if (program_create(path, NULL, 0, &options, &problem->program, &error) != HEDDLE_OK)
        return fail(&error);
    return EXIT_DONE;
}

void problem_unbind(struct problem *problem) {
    const struct pattern *pattern = problem->program ? problem->program->pattern : NULL;
    for (int i = 0; pattern && problem->inputs && i < pattern->input_count; i++)
        npy_finish(&problem->inputs[i]);
    free(problem->inputs);
    problem->inputs = NULL;
}

void problem_finish(struct problem *problem) {
    problem_unbind(problem);
    program_destroy(problem->program);
    arena_finish(&problem->arena);
    *problem = (struct problem){0};
}

// ---- sizes ---------------------------------------------------------------------------------

static int bind_one_axis(struct problem *problem, const char *text) {
    const struct pattern *pattern = problem->program->pattern;
    struct assignment a;
    if (!assignment_parse("axes", text, &problem->arena, &a))
        return EXIT_USAGE;
    int axis = 0;
    while (axis < pattern->axis_count && strcmp(pattern->axes[axis], a.name) != 0)
        axis++;
    if (axis == pattern->axis_count)
        return usage_error("--axes: pattern '%s' has no axis '%s'%s", pattern->name, a.name,
                           did_you_mean(a.name, pattern->axes, pattern->axis_count).text);
    if (problem->spec.sizes[axis])
        return usage_error("--axes: '%s' is given twice", a.name);
    if (!parse_int(a.value, &problem->spec.sizes[axis]) || problem->spec.sizes[axis] < 1)
        return usage_error("--axes: %s = '%s' is not an integer of at least 1", a.name, a.value);
    return EXIT_DONE;
}

static int missing_axes(const struct problem *problem) {
    const struct pattern *pattern = problem->program->pattern;
    char example[1024] = "";
    size_t used = 0;
    for (int i = 0; i < pattern->axis_count && used < sizeof example; i++)
        used += (size_t)snprintf(example + used, sizeof example - used, "%s%s=N", i ? "," : "",
                                 pattern->axes[i]);
    return usage_error("pattern '%s' needs the sizes of all its axes: --axes %s", pattern->name,
                       example);
}

static int bind_axes(struct problem *problem, const struct problem_args *args,
                     const struct problem_shape *shape, bool default_axes) {
    static const int64_t defaults[MAX_AXES][MAX_AXES] = {{4096}, {64, 64}, {16, 32, 32}};
    const struct pattern *pattern = problem->program->pattern;
    int64_t *sizes = problem->spec.sizes;
    for (int i = 0; i < args->axes.count; i++) {
        char *list = arena_text(&problem->arena, args->axes.items[i], strlen(args->axes.items[i]));
        for (char *item = strtok(list, ","); item; item = strtok(NULL, ",")) {
            int status = bind_one_axis(problem, item);
            if (status != EXIT_DONE)
                return status;
        }
    }
    if (args->axes.count == 0 && shape && shape->keys && pattern->axis_count == 1)
        sizes[0] = shape->keys;
    else if (args->axes.count == 0 && default_axes)
        memcpy(sizes, defaults[pattern->axis_count - 1], sizeof defaults[0]);
    int64_t tokens = 1;
    for (int i = 0; i < pattern->axis_count; i++) {
        if (!sizes[i])
            return missing_axes(problem);
        if (__builtin_mul_overflow(tokens, sizes[i], &tokens))
            return usage_error("--axes: their product overflows");
    }
    if (!shape || !shape->keys || shape->keys == tokens)
        return EXIT_DONE;
    complain("--k holds %" PRId64 " tokens, --axes make %" PRId64, shape->keys, tokens);
    return EXIT_INPUT;
}

// A number from its flag, from a file, or by default. Flag and file must agree.
static int bind_number(const char *flag, int64_t given, int64_t from_file, int64_t otherwise,
                       int64_t *out) {
    *out = given ? given : from_file ? from_file : otherwise;
    if (!given || !from_file || given == from_file)
        return EXIT_DONE;
    complain("--%s says %" PRId64 ", the tensor file has %" PRId64, flag, given, from_file);
    return EXIT_INPUT;
}

static int bind_numbers(struct problem *problem, const struct problem_args *args,
                        const struct problem_shape *shape) {
    static const struct problem_shape nothing;
    struct heddle_problem *spec = &problem->spec;
    shape = shape ? shape : &nothing;
    int status = bind_number("batch", args->batch, shape->batch, 1, &spec->batch);
    if (status == EXIT_DONE)
        status = bind_number("heads", args->heads, shape->heads, 1, &spec->heads);
    if (status == EXIT_DONE)
        status =
            bind_number("kv-heads", args->kv_heads, shape->kv_heads, spec->heads, &spec->kv_heads);
    if (status == EXIT_DONE)
        status = bind_number("dim", args->dim, shape->dim, 64, &spec->dim);
    if (status == EXIT_DONE)
        status = bind_number("queries", args->queries, shape->queries, 0, &spec->queries);
    if (status == EXIT_DONE && spec->heads % spec->kv_heads != 0)
        return usage_error("--heads %" PRId64 " is not a multiple of --kv-heads %" PRId64,
                           spec->heads, spec->kv_heads);
    return status;
}

static struct tuned_machine machine_of(const struct problem *problem,
                                       const struct problem_args *args) {
    const struct target *target = problem->target;
    struct target seen;
    if (problem_target(problem, args) == HEDDLE_TARGET_CPU)
        return tuned_machine(NULL, problem->threads);
    if (!target) {
        target_look(&seen, args);
        target = &seen;
    }
    return target->assumed ? (struct tuned_machine){""} : tuned_machine(&target->device, 0);
}

int problem_bind(struct problem *problem, const struct problem_args *args,
                 const struct problem_shape *shape, bool default_axes) {
    problem->machine = machine_of(problem, args);
    problem->spec = (struct heddle_problem)HEDDLE_PROBLEM_INIT;
    enum heddle_dtype usual =
        problem_target(problem, args) == HEDDLE_TARGET_CUDA ? HEDDLE_BF16 : HEDDLE_F32;
    problem->spec.dtype = args->dtype ? (enum heddle_dtype)(args->dtype - 1) : usual;
    // 0 stands for the default in the API. The least double makes every logit 0 all the same.
    bool zero = args->scale.given && args->scale.value == 0;
    problem->spec.scale = zero ? DBL_TRUE_MIN : args->scale.value;
    int status = bind_axes(problem, args, shape, default_axes);
    if (status == EXIT_DONE)
        status = bind_numbers(problem, args, shape);
    if (status == EXIT_DONE)
        status = assign_params(problem, &args->params);
    if (status == EXIT_DONE && !problem->no_inputs)
        status = assign_inputs(problem, &args->inputs);
    return status;
}

// ---- the plan ------------------------------------------------------------------------------

static int make_plan(const struct problem *problem, const struct plan_options *options,
                     struct plan **out_plan) {
    bool lists_only = options->lists_only;
    if (options->on_device && options->target != HEDDLE_TARGET_CUDA)
        return usage_error("--planner device is of GPUs: --target cuda");
    struct error error = {0};
    struct progress progress;
    progress_begin(&progress, lists_only ? "planning" : "planning and compiling", 0);
    enum heddle_status status =
        plan_create(problem->program, &problem->spec, options, out_plan, &error);
    if (status == HEDDLE_OK && (lists_only || !problem->target)) // lists as the GPU makes them
        status = plan_make_lists(*out_plan, &error);
    progress_end(&progress);
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}

int problem_plan(const struct problem *problem, const struct problem_args *args, bool lists_only,
                 struct plan **out_plan) {
    const struct plan_options options = {
        .target = problem_target(problem, args),
        .lists_only = lists_only,
        .basis = -1,
        .on_device = problem_plans_on_device(args),
        .tuned_on = args->untuned || !problem->machine.text[0] ? NULL : problem->machine.text};
    return make_plan(problem, &options, out_plan);
}

int problem_plan_in(const struct problem *problem, const struct problem_args *args,
                    const struct plan_boxes *boxes, struct plan **out_plan) {
    struct plan_options options = {.target = problem_target(problem, args),
                                   .basis = boxes->basis,
                                   .on_device = problem_plans_on_device(args)};
    memcpy(options.query_tile, boxes->query_tile, sizeof options.query_tile);
    memcpy(options.key_tile, boxes->key_tile, sizeof options.key_tile);
    return make_plan(problem, &options, out_plan);
}

int problem_command(const struct option_use *use, struct problem_args *args, int argc, char **argv,
                    int (*execute)(void *context, const char *file), void *context) {
    struct text_list operands = {0};
    enum parse_outcome outcome = options_parse(use, argc, argv, &operands);
    int status = outcome == PARSE_WRONG ? EXIT_USAGE : EXIT_DONE;
    if (outcome == PARSE_GO)
        status = operands.count == 1
                     ? execute(context, operands.items[0])
                     : usage_error("%s takes one pattern file, not %d", argv[0], operands.count);
    text_list_finish(&operands);
    problem_args_finish(args);
    return status;
}
