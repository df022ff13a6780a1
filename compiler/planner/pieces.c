// The half of the planner that knows no pattern. See pieces.h.

#include "compiler/planner/pieces.h"

#include <string.h>

// An interval [begin, end), or with period > 0 its part {x : (x - phase) mod period < width}.
struct extent {
    int64_t begin, end;
    int64_t period, phase, width;
};

struct shape { // a product of extents
    struct extent axis[ABI_AXES];
};

struct region {
    struct shape outer, inner;
    bool unsolved, undecided, comb, dropped;
};

struct piece_space {
    struct abi_region raw[MAX_REGIONS];
    struct region regions[MAX_REGIONS];
    struct shape pieces[MAX_PIECES]; // of the region in hand, not yet tiled
    struct shape claims[MAX_PIECES];
    struct shape inners[MAX_REGIONS];
    int region_count, piece_count, claim_count, inner_count;
    bool overflow; // out of room: the item falls back to one unsolved piece
};

int64_t piece_space_bytes(void) {
    return sizeof(struct piece_space);
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t greatest(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static int64_t floor_div(int64_t a, int64_t b) { // b above 0
    return a / b - (a % b < 0);
}
static int64_t ceil_div(int64_t a, int64_t b) {
    return -floor_div(-a, b);
}

// ---- extents and shapes -----------------------------------------------------------------------

static bool empty(const struct shape *s) {
    for (int a = 0; a < ABI_AXES; a++)
        if (s->axis[a].begin >= s->axis[a].end)
            return true;
    return false;
}

// The axis along which a shape is periodic, or -1. Regions have one at most.
static int comb_axis(const struct shape *s) {
    for (int a = 0; a < ABI_AXES; a++)
        if (s->axis[a].period)
            return a;
    return -1;
}

static bool is_comb(const struct shape *s) {
    return comb_axis(s) >= 0;
}

static bool meet(const struct shape *a, const struct shape *b) { // their hulls
    for (int i = 0; i < ABI_AXES; i++)
        if (a->axis[i].begin >= b->axis[i].end || b->axis[i].begin >= a->axis[i].end)
            return false;
    return true;
}

static bool inside(const struct shape *small, const struct shape *large) { // large plain
    for (int i = 0; i < ABI_AXES; i++)
        if (small->axis[i].begin < large->axis[i].begin || small->axis[i].end > large->axis[i].end)
            return false;
    return true;
}

static struct extent plain(int64_t begin, int64_t end) {
    return (struct extent){begin, end, 0, 0, 0};
}

// First tooth whose end lies beyond `at`.
static int64_t tooth_after(const struct extent *e, int64_t at) {
    return floor_div(at - e->phase - e->width, e->period) + 1;
}

// Drops a period that makes no difference: every position kept, or one tooth only. Trims the ends
// to the teeth.
static struct extent simplified(struct extent e) {
    if (e.period <= 0 || e.begin >= e.end)
        return plain(e.begin, e.end);
    if (e.width <= 0)
        return plain(0, 0);
    if (e.width >= e.period)
        return plain(e.begin, e.end);
    int64_t first = tooth_after(&e, e.begin);
    int64_t last = floor_div(e.end - 1 - e.phase, e.period); // tooth that starts before the end
    e.begin = greatest(e.begin, e.phase + first * e.period);
    e.end = least(e.end, e.phase + last * e.period + e.width);
    return first >= last ? plain(e.begin, e.end) : e;
}

// ---- regions ----------------------------------------------------------------------------------

// Teeth closer together than a tile: every tile holds one, so the comb is as good as its hull.
static void close_gaps(struct extent *e, int64_t tile) {
    if (e->period && ceil_div(e->width, tile) * tile > e->period)
        *e = plain(e->begin, e->end);
}

static bool read_region(const struct piece_input *input, const struct abi_region *raw,
                        struct region *out) {
    memset(out, 0, sizeof *out);
    for (int a = 0; a < ABI_AXES; a++) {
        const struct abi_extent *e = &raw->axis[a];
        out->outer.axis[a] = simplified((struct extent){e->outer_begin, e->outer_end, e->period,
                                                        e->outer_phase, e->outer_width});
        out->inner.axis[a] = simplified((struct extent){e->inner_begin, e->inner_end, e->period,
                                                        e->inner_phase, e->inner_width});
        close_gaps(&out->outer.axis[a], input->tile[a]);
    }
    out->unsolved = (raw->flags & ABI_REGION_UNSOLVED) != 0;
    out->undecided = (raw->flags & ABI_REGION_UNDECIDED) != 0;
    out->comb = is_comb(&out->outer);
    // Combs along two axes are rare: the second is left to classification.
    for (int a = comb_axis(&out->outer) + 1; out->comb && a < ABI_AXES; a++)
        if (out->outer.axis[a].period) {
            out->outer.axis[a] = plain(out->outer.axis[a].begin, out->outer.axis[a].end);
            out->undecided = true;
        }
    return !empty(&out->outer);
}

static void whole_region(const struct piece_input *input, struct piece_space *space) {
    struct region *all = &space->regions[0];
    memset(all, 0, sizeof *all);
    for (int a = 0; a < ABI_AXES; a++)
        all->outer.axis[a] = plain(input->item->list_begin[a], input->item->list_end[a]);
    all->unsolved = true;
    space->region_count = empty(&all->outer) ? 0 : 1;
    space->inner_count = 0;
}

static void read_regions(const struct piece_input *input, struct piece_space *space) {
    int64_t count = input->regions(input->env, input->item, space->raw, MAX_REGIONS);
    space->region_count = space->inner_count = 0;
    if (count > MAX_REGIONS) {
        whole_region(input, space);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        if (read_region(input, &space->raw[i], &space->regions[space->region_count])) {
            struct region *region = &space->regions[space->region_count++];
            if (!region->unsolved && !empty(&region->inner))
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
                inside(&space->regions[j].outer, &large->outer))
                space->regions[j].dropped = true;
    }
}

// Inner boxes that agree on all axes but one and touch there become one: a tile across the seam is
// full too.
static bool join(struct shape *a, const struct shape *b) {
    int differing = -1;
    if (is_comb(a) || is_comb(b))
        return false;
    for (int i = 0; i < ABI_AXES; i++) {
        if (a->axis[i].begin == b->axis[i].begin && a->axis[i].end == b->axis[i].end)
            continue;
        if (differing >= 0)
            return false;
        differing = i;
    }
    if (differing < 0)
        return true;
    struct extent *x = &a->axis[differing];
    const struct extent *y = &b->axis[differing];
    if (x->begin > y->end || y->begin > x->end)
        return false;
    *x = plain(least(x->begin, y->begin), greatest(x->end, y->end));
    return true;
}

static void join_inners(struct piece_space *space) {
    for (int i = 0; i < space->inner_count; i++)
        for (int j = 0; j < space->inner_count; j++)
            if (i != j && join(&space->inners[i], &space->inners[j])) {
                space->inners[j] = space->inners[--space->inner_count];
                i = -1; // a grown box may join others
                break;
            }
}

// ---- cutting ----------------------------------------------------------------------------------

static void add_piece(struct piece_space *space, struct shape piece) {
    for (int a = 0; a < ABI_AXES; a++)
        piece.axis[a] = simplified(piece.axis[a]);
    if (empty(&piece))
        return;
    if (space->piece_count == MAX_PIECES) {
        space->overflow = true;
        return;
    }
    space->pieces[space->piece_count++] = piece;
}

// Puts what is left of a piece outside of a plain box back on the list.
static void cut_box(struct piece_space *space, struct shape piece, const struct shape *box) {
    if (!meet(&piece, box)) {
        add_piece(space, piece);
        return;
    }
    for (int a = 0; a < ABI_AXES; a++) {
        struct shape below = piece, above = piece;
        below.axis[a].end = least(piece.axis[a].end, box->axis[a].begin);
        above.axis[a].begin = greatest(piece.axis[a].begin, box->axis[a].end);
        add_piece(space, below);
        add_piece(space, above);
        piece.axis[a].begin = greatest(piece.axis[a].begin, box->axis[a].begin);
        piece.axis[a].end = least(piece.axis[a].end, box->axis[a].end);
    }
}

// Cuts a comb out of everything on the list: tooth by tooth.
static void cut_claim(struct piece_space *space, const struct shape *claim, int from) {
    int axis = comb_axis(claim);
    if (axis < 0) {
        int count = space->piece_count;
        struct shape kept[MAX_PIECES];
        int kept_count = count - from;
        memcpy(kept, space->pieces + from, (size_t)kept_count * sizeof *kept);
        space->piece_count = from;
        for (int i = 0; i < kept_count; i++)
            cut_box(space, kept[i], claim);
        return;
    }
    const struct extent *e = &claim->axis[axis];
    bool touched = false;
    for (int i = from; i < space->piece_count; i++)
        touched |= meet(&space->pieces[i], claim);
    int64_t first = tooth_after(e, e->begin), last = floor_div(e->end - 1 - e->phase, e->period);
    if (!touched)
        return;
    if (last - first >= MAX_PIECES) {
        space->overflow = true;
        return;
    }
    for (int64_t tooth = first; tooth <= last && !space->overflow; tooth++) {
        struct shape one = *claim;
        int64_t begin = e->phase + tooth * e->period;
        one.axis[axis] = plain(greatest(e->begin, begin), least(e->end, begin + e->width));
        cut_claim(space, &one, from);
    }
}

// ---- bricks -----------------------------------------------------------------------------------

struct brick { // tiles at origin + i * step, i < count, along each axis
    int64_t origin[ABI_AXES], count[ABI_AXES], step[ABI_AXES];
};

static void put_run(struct piece_output *out, const struct brick *brick, bool partial,
                    int64_t own) {
    if (out->run_count == out->run_room) {
        out->merged = true;
        return;
    }
    struct abi_run *run = &out->runs[out->run_count++];
    memset(run, 0, sizeof *run);
    for (int a = 0; a < ABI_AXES; a++) {
        run->origin[a] = (int32_t)brick->origin[a];
        run->count[a] = (int32_t)brick->count[a];
        run->step[a] = (int32_t)brick->step[a];
    }
    run->kind = partial ? ABI_RUN_PARTIAL : 0;
    run->own = partial ? (int32_t)own : 0;
}

// Which tiles of a brick lie wholly within an extent: [*out_begin, *out_end) of the axis.
static void tiles_within(const struct brick *brick, int axis, int64_t tile, const struct extent *e,
                         int64_t *out_begin, int64_t *out_end) {
    int64_t origin = brick->origin[axis], step = brick->step[axis], count = brick->count[axis];
    *out_begin = greatest(0, ceil_div(e->begin - origin, step));
    *out_end = least(count, floor_div(e->end - tile - origin, step) + 1);
    if (e->period) {
        // All tiles stand alike to the teeth when they are a period apart (or there is one).
        int64_t offset = (origin - e->phase) % e->period;
        offset += offset < 0 ? e->period : 0;
        if ((count > 1 && step % e->period != 0) || offset + tile > e->width)
            *out_end = *out_begin;
    }
}

struct tiler {
    const struct piece_input *input;
    struct piece_space *space;
    struct piece_output *out;
    struct shape own; // full tiles lie inside it
    int64_t own_index;
    bool refine;
};

static void classify_brick(struct tiler *t, const struct brick *brick);

// The part of a brick with [begin, end) along one axis.
static struct brick slice(const struct brick *brick, int axis, int64_t begin, int64_t end) {
    struct brick part = *brick;
    part.origin[axis] += begin * part.step[axis];
    part.count[axis] = end - begin;
    return part;
}

// Splits off the tiles inside inner box `next` and those after it; what no inner box covers is
// partial.
static void split_brick(struct tiler *t, struct brick brick, int next) {
    for (int a = 0; a < ABI_AXES; a++)
        if (brick.count[a] <= 0)
            return;
    if (next == t->space->inner_count) {
        if (t->refine)
            classify_brick(t, &brick);
        else
            put_run(t->out, &brick, true, t->own_index);
        return;
    }
    int64_t begin[ABI_AXES], end[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++) {
        struct extent e = t->space->inners[next].axis[a];
        e.begin = greatest(e.begin, t->own.axis[a].begin);
        e.end = least(e.end, t->own.axis[a].end);
        tiles_within(&brick, a, t->input->tile[a], &e, &begin[a], &end[a]);
        if (begin[a] >= end[a]) {
            split_brick(t, brick, next + 1);
            return;
        }
    }
    for (int a = 0; a < ABI_AXES; a++) {
        split_brick(t, slice(&brick, a, 0, begin[a]), next + 1);
        split_brick(t, slice(&brick, a, end[a], brick.count[a]), next + 1);
        brick = slice(&brick, a, begin[a], end[a]);
    }
    put_run(t->out, &brick, false, 0);
}

// The keys of a brick that exist and are owned; false when there are none.
static bool brick_box(const struct tiler *t, const struct brick *brick, struct abi_box *box,
                      bool *out_clipped) {
    *out_clipped = false;
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t begin = brick->origin[a];
        int64_t end = begin + (brick->count[a] - 1) * brick->step[a] + t->input->tile[a];
        box->begin[a] = greatest(begin, t->own.axis[a].begin);
        box->end[a] = least(end, t->own.axis[a].end);
        *out_clipped |= box->begin[a] != begin || box->end[a] != end;
        if (box->begin[a] >= box->end[a])
            return false;
    }
    return true;
}

// Classifies one tile, halving the item where the whole is undecided: full (empty) when it is for
// every part. A position of its own that is undecided ends the search, so a tile that really is
// partial costs a handful of steps.
static int64_t classify_parts(const struct tiler *t, const struct abi_item *item,
                              const struct abi_box *box) {
    int64_t kept = t->input->classify(t->input->env, item, box);
    int axis = 0;
    while (axis < ABI_AXES && item->box.end[axis] - item->box.begin[axis] < 2)
        axis++;
    if (kept != 1 || axis == ABI_AXES)
        return kept;
    struct abi_item low = *item, high = *item;
    low.box.end[axis] = high.box.begin[axis] = (item->box.begin[axis] + item->box.end[axis]) / 2;
    kept = classify_parts(t, &low, box);
    return kept == 1 || classify_parts(t, &high, box) == kept ? kept : 1;
}

// Halves a brick until the whole predicate says empty or full, or one tile is left.
static void classify_brick(struct tiler *t, const struct brick *brick) {
    struct abi_box box;
    bool clipped;
    if (t->out->merged || !brick_box(t, brick, &box, &clipped))
        return;
    int64_t kept = t->input->classify(t->input->env, t->input->item, &box);
    if (kept == 0)
        return;
    if (kept == 3 && !clipped) {
        put_run(t->out, brick, false, 0);
        return;
    }
    int longest = 0;
    for (int a = 1; a < ABI_AXES; a++)
        if (brick->count[a] > brick->count[longest])
            longest = a;
    int64_t count = brick->count[longest];
    if (count == 1) {
        kept = classify_parts(t, t->input->item, &box);
        bool full = kept == 3 && !clipped;
        if (kept != 0)
            put_run(t->out, brick, !full, full ? 0 : t->own_index);
        return;
    }
    struct brick low = slice(brick, longest, 0, count / 2);
    struct brick high = slice(brick, longest, count / 2, count);
    classify_brick(t, &low);
    classify_brick(t, &high);
}

// ---- tiling a piece ---------------------------------------------------------------------------

// Where to start along an axis: at the piece, or as far left as the slack of the last tile allows
// when that puts tile borders on an inner box's.
static int64_t anchor(const struct piece_space *space, const struct shape *piece, int axis,
                      int64_t tile) {
    const struct extent *e = &piece->axis[axis];
    int64_t slack = ceil_div(e->end - e->begin, tile) * tile - (e->end - e->begin);
    for (int i = 0; i < space->inner_count; i++) {
        const struct extent *inner = &space->inners[i].axis[axis];
        if (inner->period || !meet(&space->inners[i], piece))
            continue;
        int64_t shift = (e->begin - inner->begin) % tile;
        shift += shift < 0 ? tile : 0;
        if (shift <= slack)
            return e->begin - shift;
    }
    return e->begin;
}

// Tiles of one tooth (or of a plain piece), and how far apart teeth are.
struct layout {
    int64_t first[ABI_AXES], tiles[ABI_AXES]; // first tile's origin, tiles per tooth
    int64_t teeth[ABI_AXES], period[ABI_AXES];
};

static struct layout lay_out(const struct tiler *t, const struct shape *piece) {
    struct layout layout;
    for (int a = 0; a < ABI_AXES; a++) {
        const struct extent *e = &piece->axis[a];
        int64_t tile = t->input->tile[a];
        if (e->period) {
            int64_t tooth = tooth_after(e, e->begin);
            int64_t last = floor_div(e->end - 1 - e->phase, e->period);
            layout.first[a] = e->phase + tooth * e->period;
            layout.tiles[a] = ceil_div(e->width, tile);
            layout.teeth[a] = last - tooth + 1;
            layout.period[a] = e->period;
        } else {
            layout.first[a] = anchor(t->space, piece, a, tile);
            layout.tiles[a] = ceil_div(e->end - layout.first[a], tile);
            layout.teeth[a] = 1;
            layout.period[a] = layout.tiles[a] * tile;
        }
    }
    return layout;
}

static struct shape tile_hull(const struct tiler *t, const struct layout *layout) {
    struct shape hull;
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t length =
            (layout->teeth[a] - 1) * layout->period[a] + layout->tiles[a] * t->input->tile[a];
        hull.axis[a] = plain(greatest(t->input->item->list_begin[a], layout->first[a]),
                             least(t->input->item->list_end[a], layout->first[a] + length));
    }
    return hull;
}

