// PTX that LLVM has no operation for, and the small steps around it. Labels inside inline assembly
// carry ${:uid}, since LLVM may copy a block.
#include "compiler/sm90/sm90_emit.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { GLOBAL_SPACE = 1, SHARED_SPACE = 3 };

LLVMValueRef sm90_i32(struct sm90_emit *e, int64_t value) {
    return llvm_int(e->unit->i32, value);
}

LLVMValueRef sm90_add(struct sm90_emit *e, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildAdd(e->b, x, y, "");
}

LLVMValueRef sm90_add_const(struct sm90_emit *e, LLVMValueRef x, int64_t value) {
    return value ? LLVMBuildAdd(e->b, x, llvm_int(LLVMTypeOf(x), value), "") : x;
}

LLVMValueRef sm90_mul_const(struct sm90_emit *e, LLVMValueRef x, int64_t value) {
    return value == 1 ? x : LLVMBuildMul(e->b, x, llvm_int(LLVMTypeOf(x), value), "");
}

static LLVMValueRef inline_ptx(struct sm90_emit *e, LLVMTypeRef type, const char *text,
                               const char *constraints, LLVMValueRef *args, int count,
                               bool effects) {
    enum { MOST_ARGS = 512 };
    LLVMTypeRef types[MOST_ARGS];
    assert(count <= MOST_ARGS);
    for (int i = 0; i < count; i++)
        types[i] = LLVMTypeOf(args[i]);
    LLVMTypeRef function =
        LLVMFunctionType(type ? type : e->unit->void_type, types, (unsigned)count, false);
    LLVMValueRef body =
        LLVMGetInlineAsm(function, text, strlen(text), constraints, strlen(constraints), effects,
                         false, LLVMInlineAsmDialectATT, false);
    return LLVMBuildCall2(e->b, function, body, args, (unsigned)count, "");
}

LLVMValueRef sm90_asm(struct sm90_emit *e, LLVMTypeRef type, const char *text,
                      const char *constraints, LLVMValueRef *args, int count) {
    return inline_ptx(e, type, text, constraints, args, count, true);
}

LLVMValueRef sm90_pure(struct sm90_emit *e, LLVMTypeRef type, const char *text,
                       const char *constraints, LLVMValueRef *args, int count) {
    return inline_ptx(e, type, text, constraints, args, count, false);
}

// ---- memory -------------------------------------------------------------------------------------

LLVMValueRef sm90_arg_at(struct sm90_emit *e, int64_t offset, LLVMTypeRef type) {
    return llvm_load_field(e->unit, e->args, (size_t)offset, type, "");
}

LLVMValueRef sm90_global(struct sm90_emit *e, LLVMValueRef base, LLVMValueRef index, int64_t size) {
    LLVMValueRef wide =
        LLVMTypeOf(index) == e->unit->i64 ? index : LLVMBuildZExt(e->b, index, e->unit->i64, "");
    return sm90_add(e, base, sm90_mul_const(e, wide, size));
}

LLVMValueRef sm90_load(struct sm90_emit *e, LLVMValueRef at, int64_t offset, LLVMTypeRef type) {
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->unit->context, GLOBAL_SPACE);
    LLVMValueRef to = LLVMBuildIntToPtr(e->b, sm90_add_const(e, at, offset), pointer, "");
    return LLVMBuildLoad2(e->b, type, to, "");
}

LLVMValueRef sm90_shared_field(struct sm90_emit *e, LLVMValueRef at, int64_t offset) {
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->unit->context, SHARED_SPACE);
    LLVMValueRef to = LLVMBuildIntToPtr(e->b, sm90_add_const(e, at, offset), pointer, "");
    return LLVMBuildLoad2(e->b, e->unit->i32, to, "");
}

LLVMValueRef sm90_shared_load(struct sm90_emit *e, LLVMValueRef at, int64_t offset) {
    LLVMValueRef args[] = {sm90_add_const(e, at, offset)};
    return sm90_asm(e, e->unit->i32, "ld.shared.b32 $0, [$1];", "=r,r,~{memory}", args, 1);
}

LLVMValueRef sm90_shared_load_lane0(struct sm90_emit *e, LLVMValueRef at, int64_t offset) {
    LLVMValueRef args[] = {sm90_add_const(e, at, offset)};
    return sm90_asm(e, e->unit->i32,
                    "{ .reg .pred p; .reg .b32 l; mov.u32 l, %laneid; setp.eq.u32 p, l, 0; "
                    "mov.b32 $0, 0; @p ld.shared.b32 $0, [$1]; }",
                    "=&r,r,~{memory}", args, 1);
}

