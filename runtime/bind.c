// Part of stage `plan`: shapes, parameters and requirements. See bind.h.

#include "runtime/bind.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const int64_t MOST_TOKENS = INT64_C(1) << 30; // coordinates of runs are 32 bits, signed

// Of quantifiers in one parameter, requirement or map: a second or so.
static const int64_t MOST_TURNS = INT64_C(1) << 24;

const char *bind_place(struct plan *plan, struct span span) {
    const struct diags *diags = &plan->program->diags;
    if (span.line == 0 || span.source >= diags->source_count)
        return "";
    return arena_format(&plan->arena, "%s:%u:%u: ", diags->sources[span.source].path, span.line,
                        span.column);
}

void bind_excerpt(const struct plan *plan, struct span span, struct error *error) {
    struct strbuf lines = {0};
    diags_excerpt(&plan->program->diags, span, &lines);
    if (lines.length) {
        lines.text[lines.length - 1] = '\0';
        struct strbuf whole = {0};
        strbuf_printf(&whole, "%s\n%s", error_text(error), lines.text);
        error_set(error, error->status, "%s", whole.text);
        strbuf_finish(&whole);
    }
    strbuf_finish(&lines);
}

// ---- shapes -----------------------------------------------------------------------------------

static enum heddle_status bind_sizes(struct plan *plan, const struct heddle_problem *problem,
                                     struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    plan->keys = 1;
    for (int a = 0; a < ABI_AXES; a++)
        plan->size[a] = 1;
    for (int a = 0; a < pattern->axis_count; a++) {
        int64_t size = problem->sizes[a];
        if (size < 1)
            return error_set(error, HEDDLE_BAD_ARGUMENT,
                             "axis '%s' has size %" PRId64 ": sizes start at 1", pattern->axes[a],
                             size);
        if (size > MOST_TOKENS / plan->keys)
            return error_set(error, HEDDLE_LIMIT,
                             "axis '%s' has size %" PRId64 ": a grid may have %" PRId64
                             " positions at most",
                             pattern->axes[a], size, MOST_TOKENS);
        plan->size[a] = size;
        plan->keys *= size;
    }
    return HEDDLE_OK;
}

static enum heddle_status bind_queries(struct plan *plan, const struct heddle_problem *problem,
                                       struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    int64_t slice = plan->keys / plan->size[0];
    plan->queries = problem->queries ? problem->queries : plan->keys;
    plan->query_offset = plan->keys - plan->queries;
    if (plan->queries < 1 || plan->queries > MOST_TOKENS)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "%" PRId64 " queries: their number is 1 .. %" PRId64, plan->queries,
                         MOST_TOKENS);
    if (pattern->axis_count == 1)
        return HEDDLE_OK;
    if (plan->queries > plan->keys)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "%" PRId64 " queries for %" PRId64
                         " keys: more queries than keys work on one-axis patterns only",
                         plan->queries, plan->keys);
    if (plan->queries % slice != 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "%" PRId64
                         " queries: on several axes they are the whole grid or whole "
                         "trailing slices of axis '%s', a multiple of %" PRId64,
                         plan->queries, pattern->axes[0], slice);
    return HEDDLE_OK;
}

enum heddle_status bind_shapes(struct plan *plan, const struct heddle_problem *problem,
                               struct error *error) {
    enum heddle_status status = bind_sizes(plan, problem, error);
    if (status == HEDDLE_OK)
        status = bind_queries(plan, problem, error);
    if (status != HEDDLE_OK)
        return status;
    if (problem->batch < 1 || problem->heads < 1 || problem->kv_heads < 1)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "batch, heads and kv_heads start at 1");
    if (problem->batch > 1 << 20 || problem->heads > 1 << 20)
        return error_set(error, HEDDLE_LIMIT, "batch and heads may be %d at most", 1 << 20);
    if (problem->heads % problem->kv_heads != 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "%" PRId64 " heads over %" PRId64
                         " kv_heads: every key/value head serves equally many heads",
                         problem->heads, problem->kv_heads);
    if (problem->dim < 8 || problem->dim > 256)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "dim %" PRId64 ": head dims are 8 .. 256",
                         problem->dim);
    if (problem->dtype != HEDDLE_F32 && problem->dtype != HEDDLE_F16 &&
        problem->dtype != HEDDLE_BF16)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "unknown dtype %d", (int)problem->dtype);
    plan->batch = problem->batch;
    plan->heads = problem->heads;
    plan->kv_heads = problem->kv_heads;
    plan->dim = problem->dim;
    plan->dtype = problem->dtype;
    plan->scale = problem->scale != 0.0 ? problem->scale : 1.0 / sqrt((double)problem->dim);
    if (!(fabs(plan->scale) <= FLT_MAX))
        return error_set(error, HEDDLE_BAD_ARGUMENT, "the scale is not a number that float holds");
    struct abi_env *env = &plan->launch.env;
    memcpy(env->size, plan->size, sizeof env->size);
    env->heads = plan->heads;
    env->kv_heads = plan->kv_heads;
    env->batches = plan->batch;
    return HEDDLE_OK;
}

