// heddle draw: which keys each query of one head sees.
#include "cli/command.h"
#include "cli/mask.h"
#include "cli/picture.h"
#include "cli/problem.h"
#include "cli/progress.h"
#include "cli/selected.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum format { FORMAT_TXT, FORMAT_PNG, FORMAT_SVG, FORMAT_TERM };
static const char *const formats[] = {"txt", "png", "svg", "term", NULL};

// Up to this many queries and keys every pair is asked about; above, tiles are drawn.
enum { EXACT_TOKENS = 2048, IMAGE_PIXELS = 1024, SVG_CELLS = 512 };

struct draw_args {
    int64_t head;
    int format; // 1 + enum format, 0: not given
    const char *output;
    bool tiles;
};

#define MEMBER(name) offsetof(struct draw_args, name)
static const struct option_row draw_options[] = {
    {"head", 0, OPTION_INT, MEMBER(head), "N", "which head (0)", NULL},
    {"format", 0, OPTION_CHOICE, MEMBER(format), "txt|png|svg|term",
     "(by the suffix of -o; else term, or txt in a pipe)", formats},
    {"output", 'o', OPTION_TEXT, MEMBER(output), "FILE", "needed for png and svg", NULL},
    {"tiles", 0, OPTION_FLAG, MEMBER(tiles), "", "tiles: blue full, orange partial, pale dropped",
     NULL},
};

struct draw {
    struct selected_args selected;
    struct draw_args args;
    struct problem_args problem_args;
    enum format format;
    struct problem problem;
    struct plan *plan;
    struct mask mask;
    struct picture picture;
};

static bool has_suffix(const char *text, const char *suffix) {
    size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

static int choose_format(struct draw *draw) {
    const char *output = draw->args.output;
    if (draw->args.format)
        draw->format = (enum format)(draw->args.format - 1);
    else if (output && has_suffix(output, ".png"))
        draw->format = FORMAT_PNG;
    else if (output && has_suffix(output, ".svg"))
        draw->format = FORMAT_SVG;
    else if (output && has_suffix(output, ".txt"))
        draw->format = FORMAT_TXT;
    else if (output)
        return usage_error("-o %s: say the format with --format, or by .png, .svg or .txt", output);
    else
        draw->format = isatty(STDOUT_FILENO) ? FORMAT_TERM : FORMAT_TXT;
    if (!output && (draw->format == FORMAT_PNG || draw->format == FORMAT_SVG))
        return usage_error("--format %s needs -o FILE", formats[draw->format]);
    if (draw->args.tiles && draw->format == FORMAT_TXT)
        complain("--tiles changes nothing in txt");
    return EXIT_DONE;
}

// ---- txt -----------------------------------------------------------------------------------

static bool write_text(struct draw *draw, FILE *file) {
    const struct plan *plan = draw->plan;
    struct mask_rows rows;
    char *line = malloc((size_t)plan->keys + 1);
    bool fits = mask_rows_init(&rows, plan, draw->args.head) && line;
    struct progress progress;
    progress_begin(&progress, "drawing", plan->queries);
    for (int64_t row = 0; fits && row < plan->queries; row++) {
        mask_rows_print(&rows, row, line);
        line[plan->keys] = '\n';
        fwrite(line, 1, (size_t)plan->keys + 1, file);
        progress_step(&progress, row + 1);
    }
    progress_end(&progress);
    free(line);
    mask_rows_finish(&rows);
    return fits;
}

// A pair is read in groups of 1 / share keys.
static char share_letter(float share) {
    return share > 0 ? mask_letter((int64_t)(1.0f / share + 0.5f)) : '0';
}

static bool write_exact_text(const struct mask *mask, FILE *file) {
    char *line = malloc((size_t)mask->width + 1);
    const float *cell = mask->kept;
    for (int y = 0; line && y < mask->height; y++) {
        for (int x = 0; x < mask->width; x++)
            line[x] = share_letter(*cell++);
        line[mask->width] = '\n';
        fwrite(line, 1, (size_t)mask->width + 1, file);
    }
    free(line);
    return line;
}

// ---- pictures ------------------------------------------------------------------------------

struct extent {
    int width, height;
};

// Scaled so that the longer side has at most `most` cells.
static struct extent fit(int64_t keys, int64_t queries, int most_width, int most_height) {
    double scale = 1;
    if ((double)keys / most_width > scale)
        scale = (double)keys / most_width;
    if ((double)queries / most_height > scale)
        scale = (double)queries / most_height;
    int width = (int)((double)keys / scale), height = (int)((double)queries / scale);
    return (struct extent){width > 0 ? width : 1, height > 0 ? height : 1};
}

static struct extent terminal_extent(void) {
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_col || !size.ws_row)
        return (struct extent){80, 2 * 40};
    return (struct extent){size.ws_col, 2 * (size.ws_row > 2 ? size.ws_row - 1 : 1)};
}

