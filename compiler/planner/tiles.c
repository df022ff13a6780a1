// Part of the planner: bricks of tiles, full or partial. See pieces.h and piece_space.h.

#include "compiler/planner/piece_space.h"

#include <string.h>

// ---- bricks -----------------------------------------------------------------------------------

void tiles_put_run(struct piece_output *out, const struct brick *brick, bool partial, int64_t own) {
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
    if (!e->period || *out_begin >= *out_end)
        return;
    if (count == 1 || step % e->period == 0) { // all tiles stand alike to the teeth
        int64_t offset = (origin - e->phase) % e->period;
        offset += offset < 0 ? e->period : 0;
        if (offset + tile > e->width)
            *out_end = *out_begin;
        return;
    }
    int64_t end = *out_end;
    for (int64_t i = *out_begin; i < end; i++) { // the first tooth that holds a whole tile
        int64_t at = origin + i * step, tooth = extent_tooth_after(e, at);
        int64_t begin = e->phase + tooth * e->period;
        if (at < begin || at + tile > begin + e->width)
            continue;
        *out_begin = i;
        *out_end = least(end, floor_div(begin + e->width - tile - origin, step) + 1);
        return;
    }
    *out_end = *out_begin;
}

static void classify_brick(struct tiler *t, const struct brick *brick);

// Is every position of a plain box in some plain inner box from `next` on?
static bool covered(const struct piece_space *space, struct shape box, int next) {
    if (shape_empty(&box))
        return true;
    for (; next < space->inner_count; next++) {
        const struct shape *inner = &space->inners[next];
        if (shape_is_comb(inner) || !shape_meet(&box, inner))
            continue;
        for (int a = 0; a < ABI_AXES; a++) { // what sticks out must be in the others
            struct shape below = box, above = box;
            below.axis[a].end = least(box.axis[a].end, inner->axis[a].begin);
            above.axis[a].begin = greatest(box.axis[a].begin, inner->axis[a].end);
            if (!covered(space, below, next + 1) || !covered(space, above, next + 1))
                return false;
            box.axis[a].begin = greatest(box.axis[a].begin, inner->axis[a].begin);
            box.axis[a].end = least(box.axis[a].end, inner->axis[a].end);
        }
        return true;
    }
    return false;
}

// How many plain inner boxes meet the tiles of a brick.
static int inners_meeting(const struct tiler *t, const struct brick *brick) {
    struct shape hull;
    int count = 0;
    for (int a = 0; a < ABI_AXES; a++)
        hull.axis[a] = extent_plain(brick->origin[a], brick->origin[a] +
                                                          (brick->count[a] - 1) * brick->step[a] +
                                                          t->input->tile[a]);
    for (int i = 0; i < t->space->inner_count; i++)
        count += !shape_is_comb(&t->space->inners[i]) && shape_meet(&hull, &t->space->inners[i]);
    return count;
}

enum { MOST_COVER_TESTS = 64 };

// Partial tiles, but for those that several inner boxes cover between them.
static void put_partial(struct tiler *t, const struct brick *brick) {
    int64_t cells = brick->count[0] * brick->count[1] * brick->count[2];
    if (cells > MOST_COVER_TESTS || inners_meeting(t, brick) < 2) {
        tiles_put_run(t->out, brick, true, t->own_index);
        return;
    }
    int64_t at[ABI_AXES];
    for (at[0] = 0; at[0] < brick->count[0]; at[0]++)
        for (at[1] = 0; at[1] < brick->count[1]; at[1]++)
            for (at[2] = 0; at[2] < brick->count[2]; at[2]++) {
                struct brick one = *brick;
                struct shape box;
                for (int a = 0; a < ABI_AXES; a++) {
                    one.origin[a] += at[a] * brick->step[a];
                    one.count[a] = 1;
                    box.axis[a] = extent_plain(one.origin[a], one.origin[a] + t->input->tile[a]);
                }
                bool full = shape_inside(&box, &t->own) && covered(t->space, box, 0);
                tiles_put_run(t->out, &one, !full, t->own_index);
            }
}

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
            put_partial(t, &brick);
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
        // A comb may hold more tiles further on.
        split_brick(t, slice(&brick, a, end[a], brick.count[a]),
                    t->space->inners[next].axis[a].period ? next : next + 1);
        brick = slice(&brick, a, begin[a], end[a]);
    }
    tiles_put_run(t->out, &brick, false, 0);
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
        tiles_put_run(t->out, brick, false, 0);
        return;
    }
    int longest = 0;
    for (int a = 1; a < ABI_AXES; a++)
        if (brick->count[a] > brick->count[longest])
            longest = a;
    int64_t count = brick->count[longest];
    if (count == 1) {
        kept = classify_parts(t, t->input->item, &box);
        if (kept == 3 && !clipped)
            tiles_put_run(t->out, brick, false, 0);
        else if (kept != 0)
            put_partial(t, brick);
        return;
    }
    struct brick low = slice(brick, longest, 0, count / 2);
    struct brick high = slice(brick, longest, count / 2, count);
    classify_brick(t, &low);
    classify_brick(t, &high);
}

void tiles_put_brick(struct tiler *t, const struct brick *brick) {
    split_brick(t, *brick, 0);
}

// ---- order ------------------------------------------------------------------------------------

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

void tiles_order(struct piece_output *out) {
    order_runs(out->runs, out->run_count);
    out->run_count = coalesce(out->runs, out->run_count);
}
