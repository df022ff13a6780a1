// A compiled pattern: what stays when compilation is over. Owns the arena with the checked pattern
// and its facts, the jitted planner, and the kernels made so far.
//
// The whole pipeline on one screen is compiler/pipeline.h; this is its result.
#ifndef HEDDLE_COMPILER_PROGRAM_H
#define HEDDLE_COMPILER_PROGRAM_H

#include "compiler/abi.h"
#include "compiler/base/status.h"
#include "compiler/cache/cache.h"
#include "dsl/check.h"
#include "dsl/pattern.h"

#include <pthread.h>
#include <stdbool.h>

struct facts;        // compiler/analyse/facts.h
struct planner_code; // compiler/planner/planner_emit.h
struct map_code;     // compiler/maps.h
struct kernel;       // compiler/pipeline.h
struct kernel_spec;  // the same
struct ptx_kernel;   // the same
struct ptx_planner;  // the same
struct select_code;  // compiler/select/select_code.h
struct sm90_spec;    // compiler/sm90/sm90_kernel.h
struct bundle;       // compiler/bundle/bundle.h
struct llvm_unit;    // compiler/llvm/llvm_unit.h
struct program;

// Where a program's code comes from: the compiler (pipeline.c, kernels.c), or a bundle that holds
// it (compiler/bundle/bundle_program.c). Each `make` fills in one piece, cleared but for its spec
// and its tables of functions; program.c calls it once a piece, under the program's mutex, and
// keeps what it made.
struct code_source {
    enum heddle_status (*make_planner)(struct program *program, enum side side,
                                       struct planner_code *out, struct error *error);
    enum heddle_status (*make_maps)(struct program *program, struct map_code *out,
                                    struct error *error);
    enum heddle_status (*make_select)(struct program *program, struct select_code *out,
                                      struct error *error);
    enum heddle_status (*make_kernel)(struct program *program, struct kernel *out,
                                      struct error *error);
    enum heddle_status (*make_ptx)(struct program *program, struct ptx_kernel *out,
                                   struct error *error);
    enum heddle_status (*make_ptx_planner)(struct program *program, struct ptx_planner *out,
                                           struct error *error);
    bool (*plans_on_gpus)(const struct program *program); // make_ptx_planner may succeed
    void (*drop)(struct llvm_unit *unit);                 // of code that has one
};

// The address of a function by its name, for those who fill in tables of functions.
typedef enum heddle_status code_find_fn(void *context, const char *name, void **out_address,
                                        struct error *error);

struct program {
    struct arena arena;
    struct diags diags;
    struct pattern *pattern;
    struct facts *facts;              // of the first source
    struct facts **source_facts;      // of all, [pattern_source_count]
    struct planner_code *planners[2]; // by item side; the key-major one when first asked for
    struct map_code *maps;            // when first asked for
    struct kernel *kernels;           // newest first
    struct ptx_kernel *ptx_kernels;   // newest first
    struct ptx_planner *ptx_planners; // the same
    struct select_code *selections;   // newest first
    struct cache cache;               // on disk, of all code
    pthread_mutex_t mutex;            // guards all code above and the arena after program_create
    double front_ms, compile_ms;      // parse to analyse; the query-major planner's code
    const struct code_source *source;
    struct bundle *bundle; // NULL: compiled here
};

// Text or file (text NULL) -> checked, analysed, planner jitted; or a bundle, of which nothing is
// left to compile. On HEDDLE_PATTERN_ERROR the error's message is all diagnostics, formatted for
// people. HEDDLE_NO_COMPILER: a text, in a library without the compiler.
enum heddle_status program_create(const char *path, const char *text, size_t length_bytes,
                                  const struct check_options *options, struct program **out_program,
                                  struct error *error);
void program_destroy(struct program *program);

// The part of it that is the compiler's: fills in a program that is empty. The arena's escape is
// set.
enum heddle_status program_compile(struct program *program, const char *path, const char *text,
                                   size_t length_bytes, const struct check_options *options,
                                   struct error *error);

// Is there a planner for GPUs in this library, or in the program's bundle?
bool program_plans_on_gpus(const struct program *program);

#endif