// The rounded-up teeth: what a comb's tiles cover.
static struct shape rounded_comb(const struct tiler *t, const struct shape *piece,
                                 const struct layout *layout) {
    struct shape claim = tile_hull(t, layout);
    int axis = comb_axis(piece);
    int64_t width = layout->tiles[axis] * t->input->tile[axis];
    claim.axis[axis].period = layout->period[axis];
    claim.axis[axis].phase = layout->first[axis];
    claim.axis[axis].width = width;
    return claim;
}

static void add_claim(struct piece_space *space, const struct shape *claim) {
    if (space->claim_count == MAX_PIECES)
        space->overflow = true;
    else
        space->claims[space->claim_count++] = *claim;
}

static void set_own(struct tiler *t, const struct shape *claim, bool boxed) {
    for (int a = 0; a < ABI_AXES; a++)
        t->own.axis[a] = plain(claim->axis[a].begin, claim->axis[a].end);
    t->own_index = 0;
    if (!boxed)
        return;
    if (t->out->own_count == t->out->own_room) {
        t->out->merged = true;
        return;
    }
    struct abi_box *box = &t->out->owns[t->out->own_count];
    for (int a = 0; a < ABI_AXES; a++) {
        box->begin[a] = claim->axis[a].begin;
        box->end[a] = claim->axis[a].end;
    }
    t->own_index = t->out->first_own + t->out->own_count++;
}

