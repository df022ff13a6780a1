// What stages and selections come to: run for draw and explain, shown, and written to files.
#ifndef HEDDLE_CLI_SELECTED_H
#define HEDDLE_CLI_SELECTED_H

#include "cli/json.h"
#include "cli/problem.h"
#include "cli/tensors.h"

struct selected_args { // of commands that run nothing else
    const char *q, *k, *dump;
    int64_t seed;
    struct tensor_files files;
};
enum { SELECTED_OPTIONS = 4 };
extern const struct option_row selected_options[SELECTED_OPTIONS];
#define SELECTED_SET(args)                                                                         \
    { selected_options, SELECTED_OPTIONS, args }

// Reads --q and --k, before the problem is bound. Exit status.
int selected_read(struct selected_args *args, struct problem_shape *out_shape);
// Runs the plan's stages and selections on q and k of the files or of the seed, makes its lists
// again, and writes --dump-sets. Nothing where the pattern has none but sets to write. Exit status.
int selected_run(const struct selected_args *args, struct plan *plan);
void selected_finish(struct selected_args *args);

// DIR/NAME.npy of every set and every selection's levels: int32, [indices.., room], ascending,
// padded with -1; levels as they are. The batch comes first where there is more than one entry.
// Exit status.
int selected_dump(const struct plan *plan, const char *dir);
// A line for each selection: how many elements its lists have.
void selected_text(const struct plan *plan);
void selected_json(struct json *json, const struct plan *plan);

#endif
