#include "runtime/cuda/work_order.h"

#include <stdlib.h>

struct work {
    uint32_t item;
    int64_t section, tiles;
};

static int by_section_and_length(const void *a, const void *b) {
    const struct work *x = a, *y = b;
    if (x->section != y->section)
        return x->section < y->section ? -1 : 1;
    if (x->tiles != y->tiles)
        return x->tiles > y->tiles ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int64_t list_tiles(const struct plan *plan, int64_t list) {
    const struct abi_launch *launch = &plan->launch;
    int64_t tiles = 0;
    for (int64_t i = launch->run_begin[list]; i < launch->run_begin[list + 1]; i++) {
        const int32_t *count = launch->runs[i].count;
        tiles += (int64_t)count[0] * count[1] * count[2];
    }
    return tiles;
}

// Sections of key/value heads whose K and V stay in the second-level cache; longest items first
// inside, so that blocks end together.
static void sort_work(const struct plan *plan, struct work *work) {
    enum { SECTION_BYTES = 32 << 20 };
    int64_t boxes = plan->launch.box_count, group = plan->heads / plan->kv_heads;
    int64_t head_bytes = 4 * plan->keys * plan->dim;
    int64_t heads = SECTION_BYTES / head_bytes > 0 ? SECTION_BYTES / head_bytes : 1;
    bool even = true;
    for (int64_t i = 0; i < plan->batch * plan->heads * boxes; i++) {
        int64_t row = i / boxes, batch = row / plan->heads, head = row % plan->heads / group;
        int64_t list = plan->launch.list_of[row] * boxes + i % boxes;
        work[i].item = (uint32_t)i;
        work[i].section = (batch * plan->kv_heads + head) / heads;
        work[i].tiles = list_tiles(plan, list);
        even &= work[i].tiles == work[0].tiles;
    }
    if (!even)
        qsort(work, (size_t)(plan->batch * plan->heads * boxes), sizeof *work,
              by_section_and_length);
}

bool cuda_work_order(const struct plan *plan, uint32_t *out_order) {
    int64_t items = plan->batch * plan->heads * plan->launch.box_count;
    struct work *work = malloc((size_t)items * sizeof *work);
    if (!work)
        return false;
    sort_work(plan, work);
    for (int64_t i = 0; i < items; i++)
        out_order[i] = work[i].item;
    free(work);
    return true;
}