// The tiles' own claim: all they cover where nobody else has any of it, else the piece itself.
static void set_claim(struct tiler *t, const struct shape *piece, const struct layout *layout) {
    struct piece_space *space = t->space;
    struct shape covered = is_comb(piece) ? rounded_comb(t, piece, layout) : tile_hull(t, layout);
    bool free = true; // combs were made free by part_comb
    for (int i = 0; i < space->claim_count && !is_comb(piece); i++)
        free &= !meet(&covered, &space->claims[i]);
    const struct shape *claim = free ? &covered : piece;
    set_own(t, claim, !free);
    add_claim(space, claim);
}

// One brick per combination of tiles within a tooth; a plain axis is one brick.
static void put_piece(struct tiler *t, const struct layout *layout, struct brick *brick, int axis) {
    if (axis == ABI_AXES) {
        split_brick(t, *brick, 0);
        return;
    }
    bool teeth = layout->teeth[axis] > 1;
    int64_t tile = t->input->tile[axis];
    brick->count[axis] = teeth ? layout->teeth[axis] : layout->tiles[axis];
    brick->step[axis] = teeth ? layout->period[axis] : tile;
    for (int64_t i = 0; i < (teeth ? layout->tiles[axis] : 1); i++) {
        brick->origin[axis] = layout->first[axis] + i * tile;
        put_piece(t, layout, brick, axis + 1);
    }
}

