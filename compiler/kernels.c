// The pipeline's second half: program -> kernels and GPU planners, one piece a call. See
// pipeline.h; program.c keeps what is made.

#include "compiler/base/dtype.h"
#include "compiler/base/log.h"
#include "compiler/cache/entry.h"
#include "compiler/code.h"
#include "compiler/cpu/cpu_kernel.h"
#include "compiler/llvm/llvm_nvptx.h"
#include "compiler/pipeline.h"
#include "compiler/planner/planner_ptx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static enum heddle_status out_of_memory(struct error *error) {
    return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory while compiling the pattern");
}

// ---- kernels of the CPU -------------------------------------------------------------------------

static enum heddle_status emit_attention(struct program *program, struct llvm_unit *unit,
                                         void *context, int64_t *out_number, struct error *error) {
    const struct kernel_spec *spec = &((const struct kernel *)context)->spec;
    const struct cpu_kernel_spec cpu = {program->pattern, spec->dtype, spec->dim,
                                        spec->dim_contiguous};
    return cpu_kernel_emit(unit, &cpu, out_number, error);
}

static enum heddle_status find_attention(struct program *program, struct llvm_unit *unit,
                                         void *context, int64_t number, struct error *error) {
    struct kernel *kernel = context;
    void *address = NULL;
    (void)program;
    kernel->scratch_bytes = number;
    enum heddle_status status = llvm_unit_symbol(unit, "heddle_attention", &address, error);
    memcpy(&kernel->run, &address, sizeof address);
    return status;
}

struct kernel_text { // of a spec, for keys and people
    char text[64];
};

static struct kernel_text kernel_text(const struct kernel_spec *spec) {
    struct kernel_text out;
    snprintf(out.text, sizeof out.text, "%s dim %d%s", dtype_name(spec->dtype), spec->dim,
             spec->dim_contiguous ? "" : " apart");
    return out;
}

static struct code_request kernel_request(struct kernel *kernel, const struct kernel_text *text) {
    return (struct code_request){.kind = "cpu-kernel",
                                 .spec = text->text,
                                 .about = text->text,
                                 .emit = emit_attention,
                                 .find = find_attention,
                                 .context = kernel};
}

enum heddle_status compile_kernel(struct program *program, struct kernel *kernel,
                                  struct error *error) {
    double begin = now_ms();
    const struct kernel_text text = kernel_text(&kernel->spec);
    const struct code_request request = kernel_request(kernel, &text);
    enum heddle_status status = code_get(program, &request, &kernel->unit, error);
    kernel->compile_ms = now_ms() - begin;
    return status;
}

enum heddle_status compile_kernel_object(struct program *program, const struct kernel_spec *spec,
                                         const char *cpu, const char *features, struct strbuf *out,
                                         int64_t *out_scratch_bytes, struct error *error) {
    struct kernel kernel = {.spec = *spec};
    const struct kernel_text text = kernel_text(spec);
    const struct code_request request = kernel_request(&kernel, &text);
    return code_object(program, &request, cpu, features, out, out_scratch_bytes, error);
}

// ---- a listing ----------------------------------------------------------------------------------

struct listing {
    const struct kernel_spec *spec;
    struct llvm_unit *unit;
};

static enum heddle_status listing_step(struct program *program, void *context,
                                       struct error *error) {
    struct listing *listing = context;
    struct kernel kernel = {.spec = *listing->spec};
    enum heddle_status status =
        planner_emit(listing->unit, program->pattern, program->source_facts, SIDE_QUERY, error);
    return status == HEDDLE_OK
               ? emit_attention(program, listing->unit, &kernel, &kernel.scratch_bytes, error)
               : status;
}

