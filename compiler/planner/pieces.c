// Part of the planner: regions -> disjoint pieces, laid out in tiles. See pieces.h.

#include "compiler/planner/piece_space.h"

// ---- scratch ----------------------------------------------------------------------------------

static int64_t padded(int64_t bytes) {
    return (bytes + 15) / 16 * 16;
}

// Raw regions, then pieces, the spare ones and claims.
static int64_t shared_bytes(const struct piece_limits *limits) {
    return padded(greatest(limits->regions * (int64_t)sizeof(struct abi_region),
                           3 * limits->pieces * (int64_t)sizeof(struct shape)));
}

int64_t piece_space_bytes(const struct piece_limits *limits) {
    int64_t regions = sizeof(struct region) + sizeof(struct shape);
    return padded(sizeof(struct piece_space)) + shared_bytes(limits) +
           padded(limits->regions * regions) +
           padded(limits->raw_runs * (int64_t)sizeof(struct abi_run)) +
           padded(limits->pieces * (int64_t)sizeof(struct abi_box));
}

struct piece_space *piece_space_place(void *memory, const struct piece_limits *limits) {
    struct piece_space *space = memory;
    char *at = (char *)memory + padded(sizeof *space);
    space->limits = *limits;
    space->raw = (void *)at;
    space->pieces = (void *)at;
    space->spare = space->pieces + limits->pieces;
    space->claims = space->spare + limits->pieces;
    at += shared_bytes(limits);
    space->regions = (void *)at;
    space->inners = (void *)(at + limits->regions * (int64_t)sizeof(struct region));
    at += padded(limits->regions * (int64_t)(sizeof(struct region) + sizeof(struct shape)));
    space->runs = (void *)at;
    at += padded(limits->raw_runs * (int64_t)sizeof(struct abi_run));
    space->owns = (void *)at;
    return space;
}

// ---- cutting ----------------------------------------------------------------------------------

static void add_piece(struct piece_space *space, struct shape piece) {
    for (int a = 0; a < ABI_AXES; a++)
        piece.axis[a] = extent_simplified(piece.axis[a]);
    if (shape_empty(&piece))
        return;
    if (space->piece_count == space->limits.pieces) {
        space->overflow = true;
        return;
    }
    space->pieces[space->piece_count++] = piece;
    if (space->piece_count > space->most_pieces)
        space->most_pieces = space->piece_count;
}

