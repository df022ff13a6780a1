// See selection.h. A stage is cut into units of work along its last two indices: a unit holds a
// piece of the last one for all values of the one before, so that a strip of queries reads each
// key once from memory. A selection's unit is one ranking.

#include "runtime/selection.h"

#include "compiler/select/choose.h"
#include "compiler/select/select_code.h"
#include "compiler/select/softmax.h"
#include "runtime/bind_derived.h"
#include "runtime/lists.h"
#include "runtime/run_tensors.h"

#include <string.h>

struct chain {
    struct plan *plan;
    struct select_args args;
    const struct select_code *code;
    struct thread_pool *threads;
};

// One array in the making.
struct making {
    const struct chain *chain;
    const struct pattern_input *input;
    const struct select_function *function;
    int64_t extent[ABI_INDICES]; // of the indices that are no dim and no width
    int count;                   // of these
    int64_t width;               // dims of a row; of a selection, elements of a list
    int64_t rows, tile, tiles;   // of a stage: values of the last index but one; cut of the last
    uint32_t apart;              // of a selection: bits of the indices that rankings differ in
    int64_t members;             // lists of a ranking
    void *data;
};

static int64_t product(const int64_t *extent, int count) {
    int64_t all = 1;
    for (int i = 0; i < count; i++)
        all *= extent[i];
    return all;
}

// The indices that `bits` names from a number, the last fastest. Returns what is left of it.
static int64_t unravel(const struct making *m, uint32_t bits, int64_t number, int64_t *index) {
    for (int i = m->count - 1; i >= 0; i--)
        if (bits >> i & 1) {
            index[i] = number % m->extent[i];
            number /= m->extent[i];
        }
    return number;
}

static int64_t flat(const struct making *m, const int64_t *index) {
    int64_t at = 0;
    for (int i = 0; i < m->count; i++)
        at = at * m->extent[i] + index[i];
    return at;
}

// ---- stages -----------------------------------------------------------------------------------

enum { TILE_VALUES = 256, TILE_ROWS = 16 };

static void stage_units(void *context, int64_t begin, int64_t end, void *scratch) {
    const struct making *m = context;
    int last = m->count - 1;
    (void)scratch;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t index[ABI_INDICES] = {0}, from = unit % m->tiles * m->tile;
        int64_t to = from + m->tile < m->extent[last] ? from + m->tile : m->extent[last];
        uint32_t outer = last > 0 ? (1u << (last - 1)) - 1 : 0;
        unravel(m, outer, unit / m->tiles, index);
        for (int64_t row = 0; row < m->rows; row++) {
            if (last > 0)
                index[last - 1] = row;
            index[last] = from;
            m->function->stage(&m->chain->args, index, from, to,
                               (float *)m->data + flat(m, index) * m->width);
        }
    }
}

static void softmax_rows(void *context, int64_t begin, int64_t end, void *scratch) {
    const struct making *m = context;
    int64_t length = m->extent[m->count - 1];
    (void)scratch;
    for (int64_t row = begin; row < end; row++)
        softmax_row((float *)m->data + row * length, length);
}

static enum heddle_status run_stage(struct making *m, struct error *error) {
    int last = m->count - 1;
    int64_t all = product(m->extent, m->count);
    if (all == 0)
        return HEDDLE_OK;
    m->rows = last > 0 ? m->extent[last - 1] : 1;
    m->tile = m->input->derived->rows ? TILE_ROWS : TILE_VALUES;
    m->tiles = (m->extent[last] + m->tile - 1) / m->tile;
    int64_t units = product(m->extent, last > 0 ? last - 1 : 0) * m->tiles;
    enum heddle_status status =
        thread_pool_for(m->chain->threads, units, 1, 0, stage_units, m, error);
    if (status == HEDDLE_OK && m->input->derived->softmax)
        status =
            thread_pool_for(m->chain->threads, all / m->extent[last], 1, 0, softmax_rows, m, error);
    return status;
}

// ---- selections -------------------------------------------------------------------------------

