// The reference meaning of an expression for one pair: a plain recursive evaluator over the rows'
// `eval`. Deliberately shares nothing with expr_walk.c.

#include "dsl/eval_rows.h"
#include "dsl/expr.h"

#include <math.h>

static union value eval(const struct expr *node, struct eval_env *env,
                        struct eval_failure *failure);

static void record(struct eval_failure *failure, enum eval_fault fault, const struct expr *at) {
    if (failure->fault == EVAL_OK) {
        failure->fault = fault;
        failure->at = at;
    }
}

static int64_t token_of(const struct eval_env *env, const int64_t *position) {
    int64_t token = 0;
    for (int axis = 0; axis < env->axis_count; axis++)
        token = token * env->size[axis] + position[axis];
    return token;
}

static union value read_array(const struct expr *node, const struct eval_array *array,
                              struct eval_env *env, struct eval_failure *failure) {
    int64_t at = 0;
    for (int i = 0; i < node->arity; i++) {
        int64_t index = eval(node->args[i], env, failure).i;
        if (index < 0 || index >= array->extent[i]) {
            record(failure, EVAL_OVERFLOW, node);
            return (union value){.i = 0};
        }
        at = at * array->extent[i] + index;
    }
    if (array->type == TYPE_REAL)
        return (union value){.r = (double)((const float *)array->data)[at]};
    if (array->type == TYPE_BOOL)
        return (union value){.b = ((const uint8_t *)array->data)[at] != 0};
    return (union value){.i = ((const int32_t *)array->data)[at]};
}

// Nothing outside of the table is in the set.
static union value member(const struct expr *node, const struct eval_array *array,
                          struct eval_env *env, struct eval_failure *failure) {
    int64_t x = eval(node->args[node->arity - 1], env, failure).i;
    if (x < 0 || x >= array->extent[node->arity - 1])
        return (union value){.b = false};
    return read_array(node, array, env, failure);
}

static union value quantifier(const struct expr *node, struct eval_env *env,
                              struct eval_failure *failure) {
    int64_t begin = eval(node->args[0], env, failure).i;
    int64_t end = eval(node->args[1], env, failure).i;
    int64_t step = eval(node->args[2], env, failure).i;
    int64_t *variable = &env->vars[node->payload.ref.index], outer = *variable;
    int64_t held = 0, count = 0;
    for (int64_t i = begin; i<end; i += step> 0 ? step : 1) {
        if (env->turns_left > 0 && --env->turns_left == 0) {
            env->turns_left = 1; // spent, for what is still to come too
            record(failure, EVAL_WORK, node);
            break;
        }
        *variable = i;
        held += eval(node->args[3], env, failure).b;
        count++;
    }
    *variable = outer;
    if (node->op == OP_COUNT)
        return (union value){.i = held};
    return (union value){.b = node->op == OP_ANY ? held > 0 : held == count};
}

// ---- stages and selections -------------------------------------------------------------------

static void eval_row(const struct expr *node, struct eval_env *env, struct eval_failure *failure,
                     double *out);

// The element of a stage that the indices name; -1: there is none.
static int64_t stage_element(const struct expr *node, struct eval_env *env,
                             struct eval_failure *failure) {
    const struct eval_stage *stage = &env->rows->stages[node->payload.ref.index];
    int64_t at = 0;
    for (int i = 0; i < node->arity; i++) {
        int64_t index = eval(node->args[i], env, failure).i;
        if (index < 0 || index >= stage->extent[i])
            return -1;
        at = at * stage->extent[i] + index;
    }
    return at;
}

static double stage_value(const struct expr *node, struct eval_env *env,
                          struct eval_failure *failure) {
    int64_t at = stage_element(node, env, failure);
    return at < 0 ? 0.0 : env->rows->stages[node->payload.ref.index].data[at];
}

