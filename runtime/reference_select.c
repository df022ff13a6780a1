#include "runtime/reference_select.h"

#include "dsl/eval_rows.h"
#include "runtime/pair_env.h"
#include "runtime/reference.h"
#include "runtime/reference_rank.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct select_reference {
    const struct plan *plan;
    const struct heddle_tensors *tensors;
    struct pair_env env;
    struct eval_rows rows;
    struct eval_stage *stages; // by input; data is owned
    struct verify_select_result *result;
};

// Where one array's elements lie.
struct shape {
    const struct pattern_input *input;
    const struct pattern_derived *derived;
    const struct abi_array *array;
    int64_t count, last; // elements, those of the last index
    int64_t width;       // of a list; dims of a row; 1
};

static void read_row(void *context, int side, int64_t batch, int64_t head, int64_t token,
                     double *out) {
    const struct select_reference *ref = context;
    const struct plan *plan = ref->plan;
    bool query = side == SIDE_QUERY;
    const struct heddle_tensor *tensor = query ? &ref->tensors->q : &ref->tensors->k;
    int64_t heads = query ? plan->heads : plan->kv_heads;
    int64_t rows = query ? plan->queries : plan->keys;
    int64_t row = query ? token - (plan->keys - plan->queries) : token;
    const int64_t *s = tensor->strides;
    bool packed = !s[0] && !s[1] && !s[2] && !s[3];
    bool exists = head >= 0 && head < heads && row >= 0 && row < rows;
    int64_t at = packed ? ((batch * heads + head) * rows + row) * plan->dim
                        : batch * s[0] + head * s[1] + row * s[2];
    for (int64_t d = 0; d < plan->dim; d++)
        out[d] = exists ? dtype_load(plan->dtype, tensor->data, at + d * (packed ? 1 : s[3])) : 0.0;
}

static void shape_of(const struct select_reference *ref, int number, struct shape *out) {
    *out = (struct shape){.input = &ref->plan->program->pattern->inputs[number],
                          .array = &ref->plan->launch.env.arrays[number],
                          .count = 1,
                          .width = 1};
    out->derived = out->input->derived;
    for (int i = 0; i < out->derived->index_count; i++)
        out->count *= out->array->extent[i];
    out->last = out->array->extent[out->derived->index_count - 1];
    if (out->derived->index_count < out->array->index_count)
        out->width = out->array->extent[out->derived->index_count];
}

// Puts the environment where element `number` is.
static void place(struct select_reference *ref, const struct shape *shape, int64_t number) {
    struct eval_env *env = &ref->env.eval;
    env->batch = env->head = 0;
    for (int i = shape->derived->index_count - 1; i >= 0; i--) {
        int64_t value = number % shape->array->extent[i];
        enum index_kind kind = shape->input->indices[i].kind;
        number /= shape->array->extent[i];
        if (shape->derived->index_var[i] >= 0)
            env->vars[shape->derived->index_var[i]] = value;
        else if (kind == INDEX_BATCH)
            env->batch = value;
        else
            env->head = kind == INDEX_HEAD ? value : value * (env->heads / env->kv_heads);
    }
}

static double number_of(struct select_reference *ref, const struct expr *node, double otherwise) {
    struct eval_failure failure = {0};
    if (!node)
        return otherwise;
    union value value = expr_eval(node, &ref->env.eval, &failure);
    return node->type == TYPE_INT ? (double)value.i : value.r;
}

static bool holds(struct select_reference *ref, const struct expr *node, bool otherwise) {
    struct eval_failure failure = {0};
    return node ? expr_eval(node, &ref->env.eval, &failure).b : otherwise;
}

// ---- stages -----------------------------------------------------------------------------------

static void element(struct select_reference *ref, const struct shape *shape, double *out) {
    struct eval_failure failure = {0};
    if (shape->derived->rows)
        expr_eval_row(shape->derived->value, &ref->env.eval, &failure, out);
    else
        *out = expr_eval(shape->derived->value, &ref->env.eval, &failure).r;
}

