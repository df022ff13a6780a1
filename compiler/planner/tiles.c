// Part of the planner: bricks of tiles, full or partial. See pieces.h and piece_space.h.

#include "compiler/planner/piece_space.h"

// ---- bricks -----------------------------------------------------------------------------------

void tiles_put_run(struct tiler *t, const struct brick *brick, bool partial, int64_t own) {
    struct piece_list *out = t->out;
    if (out->run_count == t->space->limits.raw_runs) {
        out->merged = true;
        return;
    }
    struct abi_run *run = &out->runs[out->run_count++];
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

// ---- covering ---------------------------------------------------------------------------------

// The first plain inner box from `next` on that meets a box, or their number.
static int64_t inner_meeting(const struct piece_space *space, const struct abi_box *box,
                             int64_t next) {
    for (; next < space->inner_count; next++) {
        const struct shape *inner = &space->inners[next];
        bool meets = !shape_is_comb(inner);
        for (int a = 0; a < ABI_AXES && meets; a++)
            meets = box->begin[a] < inner->axis[a].end && inner->axis[a].begin < box->end[a];
        if (meets)
            break;
    }
    return next;
}

static bool push_cover(struct cover_work *work, int *count, const struct abi_box *box,
                       int64_t next) {
    for (int a = 0; a < ABI_AXES; a++)
        if (box->begin[a] >= box->end[a])
            return true;
    if (*count == COVER_ROOM)
        return false;
    work[*count].box = *box;
    work[(*count)++].next = next;
    return true;
}

// Is every position of a box in some plain inner box? What sticks out of one must be in the others.
// A box in too many parts counts as not covered.
static bool covered(struct piece_space *space, const struct abi_box *whole) {
    struct cover_work *work = space->cover;
    int count = 0;
    bool fits = push_cover(work, &count, whole, 0);
    while (fits && count) {
        struct abi_box box = work[--count].box;
        int64_t next = inner_meeting(space, &box, work[count].next);
        if (next == space->inner_count)
            return false;
        for (int a = 0; a < ABI_AXES; a++) {
            const struct extent *inner = &space->inners[next].axis[a];
            struct abi_box below = box, above = box;
            below.end[a] = least(box.end[a], inner->begin);
            above.begin[a] = greatest(box.begin[a], inner->end);
            fits &= push_cover(work, &count, &below, next + 1) &&
                    push_cover(work, &count, &above, next + 1);
            box.begin[a] = greatest(box.begin[a], inner->begin);
            box.end[a] = least(box.end[a], inner->end);
        }
    }
    return fits;
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
        tiles_put_run(t, brick, true, t->own_index);
        return;
    }
    int64_t at[ABI_AXES];
    for (at[0] = 0; at[0] < brick->count[0]; at[0]++)
        for (at[1] = 0; at[1] < brick->count[1]; at[1]++)
            for (at[2] = 0; at[2] < brick->count[2]; at[2]++) {
                struct brick one = *brick;
                struct abi_box box;
                bool full = true;
                for (int a = 0; a < ABI_AXES; a++) {
                    one.origin[a] += at[a] * brick->step[a];
                    one.count[a] = 1;
                    box.begin[a] = one.origin[a];
                    box.end[a] = one.origin[a] + t->input->tile[a];
                    full &=
                        box.begin[a] >= t->own.axis[a].begin && box.end[a] <= t->own.axis[a].end;
                }
                full = full && covered(t->space, &box);
                tiles_put_run(t, &one, !full, t->own_index);
            }
}

// The part of a brick with [begin, end) along one axis.
static struct brick slice(const struct brick *brick, int axis, int64_t begin, int64_t end) {
    struct brick part = *brick;
    part.origin[axis] += begin * part.step[axis];
    part.count[axis] = end - begin;
    return part;
}

// ---- classifying ------------------------------------------------------------------------------

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

// Goes on where the whole item is undecided about a box: full (empty) when every part of it is,
// halved as far as it takes. A position of its own that is undecided ends the search, so a tile
// that really is partial costs a handful of steps.
static int64_t classify_parts(const struct tiler *t, const struct abi_box *box, int64_t kept) {
    struct cover_work *parts = t->space->cover;
    struct abi_item part = *t->input->item;
    int64_t all = -1;
    int count = 0;
    for (;;) {
        int axis = 0;
        while (axis < ABI_AXES && part.box.end[axis] - part.box.begin[axis] < 2)
            axis++;
        if (kept == 1 && (axis == ABI_AXES || count == COVER_ROOM))
            return 1;
        if (kept == 1) { // the lower half next, the upper one later
            struct abi_box high = part.box;
            high.begin[axis] = (part.box.begin[axis] + part.box.end[axis]) / 2;
            part.box.end[axis] = high.begin[axis];
            parts[count++].box = high;
        } else if (all >= 0 && kept != all) {
            return 1;
        } else {
            all = kept;
            if (!count)
                return all;
            part.box = parts[--count].box;
        }
        kept = CALL_CLASSIFY(t->input)(t->input->env, &part, box);
    }
}

