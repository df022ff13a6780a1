// Where the rows and keys of a thread are. Tile extents are constants of the code, so the box
// offset of a key column is a constant plus what depends on the lane, and LLVM shares the parts.
#include "compiler/sm90/sm90_emit.h"

#include "compiler/llvm/llvm_alg.h"

#include <stddef.h>

static int first_axis(const struct sm90_emit *e) {
    return ABI_AXES - e->spec->axes;
}

static LLVMValueRef to_i32(struct sm90_emit *e, LLVMValueRef value) {
    return LLVMBuildTrunc(e->b, value, e->unit->i32, "");
}

void sm90_unravel(struct sm90_emit *e, LLVMValueRef index, const int *extent, LLVMValueRef *out) {
    for (int a = ABI_AXES - 1; a >= 0; a--) {
        LLVMValueRef size = sm90_i32(e, extent[a]);
        bool outermost = a == first_axis(e);
        out[a] = outermost ? index : LLVMBuildURem(e->b, index, size, "");
        if (outermost) {
            while (--a >= 0)
                out[a] = sm90_i32(e, 0);
            return;
        }
        index = LLVMBuildUDiv(e->b, index, size, "");
    }
}

LLVMValueRef sm90_item_record(struct sm90_emit *e, LLVMValueRef items) {
    LLVMValueRef slot = sm90_stage(e, items, SM90_ITEM_RECORDS);
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, slot, SM90_RECORD_BYTES));
    return sm90_add_const(e, at, e->shape.item_record_at);
}

LLVMValueRef sm90_head_field(struct sm90_emit *e, const struct sm90_item *item, size_t offset) {
    return sm90_shared_field(e, item->record, SM90_RECORD_HEAD + (int64_t)offset);
}

LLVMValueRef sm90_box_field(struct sm90_emit *e, const struct sm90_item *item, size_t offset,
                            int axis) {
    return sm90_shared_field(e, item->record, SM90_RECORD_BOX + (int64_t)offset + 4 * axis);
}

void sm90_query_origin(struct sm90_emit *e, const struct sm90_item *item, LLVMValueRef *out) {
    for (int a = 0; a < ABI_AXES; a++)
        out[a] = sm90_box_field(e, item, offsetof(struct sm90_box, begin), a);
    LLVMValueRef first = sm90_box_field(e, item, offsetof(struct sm90_box, query_first), 0);
    out[first_axis(e)] = LLVMBuildSub(e->b, out[first_axis(e)], first, "");
}

// residue + dilation * coordinate
LLVMValueRef sm90_position(struct sm90_emit *e, const struct sm90_item *item, int axis,
                           LLVMValueRef coordinate) {
    if (!e->spec->dilated[axis])
        return coordinate;
    LLVMValueRef residue = sm90_box_field(e, item, offsetof(struct sm90_box, residue), axis);
    LLVMValueRef step = to_i32(e, SM90_ARG_AT(e, dilation, axis, e->unit->i64));
    return sm90_add(e, residue, LLVMBuildMul(e->b, step, coordinate, ""));
}

// Rows of the tile that lie past the grid take its last position, so that what the predicate reads
// stays in bounds; nobody stores them.
void sm90_row_position(struct sm90_emit *e, const struct sm90_item *item, LLVMValueRef row,
                       LLVMValueRef *out_offset, LLVMValueRef *out_position) {
    LLVMValueRef here[ABI_AXES], *offset = out_offset ? out_offset : here;
    sm90_unravel(e, row, e->spec->query_tile, offset);
    for (int a = 0; a < ABI_AXES; a++) {
        out_position[a] = sm90_i32(e, 0);
        if (a < first_axis(e))
            continue;
        LLVMValueRef begin = sm90_box_field(e, item, offsetof(struct sm90_box, begin), a);
        LLVMValueRef at = sm90_position(e, item, a, sm90_add(e, begin, offset[a]));
        LLVMValueRef extent = to_i32(e, SM90_ARG_AT(e, basis_extent, a, e->unit->i64));
        out_position[a] = llvm_intrinsic2(e->unit, "llvm.smin", at, sm90_add_const(e, extent, -1));
    }
}

void sm90_row_place(struct sm90_emit *e, const struct sm90_item *item, LLVMValueRef row,
                    LLVMValueRef *out) {
    LLVMValueRef offset[ABI_AXES];
    sm90_unravel(e, row, e->spec->query_tile, offset);
    for (int a = 0; a < ABI_AXES; a++) {
        LLVMValueRef begin = sm90_box_field(e, item, offsetof(struct sm90_box, begin), a);
        LLVMValueRef last = sm90_box_field(e, item, offsetof(struct sm90_box, end), a);
        out[a] = llvm_intrinsic2(e->unit, "llvm.smin", sm90_add(e, begin, offset[a]),
                                 sm90_add_const(e, last, -1));
    }
}

