// The idea: for one row, ask the predicate about every key, collect the logits of those kept, then
// a softmax in two passes (maximum, then sums), all in double. Nothing is shared with tiles, lists
// or generated code, so agreement means something.
//
// Of a pattern that pools, the row asks about every group of every source. A group's key and value
// are the means of the keys there are, in double, rounded to the dtype like the copies that kernels
// read; its logit gets the logarithm of what it weighs.
#include "runtime/reference.h"

#include "runtime/pair_env.h"
#include "runtime/sources.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct kept { // a key: a group of a source
    int source;
    int64_t group;
};

// A row in progress, and what stays the same from row to row.
struct reference {
    const struct plan *plan;
    const struct heddle_tensors *tensors;
    struct pair_env env;
    double *logits;    // of the kept keys
    struct kept *kept; // which they are
    double *query;     // [dim], as double
    double *row;       // [dim]: of K or V
    double *out;       // [dim]
    double *total;     // [dim]: of branches
    int64_t query_token;
};

// Where a row starts, and the step between its elements.
struct row_view {
    int64_t offset, step;
};

static struct row_view tensor_row(const struct heddle_tensor *tensor, int64_t heads, int64_t tokens,
                                  int64_t dim, int64_t batch, int64_t head, int64_t token) {
    const int64_t *s = tensor->strides;
    if (!s[0] && !s[1] && !s[2] && !s[3])
        return (struct row_view){((batch * heads + head) * tokens + token) * dim, 1};
    return (struct row_view){batch * s[0] + head * s[1] + token * s[2], s[3]};
}

static enum heddle_status reference_init(struct reference *ref, const struct plan *plan,
                                         const struct heddle_tensors *tensors,
                                         struct error *error) {
    *ref = (struct reference){.plan = plan, .tensors = tensors};
    size_t keys = 0, dim = (size_t)plan->dim;
    for (int s = 0; s < pattern_source_count(plan->program->pattern); s++)
        keys += (size_t)plan_source_keys(plan, s);
    ref->logits = calloc(keys + 1, sizeof *ref->logits);
    ref->kept = calloc(keys + 1, sizeof *ref->kept);
    ref->query = calloc(dim, sizeof *ref->query);
    ref->row = calloc(dim, sizeof *ref->row);
    ref->out = calloc(dim, sizeof *ref->out);
    ref->total = calloc(dim, sizeof *ref->total);
    if (!ref->logits || !ref->kept || !ref->query || !ref->row || !ref->out || !ref->total ||
        !pair_env_init(&ref->env, plan))
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the reference");
    return HEDDLE_OK;
}

static void reference_finish(struct reference *ref) {
    pair_env_finish(&ref->env);
    free(ref->logits);
    free(ref->kept);
    free(ref->query);
    free(ref->row);
    free(ref->out);
    free(ref->total);
}

static struct row_view kv_row(const struct reference *ref, const struct heddle_tensor *tensor,
                              int64_t batch, int64_t head, int64_t token) {
    const struct plan *plan = ref->plan;
    int64_t kv_head = head / (plan->heads / plan->kv_heads);
    return tensor_row(tensor, plan->kv_heads, plan->keys, plan->dim, batch, kv_head, token);
}

static double rounded(enum heddle_dtype dtype, double value) {
    uint32_t memory;
    dtype_store(dtype, &memory, 0, value);
    return dtype_load(dtype, &memory, 0);
}

// The row of a group, into ref->row: the key itself, or the mean of the keys there are.
static void read_row(struct reference *ref, const struct heddle_tensor *tensor, int64_t batch,
                     int64_t head, struct kept at) {
    const struct plan *plan = ref->plan;
    int64_t factor = pattern_source(plan->program->pattern, at.source).factor;
    int64_t begin = at.group * factor,
            end = begin + factor < plan->keys ? begin + factor : plan->keys;
    memset(ref->row, 0, (size_t)plan->dim * sizeof *ref->row);
    for (int64_t token = begin; token < end; token++) {
        struct row_view row = kv_row(ref, tensor, batch, head, token);
        for (int64_t d = 0; d < plan->dim; d++)
            ref->row[d] += dtype_load(plan->dtype, tensor->data, row.offset + d * row.step);
    }
    for (int64_t d = 0; d < plan->dim && factor > 1; d++)
        ref->row[d] = rounded(plan->dtype, ref->row[d] / (double)(end - begin));
}

