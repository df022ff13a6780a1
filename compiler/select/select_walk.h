// Expressions of stages and selections as instructions: values as doubles, rows as vectors of
// floats, a few dims at a time. Private to compiler/select.
//
// A node's value is computed once in the block that needs it first, and forgotten where the loop
// around that block ends. What a loop repeats without change is computed before it.
#ifndef HEDDLE_COMPILER_SELECT_WALK_H
#define HEDDLE_COMPILER_SELECT_WALK_H

#include "compiler/planner/leaves.h"
#include "compiler/select/select_abi.h"
#include "compiler/select/select_emit.h"

#include <stddef.h>

struct select_walk {
    struct llvm_unit *unit;
    const struct pattern *pattern;
    const struct select_spec *spec;
    int lanes;                  // of rows
    LLVMValueRef args;          // struct select_args *
    LLVMValueRef item;          // alloca of a struct abi_item: head and batch for `leaves`
    struct leaves leaves;       // what other compiled code reads, too
    struct expr_walk leaf_walk; // their entry
    struct llvm_alg values, rows;
    LLVMValueRef zero_row;
    LLVMValueRef vars[MAX_VARS];
    uint16_t open;   // variables that have a value here
    LLVMValueRef at; // first of the dims in hand
    // By node id; NULL: not known here.
    LLVMValueRef *value, *row, *base, *stride;
    LLVMValueRef **known; // places of these that are filled, in order
    size_t known_count;
};

// In a new function, at its entry.
void select_walk_init(struct select_walk *walk, struct llvm_unit *unit,
                      const struct pattern *pattern, const struct select_spec *spec,
                      LLVMValueRef args);
void select_walk_place(struct select_walk *walk, LLVMValueRef batch, LLVMValueRef head);
// Opens a variable; what is computed from here on is forgotten by select_walk_close.
struct select_scope {
    size_t known_count;
    uint16_t open;
    LLVMValueRef outer;
    int variable; // -1: none
};
struct select_scope select_walk_open(struct select_walk *walk, int variable, LLVMValueRef value);
void select_walk_close(struct select_walk *walk, const struct select_scope *scope);
// Computes the parts of `node` that the variable (-1: none) does not change.
void select_walk_hoist(struct select_walk *walk, const struct expr *node, int variable);
// A double, an i64 or an i1.
LLVMValueRef select_walk_value(struct select_walk *walk, const struct expr *node);
// The elements at `at` of a row, or of what is the same for all dims, as floats.
LLVMValueRef select_walk_row(struct select_walk *walk, const struct expr *node);

// A field of the arguments.
#define ARG(walk, member, type)                                                                    \
    llvm_load_field((walk)->unit, (walk)->args, offsetof(struct select_args, member), type, #member)

// Remembers a value at one of the places by node id. Returns it.
LLVMValueRef select_walk_keep(struct select_walk *walk, LLVMValueRef *place, LLVMValueRef value);

// ---- select_load.c ----
// A row of q or k, or an element of a stage of rows.
bool select_is_row_leaf(const struct expr *node);
// Where such a row starts; what is there at `at`, as floats.
LLVMValueRef select_row_base(struct select_walk *walk, const struct expr *node);
LLVMValueRef select_load_row(struct select_walk *walk, const struct expr *node);
// An element of a stage of values, a double.
LLVMValueRef select_load_value(struct select_walk *walk, const struct expr *node);

#endif
