// Where things are: which token and which coordinates the rows of an item and the keys of a tile
// have. Positions and tokens are 32-bit vectors; a list's coordinates are 32 bits, and a basis is
// the tokens themselves at the longest.
//
//   key j of a tile at `corner`:   c = corner + tile_offset[j]          (x fastest)
//                                  position = residue + dilation * c
//                                  token = sum over axes of position * token_stride
//   valid: inside the owned box and the extent of the residue. Other keys take the nearest position
//   inside the grid, so that what reads K, V and inputs stays in bounds; the mask drops them.
//
// Full tiles need tokens only: their corner's plus an offset table made once per call.
#include "compiler/cpu/cpu_emit.h"
#include "compiler/llvm/llvm_alg.h"

#include <stddef.h>

static LLVMValueRef to_i32(struct cpu_emit *e, LLVMValueRef value) {
    return LLVMBuildTrunc(e->unit->builder, value, e->unit->i32, "");
}

static LLVMValueRef field_i32(struct cpu_emit *e, LLVMValueRef base, size_t offset) {
    LLVMValueRef value = llvm_load_field(e->unit, base, offset, e->unit->i32, "");
    return LLVMBuildSExt(e->unit->builder, value, e->unit->i64, "");
}

// sum over axes of position[a] * token_stride[a]
static LLVMValueRef token_of(struct cpu_emit *e, const LLVMValueRef *position) {
    LLVMValueRef token = cpu_const(e, 0);
    for (int a = 0; a < ABI_AXES; a++)
        token = cpu_add(e, token,
                        cpu_mul(e, position[a], CPU_FIELD_AT(e, token_stride, a, e->unit->i64)));
    return token;
}

// Tables over the 64 keys of a tile, by counting through its extents.
LLVMValueRef cpu_emit_tile_offsets(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "tile_offsets");
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef step[ABI_AXES], zero = cpu_const(e, 0), one = cpu_const(e, 1);
    for (int a = 0; a < ABI_AXES; a++)
        step[a] = cpu_mul(e, CPU_FIELD_AT(e, dilation, a, e->unit->i64),
                          CPU_FIELD_AT(e, token_stride, a, e->unit->i64));
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, zero, cpu_const(e, CPU_KEY_ROWS), one, "keys");
    LLVMValueRef at[ABI_AXES], next[ABI_AXES], token = zero;
    for (int a = 0; a < ABI_AXES; a++) {
        at[a] = llvm_loop_carry(&loop, zero);
        cpu_store(e, to_i32(e, at[a]), cpu_cell(e, e->at.tile_offset[a], e->unit->i32, loop.index),
                  4);
        token = cpu_add(e, token, cpu_mul(e, at[a], step[a]));
    }
    cpu_store(e, to_i32(e, token), cpu_cell(e, e->at.tile_token, e->unit->i32, loop.index), 4);
    LLVMValueRef carry = one;
    for (int a = ABI_AXES - 1; a >= 0; a--) { // like an odometer, the last axis fastest
        LLVMValueRef moved = cpu_add(e, at[a], carry);
        LLVMValueRef end = CPU_FIELD_AT(e, tile, a, e->unit->i64);
        LLVMValueRef wraps = LLVMBuildICmp(b, LLVMIntSGE, moved, end, "");
        next[a] = LLVMBuildSelect(b, wraps, zero, moved, "");
        carry = LLVMBuildZExt(b, wraps, e->unit->i64, "");
    }
    for (int a = 0; a < ABI_AXES; a++)
        llvm_loop_next(&loop, a, next[a]);
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

// ---- the item's rows --------------------------------------------------------------------------

LLVMValueRef cpu_tensor_base(struct cpu_emit *e, LLVMValueRef record, LLVMValueRef batch,
                             LLVMValueRef head) {
    struct llvm_unit *unit = e->unit;
    LLVMValueRef data =
        llvm_load_field(unit, record, offsetof(struct abi_tensor, data), unit->ptr, "data");
    LLVMValueRef per_batch =
        llvm_load_field(unit, record, offsetof(struct abi_tensor, batch_stride), unit->i64, "");
    LLVMValueRef per_head =
        llvm_load_field(unit, record, offsetof(struct abi_tensor, head_stride), unit->i64, "");
    LLVMValueRef elements = cpu_add(e, cpu_mul(e, batch, per_batch), cpu_mul(e, head, per_head));
    return llvm_byte_offset(unit, data, cpu_mul(e, elements, cpu_const(e, e->element_bytes)));
}

// Of the tensor at `offset` of the launch.
static LLVMValueRef tensor_base(struct cpu_emit *e, size_t offset, LLVMValueRef batch,
                                LLVMValueRef head) {
    LLVMValueRef record = llvm_byte_offset(e->unit, e->launch, cpu_const(e, (int64_t)offset));
    return cpu_tensor_base(e, record, batch, head);
}

