#include "cli/assign.h"

#include "cli/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool assignment_parse(const char *flag, const char *text, struct arena *arena,
                      struct assignment *out) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || !equals[1]) {
        usage_error("--%s: '%s' is not name=value", flag, text);
        return false;
    }
    out->name = arena_text(arena, text, (size_t)(equals - text));
    out->value = arena_text(arena, equals + 1, strlen(equals + 1));
    return true;
}

// ---- parameters ----------------------------------------------------------------------------

static int unknown_param(const struct pattern *pattern, const char *name, struct arena *arena) {
    for (int i = 0; i < pattern->const_count; i++)
        if (strcmp(pattern->consts[i].name, name) == 0)
            return usage_error("--param: '%s' is a constant of pattern '%s': use --const", name,
                               pattern->name);
    for (int i = 0; i < pattern->input_count; i++)
        if (strcmp(pattern->inputs[i].name, name) == 0)
            return usage_error("--param: '%s' is an input of pattern '%s': use --input", name,
                               pattern->name);
    const char **names = ARENA_ARRAY(arena, const char *, pattern->param_count + 1);
    for (int i = 0; i < pattern->param_count; i++)
        names[i] = pattern->params[i].name;
    return usage_error("--param: pattern '%s' has no parameter '%s'%s", pattern->name, name,
                       did_you_mean(name, names, pattern->param_count).text);
}

static int count_values(const char *text) {
    int count = 1;
    for (; *text; text++)
        count += *text == ',';
    return count;
}

// The numbers of "1,2,3" as the parameter's type wants them.
static int parse_values(const struct pattern_param *param, char *text, struct arena *arena,
                        struct heddle_param *out) {
    int64_t *ints = ARENA_ARRAY(arena, int64_t, out->count);
    double *reals = ARENA_ARRAY(arena, double, out->count);
    for (int i = 0; i < out->count; i++) {
        char *end = text + strcspn(text, ",");
        bool last = !*end;
        *end = '\0';
        bool right =
            param->type == TYPE_INT ? parse_int(text, &ints[i]) : parse_real(text, &reals[i]);
        if (!right)
            return usage_error("--param: %s = '%s' is not %s", param->name, text,
                               param->type == TYPE_INT ? "a 64-bit integer" : "a number");
        text = last ? end : end + 1;
    }
    if (param->type == TYPE_INT)
        out->ints = ints;
    else
        out->reals = reals;
    return EXIT_DONE;
}

static int bind_param(struct problem *problem, const char *text, struct heddle_param *out) {
    const struct pattern *pattern = problem->program->pattern;
    struct assignment a;
    if (!assignment_parse("param", text, &problem->arena, &a))
        return EXIT_USAGE;
    const struct pattern_param *param = NULL;
    for (int i = 0; i < pattern->param_count; i++)
        if (strcmp(pattern->params[i].name, a.name) == 0)
            param = &pattern->params[i];
    if (!param)
        return unknown_param(pattern, a.name, &problem->arena);
    *out = (struct heddle_param){.name = param->name, .count = count_values(a.value)};
    if (!param->per_head && out->count != 1)
        return usage_error("--param: '%s' is one number, not %d", a.name, out->count);
    if (param->per_head && out->count != 1 && out->count != problem->spec.heads)
        return usage_error("--param: '%s' has %d values for %" PRId64
                           " heads; give one for all or one a head",
                           a.name, out->count, problem->spec.heads);
    char *values = arena_text(&problem->arena, a.value, strlen(a.value));
    return parse_values(param, values, &problem->arena, out);
}

int assign_params(struct problem *problem, const struct text_list *list) {
    struct heddle_param *params =
        ARENA_ARRAY(&problem->arena, struct heddle_param, list->count + 1);
    for (int i = 0; i < list->count; i++) {
        int status = bind_param(problem, list->items[i], &params[i]);
        if (status != EXIT_DONE)
            return status;
        for (int j = 0; j < i; j++)
            if (strcmp(params[j].name, params[i].name) == 0)
                return usage_error("--param: '%s' is given twice", params[i].name);
    }
    problem->spec.params = params;
    problem->spec.param_count = list->count;
    return EXIT_DONE;
}

// ---- inputs --------------------------------------------------------------------------------

static int64_t axis_product(const struct problem *problem) {
    int64_t tokens = 1;
    for (int i = 0; i < problem->program->pattern->axis_count; i++)
        tokens *= problem->spec.sizes[i];
    return tokens;
}