static struct extent wanted_extent(const struct draw *draw) {
    const struct plan *plan = draw->plan;
    struct extent room = {IMAGE_PIXELS, IMAGE_PIXELS};
    if (draw->format == FORMAT_TERM)
        room = terminal_extent();
    else if (draw->format == FORMAT_SVG)
        room = (struct extent){SVG_CELLS, SVG_CELLS};
    bool exact = plan->keys <= EXACT_TOKENS && plan->queries <= EXACT_TOKENS;
    if (exact && draw->format != FORMAT_TERM)
        return (struct extent){(int)plan->keys, (int)plan->queries};
    return fit(plan->keys, plan->queries, room.width, room.height);
}

static bool make_mask(struct draw *draw) {
    const struct plan *plan = draw->plan;
    int64_t head = draw->args.head;
    struct extent extent = wanted_extent(draw);
    if (plan->keys > EXACT_TOKENS || plan->queries > EXACT_TOKENS)
        return mask_scaled(&draw->mask, plan, head, extent.width, extent.height);
    if (extent.width == plan->keys && extent.height == plan->queries)
        return mask_pairs(&draw->mask, plan, head, draw->args.tiles);
    struct mask exact;
    bool made = mask_pairs(&exact, plan, head, draw->args.tiles) &&
                mask_shrink(&draw->mask, &exact, extent.width, extent.height);
    mask_finish(&exact);
    return made;
}

// Small masks are magnified to about the size of a large one.
static int zoom_of(const struct picture *picture) {
    int longest = picture->width > picture->height ? picture->width : picture->height;
    int zoom = IMAGE_PIXELS * 3 / 4 / longest;
    return zoom < 1 ? 1 : zoom > 32 ? 32 : zoom;
}

static bool write_picture(struct draw *draw, FILE *file) {
    if (!make_mask(draw))
        return false;
    if (draw->format == FORMAT_TXT)
        return write_exact_text(&draw->mask, file);
    if (!picture_make(&draw->picture, &draw->mask, draw->args.tiles))
        return false;
    if (draw->format == FORMAT_PNG)
        return picture_write_png(&draw->picture, zoom_of(&draw->picture), file);
    if (draw->format == FORMAT_SVG)
        return picture_write_svg(&draw->picture, zoom_of(&draw->picture), file);
    picture_write_term(&draw->picture, file);
    return true;
}

static int write_drawing(struct draw *draw) {
    const struct plan *plan = draw->plan;
    const char *path = draw->args.output;
    FILE *file = path ? fopen(path, "wb") : stdout;
    if (!file) {
        complain("%s: %s", path, strerror(errno));
        return EXIT_INPUT;
    }
    bool by_tile = plan->keys > EXACT_TOKENS || plan->queries > EXACT_TOKENS;
    bool made =
        draw->format == FORMAT_TXT && by_tile ? write_text(draw, file) : write_picture(draw, file);
    bool written = !ferror(file) && (path ? fclose(file) == 0 : true);
    if (!made)
        complain("no memory to draw %" PRId64 " x %" PRId64 " pairs", plan->queries, plan->keys);
    else if (!written)
        complain("%s: cannot be written", path ? path : "standard output");
    return !made ? EXIT_DEVICE : written ? EXIT_DONE : EXIT_INPUT;
}

static int execute(void *context, const char *file) {
    struct draw *draw = context;
    struct problem_shape shape;
    int status = choose_format(draw);
    if (status == EXIT_DONE)
        status = problem_load(&draw->problem, &draw->problem_args, file);
    if (status == EXIT_DONE)
        status = selected_read(&draw->selected, &shape);
    if (status == EXIT_DONE)
        status = problem_bind(&draw->problem, &draw->problem_args, &shape, false);
    if (status == EXIT_DONE && draw->args.head >= draw->problem.spec.heads)
        status = usage_error("--head %" PRId64 " of --heads %" PRId64 "; they count from 0",
                             draw->args.head, draw->problem.spec.heads);
    if (status == EXIT_DONE)
        status = problem_plan(&draw->problem, &draw->problem_args, true, &draw->plan);
    if (status == EXIT_DONE)
        status = selected_run(&draw->selected, draw->plan);
    if (status == EXIT_DONE)
        status = write_drawing(draw);
    picture_finish(&draw->picture);
    mask_finish(&draw->mask);
    plan_destroy(draw->plan);
    problem_finish(&draw->problem);
    selected_finish(&draw->selected);
    return status;
}

int command_draw(int argc, char **argv) {
    struct draw draw = {.selected.seed = 1};
    const struct option_set sets[] = {PROBLEM_SET(&draw.problem_args),
                                      OPTION_SET(draw_options, &draw.args),
                                      SELECTED_SET(&draw.selected)};
    const struct option_use use = {"draw FILE", "Draws which keys each query of a head sees.", sets,
                                   3};
    return problem_command(&use, &draw.problem_args, argc, argv, execute, &draw);
}