LLVMValueRef sm90_from_lane0(struct sm90_emit *e, LLVMValueRef x) {
    return sm90_asm(e, e->unit->i32, "shfl.sync.idx.b32 $0, $1, 0, 31, 0xffffffff;", "=r,r", &x, 1);
}

void sm90_shared_store4(struct sm90_emit *e, LLVMValueRef at, int64_t offset,
                        LLVMValueRef *values) {
    LLVMValueRef args[] = {sm90_add_const(e, at, offset), values[0], values[1], values[2],
                           values[3]};
    sm90_asm(e, NULL, "st.shared.v4.b32 [$0], {$1, $2, $3, $4};", "r,r,r,r,r,~{memory}", args, 5);
}

void sm90_shared_store(struct sm90_emit *e, LLVMValueRef at, LLVMValueRef value) {
    LLVMValueRef args[] = {at, value};
    bool real = LLVMTypeOf(value) == e->unit->f32;
    sm90_asm(e, NULL, "st.shared.b32 [$0], $1;", real ? "r,f,~{memory}" : "r,r,~{memory}", args, 2);
}

// Two or four 8 x 8 matrices of 16-bit elements, as wgmma leaves them in the registers of a warp;
// lane l says where row l % 8 of matrix l / 8 goes.
void sm90_shared_store_matrices(struct sm90_emit *e, LLVMValueRef at, LLVMValueRef *words,
                                int count) {
    LLVMValueRef args[5] = {at};
    for (int i = 0; i < count; i++)
        args[1 + i] = words[i];
    if (count == 4)
        sm90_asm(e, NULL, "stmatrix.sync.aligned.m8n8.x4.shared.b16 [$0], {$1, $2, $3, $4};",
                 "r,r,r,r,r,~{memory}", args, 5);
    else
        sm90_asm(e, NULL, "stmatrix.sync.aligned.m8n8.x2.shared.b16 [$0], {$1, $2};",
                 "r,r,r,~{memory}", args, 3);
}

LLVMValueRef sm90_from_lane(struct sm90_emit *e, LLVMValueRef x, int distance) {
    LLVMValueRef args[] = {x, sm90_i32(e, distance)};
    LLVMTypeRef type = LLVMTypeOf(x);
    return sm90_asm(e, type, "shfl.sync.bfly.b32 $0, $1, $2, 31, 0xffffffff;",
                    type == e->unit->f32 ? "=f,f,n" : "=r,r,n", args, 2);
}

LLVMValueRef sm90_ballot(struct sm90_emit *e, LLVMValueRef holds) {
    LLVMValueRef word = LLVMBuildZExt(e->b, holds, e->unit->i32, "");
    return sm90_asm(e, e->unit->i32,
                    "{ .reg .pred p; setp.ne.b32 p, $1, 0; "
                    "vote.sync.ballot.b32 $0, p, 0xffffffff; }",
                    "=r,r", &word, 1);
}

LLVMValueRef sm90_thread(struct sm90_emit *e) {
    return sm90_asm(e, e->unit->i32, "mov.u32 $0, %tid.x;", "=r", NULL, 0);
}

LLVMValueRef sm90_block(struct sm90_emit *e) {
    return sm90_asm(e, e->unit->i32, "mov.u32 $0, %ctaid.x;", "=r", NULL, 0);
}

LLVMValueRef sm90_block_count(struct sm90_emit *e) {
    return sm90_asm(e, e->unit->i32, "mov.u32 $0, %nctaid.x;", "=r", NULL, 0);
}

// ---- barriers -----------------------------------------------------------------------------------

static int log2_of(int power) {
    return __builtin_ctz((unsigned)power);
}

LLVMValueRef sm90_stage(struct sm90_emit *e, LLVMValueRef count, int stages) {
    return LLVMBuildAnd(e->b, count, sm90_i32(e, stages - 1), "");
}

LLVMValueRef sm90_parity(struct sm90_emit *e, LLVMValueRef count, int stages) {
    LLVMValueRef round = LLVMBuildLShr(e->b, count, sm90_i32(e, log2_of(stages)), "");
    return LLVMBuildAnd(e->b, round, sm90_i32(e, 1), "");
}

