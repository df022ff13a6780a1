// Stage `emit`, selection: a pattern's stages and selections -> functions of select_abi.h.
#ifndef HEDDLE_COMPILER_SELECT_EMIT_H
#define HEDDLE_COMPILER_SELECT_EMIT_H

#include "compiler/base/dtype.h"
#include "compiler/llvm/llvm_unit.h"
#include "compiler/select/select_abi.h"
#include "dsl/pattern.h"

struct select_spec {
    enum heddle_dtype dtype;
    int dim;
    bool contiguous; // elements of a row of q and of k lie side by side
};

// "heddle_stage_3" and the like: of input 3. `text` has room for 64 bytes.
const char *select_symbol(const char *what, int input, char *text);
// All stages and selections of the pattern, for this unit's target.
enum heddle_status select_emit(struct llvm_unit *unit, const struct pattern *pattern,
                               const struct select_spec *spec, struct error *error);

#endif
