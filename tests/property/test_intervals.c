// Masks as intervals against the predicate: for random patterns, in every basis, whether a solved
// conjunct's sets hold a key is whether the conjunct keeps the pair; with the tile's place for
// those that are solved for tiles of one row of keys.
//
// HEDDLE_TEST_SEED and HEDDLE_TEST_CASES change the run; the seed is printed.

#include "compiler/analyse/facts.h"
#include "compiler/program.h"
#include "dsl/expr_walk.h"
#include "runtime/pair_env.h"
#include "tests/support/random_problem.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUERIES = 6 };

struct bed {
    const char *text;
    const struct plan *plan;
    struct pair_env env;
    struct arena arena;
    struct expr_walk walk; // of the ends: its leaf finds the bed by `context`
    struct alg_concrete alg;
    int64_t item[ABI_AXES], list[ABI_AXES], residue[ABI_AXES];
    int solved, pinned; // conjuncts seen
};

// ---- places -------------------------------------------------------------------------------------

// Basis coordinates of a token; false where its residues are not those given (NULL: sets them).
static bool place_of(const struct plan *plan, int64_t token, const int64_t *residue,
                     int64_t *out_residue, int64_t *out) {
    bool same = true;
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t stride = plan->launch.token_stride[a], at = stride ? token / stride : 0;
        int64_t dilation = plan->launch.dilation[a];
        token -= at * stride;
        out[a] = at / dilation;
        same &= !residue || at % dilation == residue[a];
        if (out_residue)
            out_residue[a] = at % dilation;
    }
    return same;
}

static aval leaf(struct expr_walk *walk, const struct expr *node, const aval *args) {
    struct bed *bed = walk->context;
    int index = node->payload.ref.index;
    struct eval_failure failure = {0};
    union value value;
    switch (node->op) {
    case OP_PLACE:
        cr_assert_neq(node->payload.ref.side, PLACE_OF_LIST);
        return (aval){.i = node->payload.ref.side == PLACE_OF_TILE ? bed->list[index]
                                                                   : bed->item[index]};
    case OP_RESIDUE:
        return (aval){.i = bed->residue[index]};
    case OP_DILATION:
        return (aval){.i = bed->plan->launch.dilation[index]};
    case OP_TABLE:
        return (aval){.i = bed->env.eval.tables[index][args[0].i].i};
    case OP_INPUT: { // the planner reads past an end what is at it
        const struct eval_array *array = &bed->env.eval.inputs[index];
        int64_t at = args[0].i < 0 ? 0 : args[0].i;
        at = at < array->extent[0] ? at : array->extent[0] - 1;
        return (aval){.i = ((const int32_t *)array->data)[at]};
    }
    default:
        value = expr_eval(node, &bed->env.eval, &failure);
        return node->type == TYPE_BOOL ? (aval){.b = value.b} : (aval){.i = value.i};
    }
}

// ---- one conjunct -------------------------------------------------------------------------------

static bool in_set(struct bed *bed, const struct interval_set *set) {
    for (int a = 0; a < ABI_AXES; a++) {
        if (!set->lower[a])
            continue;
        int64_t lower = expr_walk_point(&bed->walk, set->lower[a]).i;
        int64_t upper = expr_walk_point(&bed->walk, set->upper[a]).i;
        if (bed->list[a] < lower || bed->list[a] > upper)
            return false;
    }
    return true;
}

static void check_part(struct bed *bed, const struct interval_part *part, int64_t query,
                       int64_t key) {
    struct eval_failure failure = {0};
    bool kept = expr_eval(part->keep, &bed->env.eval, &failure).b, in = false;
    if (failure.fault != EVAL_OK)
        return;
    expr_walk_reset(&bed->walk);
    for (int s = 0; s < part->set_count; s++)
        in |= in_set(bed, &part->sets[s]);
    cr_assert_eq(in, kept, "basis %d query %" PRId64 " key %" PRId64 "%s: kept %d, in %d\n%s",
                 bed->plan->basis, query, key, part->pinned ? " (of a tile)" : "", kept, in,
                 bed->text);
    bed->solved++;
    bed->pinned += part->pinned;
}

