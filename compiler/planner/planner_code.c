// A planner's compiled functions by their names. See planner_emit.h; no LLVM here.

#include "compiler/planner/planner_emit.h"

#include <stdio.h>
#include <string.h>

const char *planner_symbol(const char *what, int side, int basis, char *text) {
    snprintf(text, 64, "heddle_%s_%c_%d", what, side == SIDE_QUERY ? 'q' : 'k', basis);
    return text;
}

enum heddle_status planner_code_find(struct planner_code *code, const struct facts *facts,
                                     enum side side, planner_find_fn *find, void *context,
                                     struct error *error) {
    char name[64];
    enum heddle_status status = HEDDLE_OK;
    for (int b = 0; b < facts->basis_count && status == HEDDLE_OK; b++) {
        void *regions = NULL, *classify = NULL, *count = NULL;
        if (!facts->sides[side][b].usable)
            continue;
        status = find(context, planner_symbol("regions", side, b, name), &regions, error);
        if (status == HEDDLE_OK)
            status = find(context, planner_symbol("classify", side, b, name), &classify, error);
        if (status == HEDDLE_OK && side == SIDE_QUERY)
            status = find(context, planner_symbol("count", side, b, name), &count, error);
        memcpy(&code->regions[b], &regions, sizeof regions);
        memcpy(&code->classify[b], &classify, sizeof classify);
        memcpy(&code->count[b], &count, sizeof count);
    }
    return status;
}