// The extent that an index needs; -1 where only the plan can tell (blocks of a computed size).
static int64_t index_extent(const struct problem *problem, const struct pattern_index *index) {
    switch (index->kind) {
    case INDEX_HEAD:
        return problem->spec.heads;
    case INDEX_KV_HEAD:
        return problem->spec.kv_heads;
    case INDEX_BATCH:
        return problem->spec.batch;
    case INDEX_TOKEN:
        return axis_product(problem);
    case INDEX_AXIS:
        return problem->spec.sizes[index->axis];
    case INDEX_RANGE: // by branches
        return index->extent->op == OP_INT ? index->extent->payload.i : -1;
    case INDEX_BLOCKS:
    case INDEX_ROOM:
    case INDEX_DIM:
    case INDEX_WIDTH:
        break;
    }
    if (index->kind != INDEX_BLOCKS || index->extent->op != OP_INT || index->extent->payload.i < 1)
        return -1;
    int64_t size = problem->spec.sizes[index->axis], block = index->extent->payload.i;
    return size / block + (size % block != 0);
}

static int check_input(const struct problem *problem, const struct pattern_input *input,
                       const struct npy *npy, const char *path) {
    bool is_int = npy->type == NPY_INT32 || npy->type == NPY_INT64;
    bool takes_int = input->type != TYPE_REAL; // a set is lists of integers
    if (is_int != takes_int || npy->type == NPY_FLOAT16) {
        complain("%s: is %s; input '%s' takes %s", path, npy_type_name(npy->type), input->name,
                 takes_int ? "int32 or int64" : "float32");
        return EXIT_INPUT;
    }
    int64_t wanted[MAX_INDICES];
    bool fits = npy->rank == input->index_count;
    for (int i = 0; i < input->index_count; i++) {
        bool any = pattern_is_set(input) && i == input->index_count - 1; // how long a list may be
        wanted[i] = any ? -1 : index_extent(problem, &input->indices[i]);
        fits = fits && (wanted[i] < 0 || wanted[i] == npy->shape[i]);
    }
    if (fits)
        return EXIT_DONE;
    char has[NPY_MAX_RANK * 24], needs[MAX_INDICES * 24];
    npy_shape_text(npy->shape, npy->rank, has, sizeof has);
    npy_shape_text(wanted, input->index_count, needs, sizeof needs);
    complain("%s: has shape %s; input '%s' needs %s", path, has, input->name, needs);
    return EXIT_INPUT;
}

static int unknown_input(const struct pattern *pattern, const char *name, struct arena *arena) {
    const char **names = ARENA_ARRAY(arena, const char *, pattern->input_count + 1);
    for (int i = 0; i < pattern->input_count; i++)
        names[i] = pattern->inputs[i].name;
    return usage_error("--input: pattern '%s' has no input '%s'%s", pattern->name, name,
                       did_you_mean(name, names, pattern->input_count).text);
}

// Reads the file of one assignment and appends to `bound`.
static int bind_input(struct problem *problem, const char *text, struct heddle_input *bound) {
    static const enum heddle_element elements[] = {
        [NPY_INT32] = HEDDLE_INT32, [NPY_INT64] = HEDDLE_INT64, [NPY_FLOAT32] = HEDDLE_FLOAT32};
    const struct pattern *pattern = problem->program->pattern;
    struct assignment a;
    if (!assignment_parse("input", text, &problem->arena, &a))
        return EXIT_USAGE;
    int number = 0;
    while (number < pattern->input_count && (!pattern_is_given(&pattern->inputs[number]) ||
                                             strcmp(pattern->inputs[number].name, a.name) != 0))
        number++;
    if (number == pattern->input_count)
        return unknown_input(pattern, a.name, &problem->arena);
    struct npy *npy = &problem->inputs[number];
    if (npy->data)
        return usage_error("--input: '%s' is given twice", a.name);
    struct error error = {0};
    if (npy_read(a.value, npy, &error) != HEDDLE_OK)
        return fail(&error);
    int status = check_input(problem, &pattern->inputs[number], npy, a.value);
    if (status != EXIT_DONE)
        return status;
    struct heddle_input *input = &bound[problem->spec.input_count++];
    *input = (struct heddle_input){.name = pattern->inputs[number].name,
                                   .data = npy->data,
                                   .element = elements[npy->type],
                                   .rank = npy->rank};
    memcpy(input->shape, npy->shape, sizeof input->shape);
    return EXIT_DONE;
}

int assign_inputs(struct problem *problem, const struct text_list *list) {
    const struct pattern *pattern = problem->program->pattern;
    problem->inputs = calloc((size_t)pattern->input_count + 1, sizeof *problem->inputs);
    if (!problem->inputs) {
        complain("no memory for the inputs");
        return EXIT_DEVICE;
    }
    struct heddle_input *bound =
        ARENA_ARRAY(&problem->arena, struct heddle_input, pattern->input_count + 1);
    problem->spec.inputs = bound;
    for (int i = 0; i < list->count; i++) {
        int status = bind_input(problem, list->items[i], bound);
        if (status != EXIT_DONE)
            return status;
    }
    for (int i = 0; i < pattern->input_count; i++)
        if (pattern_is_given(&pattern->inputs[i]) && !problem->inputs[i].data)
            return usage_error("pattern '%s' needs --input %s=FILE.npy", pattern->name,
                               pattern->inputs[i].name);
    return EXIT_DONE;
}
