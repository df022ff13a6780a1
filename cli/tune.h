// run --tune: the boxes that the planner holds most promising, measured on the target in use. What
// wins is remembered for later plans of the same problem (runtime/tuned.h).
#ifndef HEDDLE_CLI_TUNE_H
#define HEDDLE_CLI_TUNE_H

#include "cli/json.h"
#include "cli/problem.h"
#include "cli/tensors.h"

enum { TUNE_MOST_ROWS = 8 };

struct tuning {
    struct tuning_row {
        struct plan_candidate candidate; // as the planner counted it
        double ms;                       // median over turns
    } rows[TUNE_MOST_ROWS];              // the first is the planner's choice
    int count, chosen;
    int64_t turns, runs; // runs in a turn
    bool remembered;
};

// Measures the candidates of *plan, which the planner made in boxes of its own choice, and puts a
// plan in the winner's boxes in its place. Outputs are cleared afterwards. That the winner could
// not be remembered is said on standard error and fails nothing. Exit status.
int tune(const struct problem *problem, const struct problem_args *args, struct tensors *tensors,
         struct plan **plan, struct tuning *out);

void tuning_text(const struct tuning *tuning, const struct problem *problem);
void tuning_json(struct json *json, const struct tuning *tuning, const struct problem *problem);

#endif