LLVMValueRef cpu_kv_head(struct cpu_emit *e, LLVMValueRef head) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef group = LLVMBuildSDiv(b, CPU_FIELD(e, env.heads, e->unit->i64),
                                       CPU_FIELD(e, env.kv_heads, e->unit->i64), "");
    return LLVMBuildSDiv(b, head, group, "kv_head");
}

// Head and batch from the item's (batch * heads + head), and the tensors' bases.
static void place_heads(struct cpu_emit *e, LLVMValueRef head_row) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef heads = CPU_FIELD(e, env.heads, e->unit->i64);
    LLVMValueRef batch = LLVMBuildSDiv(b, head_row, heads, "batch");
    LLVMValueRef head = LLVMBuildSRem(b, head_row, heads, "head");
    LLVMValueRef kv_head = cpu_kv_head(e, head);
    cpu_put(e, e->at.item_head, head);
    cpu_put(e, e->at.item_batch, batch);
    cpu_put(e, e->at.item_queries, tensor_base(e, offsetof(struct abi_launch, q), batch, head));
    cpu_put(e, e->at.item_output, tensor_base(e, offsetof(struct abi_launch, o), batch, head));
    cpu_put(e, e->at.item_keys, tensor_base(e, offsetof(struct abi_launch, k), batch, kv_head));
    cpu_put(e, e->at.item_values, tensor_base(e, offsetof(struct abi_launch, v), batch, kv_head));
}

// Coordinates that a residue has along an axis: ceildiv(extent - residue, dilation).
static LLVMValueRef residue_extent(struct cpu_emit *e, int axis, LLVMValueRef residue) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef extent = CPU_FIELD_AT(e, basis_extent, axis, e->unit->i64);
    LLVMValueRef dilation = CPU_FIELD_AT(e, dilation, axis, e->unit->i64);
    LLVMValueRef left = LLVMBuildSub(b, extent, residue, "");
    LLVMValueRef up = cpu_add(e, left, LLVMBuildSub(b, dilation, cpu_const(e, 1), ""));
    return LLVMBuildSDiv(b, up, dilation, "");
}

struct query_box {
    LLVMValueRef begin[ABI_AXES], end[ABI_AXES], residue[ABI_AXES], rows;
};

static struct query_box read_box(struct cpu_emit *e, LLVMValueRef number) {
    struct query_box box;
    LLVMValueRef bytes = cpu_mul(e, number, cpu_const(e, sizeof(struct abi_query_box)));
    LLVMValueRef at = llvm_byte_offset(e->unit, CPU_FIELD(e, boxes, e->unit->ptr), bytes);
    box.rows = cpu_const(e, 1);
    for (int a = 0; a < ABI_AXES; a++) {
        size_t skip = 4 * (size_t)a;
        box.begin[a] = field_i32(e, at, offsetof(struct abi_query_box, begin) + skip);
        box.end[a] = field_i32(e, at, offsetof(struct abi_query_box, end) + skip);
        box.residue[a] = field_i32(e, at, offsetof(struct abi_query_box, residue) + skip);
        LLVMValueRef count = LLVMBuildSub(e->unit->builder, box.end[a], box.begin[a], "");
        box.rows = cpu_mul(e, box.rows, count);
    }
    return box;
}

// Positions and tokens of 64 rows; rows past the box repeat its last one.
static void place_rows(struct cpu_emit *e, const struct query_box *box) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef dilation[ABI_AXES], one = cpu_const(e, 1);
    for (int a = 0; a < ABI_AXES; a++)
        dilation[a] = CPU_FIELD_AT(e, dilation, a, e->unit->i64);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_QUERY_ROWS), one, "rows");
    LLVMValueRef at[ABI_AXES], position[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++)
        at[a] = llvm_loop_carry(&loop, box->begin[a]);
    for (int a = 0; a < ABI_AXES; a++) {
        position[a] = cpu_add(e, box->residue[a], cpu_mul(e, dilation[a], at[a]));
        cpu_store(e, to_i32(e, position[a]),
                  cpu_cell(e, e->at.query_position[a], e->unit->i32, loop.index), 4);
    }
    cpu_store(e, to_i32(e, token_of(e, position)),
              cpu_cell(e, e->at.query_token, e->unit->i32, loop.index), 4);
    LLVMValueRef more = LLVMBuildICmp(b, LLVMIntSLT, cpu_add(e, loop.index, one), box->rows, "");
    LLVMValueRef carry = LLVMBuildZExt(b, more, e->unit->i64, "");
    for (int a = ABI_AXES - 1; a >= 0; a--) {
        LLVMValueRef moved = cpu_add(e, at[a], carry);
        LLVMValueRef wraps = LLVMBuildICmp(b, LLVMIntSGE, moved, box->end[a], "");
        llvm_loop_next(&loop, a, LLVMBuildSelect(b, wraps, box->begin[a], moved, ""));
        carry = LLVMBuildZExt(b, wraps, e->unit->i64, "");
    }
    llvm_loop_end(&loop);
}

