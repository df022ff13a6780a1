#include "cli/boxes.h"

#include "cli/measure.h"
#include "compiler/analyse/facts.h"

#include <stdio.h>
#include <stdlib.h>

static int by_cost(const void *a, const void *b) {
    const struct plan_candidate *x = *(const struct plan_candidate *const *)a,
                                *y = *(const struct plan_candidate *const *)b;
    if (x->row_ms != y->row_ms)
        return x->row_ms < y->row_ms ? -1 : 1;
    return (x > y) - (x < y);
}

const struct plan_candidate **boxes_ranked(const struct plan *plan) {
    int count = plan->candidate_count;
    const struct plan_candidate **ranks = calloc((size_t)count, sizeof *ranks);
    for (int i = 0; ranks && i < count; i++)
        ranks[i] = &plan->candidates[i];
    if (ranks)
        qsort(ranks, (size_t)count, sizeof *ranks, by_cost);
    return ranks;
}

void boxes_heading(const char *label) {
    printf("%-12s %-8s %-14s %-14s", label, "basis", "query", "key");
}

void boxes_text(const struct program *program, const struct plan_boxes *boxes) {
    const struct basis *basis = &program->facts->bases[boxes->basis];
    struct shape_text query = shape_text(boxes->query_tile, basis->axis_count),
                      key = shape_text(boxes->key_tile, basis->axis_count);
    printf("%-12s %-8s %-14s %-14s", "", basis->name, query.text, key.text);
}

void boxes_json(struct json *json, const struct program *program, const struct plan_boxes *boxes) {
    const struct basis *basis = &program->facts->bases[boxes->basis];
    int first = ABI_AXES - basis->axis_count;
    json_text(json, "basis", basis->name);
    json_ints(json, "query_tile", boxes->query_tile + first, basis->axis_count);
    json_ints(json, "key_tile", boxes->key_tile + first, basis->axis_count);
}
