// What must come out of a kernel: the plain double loop in double precision, and the comparison.
#include "tests/kernel/kernel_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------------------

static void token_to_axes(const struct problem *p, int64_t token, int64_t *out) {
    for (int a = p->pattern->axis_count - 1; a > 0; a--) {
        out[a] = token % p->size[a];
        token /= p->size[a];
    }
    out[0] = token;
}

struct row { // one query's expected output
    double out[256], lse;
    bool empty, poisoned;
};

static double logit(struct problem *p, struct eval_env *env, int64_t q, int64_t k) {
    double s = 0;
    for (int d = 0; d < p->dim; d++)
        s += problem_element(p, &p->q, q + d * p->q.dim_stride) *
             problem_element(p, &p->k, k + d * p->k.dim_stride);
    env->score = s * p->scale;
    struct eval_failure failure = {0};
    return p->pattern->score ? expr_eval(p->pattern->score, env, &failure).r : env->score;
}

static void expected_row(struct problem *p, int64_t batch, int64_t head, int64_t query,
                         struct row *row, double *logits) {
    struct eval_env env = problem_environment(p, batch, head);
    struct eval_failure failure = {0};
    int64_t kv = head / (p->heads / p->kv_heads);
    int64_t at = problem_offset(&p->q, batch, head, query);
    token_to_axes(p, query + p->launch.query_offset, env.query);
    memset(row, 0, sizeof *row);
    double most = -INFINITY, sum = 0;
    row->empty = true;
    for (int64_t key = 0; key < p->keys; key++) {
        token_to_axes(p, key, env.key);
        logits[key] = -INFINITY;
        if (!expr_eval(p->pattern->keep, &env, &failure).b)
            continue;
        row->poisoned |= p->bad[(batch * p->kv_heads + kv) * p->keys + key];
        logits[key] = logit(p, &env, at, problem_offset(&p->k, batch, kv, key));
        most = fmax(most, logits[key]);
        row->empty = row->empty && logits[key] == -INFINITY;
    }
    for (int64_t key = 0; key < p->keys; key++) {
        if (row->empty || logits[key] == -INFINITY)
            continue;
        double weight = exp(logits[key] - most);
        sum += weight;
        int64_t v = problem_offset(&p->v, batch, kv, key);
        for (int d = 0; d < p->dim; d++)
            row->out[d] += weight * problem_element(p, &p->v, v + d * p->v.dim_stride);
    }
    for (int d = 0; d < p->dim && !row->empty; d++)
        row->out[d] /= sum;
    row->lse = row->empty ? -INFINITY : most + log(sum);
}

struct tally {
    double error, size;
};

// A row that keeps a bad key: elements that are not finite must not be so by accident.
static void compare_poisoned(struct problem *p, int64_t at, const struct row *row,
                             struct problem_result *result) {
    for (int d = 0; d < p->dim; d++) {
        double x = problem_element(p, &p->o, at + d * p->o.dim_stride);
        if ((bool)isfinite(x) != (bool)isfinite(row->out[d]))
            result->wrong = isfinite(x) ? "a kept NaN was lost" : "NaN spread within a row";
    }
}

static void compare_row(struct problem *p, int64_t batch, int64_t head, int64_t query,
                        const struct row *row, struct problem_result *result, struct tally *tally) {
    int64_t at = problem_offset(&p->o, batch, head, query);
    double lse = p->lse ? (double)p->lse[(batch * p->heads + head) * p->queries + query] : 0;
    if (row->poisoned) {
        compare_poisoned(p, at, row, result);
        return;
    }
    result->rows_checked++;
    result->rows_empty += row->empty;
    for (int d = 0; d < p->dim; d++) {
        double x = problem_element(p, &p->o, at + d * p->o.dim_stride);
        double error = fabs(x - row->out[d]);
        if (isnan(x) || (row->empty && x != 0)) {
            result->wrong = isnan(x) ? "NaN in the output" : "a row that keeps nothing is not 0";
            result->row = query;
            return;
        }
        tally->error += error * error;
        tally->size += row->out[d] * row->out[d];
        if (error / (1 + fabs(row->out[d])) > result->worst) {
            result->worst = error / (1 + fabs(row->out[d]));
            result->row = query;
        }
    }
    if (!p->lse)
        return;
    if (row->empty) {
        if (lse != -INFINITY)
            result->wrong = "lse of a row that keeps nothing is not -inf";
    } else {
        result->worst_lse = fmax(result->worst_lse, fabs(lse - row->lse) / (1 + fabs(row->lse)));
        if (isnan(lse))
            result->wrong = "lse is NaN";
    }
}

// Gaps between the elements of o must not have been written.
static bool gaps_untouched(struct problem *p) {
    uint8_t *written = calloc((size_t)p->o.elements, 1);
    for (int64_t b = 0; b < p->batches; b++)
        for (int64_t h = 0; h < p->heads; h++)
            for (int64_t i = 0; i < p->queries; i++)
                for (int d = 0; d < p->dim; d++)
                    written[problem_offset(&p->o, b, h, i) + d * p->o.dim_stride] = 1;
    size_t bytes = problem_element_bytes(p);
    bool good = true;
    for (int64_t at = 0; at < p->o.elements; at++)
        for (size_t byte = 0; byte < bytes && !written[at]; byte++)
            good = good && ((const uint8_t *)p->o.data)[(size_t)at * bytes + byte] == 0x7b;
    free(written);
    return good;
}

struct problem_result problem_check(struct problem *p) {
    struct problem_result result = {0};
    struct tally tally = {0, 0};
    struct row *row = malloc(sizeof *row);
    double *logits = malloc(sizeof *logits * (size_t)p->keys);
    for (int64_t b = 0; b < p->batches; b++)
        for (int64_t h = 0; h < p->heads; h++)
            for (int64_t i = 0; i < p->queries; i++) {
                expected_row(p, b, h, i, row, logits);
                compare_row(p, b, h, i, row, &result, &tally);
            }
    if (!gaps_untouched(p))
        result.wrong = "wrote between the elements of o";
    result.relative_rms = sqrt(tally.error / (tally.size + 1e-300));
    free(logits);
    free(row);
    return result;
}
