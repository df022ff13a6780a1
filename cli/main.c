// The command line: finds the subcommand in one table and runs it.
#include "cli/command.h"
#include "compiler/base/log.h"

#include "dsl/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct command commands[] = {
    {"check", "check pattern files", command_check},
    {"run", "run attention, and compare it with the reference", command_run},
    {"draw", "draw which keys each query sees", command_draw},
    {"explain", "what a pattern costs: pairs, tiles, time", command_explain},
    {"compile", "look inside the compiler, stage by stage", command_compile},
    {"bench", "time attention: the median of many runs, of many problems", command_bench},
    {"cache", "compiled code that is kept on disk", command_cache},
    {"devices", "what heddle can run on here", command_devices},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

void complain(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("heddle: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int usage_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("heddle: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return EXIT_USAGE;
}

static int exit_of(enum heddle_status status) {
    switch (status) {
    case HEDDLE_OK:
        return EXIT_DONE;
    case HEDDLE_PATTERN_ERROR:
        return EXIT_PATTERN;
    case HEDDLE_BAD_ARGUMENT:
    case HEDDLE_LIMIT:
    case HEDDLE_NO_COMPILER:
        return EXIT_USAGE;
    case HEDDLE_IO_ERROR:
        return EXIT_INPUT;
    case HEDDLE_OUT_OF_MEMORY:
    case HEDDLE_DEVICE_ERROR:
    case HEDDLE_INTERNAL:
        break;
    }
    return EXIT_DEVICE;
}

int fail(struct error *error) {
    const char *text = error_text(error);
    size_t length = strlen(text);
    const char *end = length && text[length - 1] == '\n' ? "" : "\n";
    // A pattern's diagnostics carry their place; the rest say whose message it is.
    fprintf(stderr, "%s%s%s%s", error->status == HEDDLE_PATTERN_ERROR ? "" : "heddle: ",
            error->status == HEDDLE_INTERNAL ? "internal error: " : "", text, end);
    int status = exit_of(error->status);
    error_finish(error);
    return status;
}

struct hint did_you_mean(const char *text, const char *const *candidates, int count) {
    struct hint hint = {""};
    struct nearest nearest;
    nearest_init(&nearest, text);
    for (int i = 0; i < count; i++)
        nearest_offer(&nearest, candidates[i]);
    if (nearest.best)
        snprintf(hint.text, sizeof hint.text, "; did you mean '%s'?", nearest.best);
    return hint;
}

static void print_help(void) {
    puts(
        "Usage: heddle COMMAND ... | heddle --version\n"
        "\n"
        "Sparse attention from pattern files.\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        printf("  %-9s %s\n", commands[i].name, commands[i].summary);
    puts(
        "\n'heddle COMMAND --help' lists the options of a command. FILE is a pattern file,\n"
        "or the name of a shipped pattern: heddle draw window --axes i=32\n"
        "\n"
        "Exit status: 0 success, 1 errors in the pattern, 2 wrong command line, 3 input\n"
        "file or tensor, 4 device, 5 --verify failed.");
}

static int unknown_command(const char *name) {
    const char *names[COMMAND_COUNT];
    for (int i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i].name;
    return usage_error("no command '%s'%s (heddle --help lists them)", name,
                       did_you_mean(name, names, COMMAND_COUNT).text);
}

// Results that do not reach their reader (a full disk) are a failure, not a success.
static int flush_results(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    complain("cannot write to standard output");
    return status ? status : EXIT_INPUT;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return usage_error("which command? (heddle --help lists them)");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help();
        return flush_results(EXIT_DONE);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("heddle %s\n", heddle_version());
        return flush_results(EXIT_DONE);
    }
    struct log log; // what HEDDLE_DEBUG asks for
    log_open(&log, &(const struct heddle_context_options){.struct_bytes = 0});
    log_enter(&log);
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return flush_results(commands[i].run(argc - 1, argv + 1));
    return unknown_command(argv[1]);
}