static enum heddle_status no_value(const struct reference *ref, const struct eval_failure *failure,
                                   int64_t query_token, int64_t key_token, struct error *error) {
    static const char *const faults[] = {"no fault", "an integer overflow", "a division by zero",
                                         "a shift count out of range"};
    return error_set(error, HEDDLE_INTERNAL,
                     "%s:%u:%u: %s for query token %lld and key token %lld, which the plan should "
                     "have refused",
                     ref->plan->program->pattern->path, failure->at ? failure->at->span.line : 0,
                     failure->at ? failure->at->span.column : 0, faults[failure->fault],
                     (long long)query_token, (long long)key_token);
}

// The logit of the pair where the environment stands: scaled product, through `score`, and the
// logarithm of what the key weighs.
static double logit(struct reference *ref, int64_t batch, int64_t head, struct kept key,
                    struct eval_failure *failure) {
    const struct plan *plan = ref->plan;
    const struct pattern *pattern = plan->program->pattern;
    double dot = 0;
    read_row(ref, &ref->tensors->k, batch, head, key);
    for (int64_t d = 0; d < plan->dim; d++)
        dot += ref->query[d] * ref->row[d];
    double scaled = dot * plan->scale;
    double bias = pattern_is_pooled(pattern) ? source_bias(plan, key.source, head, key.group) : 0;
    if (!pattern->score)
        return scaled + bias;
    ref->env.eval.score = scaled;
    return expr_eval(pattern->score, &ref->env.eval, failure).r + bias;
}

// Adds to ref->kept and ref->logits what one source keeps.
static enum heddle_status collect_source(struct reference *ref, int64_t batch, int64_t head,
                                         int source, int64_t *count, struct error *error) {
    const struct plan *plan = ref->plan;
    pair_env_source(&ref->env, source);
    for (int64_t key = 0; key < plan_source_keys(plan, source); key++) {
        struct eval_failure failure = {0};
        pair_env_key(&ref->env, key);
        if (pair_env_keeps(&ref->env, &failure)) {
            ref->kept[*count] = (struct kept){source, key};
            ref->logits[*count] = logit(ref, batch, head, ref->kept[*count], &failure);
            ++*count;
        }
        if (failure.fault != EVAL_OK)
            return no_value(ref, &failure, ref->query_token, key, error);
    }
    return HEDDLE_OK;
}

// Fills ref->kept and ref->logits by what a branch keeps (-1: all); *out_count keys are kept.
static enum heddle_status collect(struct reference *ref, int64_t batch, int64_t head, int64_t row,
                                  int branch, int64_t *out_count, struct error *error) {
    const struct pattern *pattern = ref->plan->program->pattern;
    enum heddle_status status = HEDDLE_OK;
    *out_count = 0;
    ref->query_token = row + ref->plan->query_offset;
    pair_env_place(&ref->env, batch, head, ref->query_token, 0);
    for (int s = 0; s < pattern_source_count(pattern) && status == HEDDLE_OK; s++)
        if (branch < 0 || pattern->sources[s].branch == branch)
            status = collect_source(ref, batch, head, s, out_count, error);
    return status;
}

// Softmax over the collected logits, times V. A logit of -inf weighs nothing.
static void combine(struct reference *ref, int64_t batch, int64_t head, int64_t count,
                    double *out_lse) {
    const struct plan *plan = ref->plan;
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, ref->logits[i]);
    memset(ref->out, 0, (size_t)plan->dim * sizeof *ref->out);
    *out_lse = -INFINITY;
    if (most == -INFINITY)
        return;
    for (int64_t i = 0; i < count; i++) {
        double weight = exp(ref->logits[i] - most);
        read_row(ref, &ref->tensors->v, batch, head, ref->kept[i]);
        sum += weight;
        for (int64_t d = 0; d < plan->dim; d++)
            ref->out[d] += weight * ref->row[d];
    }
    for (int64_t d = 0; d < plan->dim; d++)
        ref->out[d] /= sum;
    *out_lse = most + log(sum);
}

