// Rows of the tensors q, k, v and o: addresses, dtypes, strides, and dims that fill no vector.
//
// Halves are handled as 16-bit integers. bf16 is the upper half of a float; f16 goes through F16C
// where the target has it and through integer operations elsewhere (library calls would need a
// compiler runtime that a JIT host may not have).
#include "compiler/cpu/cpu_emit.h"

#include <stddef.h>

// ---- addresses --------------------------------------------------------------------------------

static struct cpu_tensor tensor(struct cpu_emit *e, size_t offset, LLVMValueRef base) {
    struct llvm_unit *unit = e->unit;
    struct cpu_tensor t = {.base = base};
    t.token_stride = llvm_load_field(
        unit, e->launch, offset + offsetof(struct abi_tensor, token_stride), unit->i64, "");
    if (!e->spec->dim_contiguous)
        t.dim_stride = llvm_load_field(
            unit, e->launch, offset + offsetof(struct abi_tensor, dim_stride), unit->i64, "");
    return t;
}

struct cpu_tensor cpu_queries(struct cpu_emit *e) {
    return tensor(e, offsetof(struct abi_launch, q), cpu_get(e, e->at.item_queries, e->unit->ptr));
}

// Of the source in use: its strides are in scratch.
static struct cpu_tensor source_tensor(struct cpu_emit *e, LLVMValueRef base, int64_t token_stride,
                                       int64_t dim_stride) {
    struct cpu_tensor t = {.base = base, .token_stride = cpu_get(e, token_stride, e->unit->i64)};
    if (!e->spec->dim_contiguous)
        t.dim_stride = cpu_get(e, dim_stride, e->unit->i64);
    return t;
}

struct cpu_tensor cpu_keys(struct cpu_emit *e) {
    LLVMValueRef base = cpu_get(e, e->at.item_keys, e->unit->ptr);
    if (e->pooled)
        return source_tensor(e, base, e->at.key_stride, e->at.key_dim_stride);
    return tensor(e, offsetof(struct abi_launch, k), base);
}

struct cpu_tensor cpu_values(struct cpu_emit *e) {
    LLVMValueRef base = cpu_get(e, e->at.item_values, e->unit->ptr);
    if (e->pooled)
        return source_tensor(e, base, e->at.value_stride, e->at.value_dim_stride);
    return tensor(e, offsetof(struct abi_launch, v), base);
}

struct cpu_tensor cpu_output(struct cpu_emit *e) {
    return tensor(e, offsetof(struct abi_launch, o), cpu_get(e, e->at.item_output, e->unit->ptr));
}

static LLVMValueRef row_at_token(struct cpu_emit *e, const struct cpu_tensor *t,
                                 LLVMValueRef token) {
    LLVMValueRef bytes = cpu_const(e, e->element_bytes);
    return llvm_byte_offset(e->unit, t->base,
                            cpu_mul(e, cpu_mul(e, token, t->token_stride), bytes));
}

static LLVMValueRef token_at(struct cpu_emit *e, int64_t array, LLVMValueRef index) {
    LLVMValueRef token = cpu_load(e, e->unit->i32, cpu_cell(e, array, e->unit->i32, index), 4);
    return LLVMBuildSExt(e->unit->builder, token, e->unit->i64, "");
}

LLVMValueRef cpu_query_row(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef index) {
    LLVMValueRef token = token_at(e, e->at.query_token, index);
    LLVMValueRef offset = CPU_FIELD(e, query_offset, e->unit->i64);
    return row_at_token(e, t, LLVMBuildSub(e->unit->builder, token, offset, ""));
}

LLVMValueRef cpu_key_row(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef index) {
    return row_at_token(e, t, token_at(e, e->at.key_token, index));
}

LLVMValueRef cpu_row_at(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef row, int d) {
    LLVMValueRef bytes = cpu_const(e, d * e->element_bytes);
    if (t->dim_stride)
        bytes = cpu_mul(e, t->dim_stride, bytes);
    return llvm_byte_offset(e->unit, row, bytes);
}