void bind_eval_env(const struct plan *plan, struct eval_env *env) {
    memset(env, 0, sizeof *env);
    memcpy(env->size, plan->size, sizeof env->size);
    env->axis_count = plan->program->pattern->axis_count;
    env->turns_left = MOST_TURNS;
    env->heads = plan->heads;
    env->kv_heads = plan->kv_heads;
    env->batches = plan->batch;
    env->params = (const void *)plan->launch.env.params;
    env->tables = (const void *)plan->launch.env.tables;
}

// ---- parameters -------------------------------------------------------------------------------

static const struct heddle_param *given_param(const struct heddle_problem *problem,
                                              const char *name) {
    for (int i = problem->param_count - 1; i >= 0; i--) // the last one counts
        if (strcmp(problem->params[i].name, name) == 0)
            return &problem->params[i];
    return NULL;
}

static enum heddle_status known_params(const struct plan *plan,
                                       const struct heddle_problem *problem, struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    for (int i = 0; i < problem->param_count; i++) {
        bool known = false;
        for (int p = 0; p < pattern->param_count; p++)
            known |= strcmp(pattern->params[p].name, problem->params[i].name) == 0;
        if (!known)
            return error_set(error, HEDDLE_BAD_ARGUMENT, "pattern '%s' has no parameter '%s'",
                             pattern->name, problem->params[i].name);
    }
    return HEDDLE_OK;
}

static enum heddle_status given_values(const struct plan *plan, const struct pattern_param *param,
                                       const struct heddle_param *given, union value *values,
                                       struct error *error) {
    int64_t count = param->per_head ? plan->heads : 1;
    if (!given->ints == !given->reals)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "parameter '%s' needs either integers or reals", param->name);
    if (given->count != count && given->count != 1)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "parameter '%s' has %d values; it takes %s%" PRId64 "%s", param->name,
                         given->count, param->per_head ? "one per head, " : "", count,
                         param->per_head ? ", or one for all" : "");
    if (given->reals && param->type == TYPE_INT)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "parameter '%s' is an integer and was given a real", param->name);
    for (int64_t i = 0; i < count; i++) {
        int64_t from = given->count == 1 ? 0 : i;
        if (param->type == TYPE_INT)
            values[i].i = given->ints[from];
        else
            values[i].r = given->reals ? given->reals[from] : (double)given->ints[from];
        if (param->type == TYPE_REAL && !isfinite(values[i].r))
            return error_set(error, HEDDLE_BAD_ARGUMENT, "parameter '%s' is not a number",
                             param->name);
    }
    return HEDDLE_OK;
}

static const char *fault_text(enum eval_fault fault) {
    return fault == EVAL_WORK           ? "it takes too many turns of quantifiers"
           : fault == EVAL_ZERO_DIVISOR ? "division by zero"
           : fault == EVAL_SHIFT        ? "a shift count outside of 0 .. 63"
                                        : "integer overflow";
}

static enum heddle_status default_values(struct plan *plan, const struct pattern_param *param,
                                         union value *values, struct error *error) {
    struct eval_env env;
    bind_eval_env(plan, &env);
    for (env.head = 0; env.head < (param->per_head ? plan->heads : 1); env.head++) {
        struct eval_failure failure = {0};
        values[env.head] = expr_eval(param->fallback, &env, &failure);
        if (failure.fault != EVAL_OK)
            return error_set(error, HEDDLE_PATTERN_ERROR,
                             "%serror: the default of '%s' has no value for this problem: %s",
                             bind_place(plan, failure.at->span), param->name,
                             fault_text(failure.fault));
    }
    return HEDDLE_OK;
}

