// Conditions that keep, for each query, an interval of every key axis
// (compiler/analyse/intervals.h):
//
//   once per item   (or tile, where the ends depend on where the tile is)
//                   lanes 0 .. 15 of a warp compute the ends for the warp's own 16 rows, and leave
//                   them in shared memory as pairs [begin, end), 32 bits each
//   per tile        a thread turns the ends of its two rows into bits, one per column
//
// Along an axis the columns 8 j + 2 (lane % 4) + e of a thread that an interval keeps are a run of
// j's (for the fastest axis, whose tile extent is a multiple of 8) or of groups of j's, repeated
// for the slower axes. So an interval is two shifts of all ones, whatever the tile's shape.
#include "compiler/sm90/sm90_mask.h"

enum { ROW_BYTES = 8, MOST_ENDS = 64, FAR = 1 << 30 };

struct ends { // of one axis of a set
    const struct interval_set *set;
    int axis, at; // offset from intervals_at
    bool of_tile; // change from tile to tile
};

struct sm90_intervals {
    struct ends ends[MOST_ENDS];
    int count;
    bool chosen[MAX_INTERVAL_PARTS];
};

// ---- planning -----------------------------------------------------------------------------------

static bool add_part(const struct sm90_emit *e, struct sm90_intervals *intervals,
                     const struct interval_part *part, int room_bytes) {
    int before = intervals->count, bytes = e->shape.query_rows * ROW_BYTES;
    for (int s = 0; s < part->set_count; s++)
        for (int a = 0; a < ABI_AXES; a++) {
            if (!part->sets[s].lower[a])
                continue;
            if (intervals->count == MOST_ENDS || (intervals->count + 1) * bytes > room_bytes) {
                intervals->count = before;
                return false;
            }
            intervals->ends[intervals->count] =
                (struct ends){&part->sets[s], a, intervals->count * bytes, part->pinned};
            intervals->count++;
        }
    return true;
}

// A part that was solved for tiles of one row of keys is of use where tiles are such.
static bool fits_tiles(const struct sm90_emit *e, const struct interval_part *part) {
    int rows = 1;
    for (int a = 0; a < ABI_AXES - 1; a++)
        rows *= e->spec->key_tile[a];
    return part->solved && (!part->pinned || rows == 1);
}

int sm90_plan_intervals(struct sm90_emit *e, int room_bytes) {
    struct sm90_intervals *intervals = ARENA_NEW(e->arena, struct sm90_intervals);
    bool aligned = e->spec->axes == 1 || e->spec->key_tile[ABI_AXES - 1] % 8 == 0;
    for (int i = 0; i < e->mask->count && aligned; i++)
        intervals->chosen[i] = fits_tiles(e, &e->mask->parts[i]) &&
                               add_part(e, intervals, &e->mask->parts[i], room_bytes);
    e->intervals = intervals;
    return intervals->count * e->shape.query_rows * ROW_BYTES;
}

bool sm90_has_intervals(const struct sm90_emit *e) {
    return e->intervals->count > 0;
}

bool sm90_has_tile_intervals(const struct sm90_emit *e) {
    bool any = false;
    for (int i = 0; i < e->intervals->count; i++)
        any |= e->intervals->ends[i].of_tile;
    return any;
}

bool sm90_is_interval(const struct sm90_emit *e, int part) {
    return e->intervals->chosen[part];
}

// ---- ends, once per item ------------------------------------------------------------------------

static LLVMValueRef row_at(struct sm90_emit *e, const struct ends *ends, LLVMValueRef row) {
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, row, ROW_BYTES));
    return sm90_add_const(e, at, e->intervals_at + ends->at);
}

static LLVMValueRef to_end(struct sm90_walk *w, const struct expr *bound, int more) {
    struct sm90_emit *e = w->e;
    LLVMTypeRef i64 = e->unit->i64;
    LLVMValueRef x = sm90_add_const(e, expr_walk_point(&w->walk, bound).v, more);
    x = llvm_intrinsic2(e->unit, "llvm.smin", x, llvm_int(i64, FAR));
    x = llvm_intrinsic2(e->unit, "llvm.smax", x, llvm_int(i64, -FAR));
    return LLVMBuildTrunc(e->b, x, e->unit->i32, "");
}

void sm90_fill_intervals(struct sm90_emit *e, struct sm90_walk *w, LLVMValueRef row, bool of_tile) {
    for (int i = 0; i < e->intervals->count; i++) {
        const struct ends *ends = &e->intervals->ends[i];
        if (ends->of_tile != of_tile)
            continue;
        LLVMValueRef args[] = {row_at(e, ends, row), to_end(w, ends->set->lower[ends->axis], 0),
                               to_end(w, ends->set->upper[ends->axis], 1)};
        sm90_asm(e, NULL, "st.shared.v2.b32 [$0], {$1, $2};", "r,r,r,~{memory}", args, 3);
    }
}

// ---- bits, per tile -----------------------------------------------------------------------------

// 2^count - 1; all ones from 32 on. count >= 0.
static LLVMValueRef ones_below(struct sm90_emit *e, LLVMValueRef count) {
    return sm90_pure(e, e->unit->i32, "bmsk.clamp.b32 $0, 0, $1;", "=r,r", &count, 1);
}

// How the columns of a thread, by j, walk along an axis of the tile.
struct walk {
    int step;    // j's per value (of the fastest axis: per 8 keys)
    int values;  // until it repeats
    int repeats; // over all j
    bool fastest;
};

