#include "runtime/cuda/cuda_lists.h"

#include "compiler/planner/list_job.h"
#include "runtime/lists.h"

#include <stdlib.h>

static int64_t lists_of(const struct plan *plan) {
    return plan->row_count * plan->launch.box_count;
}

void cuda_list_records(const struct plan *plan, struct sm90_run *out) {
    const struct abi_launch *launch = &plan->launch;
    int sources = pattern_source_count(plan->program->pattern);
    struct list_job jobs[MAX_SOURCES];
    struct abi_item items[MAX_SOURCES];
    for (int s = 0; s < sources; s++)
        lists_source_job(plan, s, &jobs[s]);
    for (int64_t list = 0; list < lists_of(plan); list++) {
        for (int s = 0; s < sources; s++)
            list_item(&jobs[s], 0, 0, &launch->boxes[list % launch->box_count], &items[s]);
        for (int64_t i = launch->run_begin[list]; i < launch->run_begin[list + 1]; i++) {
            const struct abi_run *run = &launch->runs[i];
            const struct abi_box *own = run->own ? &launch->owns[run->own] : NULL;
            out[i] = list_record(run, own, items[abi_run_source(run)].list_end);
        }
    }
}

void cuda_list_tiles(const struct plan *plan, uint32_t *out) {
    const struct abi_launch *launch = &plan->launch;
    for (int64_t list = 0; list < lists_of(plan); list++) {
        int64_t tiles = 0;
        for (int64_t i = launch->run_begin[list]; i < launch->run_begin[list + 1]; i++)
            tiles += run_tiles(&launch->runs[i]);
        out[list] = tiles_clipped(tiles);
    }
}

// Sections of as many heads, but for the last: a small one would end in long items.
struct order_job cuda_order_job(const struct plan *plan) {
    enum { SECTION_BYTES = 32 << 20 };
    int64_t head_bytes = 4 * plan->keys * plan->dim, all = plan->batch * plan->kv_heads;
    int64_t most = SECTION_BYTES / head_bytes > 0 ? SECTION_BYTES / head_bytes : 1;
    int64_t sections = (all + most - 1) / most, kv_heads = (all + sections - 1) / sections;
    int64_t heads = plan->batch * plan->heads;
    return (struct order_job){.head_count = (uint32_t)heads,
                              .section_heads =
                                  (uint32_t)(kv_heads * (plan->heads / plan->kv_heads)),
                              .box_count = (uint32_t)plan->launch.box_count};
}

bool cuda_work_order(const struct plan *plan, uint32_t *out) {
    struct order_job job = cuda_order_job(plan);
    size_t items = (size_t)job.head_count * job.box_count;
    uint32_t *tiles = malloc((size_t)lists_of(plan) * sizeof *tiles);
    uint32_t *spare = malloc(items * sizeof *spare);
    struct sm90_head *heads = calloc(job.head_count, sizeof *heads);
    struct order_scratch *scratch = malloc(sizeof *scratch);
    bool fits = tiles && spare && heads && scratch;
    if (fits) {
        cuda_list_tiles(plan, tiles);
        for (uint32_t i = 0; i < job.head_count; i++) // no more of them is read
            heads[i].list_row = (int32_t)plan->launch.list_of[i];
        job.tiles = tiles;
        job.heads = heads;
        job.order = out;
        job.spare = spare;
        for (uint32_t section = 0; section < order_sections(&job); section++)
            order_section(&job, section, scratch);
    }
    free(tiles);
    free(spare);
    free(heads);
    free(scratch);
    return fits;
}
