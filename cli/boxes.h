// Boxes that the schedule weighed, as reports show them.
#ifndef HEDDLE_CLI_BOXES_H
#define HEDDLE_CLI_BOXES_H

#include "cli/json.h"
#include "runtime/plan.h"

// The plan's candidates, the cheapest by the model first; to be freed. NULL without memory.
const struct plan_candidate **boxes_ranked(const struct plan *plan);

// The first columns of a table's line, and of its head: basis, query box, key box.
void boxes_heading(const char *label);
void boxes_text(const struct program *program, const struct plan_boxes *boxes);
// The same as keys.
void boxes_json(struct json *json, const struct program *program, const struct plan_boxes *boxes);

#endif
