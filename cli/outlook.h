// What `heddle explain` says about time: the boxes that the schedule weighed, how long the plan
// will take, and from what length on it is faster than dense attention.
#ifndef HEDDLE_CLI_OUTLOOK_H
#define HEDDLE_CLI_OUTLOOK_H

#include "cli/json.h"
#include "cli/problem.h"
#include "runtime/predict.h"

struct outlook {
    struct prediction now;
    // The same problem with other sizes of its first axis, each half or twice the one before: the
    // one from which on it beats dense attention (0: none), and between which ones that was tried.
    const char *axis; // its name; borrowed
    int64_t from, least, most;
};

// Exit status.
int outlook_of(const struct problem *problem, const struct plan *plan, struct outlook *out);
void outlook_text(const struct outlook *outlook, const struct plan *plan);
void outlook_json(struct json *json, const struct outlook *outlook, const struct plan *plan);

#endif
