// Part of stage `plan`: the problem's numbers, checked and laid out as compiled code takes them.
// Private to runtime/.
#ifndef HEDDLE_RUNTIME_BIND_H
#define HEDDLE_RUNTIME_BIND_H

#include "runtime/plan.h"

// Sizes, heads, dim and dtype into the plan.
enum heddle_status bind_shapes(struct plan *plan, const struct heddle_problem *problem,
                               struct error *error);
// Parameters and tables into plan->launch.env.
enum heddle_status bind_params(struct plan *plan, const struct heddle_problem *problem,
                               struct error *error);
// Inputs (copied, with their range pyramids) and maps (computed) into plan->launch.env.arrays.
enum heddle_status bind_arrays(struct plan *plan, const struct heddle_problem *problem,
                               struct error *error);
// The elements of a set, whose table is there: the array that dsl/check_elements.c adds, without
// its pyramid, and the scalar with its room.
void bind_elements(struct plan *plan, const struct pattern_input *input, struct abi_array *array);
// The extents of an array's indices; *out_elements: their product.
enum heddle_status bind_extents(struct plan *plan, const struct pattern_index *indices, int count,
                                struct abi_array *array, int64_t *out_elements,
                                struct error *error);
// Is what was given an array of the input's shape and element type? `array` has the extents.
enum heddle_status bind_check_input(const struct plan *plan, const struct pattern_input *input,
                                    const struct heddle_input *given, const struct abi_array *array,
                                    struct error *error);
// Every `require` of the pattern, for every head where it depends on one.
enum heddle_status bind_requires(struct plan *plan, const struct heddle_problem *problem,
                                 struct error *error);

// An environment that evaluates expressions without positions (arrays optional).
void bind_eval_env(const struct plan *plan, struct eval_env *env);

// "path:line:column: " of a span, into the arena.
const char *bind_place(struct plan *plan, struct span span);

// Appends the source line of a span, with a caret, to the message of an error that is set.
void bind_excerpt(const struct plan *plan, struct span span, struct error *error);

#endif