// ---- memory to vectors and back ---------------------------------------------------------------

static LLVMValueRef shuffle(struct cpu_emit *e, LLVMValueRef x, LLVMValueRef y, const int *from,
                            int count) {
    LLVMValueRef indices[64];
    for (int i = 0; i < count; i++)
        indices[i] = llvm_int(e->unit->i32, from[i]);
    return LLVMBuildShuffleVector(e->unit->builder, x, y, LLVMConstVector(indices, (unsigned)count),
                                  "");
}

// The largest power of two that is at most count.
static int piece_of(int count) {
    int piece = 1;
    while (piece * 2 <= count)
        piece *= 2;
    return piece;
}

// `whole` with lanes at .. at + count replaced by those of `piece`.
static LLVMValueRef insert_piece(struct cpu_emit *e, LLVMValueRef whole, LLVMValueRef piece, int at,
                                 int count, int lanes) {
    int widen[64], blend[64];
    for (int i = 0; i < lanes; i++) {
        widen[i] = i < count ? i : 0;
        blend[i] = i >= at && i < at + count ? lanes + i - at : i;
    }
    LLVMValueRef wide = shuffle(e, piece, LLVMGetPoison(LLVMTypeOf(piece)), widen, lanes);
    return shuffle(e, whole, wide, blend, lanes);
}

static LLVMValueRef load_strided(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef row,
                                 int d, int count, int lanes) {
    LLVMValueRef vector = LLVMConstNull(LLVMVectorType(e->element, (unsigned)lanes));
    for (int i = 0; i < count; i++) {
        LLVMValueRef one =
            cpu_load(e, e->element, cpu_row_at(e, t, row, d + i), (unsigned)e->element_bytes);
        vector = LLVMBuildInsertElement(e->unit->builder, vector, one, cpu_const(e, i), "");
    }
    return vector;
}

LLVMValueRef cpu_load_raw(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef row, int d,
                          int lanes) {
    int count = e->dim - d < lanes ? e->dim - d : lanes;
    LLVMTypeRef type = LLVMVectorType(e->element, (unsigned)lanes);
    unsigned align = (unsigned)e->element_bytes;
    if (count <= 0)
        return LLVMConstNull(type);
    if (t->dim_stride)
        return load_strided(e, t, row, d, count, lanes);
    if (count == lanes)
        return cpu_load(e, type, cpu_row_at(e, t, row, d), align);
    LLVMValueRef vector = LLVMConstNull(type); // a tail: 8 + 4 + 2 + 1, nothing past the row
    for (int at = 0; at < count;) {
        int piece = piece_of(count - at);
        LLVMValueRef part = cpu_load(e, LLVMVectorType(e->element, (unsigned)piece),
                                     cpu_row_at(e, t, row, d + at), align);
        vector = insert_piece(e, vector, part, at, piece, lanes);
        at += piece;
    }
    return vector;
}

static void store_raw(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef row, int d,
                      LLVMValueRef raw) {
    LLVMBuilderRef b = e->unit->builder;
    int count = e->dim - d < e->lanes ? e->dim - d : e->lanes;
    for (int at = 0; at < count;) {
        int piece = t->dim_stride ? 1 : piece_of(count - at), lanes[64];
        for (int i = 0; i < piece; i++)
            lanes[i] = at + i;
        LLVMValueRef part = piece == e->lanes ? raw
                            : piece == 1
                                ? LLVMBuildExtractElement(b, raw, cpu_const(e, at), "")
                                : shuffle(e, raw, LLVMGetPoison(LLVMTypeOf(raw)), lanes, piece);
        cpu_store(e, part, cpu_row_at(e, t, row, d + at), (unsigned)e->element_bytes);
        at += piece;
    }
}

// ---- dtypes -----------------------------------------------------------------------------------

static LLVMValueRef ints_of(struct cpu_emit *e, int64_t value) {
    return llvm_splat(e->unit, llvm_int(e->unit->i32, value), e->lanes);
}

static LLVMValueRef as_floats(struct cpu_emit *e, LLVMValueRef bits) {
    return LLVMBuildBitCast(e->unit->builder, bits, e->floats, "");
}

