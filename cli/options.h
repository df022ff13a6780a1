// Options as tables: one row says how an option is written, what it stores, and its help.
//
// A command parses with several tables, each filling its own struct: the shared problem options
// and its own.
#ifndef HEDDLE_CLI_OPTIONS_H
#define HEDDLE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind { // and the type of the member that it fills
    OPTION_FLAG,   // bool
    OPTION_TEXT,   // const char *, the last one given
    OPTION_COUNT,  // int64_t, at least 1
    OPTION_INT,    // int64_t, at least 0
    OPTION_REAL,   // struct option_real, finite
    OPTION_LIST,   // struct text_list, every one given
    OPTION_CHOICE  // int, 1 + index into choices; 0: not given
};

struct option_row {
    const char *name; // without the dashes
    char letter;      // or 0
    enum option_kind kind;
    size_t offset;              // of the member in the set's target
    const char *value;          // what help calls the value, e.g. "N"
    const char *help;           // NULL: shares the line of the next row
    const char *const *choices; // of OPTION_CHOICE, NULL-terminated
};

struct option_set {
    const struct option_row *rows;
    int count;
    void *target;
};
#define OPTION_SET(rows, target)                                                                   \
    { rows, sizeof(rows) / sizeof *(rows), target }

struct option_real {
    double value;
    bool given;
};

struct text_list { // borrows its texts from argv
    const char **items;
    int count, room;
};
void text_list_add(struct text_list *list, const char *text);
struct text_list text_list_copy(const struct text_list *list); // to be finished too
void text_list_finish(struct text_list *list);

struct option_use {      // a command's line and its tables
    const char *usage;   // "run FILE"
    const char *summary; // a sentence
    const struct option_set *sets;
    int set_count;
};

enum parse_outcome { PARSE_GO, PARSE_HELP, PARSE_WRONG };

// `--name value`, `--name=value`, `-o value`; the rest are operands, also all after `--`. --help
// prints and gives PARSE_HELP; a mistake is explained on standard error.
enum parse_outcome options_parse(const struct option_use *use, int argc, char **argv,
                                 struct text_list *out_operands);

// What `--name value` does, for a name that the set has. PARSE_GO or PARSE_WRONG.
enum parse_outcome option_set_value(const struct option_set *set, const char *name,
                                    const char *value);

// Whole-text numbers. False unless all of `text` is one.
bool parse_int(const char *text, int64_t *out);
bool parse_real(const char *text, double *out);

#endif
