// The pipeline: text -> program. See pipeline.h; kernels.c goes on from here.

#include "compiler/pipeline.h"
#include "compiler/select/select_code.h"

#include "compiler/analyse/count_runs.h"
#include "compiler/base/log.h"
#include "compiler/code.h"
#include "compiler/llvm/llvm_unit.h"
#include "compiler/maps.h"
#include "compiler/planner/planner_ptx.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const STAGES[] = {"ast", "pattern",  "facts", "schedule", "llvm", "asm",
                                     "ptx", "plan-ptx", "plan",  "bundle",   "c",    NULL};

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

static enum heddle_status find_symbol(void *unit, const char *name, void **out_address,
                                      struct error *error) {
    return llvm_unit_symbol(unit, name, out_address, error);
}

static enum heddle_status find_planner(struct program *program, struct llvm_unit *unit,
                                       void *context, int64_t number, struct error *error) {
    const struct planner_job *job = context;
    (void)number;
    job->code->unit = unit;
    return planner_code_find(job->code, program->pattern, program->source_facts, job->side,
                             find_symbol, unit, error);
}

static struct code_request planner_request(struct planner_job *job) {
    return (struct code_request){.kind = "cpu-planner",
                                 .spec = job->side == SIDE_QUERY ? "q" : "k",
                                 .emit = emit_planner,
                                 .find = find_planner,
                                 .context = job};
}

static enum heddle_status make_planner(struct program *program, enum side side,
                                       struct planner_code *out, struct error *error) {
    struct planner_job job = {out, side};
    const struct code_request request = planner_request(&job);
    return code_get(program, &request, &out->unit, error);
}

enum heddle_status compile_planner_object(struct program *program, enum side side, const char *cpu,
                                          const char *features, struct strbuf *out,
                                          struct error *error) {
    struct planner_job job = {NULL, side};
    const struct code_request request = planner_request(&job);
    int64_t number;
    return code_object(program, &request, cpu, features, out, &number, error);
}

static bool plans_on_gpus(const struct program *program) {
    (void)program;
    return planner_ptx_possible();
}

static const struct code_source COMPILER = {.make_planner = make_planner,
                                            .make_maps = compile_maps,
                                            .make_select = compile_select,
                                            .make_kernel = compile_kernel,
                                            .make_ptx = compile_ptx,
                                            .make_ptx_planner = compile_ptx_planner,
                                            .plans_on_gpus = plans_on_gpus,
                                            .drop = llvm_unit_destroy};

enum heddle_status program_compile(struct program *program, const char *path, const char *text,
                                   size_t length_bytes, const struct check_options *options,
                                   struct error *error) {
    const struct planner_code *planner;
    double begin = now_ms();
    struct stage stage = stage_begin("parse, check, analyse");
    program->source = &COMPILER;
    cache_open(&program->cache);
    enum heddle_status status = front(program, path, text, length_bytes, options, error);
    stage_end(&stage);
    program->front_ms = now_ms() - begin;
    begin = now_ms();
    if (status == HEDDLE_OK)
        status = program_planner(program, SIDE_QUERY, &planner, error);
    program->compile_ms = now_ms() - begin;
    return status;
}
