#include "runtime/bind_derived.h"

#include "compiler/planner/array_range.h"
#include "runtime/bind.h"
#include "runtime/ranges.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

// 8 GiB of floats: more is a product of all queries and all keys.
static const int64_t MOST_ELEMENTS = INT64_C(1) << 31;

static enum abi_element element_of(const struct pattern_input *input) {
    return input->type == TYPE_BOOL ? ABI_BYTE : input->type == TYPE_INT ? ABI_INT32 : ABI_FLOAT32;
}

static bool reads_input(const struct expr *node, int input, uint8_t *seen) {
    if (!node || seen[node->id])
        return false;
    seen[node->id] = 1;
    if ((node->op == OP_INPUT || node->op == OP_MEMBER) && node->payload.ref.index == input)
        return true;
    for (int i = 0; i < node->arity; i++)
        if (reads_input(node->args[i], input, seen))
            return true;
    return false;
}

// Do the lists read it, whatever the source? Others are read by stages, selections and pairs only.
static bool is_planned_by(const struct pattern *pattern, int input) {
    uint8_t *seen = calloc(pattern->graph->count + 1, 1);
    bool reads = !seen;
    for (int s = 0; s < pattern_source_count(pattern) && !reads; s++)
        reads = reads_input(pattern_source(pattern, s).view->keep, input, seen);
    free(seen);
    return reads;
}

void derived_levels(const struct plan *plan, int input) {
    const struct abi_array *array = &plan->launch.env.arrays[input];
    enum abi_element element = element_of(&plan->program->pattern->inputs[input]);
    for (int level = 1; level < ABI_PYRAMID_LEVELS && array->levels[level]; level++) {
        struct abi_pair *pairs = (struct abi_pair *)(uintptr_t)array->levels[level];
        for (int64_t g = 0; g < array_groups(array, level); g++)
            array_build_group(array, element, level, g, pairs);
    }
}

static void room_for_levels(struct plan *plan, struct abi_array *array) {
    for (int level = 1; array_has_level(array, level); level++)
        array->levels[level] =
            ARENA_ARRAY(&plan->arena, struct abi_pair, (size_t)array_groups(array, level));
}

// How wide a selection's lists are.
static enum heddle_status set_width(struct plan *plan, int input, struct abi_array *array,
                                    struct error *error) {
    const struct pattern_derived *derived = plan->program->pattern->inputs[input].derived;
    int64_t *width = &array->extent[array->index_count - 1], below = 0;
    struct eval_env env;
    struct eval_failure failure = {0};
    enum heddle_status status = HEDDLE_OK;
    bind_eval_env(plan, &env);
    if (derived->reach || !derived->width_count)
        status = ranges_reach(plan, input, &below, error);
    for (int i = 0; i < derived->width_count; i++) {
        const struct abi_array *of = &plan->launch.env.arrays[derived->widths[i].input];
        int64_t factor = 1, reach;
        if (derived->widths[i].factor)
            factor = expr_eval(derived->widths[i].factor, &env, &failure).i;
        if (factor < 1 || __builtin_mul_overflow(of->extent[of->index_count - 1], factor, &reach))
            reach = plan->keys;
        below = reach > below ? reach : below;
    }
    *width = below < 1 ? 1 : below > plan->keys ? plan->keys : below;
    return status;
}

// About one element in eight, at scattered places.
static void sample_elements(uint8_t *data, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint64_t z = ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
        data[i] = (z ^ z >> 29) % 8 == 0;
    }
}

static void set_range(const struct pattern_input *input, struct abi_pair *out) {
    const struct pattern_derived *derived = input->derived;
    *out = (struct abi_pair){-INFINITY, INFINITY};
    if (input->type == TYPE_BOOL)
        *out = (struct abi_pair){0, 1};
    if (input->type != TYPE_INT)
        return;
    *out = (struct abi_pair){INFINITY, -INFINITY};
    for (int i = 0; i < derived->band_count; i++) {
        out->least = fmin(out->least, (double)derived->band_level[i]);
        out->greatest = fmax(out->greatest, (double)derived->band_level[i]);
    }
}

enum heddle_status bind_derived(struct plan *plan, int input, struct abi_pair *out_range,
                                struct error *error) {
    const struct pattern_input *declared = &plan->program->pattern->inputs[input];
    struct abi_array *array = (struct abi_array *)(uintptr_t)&plan->launch.env.arrays[input];
    int64_t count;
    enum heddle_status status =
        bind_extents(plan, declared->indices, declared->index_count, array, &count, error);
    if (status == HEDDLE_OK && declared->derived->is_select)
        status = set_width(plan, input, array, error);
    if (status != HEDDLE_OK)
        return status;
    count = 1;
    for (int i = 0; i < array->index_count; i++)
        if (__builtin_mul_overflow(count, array->extent[i], &count))
            count = INT64_MAX;
    if (count > MOST_ELEMENTS)
        return error_set(error, HEDDLE_LIMIT,
                         "%serror: '%s' has over %" PRId64
                         " elements for this problem; reduce it where it is computed",
                         bind_place(plan, declared->span), declared->name, MOST_ELEMENTS);
    size_t bytes = (size_t)count * (declared->type == TYPE_BOOL ? 1 : sizeof(int32_t));
    void *data = arena_alloc(&plan->arena, bytes + 64);
    array->data = data;
    if (declared->type == TYPE_BOOL)
        sample_elements(data, count);
    if (out_range)
        set_range(declared, out_range);
    if (!is_planned_by(plan->program->pattern, input))
        return HEDDLE_OK;
    room_for_levels(plan, array);
    derived_levels(plan, input);
    return HEDDLE_OK;
}
