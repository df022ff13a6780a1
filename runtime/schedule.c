// Stage `schedule`. See schedule.h.

#include "runtime/schedule.h"

#include "compiler/pipeline.h"
#include "runtime/cost.h"
#include "runtime/lists.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_ITEMS = 24, MOST_SHAPES = 32, MOST_CANDIDATES = 4 * MOST_SHAPES * MAX_BASES };

struct shape_list {
    int64_t shapes[MOST_SHAPES][ABI_AXES];
    int count;
};

static void add_shape(struct shape_list *list, int64_t t, int64_t y, int64_t x) {
    if (list->count == MOST_SHAPES)
        return;
    int64_t *shape = list->shapes[list->count++];
    shape[0] = t;
    shape[1] = y;
    shape[2] = x;
}

// Boxes of `volume` positions with powers of two along the slower axes in use; the fastest axis
// gets a multiple of `unit`, so that rows stay together in memory.
static void add_shapes(struct shape_list *list, int axes, int64_t volume, int64_t unit) {
    for (int64_t t = 1; t <= (axes == 3 ? volume : 1); t *= 2)
        for (int64_t y = 1; y <= (axes >= 2 ? volume / t : 1); y *= 2)
            if (axes == 1 ||
                (volume % (t * y) == 0 && volume / t / y % unit == 0 && volume / t / y > 0))
                add_shape(list, t, y, volume / t / y);
}

struct search {
    struct plan *plan;
    struct piece_space *space;
    const struct plan_boxes *remembered; // or NULL
    struct mask_ops ops;                 // of the basis in hand
    struct plan best_plan;               // basis, tiles and geometry of the best so far
    struct plan_candidate found[MOST_CANDIDATES];
    int count, best; // best: -1 while nothing can be planned
};

// Workers take whole items: the time of all of them over the share that has something to do. Items
// that are alike come in waves; of others the longest may outlast the rest.
static double idle_factor(const struct plan *plan, double items, double mean_ms,
                          double longest_ms) {
    double workers = cost_device_of(plan->options.target).workers;
    if (workers <= 0.0 || mean_ms <= 0.0)
        return 1.0;
    double least = workers * longest_ms / (items * mean_ms);
    if (longest_ms < 1.25 * mean_ms)
        least = ceil(items / workers) * workers / items;
    return least > 1.0 ? least : 1.0;
}

// Plans an even sample of items in the plan's boxes; false when there is no query to plan for.
static bool sample(struct search *search, struct plan_candidate *out) {
    const struct plan *plan = search->plan;
    int64_t boxes = lists_box_count(plan), items = boxes * plan->row_count;
    int64_t sampled = items < SAMPLE_ITEMS ? items : SAMPLE_ITEMS;
    double rows = 0.0, ms = 0.0, longest_ms = 0.0, count = (double)sampled;
    struct cost cost = cost_of(plan, &search->ops);
    for (int64_t i = 0; i < sampled; i++) {
        int64_t number = (2 * i + 1) * items / (2 * sampled);
        struct abi_query_box box = lists_box(plan, number % boxes);
        struct piece_list list;
        struct tile_count tiles =
            lists_sample(plan, number / boxes, number % boxes, search->space, &list);
        out->full += (double)tiles.full / count;
        out->partial += (double)tiles.partial / count;
        double item_ms =
            (double)tiles.full * cost.full + (double)tiles.partial * cost.partial + cost.item;
        ms += item_ms / count;
        longest_ms = item_ms > longest_ms ? item_ms : longest_ms;
        rows += (double)(box.end[0] - box.begin[0]) * (box.end[1] - box.begin[1]) *
                (box.end[2] - box.begin[2]) / count;
    }
    double all = (double)(plan->batch * plan->heads * boxes);
    out->row_ms = ms / rows * idle_factor(plan, all, ms, longest_ms);
    return rows > 0.0;
}

static bool is_forced(const int64_t *shape) {
    return shape[0] || shape[1] || shape[2];
}

bool schedule_is_forced(const struct plan_options *options) {
    return options->basis >= 0 || is_forced(options->query_tile) || is_forced(options->key_tile);
}

static bool same_shape(const int64_t *a, const int64_t *b) {
    return memcmp(a, b, ABI_AXES * sizeof *a) == 0;
}

// The candidate with these boxes; -1: they were not tried.
static int tried(const struct search *search, int basis, const int64_t *query, const int64_t *key) {
    for (int i = 0; i < search->count; i++) {
        const struct plan_boxes *boxes = &search->found[i].boxes;
        if (boxes->basis == basis && same_shape(boxes->query_tile, query) &&
            same_shape(boxes->key_tile, key))
            return i;
    }
    return -1;
}

static void set_shapes(struct plan *plan, const int64_t *query, const int64_t *key) {
    memcpy(plan->query_tile, query, sizeof plan->query_tile);
    memcpy(plan->launch.tile, key, sizeof plan->launch.tile);
}