// ---- the work list ----------------------------------------------------------------------------

static void push_work(struct tiler *t, const struct brick *brick, int64_t next) {
    struct piece_space *space = t->space;
    for (int a = 0; a < ABI_AXES; a++)
        if (brick->count[a] <= 0)
            return;
    space->work[space->work_count].brick = *brick;
    space->work[space->work_count++].next = next;
}

// A brick that no inner box has tiles in: empty or full by the whole predicate, or halved until it
// is, down to one tile.
static void classify_brick(struct tiler *t, const struct brick *brick) {
    struct abi_box box;
    bool clipped;
    if (!brick_box(t, brick, &box, &clipped))
        return;
    int64_t kept = CALL_CLASSIFY(t->input)(t->input->env, t->input->item, &box);
    int longest = 0;
    for (int a = 1; a < ABI_AXES; a++)
        if (brick->count[a] > brick->count[longest])
            longest = a;
    int64_t count = brick->count[longest];
    if (count == 1 && kept == 1)
        kept = classify_parts(t, &box, kept);
    if (kept == 0)
        return;
    bool whole = count == 1 || t->space->work_count > WORK_ROOM - 2; // not to be halved
    if (kept == 3 && !clipped) {
        tiles_put_run(t, brick, false, 0);
    } else if (whole) {
        put_partial(t, brick);
    } else {
        struct brick low = slice(brick, longest, 0, count / 2);
        struct brick high = slice(brick, longest, count / 2, count);
        push_work(t, &high, t->space->inner_count);
        push_work(t, &low, t->space->inner_count);
    }
}

// Which tiles of a brick lie inside an inner box and the claim: [begin, end) of each axis. False
// when none do.
static bool tiles_inside(const struct tiler *t, const struct brick *brick,
                         const struct shape *inner, int64_t *begin, int64_t *end) {
    for (int a = 0; a < ABI_AXES; a++) {
        struct extent e = inner->axis[a];
        e.begin = greatest(e.begin, t->own.axis[a].begin);
        e.end = least(e.end, t->own.axis[a].end);
        tiles_within(brick, a, t->input->tile[a], &e, &begin[a], &end[a]);
        if (begin[a] >= end[a])
            return false;
    }
    return true;
}

// Takes the tiles inside one inner box out of a brick; the rest, by axis, is tried on the boxes
// after it. A comb may hold more tiles further on: that rest is pushed first, so that it waits
// until all others are done and a long comb needs no more room than a short one.
static void split_brick(struct tiler *t, const struct brick *whole, const struct shape *inner,
                        int64_t next, const int64_t *begin, const int64_t *end) {
    struct brick brick = *whole;
    for (int a = 0; a < ABI_AXES; a++) {
        struct brick above = slice(&brick, a, end[a], brick.count[a]);
        if (inner->axis[a].period)
            push_work(t, &above, next);
        brick = slice(&brick, a, begin[a], end[a]);
    }
    tiles_put_run(t, &brick, false, 0);
    brick = *whole;
    for (int a = 0; a < ABI_AXES; a++) {
        struct brick below = slice(&brick, a, 0, begin[a]);
        struct brick above = slice(&brick, a, end[a], brick.count[a]);
        push_work(t, &below, next + 1);
        if (!inner->axis[a].period)
            push_work(t, &above, next + 1);
        brick = slice(&brick, a, begin[a], end[a]);
    }
}

void tiles_put_brick(struct tiler *t, const struct brick *brick) {
    struct piece_space *space = t->space;
    int64_t begin[ABI_AXES], end[ABI_AXES];
    space->work_count = 0;
    push_work(t, brick, 0);
    while (space->work_count && !t->out->merged) {
        struct brick_work work = space->work[--space->work_count];
        bool room = space->work_count < WORK_ROOM - HALVING - 2 * ABI_AXES;
        while (room && work.next < space->inner_count &&
               !tiles_inside(t, &work.brick, &space->inners[work.next], begin, end))
            work.next++;
        if (room && work.next < space->inner_count)
            split_brick(t, &work.brick, &space->inners[work.next], work.next, begin, end);
        else if (t->refine)
            classify_brick(t, &work.brick);
        else
            put_partial(t, &work.brick);
    }
}

// ---- order ------------------------------------------------------------------------------------

static bool run_before(const struct abi_run *a, const struct abi_run *b) {
    if (a->kind != b->kind)
        return a->kind < b->kind;
    for (int i = 0; i < ABI_AXES; i++)
        if (a->origin[i] != b->origin[i])
            return a->origin[i] < b->origin[i];
    return a->own < b->own;
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

// Heap sort. No two runs of an item agree in kind, origin and ownership, so the order does not
// depend on how they were found.
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

void tiles_order(struct piece_list *out) {
    order_runs(out->runs, out->run_count);
    out->run_count = coalesce(out->runs, out->run_count);
}
