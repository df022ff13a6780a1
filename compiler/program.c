// A program's pieces of code: each made once, when it is first asked for, by the program's source
// of code. No compiler is needed here.
#include "compiler/program.h"

#include "compiler/bundle/bundle.h"
#include "compiler/maps.h"
#include "compiler/pipeline.h"
#include "compiler/select/select_code.h"

#include <stdlib.h>
#include <string.h>

static enum heddle_status out_of_memory(struct error *error) {
    return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory while compiling the pattern");
}

// ---- the program --------------------------------------------------------------------------------

static enum heddle_status fill(struct program *program, const char *path, const char *text,
                               size_t length_bytes, const struct check_options *options,
                               struct error *error) {
    if (bundle_is(path, text, length_bytes))
        return bundle_program(program, path, text, length_bytes, options, error);
    return program_compile(program, path, text, length_bytes, options, error);
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
        status = fill(program, path, text, length_bytes, options, error);
    }
    program->arena.escape = NULL;
    if (status != HEDDLE_OK) {
        program_destroy(program);
        return status;
    }
    *out_program = program;
    return HEDDLE_OK;
}

static void free_ptx(struct ptx_kernel *kernel) {
    strbuf_finish(&kernel->ptx);
    strbuf_finish(&kernel->cubin);
    free(kernel);
}

static void free_ptx_planner(struct ptx_planner *planner) {
    strbuf_finish(&planner->ptx);
    strbuf_finish(&planner->cubin);
    free(planner);
}

static void drop(const struct program *program, struct llvm_unit *unit) {
    if (unit)
        program->source->drop(unit);
}

static void free_maps(const struct program *program, struct map_code *code) {
    if (!code)
        return;
    drop(program, code->unit);
    free(code->fills);
    free(code);
}

static void free_select(const struct program *program, struct select_code *code) {
    drop(program, code->unit);
    free(code->functions);
    free(code);
}

void program_destroy(struct program *program) {
    if (!program)
        return;
    while (program->ptx_kernels) {
        struct ptx_kernel *next = program->ptx_kernels->next;
        free_ptx(program->ptx_kernels);
        program->ptx_kernels = next;
    }
    while (program->ptx_planners) {
        struct ptx_planner *next = program->ptx_planners->next;
        free_ptx_planner(program->ptx_planners);
        program->ptx_planners = next;
    }
    while (program->kernels) {
        struct kernel *next = program->kernels->next;
        drop(program, program->kernels->unit);
        free(program->kernels);
        program->kernels = next;
    }
    while (program->selections) {
        struct select_code *next = program->selections->next;
        free_select(program, program->selections);
        program->selections = next;
    }
    free_maps(program, program->maps);
    for (int side = 0; side < SIDE_COUNT; side++)
        if (program->planners[side]) {
            drop(program, program->planners[side]->unit);
            free(program->planners[side]);
        }
    bundle_close(program->bundle);
    pthread_mutex_destroy(&program->mutex);
    cache_close(&program->cache);
    arena_finish(&program->arena);
    free(program);
}

// ---- planners of the host -----------------------------------------------------------------------

// Not from the program's arena, which others may use while this one is made.
static enum heddle_status new_planner(struct program *program, enum side side,
                                      struct error *error) {
    struct planner_code *planner = calloc(1, sizeof *planner);
    if (!planner)
        return out_of_memory(error);
    enum heddle_status status = program->source->make_planner(program, side, planner, error);
    if (status == HEDDLE_OK) {
        program->planners[side] = planner;
        return status;
    }
    drop(program, planner->unit);
    free(planner);
    return status;
}

enum heddle_status program_planner(struct program *program, enum side side,
                                   const struct planner_code **out_planner, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    if (!program->planners[side])
        status = new_planner(program, side, error);
    *out_planner = program->planners[side];
    pthread_mutex_unlock(&program->mutex);
    return status;
}

// ---- maps, stages and selections ----------------------------------------------------------------

static enum heddle_status new_maps(struct program *program, struct error *error) {
    struct map_code *code = calloc(1, sizeof *code);
    if (!code)
        return out_of_memory(error);
    code->fills = calloc((size_t)program->pattern->map_count + 1, sizeof *code->fills);
    enum heddle_status status =
        code->fills ? program->source->make_maps(program, code, error) : out_of_memory(error);
    if (status == HEDDLE_OK)
        program->maps = code;
    else
        free_maps(program, code);
    return status;
}

