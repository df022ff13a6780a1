// Part of stage `plan`: geometry and work lists. See lists.h.

#include "runtime/lists.h"

#include "compiler/pipeline.h"
#include "runtime/bind.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int64_t ceil_div(int64_t a, int64_t b) {
    return a / b + (a % b > 0);
}

static const struct basis *plan_basis(const struct plan *plan) {
    return &plan->program->facts->bases[plan->basis];
}

// ---- geometry ---------------------------------------------------------------------------------

static enum heddle_status axis_dilation(struct plan *plan, int axis, struct error *error) {
    const struct expr *split = plan_basis(plan)->split[axis];
    plan->launch.dilation[axis] = 1;
    if (!split)
        return HEDDLE_OK;
    struct eval_env env;
    struct eval_failure failure = {0};
    bind_eval_env(plan, &env);
    int64_t dilation = expr_eval(split, &env, &failure).i;
    if (failure.fault != EVAL_OK || dilation < 1)
        return error_set(error, HEDDLE_PATTERN_ERROR,
                         "%serror: positions are taken modulo %" PRId64
                         " for this problem; it must be 1 or more",
                         bind_place(plan, split->span), dilation);
    plan->launch.dilation[axis] = dilation;
    return HEDDLE_OK;
}

enum heddle_status lists_geometry(struct plan *plan, struct error *error) {
    const struct basis *basis = plan_basis(plan);
    struct abi_launch *launch = &plan->launch;
    int64_t stride = 1;
    for (int a = ABI_AXES - 1; a >= 0; a--) {
        bool used = basis->first[a] <= basis->last[a];
        launch->basis_extent[a] = 1;
        for (int p = basis->first[a]; used && p <= basis->last[a]; p++)
            launch->basis_extent[a] *= plan->size[p];
        launch->token_stride[a] = used ? stride : 0;
        stride *= launch->basis_extent[a];
        enum heddle_status status = axis_dilation(plan, a, error);
        if (status != HEDDLE_OK)
            return status;
    }
    for (int p = 0; p < plan->program->pattern->axis_count; p++) {
        int axis = basis->axis_of[p];
        launch->axis_basis[p] = axis;
        launch->axis_divisor[p] = 1;
        for (int faster = p + 1; faster <= basis->last[axis]; faster++)
            launch->axis_divisor[p] *= plan->size[faster];
        launch->axis_modulus[p] = p > basis->first[axis] ? plan->size[p] : 0;
    }
    launch->axis_count = plan->program->pattern->axis_count;
    launch->query_offset = plan->query_offset;
    plan->basis_axes = basis->axis_count;
    return HEDDLE_OK;
}

// ---- boxes of the item side -------------------------------------------------------------------

// Positions of the item side along a basis axis, undilated: [*begin, *end).
static void item_positions(const struct plan *plan, int axis, int64_t *begin, int64_t *end) {
    *begin = 0;
    *end = plan->launch.basis_extent[axis];
    bool outermost = axis == ABI_AXES - plan->basis_axes;
    if (!plan->options.key_major && outermost)
        *begin = plan->query_offset / plan->launch.token_stride[axis];
}

// The least c with residue + d * c >= position, also where that is negative.
static int64_t first_place(int64_t position, int64_t residue, int64_t d) {
    int64_t below = position - residue;
    return below >= 0 ? ceil_div(below, d) : -((-below) / d);
}

// Basis coordinates of a residue: [*begin, *end), dilated.
static void residue_range(const struct plan *plan, int axis, int64_t residue, int64_t *begin,
                          int64_t *end) {
    int64_t d = plan->launch.dilation[axis];
    item_positions(plan, axis, begin, end);
    *begin = first_place(*begin, residue, d);
    *end = *end > residue ? ceil_div(*end - residue, d) : 0;
}

static int64_t axis_boxes(const struct plan *plan, int axis, int64_t residue) {
    int64_t begin, end;
    residue_range(plan, axis, residue, &begin, &end);
    return end > begin ? ceil_div(end - begin, plan->query_tile[axis]) : 0;
}

// Boxes along one axis, over all residues.
static int64_t axis_total(const struct plan *plan, int axis) {
    int64_t begin, end, total = 0;
    item_positions(plan, axis, &begin, &end);
    for (int64_t r = 0; r < plan->launch.dilation[axis] && r < end; r++)
        total += axis_boxes(plan, axis, r);
    return total;
}

int64_t lists_box_count(const struct plan *plan) {
    return axis_total(plan, 0) * axis_total(plan, 1) * axis_total(plan, 2);
}

