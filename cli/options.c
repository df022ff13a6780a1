#include "cli/options.h"

#include "cli/command.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 30, MAX_NAMES = 64 };

void text_list_add(struct text_list *list, const char *text) {
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 8;
        const char **items = realloc(list->items, (size_t)list->room * sizeof *items);
        if (!items)
            abort(); // a few command-line pointers
        list->items = items;
    }
    list->items[list->count++] = text;
}

struct text_list text_list_copy(const struct text_list *list) {
    struct text_list copy = {0};
    for (int i = 0; i < list->count; i++)
        text_list_add(&copy, list->items[i]);
    return copy;
}

void text_list_finish(struct text_list *list) {
    free(list->items);
    *list = (struct text_list){0};
}

bool parse_int(const char *text, int64_t *out) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || !(strchr("+-", *text) || (*text >= '0' && *text <= '9')))
        return false;
    *out = value;
    return true;
}

bool parse_real(const char *text, double *out) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || strpbrk(text, "xX \t\n"))
        return false;
    *out = value;
    return true;
}

// ---- help ----------------------------------------------------------------------------------

static int print_name(const struct option_row *row) {
    int width = row->letter ? printf("-%c", row->letter) : printf("--%s", row->name);
    if (row->kind != OPTION_FLAG)
        width += printf(" %s", row->value);
    return width;
}

static void print_set(const struct option_set *set) {
    int width = 0;
    for (int i = 0; i < set->count; i++) {
        const struct option_row *row = &set->rows[i];
        width += width ? printf(", ") : printf("  ");
        width += print_name(row);
        if (!row->help)
            continue;
        if (width >= HELP_COLUMN)
            putchar('\n'), width = 0;
        printf("%*s%s\n", HELP_COLUMN - width, "", row->help);
        width = 0;
    }
}

static void print_help(const struct option_use *use) {
    printf("Usage: heddle %s [OPTION]...\n%s\n", use->usage, use->summary);
    for (int i = 0; i < use->set_count; i++)
        print_set(&use->sets[i]);
}

// ---- parsing -------------------------------------------------------------------------------

struct match {
    const struct option_row *row;
    char *target;
};

static struct match find(const struct option_use *use, const char *name, size_t length,
                         bool by_letter) {
    for (int s = 0; s < use->set_count; s++)
        for (int i = 0; i < use->sets[s].count; i++) {
            const struct option_row *row = &use->sets[s].rows[i];
            if (by_letter ? length == 1 && row->letter == *name
                          : strlen(row->name) == length && strncmp(row->name, name, length) == 0)
                return (struct match){row, use->sets[s].target};
        }
    return (struct match){NULL, NULL};
}

static enum parse_outcome unknown(const struct option_use *use, const char *argument,
                                  const char *name) {
    const char *names[MAX_NAMES];
    int count = 0;
    names[count++] = "help";
    for (int s = 0; s < use->set_count; s++)
        for (int i = 0; i < use->sets[s].count && count < MAX_NAMES; i++)
            names[count++] = use->sets[s].rows[i].name;
    char dashless[256];
    snprintf(dashless, sizeof dashless, "%.*s", (int)strcspn(name, "="), name);
    usage_error("no option '%s'%s ('heddle %.*s --help' lists them)", argument,
                did_you_mean(dashless, names, count).text, (int)strcspn(use->usage, " "),
                use->usage);
    return PARSE_WRONG;
}

static enum parse_outcome store_choice(const struct option_row *row, const char *text, int *out) {
    char accepted[200] = "";
    for (int i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *out = i + 1;
            return PARSE_GO;
        }
        size_t used = strlen(accepted);
        snprintf(accepted + used, sizeof accepted - used, "%s%s", i ? ", " : "", row->choices[i]);
    }
    usage_error("--%s: '%s' is none of %s", row->name, text, accepted);
    return PARSE_WRONG;
}

static enum parse_outcome store(struct match match, const char *text) {
    const struct option_row *row = match.row;
    void *member = match.target + row->offset;
    int64_t *integer = member;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)member = true;
        return PARSE_GO;
    case OPTION_TEXT:
        *(const char **)member = text;
        return PARSE_GO;
    case OPTION_LIST:
        text_list_add(member, text);
        return PARSE_GO;
    case OPTION_CHOICE:
        return store_choice(row, text, member);
    case OPTION_REAL:
        if (parse_real(text, &((struct option_real *)member)->value)) {
            ((struct option_real *)member)->given = true;
            return PARSE_GO;
        }
        usage_error("--%s: '%s' is not a number", row->name, text);
        return PARSE_WRONG;
    case OPTION_COUNT:
    case OPTION_INT:
        break;
    }
    int least = row->kind == OPTION_COUNT;
    if (parse_int(text, integer) && *integer >= least)
        return PARSE_GO;
    usage_error("--%s: '%s' is not an integer of at least %d", row->name, text, least);
    return PARSE_WRONG;
}

enum parse_outcome option_set_value(const struct option_set *set, const char *name,
                                    const char *value) {
    const struct option_use use = {.sets = set, .set_count = 1};
    struct match match = find(&use, name, strlen(name), false);
    assert(match.row && "the caller knows its options");
    return store(match, value);
}

static enum parse_outcome parse_option(const struct option_use *use, int argc, char **argv,
                                       int *at) {
    const char *argument = argv[*at];
    bool by_letter = argument[1] != '-';
    const char *name = argument + (by_letter ? 1 : 2);
    size_t length = strcspn(name, "=");
    struct match match = find(use, name, length, by_letter);
    if (!match.row)
        return unknown(use, argument, name);
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (match.row->kind == OPTION_FLAG && value) {
        usage_error("--%s takes no value", match.row->name);
        return PARSE_WRONG;
    }
    if (match.row->kind != OPTION_FLAG && !value) {
        if (*at + 1 >= argc) {
            usage_error("%s needs a value: %s", argument, match.row->value);
            return PARSE_WRONG;
        }
        value = argv[++*at];
    }
    return store(match, value);
}

enum parse_outcome options_parse(const struct option_use *use, int argc, char **argv,
                                 struct text_list *out_operands) {
    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (only_operands || argument[0] != '-' || !argument[1]) {
            text_list_add(out_operands, argument);
        } else if (strcmp(argument, "--") == 0) {
            only_operands = true;
        } else if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
            print_help(use);
            return PARSE_HELP;
        } else {
            enum parse_outcome outcome = parse_option(use, argc, argv, &i);
            if (outcome != PARSE_GO)
                return outcome;
        }
    }
    return PARSE_GO;
}
