// A planner's compiled functions by their names. See planner_emit.h; no LLVM here.

#include "compiler/planner/planner_emit.h"

#include <stdio.h>
#include <string.h>

const char *planner_symbol(const char *what, int side, int source, int basis, char *text) {
    snprintf(text, 64, "heddle_%s_%c_%d", what, side == SIDE_QUERY ? 'q' : 'k',
             source * MAX_BASES + basis);
    return text;
}

struct finding {
    enum side side;
    int source;
    code_find_fn *find;
    void *context;
};

static enum heddle_status find_one(const struct finding *f, const char *what, int basis,
                                   void *place, struct error *error) {
    char name[64];
    void *address = NULL;
    planner_symbol(what, (int)f->side, f->source, basis, name);
    enum heddle_status status = f->find(f->context, name, &address, error);
    memcpy(place, &address, sizeof address);
    return status;
}

static enum heddle_status find_source(const struct finding *f, struct planner_source *code,
                                      const struct facts *facts, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    for (int b = 0; b < facts->basis_count && status == HEDDLE_OK; b++) {
        if (!facts->sides[f->side][b].usable)
            continue;
        status = find_one(f, "regions", b, &code->regions[b], error);
        if (status == HEDDLE_OK)
            status = find_one(f, "classify", b, &code->classify[b], error);
        if (status == HEDDLE_OK && f->side == SIDE_QUERY)
            status = find_one(f, "count", b, &code->count[b], error);
    }
    return status;
}

enum heddle_status planner_code_find(struct planner_code *code, const struct pattern *pattern,
                                     struct facts *const *facts, enum side side, code_find_fn *find,
                                     void *context, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    for (int s = 0; s < pattern_source_count(pattern) && status == HEDDLE_OK; s++) {
        const struct finding f = {side, s, find, context};
        status = find_source(&f, &code->sources[s], facts[s], error);
    }
    return status;
}