static void softmax(double *x, int64_t count) {
    double most = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        most = x[i] > most || isnan(x[i]) ? x[i] : most;
    for (int64_t i = 0; i < count; i++)
        sum += x[i] = most == -INFINITY ? 0.0 : exp(x[i] - most);
    for (int64_t i = 0; i < count; i++)
        x[i] = most == -INFINITY ? 0.0 : x[i] / sum;
}

// Numbers of the run's stage against the reference's, relative to the largest of the same `length`.
static void compare_stage(struct select_reference *ref, const struct shape *shape,
                          const double *data, int64_t length) {
    const float *got = shape->array->data;
    for (int64_t begin = 0; begin < shape->count * shape->width; begin += length) {
        double most = 0.0, apart = 0.0;
        for (int64_t i = begin; i < begin + length; i++) {
            bool same = (double)got[i] == data[i] || (isnan(got[i]) && isnan(data[i]));
            most = isfinite(data[i]) ? fmax(most, fabs(data[i])) : most;
            apart = same ? apart : fmax(apart, fabs((double)got[i] - data[i]));
            if (!same && isnan((double)got[i] - data[i]))
                apart = INFINITY;
        }
        double error = apart == 0.0 ? 0.0 : most > 0.0 ? apart / most : INFINITY;
        if (error > 1e-3 && ref->result->passed) {
            ref->result->passed = false;
            snprintf(ref->result->message, sizeof ref->result->message,
                     "stage '%s': elements %" PRId64 " .. %" PRId64
                     " are off by %.3g of their largest",
                     shape->input->name, begin, begin + length, error);
        }
        ref->result->stage_error = fmax(ref->result->stage_error, error);
    }
}

static bool run_stage(struct select_reference *ref, int number) {
    struct shape shape;
    shape_of(ref, number, &shape);
    double *data = calloc((size_t)(shape.count * shape.width) + 1, sizeof *data);
    if (!data)
        return false;
    for (int64_t i = 0; i < shape.count; i++) {
        place(ref, &shape, i);
        if (holds(ref, shape.derived->where, true))
            element(ref, &shape, &data[i * shape.width]);
        else if (shape.derived->softmax)
            data[i] = -INFINITY;
    }
    for (int64_t i = 0; shape.derived->softmax && i < shape.count; i += shape.last)
        softmax(&data[i], shape.last);
    ref->stages[number].data = data;
    memcpy(ref->stages[number].extent, shape.array->extent, sizeof ref->stages[number].extent);
    if (shape.count > 0)
        compare_stage(ref, &shape, data, shape.derived->rows ? shape.width : shape.last);
    return true;
}

// ---- selections -------------------------------------------------------------------------------

static void read_amounts(struct select_reference *ref, const struct pattern_derived *derived,
                         struct rank_rule *rule) {
    rule->mode = derived->mode;
    rule->inclusive = derived->inclusive;
    rule->amount = number_of(ref, derived->amount, 0);
    rule->least = number_of(ref, derived->least, -1);
    rule->most = number_of(ref, derived->most, -1);
    rule->band_count = derived->band_count;
    for (int i = 0; i < derived->band_count; i++) {
        rule->level[i] = derived->band_level[i];
        rule->share[i] = number_of(ref, derived->band_share[i], 0);
        rule->step[i] = number_of(ref, derived->band_step[i], 1);
    }
}

// One list: its candidates, appended to those of the ranking.
static void read_list(struct select_reference *ref, const struct shape *shape, int64_t list,
                      struct rank_item *items) {
    const struct pattern_derived *derived = shape->derived;
    struct eval_env *env = &ref->env.eval;
    place(ref, shape, list);
    int64_t begin = (int64_t)number_of(ref, derived->begin, 0);
    int64_t end = (int64_t)number_of(ref, derived->end, (double)shape->width);
    for (int64_t x = 0; x < shape->width; x++) {
        int64_t at = list * shape->width + x;
        env->vars[derived->variable] = x;
        items[x] = (struct rank_item){.score = NAN};
        if (x >= begin && x < end && holds(ref, derived->where, true))
            items[x].score = number_of(ref, derived->value, NAN);
        items[x].forced = holds(ref, derived->forced, false);
        items[x].chosen = shape->input->type == TYPE_BOOL
                              ? ((const uint8_t *)shape->array->data)[at]
                              : ((const int32_t *)shape->array->data)[at];
    }
}

