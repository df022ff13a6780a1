// The compiled functions of maps by their names. See maps.h; no LLVM here.

#include "compiler/maps.h"

#include <stdio.h>
#include <string.h>

const char *map_symbol(int number, char *text) {
    snprintf(text, 64, "heddle_map_%d", number);
    return text;
}

enum heddle_status map_code_find(struct map_code *code, const struct pattern *pattern,
                                 code_find_fn *find, void *context, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < pattern->map_count && status == HEDDLE_OK; i++) {
        char name[64];
        void *fill = NULL;
        status = find(context, map_symbol(i, name), &fill, error);
        memcpy(&code->fills[i], &fill, sizeof fill);
    }
    return status;
}
