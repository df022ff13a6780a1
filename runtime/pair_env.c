#include "runtime/pair_env.h"

#include <stdlib.h>
#include <string.h>

// Parameters are the same 8 bytes in both views: an int64_t or a double, written and read as such.
_Static_assert(sizeof(union value) == sizeof(union abi_slot), "parameters are shared, not copied");
_Static_assert((int)ABI_INDICES == (int)MAX_INDICES && (int)ABI_AXES == (int)MAX_AXES,
               "arrays are described alike");

static struct eval_array array_view(const struct abi_array *array, enum type type) {
    struct eval_array view = {
        .data = array->data, .type = type, .index_count = (int)array->index_count};
    memcpy(view.extent, array->extent, sizeof view.extent);
    return view;
}

bool pair_env_init(struct pair_env *env, const struct plan *plan) {
    const struct pattern *pattern = plan->program->pattern;
    const struct abi_env *bound = &plan->launch.env;
    memset(env, 0, sizeof *env);
    struct eval_array *arrays = env->few;
    if (pattern->input_count + pattern->map_count > PAIR_ENV_FEW) {
        size_t count = (size_t)pattern->input_count + (size_t)pattern->map_count;
        arrays = env->many = calloc(count, sizeof *arrays);
        if (!arrays)
            return false;
    }
    for (int i = 0; i < pattern->input_count; i++)
        arrays[i] = array_view(&bound->arrays[i], pattern->inputs[i].type);
    for (int i = 0; i < pattern->map_count; i++)
        arrays[pattern->input_count + i] =
            array_view(&bound->arrays[pattern->input_count + i], TYPE_BOOL);
    env->pattern = pattern;
    pair_env_source(env, 0);
    env->eval = (struct eval_env){
        .axis_count = pattern->axis_count,
        .heads = bound->heads,
        .kv_heads = bound->kv_heads,
        .batches = bound->batches,
        .params = (const void *)bound->params,
        .tables = (const void *)bound->tables,
        .inputs = arrays,
        .maps = arrays + pattern->input_count,
    };
    memcpy(env->eval.size, bound->size, sizeof env->eval.size);
    return true;
}

void pair_env_finish(struct pair_env *env) {
    free(env->many);
    env->many = NULL;
}

// Axes after the outermost take the remainder, so a negative token is a negative outermost
// coordinate (only one-axis patterns have those).
static void coordinates(const struct eval_env *eval, int64_t token, int64_t *out) {
    for (int axis = eval->axis_count - 1; axis > 0; axis--) {
        out[axis] = token % eval->size[axis];
        token /= eval->size[axis];
    }
    out[0] = token;
}

void pair_env_key(struct pair_env *env, int64_t key_token) {
    coordinates(&env->eval, key_token, env->eval.key);
}

void pair_env_place(struct pair_env *env, int64_t batch, int64_t head, int64_t query_token,
                    int64_t key_token) {
    env->eval.batch = batch;
    env->eval.head = head;
    coordinates(&env->eval, query_token, env->eval.query);
    pair_env_key(env, key_token);
}

void pair_env_source(struct pair_env *env, int source) {
    env->keep = pattern_source(env->pattern, source).keep;
}

int64_t pair_env_level(struct pair_env *env, int64_t key_token) {
    int64_t level = 0;
    for (int s = 0; s < pattern_source_count(env->pattern); s++) {
        int64_t factor = pattern_source(env->pattern, s).factor;
        if (level && level <= factor)
            continue;
        pair_env_source(env, s);
        pair_env_key(env, key_token / factor);
        level = pair_env_keeps(env, NULL) ? factor : level;
    }
    return level;
}

bool pair_env_keeps(struct pair_env *env, struct eval_failure *failure) {
    struct eval_failure local = {0};
    bool kept = expr_eval(env->keep, &env->eval, &local).b;
    if (local.fault != EVAL_OK && failure)
        *failure = local;
    return local.fault == EVAL_OK && kept;
}

bool plan_keeps(const struct plan *plan, int64_t batch, int64_t head, int64_t query_row,
                int64_t key_token) {
    struct pair_env env;
    if (!pair_env_init(&env, plan))
        return false;
    pair_env_place(&env, batch, head, query_row + plan->query_offset, key_token);
    bool kept = pair_env_level(&env, key_token) != 0;
    pair_env_finish(&env);
    return kept;
}
