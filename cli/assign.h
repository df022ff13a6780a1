// name=value options, and their binding to what the pattern declares.
#ifndef HEDDLE_CLI_ASSIGN_H
#define HEDDLE_CLI_ASSIGN_H

#include "cli/problem.h"

struct assignment {
    const char *name, *value;
};

// Splits at the first '='; copies live in the arena. False after explaining.
bool assignment_parse(const char *flag, const char *text, struct arena *arena,
                      struct assignment *out);

// Fill spec.params and spec.inputs; exit statuses. Sizes and heads must be bound.
int assign_params(struct problem *problem, const struct text_list *list);
int assign_inputs(struct problem *problem, const struct text_list *list);

#endif
