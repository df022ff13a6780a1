#include "cli/sweep.h"

#include "cli/assign.h"
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

// Options whose value is one word of the problem; sizes and parameters go by their own names.
static const char *const options[] = {"batch", "heads", "kv-heads", "dim", "queries", "dtype"};
enum { OPTIONS = sizeof options / sizeof *options };

static int unknown_name(const struct pattern *pattern, const char *name, struct arena *arena) {
    int count = 0;
    const char **names =
        ARENA_ARRAY(arena, const char *, pattern->axis_count + pattern->param_count + OPTIONS);
    for (int i = 0; i < pattern->axis_count; i++)
        names[count++] = pattern->axes[i];
    for (int i = 0; i < pattern->param_count; i++)
        names[count++] = pattern->params[i].name;
    for (int i = 0; i < OPTIONS; i++)
        names[count++] = options[i];
    return usage_error(
        "--sweep: '%s' is no axis or parameter of pattern '%s', nor batch, heads, "
        "kv-heads, dim, queries or dtype%s",
        name, pattern->name, did_you_mean(name, names, count).text);
}

// Finds what sets the row's name; false: nothing does.
static bool find_option(const struct pattern *pattern, struct sweep_row *row) {
    for (int i = 0; i < pattern->axis_count; i++)
        if (strcmp(pattern->axes[i], row->name) == 0)
            row->option = "axes";
    for (int i = 0; i < pattern->param_count; i++)
        if (strcmp(pattern->params[i].name, row->name) == 0)
            row->option = "param";
    row->assigns = row->option != NULL;
    for (int i = 0; i < OPTIONS && !row->option; i++)
        if (strcmp(options[i], row->name) == 0)
            row->option = options[i];
    return row->option != NULL;
}

static int larger(int a, size_t b) {
    return a > (int)b ? a : (int)b;
}

// Cuts "1,2,3" into its values.
static int split_values(char *text, struct arena *arena, struct sweep_row *out) {
    int room = 1;
    for (const char *c = text; *c; c++)
        room += *c == ',';
    out->values = ARENA_ARRAY(arena, const char *, room);
    for (bool last = false; !last; text++) {
        size_t length = strcspn(text, ",");
        last = !text[length];
        if (length == 0)
            return usage_error("--sweep: '%s' has an empty value", out->name);
        text[length] = '\0';
        out->values[out->count++] = text;
        out->width = larger(out->width, length);
        text += length;
    }
    return EXIT_DONE;
}

static int parse_row(const char *text, const struct pattern *pattern, struct arena *arena,
                     struct sweep *sweep) {
    struct assignment a;
    if (!assignment_parse("sweep", text, arena, &a))
        return EXIT_USAGE;
    for (int i = 0; i < sweep->count; i++)
        if (strcmp(sweep->rows[i].name, a.name) == 0)
            return usage_error("--sweep: '%s' is given twice", a.name);
    if (sweep->count == SWEEP_MOST)
        return usage_error("--sweep: at most %d names", SWEEP_MOST);
    struct sweep_row *row = &sweep->rows[sweep->count++];
    *row = (struct sweep_row){.name = a.name, .width = larger(0, strlen(a.name))};
    if (!find_option(pattern, row))
        return unknown_name(pattern, a.name, arena);
    return split_values(arena_text(arena, a.value, strlen(a.value)), arena, row);
}

int sweep_parse(const struct text_list *texts, const struct pattern *pattern, struct arena *arena,
                struct sweep *out) {
    *out = (struct sweep){.problems = 1};
    for (int i = 0; i < texts->count; i++) {
        int status = parse_row(texts->items[i], pattern, arena, out);
        if (status != EXIT_DONE)
            return status;
        out->problems *= out->rows[i].count;
    }
    return EXIT_DONE;
}

const char *sweep_value(const struct sweep *sweep, int row, int64_t number) {
    for (int faster = sweep->count - 1; faster > row; faster--)
        number /= sweep->rows[faster].count;
    return sweep->rows[row].values[number % sweep->rows[row].count];
}

static const char *option_text(const struct sweep_row *row, const char *value,
                               struct arena *arena) {
    if (!row->assigns)
        return value;
    size_t room = strlen(row->name) + strlen(value) + 2;
    char *text = ARENA_ARRAY(arena, char, room);
    snprintf(text, room, "%s=%s", row->name, value);
    return text;
}

int sweep_args(const struct sweep *sweep, int64_t number, const struct problem_args *base,
               struct arena *arena, struct problem_args *out) {
    *out = problem_args_copy(base);
    const struct option_set set = PROBLEM_SET(out);
    for (int i = 0; i < sweep->count; i++) {
        const struct sweep_row *row = &sweep->rows[i];
        const char *text = option_text(row, sweep_value(sweep, i, number), arena);
        if (option_set_value(&set, row->option, text) != PARSE_GO)
            return EXIT_USAGE;
    }
    return EXIT_DONE;
}