static void check_query(struct bed *bed, int64_t head, int64_t query) {
    const struct intervals *mask =
        &bed->plan->program->facts->sides[SIDE_QUERY][bed->plan->basis].mask;
    place_of(bed->plan, query, NULL, bed->residue, bed->item);
    for (int64_t key = 0; key < bed->plan->keys; key++) {
        if (!place_of(bed->plan, key, bed->residue, NULL, bed->list))
            continue;
        pair_env_place(&bed->env, 0, head, query, key);
        for (int p = 0; p < mask->count; p++)
            if (mask->parts[p].solved)
                check_part(bed, &mask->parts[p], query, key);
    }
}

// ---- one problem --------------------------------------------------------------------------------

static void check_basis(struct random_source *random, struct program *program,
                        const struct random_problem *s, int basis, struct bed *bed) {
    struct plan_options options = {.lists_only = true, .basis = basis};
    struct error error = {0};
    struct plan *plan;
    enum heddle_status status = plan_create(program, &s->problem, &options, &plan, &error);
    cr_assert_eq(status, HEDDLE_OK, "%s\n%s", error_text(&error), bed->text);
    bed->plan = plan;
    cr_assert(pair_env_init(&bed->env, plan));
    arena_init(&bed->arena, (size_t)1 << 30);
    alg_concrete_init(&bed->alg);
    expr_walk_init(&bed->walk, &bed->arena, program->pattern->graph, &bed->alg.alg);
    bed->walk.point_leaf = leaf;
    bed->walk.context = bed;
    for (int i = 0; i < QUERIES; i++)
        check_query(bed, random_in(random, 0, s->problem.heads - 1),
                    random_in(random, 0, plan->keys - 1));
    arena_finish(&bed->arena);
    pair_env_finish(&bed->env);
    plan_destroy(plan);
}

static void check_pattern(struct random_source *random, const char *text, size_t length, int axes,
                          bool with_input, struct bed *bed) {
    static const int64_t most[] = {0, 300, 17, 6};
    static struct random_problem s;
    struct check_options check = {0};
    struct program *program;
    struct error error = {0};
    enum heddle_status status =
        program_create("random.heddle", text, length, &check, &program, &error);
    cr_assert_eq(status, HEDDLE_OK, "%s\n%s", error_text(&error), text);
    bed->text = text;
    for (int round = 0; round < 2; round++) {
        random_problem(random, axes, most, with_input, &s);
        s.problem.queries = 0;
        for (int b = 0; b < program->facts->basis_count; b++)
            if (program->facts->sides[SIDE_QUERY][b].usable)
                check_basis(random, program, &s, b, bed);
    }
    program_destroy(program);
}

Test(intervals, hold_what_random_patterns_keep, .timeout = 600) {
    struct random_source random = {random_seed(20261125)};
    struct bed bed = {.solved = 0};
    for (int i = random_cases(30); i-- > 0;) {
        int axes = (int)random_in(&random, 1, 3);
        bool with_input = random_in(&random, 0, 3) == 0;
        struct strbuf text = {0};
        random_pattern(&random, axes, with_input, &text);
        check_pattern(&random, text.text, text.length, axes, with_input, &bed);
        strbuf_finish(&text);
    }
    cr_assert(bed.solved > 1000, "only %d pairs of solved conjuncts", bed.solved);
}

// Bands that depend on the other axes: what is solved for tiles of one row only.
Test(intervals, hold_what_bands_of_a_row_keep, .timeout = 600) {
    static const char *const conditions[] = {
        "abs(q.b - k.b) <= size(b) >> min(abs(q.a - k.a), 9)",
        "abs(q.b - k.b) <= size(b) >> log2(clamp(abs(q.a - k.a), 1, 128)) or k.a == 0",
        "abs(q.b - k.b) <= p0 / (1 + abs(q.a - k.a))",
        "k.b <= q.b + p1 * k.a and k.b >= q.b - t[head] - k.a",
    };
    struct random_source random = {random_seed(20261125)};
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        struct bed bed = {.solved = 0};
        struct strbuf text = {0};
        strbuf_printf(&text,
                      "pattern random {\n    axes a, b;\n"
                      "    param int p0 = 5, p1 = 3, t[head] = head * 4;\n    keep %s;\n}\n",
                      conditions[i]);
        check_pattern(&random, text.text, text.length, 2, false, &bed);
        cr_assert(bed.pinned > 100, "%s: %d pairs", conditions[i], bed.pinned);
        strbuf_finish(&text);
    }
}
