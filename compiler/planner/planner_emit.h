// Stage `emit`, planner: facts -> the functions that make work lists, as LLVM IR.
//
// For a side, each source and usable basis gives the unit
//
//   heddle_regions_<q|k>_<n>    abi_regions_fn: outer and inner boxes of an item's regions
//   heddle_classify_<q|k>_<n>   abi_classify_fn: empty, partial or full
//   heddle_count_q_<n>          abi_count_fn: kept pairs (query-major only)
//
// with n = source * MAX_BASES + basis.
//
// All are straight-line code over the checked expressions; sizes, parameters and tables are
// arguments. What is done with regions (disjoint pieces, bricks) does not depend on the pattern:
// compiler/planner/pieces.c.
#ifndef HEDDLE_COMPILER_PLANNER_EMIT_H
#define HEDDLE_COMPILER_PLANNER_EMIT_H

#include "compiler/analyse/facts.h"
#include "compiler/llvm/llvm_unit.h"
#include "compiler/program.h"

// One side's functions of all sources, for the bases that their facts mark usable.
enum heddle_status planner_emit(struct llvm_unit *unit, const struct pattern *pattern,
                                struct facts *const *facts, enum side side, struct error *error);

// The regions and classify functions of one basis, query-major, for planner_device.c.
enum heddle_status planner_emit_device(struct llvm_unit *unit, const struct pattern *pattern,
                                       const struct facts *facts, int basis, struct error *error);

// "heddle_regions_q_1" and so on. `text` has room for 64 bytes.
const char *planner_symbol(const char *what, int side, int source, int basis, char *text);

// One side's compiled functions; NULL for bases that are not usable, and `count` key-major.
struct planner_source {
    abi_regions_fn *regions[MAX_BASES];
    abi_classify_fn *classify[MAX_BASES];
    abi_count_fn *count[MAX_BASES];
};
struct planner_code {
    struct llvm_unit *unit; // owns the code
    struct planner_source sources[MAX_SOURCES];
};

// Fills in the functions, which `find` knows by planner_symbol's names.
enum heddle_status planner_code_find(struct planner_code *code, const struct pattern *pattern,
                                     struct facts *const *facts, enum side side, code_find_fn *find,
                                     void *context, struct error *error);

#endif