// The sum over branches of gate times result; the log-sum-exp of all that any of them keeps.
static enum heddle_status run_branches(struct reference *ref, int64_t batch, int64_t head,
                                       int64_t row, double *out_lse, struct error *error) {
    const struct plan *plan = ref->plan;
    const struct pattern *pattern = plan->program->pattern;
    enum heddle_status status = HEDDLE_OK;
    memset(ref->total, 0, (size_t)plan->dim * sizeof *ref->total);
    *out_lse = -INFINITY;
    for (int i = 0; i < pattern->branch_count && status == HEDDLE_OK; i++) {
        struct eval_failure failure = {0};
        int64_t count = 0;
        double lse;
        status = collect(ref, batch, head, row, i, &count, error);
        if (status != HEDDLE_OK)
            break;
        combine(ref, batch, head, count, &lse);
        double gate = expr_eval(pattern->branches[i].gate, &ref->env.eval, &failure).r;
        if (failure.fault != EVAL_OK)
            return no_value(ref, &failure, ref->query_token, 0, error);
        for (int64_t d = 0; d < plan->dim && gate != 0; d++)
            ref->total[d] += gate * ref->out[d];
        double most = fmax(*out_lse, lse);
        if (most > -INFINITY)
            *out_lse = most + log(exp(*out_lse - most) + exp(lse - most));
    }
    memcpy(ref->out, ref->total, (size_t)plan->dim * sizeof *ref->out);
    return status;
}

static enum heddle_status run_row(struct reference *ref, int64_t batch, int64_t head, int64_t row,
                                  double *out_lse, struct error *error) {
    const struct plan *plan = ref->plan;
    struct row_view q =
        tensor_row(&ref->tensors->q, plan->heads, plan->queries, plan->dim, batch, head, row);
    for (int64_t d = 0; d < plan->dim; d++)
        ref->query[d] = dtype_load(plan->dtype, ref->tensors->q.data, q.offset + d * q.step);
    if (pattern_is_gated(plan->program->pattern))
        return run_branches(ref, batch, head, row, out_lse, error);
    int64_t count = 0;
    enum heddle_status status = collect(ref, batch, head, row, -1, &count, error);
    if (status == HEDDLE_OK)
        combine(ref, batch, head, count, out_lse);
    return status;
}

enum heddle_status reference_row(const struct plan *plan, const struct heddle_tensors *tensors,
                                 int64_t batch, int64_t head, int64_t query_row, double *out,
                                 double *out_lse, struct error *error) {
    struct reference ref;
    enum heddle_status status = reference_init(&ref, plan, tensors, error);
    if (status == HEDDLE_OK)
        status = run_row(&ref, batch, head, query_row, out_lse, error);
    if (status == HEDDLE_OK)
        memcpy(out, ref.out, (size_t)plan->dim * sizeof *out);
    reference_finish(&ref);
    return status;
}

// ---- comparison ----------------------------------------------------------------------------

// Relative error of a row (Euclidean norm) that right code stays below, with room to spare: half a
// unit of the output's last place, and probabilities rounded to the same dtype.
static double tolerance(enum heddle_dtype dtype) {
    return dtype == HEDDLE_F32 ? 2e-5 : dtype == HEDDLE_F16 ? 2e-3 : 1.2e-2;
}

// The log-sum-exp is kept in float32 whatever the dtype; relative above 1.
static double lse_tolerance(enum heddle_dtype dtype) {
    return dtype == HEDDLE_F32 ? 2e-5 : 1e-3;
}

struct compared {
    int64_t index; // (batch * heads + head) * queries + row
    double difference, norm;
    bool empty;     // the reference kept nothing
    bool lse_right; // or not asked for
};

// Equal infinities and NaN on both sides agree.
static double apart(double a, double b) {
    if (a == b || (isnan(a) && isnan(b)))
        return 0;
    return isnan(a - b) ? INFINITY : fabs(a - b);
}