LLVMValueRef cpu_emit_place_queries(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "place_queries");
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef box_count = CPU_FIELD(e, box_count, e->unit->i64);
    place_heads(e, LLVMBuildSDiv(b, e->args[0], box_count, ""));
    struct query_box box = read_box(e, LLVMBuildSRem(b, e->args[0], box_count, ""));
    for (int a = 0; a < ABI_AXES; a++) {
        cpu_put(e, e->at.item_residue[a], box.residue[a]);
        cpu_put(e, e->at.item_extent[a], residue_extent(e, a, box.residue[a]));
    }
    cpu_put(e, e->at.item_rows, box.rows);
    LLVMValueRef up = cpu_add(e, box.rows, cpu_const(e, e->lanes - 1));
    cpu_put(e, e->at.item_vectors, LLVMBuildSDiv(b, up, cpu_const(e, e->lanes), ""));
    place_rows(e, &box);
    cpu_function_end(e);
    return function;
}

// ---- the tile's keys --------------------------------------------------------------------------

static LLVMValueRef splat_i32(struct cpu_emit *e, LLVMValueRef value) {
    return llvm_splat(e->unit, to_i32(e, value), e->lanes);
}

static LLVMValueRef ints_at(struct cpu_emit *e, int64_t array, LLVMValueRef index) {
    return cpu_cell(e, array, e->unit->i32, index);
}

LLVMValueRef cpu_emit_place_full(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "place_full");
    LLVMValueRef position[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++)
        position[a] = cpu_add(e, cpu_get(e, e->at.item_residue[a], e->unit->i64),
                              cpu_mul(e, CPU_FIELD_AT(e, dilation, a, e->unit->i64), e->args[a]));
    LLVMValueRef corner = splat_i32(e, token_of(e, position));
    for (int j = 0; j < CPU_KEY_ROWS; j += e->lanes) {
        LLVMValueRef index = cpu_const(e, j);
        LLVMValueRef offset = cpu_load(e, e->ints, ints_at(e, e->at.tile_token, index), 4);
        cpu_store(e, cpu_add(e, corner, offset), ints_at(e, e->at.key_token, index), 4);
    }
    cpu_function_end(e);
    return function;
}

struct axis_limits { // of one axis, splat
    LLVMValueRef corner, low, high, residue, dilation, last, stride;
};

static struct axis_limits read_limits(struct cpu_emit *e, int axis, LLVMValueRef own) {
    struct llvm_unit *unit = e->unit;
    size_t skip = 8 * (size_t)axis;
    LLVMValueRef begin =
        llvm_load_field(unit, own, offsetof(struct abi_box, begin) + skip, unit->i64, "");
    LLVMValueRef end =
        llvm_load_field(unit, own, offsetof(struct abi_box, end) + skip, unit->i64, "");
    LLVMValueRef extent = cpu_get(e, e->at.item_extent[axis], unit->i64);
    LLVMValueRef last = LLVMBuildSub(unit->builder, CPU_FIELD_AT(e, basis_extent, axis, unit->i64),
                                     cpu_const(e, 1), "");
    if (e->pooled && axis == ABI_AXES - 1)
        last = cpu_get(e, e->at.key_last, unit->i64);
    begin = cpu_min(e, cpu_max(e, begin, cpu_const(e, 0)), cpu_const(e, INT32_MAX));
    end = cpu_max(e, cpu_min(e, end, extent), cpu_const(e, 0));
    return (struct axis_limits){
        .corner = splat_i32(e, e->args[axis]),
        .low = splat_i32(e, begin),
        .high = splat_i32(e, end),
        .residue = splat_i32(e, cpu_get(e, e->at.item_residue[axis], unit->i64)),
        .dilation = splat_i32(e, CPU_FIELD_AT(e, dilation, axis, unit->i64)),
        .last = splat_i32(e, last),
        .stride = splat_i32(e, CPU_FIELD_AT(e, token_stride, axis, unit->i64)),
    };
}

