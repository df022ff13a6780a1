// Part of the planner: from items to stored lists. See list_job.h.

#include "compiler/planner/list_job.h"

#include "compiler/planner/shape.h"

// The least c with residue + d * c >= position, also where that is negative.
static int64_t first_place(int64_t position, int64_t residue, int64_t d) {
    return ceil_div(position - residue, d);
}

void list_item(const struct list_job *job, int64_t batch, int64_t head,
               const struct abi_query_box *box, struct abi_item *out) {
    out->head = head;
    out->batch = batch;
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t d = job->dilation[a], residue = box->residue[a];
        out->residue[a] = residue;
        out->box.begin[a] = box->begin[a];
        out->box.end[a] = box->end[a];
        out->dilation[a] = d;
        out->list_begin[a] = first_place(job->list_first[a], residue, d);
        out->list_end[a] = greatest(0, first_place(job->list_extent[a], residue, d));
    }
}

void list_plan(const struct list_job *job, const struct abi_item *item, struct piece_space *space,
               struct piece_list *out) {
    struct piece_input input = {
        .env = &job->env, .item = item, .regions = job->regions, .classify = job->classify};
    for (int a = 0; a < ABI_AXES; a++)
        input.tile[a] = job->tile[a];
    pieces_plan(&input, space, out);
}

static int32_t within(int64_t value, int64_t low, int64_t high) {
    return (int32_t)(value < low ? low : value > high ? high : value);
}

struct sm90_run list_record(const struct abi_run *run, const struct abi_box *own,
                            const int64_t *list_end) {
    struct sm90_run record = {.kind = run->kind};
    for (int a = 0; a < ABI_AXES; a++) {
        record.origin[a] = run->origin[a];
        record.step[a] = run->step[a];
        record.count[a] = run->count[a];
        record.low[a] = own ? within(own->begin[a], 0, list_end[a]) : 0;
        record.high[a] = (int32_t)list_end[a];
        if (own)
            record.high[a] = within(own->end[a], 0, list_end[a]);
    }
    return record;
}

static void store_list(const struct list_job *job, int64_t list, const struct abi_item *item,
                       const struct piece_list *found) {
    int64_t begin = list * job->limits.runs, tiles = 0;
    for (int64_t i = 0; i < found->run_count; i++) {
        const struct abi_run *run = &found->runs[i];
        const struct abi_box *own = run->own ? &found->owns[run->own - 1] : (void *)0;
        job->runs[begin + i] = list_record(run, own, item->list_end);
        tiles += run_tiles(run);
    }
    job->run_begin[list] = begin;
    job->run_end[list] = begin + found->run_count;
    job->tiles[list] = tiles_clipped(tiles);
    job->merged[list] = found->merged;
}

void list_work(const struct list_job *job, void *memory, int64_t worker, int64_t workers) {
    struct piece_space *space = piece_space_place(memory, &job->limits);
    int64_t lists = list_count(job);
    for (int64_t list = worker; list < lists; list += workers) {
        int64_t member = job->members[list / job->box_count];
        struct abi_item item;
        struct piece_list found;
        list_item(job, member / job->env.heads, member % job->env.heads,
                  &job->boxes[list % job->box_count], &item);
        list_plan(job, &item, space, &found);
        store_list(job, list, &item, &found);
    }
}
