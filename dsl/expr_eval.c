// The reference meaning of an expression for one pair: a plain recursive evaluator over the rows'
// `eval`. Deliberately shares nothing with expr_walk.c.

#include "dsl/expr.h"

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
    default:
        return quantifier(node, env, failure);
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