static double dim_sum(const struct expr *node, struct eval_env *env, struct eval_failure *failure) {
    double row[EVAL_MOST_DIMS], sum = 0.0;
    eval_row(node->args[0], env, failure, row);
    for (int64_t d = 0; d < env->rows->dim; d++)
        sum += row[d];
    return sum;
}

static double reduced(enum op op, double sum, double term) {
    if (op == OP_SUM_OVER)
        return sum + term;
    if (op == OP_MAX_OVER)
        return sum > term ? sum : term;
    return sum < term ? sum : term;
}

static double nothing_reduced(enum op op) {
    return op == OP_SUM_OVER ? 0.0 : op == OP_MAX_OVER ? -INFINITY : INFINITY;
}

// Over rows (out has dim numbers) or values (out has one).
static void reduction(const struct expr *node, struct eval_env *env, struct eval_failure *failure,
                      bool rows, double *out) {
    int64_t begin = eval(node->args[0], env, failure).i;
    int64_t end = eval(node->args[1], env, failure).i;
    int64_t step = eval(node->args[2], env, failure).i, count = rows ? env->rows->dim : 1;
    int64_t *variable = &env->vars[node->payload.ref.index], outer = *variable;
    double term[EVAL_MOST_DIMS];
    for (int64_t d = 0; d < count; d++)
        out[d] = nothing_reduced(node->op);
    for (int64_t i = begin; i<end; i += step> 0 ? step : 1) {
        *variable = i;
        if (rows)
            eval_row(node->args[3], env, failure, term);
        else
            term[0] = eval(node->args[3], env, failure).r;
        for (int64_t d = 0; d < count; d++)
            out[d] = reduced(node->op, out[d], term[d]);
    }
    *variable = outer;
}

static void stage_row(const struct expr *node, struct eval_env *env, struct eval_failure *failure,
                      double *out) {
    int64_t at = stage_element(node, env, failure), dim = env->rows->dim;
    const double *data = env->rows->stages[node->payload.ref.index].data;
    for (int64_t d = 0; d < dim; d++)
        out[d] = at < 0 ? 0.0 : data[at * dim + d];
}

static double as_double(union value value, enum type type) {
    return type == TYPE_REAL ? value.r : type == TYPE_INT ? (double)value.i : value.b;
}

static union value from_double(double value, enum type type) {
    if (type == TYPE_REAL)
        return (union value){.r = value};
    return type == TYPE_INT ? (union value){.i = (int64_t)value} : (union value){.b = value != 0};
}

// An operation on rows is the operation on their elements. Integers and booleans of rows come out
// of comparisons, and are small.
static void row_operation(const struct expr *node, struct eval_env *env,
                          struct eval_failure *failure, double *out) {
    double args[3][EVAL_MOST_DIMS];
    for (int i = 0; i < node->arity; i++)
        eval_row(node->args[i], env, failure, args[i]);
    for (int64_t d = 0; d < env->rows->dim; d++) {
        union value values[MAX_EXPR_ARGS] = {0};
        enum eval_fault fault = EVAL_OK;
        for (int i = 0; i < node->arity; i++)
            values[i] = from_double(args[i][d], node->args[i]->type);
        out[d] = as_double(op_table[node->op].eval(values, &fault), node->type);
        if (fault != EVAL_OK)
            record(failure, fault, node);
    }
}

static void eval_row(const struct expr *node, struct eval_env *env, struct eval_failure *failure,
                     double *out) {
    const struct eval_rows *rows = env->rows;
    if (!(node->deps & DEP_ROW)) {
        double value = as_double(eval(node, env, failure), node->type);
        for (int64_t d = 0; d < rows->dim; d++)
            out[d] = value;
    } else if (node->op == OP_TENSOR) {
        int64_t head = eval(node->args[0], env, failure).i;
        int64_t token = eval(node->args[1], env, failure).i;
        rows->read(rows->context, node->payload.ref.side, env->batch, head, token, out);
    } else if (node->op == OP_STAGE) {
        stage_row(node, env, failure, out);
    } else if (op_table[node->op].eval) {
        row_operation(node, env, failure, out);
    } else {
        reduction(node, env, failure, true, out);
    }
}