static void try_shapes(struct search *search, const int64_t *query, const int64_t *key) {
    struct plan *plan = search->plan;
    if (search->count == MOST_CANDIDATES || tried(search, plan->basis, query, key) >= 0)
        return;
    struct plan_candidate *here = &search->found[search->count];
    *here = (struct plan_candidate){.boxes.basis = plan->basis};
    memcpy(here->boxes.query_tile, query, sizeof here->boxes.query_tile);
    memcpy(here->boxes.key_tile, key, sizeof here->boxes.key_tile);
    set_shapes(plan, query, key);
    if (!sample(search, here))
        return;
    // A little better is not better: earlier candidates have longer rows.
    if (search->best < 0 || here->row_ms < search->found[search->best].row_ms * 0.99) {
        search->best = search->count;
        search->best_plan = *plan;
    }
    search->count++;
}

static bool holds(const struct shape_list *list, const int64_t *shape) {
    for (int i = 0; i < list->count; i++)
        if (same_shape(list->shapes[i], shape))
            return true;
    return false;
}

// The passes may have left them out: the counts of another input led elsewhere.
static void try_remembered(struct search *search, const struct shape_list *queries,
                           const struct shape_list *keys) {
    const struct plan_boxes *boxes = search->remembered;
    if (boxes && boxes->basis == search->plan->basis && holds(queries, boxes->query_tile) &&
        holds(keys, boxes->key_tile))
        try_shapes(search, boxes->query_tile, boxes->key_tile);
}

// Two passes: query boxes with key boxes alike, then key boxes for the best query box.
static void try_passes(struct search *search, const struct shape_list *queries,
                       const struct shape_list *keys) {
    for (int q = 0; q < queries->count; q++)
        try_shapes(search, queries->shapes[q], keys->shapes[q < keys->count ? q : 0]);
    int64_t best_query[ABI_AXES];
    memcpy(best_query, search->best_plan.query_tile, sizeof best_query);
    if (search->best_plan.basis != search->plan->basis || !holds(queries, best_query))
        return;
    for (int k = 0; k < keys->count; k++)
        try_shapes(search, best_query, keys->shapes[k]);
}

static void force(struct shape_list *list, const int64_t *shape) {
    if (!is_forced(shape))
        return;
    list->count = 0;
    add_shape(list, shape[0], shape[1], shape[2]);
}

// Items of the usual rows, or tall ones, whose tiles are not wide as well.
static void try_items(struct search *search, bool tall) {
    struct plan *plan = search->plan;
    const struct plan_options *options = &plan->options;
    const int64_t *forced = options->query_tile;
    struct shape_list queries = {.count = 0}, keys = {.count = 0};
    bool forced_tall = forced[0] * forced[1] * forced[2] > plan->query_rows;
    if (is_forced(forced) && forced_tall != tall)
        return;
    add_shapes(&queries, plan->basis_axes, tall ? plan->tall_rows : plan->query_rows,
               plan->row_unit);
    add_shapes(&keys, plan->basis_axes, plan->key_rows, plan->row_unit);
    if (plan->half_tiles)
        add_shapes(&keys, plan->basis_axes, plan->key_rows / 2, plan->row_unit);
    if (plan->wide_rows && plan->basis_axes == 1 && !tall)
        add_shapes(&keys, plan->basis_axes, plan->wide_rows, plan->row_unit);
    force(&queries, options->query_tile);
    force(&keys, options->key_tile);
    try_passes(search, &queries, &keys);
    try_remembered(search, &queries, &keys);
}

static enum heddle_status no_memory(struct error *error) {
    return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory to choose tile shapes");
}

static enum heddle_status search_bases(struct search *search, struct error *error) {
    struct plan *plan = search->plan;
    const struct facts *facts = plan->program->facts;
    int side = plan->options.key_major ? SIDE_KEY : SIDE_QUERY;
    enum heddle_status status = HEDDLE_OK;
    search->best = -1;
    search->best_plan = *plan;
    // The most fused basis first: at equal cost its rows are the longest.
    for (int b = facts->basis_count - 1; b >= 0 && status == HEDDLE_OK; b--) {
        if (!facts->sides[side][b].usable || (plan->options.basis >= 0 && plan->options.basis != b))
            continue;
        plan->basis = b;
        status = lists_geometry(plan, error);
        if (status == HEDDLE_OK && !mask_ops_count(plan, &search->ops))
            status = no_memory(error);
        if (status == HEDDLE_OK)
            try_items(search, false);
        if (status == HEDDLE_OK && plan->tall_rows)
            try_items(search, true);
    }
    *plan = search->best_plan;
    return status;
}

// Only now: the copies of the plan that the search keeps share its arena.
static void keep_candidates(struct search *search) {
    struct plan *plan = search->plan;
    struct plan_candidate *kept =
        ARENA_ARRAY(&plan->arena, struct plan_candidate, (size_t)search->count);
    memcpy(kept, search->found, (size_t)search->count * sizeof *kept);
    plan->candidates = kept;
    plan->candidate_count = search->count;
    plan->predicted = plan->chosen = search->best;
}

