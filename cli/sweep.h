// bench --sweep NAME=V,V,...: one problem in many sizes. Several sweeps give every combination, the
// last one fastest.
#ifndef HEDDLE_CLI_SWEEP_H
#define HEDDLE_CLI_SWEEP_H

#include "cli/problem.h"

enum { SWEEP_MOST = 4 };

struct sweep_row {       // one --sweep
    const char *name;    // an axis, a parameter or an option
    const char *option;  // what sets it: "axes", "param", or the option itself
    bool assigns;        // by name=value, else by the value alone
    const char **values; // as typed
    int count, width;    // width: the longest of name and values
};

struct sweep {
    struct sweep_row rows[SWEEP_MOST];
    int count;
    int64_t problems; // combinations: 1 without a sweep
};

// Which names mean what depends on the pattern. Texts live in the arena. Exit status.
int sweep_parse(const struct text_list *texts, const struct pattern *pattern, struct arena *arena,
                struct sweep *out);

// The value of row `row` in combination `number`.
const char *sweep_value(const struct sweep *sweep, int row, int64_t number);

// `base` with the values of combination `number`, to be finished. Exit status.
int sweep_args(const struct sweep *sweep, int64_t number, const struct problem_args *base,
               struct arena *arena, struct problem_args *out);

#endif
