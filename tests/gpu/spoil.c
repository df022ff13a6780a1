#include "tests/gpu/spoil.h"

#include "runtime/pair_env.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct spoil {
    const struct rig *rig;
    const struct plan *plan; // with the lists of the rig's plan on the machine
    struct pair_env env;
    struct numbers numbers;
    uint8_t *bad[O]; // by row [batch, head, token] of q, k, v
    char text[256];  // what is spoiled
    void *o;         // the run's results
    float *lse;
    struct verdict *verdict;
};

static int64_t rows_of(const struct shapes *s, int tensor) {
    return s->batch * s->heads[tensor] * s->tokens[tensor];
}

// ---- spoiling -----------------------------------------------------------------------------------

static void copy_numbers(struct spoil *p) {
    const struct shapes *s = &p->rig->shapes;
    for (int t = Q; t < O; t++) {
        size_t bytes = (size_t)(shapes_count(s, t) * dtype_bytes(s->dtype));
        p->numbers.of[t] = malloc(bytes);
        p->bad[t] = calloc((size_t)rows_of(s, t), 1);
        assert(p->numbers.of[t] && p->bad[t]);
        memcpy(p->numbers.of[t], p->rig->numbers.of[t], bytes);
    }
}

static void spoil_row(struct spoil *p, int tensor, int64_t row, struct random_source *random) {
    static const double with[] = {NAN, INFINITY, -INFINITY};
    const struct shapes *s = &p->rig->shapes;
    p->bad[tensor][row] = 1;
    for (int64_t d = 0; d < s->dim; d++)
        dtype_store(s->dtype, p->numbers.of[tensor], row * s->dim + d,
                    with[random_in(random, 0, 2)]);
}

// Heads, or batches, that the layout may share memory of get the same.
static void spoil_tokens(struct spoil *p, int tensor, struct random_source *random) {
    const struct shapes *s = &p->rig->shapes;
    int64_t heads = s->heads[tensor], tokens = s->tokens[tensor];
    int64_t batch = random_in(random, 0, s->batch - 1), head = random_in(random, 0, heads - 1);
    int64_t begin = random_in(random, 0, tokens - 1), end = begin + random_in(random, 1, 8);
    end = end < tokens ? end : tokens;
    size_t used = strlen(p->text);
    snprintf(p->text + used, sizeof p->text - used,
             "; %c of batch %" PRId64 " head %" PRId64 " tokens %" PRId64 " to %" PRId64 " spoiled",
             "qkv"[tensor], batch, head, begin, end - 1);
    struct random_source same = *random;
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < heads; h++) {
            struct random_source values = same;
            if ((b != batch && !s->shared_batches[tensor]) ||
                (h != head && !s->shared_heads[tensor]))
                continue;
            for (int64_t token = begin; token < end; token++)
                spoil_row(p, tensor, (b * heads + h) * tokens + token, &values);
        }
    random_next(random);
}

static void spoil_some(struct spoil *p, struct random_source *random) {
    int64_t which = random_in(random, 1, 7); // a bit per tensor
    for (int t = Q; t < O; t++)
        for (int64_t spots = which >> t & 1 ? random_in(random, 1, 3) : 0; spots > 0; spots--)
            spoil_tokens(p, t, random);
}

// ---- tiles --------------------------------------------------------------------------------------

static int64_t token_at(const struct spoil *p, const struct abi_item *item, const int64_t *at) {
    int64_t token = 0;
    for (int a = 0; a < ABI_AXES; a++)
        token += (item->residue[a] + item->dilation[a] * at[a]) * p->plan->launch.token_stride[a];
    return token;
}

static bool any_bad_value(const struct spoil *p, const struct abi_item *item,
                          const uint8_t *bad_values, const int64_t *origin) {
    int64_t at[ABI_AXES], end[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++) {
        end[a] = origin[a] + p->plan->launch.tile[a];
        end[a] = end[a] < item->list_end[a] ? end[a] : item->list_end[a];
    }
    for (at[0] = origin[0]; at[0] < end[0]; at[0]++)
        for (at[1] = origin[1]; at[1] < end[1]; at[1]++)
            for (at[2] = origin[2]; at[2] < end[2]; at[2]++)
                if (at[0] >= 0 && at[1] >= 0 && at[2] >= 0 && bad_values[token_at(p, item, at)])
                    return true;
    return false;
}

