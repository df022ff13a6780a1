// Compiled code of a program: what it is called in the cache (compiler/cache), and how a piece of
// it comes into this process. Between pipeline.c and kernels.c.
#ifndef HEDDLE_COMPILER_CODE_H
#define HEDDLE_COMPILER_CODE_H

#include "compiler/cache/cache.h"
#include "compiler/llvm/llvm_unit.h"
#include "compiler/program.h"

// Runs a step that allocates from the program's arena after program_create: no memory is a status.
// May be nested.
typedef enum heddle_status program_step_fn(struct program *program, void *context,
                                           struct error *error);
enum heddle_status program_step(struct program *program, program_step_fn *step, void *context,
                                struct error *error);

// The key of a piece of code: the kind, this compiler, LLVM, all of the pattern that decides code
// (constants included), `target` and `spec`: everything else that does. `about`: for people, or
// NULL. *out is zeroed or finished; what fails is seen in its strbufs.
void code_key(struct cache_key *out, const char *kind, const struct pattern *pattern,
              const char *target, const char *spec, const char *about);

// ---- machine code of this process ---------------------------------------------------------------

struct code_request {
    const char *kind, *spec, *about; // of the key; its target is the unit's
    // Fills the unit's module. *out_number is kept with the code. Runs as a program_step.
    enum heddle_status (*emit)(struct program *program, struct llvm_unit *unit, void *context,
                               int64_t *out_number, struct error *error);
    // Takes the addresses out of a unit whose code is there.
    enum heddle_status (*find)(struct program *program, struct llvm_unit *unit, void *context,
                               int64_t number, struct error *error);
    void *context; // of both
};

// Code for this host's CPU: out of the cache, or emitted, optimised and compiled. *out_unit owns
// it; after a failure too it is to be destroyed.
enum heddle_status code_get(struct program *program, const struct code_request *request,
                            struct llvm_unit **out_unit, struct error *error);

// The same for another CPU (as llvm_unit_create takes it): appends the object, which is of no use
// in this process perhaps. Of the request, `find` is not called.
enum heddle_status code_object(struct program *program, const struct code_request *request,
                               const char *cpu, const char *features, struct strbuf *out,
                               int64_t *out_number, struct error *error);

#endif
