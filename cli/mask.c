#include "cli/mask.h"

#include "cli/progress.h"
#include "cli/tiles.h"
#include "runtime/pair_env.h"

#include <stdlib.h>
#include <string.h>

static bool mask_init(struct mask *mask, int width, int height, bool tiles) {
    size_t cells = (size_t)width * (size_t)height;
    *mask = (struct mask){.width = width, .height = height};
    mask->kept = calloc(cells, sizeof *mask->kept);
    if (tiles) {
        mask->full = calloc(cells, sizeof *mask->full);
        mask->partial = calloc(cells, sizeof *mask->partial);
    }
    return mask->kept && (!tiles || (mask->full && mask->partial));
}

void mask_finish(struct mask *mask) {
    free(mask->kept);
    free(mask->full);
    free(mask->partial);
    free(mask->tile);
    *mask = (struct mask){0};
}

// ---- pair by pair --------------------------------------------------------------------------

struct labels { // of one item's tiles, while they are drawn onto an exact mask
    struct mask *mask;
    int32_t first; // number of the item's first tile
    int32_t most;
    int64_t row;
};

static void label_segment(void *context, const struct tile_segment *segment) {
    struct labels *labels = context;
    struct mask *mask = labels->mask;
    int32_t number = labels->first + (int32_t)segment->tile;
    labels->most = number > labels->most ? number : labels->most;
    for (int64_t i = 0; i < segment->count; i++) {
        int64_t cell = labels->row * mask->width + segment->begin + i * segment->step;
        mask->tile[cell] = number;
        *(segment->partial ? &mask->partial[cell] : &mask->full[cell]) = 1;
    }
}

struct label_walk {
    struct labels labels;
    const struct plan *plan;
    int64_t head, box;
};

static void label_row(void *context, int64_t row) {
    struct label_walk *walk = context;
    walk->labels.row = row;
    item_segments(walk->plan, 0, walk->head, walk->box, false, label_segment, &walk->labels);
}

static bool label_tiles(struct mask *mask, const struct plan *plan, int64_t head) {
    size_t cells = (size_t)mask->width * (size_t)mask->height;
    mask->tile = malloc(cells * sizeof *mask->tile);
    if (!mask->tile)
        return false;
    memset(mask->tile, 0xff, cells * sizeof *mask->tile);
    struct label_walk walk = {.labels = {.mask = mask, .most = -1}, .plan = plan, .head = head};
    for (walk.box = 0; walk.box < plan->launch.box_count; walk.box++) {
        walk.labels.first = walk.labels.most + 1;
        item_rows(plan, walk.box, label_row, &walk);
    }
    return true;
}

static float kept_share(struct pair_env *env, int64_t key) {
    int64_t level = pair_env_level(env, key);
    return level ? 1.0f / (float)level : 0.0f;
}

char mask_letter(int64_t factor) {
    int log = 63 - __builtin_clzll((uint64_t)factor | 1);
    if (factor < 10)
        return (char)('0' + factor);
    return (char)((factor & (factor - 1)) == 0 ? 'a' + log - 4 : 'A' + log - 3);
}

bool mask_pairs(struct mask *mask, const struct plan *plan, int64_t head, bool tiles) {
    struct pair_env env = {0};
    if (!mask_init(mask, (int)plan->keys, (int)plan->queries, tiles) || !pair_env_init(&env, plan))
        return false;
    mask->exact = true;
    struct progress progress;
    progress_begin(&progress, "drawing", plan->queries);
    float *cell = mask->kept;
    for (int64_t row = 0; row < plan->queries; row++) {
        pair_env_place(&env, 0, head, row + plan->query_offset, 0);
        for (int64_t key = 0; key < plan->keys; key++) {
            *cell++ = kept_share(&env, key);
        }
        progress_step(&progress, row + 1);
    }
    progress_end(&progress);
    pair_env_finish(&env);
    return !tiles || label_tiles(mask, plan, head);
}