static struct walk walk_of(const struct sm90_emit *e, int axis) {
    int inner = 1, columns = e->logit_count / 4;
    for (int a = axis + 1; a < ABI_AXES; a++)
        inner *= e->spec->key_tile[a];
    struct walk w = {.fastest = axis == ABI_AXES - 1};
    w.step = w.fastest ? 1 : inner / 8;
    w.values = w.fastest ? e->spec->key_tile[axis] / 8 : e->spec->key_tile[axis];
    w.repeats = columns / (w.step * w.values);
    return w;
}

// j's (or groups of them) before an end of the interval.
static LLVMValueRef before(struct sm90_emit *e, const struct walk *w, LLVMValueRef end) {
    LLVMValueRef count = end;
    if (w->fastest)
        count = LLVMBuildAShr(e->b, sm90_add_const(e, end, 7), sm90_i32(e, 3), "");
    count = llvm_intrinsic2(e->unit, "llvm.smax", count, sm90_i32(e, 0));
    if (w->step > 1) {
        // So that the product below cannot leave 32 bits.
        count = llvm_intrinsic2(e->unit, "llvm.smin", count, sm90_i32(e, w->values));
        count = sm90_mul_const(e, count, w->step);
    }
    return ones_below(e, count);
}

static LLVMValueRef run_of_bits(struct sm90_emit *e, const struct walk *w, LLVMValueRef begin,
                                LLVMValueRef end) {
    uint32_t once = (uint32_t)((UINT64_C(1) << (w->step * w->values)) - 1), pattern = 0;
    LLVMValueRef not_before = LLVMBuildNot(e->b, before(e, w, begin), "");
    LLVMValueRef bits = LLVMBuildAnd(e->b, before(e, w, end), not_before, "");
    bits = LLVMBuildAnd(e->b, bits, sm90_i32(e, (int64_t)once), "");
    for (int i = 0; i < w->repeats; i++)
        pattern |= UINT32_C(1) << (i * w->step * w->values);
    return sm90_mul_const(e, bits, (int64_t)pattern);
}

void sm90_axis_bits(struct sm90_emit *e, int axis, LLVMValueRef lane_columns, LLVMValueRef begin,
                    LLVMValueRef end, LLVMValueRef *out) {
    struct walk w = walk_of(e, axis);
    if (w.fastest) {
        begin = LLVMBuildSub(e->b, begin, lane_columns, "");
        end = LLVMBuildSub(e->b, end, lane_columns, "");
    }
    for (int i = 0; i < SM90_MASK_WORDS; i++)
        out[i] = i && !w.fastest
                     ? out[0]
                     : run_of_bits(e, &w, sm90_add_const(e, begin, -i), sm90_add_const(e, end, -i));
}

void sm90_and_bits(struct sm90_emit *e, LLVMValueRef *into, const LLVMValueRef *bits) {
    for (int i = 0; i < SM90_MASK_WORDS; i++)
        into[i] = into[i] ? LLVMBuildAnd(e->b, into[i], bits[i], "") : bits[i];
}

static void load_ends(struct sm90_emit *e, LLVMValueRef at, LLVMValueRef *begin,
                      LLVMValueRef *end) {
    LLVMTypeRef types[] = {e->unit->i32, e->unit->i32};
    LLVMTypeRef pair = LLVMStructTypeInContext(e->unit->context, types, 2, false);
    LLVMValueRef both =
        sm90_asm(e, pair, "ld.shared.v2.b32 {$0, $1}, [$2];", "=r,=r,r,~{memory}", &at, 1);
    *begin = LLVMBuildExtractValue(e->b, both, 0, "");
    *end = LLVMBuildExtractValue(e->b, both, 1, "");
}

// Bits of the columns that one set keeps for a row.
static void set_bits(struct sm90_mask *m, const struct interval_set *set, LLVMValueRef row,
                     LLVMValueRef *out) {
    struct sm90_emit *e = m->e;
    for (int i = 0; i < e->intervals->count; i++) {
        const struct ends *ends = &e->intervals->ends[i];
        LLVMValueRef begin, end, bits[SM90_MASK_WORDS], origin = m->at->origin[ends->axis];
        if (ends->set != set)
            continue;
        load_ends(e, row_at(e, ends, row), &begin, &end);
        sm90_axis_bits(e, ends->axis, m->lane_columns, LLVMBuildSub(e->b, begin, origin, ""),
                       LLVMBuildSub(e->b, end, origin, ""), bits);
        sm90_and_bits(e, out, bits);
    }
}

void sm90_interval_bits(struct sm90_mask *m, LLVMValueRef bits[SM90_ROWS][SM90_MASK_WORDS]) {
    struct sm90_emit *e = m->e;
    LLVMValueRef first = sm90_first_row(e, m->thread);
    for (int p = 0; p < e->mask->count; p++) {
        const struct interval_part *part = &e->mask->parts[p];
        for (int row = 0; row < SM90_ROWS && e->intervals->chosen[p]; row++) {
            LLVMValueRef any[SM90_MASK_WORDS] = {sm90_i32(e, 0), sm90_i32(e, 0)};
            for (int s = 0; s < part->set_count; s++) {
                LLVMValueRef one[SM90_MASK_WORDS] = {sm90_i32(e, -1), sm90_i32(e, -1)};
                set_bits(m, &part->sets[s], sm90_add_const(e, first, 8 * row), one);
                for (int i = 0; i < SM90_MASK_WORDS; i++)
                    any[i] = LLVMBuildOr(e->b, any[i], one[i], "");
            }
            sm90_and_bits(e, bits[row], any);
        }
    }
}
