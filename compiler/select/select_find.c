// The compiled functions of stages and selections by their names. See select_code.h; no LLVM here.

#include "compiler/select/select_code.h"

#include <stdio.h>
#include <string.h>

const char *select_symbol(const char *what, int input, char *text) {
    snprintf(text, 64, "heddle_%s_%d", what, input);
    return text;
}

struct finding {
    code_find_fn *find;
    void *context;
};

static enum heddle_status find_one(const struct finding *f, const char *what, int input,
                                   void *place, struct error *error) {
    char name[64];
    void *address = NULL;
    enum heddle_status status =
        f->find(f->context, select_symbol(what, input, name), &address, error);
    memcpy(place, &address, sizeof address);
    return status;
}

enum heddle_status select_code_find(struct select_code *code, const struct pattern *pattern,
                                    code_find_fn *find, void *context, struct error *error) {
    const struct finding f = {find, context};
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < pattern->input_count && status == HEDDLE_OK; i++) {
        const struct pattern_derived *derived = pattern->inputs[i].derived;
        struct select_function *function = &code->functions[i];
        if (derived && !derived->is_select)
            status = find_one(&f, "stage", i, &function->stage, error);
        if (derived && derived->is_select)
            status = find_one(&f, "rank", i, &function->rank, error);
        if (derived && derived->is_select && status == HEDDLE_OK)
            status = find_one(&f, "amounts", i, &function->amounts, error);
    }
    return status;
}