static LLVMValueRef as_ints(struct cpu_emit *e, LLVMValueRef floats) {
    return LLVMBuildBitCast(e->unit->builder, floats, e->ints, "");
}

// f16 to float by integers: the magnitude's bits, moved, are the value times 2^-112.
static LLVMValueRef half_to_float(struct cpu_emit *e, LLVMValueRef half) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef magnitude = LLVMBuildAnd(b, half, ints_of(e, 0x7fff), "");
    LLVMValueRef moved = LLVMBuildShl(b, magnitude, ints_of(e, 13), "");
    LLVMValueRef power = llvm_splat(e->unit, LLVMConstReal(e->unit->f32, 0x1p112), e->lanes);
    LLVMValueRef finite = as_ints(e, LLVMBuildFMul(b, as_floats(e, moved), power, ""));
    LLVMValueRef special = LLVMBuildOr(b, moved, ints_of(e, 0x7f800000), "");
    LLVMValueRef is_finite = LLVMBuildICmp(b, LLVMIntSLT, magnitude, ints_of(e, 0x7c00), "");
    LLVMValueRef sign = LLVMBuildAnd(b, half, ints_of(e, 0x8000), "");
    LLVMValueRef bits = LLVMBuildSelect(b, is_finite, finite, special, "");
    return as_floats(e, LLVMBuildOr(b, bits, LLVMBuildShl(b, sign, ints_of(e, 16), ""), ""));
}

static LLVMValueRef to_floats(struct cpu_emit *e, LLVMValueRef raw) {
    LLVMBuilderRef b = e->unit->builder;
    if (e->spec->dtype == HEDDLE_F32)
        return raw;
    if (e->spec->dtype == HEDDLE_F16 && e->unit->has_f16c) {
        LLVMTypeRef half = LLVMHalfTypeInContext(e->unit->context);
        LLVMTypeRef halves = LLVMVectorType(half, (unsigned)e->lanes);
        return LLVMBuildFPExt(b, LLVMBuildBitCast(b, raw, halves, ""), e->floats, "");
    }
    LLVMValueRef wide = LLVMBuildZExt(b, raw, e->ints, "");
    if (e->spec->dtype == HEDDLE_F16)
        return half_to_float(e, wide);
    return as_floats(e, LLVMBuildShl(b, wide, ints_of(e, 16), ""));
}

// Adding half of the last kept place, less one unless that place is odd, rounds to nearest even.
static LLVMValueRef float_to_bfloat(struct cpu_emit *e, LLVMValueRef bits) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef upper = LLVMBuildLShr(b, bits, ints_of(e, 16), "");
    LLVMValueRef odd = LLVMBuildAnd(b, upper, ints_of(e, 1), "");
    LLVMValueRef sum = cpu_add(e, bits, cpu_add(e, odd, ints_of(e, 0x7fff)));
    LLVMValueRef rounded = LLVMBuildLShr(b, sum, ints_of(e, 16), "");
    LLVMValueRef floats = as_floats(e, bits);
    LLVMValueRef is_nan = LLVMBuildFCmp(b, LLVMRealUNO, floats, floats, "");
    LLVMValueRef quiet = LLVMBuildOr(b, upper, ints_of(e, 0x40), "");
    return LLVMBuildSelect(b, is_nan, quiet, rounded, "");
}