// Is `list` the first of its ranking? The indices that are ranked together are 0 there.
static bool leads(const struct shape *shape, int64_t list) {
    bool first = true;
    for (int i = shape->derived->index_count - 1; i >= 0; i--) {
        if (shape->derived->together >> i & 1 && list % shape->array->extent[i])
            first = false;
        list /= shape->array->extent[i];
    }
    return first;
}

// Lists of the ranking that `leader` leads, in order.
static bool follows(const struct shape *shape, int64_t leader, int64_t list) {
    bool same = true;
    for (int i = shape->derived->index_count - 1; i >= 0; i--) {
        int64_t extent = shape->array->extent[i];
        if (!(shape->derived->together >> i & 1) && list % extent != leader % extent)
            same = false;
        list /= extent;
        leader /= extent;
    }
    return same;
}

static void judge(struct select_reference *ref, const struct shape *shape, int64_t leader,
                  struct rank_item *items, int64_t count) {
    struct rank_rule rule = {.count = count, .items = items};
    char why[256];
    place(ref, shape, leader);
    read_amounts(ref, shape->derived, &rule);
    ref->result->rankings++;
    if (rank_agrees(&rule, &ref->result->differences, why, sizeof why) || !ref->result->passed)
        return;
    ref->result->passed = false;
    snprintf(ref->result->message, sizeof ref->result->message,
             "selection '%s', ranking from list %" PRId64 ": %s", shape->input->name, leader, why);
}

static bool run_select(struct select_reference *ref, int number) {
    struct shape shape;
    shape_of(ref, number, &shape);
    int64_t members = 1;
    for (int i = 0; i < shape.derived->index_count; i++)
        if (shape.derived->together >> i & 1)
            members *= shape.array->extent[i];
    struct rank_item *items = calloc((size_t)(members * shape.width) + 1, sizeof *items);
    if (!items)
        return false;
    for (int64_t leader = 0; leader < shape.count; leader++) {
        int64_t found = 0;
        if (!leads(&shape, leader))
            continue;
        for (int64_t list = leader; list < shape.count && found < members; list++)
            if (follows(&shape, leader, list))
                read_list(ref, &shape, list, &items[found++ * shape.width]);
        judge(ref, &shape, leader, items, members * shape.width);
    }
    free(items);
    return true;
}

// ---- all of them ------------------------------------------------------------------------------

static bool run_all(struct select_reference *ref) {
    const struct pattern *pattern = ref->plan->program->pattern;
    bool fits = true;
    for (int i = 0; i < pattern->input_count && fits; i++)
        if (pattern->inputs[i].derived)
            fits = pattern->inputs[i].derived->is_select ? run_select(ref, i) : run_stage(ref, i);
    return fits;
}

enum heddle_status verify_select(const struct plan *plan, const struct heddle_tensors *tensors,
                                 struct verify_select_result *out, struct error *error) {
    int inputs = plan->program->pattern->input_count;
    struct select_reference ref = {.plan = plan, .tensors = tensors, .result = out};
    *out = (struct verify_select_result){.passed = true};
    ref.stages = calloc((size_t)inputs + 1, sizeof *ref.stages);
    bool fits = ref.stages && pair_env_init(&ref.env, plan);
    ref.rows = (struct eval_rows){.dim = plan->dim,
                                  .queries = plan->queries,
                                  .scale = plan->scale,
                                  .stages = ref.stages,
                                  .read = read_row,
                                  .context = &ref};
    ref.env.eval.rows = &ref.rows;
    fits = fits && run_all(&ref);
    for (int i = 0; ref.stages && i < inputs; i++)
        free((void *)(uintptr_t)ref.stages[i].data);
    free(ref.stages);
    pair_env_finish(&ref.env);
    return fits ? HEDDLE_OK
                : error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the reference's stages");
}