enum heddle_status bind_params(struct plan *plan, const struct heddle_problem *problem,
                               struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    struct arena *arena = &plan->arena;
    union value *scalars = ARENA_ARRAY(arena, union value, (size_t)pattern->scalar_count + 1);
    union value **tables = ARENA_ARRAY(arena, union value *, (size_t)pattern->table_count + 1);
    plan->launch.env.params = (const void *)scalars;
    plan->launch.env.tables = (const void *)tables;
    enum heddle_status status = known_params(plan, problem, error);
    for (int p = 0; p < pattern->param_count && status == HEDDLE_OK; p++) {
        const struct pattern_param *param = &pattern->params[p];
        union value *values = &scalars[param->index];
        if (param->per_head)
            values = tables[param->index] = ARENA_ARRAY(arena, union value, (size_t)plan->heads);
        const struct heddle_param *given = given_param(problem, param->name);
        if (!given && param->required)
            return error_set(error, HEDDLE_BAD_ARGUMENT,
                             "parameter '%s' has no default and was not given", param->name);
        status = given ? given_values(plan, param, given, values, error)
                       : default_values(plan, param, values, error);
    }
    return status;
}

// ---- requirements -----------------------------------------------------------------------------

struct mentions { // what a failed condition reads, once each
    struct plan *plan;
    const struct heddle_problem *problem;
    const struct eval_env *env;
    struct strbuf text;
    uint8_t *seen;
};

static void mention_leaf(struct mentions *m, const struct expr *node, const char *name,
                         const char *origin) {
    struct eval_env env = *m->env;
    struct eval_failure failure = {0};
    union value value = expr_eval(node, &env, &failure);
    strbuf_puts(&m->text, m->text.length ? ", " : "");
    if (node->type == TYPE_REAL)
        strbuf_printf(&m->text, "%s = %g%s", name, value.r, origin);
    else
        strbuf_printf(&m->text, "%s = %" PRId64 "%s", name, value.i, origin);
}

static void mention(struct mentions *m, const struct expr *node) {
    const struct pattern *pattern = m->plan->program->pattern;
    if (m->seen[node->id])
        return;
    m->seen[node->id] = 1;
    if (node->op == OP_PARAM || node->op == OP_TABLE) {
        for (int p = 0; p < pattern->param_count; p++) {
            const struct pattern_param *param = &pattern->params[p];
            if (param->index == node->payload.ref.index &&
                param->per_head == (node->op == OP_TABLE))
                mention_leaf(m, node,
                             param->per_head ? arena_format(&m->plan->arena, "%s[%" PRId64 "]",
                                                            param->name, m->env->head)
                                             : param->name,
                             given_param(m->problem, param->name) ? " (given)" : " (default)");
        }
        return;
    }
    if (node->op == OP_SIZE)
        mention_leaf(
            m, node,
            arena_format(&m->plan->arena, "size(%s)", pattern->axes[node->payload.ref.index]),
            " (given)");
    if (node->op == OP_HEADS)
        mention_leaf(m, node, "heads", "");
    for (int i = 0; i < node->arity; i++)
        mention(m, node->args[i]);
}

static enum heddle_status require_failed(struct plan *plan, const struct heddle_problem *problem,
                                         const struct pattern_require *require,
                                         const struct eval_env *env, struct error *error) {
    struct mentions m = {.plan = plan, .problem = problem, .env = env};
    m.seen = ARENA_ARRAY(&plan->arena, uint8_t, plan->program->pattern->graph->count);
    mention(&m, require->condition);
    struct strbuf condition = {0};
    struct expr_names names = pattern_names(plan->program->pattern, &plan->arena);
    expr_print(require->condition, &names, &condition);
    error_set(error, HEDDLE_PATTERN_ERROR, "%serror: %s (%s); required: %s",
              bind_place(plan, require->span),
              require->message ? require->message : "a requirement does not hold",
              m.text.text ? m.text.text : "no parameters", condition.text);
    bind_excerpt(plan, require->span, error);
    strbuf_finish(&condition);
    strbuf_finish(&m.text);
    return HEDDLE_PATTERN_ERROR;
}

static enum heddle_status check_require(struct plan *plan, const struct heddle_problem *problem,
                                        const struct pattern_require *require,
                                        struct error *error) {
    struct eval_env env;
    bind_eval_env(plan, &env);
    int64_t heads = require->condition->deps & DEP_HEAD ? plan->heads : 1;
    for (env.head = 0; env.head < heads; env.head++) {
        struct eval_failure failure = {0};
        bool holds = expr_eval(require->condition, &env, &failure).b;
        if (failure.fault != EVAL_OK)
            return error_set(error, HEDDLE_PATTERN_ERROR,
                             "%serror: a requirement has no value for this problem: %s",
                             bind_place(plan, failure.at->span), fault_text(failure.fault));
        if (!holds)
            return require_failed(plan, problem, require, &env, error);
    }
    return HEDDLE_OK;
}

enum heddle_status bind_requires(struct plan *plan, const struct heddle_problem *problem,
                                 struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < pattern->require_count && status == HEDDLE_OK; i++)
        status = check_require(plan, problem, &pattern->requires[i], error);
    return status;
}