bool mask_shrink(struct mask *mask, const struct mask *exact, int width, int height) {
    if (!mask_init(mask, width, height, exact->full != NULL))
        return false;
    for (int y = 0; y < exact->height; y++)
        for (int x = 0; x < exact->width; x++) {
            size_t from = (size_t)y * (size_t)exact->width + (size_t)x;
            size_t to = (size_t)((int64_t)y * height / exact->height) * (size_t)width +
                        (size_t)((int64_t)x * width / exact->width);
            float area =
                ((float)exact->width / (float)width) * ((float)exact->height / (float)height);
            mask->kept[to] += exact->kept[from] / area;
            if (exact->full) {
                mask->full[to] += exact->full[from] / area;
                mask->partial[to] += exact->partial[from] / area;
            }
        }
    return true;
}

// ---- tile by tile --------------------------------------------------------------------------

// How many tokens of each column of cells an item's full and partial tiles cover.
struct columns {
    float *full, *partial;
    int width;
    int64_t keys;
};

static int64_t first_token(int64_t column, int64_t width, int64_t tokens) {
    return (column * tokens + width - 1) / width;
}

static void add_segment(void *context, const struct tile_segment *segment) {
    struct columns *columns = context;
    float *counts = segment->partial ? columns->partial : columns->full;
    if (segment->step != 1) {
        for (int64_t i = 0; i < segment->count; i++)
            counts[(segment->begin + i * segment->step) * columns->width / columns->keys] += 1;
        return;
    }
    int64_t at = segment->begin, end = segment->begin + segment->count;
    while (at < end) {
        int64_t column = at * columns->width / columns->keys;
        int64_t next = first_token(column + 1, columns->width, columns->keys);
        next = next < end ? next : end;
        counts[column] += (float)(next - at) / (float)segment->factor;
        at = next;
    }
}

struct row_counts { // how many rows of an item each row of cells holds
    int *of;
    int height, least, most;
    int64_t queries;
};

static void count_row(void *context, int64_t row) {
    struct row_counts *counts = context;
    int cell = (int)(row * counts->height / counts->queries);
    counts->of[cell]++;
    counts->least = cell < counts->least ? cell : counts->least;
    counts->most = cell > counts->most ? cell : counts->most;
}

// full and partial hold pairs here; scale_cells turns them into shares.
static void add_item(struct mask *mask, const struct columns *columns, struct row_counts *rows) {
    for (int y = rows->least; y <= rows->most; y++) {
        if (!rows->of[y])
            continue;
        float *full = mask->full + (size_t)y * (size_t)mask->width;
        float *partial = mask->partial + (size_t)y * (size_t)mask->width;
        for (int x = 0; x < mask->width; x++) {
            full[x] += (float)rows->of[y] * columns->full[x];
            partial[x] += (float)rows->of[y] * columns->partial[x];
        }
        rows->of[y] = 0;
    }
}

static bool add_items(struct mask *mask, const struct plan *plan, int64_t head) {
    size_t width = (size_t)mask->width;
    struct columns columns = {calloc(2 * width, sizeof(float)), NULL, mask->width, plan->keys};
    struct row_counts rows = {.of = calloc((size_t)mask->height, sizeof(int)),
                              .height = mask->height,
                              .queries = plan->queries};
    columns.partial = columns.full ? columns.full + width : NULL;
    bool fits = columns.full && rows.of;
    struct progress progress;
    progress_begin(&progress, "drawing tiles", plan->launch.box_count);
    for (int64_t box = 0; fits && box < plan->launch.box_count; box++) {
        memset(columns.full, 0, 2 * width * sizeof(float));
        item_segments(plan, 0, head, box, true, add_segment, &columns);
        rows.least = mask->height;
        rows.most = -1;
        item_rows(plan, box, count_row, &rows);
        add_item(mask, &columns, &rows);
        progress_step(&progress, box + 1);
    }
    progress_end(&progress);
    free(columns.full);
    free(rows.of);
    return fits;
}

// The kept share of a cell by four pairs, one in each quarter.
static float sample_cell(struct pair_env *env, const struct plan *plan, int64_t head,
                         const int64_t *rows, const int64_t *keys) {
    enum { SIDE = 2 };
    float kept = 0;
    for (int64_t y = 0; y < SIDE; y++)
        for (int64_t x = 0; x < SIDE; x++) {
            int64_t row = rows[0] + (rows[1] - rows[0]) * (2 * y + 1) / (2 * SIDE);
            int64_t key = keys[0] + (keys[1] - keys[0]) * (2 * x + 1) / (2 * SIDE);
            pair_env_place(env, 0, head, row + plan->query_offset, key);
            kept += kept_share(env, key);
        }
    return kept / (SIDE * SIDE);
}