static void tile_piece(struct tiler *t, const struct shape *piece, bool unsolved) {
    struct layout layout = lay_out(t, piece);
    struct brick brick;
    bool refine = t->refine;
    set_claim(t, piece, &layout);
    t->refine |= unsolved;
    put_piece(t, &layout, &brick, 0);
    t->refine = refine;
}

// Teeth begin .. end of a comb, as a piece of their own.
static struct shape teeth_of(const struct shape *comb, int axis, int64_t begin, int64_t end) {
    struct shape part = *comb;
    struct extent *e = &part.axis[axis];
    e->begin = greatest(e->begin, e->phase + begin * e->period);
    e->end = least(e->end, e->phase + (end - 1) * e->period + e->width);
    if (begin >= end)
        e->end = e->begin;
    return part;
}

// Teeth whose rounded-up tiles would reach into a claim become plain pieces (with ownership boxes);
// the teeth before and after stay combs. True when the piece was taken apart and put back.
static bool part_comb(struct tiler *t, const struct shape *piece) {
    struct piece_space *space = t->space;
    struct layout layout = lay_out(t, piece);
    struct shape covered = rounded_comb(t, piece, &layout);
    int axis = comb_axis(piece);
    const struct extent *e = &piece->axis[axis];
    int64_t reach = layout.tiles[axis] * t->input->tile[axis];
    int64_t first = tooth_after(e, e->begin), end = first + layout.teeth[axis];
    for (int i = 0; i < space->claim_count; i++) {
        const struct extent *claim = &space->claims[i].axis[axis];
        if (!meet(&covered, &space->claims[i]))
            continue;
        int64_t hit = greatest(first, floor_div(claim->begin - e->phase - reach, e->period) + 1);
        int64_t hit_end = least(end, ceil_div(claim->end - e->phase, e->period));
        if (hit >= hit_end)
            continue;
        add_piece(space, teeth_of(piece, axis, first, hit));
        for (int64_t tooth = hit; tooth < hit_end && !space->overflow; tooth++)
            add_piece(space, teeth_of(piece, axis, tooth, tooth + 1));
        add_piece(space, teeth_of(piece, axis, hit_end, end));
        return true;
    }
    return false;
}