// float to f16 by integers, three cases: too large (or NaN), subnormal, normal.
static LLVMValueRef float_to_half(struct cpu_emit *e, LLVMValueRef bits) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMValueRef size = LLVMBuildAnd(b, bits, ints_of(e, 0x7fffffff), "");
    LLVMValueRef sign = LLVMBuildXor(b, bits, size, "");
    LLVMValueRef is_nan = LLVMBuildICmp(b, LLVMIntSGT, size, ints_of(e, 0x7f800000), "");
    LLVMValueRef large = LLVMBuildSelect(b, is_nan, ints_of(e, 0x7e00), ints_of(e, 0x7c00), "");
    // Adding 1/2 leaves the subnormal's ten bits, rounded, at the bottom of the mantissa.
    LLVMValueRef half = llvm_splat(e->unit, LLVMConstReal(e->unit->f32, 0.5), e->lanes);
    LLVMValueRef tiny = as_ints(e, LLVMBuildFAdd(b, as_floats(e, size), half, ""));
    tiny = LLVMBuildSub(b, tiny, ints_of(e, 0x3f000000), "");
    LLVMValueRef odd = LLVMBuildLShr(b, size, ints_of(e, 13), "");
    odd = LLVMBuildAnd(b, odd, ints_of(e, 1), "");
    LLVMValueRef normal = cpu_add(e, cpu_add(e, size, ints_of(e, (int32_t)0xc8000fff)), odd);
    normal = LLVMBuildLShr(b, normal, ints_of(e, 13), "");
    LLVMValueRef is_large = LLVMBuildICmp(b, LLVMIntSGE, size, ints_of(e, 0x47800000), "");
    LLVMValueRef is_tiny = LLVMBuildICmp(b, LLVMIntSLT, size, ints_of(e, 0x38800000), "");
    LLVMValueRef result = LLVMBuildSelect(b, is_tiny, tiny, normal, "");
    result = LLVMBuildSelect(b, is_large, large, result, "");
    return LLVMBuildOr(b, result, LLVMBuildLShr(b, sign, ints_of(e, 16), ""), "");
}

static LLVMValueRef from_floats(struct cpu_emit *e, LLVMValueRef floats) {
    LLVMBuilderRef b = e->unit->builder;
    LLVMTypeRef raws = LLVMVectorType(e->element, (unsigned)e->lanes);
    if (e->spec->dtype == HEDDLE_F32)
        return floats;
    if (e->spec->dtype == HEDDLE_F16 && e->unit->has_f16c) {
        LLVMTypeRef half = LLVMHalfTypeInContext(e->unit->context);
        LLVMTypeRef halves = LLVMVectorType(half, (unsigned)e->lanes);
        return LLVMBuildBitCast(b, LLVMBuildFPTrunc(b, floats, halves, ""), raws, "");
    }
    LLVMValueRef bits = as_ints(e, floats);
    bits = e->spec->dtype == HEDDLE_BF16 ? float_to_bfloat(e, bits) : float_to_half(e, bits);
    return LLVMBuildTrunc(b, bits, raws, "");
}

LLVMValueRef cpu_load_floats(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef row,
                             int d) {
    return to_floats(e, cpu_load_raw(e, t, row, d, e->lanes));
}

void cpu_store_floats(struct cpu_emit *e, const struct cpu_tensor *t, LLVMValueRef row, int d,
                      LLVMValueRef floats) {
    store_raw(e, t, row, d, from_floats(e, floats));
}

// ---- packed arrays ----------------------------------------------------------------------------

// Interleaving the first half of all vectors with the second half rotates the bits of an element's
// (row, column) index by one; as often as a column has bits, it swaps the two.
void cpu_transpose(struct cpu_emit *e, LLVMValueRef *rows) {
    int lanes = e->lanes, low[64], high[64];
    for (int i = 0; i < lanes; i++) {
        low[i] = i / 2 + (i % 2) * lanes;
        high[i] = low[i] + lanes / 2;
    }
    LLVMValueRef next[64];
    for (int stage = 1; stage < lanes; stage *= 2) {
        for (int i = 0; i < lanes / 2; i++) {
            next[2 * i] = shuffle(e, rows[i], rows[i + lanes / 2], low, lanes);
            next[2 * i + 1] = shuffle(e, rows[i], rows[i + lanes / 2], high, lanes);
        }
        for (int i = 0; i < lanes; i++)
            rows[i] = next[i];
    }
}

LLVMValueRef cpu_interleave(struct cpu_emit *e, LLVMValueRef even, LLVMValueRef odd, int lanes) {
    int from[64];
    for (int i = 0; i < 2 * lanes; i++)
        from[i] = i / 2 + (i % 2) * lanes;
    return shuffle(e, even, odd, from, 2 * lanes);
}

