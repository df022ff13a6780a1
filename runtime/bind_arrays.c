// Part of stage `plan`: inputs and maps. See bind.h.

#include "runtime/bind.h"

#include "compiler/planner/array_range.h"
#include "runtime/bind_derived.h"
#include "runtime/map_fill.h"
#include "runtime/ranges.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const int64_t MOST_MAP_ELEMENTS = INT64_C(1) << 27;

// ---- extents ----------------------------------------------------------------------------------

static const char *index_name(const struct plan *plan, const struct pattern_index *index) {
    switch (index->kind) {
    case INDEX_HEAD:
        return "head";
    case INDEX_KV_HEAD:
        return "kv_head";
    case INDEX_BATCH:
        return "batch";
    case INDEX_TOKEN:
        return "token";
    case INDEX_AXIS:
        return plan->program->pattern->axes[index->axis];
    case INDEX_BLOCKS:
        return "blocks";
    case INDEX_ROOM:
        return "room";
    case INDEX_DIM:
    case INDEX_WIDTH:
    case INDEX_RANGE: // of inputs: by branches
        break;
    }
    return "branch";
}

static enum heddle_status index_extent(struct plan *plan, const struct pattern_index *index,
                                       int64_t *out, struct error *error) {
    struct eval_env env;
    struct eval_failure failure = {0};
    bind_eval_env(plan, &env);
    switch (index->kind) {
    case INDEX_HEAD:
        *out = plan->heads;
        break;
    case INDEX_KV_HEAD:
        *out = plan->kv_heads;
        break;
    case INDEX_BATCH:
        *out = plan->batch;
        break;
    case INDEX_TOKEN:
        *out = plan->keys;
        break;
    case INDEX_AXIS:
        *out = plan->size[index->axis];
        break;
    case INDEX_BLOCKS: // the expression is the block's size
        *out = expr_eval(index->extent, &env, &failure).i;
        if (*out <= 0)
            *out = -1;
        else
            *out = (plan->size[index->axis] + *out - 1) / *out;
        break;
    case INDEX_ROOM: // bind_elements says
        *out = 1;
        break;
    case INDEX_RANGE:
        *out = expr_eval(index->extent, &env, &failure).i;
        break;
    case INDEX_DIM:
        *out = plan->dim;
        break;
    case INDEX_WIDTH: // the caller knows (bind_derived.c)
        *out = 1;
        break;
    }
    if (failure.fault != EVAL_OK || *out < 0)
        return error_set(error, HEDDLE_PATTERN_ERROR,
                         "%serror: the extent of an index has no value for this problem",
                         bind_place(plan, index->extent->span));
    return HEDDLE_OK;
}

enum heddle_status bind_extents(struct plan *plan, const struct pattern_index *indices, int count,
                                struct abi_array *array, int64_t *out_elements,
                                struct error *error) {
    *out_elements = 1;
    array->index_count = count;
    for (int i = 0; i < ABI_INDICES; i++)
        array->extent[i] = 1;
    for (int i = 0; i < count; i++) {
        enum heddle_status status = index_extent(plan, &indices[i], &array->extent[i], error);
        if (status != HEDDLE_OK)
            return status;
        if (__builtin_mul_overflow(*out_elements, array->extent[i], out_elements))
            return error_set(error, HEDDLE_LIMIT, "an array of the pattern is too large");
    }
    return HEDDLE_OK;
}

// The range pyramid, one pair per 16 elements and level.
static void build_levels(struct plan *plan, struct abi_array *array, enum abi_element element) {
    for (int level = 1; array_has_level(array, level); level++) {
        int64_t groups = array_groups(array, level);
        struct abi_pair *pairs = ARENA_ARRAY(&plan->arena, struct abi_pair, (size_t)groups);
        for (int64_t g = 0; g < groups; g++)
            array_build_group(array, element, level, g, pairs);
        array->levels[level] = pairs;
    }
}