// Puts what is left of a piece outside of a plain box back on the list.
static void cut_box(struct piece_space *space, struct shape piece, const struct shape *box) {
    if (!shape_meet(&piece, box)) {
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

// Cuts a plain box out of the pieces from `from` on. Those before the first that it meets stay.
static void cut_plain(struct piece_space *space, const struct shape *box, int from) {
    while (from < space->piece_count && !shape_meet(&space->pieces[from], box))
        from++;
    int count = space->piece_count - from;
    for (int i = 0; i < count; i++)
        space->spare[i] = space->pieces[from + i];
    space->piece_count = from;
    for (int i = 0; i < count; i++)
        cut_box(space, space->spare[i], box);
}

// A comb is cut out tooth by tooth.
static void cut_claim(struct piece_space *space, const struct shape *claim, int from) {
    int axis = shape_comb_axis(claim);
    if (axis < 0) {
        cut_plain(space, claim, from);
        return;
    }
    const struct extent *e = &claim->axis[axis];
    bool touched = false;
    for (int i = from; i < space->piece_count; i++)
        touched |= shape_meet(&space->pieces[i], claim);
    int64_t first = extent_tooth_after(e, e->begin), last = extent_last_tooth(e);
    if (!touched)
        return;
    if (last - first >= space->limits.pieces) {
        space->overflow = true;
        return;
    }
    for (int64_t tooth = first; tooth <= last && !space->overflow; tooth++) {
        struct shape one = *claim;
        int64_t begin = e->phase + tooth * e->period;
        one.axis[axis] = extent_plain(greatest(e->begin, begin), least(e->end, begin + e->width));
        cut_plain(space, &one, from);
    }
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
        if (inner->period || !shape_meet(&space->inners[i], piece))
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
            int64_t tooth = extent_tooth_after(e, e->begin);
            int64_t last = extent_last_tooth(e);
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
        hull.axis[a] = extent_plain(greatest(t->input->item->list_begin[a], layout->first[a]),
                                    least(t->input->item->list_end[a], layout->first[a] + length));
    }
    return hull;
}

// The rounded-up teeth: what a comb's tiles cover.
static struct shape rounded_comb(const struct tiler *t, const struct shape *piece,
                                 const struct layout *layout) {
    struct shape claim = tile_hull(t, layout);
    int axis = shape_comb_axis(piece);
    int64_t width = layout->tiles[axis] * t->input->tile[axis];
    claim.axis[axis].period = layout->period[axis];
    claim.axis[axis].phase = layout->first[axis];
    claim.axis[axis].width = width;
    return claim;
}

static bool add_claim(struct piece_space *space, const struct shape *claim) {
    if (space->claim_count == space->limits.pieces) {
        space->overflow = true;
        return false;
    }
    space->claims[space->claim_count++] = *claim;
    if (space->claim_count > space->most_pieces)
        space->most_pieces = space->claim_count;
    return true;
}

static void set_own(struct tiler *t, const struct shape *claim, bool boxed) {
    for (int a = 0; a < ABI_AXES; a++)
        t->own.axis[a] = extent_plain(claim->axis[a].begin, claim->axis[a].end);
    t->own_index = 0;
    if (!boxed)
        return;
    // One a claim at most, and of these there is room for as many.
    struct abi_box *box = &t->out->owns[t->out->own_count++];
    for (int a = 0; a < ABI_AXES; a++) {
        box->begin[a] = claim->axis[a].begin;
        box->end[a] = claim->axis[a].end;
    }
    t->own_index = t->out->own_count;
}

// The tiles' own claim: all they cover where nobody else has any of it, else the piece itself.
// False when there is no room for it.
static bool set_claim(struct tiler *t, const struct shape *piece, const struct layout *layout) {
    struct piece_space *space = t->space;
    struct shape covered =
        shape_is_comb(piece) ? rounded_comb(t, piece, layout) : tile_hull(t, layout);
    bool free = true; // combs were made free by part_comb
    for (int i = 0; i < space->claim_count && !shape_is_comb(piece); i++)
        free &= !shape_meet(&covered, &space->claims[i]);
    const struct shape *claim = free ? &covered : piece;
    if (!add_claim(space, claim))
        return false;
    set_own(t, claim, !free);
    return true;
}

// One brick per combination of tiles within a tooth; a plain axis is one brick.
static void put_piece(struct tiler *t, const struct layout *layout) {
    struct brick brick;
    int64_t combs[ABI_AXES], at[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++) {
        bool teeth = layout->teeth[a] > 1;
        combs[a] = teeth ? layout->tiles[a] : 1;
        brick.count[a] = teeth ? layout->teeth[a] : layout->tiles[a];
        brick.step[a] = teeth ? layout->period[a] : t->input->tile[a];
    }
    for (at[0] = 0; at[0] < combs[0]; at[0]++)
        for (at[1] = 0; at[1] < combs[1]; at[1]++)
            for (at[2] = 0; at[2] < combs[2]; at[2]++) {
                for (int a = 0; a < ABI_AXES; a++)
                    brick.origin[a] = layout->first[a] + at[a] * t->input->tile[a];
                tiles_put_brick(t, &brick);
            }
}

static void tile_piece(struct tiler *t, const struct shape *piece, bool unsolved) {
    struct layout layout = lay_out(t, piece);
    bool refine = t->refine;
    if (!set_claim(t, piece, &layout))
        return;
    t->refine |= unsolved;
    put_piece(t, &layout);
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
    int axis = shape_comb_axis(piece);
    const struct extent *e = &piece->axis[axis];
    int64_t reach = layout.tiles[axis] * t->input->tile[axis];
    int64_t first = extent_tooth_after(e, e->begin), end = first + layout.teeth[axis];
    for (int i = 0; i < space->claim_count; i++) {
        const struct extent *claim = &space->claims[i].axis[axis];
        if (!shape_meet(&covered, &space->claims[i]))
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
        if (shape_is_comb(&piece) && part_comb(t, &piece))
            continue;
        tile_piece(t, &piece, region->unsolved);
        // Its tiles may reach into the pieces still to come.
        if (space->claim_count > 0)
            cut_claim(space, &space->claims[space->claim_count - 1], i + 1);
    }
}

// ---- the item ---------------------------------------------------------------------------------

// Everything any region reaches as one partial brick: right whatever the regions, only slower.
static void put_hull(struct tiler *t) {
    struct piece_space *space = t->space;
    struct brick brick;
    t->out->run_count = t->out->own_count = 0;
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t begin = INT64_MAX, end = INT64_MIN, tile = t->input->tile[a];
        for (int i = 0; i < space->region_count; i++) {
            begin = least(begin, space->regions[i].outer.axis[a].begin);
            end = greatest(end, space->regions[i].outer.axis[a].end);
        }
        brick.origin[a] = begin;
        brick.step[a] = tile;
        brick.count[a] = ceil_div(end - begin, tile);
    }
    t->out->merged = false;
    tiles_put_run(t, &brick, true, 0);
    t->out->merged = true;
}

static void tile_all(struct tiler *t) {
    struct piece_space *space = t->space;
    space->claim_count = space->most_pieces = 0;
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
                 struct piece_list *out) {
    struct tiler tiler = {.input = input, .space = space, .out = out};
    out->runs = space->runs;
    out->owns = space->owns;
    regions_read(input, space);
    tile_all(&tiler);
    if (space->overflow) {
        regions_whole(input, space);
        tile_all(&tiler);
    }
    int64_t raw_runs = out->run_count;
    if (!out->merged)
        tiles_order(out);
    out->used = (struct piece_limits){space->raw_count, space->most_pieces, (int32_t)raw_runs,
                                      (int32_t)out->run_count};
    if (out->merged || out->run_count > space->limits.runs)
        put_hull(&tiler);
}
