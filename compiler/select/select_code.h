// The compiled functions of a pattern's stages and selections, on this host's CPU.
#ifndef HEDDLE_COMPILER_SELECT_CODE_H
#define HEDDLE_COMPILER_SELECT_CODE_H

#include "compiler/program.h"
#include "compiler/select/select_emit.h"

struct select_function { // of one input; all NULL where that is given
    select_stage_fn *stage;
    select_rank_fn *rank;
    select_amounts_fn *amounts;
};

struct select_code {
    struct select_spec spec;
    struct select_function *functions; // by input
    struct llvm_unit *unit;            // owns the code
    struct select_code *next;
};

// The code for a spec, compiled at most once per program. Thread-safe. *out_code lives as long as
// the program.
enum heddle_status program_select(struct program *program, const struct select_spec *spec,
                                  const struct select_code **out_code, struct error *error);
void select_code_destroy(struct select_code *code); // and those after it; NULL is fine

#endif
