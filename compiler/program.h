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
struct ptx_kernel;   // the same
struct ptx_planner;  // the same
struct select_code;  // compiler/select/select_code.h
struct llvm_unit;

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
};

// Text or file (text NULL) -> checked, analysed, planner jitted. On HEDDLE_PATTERN_ERROR the
// error's message is all diagnostics, formatted for people.
enum heddle_status program_create(const char *path, const char *text, size_t length_bytes,
                                  const struct check_options *options, struct program **out_program,
                                  struct error *error);
void program_destroy(struct program *program);

#endif
