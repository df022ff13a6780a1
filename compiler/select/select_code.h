// The compiled functions of a pattern's stages and selections, on the CPU.
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
    struct llvm_unit *unit;            // owns the code; NULL: a bundle's
    struct select_code *next;
};

// The code for a spec, compiled at most once per program. Thread-safe. *out_code lives as long as
// the program.
enum heddle_status program_select(struct program *program, const struct select_spec *spec,
                                  const struct select_code **out_code, struct error *error);

// Fills in the functions, which `find` knows by select_symbol's names; functions[] has room.
enum heddle_status select_code_find(struct select_code *code, const struct pattern *pattern,
                                    code_find_fn *find, void *context, struct error *error);

// For struct code_source, and an object for a CPU that llvm_unit_create knows.
enum heddle_status compile_select(struct program *program, struct select_code *out,
                                  struct error *error);
enum heddle_status compile_select_object(struct program *program, const struct select_spec *spec,
                                         const char *cpu, const char *features, struct strbuf *out,
                                         struct error *error);

#endif