static void tile_region(struct tiler *t, const struct region *region) {
    struct piece_space *space = t->space;
    space->piece_count = 0;
    add_piece(space, region->outer);
    for (int i = 0; i < space->claim_count && !space->overflow; i++)
        cut_claim(space, &space->claims[i], 0);
    for (int i = 0; i < space->piece_count && !space->overflow; i++) {
        struct shape piece = space->pieces[i];
        if (is_comb(&piece) && part_comb(t, &piece))
            continue;
        tile_piece(t, &piece, region->unsolved);
        // Its tiles may reach into the pieces still to come.
        if (space->claim_count > 0)
            cut_claim(space, &space->claims[space->claim_count - 1], i + 1);
    }
}

// ---- the item ---------------------------------------------------------------------------------

// Everything any region reaches as one partial brick: right whatever the regions, only slower.
static void put_hull(const struct piece_input *input, struct piece_space *space,
                     struct piece_output *out) {
    struct brick brick;
    out->run_count = out->own_count = 0;
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t begin = INT64_MAX, end = INT64_MIN;
        for (int i = 0; i < space->region_count; i++) {
            begin = least(begin, space->regions[i].outer.axis[a].begin);
            end = greatest(end, space->regions[i].outer.axis[a].end);
        }
        brick.origin[a] = begin;
        brick.step[a] = input->tile[a];
        brick.count[a] = ceil_div(end - begin, input->tile[a]);
    }
    out->merged = false;
    put_run(out, &brick, true, 0);
    out->merged = true;
}

