#include "cli/tiles.h"

// A walk over one item's tiles; `at` is the tile's place in its run.
struct walk {
    const struct plan *plan;
    const struct abi_query_box *box;
    const struct abi_run *run;
    bool merge;
    int64_t tile;
    void (*visit)(void *context, const struct tile_segment *segment);
    void *context;
};

static int64_t token_of(const struct walk *walk, int axis, int64_t coordinate) {
    const struct abi_launch *launch = &walk->plan->launch;
    return (walk->box->residue[axis] + launch->dilation[axis] * coordinate) *
           launch->token_stride[axis];
}

// [*begin, *end) of a tile whose corner is at `corner`, `width` wide, along one axis.
static void clip(const struct walk *walk, int axis, int64_t corner, int64_t width, int64_t *begin,
                 int64_t *end) {
    const struct abi_launch *launch = &walk->plan->launch;
    const struct abi_box *own = &launch->owns[walk->run->own];
    int64_t left = launch->basis_extent[axis] - walk->box->residue[axis];
    int64_t extent = (left + launch->dilation[axis] - 1) / launch->dilation[axis];
    if (launch->sources && axis == ABI_AXES - 1)
        extent = launch->sources[abi_run_source(walk->run)].keys;
    *begin = corner > 0 ? corner : 0;
    *end = corner + width < extent ? corner + width : extent;
    *begin = *begin > own->begin[axis] ? *begin : own->begin[axis];
    *end = *end < own->end[axis] ? *end : own->end[axis];
}

// From groups of keys to the keys.
static void widen(const struct walk *walk, struct tile_segment *segment) {
    const struct plan *plan = walk->plan;
    segment->source = abi_run_source(walk->run);
    segment->factor = plan->launch.sources[segment->source].factor;
    int64_t end = (segment->begin + segment->count) * segment->factor;
    segment->begin *= segment->factor;
    segment->count = (end < plan->keys ? end : plan->keys) - segment->begin;
}

static void visit_tile(struct walk *walk, const int64_t *corner, int64_t width) {
    const struct abi_launch *launch = &walk->plan->launch;
    enum { SLOW, MIDDLE, FAST };
    int64_t begin[ABI_AXES], end[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++)
        clip(walk, a, corner[a], a == FAST ? width : launch->tile[a], &begin[a], &end[a]);
    struct tile_segment segment = {
        .count = end[FAST] - begin[FAST],
        .step = launch->dilation[FAST] * launch->token_stride[FAST],
        .tile = walk->tile,
        .partial = walk->run->kind & ABI_RUN_PARTIAL,
        .factor = 1,
    };
    for (int64_t s = begin[SLOW]; s < end[SLOW] && segment.count > 0; s++)
        for (int64_t m = begin[MIDDLE]; m < end[MIDDLE]; m++) {
            segment.begin = token_of(walk, SLOW, s) + token_of(walk, MIDDLE, m) +
                            token_of(walk, FAST, begin[FAST]);
            if (launch->sources)
                widen(walk, &segment);
            walk->visit(walk->context, &segment);
        }
}

static void visit_run(struct walk *walk) {
    const struct abi_run *run = walk->run;
    int64_t width = walk->plan->launch.tile[2];
    bool joined = walk->merge && run->step[2] == width;
    int64_t across = joined ? 1 : run->count[2];
    for (int64_t s = 0; s < run->count[0]; s++)
        for (int64_t m = 0; m < run->count[1]; m++)
            for (int64_t f = 0; f < across; f++) {
                const int64_t corner[ABI_AXES] = {run->origin[0] + s * run->step[0],
                                                  run->origin[1] + m * run->step[1],
                                                  run->origin[2] + f * run->step[2]};
                visit_tile(walk, corner, joined ? width * run->count[2] : width);
                walk->tile++;
            }
}

void item_segments(const struct plan *plan, int64_t batch, int64_t head, int64_t box, bool merge,
                   void (*visit)(void *context, const struct tile_segment *segment),
                   void *context) {
    struct walk walk = {.plan = plan,
                        .box = &plan->launch.boxes[box],
                        .merge = merge,
                        .visit = visit,
                        .context = context};
    int64_t begin, end;
    plan_item_runs(plan, batch, head, box, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        walk.run = &plan->launch.runs[r];
        visit_run(&walk);
    }
}

void item_rows(const struct plan *plan, int64_t box, void (*visit)(void *context, int64_t row),
               void *context) {
    const struct abi_query_box *b = &plan->launch.boxes[box];
    struct walk walk = {.plan = plan, .box = b};
    for (int64_t s = b->begin[0]; s < b->end[0]; s++)
        for (int64_t m = b->begin[1]; m < b->end[1]; m++)
            for (int64_t f = b->begin[2]; f < b->end[2]; f++)
                visit(context, token_of(&walk, 0, s) + token_of(&walk, 1, m) +
                                   token_of(&walk, 2, f) - plan->query_offset);
}

int64_t item_tiles(const struct plan *plan, int64_t batch, int64_t head, int64_t box) {
    int64_t begin, end, tiles = 0;
    plan_item_runs(plan, batch, head, box, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        const struct abi_run *run = &plan->launch.runs[r];
        tiles += (int64_t)run->count[0] * run->count[1] * run->count[2];
    }
    return tiles;
}
