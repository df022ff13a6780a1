// What the subcommands share: exit statuses, messages, and the table in main.c.
#ifndef HEDDLE_CLI_COMMAND_H
#define HEDDLE_CLI_COMMAND_H

#include "compiler/base/status.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_PATTERN = 1, // errors in the pattern
    EXIT_USAGE = 2,   // wrong command line
    EXIT_INPUT = 3,   // input file or tensor
    EXIT_DEVICE = 4,  // no such device, or this machine could not do it
    EXIT_VERIFY = 5   // --verify found a difference
};

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv); // argv[0] is the subcommand's name
};

int command_check(int argc, char **argv);
int command_run(int argc, char **argv);
int command_draw(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_compile(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_cache(int argc, char **argv);
int command_devices(int argc, char **argv);

// One line on standard error: "heddle: ...".
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The same, and the exit status for a wrong command line.
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Prints the error (diagnostics of a pattern as they are), frees it, and gives its exit status.
int fail(struct error *error);
// "; did you mean 'x'?" where a candidate is close to `text`, else "". The result lives in `room`.
struct hint {
    char text[300];
};
struct hint did_you_mean(const char *text, const char *const *candidates, int count);

#endif
