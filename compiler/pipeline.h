// The pipeline on one screen: pipeline.c's stage table and the functions that run the stages.
//
//   stage     in -> out                                    header
//   parse     text -> tree                                 dsl/check.h (parse_dump)
//   check     tree -> checked pattern                      dsl/check.h
//   analyse   pattern -> facts                             compiler/analyse/facts.h
//   schedule  facts + problem -> basis, tile shapes        runtime/schedule.h
//   emit      facts -> LLVM IR: planner                    compiler/planner/planner_emit.h
//             pattern + dtype + dim -> LLVM IR: attention  compiler/cpu/cpu_kernel.h
//             the same + tile shapes, for a GPU            compiler/sm90/sm90_kernel.h
//             facts + compiled C, for a GPU: planner       compiler/planner/planner_ptx.h
//             pattern + dtype + dim -> LLVM IR: selection  compiler/select/select_emit.h
//   codegen   LLVM IR -> machine code                      compiler/llvm/llvm_unit.h
//   plan      code + problem -> bound arguments, lists     runtime/plan.h
//   launch    plan + tensors -> output                     runtime/launch.h
//             before it: stages, selections, lists again   runtime/selection.h
//
// Each stage needs only what stands before it. Everything up to codegen of the planner
// happens once, in program_create; attention kernels are made when a plan first asks for their
// dtype and dim. What emit and codegen make is also kept on disk, and found there by later
// processes: compiler/code.h, compiler/cache/cache.h.
#ifndef HEDDLE_COMPILER_PIPELINE_H
#define HEDDLE_COMPILER_PIPELINE_H

#include "compiler/analyse/facts.h"
#include "compiler/cache/cache.h"
#include "compiler/planner/planner_emit.h"
#include "compiler/program.h"
#include "compiler/sm90/sm90_kernel.h"

struct kernel_spec {
    enum heddle_dtype dtype;
    int dim;
    bool dim_contiguous;
};

struct kernel {
    struct kernel_spec spec;
    abi_attention_fn *run;
    int64_t scratch_bytes; // per thread, 64-byte aligned
    double compile_ms;
    struct llvm_unit *unit; // owns the code
    struct kernel *next;
};

// The kernel for a spec, compiled at most once per program. Thread-safe. *out_kernel lives as long
// as the program.
enum heddle_status program_kernel(struct program *program, const struct kernel_spec *spec,
                                  const struct kernel **out_kernel, struct error *error);

// The same for an NVIDIA GPU: PTX, which the driver assembles.
struct ptx_kernel {
    struct sm90_spec spec;
    struct strbuf ptx;
    struct strbuf cubin; // the same, assembled before; or empty
    int shared_bytes;    // dynamic, of a launch
    double compile_ms;
    struct ptx_kernel *next;
};
enum heddle_status program_ptx(struct program *program, const struct sm90_spec *spec,
                               const struct ptx_kernel **out_kernel, struct error *error);

// The planner of a basis for an NVIDIA GPU, query-major: PTX with the kernels of
// compiler/planner/planner_device.h. Made at most once per program. Thread-safe.
struct ptx_planner {
    int basis;
    struct strbuf ptx, cubin; // as above
    double compile_ms;
    struct ptx_planner *next;
};
enum heddle_status program_ptx_planner(struct program *program, int basis,
                                       const struct ptx_planner **out_planner, struct error *error);

// The jitted planner of an item side, compiled at most once per program. Thread-safe.
enum heddle_status program_planner(struct program *program, enum side side,
                                   const struct planner_code **out_planner, struct error *error);

// What the compiler makes of one piece, for program.c: the kernel and planner members of struct
// code_source.
enum heddle_status compile_kernel(struct program *program, struct kernel *kernel,
                                  struct error *error);
enum heddle_status compile_ptx(struct program *program, struct ptx_kernel *kernel,
                               struct error *error);
enum heddle_status compile_ptx_planner(struct program *program, struct ptx_planner *planner,
                                       struct error *error);

// Objects for a CPU that llvm_unit_create knows: for bundles.
enum heddle_status compile_kernel_object(struct program *program, const struct kernel_spec *spec,
                                         const char *cpu, const char *features, struct strbuf *out,
                                         int64_t *out_scratch_bytes, struct error *error);
enum heddle_status compile_planner_object(struct program *program, enum side side, const char *cpu,
                                          const char *features, struct strbuf *out,
                                          struct error *error);

// A unit with the optimised IR of the planner and of one kernel, not yet machine code: for dumps.
enum heddle_status program_listing(struct program *program, const struct kernel_spec *spec,
                                   struct llvm_unit **out_unit, struct error *error);

// Names that --emit takes, in the pipeline's order, NULL at the end.
const char *const *pipeline_stage_names(void);

#endif
