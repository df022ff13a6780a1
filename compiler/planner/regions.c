// Part of the planner: an item's regions. See pieces.h and piece_space.h.

#include "compiler/planner/piece_space.h"

// ---- regions ----------------------------------------------------------------------------------

// Teeth closer together than a tile: every tile holds one, so the comb is as good as its hull.
static void close_gaps(struct extent *e, int64_t tile) {
    if (e->period && ceil_div(e->width, tile) * tile > e->period)
        *e = extent_plain(e->begin, e->end);
}

static bool read_region(const struct piece_input *input, const struct abi_region *raw,
                        struct region *out) {
    for (int a = 0; a < ABI_AXES; a++) {
        const struct abi_extent *e = &raw->axis[a];
        out->outer.axis[a] = extent_simplified((struct extent){
            e->outer_begin, e->outer_end, e->period, e->outer_phase, e->outer_width});
        out->inner.axis[a] = extent_simplified((struct extent){
            e->inner_begin, e->inner_end, e->period, e->inner_phase, e->inner_width});
        close_gaps(&out->outer.axis[a], input->tile[a]);
    }
    out->unsolved = (raw->flags & ABI_REGION_UNSOLVED) != 0;
    out->undecided = (raw->flags & ABI_REGION_UNDECIDED) != 0;
    out->comb = shape_is_comb(&out->outer);
    out->dropped = false;
    // Combs along two axes are rare: the second is left to classification.
    for (int a = shape_comb_axis(&out->outer) + 1; out->comb && a < ABI_AXES; a++)
        if (out->outer.axis[a].period) {
            out->outer.axis[a] = extent_plain(out->outer.axis[a].begin, out->outer.axis[a].end);
            out->undecided = true;
        }
    return !shape_empty(&out->outer);
}

void regions_whole(const struct piece_input *input, struct piece_space *space) {
    struct region *all = &space->regions[0];
    *all = (struct region){.unsolved = true};
    for (int a = 0; a < ABI_AXES; a++)
        all->outer.axis[a] = extent_plain(input->item->list_begin[a], input->item->list_end[a]);
    space->region_count = shape_empty(&all->outer) ? 0 : 1;
    space->inner_count = 0;
}

static void read_all(const struct piece_input *input, struct piece_space *space) {
    int64_t count = CALL_REGIONS(input)(input->env, input->item, space->raw, space->limits.regions);
    space->region_count = space->inner_count = 0;
    space->raw_count = (int)least(count, INT32_MAX);
    if (count > space->limits.regions) {
        regions_whole(input, space);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        if (read_region(input, &space->raw[i], &space->regions[space->region_count])) {
            struct region *region = &space->regions[space->region_count++];
            if (!region->unsolved && !shape_empty(&region->inner))
                space->inners[space->inner_count++] = region->inner;
        }
}

// Plain before combs before unsolved; then by position; the longer one first.
static bool goes_before(const struct region *a, const struct region *b) {
    if (a->unsolved != b->unsolved)
        return !a->unsolved;
    if (a->comb != b->comb)
        return !a->comb;
    for (int i = 0; i < ABI_AXES; i++) {
        const struct extent *x = &a->outer.axis[i], *y = &b->outer.axis[i];
        if (x->begin != y->begin)
            return x->begin < y->begin;
        if (x->end != y->end)
            return x->end > y->end;
    }
    return false;
}

static void sort_regions(struct piece_space *space) {
    for (int i = 1; i < space->region_count; i++) { // few, and often in order already
        struct region moving = space->regions[i];
        int at = i;
        for (; at > 0 && goes_before(&moving, &space->regions[at - 1]); at--)
            space->regions[at] = space->regions[at - 1];
        space->regions[at] = moving;
    }
}

// A region inside a plain solved one has nothing of its own to claim.
static void absorb(struct piece_space *space) {
    for (int i = 0; i < space->region_count; i++) {
        const struct region *large = &space->regions[i];
        if (large->dropped || large->comb || large->unsolved)
            continue;
        for (int j = 0; j < space->region_count; j++)
            if (j != i && !space->regions[j].dropped &&
                shape_inside(&space->regions[j].outer, &large->outer))
                space->regions[j].dropped = true;
    }
}

// Inner boxes that abut become one: a tile across the seam is full too.
static void join_inners(struct piece_space *space) {
    for (int i = 0; i < space->inner_count; i++)
        for (int j = 0; j < space->inner_count; j++)
            if (i != j && shape_join(&space->inners[i], &space->inners[j])) {
                space->inners[j] = space->inners[--space->inner_count];
                i = -1; // a grown box may join others
                break;
            }
}

// Plain boxes first: they make the long runs, combs fill in what is left.
static void order_inners(struct piece_space *space) {
    for (int i = 1; i < space->inner_count; i++) {
        struct shape moving = space->inners[i];
        int at = i;
        for (; at > 0 && !shape_is_comb(&moving) && shape_is_comb(&space->inners[at - 1]); at--)
            space->inners[at] = space->inners[at - 1];
        space->inners[at] = moving;
    }
}

void regions_read(const struct piece_input *input, struct piece_space *space) {
    read_all(input, space);
    sort_regions(space);
    absorb(space);
    join_inners(space);
    order_inners(space);
}