static enum heddle_status take_remembered(const struct search *search, struct error *error) {
    struct plan *plan = search->plan;
    const struct plan_boxes *boxes = search->remembered;
    int number = boxes ? tried(search, boxes->basis, boxes->query_tile, boxes->key_tile) : -1;
    if (number < 0)
        return HEDDLE_OK;
    plan->chosen = number;
    plan->tuned = true;
    plan->basis = boxes->basis;
    set_shapes(plan, boxes->query_tile, boxes->key_tile);
    return lists_geometry(plan, error);
}

enum heddle_status schedule_choose(struct plan *plan, const struct plan_boxes *remembered,
                                   struct error *error) {
    struct search search = {.plan = plan, .remembered = remembered};
    const struct piece_limits limits = PIECE_LIMITS_LARGE; // shapes do not depend on the plan's
    void *memory = malloc((size_t)piece_space_bytes(&limits));
    if (!memory)
        return no_memory(error);
    search.space = piece_space_place(memory, &limits);
    enum heddle_status status = search_bases(&search, error);
    free(memory);
    if (status == HEDDLE_OK && search.best < 0)
        status = error_set(error, HEDDLE_BAD_ARGUMENT,
                           plan->options.basis >= 0 ? "that basis is not planned in"
                                                    : "the problem has no query");
    if (status != HEDDLE_OK)
        return status;
    keep_candidates(&search);
    return take_remembered(&search, error);
}

// ---- limits -----------------------------------------------------------------------------------

static int32_t greater(int32_t a, int32_t b) {
    return a > b ? a : b;
}

// Twice what was seen, as a power of two.
static int32_t with_margin(int32_t seen, int32_t least, int32_t most) {
    int32_t room = least;
    while (room < 2 * seen && room < most)
        room *= 2;
    return room < most ? room : most;
}

static struct piece_limits sample_limits(const struct plan *plan, struct piece_space *space) {
    enum { LIMIT_ITEMS = 256 };
    int64_t boxes = plan->launch.box_count, items = boxes * plan->row_count;
    int64_t sampled = items < LIMIT_ITEMS ? items : LIMIT_ITEMS;
    struct piece_limits seen = {0, 0, 0, 0};
    for (int64_t i = 1; i <= sampled; i++) {
        int64_t number = items * i / sampled - 1; // the last of each part: lists grow along axes
        struct piece_list list;
        lists_sample(plan, number / boxes, number % boxes, space, &list);
        seen.regions = greater(seen.regions, list.used.regions);
        seen.pieces = greater(seen.pieces, list.used.pieces);
        seen.raw_runs = greater(seen.raw_runs, list.used.raw_runs);
        seen.runs = greater(seen.runs, list.used.runs);
    }
    return seen;
}

enum heddle_status schedule_limits(struct plan *plan, struct error *error) {
    const struct piece_limits large = PIECE_LIMITS_LARGE;
    void *memory = malloc((size_t)piece_space_bytes(&large));
    if (!memory)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory to choose the lists' room");
    struct piece_limits seen = sample_limits(plan, piece_space_place(memory, &large));
    free(memory);
    plan->limits.regions = with_margin(seen.regions, 16, large.regions);
    plan->limits.pieces = with_margin(seen.pieces, 16, large.pieces);
    plan->limits.raw_runs = with_margin(seen.raw_runs, 64, large.raw_runs);
    if (plan->options.run_room <= 0)
        plan->limits.runs = with_margin(seen.runs, 16, large.runs);
    int64_t lists = plan->row_count * plan->launch.box_count;
    while (plan->limits.runs > 1 &&
           lists > INT32_MAX / plan->limits.runs) // kernels count in 32 bits
        plan->limits.runs /= 2;
    return HEDDLE_OK;
}

void schedule_print(const struct plan *plan, struct strbuf *out) {
    const struct facts *facts = plan->program->facts;
    int first = ABI_AXES - plan->basis_axes;
    strbuf_printf(out, "basis %s\n", facts->bases[plan->basis].name);
    strbuf_puts(out, "query tile");
    for (int a = first; a < ABI_AXES; a++)
        strbuf_printf(out, "%s%" PRId64, a > first ? " x " : " ", plan->query_tile[a]);
    strbuf_puts(out, "\nkey tile");
    for (int a = first; a < ABI_AXES; a++)
        strbuf_printf(out, "%s%" PRId64, a > first ? " x " : " ", plan->launch.tile[a]);
    strbuf_puts(out, plan->tuned ? "\nboxes as measured" : "");
    strbuf_printf(out, "\nindices %d bits\n", plan->launch.narrow ? 32 : 64);
    for (int a = first; a < ABI_AXES; a++)
        if (plan->launch.dilation[a] != 1)
            strbuf_printf(out, "axis %d split by residue modulo %" PRId64 "\n", a,
                          plan->launch.dilation[a]);
    strbuf_printf(out, "lists for %" PRId64 " of %" PRId64 " heads\n", plan->row_count,
                  plan->heads);
}