static void scale_row(struct mask *mask, const struct plan *plan, int64_t head, int y,
                      struct pair_env *env) {
    int64_t rows[2] = {first_token(y, mask->height, plan->queries),
                       first_token(y + 1, mask->height, plan->queries)};
    for (int x = 0; x < mask->width; x++) {
        size_t cell = (size_t)y * (size_t)mask->width + (size_t)x;
        int64_t keys[2] = {first_token(x, mask->width, plan->keys),
                           first_token(x + 1, mask->width, plan->keys)};
        float area = (float)(rows[1] - rows[0]) * (float)(keys[1] - keys[0]);
        mask->full[cell] /= area;
        mask->partial[cell] /= area;
        mask->kept[cell] =
            mask->partial[cell] > 0 ? sample_cell(env, plan, head, rows, keys) : mask->full[cell];
    }
}

bool mask_scaled(struct mask *mask, const struct plan *plan, int64_t head, int width, int height) {
    struct pair_env env = {0};
    if (!mask_init(mask, width, height, true) || !pair_env_init(&env, plan))
        return false;
    bool fits = add_items(mask, plan, head);
    struct progress progress;
    progress_begin(&progress, "drawing cells", height);
    for (int y = 0; fits && y < height; y++) {
        scale_row(mask, plan, head, y, &env);
        progress_step(&progress, y + 1);
    }
    progress_end(&progress);
    pair_env_finish(&env);
    return fits;
}

// ---- one row as text -----------------------------------------------------------------------

struct box_walk {
    int32_t *box_of;
    int32_t box;
};

static void note_box(void *context, int64_t row) {
    struct box_walk *walk = context;
    walk->box_of[row] = walk->box;
}

bool mask_rows_init(struct mask_rows *rows, const struct plan *plan, int64_t head) {
    *rows = (struct mask_rows){.plan = plan, .head = head};
    rows->box_of = calloc((size_t)plan->queries, sizeof *rows->box_of);
    rows->env = malloc(sizeof *rows->env);
    rows->factor = calloc((size_t)plan->keys, sizeof *rows->factor);
    if (!rows->box_of || !rows->env || !rows->factor || !pair_env_init(rows->env, plan))
        return false;
    struct box_walk walk = {.box_of = rows->box_of};
    for (; walk.box < plan->launch.box_count; walk.box++)
        item_rows(plan, walk.box, note_box, &walk);
    return true;
}

void mask_rows_finish(struct mask_rows *rows) {
    if (rows->env)
        pair_env_finish(rows->env);
    free(rows->env);
    free(rows->factor);
    free(rows->box_of);
    *rows = (struct mask_rows){0};
}

struct row_text {
    struct pair_env *env;
    char *out;
    int64_t *factor; // by key, where out is not '0'
};

static void print_segment(void *context, const struct tile_segment *segment) {
    struct row_text *text = context;
    char letter = mask_letter(segment->factor);
    if (segment->partial)
        pair_env_source(text->env, segment->source);
    for (int64_t i = 0; i < segment->count; i++) {
        int64_t key = segment->begin + i * segment->step;
        bool kept = true;
        if (segment->partial) {
            pair_env_key(text->env, key / segment->factor);
            kept = pair_env_keeps(text->env, NULL);
        }
        // The finest stays; runs are not in that order where sources overlap.
        if (kept && (text->out[key] == '0' || segment->factor < text->factor[key])) {
            text->out[key] = letter;
            text->factor[key] = segment->factor;
        }
    }
}

void mask_rows_print(struct mask_rows *rows, int64_t row, char *out) {
    const struct plan *plan = rows->plan;
    struct row_text text = {rows->env, out, rows->factor};
    memset(out, '0', (size_t)plan->keys);
    pair_env_place(rows->env, 0, rows->head, row + plan->query_offset, 0);
    item_segments(plan, 0, rows->head, rows->box_of[row], true, print_segment, &text);
}