struct abi_query_box lists_box(const struct plan *plan, int64_t number) {
    struct abi_query_box box;
    for (int a = ABI_AXES - 1; a >= 0; a--) {
        int64_t total = axis_total(plan, a), at = number % total, residue = 0, begin, end;
        number /= total;
        for (int64_t here; at >= (here = axis_boxes(plan, a, residue)); residue++)
            at -= here;
        residue_range(plan, a, residue, &begin, &end);
        begin += at * plan->query_tile[a];
        int64_t last = begin + plan->query_tile[a];
        box.begin[a] = (int32_t)begin;
        box.end[a] = (int32_t)(last < end ? last : end);
        box.residue[a] = (int32_t)residue;
    }
    return box;
}

enum heddle_status lists_boxes(struct plan *plan, struct error *error) {
    int64_t count = lists_box_count(plan);
    if (count > INT64_C(1) << 28)
        return error_set(error, HEDDLE_LIMIT, "the problem has too many query tiles");
    // By axis first: dividing every number again would cost more than the planner.
    struct abi_query_box *boxes = ARENA_ARRAY(&plan->arena, struct abi_query_box, (size_t)count);
    int64_t totals[ABI_AXES], repeat = 1;
    struct plan one = *plan;
    for (int a = 0; a < ABI_AXES; a++)
        totals[a] = axis_total(plan, a);
    for (int a = ABI_AXES - 1; a >= 0; a--) {
        int64_t stride = repeat;
        for (int64_t i = 0; i < totals[a]; i++) {
            struct abi_query_box box = lists_box(&one, i * stride);
            for (int64_t high = 0; high < count; high += totals[a] * stride)
                for (int64_t low = 0; low < stride; low++) {
                    struct abi_query_box *to = &boxes[high + i * stride + low];
                    to->begin[a] = box.begin[a];
                    to->end[a] = box.end[a];
                    to->residue[a] = box.residue[a];
                }
        }
        repeat *= totals[a];
    }
    plan->launch.boxes = boxes;
    plan->launch.box_count = count;
    return HEDDLE_OK;
}

// ---- classes ----------------------------------------------------------------------------------

static bool same_class(const struct plan *plan, int64_t a, int64_t b) {
    const struct facts *facts = plan->program->facts;
    if (facts->by_head)
        return a == b;
    for (int t = 0; t < plan->program->pattern->table_count; t++)
        if (facts->tables_in_keep[t] &&
            plan->launch.env.tables[t][a].i != plan->launch.env.tables[t][b].i)
            return false;
    return true;
}

// Heads with equal tables share lists; rows are numbered in order of first appearance.
enum heddle_status lists_classes(struct plan *plan, struct error *error) {
    (void)error;
    const struct facts *facts = plan->program->facts;
    int64_t *row_of = ARENA_ARRAY(&plan->arena, int64_t, (size_t)(plan->batch * plan->heads));
    int64_t *first = ARENA_ARRAY(&plan->arena, int64_t, (size_t)plan->heads);
    int64_t classes = 0;
    for (int64_t h = 0; h < plan->heads; h++) {
        int64_t c = facts->by_head ? classes : 0;
        while (c < classes && !same_class(plan, first[c], h))
            c++;
        if (c == classes)
            first[classes++] = h;
        row_of[h] = c;
    }
    for (int64_t b = 1; b < plan->batch; b++)
        for (int64_t h = 0; h < plan->heads; h++)
            row_of[b * plan->heads + h] = row_of[h] + (facts->by_batch ? b * classes : 0);
    plan->launch.list_of = row_of;
    plan->row_count = classes * (facts->by_batch ? plan->batch : 1);
    return HEDDLE_OK;
}

void lists_member(const struct plan *plan, int64_t row, int64_t *out_batch, int64_t *out_head) {
    int64_t pairs = plan->batch * plan->heads, at = 0;
    while (at < pairs && plan->launch.list_of[at] != row)
        at++;
    *out_batch = at / plan->heads;
    *out_head = at % plan->heads;
}

// ---- one item ---------------------------------------------------------------------------------

void lists_source_job(const struct plan *plan, int source, struct list_job *out) {
    const struct abi_launch *launch = &plan->launch;
    *out = (struct list_job){.env = launch->env, .limits = plan->limits};
    out->regions = plan->planner->sources[source].regions[plan->basis];
    out->classify = plan->planner->sources[source].classify[plan->basis];
    memcpy(out->list_extent, launch->basis_extent, sizeof out->list_extent);
    if (pattern_is_pooled(plan->program->pattern))
        out->list_extent[ABI_AXES - 1] = plan_source_keys(plan, source);
    memcpy(out->dilation, launch->dilation, sizeof out->dilation);
    memcpy(out->tile, launch->tile, sizeof out->tile);
    // Queries may be the trailing slices only, or start before the first key.
    int outermost = ABI_AXES - plan->basis_axes;
    if (plan->options.key_major)
        out->list_first[outermost] = plan->query_offset / launch->token_stride[outermost];
    out->class_count = plan->row_count;
}