enum heddle_status program_listing(struct program *program, const struct kernel_spec *spec,
                                   struct llvm_unit **out_unit, struct error *error) {
    *out_unit = NULL;
    enum heddle_status status = llvm_unit_create(NULL, NULL, out_unit, error);
    struct listing listing = {.spec = spec, .unit = *out_unit};
    pthread_mutex_lock(&program->mutex);
    if (status == HEDDLE_OK)
        status = program_step(program, listing_step, &listing, error);
    pthread_mutex_unlock(&program->mutex);
    if (status == HEDDLE_OK)
        status = llvm_unit_verify(*out_unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_optimize(*out_unit, error);
    return status;
}

// ---- PTX ----------------------------------------------------------------------------------------

static const char PTX_CPU[] = "sm_90a", PTX_FEATURES[] = "+ptx83", PTX_TARGET[] = "sm_90a +ptx83";

struct ptx_job { // of one of the two
    struct program *program;
    const struct sm90_spec *spec;
    int basis;
    struct strbuf *out;
};

// Takes the text out of the cache, or makes it. Ends the key.
static enum heddle_status get_ptx(struct ptx_job *job, struct cache_key *key, cache_make_fn *make,
                                  struct strbuf *out, int64_t *out_number, struct error *error) {
    struct cache_value value;
    bool found;
    enum heddle_status status =
        cache_get(&job->program->cache, key, make, job, &value, &found, error);
    if (status == HEDDLE_OK) {
        strbuf_add(out, value.code, value.length);
        *out_number = value.number;
    }
    cache_value_finish(&value);
    cache_key_finish(key);
    return out->failed ? out_of_memory(error) : status;
}

static enum heddle_status make_ptx_text(void *context, struct strbuf *out, int64_t *out_number,
                                        struct error *error) {
    const struct ptx_job *job = context;
    struct llvm_unit *unit;
    int shared_bytes = 0;
    enum heddle_status status = llvm_unit_create_nvptx(PTX_CPU, PTX_FEATURES, &unit, error);
    struct stage stage = stage_begin("emit");
    if (status == HEDDLE_OK)
        status = sm90_kernel_emit(unit, job->program->pattern, job->program->source_facts,
                                  job->spec, &shared_bytes, error);
    stage_end(&stage);
    if (status == HEDDLE_OK)
        status = llvm_unit_verify(unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_optimize_nvptx(unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_assembly(unit, out, error);
    llvm_unit_destroy(unit);
    *out_number = shared_bytes;
    return status;
}

// All of the spec, member by member, whatever it grows to: it is made of ints.
static void add_spec(const struct sm90_spec *spec, struct strbuf *out) {
    enum { INTS = sizeof *spec / sizeof(int) };
    _Static_assert(sizeof *spec % sizeof(int) == 0, "made of ints");
    int values[INTS];
    memcpy(values, spec, sizeof values);
    for (int i = 0; i < INTS; i++)
        strbuf_printf(out, " %d", values[i]);
}

static void ptx_key(const struct program *program, const struct sm90_spec *spec,
                    struct cache_key *out) {
    char about[128];
    struct strbuf text = {0};
    add_spec(spec, &text);
    snprintf(about, sizeof about, "%s dim %d, %dx%dx%d by %dx%dx%d",
             dtype_name((enum heddle_dtype)spec->dtype), spec->dim, spec->query_tile[0],
             spec->query_tile[1], spec->query_tile[2], spec->key_tile[0], spec->key_tile[1],
             spec->key_tile[2]);
    code_key(out, "ptx-kernel", program->pattern, PTX_TARGET, text.text ? text.text : "", about);
    out->bytes.failed |= text.failed;
    strbuf_finish(&text);
}

enum heddle_status compile_ptx(struct program *program, struct ptx_kernel *kernel,
                               struct error *error) {
    double begin = now_ms();
    struct ptx_job job = {.program = program, .spec = &kernel->spec};
    int64_t shared_bytes = 0;
    struct cache_key key;
    ptx_key(program, &kernel->spec, &key);
    enum heddle_status status =
        get_ptx(&job, &key, make_ptx_text, &kernel->ptx, &shared_bytes, error);
    kernel->shared_bytes = (int)shared_bytes;
    kernel->compile_ms = now_ms() - begin;
    return status;
}

// ---- planners of GPUs ---------------------------------------------------------------------------

static enum heddle_status planner_ptx_step(struct program *program, void *context,
                                           struct error *error) {
    const struct ptx_job *job = context;
    return planner_ptx(program->pattern, program->facts, job->basis, job->out, error);
}

static enum heddle_status make_planner_text(void *context, struct strbuf *out, int64_t *out_number,
                                            struct error *error) {
    struct ptx_job *job = context;
    job->out = out;
    *out_number = 0;
    return program_step(job->program, planner_ptx_step, job, error);
}

// The bitcode is of the clang that heddle was built with: another makes other kernels of the same
// sources.
static void planner_key(const struct program *program, int basis, struct cache_key *out) {
    char spec[64 + ENTRY_NAME_ROOM], about[32], bitcode[ENTRY_NAME_ROOM];
    entry_name((const char *)planner_device_bitcode, planner_device_bitcode_bytes, bitcode);
    snprintf(about, sizeof about, "basis %d", basis);
    snprintf(spec, sizeof spec, "%s, bitcode %s", about, bitcode);
    code_key(out, "ptx-planner", program->pattern, PLANNER_PTX_CPU " " PLANNER_PTX_FEATURES, spec,
             about);
}

enum heddle_status compile_ptx_planner(struct program *program, struct ptx_planner *planner,
                                       struct error *error) {
    double begin = now_ms();
    struct ptx_job job = {.program = program, .basis = planner->basis};
    int64_t number;
    struct cache_key key;
    planner_key(program, planner->basis, &key);
    enum heddle_status status =
        get_ptx(&job, &key, make_planner_text, &planner->ptx, &number, error);
    planner->compile_ms = now_ms() - begin;
    return status;
}