// The same for a tile of groups of keys.
static bool any_bad_group(const struct spoil *p, const struct abi_source *source,
                          const uint8_t *bad_values, int64_t origin) {
    int64_t begin = origin > 0 ? origin * source->factor : 0;
    int64_t end = (origin + p->plan->launch.tile[ABI_AXES - 1]) * source->factor;
    for (int64_t key = begin; key < end && key < p->plan->keys; key++)
        if (bad_values[key])
            return true;
    return false;
}

// Does a tile of the item's list hold a key whose v is spoiled?
static bool meets_bad_value(const struct spoil *p, const struct abi_item *item, int64_t box,
                            const uint8_t *bad_values) {
    int64_t begin, end, i[ABI_AXES], origin[ABI_AXES];
    plan_item_runs(p->plan, item->batch, item->head, box, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        const struct abi_run *run = &p->plan->launch.runs[r];
        for (i[0] = 0; i[0] < run->count[0]; i[0]++)
            for (i[1] = 0; i[1] < run->count[1]; i[1]++)
                for (i[2] = 0; i[2] < run->count[2]; i[2]++) {
                    for (int a = 0; a < ABI_AXES; a++)
                        origin[a] = run->origin[a] + i[a] * run->step[a];
                    const struct abi_source *sources = p->plan->launch.sources;
                    if (sources ? any_bad_group(p, &sources[abi_run_source(run)], bad_values,
                                                origin[ABI_AXES - 1])
                                : any_bad_value(p, item, bad_values, origin))
                        return true;
                }
    }
    return false;
}

// ---- judging ------------------------------------------------------------------------------------

// Does the query keep a key that is spoiled?
static bool keeps_bad(struct spoil *p, const struct abi_item *item, int64_t query_token,
                      const uint8_t *bad) {
    pair_env_place(&p->env, item->batch, item->head, query_token, 0);
    for (int64_t key = 0; key < p->plan->keys; key++)
        if (bad[key]) {
            if (pair_env_level(&p->env, key))
                return true;
        }
    return false;
}

static bool all_nan(const struct spoil *p, int64_t row) {
    const struct shapes *s = &p->rig->shapes;
    for (int64_t d = 0; d < s->dim; d++)
        if (!isnan(dtype_load(s->dtype, p->o, row * s->dim + d)))
            return false;
    return true;
}

static bool judge_row(struct spoil *p, int64_t row, bool may_be_nan) {
    const struct rig *rig = p->rig;
    size_t bytes = (size_t)(rig->shapes.dim * dtype_bytes(rig->shapes.dtype));
    size_t at = (size_t)row * bytes;
    if (memcmp(&p->lse[row], &rig->first_lse[row], sizeof *p->lse) != 0)
        return verdict_fail(p->verdict, "lse of row %" PRId64 ", which drops them, is changed%s",
                            row, p->text);
    if (memcmp((char *)p->o + at, (char *)rig->first + at, bytes) == 0 ||
        (may_be_nan && all_nan(p, row)))
        return true;
    return verdict_fail(p->verdict, "row %" PRId64 ", which drops them, is changed%s", row,
                        p->text);
}

struct judged_item {
    struct abi_item item;
    const uint8_t *bad_keys, *bad_values; // of its batch and head
    bool meets_bad_value;
};

// A row that keeps what is spoiled, or whose query is, may hold anything. (A spoiled query that
// keeps no key still gets 0.)
static bool judge_query(struct spoil *p, const struct judged_item *j, int64_t token) {
    const struct shapes *s = &p->rig->shapes;
    int64_t row =
        (j->item.batch * s->heads[O] + j->item.head) * s->tokens[O] + token - p->plan->query_offset;
    bool empty = p->rig->first_lse[row] == -INFINITY;
    if (keeps_bad(p, &j->item, token, j->bad_values))
        return j->meets_bad_value ||
               verdict_fail(p->verdict, "row %" PRId64 " keeps a key that no tile holds%s", row,
                            p->text);
    if ((p->bad[Q][row] && !empty) || keeps_bad(p, &j->item, token, j->bad_keys))
        return true;
    return judge_row(p, row, p->rig->machine->on_gpu && j->meets_bad_value);
}