// ---- inputs -----------------------------------------------------------------------------------

static const struct heddle_input *given_input(const struct heddle_problem *problem,
                                              const char *name) {
    for (int i = problem->input_count - 1; i >= 0; i--)
        if (strcmp(problem->inputs[i].name, name) == 0)
            return &problem->inputs[i];
    return NULL;
}

static enum heddle_status known_inputs(const struct plan *plan,
                                       const struct heddle_problem *problem, struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    for (int i = 0; i < problem->input_count; i++) {
        bool known = false;
        for (int n = 0; n < pattern->input_count; n++)
            known |= pattern_is_given(&pattern->inputs[n]) &&
                     strcmp(pattern->inputs[n].name, problem->inputs[i].name) == 0;
        if (!known)
            return error_set(error, HEDDLE_BAD_ARGUMENT, "pattern '%s' has no input '%s'",
                             pattern->name, problem->inputs[i].name);
    }
    return HEDDLE_OK;
}

static enum heddle_status check_shape(const struct plan *plan, const struct pattern_input *input,
                                      const struct heddle_input *given,
                                      const struct abi_array *array, struct error *error) {
    bool is_set = pattern_is_set(input);
    bool fits = given->rank == input->index_count;
    for (int i = 0; fits && i < given->rank - is_set; i++)
        fits = given->shape[i] == array->extent[i];
    int64_t room = is_set && fits ? given->shape[given->rank - 1] : 1;
    fits = fits && room >= 0 && (given->data || room == 0);
    if (fits)
        return HEDDLE_OK;
    struct strbuf wanted = {0}, seen = {0};
    for (int i = 0; i < input->index_count - is_set; i++)
        strbuf_printf(&wanted, "%s%s = %" PRId64, i ? ", " : "",
                      index_name(plan, &input->indices[i]), array->extent[i]);
    strbuf_puts(&wanted, is_set ? ", room for elements" : "");
    for (int i = 0; i < given->rank && i < 4; i++)
        strbuf_printf(&seen, "%s%" PRId64, i ? ", " : "", given->shape[i]);
    error_set(error, HEDDLE_BAD_ARGUMENT, "input '%s' has shape [%s]; it takes [%s]", input->name,
              seen.text ? seen.text : "", wanted.text);
    strbuf_finish(&wanted);
    strbuf_finish(&seen);
    return HEDDLE_BAD_ARGUMENT;
}

enum heddle_status bind_check_input(const struct plan *plan, const struct pattern_input *input,
                                    const struct heddle_input *given, const struct abi_array *array,
                                    struct error *error) {
    bool reals = given->element == HEDDLE_FLOAT32;
    enum heddle_status status = check_shape(plan, input, given, array, error);
    if (status == HEDDLE_OK && reals != (input->type == TYPE_REAL))
        status =
            error_set(error, HEDDLE_BAD_ARGUMENT, "input '%s' holds %s; it takes %s", input->name,
                      reals ? "reals" : "integers", reals ? "int32 or int64" : "float32");
    return status;
}

static enum heddle_status copy_ints(const struct pattern_input *input,
                                    const struct heddle_input *given, int32_t *out, int64_t count,
                                    struct error *error) {
    if (given->element == HEDDLE_INT32) {
        memcpy(out, given->data, (size_t)count * sizeof *out);
        return HEDDLE_OK;
    }
    const int64_t *from = given->data;
    for (int64_t i = 0; i < count; i++) {
        if (from[i] < INT32_MIN || from[i] > INT32_MAX)
            return error_set(error, HEDDLE_BAD_ARGUMENT,
                             "input '%s' holds %" PRId64 ", which does not fit 32 bits",
                             input->name, from[i]);
        out[i] = (int32_t)from[i];
    }
    return HEDDLE_OK;
}