enum heddle_status program_maps(struct program *program, const struct map_code **out_code,
                                struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    if (!program->maps)
        status = new_maps(program, error);
    *out_code = program->maps;
    pthread_mutex_unlock(&program->mutex);
    return status;
}

static bool same_select(const struct select_spec *a, const struct select_spec *b) {
    return a->dtype == b->dtype && a->dim == b->dim && a->contiguous == b->contiguous;
}

static enum heddle_status new_select(struct program *program, const struct select_spec *spec,
                                     struct select_code **out, struct error *error) {
    struct select_code *code = calloc(1, sizeof *code);
    if (!code)
        return out_of_memory(error);
    code->spec = *spec;
    code->functions = calloc((size_t)program->pattern->input_count + 1, sizeof *code->functions);
    enum heddle_status status =
        code->functions ? program->source->make_select(program, code, error) : out_of_memory(error);
    if (status != HEDDLE_OK) {
        free_select(program, code);
        return status;
    }
    code->next = program->selections;
    *out = program->selections = code;
    return HEDDLE_OK;
}

enum heddle_status program_select(struct program *program, const struct select_spec *spec,
                                  const struct select_code **out_code, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    struct select_code *code = program->selections;
    while (code && !same_select(&code->spec, spec))
        code = code->next;
    if (!code)
        status = new_select(program, spec, &code, error);
    pthread_mutex_unlock(&program->mutex);
    *out_code = code;
    return status;
}

// ---- kernels of the CPU -------------------------------------------------------------------------

static bool same_spec(const struct kernel_spec *a, const struct kernel_spec *b) {
    return a->dtype == b->dtype && a->dim == b->dim && a->dim_contiguous == b->dim_contiguous;
}

static enum heddle_status new_kernel(struct program *program, const struct kernel_spec *spec,
                                     struct kernel **out, struct error *error) {
    struct kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return out_of_memory(error);
    kernel->spec = *spec;
    enum heddle_status status = program->source->make_kernel(program, kernel, error);
    if (status != HEDDLE_OK) {
        drop(program, kernel->unit);
        free(kernel);
        return status;
    }
    kernel->next = program->kernels;
    *out = program->kernels = kernel;
    return HEDDLE_OK;
}

enum heddle_status program_kernel(struct program *program, const struct kernel_spec *spec,
                                  const struct kernel **out_kernel, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    struct kernel *kernel = program->kernels;
    while (kernel && !same_spec(&kernel->spec, spec))
        kernel = kernel->next;
    if (!kernel)
        status = new_kernel(program, spec, &kernel, error);
    pthread_mutex_unlock(&program->mutex);
    *out_kernel = kernel;
    return status;
}

// ---- kernels and planners of GPUs ---------------------------------------------------------------

static enum heddle_status new_ptx(struct program *program, const struct sm90_spec *spec,
                                  struct ptx_kernel **out, struct error *error) {
    struct ptx_kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return out_of_memory(error);
    kernel->spec = *spec;
    enum heddle_status status = program->source->make_ptx(program, kernel, error);
    if (status != HEDDLE_OK) {
        free_ptx(kernel);
        return status;
    }
    kernel->next = program->ptx_kernels;
    *out = program->ptx_kernels = kernel;
    return HEDDLE_OK;
}

enum heddle_status program_ptx(struct program *program, const struct sm90_spec *spec,
                               const struct ptx_kernel **out_kernel, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    struct ptx_kernel *kernel = program->ptx_kernels;
    while (kernel && memcmp(&kernel->spec, spec, sizeof *spec) != 0)
        kernel = kernel->next;
    if (!kernel)
        status = new_ptx(program, spec, &kernel, error);
    pthread_mutex_unlock(&program->mutex);
    *out_kernel = kernel;
    return status;
}

static enum heddle_status new_ptx_planner(struct program *program, int basis,
                                          struct ptx_planner **out, struct error *error) {
    struct ptx_planner *planner = calloc(1, sizeof *planner);
    if (!planner)
        return out_of_memory(error);
    planner->basis = basis;
    enum heddle_status status = program->source->make_ptx_planner(program, planner, error);
    if (status != HEDDLE_OK) {
        free_ptx_planner(planner);
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
    struct ptx_planner *planner = program->ptx_planners;
    while (planner && planner->basis != basis)
        planner = planner->next;
    if (!planner)
        status = new_ptx_planner(program, basis, &planner, error);
    pthread_mutex_unlock(&program->mutex);
    *out_planner = planner;
    return status;
}

bool program_plans_on_gpus(const struct program *program) {
    return program->source->plans_on_gpus(program);
}
