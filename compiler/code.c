#include "compiler/code.h"

#include "compiler/base/log.h"

#include "heddle_config.h"
#include "source_id.h"

#include <llvm/Config/llvm-config.h>
#include <setjmp.h>

enum heddle_status program_step(struct program *program, program_step_fn *step, void *context,
                                struct error *error) {
    jmp_buf escape, *const outer = program->arena.escape;
    enum heddle_status status;
    if (setjmp(escape)) {
        status = error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory while compiling a pattern");
    } else {
        program->arena.escape = &escape;
        status = step(program, context, error);
    }
    program->arena.escape = outer;
    return status;
}

// The LLVM that was built against and the one that runs: a shared library may be a newer one.
static void add_llvm(struct strbuf *out) {
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    strbuf_printf(out, "llvm %s, %u.%u.%u\n", LLVM_VERSION_STRING, major, minor, patch);
}

void code_key(struct cache_key *out, const char *kind, const struct pattern *pattern,
              const char *target, const char *spec, const char *about) {
    *out = (struct cache_key){0};
    strbuf_printf(&out->bytes, "kind %s\nheddle %s, sources %s\n", kind, HEDDLE_VERSION,
                  HEDDLE_SOURCE_ID);
    add_llvm(&out->bytes);
    strbuf_printf(&out->bytes, "target %s\nspec %s\npattern\n", target, spec);
    if (!pattern_identity(pattern, &out->bytes))
        out->bytes.failed = true;
    strbuf_printf(&out->label, "%s %.200s%s%s", kind, pattern->name, about ? " " : "",
                  about ? about : "");
}

// ---- machine code of this process ---------------------------------------------------------------

struct making {
    struct program *program;
    const struct code_request *request;
    struct llvm_unit *unit;
    int64_t number;
};

static enum heddle_status emit_step(struct program *program, void *context, struct error *error) {
    struct making *making = context;
    return making->request->emit(program, making->unit, making->request->context, &making->number,
                                 error);
}

// IR -> object, whatever the IR holds.
static enum heddle_status make_object(void *context, struct strbuf *out, int64_t *out_number,
                                      struct error *error) {
    struct making *making = context;
    struct stage stage = stage_begin("emit");
    enum heddle_status status = program_step(making->program, emit_step, making, error);
    stage_end(&stage);
    if (status == HEDDLE_OK)
        status = llvm_unit_verify(making->unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_optimize(making->unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_object(making->unit, out, error);
    *out_number = making->number;
    return status;
}

static enum heddle_status load(struct making *making, const struct cache_value *value,
                               struct error *error) {
    const struct code_request *request = making->request;
    enum heddle_status status = llvm_unit_load(making->unit, value->code, value->length, error);
    return status == HEDDLE_OK ? request->find(making->program, making->unit, request->context,
                                               value->number, error)
                               : status;
}

// What was found is whole, but does not link: the key does not say all that decides the code.
static enum heddle_status make_again(struct making *making, const struct cache_key *key,
                                     struct error *error) {
    struct cache_value value = {0};
    error_finish(error); // of the first attempt, which nobody hears of
    llvm_unit_destroy(making->unit);
    enum heddle_status status = llvm_unit_create(NULL, NULL, &making->unit, error);
    if (status == HEDDLE_OK)
        status = cache_renew(&making->program->cache, key, make_object, making, &value, error);
    if (status == HEDDLE_OK)
        status = load(making, &value, error);
    cache_value_finish(&value);
    return status;
}

static void key_of(const struct making *making, struct cache_key *out) {
    const struct code_request *request = making->request;
    struct strbuf target = {0};
    llvm_unit_target(making->unit, &target);
    code_key(out, request->kind, making->program->pattern, target.text ? target.text : "",
             request->spec, request->about);
    out->bytes.failed |= target.failed;
    strbuf_finish(&target);
}

enum heddle_status code_get(struct program *program, const struct code_request *request,
                            struct llvm_unit **out_unit, struct error *error) {
    struct making making = {.program = program, .request = request};
    struct cache_key key = {0};
    struct cache_value value = {0};
    bool found = false;
    enum heddle_status status = llvm_unit_create(NULL, NULL, &making.unit, error);
    if (status == HEDDLE_OK) {
        key_of(&making, &key);
        status = cache_get(&program->cache, &key, make_object, &making, &value, &found, error);
    }
    if (status == HEDDLE_OK)
        status = load(&making, &value, error);
    cache_value_finish(&value);
    if (status != HEDDLE_OK && found)
        status = make_again(&making, &key, error);
    cache_key_finish(&key);
    *out_unit = making.unit;
    return status;
}

enum heddle_status code_object(struct program *program, const struct code_request *request,
                               const char *cpu, const char *features, struct strbuf *out,
                               int64_t *out_number, struct error *error) {
    struct making making = {.program = program, .request = request};
    struct cache_key key = {0};
    struct cache_value value = {0};
    bool found;
    enum heddle_status status = llvm_unit_create(cpu, features, &making.unit, error);
    if (status == HEDDLE_OK) {
        key_of(&making, &key);
        status = cache_get(&program->cache, &key, make_object, &making, &value, &found, error);
    }
    if (status == HEDDLE_OK) {
        strbuf_add(out, value.code, value.length);
        *out_number = value.number;
        if (out->failed)
            status = error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for compiled code");
    }
    cache_value_finish(&value);
    cache_key_finish(&key);
    llvm_unit_destroy(making.unit);
    return status;
}