static int barrier_count(const struct sm90_emit *e, enum sm90_barrier kind) {
    if (kind == SM90_ITEM_FULL)
        return SM90_ITEM_RECORDS;
    if (kind == SM90_ITEM_LATE)
        return 1;
    return kind < SM90_KEY_FULL ? e->shape.query_buffers : e->shape.stages;
}

static int barrier_offset(const struct sm90_emit *e, enum sm90_barrier kind) {
    int before = 0;
    for (int k = 0; k < (int)kind; k++)
        before += barrier_count(e, (enum sm90_barrier)k);
    return e->shape.barrier_at + 8 * before;
}

LLVMValueRef sm90_barrier_at(struct sm90_emit *e, enum sm90_barrier kind, LLVMValueRef stage) {
    LLVMValueRef at = sm90_add(e, e->shared, sm90_mul_const(e, stage, 8));
    return sm90_add_const(e, at, barrier_offset(e, kind));
}

void sm90_barrier_init(struct sm90_emit *e) {
    enum { LANES = 32 };
    int warps = 4 * e->shape.consumers;
    const int arrivals[] = {
        [SM90_QUERY_FULL] = 1,    [SM90_QUERY_READ] = warps,
        [SM90_VALUE_FULL] = 1,    [SM90_OUTPUT_FULL] = LANES * warps,
        [SM90_KEY_FULL] = 1,      [SM90_OUTPUT_READ] = LANES,
        [SM90_KEY_EMPTY] = warps, [SM90_VALUE_EMPTY] = e->shape.consumers,
        [SM90_ITEM_FULL] = 1,     [SM90_ITEM_LATE] = 1,
    };
    for (int kind = 0; kind < SM90_BARRIER_KINDS; kind++) {
        for (int stage = 0; stage < barrier_count(e, (enum sm90_barrier)kind); stage++) {
            LLVMValueRef args[] = {sm90_barrier_at(e, (enum sm90_barrier)kind, sm90_i32(e, stage)),
                                   sm90_i32(e, arrivals[kind])};
            sm90_asm(e, NULL, "mbarrier.init.shared::cta.b64 [$0], $1;", "r,r,~{memory}", args, 2);
        }
    }
    sm90_asm(e, NULL, "fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta;",
             "~{memory}", NULL, 0);
}

void sm90_wait(struct sm90_emit *e, LLVMValueRef barrier, LLVMValueRef parity) {
    LLVMValueRef args[] = {barrier, parity};
    sm90_asm(e, NULL,
             "{ .reg .pred p; WAIT${:uid}: "
             "mbarrier.try_wait.parity.shared::cta.b64 p, [$0], $1; @p bra DONE${:uid}; "
             "bra WAIT${:uid}; DONE${:uid}: }",
             "r,r,~{memory}", args, 2);
}

void sm90_arrive(struct sm90_emit *e, LLVMValueRef barrier) {
    sm90_asm(e, NULL, "mbarrier.arrive.shared::cta.b64 _, [$0];", "r,~{memory}", &barrier, 1);
}

void sm90_expect(struct sm90_emit *e, LLVMValueRef barrier, LLVMValueRef bytes) {
    LLVMValueRef args[] = {barrier, bytes};
    sm90_asm(e, NULL, "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r,~{memory}",
             args, 2);
}

// The warp has passed here: its first lane arrives. That orders what lane 0 itself has read, and
// products that the whole warp has awaited. What other lanes read has to be safe in another way:
// the machine keeps a warp together here, but racecheck follows only the thread that arrives.
void sm90_arrive_warp(struct sm90_emit *e, LLVMValueRef barrier) {
    sm90_asm(e, NULL,
             "{ .reg .pred p; .reg .b32 l; bar.warp.sync 0xffffffff; mov.u32 l, %laneid; "
             "setp.eq.u32 p, l, 0; @p mbarrier.arrive.shared::cta.b64 _, [$0]; }",
             "r,~{memory}", &barrier, 1);
}

void sm90_arrive_lane0_if(struct sm90_emit *e, LLVMValueRef barrier, LLVMValueRef flags, int flag) {
    LLVMValueRef args[] = {barrier, LLVMBuildAnd(e->b, flags, sm90_i32(e, flag), "")};
    sm90_asm(e, NULL,
             "{ .reg .pred p; .reg .b32 l; mov.u32 l, %laneid; setp.eq.u32 p, l, 0; "
             "setp.ne.and.u32 p, $1, 0, p; @p mbarrier.arrive.shared::cta.b64 _, [$0]; }",
             "r,r,~{memory}", args, 2);
}

