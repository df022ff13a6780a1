#include "compiler/select/select_code.h"

#include "compiler/code.h"

#include <stdio.h>

static enum heddle_status emit(struct program *program, struct llvm_unit *unit, void *context,
                               int64_t *out_number, struct error *error) {
    const struct select_code *code = context;
    *out_number = 0;
    return select_emit(unit, program->pattern, &code->spec, error);
}

static enum heddle_status find_symbol(void *unit, const char *name, void **out_address,
                                      struct error *error) {
    return llvm_unit_symbol(unit, name, out_address, error);
}

static enum heddle_status find(struct program *program, struct llvm_unit *unit, void *context,
                               int64_t number, struct error *error) {
    (void)number;
    return select_code_find(context, program->pattern, find_symbol, unit, error);
}

struct select_text { // of a spec, for keys and people
    char text[64];
};

static struct select_text select_text(const struct select_spec *spec) {
    struct select_text out;
    snprintf(out.text, sizeof out.text, "%s dim %d%s", dtype_name(spec->dtype), spec->dim,
             spec->contiguous ? "" : " apart");
    return out;
}

static struct code_request select_request(struct select_code *code,
                                          const struct select_text *text) {
    return (struct code_request){.kind = "cpu-select",
                                 .spec = text->text,
                                 .about = text->text,
                                 .emit = emit,
                                 .find = find,
                                 .context = code};
}

enum heddle_status compile_select(struct program *program, struct select_code *out,
                                  struct error *error) {
    const struct select_text text = select_text(&out->spec);
    const struct code_request request = select_request(out, &text);
    return code_get(program, &request, &out->unit, error);
}

enum heddle_status compile_select_object(struct program *program, const struct select_spec *spec,
                                         const char *cpu, const char *features, struct strbuf *out,
                                         struct error *error) {
    struct select_code code = {.spec = *spec};
    const struct select_text text = select_text(spec);
    const struct code_request request = select_request(&code, &text);
    int64_t number;
    return code_object(program, &request, cpu, features, out, &number, error);
}