void lists_job(const struct plan *plan, struct list_job *out) {
    lists_source_job(plan, 0, out);
}

int64_t plan_source_keys(const struct plan *plan, int source) {
    return ceil_div(plan->keys, pattern_source(plan->program->pattern, source).factor);
}

struct abi_item plan_source_item(const struct plan *plan, int source, int64_t batch, int64_t head,
                                 int64_t box) {
    struct list_job job;
    struct abi_item item;
    lists_source_job(plan, source, &job);
    list_item(&job, batch, head, &plan->launch.boxes[box], &item);
    return item;
}

struct abi_item plan_item(const struct plan *plan, int64_t batch, int64_t head, int64_t box) {
    return plan_source_item(plan, 0, batch, head, box);
}

void plan_item_runs(const struct plan *plan, int64_t batch, int64_t head, int64_t box,
                    int64_t *out_begin, int64_t *out_end) {
    int64_t row = plan->launch.list_of[batch * plan->heads + head];
    int64_t list = row * plan->launch.box_count + box;
    *out_begin = plan->launch.run_begin[list];
    *out_end = plan->launch.run_begin[list + 1];
}

static struct tile_count count_tiles(const struct piece_list *list) {
    struct tile_count count = {0};
    for (int64_t i = 0; i < list->run_count; i++) {
        int64_t tiles = run_tiles(&list->runs[i]);
        if (list->runs[i].kind & ABI_RUN_PARTIAL)
            count.partial += tiles;
        else
            count.full += tiles;
    }
    return count;
}

