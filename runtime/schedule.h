// Stage `schedule`: facts + problem -> basis and tile shapes, chosen by counting.
//
// Candidates are few: each basis, query boxes of the kernel's rows, key boxes of its keys. The
// planner itself plans a sample of items in each; the cheapest per query row wins. Nothing is
// compiled: shapes are arguments of the kernel.
#ifndef HEDDLE_RUNTIME_SCHEDULE_H
#define HEDDLE_RUNTIME_SCHEDULE_H

#include "runtime/plan.h"

struct lists; // runtime/lists.h

// What a partial tile costs in full ones, and an item in tiles: the mask's arithmetic, packing and
// storing the rows. Measured with `heddle bench` on one AVX-512 machine; only ratios matter.
#define SCHEDULE_PARTIAL_COST 1.35
#define SCHEDULE_ITEM_COST 1.5

// Sets basis, query_tile and launch.tile of the plan, honouring what options force.
enum heddle_status schedule_choose(struct plan *plan, struct error *error);

// Stage dump `schedule`.
void schedule_print(const struct plan *plan, struct strbuf *out);

#endif