static int64_t int_at(const struct heddle_input *given, int64_t at) {
    return given->element == HEDDLE_INT32 ? ((const int32_t *)given->data)[at]
                                          : ((const int64_t *)given->data)[at];
}

// Numbers below this are elements of some list: how wide the set's table has to be.
static enum heddle_status set_width(const struct pattern_input *input,
                                    const struct heddle_input *given, int64_t numbers,
                                    int64_t tokens, int64_t *out, struct error *error) {
    int64_t room = given->shape[given->rank - 1];
    *out = 1;
    for (int64_t at = 0; at < numbers; at++) {
        int64_t element = int_at(given, at);
        if (element < -1 || element >= tokens)
            return error_set(error, HEDDLE_BAD_ARGUMENT,
                             "input set '%s' holds %" PRId64 " as element %" PRId64
                             " of list %" PRId64 "; it takes 0 to %" PRId64
                             " (there are as many tokens), and -1 where there is none",
                             input->name, element, at % room, at / room, tokens - 1);
        *out = element >= *out ? element + 1 : *out;
    }
    return HEDDLE_OK;
}

// Lists of elements, [.., room], in any order and as often as they like, -1 where there is none ->
// a table of bytes, [.., width]; nothing beyond it is an element, or, where lists will be made
// again from other sets, nothing beyond it is ever looked for.
static enum heddle_status bind_set(struct plan *plan, const struct pattern_input *input,
                                   const struct heddle_input *given, struct abi_array *array,
                                   int64_t count, struct error *error) {
    int64_t *width = &array->extent[array->index_count - 1], tokens = *width;
    int64_t room = given->shape[given->rank - 1], lists = count / tokens;
    enum heddle_status status = set_width(input, given, lists * room, tokens, width, error);
    if (status != HEDDLE_OK)
        return status;
    if (plan->options.on_device)
        *width = ranges_set_width(plan, (int)(input - plan->program->pattern->inputs));
    uint8_t *data = ARENA_ARRAY(&plan->arena, uint8_t, (size_t)(lists * *width) + 1);
    for (int64_t at = 0; at < lists * room; at++)
        if (int_at(given, at) >= 0 && int_at(given, at) < *width)
            data[at / room * *width + int_at(given, at)] = 1;
    array->data = data;
    build_levels(plan, array, ABI_BYTE);
    return HEDDLE_OK;
}

static void include(struct abi_pair *range, double x) {
    range->least = x < range->least ? x : range->least;
    range->greatest = x > range->greatest ? x : range->greatest;
    if (x != x)
        *range = (struct abi_pair){-INFINITY, INFINITY};
}

// What the input holds now and what the caller says that it may hold later.
static void set_range(const struct pattern_input *input, const struct heddle_input *given,
                      const void *data, int64_t count, struct abi_pair *out) {
    *out = (struct abi_pair){INFINITY, -INFINITY};
    for (int64_t i = 0; i < count; i++)
        include(out, input->type == TYPE_INT ? (double)((const int32_t *)data)[i]
                                             : (double)((const float *)data)[i]);
    for (int i = 0; given->range && i < 2; i++)
        include(out, given->range[i]);
    if (input->type == TYPE_INT) {
        out->least = fmax(ceil(out->least), INT32_MIN);
        out->greatest = fmin(floor(out->greatest), INT32_MAX);
    }
}

