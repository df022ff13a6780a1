// Stage `schedule`: facts + problem -> basis and tile shapes, chosen by counting.
//
// Candidates are few: each basis, query boxes of the kernel's rows, key boxes of its keys. The
// planner itself plans a sample of items in each; the cheapest per query row wins, by the costs of
// cost.h. All candidates stay with the plan, for `heddle explain`.
#ifndef HEDDLE_RUNTIME_SCHEDULE_H
#define HEDDLE_RUNTIME_SCHEDULE_H

#include "runtime/plan.h"

// Sets basis, query_tile, launch.tile and candidates of the plan, honouring what options force.
// `remembered` (or NULL) are boxes to take whatever they cost, if they can be planned in.
enum heddle_status schedule_choose(struct plan *plan, const struct plan_boxes *remembered,
                                   struct error *error);

// Does the plan have to be made in certain boxes?
bool schedule_is_forced(const struct plan_options *options);

// Sets the plan's limits to twice what a sample of items takes, for lists that are made where every
// list has a fixed room.
enum heddle_status schedule_limits(struct plan *plan, struct error *error);

// Stage dump `schedule`.
void schedule_print(const struct plan *plan, struct strbuf *out);

#endif
