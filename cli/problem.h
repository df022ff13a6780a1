// The problem that run, draw, explain, compile and bench work on: one set of options, one parser.
#ifndef HEDDLE_CLI_PROBLEM_H
#define HEDDLE_CLI_PROBLEM_H

#include "cli/npy.h"
#include "cli/options.h"
#include "compiler/base/dtype.h"
#include "compiler/program.h"
#include "runtime/plan.h"
#include "runtime/tuned.h"

struct problem_args { // as typed; 0 or NULL: not given
    struct text_list axes, params, consts, inputs;
    int64_t queries, batch, heads, kv_heads, dim;
    int dtype, target, planner;
    const char *pattern;
    struct option_real scale;
    bool untuned, json;
};
enum { PROBLEM_OPTIONS = 16 };
extern const struct option_row problem_options[PROBLEM_OPTIONS];
#define PROBLEM_SET(args)                                                                          \
    { problem_options, PROBLEM_OPTIONS, args }
void problem_args_finish(struct problem_args *args);
struct problem_args problem_args_copy(const struct problem_args *args); // to be finished too

// What tensor files say about the problem; 0: nothing.
struct problem_shape {
    int64_t batch, heads, kv_heads, queries, keys, dim;
};

struct target; // cli/target.h

struct problem {
    struct program *program;
    const struct target *target;  // what it will run on; NULL: as --target says, without a device
    int threads;                  // of runs on the CPU; 0: all processors
    bool no_inputs;               // nothing is planned: problem_bind reads none
    struct tuned_machine machine; // that boxes are remembered for; empty: none, a GPU is assumed
    struct heddle_problem spec;   // points into what follows
    struct arena arena;
    struct npy *inputs; // by number in the pattern
};

// The three steps give exit statuses and explain failures on standard error.

// What plans are made for: the target's kind, or cuda when --target says so.
enum heddle_target problem_target(const struct problem *problem, const struct problem_args *args);
// --planner device
bool problem_plans_on_device(const struct problem_args *args);
// Compiles the pattern.
int problem_load(struct problem *problem, const struct problem_args *args, const char *file);
// Fills problem->spec. `shape` (or NULL) adds what tensor files know. With `default_axes`, a
// pattern whose --axes are missing gets 4096, 64 x 64 or 16 x 32 x 32.
int problem_bind(struct problem *problem, const struct problem_args *args,
                 const struct problem_shape *shape, bool default_axes);
// Frees what problem_bind read, so that it can be called again for the same pattern.
void problem_unbind(struct problem *problem);
// Makes the plan, with or without a kernel; in remembered boxes unless --untuned.
int problem_plan(const struct problem *problem, const struct problem_args *args, bool lists_only,
                 struct plan **out_plan);
// The same in given boxes, with a kernel.
int problem_plan_in(const struct problem *problem, const struct problem_args *args,
                    const struct plan_boxes *boxes, struct plan **out_plan);
void problem_finish(struct problem *problem);

// The whole of a command that works on one pattern file: parses, calls execute, frees the
// arguments. Exit status.
int problem_command(const struct option_use *use, struct problem_args *args, int argc, char **argv,
                    int (*execute)(void *context, const char *file), void *context);

// "y = 128, x = 128"
void problem_axes_text(const struct problem *problem, char *out, size_t room);

// --const assignments, for check too. Items live in the arena. False after explaining.
bool parse_consts(const struct text_list *list, struct arena *arena,
                  struct check_options *out_options);

#endif
