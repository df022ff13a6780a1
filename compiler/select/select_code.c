#include "compiler/select/select_code.h"

#include "compiler/code.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum heddle_status emit(struct program *program, struct llvm_unit *unit, void *context,
                               int64_t *out_number, struct error *error) {
    const struct select_code *code = context;
    *out_number = 0;
    return select_emit(unit, program->pattern, &code->spec, error);
}

static enum heddle_status find_one(struct llvm_unit *unit, const char *what, int input, void *place,
                                   struct error *error) {
    char name[64];
    void *address = NULL;
    enum heddle_status status =
        llvm_unit_symbol(unit, select_symbol(what, input, name), &address, error);
    memcpy(place, &address, sizeof address);
    return status;
}

static enum heddle_status find(struct program *program, struct llvm_unit *unit, void *context,
                               int64_t number, struct error *error) {
    struct select_code *code = context;
    const struct pattern *pattern = program->pattern;
    enum heddle_status status = HEDDLE_OK;
    (void)number;
    for (int i = 0; i < pattern->input_count && status == HEDDLE_OK; i++) {
        const struct pattern_derived *derived = pattern->inputs[i].derived;
        struct select_function *function = &code->functions[i];
        if (derived && !derived->is_select)
            status = find_one(unit, "stage", i, &function->stage, error);
        if (derived && derived->is_select)
            status = find_one(unit, "rank", i, &function->rank, error);
        if (derived && derived->is_select && status == HEDDLE_OK)
            status = find_one(unit, "amounts", i, &function->amounts, error);
    }
    return status;
}

static enum heddle_status make(struct program *program, const struct select_spec *spec,
                               struct select_code *code, struct error *error) {
    char text[64];
    code->spec = *spec;
    code->functions = calloc((size_t)program->pattern->input_count + 1, sizeof *code->functions);
    if (!code->functions)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory");
    snprintf(text, sizeof text, "%s dim %d%s", dtype_name(spec->dtype), spec->dim,
             spec->contiguous ? "" : " apart");
    const struct code_request request = {.kind = "cpu-select",
                                         .spec = text,
                                         .about = text,
                                         .emit = emit,
                                         .find = find,
                                         .context = code};
    return code_get(program, &request, &code->unit, error);
}

static bool same_spec(const struct select_spec *a, const struct select_spec *b) {
    return a->dtype == b->dtype && a->dim == b->dim && a->contiguous == b->contiguous;
}

enum heddle_status program_select(struct program *program, const struct select_spec *spec,
                                  const struct select_code **out_code, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    pthread_mutex_lock(&program->mutex);
    struct select_code *code = program->selections;
    while (code && !same_spec(&code->spec, spec))
        code = code->next;
    if (!code) {
        code = calloc(1, sizeof *code);
        status = code ? make(program, spec, code, error)
                      : error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory");
        if (status == HEDDLE_OK) {
            code->next = program->selections;
            program->selections = code;
        } else {
            select_code_destroy(code);
            code = NULL;
        }
    }
    pthread_mutex_unlock(&program->mutex);
    *out_code = code;
    return status;
}

void select_code_destroy(struct select_code *code) {
    while (code) {
        struct select_code *next = code->next;
        llvm_unit_destroy(code->unit);
        free(code->functions);
        free(code);
        code = next;
    }
}