static enum heddle_status compare_row(struct reference *ref, int64_t index, struct compared *out,
                                      struct verify_result *result, struct error *error) {
    const struct plan *plan = ref->plan;
    int64_t row = index % plan->queries, head = index / plan->queries % plan->heads;
    int64_t batch = index / plan->queries / plan->heads;
    double lse = 0;
    enum heddle_status status = run_row(ref, batch, head, row, &lse, error);
    if (status != HEDDLE_OK)
        return status;
    struct row_view o =
        tensor_row(&ref->tensors->o, plan->heads, plan->queries, plan->dim, batch, head, row);
    double difference = 0, norm = 0;
    for (int64_t d = 0; d < plan->dim; d++) {
        double got = dtype_load(plan->dtype, ref->tensors->o.data, o.offset + d * o.step);
        difference += pow(apart(got, ref->out[d]), 2);
        norm += isfinite(ref->out[d]) ? ref->out[d] * ref->out[d] : 0;
    }
    *out = (struct compared){index, sqrt(difference), sqrt(norm), lse == -INFINITY, true};
    if (ref->tensors->lse) {
        double lse_error = apart(ref->tensors->lse[index], lse);
        result->lse_error = fmax(result->lse_error, lse_error);
        double size = isfinite(lse) ? fmax(1, fabs(lse)) : 1;
        out->lse_right = lse_error <= lse_tolerance(plan->dtype) * size;
    }
    return HEDDLE_OK;
}

static uint64_t mix(uint64_t x) { // splitmix64's output function
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

// The i-th of `count` distinct rows spread over `total`: one at a random place of each equal part.
static int64_t sample(int64_t i, int64_t count, int64_t total, uint64_t seed) {
    int64_t begin = (int64_t)((__extension__(__int128) total * i) / count);
    int64_t end = (int64_t)((__extension__(__int128) total * (i + 1)) / count);
    return begin + (int64_t)(mix(seed ^ mix((uint64_t)i)) % (uint64_t)(end - begin));
}

// Errors of all rows, relative to their own size or, for rows that nearly cancel, to the usual one.
static void judge(const struct plan *plan, const struct compared *rows,
                  struct verify_result *result) {
    double squares = 0;
    for (int64_t i = 0; i < result->rows; i++)
        squares += rows[i].norm * rows[i].norm;
    double usual = result->rows ? sqrt(squares / (double)result->rows) : 0;
    bool right = true;
    int64_t worst = result->rows ? rows[0].index : 0;
    for (int64_t i = 0; i < result->rows; i++) {
        double floor = fmax(rows[i].norm, 1e-3 * usual);
        double error = rows[i].difference == 0 ? 0
                       : floor > 0             ? rows[i].difference / floor
                                               : INFINITY;
        if (rows[i].empty && rows[i].difference != 0)
            right = false, error = INFINITY;
        right = right && rows[i].lse_right;
        if (error > result->error)
            result->error = error, worst = rows[i].index;
    }
    result->worst_row = worst % plan->queries;
    result->worst_head = worst / plan->queries % plan->heads;
    result->worst_batch = worst / plan->queries / plan->heads;
    result->passed = right && result->error <= result->tolerance;
}

enum heddle_status verify_tensors(const struct plan *plan, const struct heddle_tensors *tensors,
                                  int64_t budget_products, uint64_t seed,
                                  struct verify_result *out_result, struct error *error) {
    struct verify_result result = {.tolerance = tolerance(plan->dtype)};
    result.rows_total = plan->batch * plan->heads * plan->queries;
    int64_t row_products = plan->keys * plan->dim;
    int64_t affordable = budget_products / (row_products > 0 ? row_products : 1);
    affordable = affordable > 0 ? affordable : 1;
    result.rows = result.rows_total <= affordable ? result.rows_total : affordable;

    struct reference ref;
    enum heddle_status status = reference_init(&ref, plan, tensors, error);
    struct compared *rows = calloc((size_t)result.rows + 1, sizeof *rows);
    if (!rows && status == HEDDLE_OK)
        status = error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the comparison");
    for (int64_t i = 0; i < result.rows && status == HEDDLE_OK; i++)
        status = compare_row(&ref, sample(i, result.rows, result.rows_total, seed), &rows[i],
                             &result, error);
    if (status == HEDDLE_OK) {
        judge(plan, rows, &result);
        *out_result = result;
    }
    free(rows);
    reference_finish(&ref);
    return status;
}
