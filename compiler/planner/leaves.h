// Leaves of planner code: positions, sizes, parameters and arrays, as scalars of the LLVM algebra.
// Private to compiler/planner and compiler/select.
#ifndef HEDDLE_COMPILER_PLANNER_LEAVES_H
#define HEDDLE_COMPILER_PLANNER_LEAVES_H

#include "compiler/abi.h"
#include "compiler/llvm/llvm_alg.h"
#include "compiler/llvm/llvm_build.h"
#include "dsl/expr_walk.h"
#include "dsl/pattern.h"

struct leaves {
    struct llvm_unit *unit;
    struct llvm_alg alg; // scalars of 64 bits, saturating
    const struct pattern *pattern;
    LLVMValueRef env, item; // struct abi_env *, struct abi_item *
    LLVMValueRef scratch;   // alloca: two index arrays and a struct abi_range
    // Position of the item and of the list for box walks: [side][axis], inclusive ends.
    struct box place[2][ABI_AXES];
    // And for point walks.
    aval point[2][ABI_AXES];
};

// Binds leaves to the function being emitted, at its entry block. The list's box is the whole.
void leaves_init(struct leaves *leaves, struct llvm_unit *unit, const struct pattern *pattern,
                 LLVMValueRef env, LLVMValueRef item);
// A walk over these leaves with nothing known yet: one per block that values must not leave.
void leaves_walk(struct leaves *leaves, struct expr_walk *walk);

LLVMValueRef leaves_item_field(struct leaves *leaves, size_t offset); // an int64 of the item

#endif
