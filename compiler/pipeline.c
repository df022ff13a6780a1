// The pipeline: text -> program. See pipeline.h; kernels.c goes on from here.

#include "compiler/pipeline.h"
#include "compiler/select/select_code.h"

#include "compiler/analyse/count_runs.h"
#include "compiler/base/log.h"
#include "compiler/code.h"
#include "compiler/llvm/llvm_unit.h"
#include "compiler/maps.h"

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
        count_runs_pattern(program->pattern);
    if (status == HEDDLE_OK)
        program->source_facts = analyse_sources(&program->arena, program->pattern);
    if (status == HEDDLE_OK)
        program->facts = program->source_facts[0];
    return status;
}

struct planner_job {
    struct planner_code *code;
    enum side side;
};

static enum heddle_status emit_planner(struct program *program, struct llvm_unit *unit,
                                       void *context, int64_t *out_number, struct error *error) {
    const struct planner_job *job = context;
    *out_number = 0;
    return planner_emit(unit, program->pattern, program->source_facts, job->side, error);
}

static enum heddle_status find_planner(struct program *program, struct llvm_unit *unit,
                                       void *context, int64_t number, struct error *error) {
    const struct planner_job *job = context;
    (void)number;
    job->code->unit = unit;
    return planner_code_find(job->code, program->pattern, program->source_facts, job->side, error);
}

static enum heddle_status make_planner(struct program *program, enum side side,
                                       struct error *error) {
    struct planner_code *code = ARENA_NEW(&program->arena, struct planner_code);
    struct planner_job job = {code, side};
    const struct code_request request = {.kind = "cpu-planner",
                                         .spec = side == SIDE_QUERY ? "q" : "k",
                                         .emit = emit_planner,
                                         .find = find_planner,
                                         .context = &job};
    program->planners[side] = code; // destroyed with the program, finished or not
    return code_get(program, &request, &code->unit, error);
}

static enum heddle_status compile(struct program *program, const char *path, const char *text,
                                  size_t length_bytes, const struct check_options *options,
                                  struct error *error) {
    double begin = now_ms();
    struct stage stage = stage_begin("parse, check, analyse");
    enum heddle_status status = front(program, path, text, length_bytes, options, error);
    stage_end(&stage);
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
    cache_open(&program->cache);
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
    select_code_destroy(program->selections);
    for (int side = 0; side < SIDE_COUNT; side++)
        if (program->planners[side])
            llvm_unit_destroy(program->planners[side]->unit);
    if (program->maps)
        llvm_unit_destroy(program->maps->unit);
    pthread_mutex_destroy(&program->mutex);
    cache_close(&program->cache);
    arena_finish(&program->arena);
    free(program);
}

static enum heddle_status planner_step(struct program *program, void *side, struct error *error) {
    return make_planner(program, *(enum side *)side, error);
}

enum heddle_status program_planner(struct program *program, enum side side,
                                   const struct planner_code **out_planner, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    if (!program->planners[side])
        status = program_step(program, planner_step, &side, error);
    const struct planner_source *first = &program->planners[side]->sources[0];
    if (status == HEDDLE_OK && !first->regions[0] && !first->regions[1] && !first->regions[2])
        status = error_set(error, HEDDLE_INTERNAL, "the planner could not be compiled");
    pthread_mutex_unlock(&program->mutex);
    *out_planner = program->planners[side];
    return status;
}
