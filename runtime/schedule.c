// Stage `schedule`. See schedule.h.

#include "runtime/schedule.h"

#include "compiler/pipeline.h"
#include "runtime/lists.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_ITEMS = 24, SAMPLE_RUNS = 4096, MOST_SHAPES = 32 };

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

// What a tile costs against one of the most keys: half a tile is a little more than half.
static double tile_cost(const struct plan *plan) {
    const double each = 0.15;
    double keys = (double)(plan->launch.tile[0] * plan->launch.tile[1] * plan->launch.tile[2]);
    double part = keys / (double)plan->key_rows;
    return part + each * (1.0 - part);
}

// Cost of a query row, in full tiles of work, over an even sample of items; negative when nothing
// can be planned.
static double sample_cost(const struct plan *plan, struct piece_space *space,
                          struct piece_output *scratch) {
    int64_t boxes = lists_box_count(plan), items = boxes * plan->row_count;
    int64_t sampled = items < SAMPLE_ITEMS ? items : SAMPLE_ITEMS;
    double cost = 0.0, rows = 0.0, size = tile_cost(plan);
    for (int64_t i = 0; i < sampled; i++) {
        int64_t number = sampled < items ? i * (items / sampled) + (items / sampled) / 2 : i;
        struct abi_query_box box = lists_box(plan, number % boxes);
        struct tile_count tiles =
            lists_sample(plan, number / boxes, number % boxes, space, scratch);
        cost += size * ((double)tiles.full + SCHEDULE_PARTIAL_COST * (double)tiles.partial) +
                SCHEDULE_ITEM_COST;
        rows += (double)(box.end[0] - box.begin[0]) * (box.end[1] - box.begin[1]) *
                (box.end[2] - box.begin[2]);
    }
    return rows > 0.0 ? cost / rows : -1.0;
}

static bool is_forced(const int64_t *shape) {
    return shape[0] || shape[1] || shape[2];
}

struct search {
    struct plan *plan;
    struct piece_space *space;
    struct piece_output scratch;
    double best;
    struct plan best_plan; // basis, tiles and geometry of the best so far
};

static void try_shapes(struct search *search, const int64_t *query, const int64_t *key) {
    struct plan *plan = search->plan;
    memcpy(plan->query_tile, query, sizeof plan->query_tile);
    memcpy(plan->launch.tile, key, sizeof plan->launch.tile);
    double cost = sample_cost(plan, search->space, &search->scratch);
    // A little better is not better: earlier candidates have longer rows.
    if (cost >= 0.0 && (search->best < 0.0 || cost < search->best * 0.99)) {
        search->best = cost;
        search->best_plan = *plan;
    }
}

// Two passes: query boxes with key boxes alike, then key boxes for the best query box.
static void try_basis(struct search *search) {
    struct plan *plan = search->plan;
    const struct plan_options *options = &plan->options;
    struct shape_list queries = {.count = 0}, keys = {.count = 0};
    add_shapes(&queries, plan->basis_axes, plan->query_rows, plan->row_unit);
    add_shapes(&keys, plan->basis_axes, plan->key_rows, plan->row_unit);
    if (plan->half_tiles)
        add_shapes(&keys, plan->basis_axes, plan->key_rows / 2, plan->row_unit);
    if (is_forced(options->query_tile)) {
        queries.count = 0;
        add_shape(&queries, options->query_tile[0], options->query_tile[1], options->query_tile[2]);
    }
    if (is_forced(options->key_tile)) {
        keys.count = 0;
        add_shape(&keys, options->key_tile[0], options->key_tile[1], options->key_tile[2]);
    }
    for (int q = 0; q < queries.count; q++)
        try_shapes(search, queries.shapes[q], keys.shapes[q < keys.count ? q : 0]);
    if (search->best_plan.basis != plan->basis)
        return;
    int64_t best_query[ABI_AXES];
    memcpy(best_query, search->best_plan.query_tile, sizeof best_query);
    for (int k = 0; k < keys.count; k++)
        try_shapes(search, best_query, keys.shapes[k]);
}

static enum heddle_status search_bases(struct search *search, struct error *error) {
    struct plan *plan = search->plan;
    const struct facts *facts = plan->program->facts;
    int side = plan->options.key_major ? SIDE_KEY : SIDE_QUERY;
    enum heddle_status status = HEDDLE_OK;
    search->best = -1.0;
    search->best_plan = *plan;
    // The most fused basis first: at equal cost its rows are the longest.
    for (int b = facts->basis_count - 1; b >= 0 && status == HEDDLE_OK; b--) {
        if (!facts->sides[side][b].usable || (plan->options.basis >= 0 && plan->options.basis != b))
            continue;
        plan->basis = b;
        status = lists_geometry(plan, error);
        if (status == HEDDLE_OK)
            try_basis(search);
    }
    *plan = search->best_plan;
    return status;
}

enum heddle_status schedule_choose(struct plan *plan, struct error *error) {
    struct search search = {.plan = plan};
    search.space = malloc((size_t)piece_space_bytes());
    search.scratch.runs = malloc(SAMPLE_RUNS * sizeof(struct abi_run));
    search.scratch.run_room = SAMPLE_RUNS;
    search.scratch.owns = malloc(MAX_PIECES * sizeof(struct abi_box));
    search.scratch.own_room = MAX_PIECES;
    enum heddle_status status =
        search.space && search.scratch.runs && search.scratch.owns
            ? search_bases(&search, error)
            : error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory to choose tile shapes");
    free(search.space);
    free(search.scratch.runs);
    free(search.scratch.owns);
    if (status == HEDDLE_OK && search.best < 0.0)
        status = error_set(error, HEDDLE_BAD_ARGUMENT,
                           plan->options.basis >= 0 ? "that basis is not planned in"
                                                    : "the problem has no query");
    return status;
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
    strbuf_printf(out, "\nindices %d bits\n", plan->launch.narrow ? 32 : 64);
    for (int a = first; a < ABI_AXES; a++)
        if (plan->launch.dilation[a] != 1)
            strbuf_printf(out, "axis %d split by residue modulo %" PRId64 "\n", a,
                          plan->launch.dilation[a]);
    strbuf_printf(out, "lists for %" PRId64 " of %" PRId64 " heads\n", plan->row_count,
                  plan->heads);
}
