// The pipeline: text -> program -> kernels. See pipeline.h.

#include "compiler/pipeline.h"

#include "compiler/cpu/cpu_kernel.h"
#include "compiler/llvm/llvm_nvptx.h"
#include "compiler/llvm/llvm_unit.h"
#include "compiler/planner/planner_ptx.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const STAGES[] = {"ast", "pattern", "facts",    "schedule", "llvm",
                                     "asm", "ptx",     "plan-ptx", "plan",     NULL};

const char *const *pipeline_stage_names(void) {
    return STAGES;
}

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

// IR -> machine code, whatever the IR holds.
static enum heddle_status codegen(struct llvm_unit *unit, struct error *error) {
    enum heddle_status status = llvm_unit_verify(unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_optimize(unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_jit(unit, error);
    return status;
}

// ---- program ----------------------------------------------------------------------------------

static enum heddle_status front(struct program *program, const char *path, const char *text,
                                size_t length_bytes, const struct check_options *options,
                                struct error *error) {
    enum heddle_status status = text ? check_text(&program->arena, &program->diags, path, text,
                                                  length_bytes, options, &program->pattern, error)
                                     : check_file(&program->arena, &program->diags, path, options,
                                                  &program->pattern, error);
    if (status == HEDDLE_PATTERN_ERROR) {
        struct strbuf out = {0};
        diags_print(&program->diags, &out);
        if (out.length && out.text[out.length - 1] == '\n')
            out.text[--out.length] = '\0';
        error_set(error, status, "%s", out.text ? out.text : "the pattern has errors");
        strbuf_finish(&out);
    }
    if (status == HEDDLE_OK)
        program->facts = analyse(&program->arena, program->pattern);
    return status;
}

static enum heddle_status make_planner(struct program *program, enum side side,
                                       struct error *error) {
    struct planner_code *code = ARENA_NEW(&program->arena, struct planner_code);
    enum heddle_status status = llvm_unit_create(NULL, NULL, &code->unit, error);
    program->planners[side] = code; // destroyed with the program, finished or not
    if (status == HEDDLE_OK)
        status = planner_emit(code->unit, program->pattern, program->facts, side, error);
    if (status == HEDDLE_OK)
        status = codegen(code->unit, error);
    if (status == HEDDLE_OK)
        status = planner_code_find(code, program->facts, side, error);
    return status;
}

static enum heddle_status compile(struct program *program, const char *path, const char *text,
                                  size_t length_bytes, const struct check_options *options,
                                  struct error *error) {
    double begin = now_ms();
    enum heddle_status status = front(program, path, text, length_bytes, options, error);
    program->front_ms = now_ms() - begin;
    begin = now_ms();
    if (status == HEDDLE_OK)
        status = make_planner(program, SIDE_QUERY, error);
    program->compile_ms = now_ms() - begin;
    return status;
}

static enum heddle_status out_of_memory(struct error *error) {
    return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory while compiling the pattern");
}

enum heddle_status program_create(const char *path, const char *text, size_t length_bytes,
                                  const struct check_options *options, struct program **out_program,
                                  struct error *error) {
    struct program *program = calloc(1, sizeof *program);
    *out_program = NULL;
    if (!program)
        return out_of_memory(error);
    arena_init(&program->arena, 0);
    pthread_mutex_init(&program->mutex, NULL);
    jmp_buf escape;
    enum heddle_status status;
    if (setjmp(escape)) {
        status = out_of_memory(error);
    } else {
        program->arena.escape = &escape;
        diags_init(&program->diags, &program->arena);
        status = compile(program, path, text, length_bytes, options, error);
    }
    program->arena.escape = NULL;
    if (status != HEDDLE_OK) {
        program_destroy(program);
        return status;
    }
    *out_program = program;
    return HEDDLE_OK;
}

void program_destroy(struct program *program) {
    if (!program)
        return;
    while (program->ptx_kernels) {
        struct ptx_kernel *next = program->ptx_kernels->next;
        strbuf_finish(&program->ptx_kernels->ptx);
        free(program->ptx_kernels);
        program->ptx_kernels = next;
    }
    while (program->ptx_planners) {
        struct ptx_planner *next = program->ptx_planners->next;
        strbuf_finish(&program->ptx_planners->ptx);
        free(program->ptx_planners);
        program->ptx_planners = next;
    }
    while (program->kernels) {
        struct kernel *next = program->kernels->next;
        llvm_unit_destroy(program->kernels->unit);
        free(program->kernels);
        program->kernels = next;
    }
    for (int side = 0; side < SIDE_COUNT; side++)
        if (program->planners[side])
            llvm_unit_destroy(program->planners[side]->unit);
    pthread_mutex_destroy(&program->mutex);
    arena_finish(&program->arena);
    free(program);
}

// Runs a step that allocates from the program's arena after program_create.
static enum heddle_status with_escape(struct program *program,
                                      enum heddle_status (*step)(struct program *, void *,
                                                                 struct error *),
                                      void *context, struct error *error) {
    jmp_buf escape;
    enum heddle_status status;
    if (setjmp(escape)) {
        status = out_of_memory(error);
    } else {
        program->arena.escape = &escape;
        status = step(program, context, error);
    }
    program->arena.escape = NULL;
    return status;
}

static enum heddle_status planner_step(struct program *program, void *side, struct error *error) {
    return make_planner(program, *(enum side *)side, error);
}

enum heddle_status program_planner(struct program *program, enum side side,
                                   const struct planner_code **out_planner, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    if (!program->planners[side])
        status = with_escape(program, planner_step, &side, error);
    if (status == HEDDLE_OK && !program->planners[side]->regions[0] &&
        !program->planners[side]->regions[1] && !program->planners[side]->regions[2])
        status = error_set(error, HEDDLE_INTERNAL, "the planner could not be compiled");
    pthread_mutex_unlock(&program->mutex);
    *out_planner = program->planners[side];
    return status;
}

// ---- kernels ----------------------------------------------------------------------------------

struct emission {
    const struct kernel_spec *spec;
    struct llvm_unit *unit;
    int64_t scratch_bytes;
};

static enum heddle_status attention_step(struct program *program, void *context,
                                         struct error *error) {
    struct emission *emission = context;
    const struct kernel_spec *spec = emission->spec;
    const struct cpu_kernel_spec cpu = {program->pattern, spec->dtype, spec->dim,
                                        spec->dim_contiguous};
    return cpu_kernel_emit(emission->unit, &cpu, &emission->scratch_bytes, error);
}

static enum heddle_status listing_step(struct program *program, void *context,
                                       struct error *error) {
    struct emission *emission = context;
    enum heddle_status status =
        planner_emit(emission->unit, program->pattern, program->facts, SIDE_QUERY, error);
    return status == HEDDLE_OK ? attention_step(program, context, error) : status;
}

static enum heddle_status make_kernel(struct program *program, const struct kernel_spec *spec,
                                      struct kernel *kernel, struct error *error) {
    double begin = now_ms();
    kernel->spec = *spec;
    enum heddle_status status = llvm_unit_create(NULL, NULL, &kernel->unit, error);
    struct emission emission = {.spec = spec, .unit = kernel->unit};
    if (status == HEDDLE_OK)
        status = with_escape(program, attention_step, &emission, error);
    if (status == HEDDLE_OK)
        status = codegen(kernel->unit, error);
    kernel->scratch_bytes = emission.scratch_bytes;
    void *address = NULL;
    if (status == HEDDLE_OK)
        status = llvm_unit_symbol(kernel->unit, "heddle_attention", &address, error);
    memcpy(&kernel->run, &address, sizeof address);
    kernel->compile_ms = now_ms() - begin;
    return status;
}

static bool same_spec(const struct kernel_spec *a, const struct kernel_spec *b) {
    return a->dtype == b->dtype && a->dim == b->dim && a->dim_contiguous == b->dim_contiguous;
}

enum heddle_status program_kernel(struct program *program, const struct kernel_spec *spec,
                                  const struct kernel **out_kernel, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    struct kernel *kernel = program->kernels;
    while (kernel && !same_spec(&kernel->spec, spec))
        kernel = kernel->next;
    if (!kernel) {
        kernel = calloc(1, sizeof *kernel);
        status = kernel ? make_kernel(program, spec, kernel, error) : out_of_memory(error);
        if (status == HEDDLE_OK) {
            kernel->next = program->kernels;
            program->kernels = kernel;
        } else if (kernel) {
            llvm_unit_destroy(kernel->unit);
            free(kernel);
            kernel = NULL;
        }
    }
    pthread_mutex_unlock(&program->mutex);
    *out_kernel = kernel;
    return status;
}

enum heddle_status program_listing(struct program *program, const struct kernel_spec *spec,
                                   struct llvm_unit **out_unit, struct error *error) {
    *out_unit = NULL;
    enum heddle_status status = llvm_unit_create(NULL, NULL, out_unit, error);
    struct emission emission = {.spec = spec, .unit = *out_unit};
    pthread_mutex_lock(&program->mutex);
    if (status == HEDDLE_OK)
        status = with_escape(program, listing_step, &emission, error);
    pthread_mutex_unlock(&program->mutex);
    if (status == HEDDLE_OK)
        status = llvm_unit_verify(*out_unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_optimize(*out_unit, error);
    return status;
}

// ---- kernels for NVIDIA GPUs ------------------------------------------------------------------

static enum heddle_status make_ptx(struct program *program, const struct sm90_spec *spec,
                                   struct ptx_kernel *kernel, struct error *error) {
    double begin = now_ms();
    struct llvm_unit *unit;
    kernel->spec = *spec;
    enum heddle_status status = llvm_unit_create_nvptx("sm_90a", "+ptx83", &unit, error);
    if (status == HEDDLE_OK)
        status = sm90_kernel_emit(unit, program->pattern, program->facts, spec,
                                  &kernel->shared_bytes, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_verify(unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_optimize_nvptx(unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_assembly(unit, &kernel->ptx, error);
    llvm_unit_destroy(unit);
    kernel->compile_ms = now_ms() - begin;
    return status;
}

enum heddle_status program_ptx(struct program *program, const struct sm90_spec *spec,
                               const struct ptx_kernel **out_kernel, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    struct ptx_kernel *kernel = program->ptx_kernels;
    while (kernel && memcmp(&kernel->spec, spec, sizeof *spec) != 0)
        kernel = kernel->next;
    if (!kernel) {
        kernel = calloc(1, sizeof *kernel);
        status = kernel ? make_ptx(program, spec, kernel, error) : out_of_memory(error);
        if (status == HEDDLE_OK) {
            kernel->next = program->ptx_kernels;
            program->ptx_kernels = kernel;
        } else if (kernel) {
            strbuf_finish(&kernel->ptx);
            free(kernel);
            kernel = NULL;
        }
    }
    pthread_mutex_unlock(&program->mutex);
    *out_kernel = kernel;
    return status;
}

static enum heddle_status planner_ptx_step(struct program *program, void *context,
                                           struct error *error) {
    struct ptx_planner *planner = context;
    return planner_ptx(program->pattern, program->facts, planner->basis, &planner->ptx, error);
}

// Appends one to the program's when it could be made.
static enum heddle_status make_ptx_planner(struct program *program, int basis,
                                           const struct ptx_planner **out, struct error *error) {
    double begin = now_ms();
    struct ptx_planner *planner = calloc(1, sizeof *planner);
    if (!planner)
        return out_of_memory(error);
    planner->basis = basis;
    enum heddle_status status = with_escape(program, planner_ptx_step, planner, error);
    planner->compile_ms = now_ms() - begin;
    if (status != HEDDLE_OK) {
        strbuf_finish(&planner->ptx);
        free(planner);
        return status;
    }
    planner->next = program->ptx_planners;
    *out = program->ptx_planners = planner;
    return HEDDLE_OK;
}

enum heddle_status program_ptx_planner(struct program *program, int basis,
                                       const struct ptx_planner **out_planner,
                                       struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    const struct ptx_planner *planner = program->ptx_planners;
    while (planner && planner->basis != basis)
        planner = planner->next;
    if (!planner)
        status = make_ptx_planner(program, basis, &planner, error);
    pthread_mutex_unlock(&program->mutex);
    *out_planner = planner;
    return status;
}