static bool judge_item(struct spoil *p, int64_t batch, int64_t head, int64_t box) {
    const struct shapes *s = &p->rig->shapes;
    int64_t kv_row = batch * s->heads[K] + head / (s->heads[Q] / s->heads[K]);
    struct judged_item j = {
        .item = plan_item(p->plan, batch, head, box),
        .bad_keys = p->bad[K] + kv_row * s->tokens[K],
        .bad_values = p->bad[V] + kv_row * s->tokens[V],
    };
    const struct abi_box *rows = &j.item.box;
    j.meets_bad_value = meets_bad_value(p, &j.item, box, j.bad_values);
    int64_t at[ABI_AXES];
    for (at[0] = rows->begin[0]; at[0] < rows->end[0]; at[0]++)
        for (at[1] = rows->begin[1]; at[1] < rows->end[1]; at[1]++)
            for (at[2] = rows->begin[2]; at[2] < rows->end[2]; at[2]++)
                if (!judge_query(p, &j, token_at(p, &j.item, at)))
                    return false;
    return true;
}

static void judge(struct spoil *p) {
    const struct shapes *s = &p->rig->shapes;
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < s->heads[Q]; h++)
            for (int64_t box = 0; box < p->plan->launch.box_count; box++)
                if (!judge_item(p, b, h, box))
                    return;
}

// ---- the trial ----------------------------------------------------------------------------------

static void run_and_judge(struct spoil *p, CUstream stream, struct random_source *random) {
    const struct rig *rig = p->rig;
    const struct shapes *s = &rig->shapes;
    struct layout layout;
    p->o = malloc((size_t)(shapes_count(s, O) * dtype_bytes(s->dtype)));
    p->lse = malloc((size_t)rows_of(s, O) * sizeof *p->lse);
    assert(p->o && p->lse);
    layout_random(&layout, rig->machine, s, random);
    layout.with_lse = true;
    layout_fill(&layout, rig->machine, &p->numbers);
    rig_queue(rig, &layout, stream, p->verdict);
    machine_wait(rig->machine);
    const char *fault = layout_fetch(&layout, rig->machine);
    if (fault)
        verdict_fail(p->verdict, "%s%s", fault, p->text);
    layout_results(&layout, p->o, p->lse);
    if (!p->verdict->failed)
        judge(p);
    layout_free(&layout, rig->machine);
    free(p->o);
    free(p->lse);
}

// The lists that the machine's plan has, which heddle.h does not give away.
static bool make_lists(const struct rig *rig, struct plan **out_plan, struct verdict *verdict) {
    const struct plan_options options = {.basis = -1,
                                         .lists_only = true,
                                         .target = rig->machine->on_gpu ? HEDDLE_TARGET_CUDA
                                                                        : HEDDLE_TARGET_CPU};
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    struct error error = {0};
    heddle_plan_info(rig->plan, &info);
    if (plan_create(rig->program, &rig->problem->problem, &options, out_plan, &error) !=
        HEDDLE_OK) {
        verdict_fail(verdict, "the lists: %s", error_text(&error));
        error_finish(&error);
        return false;
    }
    if ((*out_plan)->counts.computed_pairs == info.computed_pairs)
        return true;
    plan_destroy(*out_plan);
    return verdict_fail(verdict, "the lists are not those of the plan");
}

bool spoil_try(const struct rig *rig, CUstream stream, struct random_source *random,
               struct verdict *verdict) {
    struct spoil p = {.rig = rig, .verdict = verdict};
    struct plan *plan;
    if (!make_lists(rig, &plan, verdict))
        return false;
    p.plan = plan;
    bool made = pair_env_init(&p.env, plan);
    assert(made);
    (void)made;
    copy_numbers(&p);
    spoil_some(&p, random);
    run_and_judge(&p, stream, random);
    for (int t = Q; t < O; t++)
        free(p.bad[t]);
    numbers_free(&p.numbers);
    pair_env_finish(&p.env);
    plan_destroy(plan);
    return !verdict->failed;
}