// One vector of keys: positions, tokens and validity.
static void place_keys(struct cpu_emit *e, const struct axis_limits *limits, LLVMValueRef index) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef token = LLVMConstNull(e->ints), valid = NULL;
    for (int a = 0; a < ABI_AXES; a++) {
        const struct axis_limits *axis = &limits[a];
        LLVMValueRef offset = cpu_load(e, e->ints, ints_at(e, e->at.tile_offset[a], index), 4);
        LLVMValueRef c = cpu_add(e, axis->corner, offset);
        LLVMValueRef inside = LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntSGE, c, axis->low, ""),
                                           LLVMBuildICmp(b, LLVMIntSLT, c, axis->high, ""), "");
        valid = valid ? LLVMBuildAnd(b, valid, inside, "") : inside;
        LLVMValueRef held = cpu_max(e, c, LLVMConstNull(e->ints));
        LLVMValueRef position = cpu_add(e, axis->residue, cpu_mul(e, axis->dilation, held));
        position = cpu_min(e, position, axis->last);
        cpu_store(e, position, ints_at(e, e->at.key_position[a], index), 4);
        token = cpu_add(e, token, cpu_mul(e, position, axis->stride));
    }
    cpu_store(e, token, ints_at(e, e->at.key_token, index), 4);
    LLVMValueRef bytes =
        LLVMBuildZExt(b, valid, LLVMVectorType(e->unit->i8, (unsigned)e->lanes), "");
    cpu_store(e, bytes, cpu_cell(e, e->at.key_valid, e->unit->i8, index), 1);
}

LLVMValueRef cpu_emit_place_partial(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "place_partial");
    LLVMValueRef bytes = cpu_mul(e, e->args[3], cpu_const(e, sizeof(struct abi_box)));
    LLVMValueRef own = llvm_byte_offset(e->unit, CPU_FIELD(e, owns, e->unit->ptr), bytes);
    struct axis_limits limits[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++)
        limits[a] = read_limits(e, a, own);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS),
                    cpu_const(e, e->lanes), "keys");
    place_keys(e, limits, loop.index);
    llvm_loop_end(&loop);
    cpu_function_end(e);
    return function;
}

// ---- pattern axes -----------------------------------------------------------------------------

// axis[j] = axis[j] / by, or % by, over the 64 entries at `array`.
static void divide_all(struct cpu_emit *e, LLVMValueRef array, LLVMValueRef by,
                       enum alg_binary op) {
    struct llvm_alg alg;
    llvm_alg_init(&alg, e->unit, e->lanes, 32, 64, false);
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS),
                    cpu_const(e, e->lanes), "divide");
    LLVMValueRef at = llvm_element(e->unit, e->unit->i32, array, loop.index);
    aval x = {.v = cpu_load(e, e->ints, at, 4)};
    cpu_store(e, a2(&alg.alg, op, x, (aval){.v = to_i32(e, by)}).v, at, 4);
    llvm_loop_end(&loop);
}

static void divide_unless(struct cpu_emit *e, LLVMValueRef array, LLVMValueRef by, int64_t neutral,
                          enum alg_binary op) {
    struct llvm_if test;
    LLVMValueRef needed = LLVMBuildICmp(e->unit->builder, LLVMIntNE, by, cpu_const(e, neutral), "");
    llvm_if_begin(e->unit, &test, needed, "fused");
    divide_all(e, array, by, op);
    llvm_if_end(&test);
}

// (byte offset of position[0], byte offset of axis[0]): position / divisor % modulus, per axis.
LLVMValueRef cpu_emit_axes(struct cpu_emit *e) {
    LLVMValueRef function = cpu_function_begin(e, "pattern_axes");
    LLVMValueRef array_bytes = cpu_const(e, CPU_KEY_ROWS * 4);
    for (int p = 0; p < e->spec->pattern->axis_count; p++) {
        LLVMValueRef basis = CPU_FIELD_AT(e, axis_basis, p, e->unit->i64);
        LLVMValueRef from = cpu_add(e, e->args[0], cpu_mul(e, basis, array_bytes));
        LLVMValueRef to = cpu_add(e, e->args[1], cpu_const(e, p * CPU_KEY_ROWS * 4));
        from = llvm_byte_offset(e->unit, e->scratch, from);
        to = llvm_byte_offset(e->unit, e->scratch, to);
        for (int j = 0; j < CPU_KEY_ROWS; j += e->lanes) {
            LLVMValueRef skip = cpu_const(e, j * 4);
            LLVMValueRef x = cpu_load(e, e->ints, llvm_byte_offset(e->unit, from, skip), 4);
            cpu_store(e, x, llvm_byte_offset(e->unit, to, skip), 4);
        }
        divide_unless(e, to, CPU_FIELD_AT(e, axis_divisor, p, e->unit->i64), 1, ALG_I_QUOT);
        divide_unless(e, to, CPU_FIELD_AT(e, axis_modulus, p, e->unit->i64), 0, ALG_I_REM);
    }
    cpu_function_end(e);
    return function;
}