// For stages that wgmma alone reads: its completion covers the whole warpgroup.
void sm90_arrive_group(struct sm90_emit *e, LLVMValueRef barrier) {
    sm90_asm(e, NULL,
             "{ .reg .pred p; .reg .b32 t; mov.u32 t, %tid.x; and.b32 t, t, 127; "
             "setp.eq.u32 p, t, 0; @p mbarrier.arrive.shared::cta.b64 _, [$0]; }",
             "r,~{memory}", &barrier, 1);
}

void sm90_set_registers(struct sm90_emit *e, bool more, int count) {
    char text[64];
    snprintf(text, sizeof text, "setmaxnreg.%s.sync.aligned.u32 %d;", more ? "inc" : "dec", count);
    sm90_asm(e, NULL, text, "", NULL, 0);
}

// ---- copies -------------------------------------------------------------------------------------

static int box_args(struct sm90_emit *e, LLVMValueRef shared, LLVMValueRef map, int column,
                    const LLVMValueRef *at, LLVMValueRef head, LLVMValueRef *out) {
    int count = 0;
    out[count++] = shared;
    out[count++] = map;
    out[count++] = sm90_i32(e, column);
    out[count++] = head;
    for (int a = ABI_AXES - 1; a >= ABI_AXES - e->spec->axes; a--) // the fastest first
        out[count++] = at[a];
    return count;
}

// A box of the tensor: 64 columns from `column`, the tile's extents from at[] along the basis axes
// in use, one head. What lies outside of the tensor arrives as zeros.
void sm90_copy_box(struct sm90_emit *e, LLVMValueRef to, LLVMValueRef map, int column,
                   const LLVMValueRef *at, LLVMValueRef head, LLVMValueRef barrier) {
    static const char *const texts[] = {
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[$0], [$1, {$2, $4, $3}], [$5];",
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[$0], [$1, {$2, $4, $5, $3}], [$6];",
        "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[$0], [$1, {$2, $4, $5, $6, $3}], [$7];"};
    static const char *const constraints[] = {"r,l,r,r,r,r,~{memory}", "r,l,r,r,r,r,r,~{memory}",
                                              "r,l,r,r,r,r,r,r,~{memory}"};
    LLVMValueRef args[8];
    int count = box_args(e, to, map, column, at, head, args);
    args[count++] = barrier;
    sm90_asm(e, NULL, texts[e->spec->axes - 1], constraints[e->spec->axes - 1], args, count);
}

// The same box, from shared memory to the tensor; what lies outside of the tensor is left out. Part
// of the thread's next bulk group.
void sm90_store_box(struct sm90_emit *e, LLVMValueRef from, LLVMValueRef map, int column,
                    const LLVMValueRef *at, LLVMValueRef head) {
    static const char *const texts[] = {
        "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [$1, {$2, $4, $3}], [$0];",
        "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [$1, {$2, $4, $5, $3}], [$0];",
        "cp.async.bulk.tensor.5d.global.shared::cta.bulk_group [$1, {$2, $4, $5, $6, $3}], [$0];"};
    static const char *const constraints[] = {"r,l,r,r,r,~{memory}", "r,l,r,r,r,r,~{memory}",
                                              "r,l,r,r,r,r,r,~{memory}"};
    LLVMValueRef args[7];
    int count = box_args(e, from, map, column, at, head, args);
    sm90_asm(e, NULL, texts[e->spec->axes - 1], constraints[e->spec->axes - 1], args, count);
}

// Until all boxes that the thread stores have been read from shared memory.
void sm90_await_stores(struct sm90_emit *e) {
    sm90_asm(e, NULL, "cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;", "~{memory}",
             NULL, 0);
}

// What this thread has written to shared memory becomes visible to the copy engine.
void sm90_fence_copies(struct sm90_emit *e) {
    sm90_asm(e, NULL, "fence.proxy.async.shared::cta;", "~{memory}", NULL, 0);
}

void sm90_copy_bytes(struct sm90_emit *e, LLVMValueRef to, LLVMValueRef from, int bytes,
                     LLVMValueRef barrier) {
    LLVMValueRef args[] = {to, from, sm90_i32(e, bytes), barrier};
    sm90_asm(e, NULL,
             "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1], $2, "
             "[$3];",
             "r,l,n,r,~{memory}", args, 4);
}
