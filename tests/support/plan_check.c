#include "tests/support/plan_check.h"

#include "runtime/pair_env.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    const struct plan *plan;
    struct pair_env env;
    struct plan_faults faults;
    struct abi_item item;
    int64_t batch, head, box;
    int64_t item_tokens[256];
    int item_rows;
    uint8_t *covered; // by list token: 0 no tile yet
    uint8_t *kept;    // [item_rows][list tokens]
    int64_t list_count;
};

static void fault(struct check *c, int64_t *counter, const char *what, int64_t row, int64_t key) {
    (*counter)++;
    if (!c->faults.first[0])
        snprintf(c->faults.first, sizeof c->faults.first,
                 "%s: batch %" PRId64 " head %" PRId64 " box %" PRId64 " item token %" PRId64
                 " list token %" PRId64,
                 what, c->batch, c->head, c->box, row, key);
}

static int64_t token_at(const struct check *c, const int64_t *place) {
    int64_t token = 0;
    for (int a = 0; a < ABI_AXES; a++)
        token +=
            (c->item.residue[a] + c->item.dilation[a] * place[a]) * c->plan->launch.token_stride[a];
    return token;
}

static int64_t list_first(const struct check *c) { // tokens may be negative for queries
    return c->plan->options.key_major ? c->plan->query_offset : 0;
}

static bool evaluate(struct check *c, int64_t item_token, int64_t list_token) {
    bool key_major = c->plan->options.key_major;
    pair_env_place(&c->env, c->batch, c->head, key_major ? list_token : item_token,
                   key_major ? item_token : list_token);
    return pair_env_keeps(&c->env, NULL);
}

static bool kept(const struct check *c, int row, int64_t list_token) {
    return c->kept[row * c->list_count + list_token - list_first(c)];
}

static void gather_item(struct check *c) {
    int64_t at[ABI_AXES];
    const struct abi_box *box = &c->item.box;
    c->item_rows = 0;
    for (at[0] = box->begin[0]; at[0] < box->end[0]; at[0]++)
        for (at[1] = box->begin[1]; at[1] < box->end[1]; at[1]++)
            for (at[2] = box->begin[2]; at[2] < box->end[2]; at[2]++)
                c->item_tokens[c->item_rows++] = token_at(c, at);
}

static void check_tile(struct check *c, const struct abi_run *run, const int64_t *origin) {
    const struct plan *plan = c->plan;
    const struct abi_box *own = &plan->launch.owns[run->own];
    bool full = !(run->kind & ABI_RUN_PARTIAL);
    int64_t at[ABI_AXES], pairs = 0, kept_here = 0;
    int64_t end[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++)
        end[a] = origin[a] + plan->launch.tile[a];
    for (at[0] = origin[0]; at[0] < end[0]; at[0]++)
        for (at[1] = origin[1]; at[1] < end[1]; at[1]++)
            for (at[2] = origin[2]; at[2] < end[2]; at[2]++) {
                bool there = true, owned = true;
                for (int a = 0; a < ABI_AXES; a++) {
                    there &= at[a] >= c->item.list_begin[a] && at[a] < c->item.list_end[a];
                    owned &= at[a] >= own->begin[a] && at[a] < own->end[a];
                }
                pairs += c->item_rows;
                if (full && !(there && owned))
                    fault(c, &c->faults.false_full, "full tile beyond the grid", at[0], at[2]);
                if (!there || !owned)
                    continue;
                int64_t token = token_at(c, at);
                if (c->covered[token - list_first(c)]++)
                    fault(c, &c->faults.repeated, "in two tiles", -1, token);
                for (int r = 0; r < c->item_rows; r++) {
                    bool keeps = kept(c, r, token);
                    kept_here += keeps;
                    if (full && !keeps)
                        fault(c, &c->faults.false_full, "full but not kept", c->item_tokens[r],
                              token);
                }
            }
    c->faults.tiles++;
    if (!full && kept_here == pairs)
        fault(c, &c->faults.loose_full, "partial, yet all kept", c->item_tokens[0], origin[2]);
    if (kept_here == 0)
        fault(c, &c->faults.loose_empty, "nothing kept in a tile", c->item_tokens[0], origin[2]);
}

static void check_run(struct check *c, const struct abi_run *run) {
    int64_t i[ABI_AXES], origin[ABI_AXES];
    for (i[0] = 0; i[0] < run->count[0]; i[0]++)
        for (i[1] = 0; i[1] < run->count[1]; i[1]++)
            for (i[2] = 0; i[2] < run->count[2]; i[2]++) {
                for (int a = 0; a < ABI_AXES; a++)
                    origin[a] = run->origin[a] + i[a] * run->step[a];
                check_tile(c, run, origin);
            }
}

static void check_item(struct check *c) {
    const struct plan *plan = c->plan;
    int64_t begin, end;
    int64_t list = plan->options.key_major ? plan->queries : plan->keys;
    memset(c->covered, 0, (size_t)list);
    c->list_count = list;
    c->item = plan_item(plan, c->batch, c->head, c->box);
    gather_item(c);
    for (int r = 0; r < c->item_rows; r++)
        for (int64_t t = 0; t < list; t++)
            c->kept[r * list + t] = evaluate(c, c->item_tokens[r], t + list_first(c));
    plan_item_runs(plan, c->batch, c->head, c->box, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        check_run(c, &plan->launch.runs[i]);
    for (int64_t t = 0; t < list; t++)
        for (int r = 0; r < c->item_rows; r++)
            if (kept(c, r, t + list_first(c))) {
                c->faults.kept_pairs++;
                if (!c->covered[t])
                    fault(c, &c->faults.uncovered, "kept but in no tile", c->item_tokens[r],
                          t + list_first(c));
            }
}

struct plan_faults plan_check(const struct plan *plan) {
    struct check c = {.plan = plan};
    if (!pair_env_init(&c.env, plan))
        abort();
    c.covered = calloc((size_t)(plan->keys + plan->queries), 1);
    c.kept =
        malloc(sizeof c.item_tokens / sizeof *c.item_tokens * (size_t)(plan->keys + plan->queries));
    if (!c.covered || !c.kept)
        abort();
    for (c.batch = 0; c.batch < plan->batch; c.batch++)
        for (c.head = 0; c.head < plan->heads; c.head++)
            for (c.box = 0; c.box < plan->launch.box_count; c.box++)
                check_item(&c);
    free(c.covered);
    free(c.kept);
    pair_env_finish(&c.env);
    return c.faults;
}
