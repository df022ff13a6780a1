#include "runtime/sources.h"

#include "compiler/planner/array_range.h"
#include "runtime/bind.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

// Keys of the last group.
static int64_t last_keys(const struct plan *plan, int64_t factor) {
    return (plan->keys - 1) % factor + 1;
}

// What a whole group of a source weighs for a head. The weight was checked by sources_bind.
static double whole_weight(const struct plan *plan, int source, int64_t head,
                           struct eval_failure *failure) {
    const struct pattern_source from = pattern_source(plan->program->pattern, source);
    if (!from.weight)
        return (double)from.factor;
    struct eval_env env;
    bind_eval_env(plan, &env);
    env.head = head;
    return expr_eval(from.weight, &env, failure).r;
}

double source_bias(const struct plan *plan, int source, int64_t head, int64_t group) {
    int64_t factor = pattern_source(plan->program->pattern, source).factor;
    struct eval_failure failure = {0};
    double weight = whole_weight(plan, source, head, &failure);
    bool last = group == plan_source_keys(plan, source) - 1;
    double keys = (double)(last ? last_keys(plan, factor) : factor);
    return log(weight * keys / (double)factor);
}

static enum heddle_status bind_bias(struct plan *plan, int source, float *out,
                                    struct error *error) {
    const struct pattern_source from = pattern_source(plan->program->pattern, source);
    for (int64_t head = 0; head < plan->heads; head++) {
        struct eval_failure failure = {0};
        double weight = whole_weight(plan, source, head, &failure);
        out[head] = (float)log2(weight);
        if (failure.fault == EVAL_OK && weight > 0.0 && isfinite(out[head]))
            continue;
        error_set(error, HEDDLE_PATTERN_ERROR,
                  "%serror: the weight of a source is %g for head %" PRId64
                  "; it must be above 0 and finite",
                  bind_place(plan, from.weight ? from.weight->span : from.span), weight, head);
        if (from.weight)
            bind_excerpt(plan, from.weight->span, error);
        return HEDDLE_PATTERN_ERROR;
    }
    return HEDDLE_OK;
}

// ---- levels that are inputs ---------------------------------------------------------------------

static bool is_level(const struct pattern_pool *pool, int64_t value) {
    bool found = value == 0;
    for (int f = 0; f < pool->factor_count; f++)
        found |= pool->factors[f] == value;
    return found;
}

static enum heddle_status check_levels(struct plan *plan, const struct pattern_level *level,
                                       struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    const struct abi_array *array = &plan->launch.env.arrays[level->input];
    const struct pattern_pool *pool = &pattern->pools[level->pool];
    for (int64_t i = 0; i < array_groups(array, 0); i++) {
        int64_t value = ((const int32_t *)array->data)[i];
        if (is_level(pool, value))
            continue;
        struct strbuf factors = {0};
        for (int f = 0; f < pool->factor_count; f++)
            strbuf_printf(&factors, ", %" PRId64, pool->factors[f]);
        error_set(error, HEDDLE_BAD_ARGUMENT,
                  "input '%s' holds %" PRId64 " as element %" PRId64 ": 'at' takes 0%s",
                  pattern->inputs[level->input].name, value, i, factors.text ? factors.text : "");
        strbuf_finish(&factors);
        return HEDDLE_BAD_ARGUMENT;
    }
    return HEDDLE_OK;
}

enum heddle_status sources_bind(struct plan *plan, struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    enum heddle_status status = HEDDLE_OK;
    if (!pattern_is_pooled(pattern))
        return HEDDLE_OK;
    struct abi_source *sources =
        ARENA_ARRAY(&plan->arena, struct abi_source, (size_t)pattern->source_count);
    for (int s = 0; s < pattern->source_count && status == HEDDLE_OK; s++) {
        float *bias = ARENA_ARRAY(&plan->arena, float, (size_t)plan->heads);
        int64_t factor = pattern->sources[s].factor;
        sources[s] =
            (struct abi_source){.factor = factor, .keys = plan_source_keys(plan, s), .bias = bias};
        sources[s].ragged = (float)log2((double)last_keys(plan, factor) / (double)factor);
        status = bind_bias(plan, s, bias, error);
    }
    for (int i = 0; i < pattern->level_count && status == HEDDLE_OK; i++)
        status = check_levels(plan, &pattern->levels[i], error);
    plan->launch.sources = sources;
    return status;
}
