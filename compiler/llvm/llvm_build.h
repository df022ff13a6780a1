// Small steps of emission that every emitter shares: intrinsics, splats, field loads, loops.
// Nothing here knows of patterns; each function appends at the unit's builder.
#ifndef HEDDLE_COMPILER_LLVM_BUILD_H
#define HEDDLE_COMPILER_LLVM_BUILD_H

#include "compiler/llvm/llvm_unit.h"

#include <stdint.h>

LLVMValueRef llvm_int(LLVMTypeRef type, int64_t value);
// A call of an intrinsic by its full base name ("llvm.sadd.sat"), overloaded on `types`.
LLVMValueRef llvm_intrinsic(struct llvm_unit *unit, const char *name, const LLVMTypeRef *types,
                            int type_count, const LLVMValueRef *args, int arg_count);
// The common shapes: overloaded on the first argument's type.
LLVMValueRef llvm_intrinsic1(struct llvm_unit *unit, const char *name, LLVMValueRef a);
LLVMValueRef llvm_intrinsic2(struct llvm_unit *unit, const char *name, LLVMValueRef a,
                             LLVMValueRef b);
LLVMValueRef llvm_intrinsic3(struct llvm_unit *unit, const char *name, LLVMValueRef a,
                             LLVMValueRef b, LLVMValueRef c);

bool llvm_is_vector(LLVMValueRef value);
// A vector of `lanes` copies; vectors and lanes 1 pass through.
LLVMValueRef llvm_splat(struct llvm_unit *unit, LLVMValueRef value, int lanes);
// `type` itself for lanes 1, else the vector of so many.
LLVMTypeRef llvm_lanes_type(LLVMTypeRef type, int lanes);

// base + bytes, and a load of `type` from there.
LLVMValueRef llvm_byte_offset(struct llvm_unit *unit, LLVMValueRef base, LLVMValueRef bytes);
LLVMValueRef llvm_load_field(struct llvm_unit *unit, LLVMValueRef base, size_t offset,
                             LLVMTypeRef type, const char *name);
// &base[index] for elements of `type`.
LLVMValueRef llvm_element(struct llvm_unit *unit, LLVMTypeRef type, LLVMValueRef base,
                          LLVMValueRef index);

// for (i = begin; i < end; i += step), i64, with carried values:
//
//   struct llvm_loop loop;
//   llvm_loop_begin(unit, &loop, begin, end, step, "keys");
//   LLVMValueRef sum = llvm_loop_carry(&loop, zero);        // phi, before any other instruction
//   ... uses loop.index; may make blocks of its own ...
//   llvm_loop_next(&loop, 0, new_sum);
//   llvm_loop_end(&loop);
//   loop.carried[0]                                         // the value afterwards
enum { LLVM_LOOP_CARRIED = 64 };
struct llvm_loop {
    struct llvm_unit *unit;
    LLVMValueRef index;
    LLVMValueRef carried[LLVM_LOOP_CARRIED]; // phis inside; results after llvm_loop_end
    // Private.
    LLVMValueRef next[LLVM_LOOP_CARRIED];
    int carried_count;
    LLVMValueRef step;
    LLVMBasicBlockRef before, head, body, after;
};
void llvm_loop_begin(struct llvm_unit *unit, struct llvm_loop *loop, LLVMValueRef begin,
                     LLVMValueRef end, LLVMValueRef step, const char *name);
LLVMValueRef llvm_loop_carry(struct llvm_loop *loop, LLVMValueRef initial);
void llvm_loop_next(struct llvm_loop *loop, int number, LLVMValueRef value);
void llvm_loop_end(struct llvm_loop *loop);

// if (condition) { ... } [else { ... }], without values.
//
//   struct llvm_if test;
//   llvm_if_begin(unit, &test, condition, "partial");
//   ...
//   llvm_if_else(&test);       // optional
//   ...
//   llvm_if_end(&test);
struct llvm_if {
    struct llvm_unit *unit;
    LLVMBasicBlockRef no, after;
    bool has_else;
};
void llvm_if_begin(struct llvm_unit *unit, struct llvm_if *test, LLVMValueRef condition,
                   const char *name);
void llvm_if_else(struct llvm_if *test);
void llvm_if_end(struct llvm_if *test);

LLVMBasicBlockRef llvm_new_block(struct llvm_unit *unit, const char *name); // in this function

#endif