static bool run_before(const struct abi_run *a, const struct abi_run *b) {
    if (a->kind != b->kind)
        return a->kind < b->kind;
    for (int i = 0; i < ABI_AXES; i++)
        if (a->origin[i] != b->origin[i])
            return a->origin[i] < b->origin[i];
    return false;
}

// b continues a along one axis.
static bool extend_run(struct abi_run *a, const struct abi_run *b) {
    int along = -1;
    if (a->kind != b->kind || a->own != b->own)
        return false;
    for (int i = 0; i < ABI_AXES; i++) {
        if (a->step[i] != b->step[i])
            return false;
        if (a->origin[i] == b->origin[i] && a->count[i] == b->count[i])
            continue;
        if (along >= 0 || b->origin[i] != a->origin[i] + a->count[i] * a->step[i])
            return false;
        along = i;
    }
    if (along < 0)
        return false;
    a->count[along] += b->count[along];
    return true;
}

static void sift(struct abi_run *runs, int64_t root, int64_t count) {
    for (;;) {
        int64_t child = 2 * root + 1;
        if (child >= count)
            return;
        if (child + 1 < count && run_before(&runs[child], &runs[child + 1]))
            child++;
        if (!run_before(&runs[root], &runs[child]))
            return;
        struct abi_run swap = runs[root];
        runs[root] = runs[child];
        runs[child] = swap;
        root = child;
    }
}