static int32_t greater(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static struct piece_limits greatest_limits(const struct piece_limits *a,
                                           const struct piece_limits *b) {
    return (struct piece_limits){greater(a->regions, b->regions), greater(a->pieces, b->pieces),
                                 greater(a->raw_runs, b->raw_runs), greater(a->runs, b->runs)};
}

struct tile_count lists_sample(const struct plan *plan, int64_t row, int64_t box,
                               struct piece_space *space, struct piece_list *out) {
    int64_t batch, head;
    struct list_job job;
    struct abi_item item;
    struct tile_count tiles = {0};
    struct piece_limits used = {0, 0, 0, 0};
    lists_member(plan, row, &batch, &head);
    struct abi_query_box place = lists_box(plan, box);
    for (int s = 0; s < pattern_source_count(plan->program->pattern); s++) {
        lists_source_job(plan, s, &job);
        list_item(&job, batch, head, &place, &item);
        list_plan(&job, &item, space, out);
        struct tile_count here = count_tiles(out);
        tiles.full += here.full;
        tiles.partial += here.partial;
        used = greatest_limits(&used, &out->used);
    }
    out->used = used;
    return tiles;
}

// ---- all lists --------------------------------------------------------------------------------

struct growing { // heap arrays that double
    struct abi_run *runs;
    int64_t run_count, run_room;
    struct abi_box *owns;
    int64_t own_count, own_room;
};

static bool reserve(void **memory, int64_t *room, int64_t need, size_t size_bytes) {
    if (need <= *room)
        return true;
    int64_t wanted = *room ? *room * 2 : 1024;
    while (wanted < need)
        wanted *= 2;
    void *grown = realloc(*memory, (size_t)wanted * size_bytes);
    if (!grown)
        return false;
    *memory = grown;
    *room = wanted;
    return true;
}

static void count_item(struct plan *plan, struct tile_count tiles, int64_t rows, int64_t members) {
    struct plan_counts *counts = &plan->counts;
    int64_t keys = plan->launch.tile[0] * plan->launch.tile[1] * plan->launch.tile[2];
    int64_t total = tiles.full + tiles.partial;
    counts->full_tiles += tiles.full * members;
    counts->partial_tiles += tiles.partial * members;
    counts->computed_pairs += total * keys * rows * members;
    counts->full_pairs += tiles.full * keys * rows * members;
    if (counts->items == 0 || total < counts->least_tiles)
        counts->least_tiles = total;
    if (total > counts->most_tiles)
        counts->most_tiles = total;
    counts->items += members;
    counts->lists++;
}

int64_t lists_members(const struct plan *plan, int64_t row) {
    int64_t members = 0;
    for (int64_t i = 0; i < plan->batch * plan->heads; i++)
        members += plan->launch.list_of[i] == row;
    return members;
}

// Appends an item's list; ownership boxes get the plan's numbers.
static bool keep_list(struct growing *lists, const struct piece_list *list, int source) {
    if (!reserve((void **)&lists->runs, &lists->run_room, lists->run_count + list->run_count,
                 sizeof *lists->runs) ||
        !reserve((void **)&lists->owns, &lists->own_room, lists->own_count + list->own_count,
                 sizeof *lists->owns))
        return false;
    for (int64_t i = 0; i < list->run_count; i++) {
        struct abi_run *run = &lists->runs[lists->run_count++];
        *run = list->runs[i];
        run->own = run->own ? (int32_t)(lists->own_count + run->own - 1) : 0;
        run->kind |= (uint32_t)source << ABI_RUN_SOURCE;
    }
    for (int64_t i = 0; i < list->own_count; i++)
        lists->owns[lists->own_count++] = list->owns[i];
    return true;
}

struct filling { // of all lists
    struct list_job jobs[MAX_SOURCES];
    struct piece_space *space;
    struct growing lists;
    int64_t *run_begin;
    int64_t batch, head, members; // of the row in hand: a member of its class, and how many
};

// The lists of one item, source after source.
static bool fill_item(struct plan *plan, struct filling *fill, int64_t row, int64_t box) {
    struct tile_count tiles = {0};
    bool merged = false;
    int64_t rows = 1;
    fill->run_begin[row * plan->launch.box_count + box] = fill->lists.run_count;
    for (int s = 0; s < pattern_source_count(plan->program->pattern); s++) {
        struct abi_item item;
        struct piece_list list;
        list_item(&fill->jobs[s], fill->batch, fill->head, &plan->launch.boxes[box], &item);
        list_plan(&fill->jobs[s], &item, fill->space, &list);
        if (!keep_list(&fill->lists, &list, s))
            return false;
        struct tile_count here = count_tiles(&list);
        tiles.full += here.full;
        tiles.partial += here.partial;
        merged |= list.merged;
        plan->counts.source_tiles[s] += (here.full + here.partial) * fill->members;
        plan->counts.runs += list.run_count;
        for (int a = 0; a < ABI_AXES && s == 0; a++)
            rows *= item.box.end[a] - item.box.begin[a];
    }
    plan->counts.merged_lists += merged;
    count_item(plan, tiles, rows, fill->members);
    return true;
}

static bool fill_row(struct plan *plan, struct filling *fill, int64_t row) {
    bool fits = true;
    lists_member(plan, row, &fill->batch, &fill->head);
    fill->members = lists_members(plan, row);
    for (int64_t box = 0; box < plan->launch.box_count && fits; box++)
        fits = fill_item(plan, fill, row, box);
    return fits;
}

static const struct abi_box NO_BOX = {{INT64_MIN / 4, INT64_MIN / 4, INT64_MIN / 4},
                                      {INT64_MAX / 4, INT64_MAX / 4, INT64_MAX / 4}};

void lists_drop(struct plan *plan) {
    free((void *)(uintptr_t)plan->launch.run_begin);
    free((void *)(uintptr_t)plan->launch.runs);
    free((void *)(uintptr_t)plan->launch.owns);
    plan->launch.run_begin = NULL;
    plan->launch.runs = NULL;
    plan->launch.owns = NULL;
    plan->counts = (struct plan_counts){0};
}

enum heddle_status lists_fill(struct plan *plan, struct error *error) {
    struct filling fill = {0};
    struct growing *lists = &fill.lists;
    int64_t list_count = plan->row_count * plan->launch.box_count;
    for (int s = 0; s < pattern_source_count(plan->program->pattern); s++)
        lists_source_job(plan, s, &fill.jobs[s]);
    void *memory = malloc((size_t)piece_space_bytes(&plan->limits));
    fill.space = memory ? piece_space_place(memory, &plan->limits) : NULL;
    fill.run_begin = calloc((size_t)list_count + 1, sizeof *fill.run_begin);
    bool fits = fill.space && fill.run_begin &&
                reserve((void **)&lists->owns, &lists->own_room, 1, sizeof *lists->owns);
    if (fits)
        lists->owns[lists->own_count++] = NO_BOX;
    for (int64_t row = 0; row < plan->row_count && fits; row++)
        fits = fill_row(plan, &fill, row);
    free(memory);
    if (fill.run_begin)
        fill.run_begin[list_count] = lists->run_count;
    plan->launch.run_begin = fill.run_begin;
    plan->launch.runs = lists->runs;
    plan->launch.owns = lists->owns;
    plan->counts.plan_bytes = (int64_t)plan->arena.used_bytes +
                              (list_count + 1) * (int64_t)sizeof *fill.run_begin +
                              lists->run_room * (int64_t)sizeof *lists->runs +
                              lists->own_room * (int64_t)sizeof *lists->owns;
    return fits ? HEDDLE_OK
                : error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the work lists");
}