LLVMValueRef sm90_first_row(struct sm90_emit *e, LLVMValueRef thread) {
    LLVMValueRef warp = LLVMBuildLShr(e->b, sm90_add_const(e, thread, -128), sm90_i32(e, 5), "");
    LLVMValueRef lane = LLVMBuildAnd(e->b, thread, sm90_i32(e, 31), "");
    return sm90_add(e, sm90_mul_const(e, warp, 16), LLVMBuildLShr(e->b, lane, sm90_i32(e, 2), ""));
}

struct sm90_rows sm90_rows_place(struct sm90_emit *e, const struct sm90_item *item,
                                 LLVMValueRef thread) {
    struct sm90_rows rows;
    LLVMValueRef first = sm90_first_row(e, thread);
    for (int r = 0; r < SM90_ROWS; r++)
        sm90_row_position(e, item, sm90_add_const(e, first, 8 * r), rows.offset[r],
                          rows.position[r]);
    return rows;
}

struct sm90_tile_place sm90_tile_read(struct sm90_emit *e, LLVMValueRef stage) {
    struct sm90_tile_place place;
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, stage, SM90_TILE_RECORD_BYTES));
    LLVMValueRef *words[] = {place.origin, place.low, place.high};
    for (int i = 0; i < 3 * ABI_AXES; i++) {
        int word = i / ABI_AXES, a = i % ABI_AXES;
        words[word][a] =
            a < first_axis(e)
                ? sm90_i32(e, word == 2)
                : sm90_shared_load_lane0(e, at, e->shape.tile_record_at + 16 * word + 4 * a);
    }
    for (int i = 0; i < 3 * ABI_AXES; i++) {
        LLVMValueRef *word = &words[i / ABI_AXES][i % ABI_AXES];
        if (i % ABI_AXES >= first_axis(e))
            *word = sm90_from_lane0(e, *word);
    }
    return place;
}

void sm90_key_offset(struct sm90_emit *e, LLVMValueRef thread, int j, int i, LLVMValueRef *out) {
    const int *tile = e->spec->key_tile;
    int first = first_axis(e), fastest = tile[ABI_AXES - 1];
    LLVMValueRef two_lanes = LLVMBuildAnd(e->b, thread, sm90_i32(e, 3), "");
    two_lanes = sm90_mul_const(e, two_lanes, 2);
    if (fastest % 8 != 0 && first < ABI_AXES - 1) {
        sm90_unravel(e, sm90_add_const(e, two_lanes, 8 * j + i), tile, out);
        return;
    }
    int rest = 8 * j;
    for (int a = ABI_AXES - 1; a >= 0; a--) {
        bool outermost = a <= first;
        out[a] = sm90_i32(e, a < first ? 0 : outermost ? rest : rest % tile[a]);
        rest /= tile[a];
    }
    out[ABI_AXES - 1] = sm90_add(e, out[ABI_AXES - 1], sm90_add_const(e, two_lanes, i));
}

LLVMValueRef sm90_axis(struct sm90_emit *e, const LLVMValueRef *position, int axis) {
    LLVMValueRef at = position[e->spec->axis_basis[axis]];
    if (!e->spec->fused[axis])
        return at;
    struct llvm_alg alg;
    llvm_alg_init(&alg, e->unit, 1, 32, 64, false);
    LLVMValueRef divisor = to_i32(e, SM90_ARG_AT(e, axis_divisor, axis, e->unit->i64));
    LLVMValueRef modulus = to_i32(e, SM90_ARG_AT(e, axis_modulus, axis, e->unit->i64));
    LLVMValueRef quotient = a2(&alg.alg, ALG_I_QUOT, (aval){.v = at}, (aval){.v = divisor}).v;
    LLVMValueRef rest = a2(&alg.alg, ALG_I_REM, (aval){.v = quotient}, (aval){.v = modulus}).v;
    LLVMValueRef whole = LLVMBuildICmp(e->b, LLVMIntEQ, modulus, sm90_i32(e, 0), "");
    return LLVMBuildSelect(e->b, whole, quotient, rest, "");
}

LLVMValueRef sm90_token(struct sm90_emit *e, const LLVMValueRef *position) {
    LLVMValueRef token = sm90_i32(e, 0);
    for (int a = first_axis(e); a < ABI_AXES; a++) {
        LLVMValueRef stride = to_i32(e, SM90_ARG_AT(e, token_stride, a, e->unit->i64));
        if (a == ABI_AXES - 1) // the fastest axis's stride is 1
            token = sm90_add(e, token, position[a]);
        else
            token = sm90_add(e, token, LLVMBuildMul(e->b, position[a], stride, ""));
    }
    return token;
}