// Heap sort: origins of an item's runs are distinct, so the order is the same everywhere.
static void order_runs(struct abi_run *runs, int64_t count) {
    bool sorted = true;
    for (int64_t i = 1; i < count && sorted; i++)
        sorted = !run_before(&runs[i], &runs[i - 1]);
    if (sorted)
        return;
    for (int64_t i = count / 2; i-- > 0;)
        sift(runs, i, count);
    for (int64_t i = count; i-- > 1;) {
        struct abi_run swap = runs[0];
        runs[0] = runs[i];
        runs[i] = swap;
        sift(runs, 0, i);
    }
}

static int64_t coalesce(struct abi_run *runs, int64_t count) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++)
        if (kept == 0 || !extend_run(&runs[kept - 1], &runs[i]))
            runs[kept++] = runs[i];
    return kept;
}

static void tile_all(struct tiler *t) {
    struct piece_space *space = t->space;
    space->claim_count = 0;
    space->overflow = false;
    t->out->run_count = t->out->own_count = 0;
    t->out->merged = false;
    for (int i = 0; i < space->region_count; i++)
        t->refine |= space->regions[i].undecided;
    for (int i = 0; i < space->region_count && !space->overflow && !t->out->merged; i++)
        if (!space->regions[i].dropped)
            tile_region(t, &space->regions[i]);
}

void pieces_plan(const struct piece_input *input, struct piece_space *space,
                 struct piece_output *out) {
    struct tiler tiler = {.input = input, .space = space, .out = out};
    read_regions(input, space);
    sort_regions(space);
    absorb(space);
    join_inners(space);
    tile_all(&tiler);
    if (space->overflow) {
        whole_region(input, space);
        tile_all(&tiler);
    }
    if (out->merged) {
        put_hull(input, space, out);
        return;
    }
    order_runs(out->runs, out->run_count);
    out->run_count = coalesce(out->runs, out->run_count);
}