static union value stage_leaf(const struct expr *node, struct eval_env *env,
                              struct eval_failure *failure) {
    union value value = {.r = 0.0};
    if (node->op == OP_STAGE)
        value.r = stage_value(node, env, failure);
    else if (node->op == OP_DIM_SUM)
        value.r = dim_sum(node, env, failure);
    else if (node->op == OP_DIM)
        value.i = env->rows->dim;
    else if (node->op == OP_QUERIES)
        value.i = env->rows->queries;
    else if (node->op == OP_SCALE)
        value.r = env->rows->scale;
    else
        reduction(node, env, failure, false, &value.r);
    return value;
}

static union value leaf(const struct expr *node, struct eval_env *env,
                        struct eval_failure *failure) {
    const int64_t *position = node->payload.ref.side == SIDE_QUERY ? env->query : env->key;
    unsigned index = node->payload.ref.index;
    switch (node->op) {
    case OP_BOOL:
        return (union value){.b = node->payload.i != 0};
    case OP_INT:
        return (union value){.i = node->payload.i};
    case OP_REAL:
        return (union value){.r = node->payload.r};
    case OP_COORD:
        return (union value){.i = position[index]};
    case OP_TOKEN:
        return (union value){.i = token_of(env, position)};
    case OP_SIZE:
        return (union value){.i = env->size[index]};
    case OP_HEAD:
        return (union value){.i = env->head};
    case OP_HEADS:
        return (union value){.i = env->heads};
    case OP_KV_HEAD:
        return (union value){.i = env->head / (env->heads / env->kv_heads)};
    case OP_BATCH:
        return (union value){.i = env->batch};
    case OP_PARAM:
        return env->params[index];
    case OP_SCORE:
        return (union value){.r = env->score};
    case OP_VAR:
        return (union value){.i = env->vars[index]};
    case OP_INPUT:
        return read_array(node, &env->inputs[index], env, failure);
    case OP_MAP:
        return read_array(node, &env->maps[index], env, failure);
    case OP_MEMBER:
        return member(node, &env->inputs[index], env, failure);
    case OP_TABLE: {
        int64_t head = eval(node->args[0], env, failure).i;
        if (head < 0 || head >= env->heads) {
            record(failure, EVAL_OVERFLOW, node);
            return (union value){.i = 0};
        }
        return env->tables[index][head];
    }
    case OP_ANY:
    case OP_ALL:
    case OP_COUNT:
        return quantifier(node, env, failure);
    default:
        return stage_leaf(node, env, failure);
    }
}

static union value eval(const struct expr *node, struct eval_env *env,
                        struct eval_failure *failure) {
    const struct op_info *info = &op_table[node->op];
    if (!info->eval)
        return leaf(node, env, failure);
    union value args[MAX_EXPR_ARGS] = {0};
    args[0] = eval(node->args[0], env, failure);
    if (info->form == FORM_TERNARY)
        return eval(node->args[args[0].b ? 1 : 2], env, failure);
    if ((node->op == OP_AND && !args[0].b) || (node->op == OP_OR && args[0].b))
        return args[0];
    for (int i = 1; i < node->arity; i++)
        args[i] = eval(node->args[i], env, failure);
    enum eval_fault fault = EVAL_OK;
    union value result = info->eval(args, &fault);
    if (fault != EVAL_OK)
        record(failure, fault, node);
    return result;
}

union value expr_eval(const struct expr *root, struct eval_env *env, struct eval_failure *failure) {
    return eval(root, env, failure);
}

void expr_eval_row(const struct expr *root, struct eval_env *env, struct eval_failure *failure,
                   double *out) {
    eval_row(root, env, failure, out);
}