static enum heddle_status bind_input(struct plan *plan, const struct pattern_input *input,
                                     const struct heddle_problem *problem, struct abi_array *array,
                                     struct abi_pair *out_range, struct error *error) {
    const struct heddle_input *given = given_input(problem, input->name);
    int64_t count;
    if (!given)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "input '%s' is missing", input->name);
    enum heddle_status status =
        bind_extents(plan, input->indices, input->index_count, array, &count, error);
    if (status == HEDDLE_OK)
        status = bind_check_input(plan, input, given, array, error);
    if (status != HEDDLE_OK)
        return status;
    if (out_range)
        *out_range = (struct abi_pair){0, 1};
    if (pattern_is_set(input))
        return bind_set(plan, input, given, array, count, error);
    void *data = arena_array(&plan->arena, (size_t)count + 1, sizeof(int32_t));
    array->data = data;
    if (input->type == TYPE_INT)
        status = copy_ints(input, given, data, count, error);
    else
        memcpy(data, given->data, (size_t)count * sizeof(float));
    if (status != HEDDLE_OK)
        return status;
    build_levels(plan, array, input->type == TYPE_INT ? ABI_INT32 : ABI_FLOAT32);
    if (out_range)
        set_range(input, given, data, count, out_range);
    return HEDDLE_OK;
}

// What the user gives, or what follows from it.
static enum heddle_status bind_any_input(struct plan *plan, int number,
                                         const struct heddle_problem *problem,
                                         struct abi_array *array, struct abi_pair *out_range,
                                         struct error *error) {
    const struct pattern_input *input = &plan->program->pattern->inputs[number];
    if (input->derived)
        return bind_derived(plan, number, out_range, error);
    if (pattern_is_given(input))
        return bind_input(plan, input, problem, array, out_range, error);
    bind_elements(plan, input, array);
    build_levels(plan, array, ABI_INT32);
    if (out_range)
        *out_range = (struct abi_pair){-1, (double)(plan->keys - 1)};
    return HEDDLE_OK;
}

// ---- maps -------------------------------------------------------------------------------------

static enum heddle_status bind_map(struct plan *plan, int number, struct abi_array *array,
                                   struct error *error) {
    const struct pattern_map *map = &plan->program->pattern->maps[number];
    int64_t count;
    enum heddle_status status =
        bind_extents(plan, map->indices, map->index_count, array, &count, error);
    if (status != HEDDLE_OK)
        return status;
    if (count > MOST_MAP_ELEMENTS)
        return error_set(error, HEDDLE_PATTERN_ERROR,
                         "%serror: map '%s' has %" PRId64
                         " elements for this problem, over %" PRId64,
                         bind_place(plan, map->span), map->name, count, MOST_MAP_ELEMENTS);
    uint8_t *data = arena_alloc(&plan->arena, (size_t)count + 1);
    array->data = data;
    status = map_fill(plan, number, array, count, data, error);
    if (status == HEDDLE_OK)
        build_levels(plan, array, ABI_BYTE);
    return status;
}

// Sets come after the other inputs: how wide their tables are depends on what those hold. What
// follows from sets comes last.
static int bind_turn(const struct pattern_input *input) {
    return input->is_elements ? 3 : input->derived ? 2 : pattern_is_set(input);
}

enum heddle_status bind_arrays(struct plan *plan, const struct heddle_problem *problem,
                               struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    size_t inputs = (size_t)pattern->input_count;
    size_t total = inputs + (size_t)pattern->map_count;
    struct abi_array *arrays = ARENA_ARRAY(&plan->arena, struct abi_array, total + 1);
    struct abi_pair *input_ranges = NULL; // where lists are made again
    enum heddle_status status = known_inputs(plan, problem, error);
    if (plan->options.on_device || pattern_selects(pattern))
        plan->input_ranges = input_ranges = ARENA_ARRAY(&plan->arena, struct abi_pair, total + 1);
    plan->launch.env.arrays = arrays;
    plan->launch.env.array_range = array_range;
    for (int turn = 0; turn < 4; turn++)
        for (size_t i = 0; i < inputs && status == HEDDLE_OK; i++)
            if (bind_turn(&pattern->inputs[i]) == turn)
                status = bind_any_input(plan, (int)i, problem, &arrays[i],
                                        input_ranges ? &input_ranges[i] : NULL, error);
    for (size_t i = inputs; i < total && status == HEDDLE_OK; i++)
        status = bind_map(plan, (int)(i - inputs), &arrays[i], error);
    return status;
}