static int64_t rounded(int64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

// Of one ranking, in a thread's scratch.
struct ranking_space {
    float *scores;
    uint8_t *forced;
    void *chosen; // bytes or levels
    void *choose;
};

static int64_t ranking_bytes(int64_t count) {
    return 2 * rounded(count * 4) + rounded(count) + rounded(choose_scratch_bytes(count));
}

static struct ranking_space ranking_place(char *memory, int64_t count) {
    struct ranking_space space = {.scores = (float *)(void *)memory};
    space.chosen = memory + rounded(count * 4);
    space.forced = (uint8_t *)memory + 2 * rounded(count * 4);
    space.choose = memory + 2 * rounded(count * 4) + rounded(count);
    return space;
}

static void make_job(const struct making *m, const struct ranking_space *space,
                     struct choose_job *job) {
    const struct pattern_derived *derived = m->input->derived;
    *job = (struct choose_job){.mode = (enum choose_mode)derived->mode,
                               .inclusive = derived->inclusive,
                               .band_count = derived->band_count,
                               .count = m->members * m->width,
                               .scores = space->scores,
                               .forced = space->forced,
                               .chosen = space->chosen,
                               .levels = space->chosen};
    memcpy(job->band_level, derived->band_level, sizeof job->band_level);
}

static void run_ranking(const struct making *m, int64_t number, void *scratch) {
    struct ranking_space space = ranking_place(scratch, m->members * m->width);
    const struct select_args *args = &m->chain->args;
    size_t bytes = (size_t)m->width * (m->input->type == TYPE_INT ? sizeof(int32_t) : 1);
    uint32_t together = (1u << m->count) - 1 - m->apart;
    int64_t index[ABI_INDICES] = {0};
    struct choose_job job;
    unravel(m, m->apart, number, index);
    make_job(m, &space, &job);
    for (int64_t i = 0; i < m->members; i++) {
        unravel(m, together, i, index);
        m->function->rank(args, index, m->width, space.scores + i * m->width,
                          space.forced + i * m->width);
    }
    m->function->amounts(args, index, &job.amounts);
    choose(&job, space.choose);
    for (int64_t i = 0; i < m->members; i++) {
        unravel(m, together, i, index);
        memcpy((char *)m->data + (size_t)flat(m, index) * bytes,
               (char *)space.chosen + (size_t)i * bytes, bytes);
    }
}

static void rankings(void *context, int64_t begin, int64_t end, void *scratch) {
    for (int64_t number = begin; number < end; number++)
        run_ranking(context, number, scratch);
}

static enum heddle_status run_select(struct making *m, struct error *error) {
    int64_t count = 1;
    m->members = 1;
    for (int i = 0; i < m->count; i++) {
        bool together = m->input->derived->together >> i & 1;
        m->apart |= together ? 0 : 1u << i;
        *(together ? &m->members : &count) *= m->extent[i];
    }
    if (m->members == 0)
        return HEDDLE_OK;
    return thread_pool_for(m->chain->threads, count, 1, ranking_bytes(m->members * m->width),
                           rankings, m, error);
}

// ---- the chain --------------------------------------------------------------------------------

static enum heddle_status run_one(const struct chain *chain, int number, struct error *error) {
    const struct abi_array *array = &chain->plan->launch.env.arrays[number];
    struct making m = {.chain = chain,
                       .input = &chain->plan->program->pattern->inputs[number],
                       .function = &chain->code->functions[number],
                       .width = 1,
                       .data = (void *)(uintptr_t)array->data};
    m.count = m.input->derived->index_count;
    memcpy(m.extent, array->extent, sizeof m.extent);
    if (m.count < array->index_count)
        m.width = array->extent[m.count];
    enum heddle_status status =
        m.input->derived->is_select ? run_select(&m, error) : run_stage(&m, error);
    if (status == HEDDLE_OK)
        derived_levels(chain->plan, number);
    return status;
}

static enum heddle_status prepare(struct chain *chain, const struct heddle_tensors *tensors,
                                  struct error *error) {
    struct plan *plan = chain->plan;
    struct run_view views[RUN_TENSORS];
    enum heddle_status status = run_tensors_check(plan, tensors, views, error);
    if (status != HEDDLE_OK)
        return status;
    chain->args = (struct select_args){.env = plan->launch.env,
                                       .q = views[RUN_Q].tensor,
                                       .k = views[RUN_K].tensor,
                                       .queries = plan->queries,
                                       .keys = plan->keys,
                                       .dim = plan->dim,
                                       .scale = plan->scale};
    const struct select_spec spec = {plan->dtype, (int)plan->dim,
                                     chain->args.q.dim_stride == 1 &&
                                         chain->args.k.dim_stride == 1};
    return program_select(plan->program, &spec, &chain->code, error);
}

enum heddle_status selection_run(struct plan *plan, const struct heddle_tensors *tensors,
                                 struct thread_pool *threads, struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    struct chain chain = {.plan = plan, .threads = threads};
    if (!pattern_selects(pattern))
        return HEDDLE_OK;
    enum heddle_status status = prepare(&chain, tensors, error);
    for (int i = 0; i < pattern->input_count && status == HEDDLE_OK; i++)
        if (pattern->inputs[i].derived)
            status = run_one(&chain, i, error);
    if (status != HEDDLE_OK)
        return status;
    lists_drop(plan);
    return lists_fill(plan, error);
}