int cpu_block_count(struct cpu_emit *e) {
    return (e->dim_vectors + e->block_vectors - 1) / e->block_vectors;
}

struct cpu_block cpu_block(struct cpu_emit *e, int number) {
    int blocks = cpu_block_count(e), size = e->dim_vectors / blocks;
    int larger = e->dim_vectors % blocks; // the first ones have one vector more
    int before = number < larger ? number : larger;
    return (struct cpu_block){number * size + before, size + (number < larger)};
}

LLVMValueRef cpu_blocked(struct cpu_emit *e, int64_t array, LLVMValueRef row, int rows,
                         int vector) {
    struct cpu_block block = {0};
    for (int i = 0; i < cpu_block_count(e); i++) {
        block = cpu_block(e, i);
        if (vector < block.first + block.count)
            break;
    }
    int64_t bytes = e->lanes * 4;
    int64_t start = array + (block.first * rows + vector - block.first) * bytes;
    return llvm_byte_offset(e->unit, cpu_at(e, start),
                            cpu_mul(e, row, cpu_const(e, block.count * bytes)));
}

// ---- rows that are not finite -----------------------------------------------------------------

// Lanes whose exponent is all ones.
static LLVMValueRef not_finite(struct cpu_emit *e, LLVMValueRef raw) {
    LLVMBuilderRef b = e->unit->builder;
    int64_t exponent = e->spec->dtype == HEDDLE_F32    ? 0x7f800000
                       : e->spec->dtype == HEDDLE_BF16 ? 0x7f80
                                                       : 0x7c00;
    LLVMTypeRef integer = e->spec->dtype == HEDDLE_F32 ? e->unit->i32 : e->unit->i16;
    LLVMTypeRef integers = LLVMVectorType(integer, (unsigned)e->lanes);
    LLVMValueRef mask = llvm_splat(e->unit, llvm_int(integer, exponent), e->lanes);
    LLVMValueRef bits = LLVMBuildAnd(b, LLVMBuildBitCast(b, raw, integers, ""), mask, "");
    return LLVMBuildICmp(b, LLVMIntEQ, bits, mask, "");
}

void cpu_find_bad(struct cpu_emit *e, const struct cpu_tensor *values) {
    LLVMBuilderRef b = e->unit->builder;
    struct llvm_loop loop;
    llvm_loop_begin(e->unit, &loop, cpu_const(e, 0), cpu_const(e, CPU_KEY_ROWS), cpu_const(e, 1),
                    "check");
    LLVMValueRef count = llvm_loop_carry(&loop, cpu_const(e, 0));
    LLVMValueRef row = cpu_key_row(e, values, loop.index), bad = NULL;
    for (int d = 0; d < e->dim; d += e->lanes) {
        LLVMValueRef here = not_finite(e, cpu_load_raw(e, values, row, d, e->lanes));
        bad = bad ? LLVMBuildOr(b, bad, here, "") : here;
    }
    LLVMValueRef any = llvm_intrinsic1(e->unit, "llvm.vector.reduce.or", bad);
    LLVMValueRef flag = LLVMBuildZExt(b, any, e->unit->i8, "");
    cpu_store(e, flag, cpu_cell(e, e->at.bad_flag, e->unit->i8, loop.index), 1);
    cpu_store(e, loop.index, cpu_cell(e, e->at.bad_keys, e->unit->i64, count), 8);
    llvm_loop_next(&loop, 0, cpu_add(e, count, LLVMBuildZExt(b, any, e->unit->i64, "")));
    llvm_loop_end(&loop);
    cpu_put(e, e->at.bad_count, loop.carried[0]);
}

LLVMValueRef cpu_is_bad(struct cpu_emit *e, LLVMValueRef key) {
    LLVMValueRef flag = cpu_load(e, e->unit->i8, cpu_cell(e, e->at.bad_flag, e->unit->i8, key), 1);
    return LLVMBuildICmp(e->unit->builder, LLVMIntNE, flag, llvm_int(e->unit->i8, 0), "");
}
