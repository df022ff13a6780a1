// From a plan to what the reference evaluates a pair with. Lets reference, drawing and tests ask
// about many pairs of one plan without rebuilding the environment each time.
#ifndef HEDDLE_RUNTIME_PAIR_ENV_H
#define HEDDLE_RUNTIME_PAIR_ENV_H

#include "dsl/expr.h"
#include "runtime/plan.h"

enum { PAIR_ENV_FEW = 8 };

struct pair_env {
    struct eval_env eval; // ready for expr_eval after pair_env_place
    const struct expr *keep;
    struct eval_array few[PAIR_ENV_FEW], *many; // inputs, then maps
    const struct pattern *pattern;
};

// Borrows the plan. False when out of memory.
bool pair_env_init(struct pair_env *env, const struct plan *plan);
void pair_env_finish(struct pair_env *env);

// The query is a token too: row + plan->query_offset, negative where there are more queries than
// keys.
void pair_env_place(struct pair_env *env, int64_t batch, int64_t head, int64_t query_token,
                    int64_t key_token);
// Of a pattern with sources: which one's keys are meant from now on, the first at the start. The
// key of pair_env_place and pair_env_key is then the number of a group.
void pair_env_source(struct pair_env *env, int source);
// The least factor at which the query where the environment stands keeps a token, whatever its
// sources; 0: not at all. Leaves the environment at some source and key.
int64_t pair_env_level(struct pair_env *env, int64_t key_token);
// Moves the key only.
void pair_env_key(struct pair_env *env, int64_t key_token);
// Is the pair kept? A pair without a value (an overflow that the plan did not refuse) fills
// *failure, or is not kept when failure is NULL.
bool pair_env_keeps(struct pair_env *env, struct eval_failure *failure);

#endif
