// Stage `analyse`. See facts.h.

#include "compiler/analyse/facts.h"

#include "compiler/analyse/conjunction.h"

struct usage {
    struct facts *facts;
    uint8_t *seen;
};

// `head` as a table's whole index is the table's own dependence; anywhere else it is the pattern's.
static void note_usage(struct usage *usage, const struct expr *node) {
    if (usage->seen[node->id])
        return;
    usage->seen[node->id] = 1;
    if (node->op == OP_TABLE && node->args[0]->op == OP_HEAD) {
        usage->facts->tables_in_keep[node->payload.ref.index] = true;
        return;
    }
    usage->facts->by_head |= node->op == OP_HEAD || node->op == OP_KV_HEAD;
    usage->facts->by_batch |= node->op == OP_BATCH;
    for (int i = 0; i < node->arity; i++)
        note_usage(usage, node->args[i]);
}

// `1 <= e` or `0 < e` among the conjuncts of a requirement.
static void note_positive(struct expr_graph *graph, const struct expr *condition,
                          struct expr_list *positive) {
    const struct expr *const *a = condition->args;
    if (condition->op == OP_AND) {
        note_positive(graph, a[0], positive);
        note_positive(graph, a[1], positive);
    } else if ((condition->op == OP_LE && a[0]->op == OP_INT && a[0]->payload.i >= 1) ||
               (condition->op == OP_LT && a[0]->op == OP_INT && a[0]->payload.i >= 0)) {
        list_add(graph, positive, a[1]);
    }
}

// What a plan checks before it plans: the pattern's requirements, and that splits are positive.
static struct expr_list known_positive(const struct pattern *pattern, const struct basis *basis) {
    struct expr_list positive = {0};
    for (int i = 0; i < pattern->require_count; i++)
        note_positive(pattern->graph, pattern->requires[i].condition, &positive);
    for (int a = 0; a < ABI_AXES; a++)
        if (basis->split[a])
            list_add(pattern->graph, &positive, basis->split[a]);
    return positive;
}

// Every source has rules of its own, and a condition that is tested key by key of a group is many
// conditions: past a few rules compiling takes longer than classification ever does.
static int most_rules(const struct pattern *pattern) {
    return pattern_is_pooled(pattern) ? MAX_SOURCE_RULES : MAX_RULES;
}

static struct basis_facts basis_analyse(const struct pattern *pattern, const struct basis *basis,
                                        enum side item_side) {
    struct basis_facts facts = {0};
    struct expr_list positive = known_positive(pattern, basis);
    facts.keep = basis_rewrite(pattern, basis, item_side, pattern->keep);
    facts.rules = solve_rules(pattern->graph, facts.keep, &positive, most_rules(pattern));
    for (int i = 0; i < facts.rules.count; i++)
        facts.unsolved_rules += facts.rules.items[i].unsolved.count > 0;
    return facts;
}

// ---- masks ------------------------------------------------------------------------------------

static void add_parts(const struct pattern *pattern, const struct basis *basis,
                      const struct expr_list *positive, const struct expr *keep,
                      struct intervals *out) {
    if (keep->op == OP_AND && out->count < MAX_INTERVAL_PARTS - 1) {
        add_parts(pattern, basis, positive, keep->args[0], out);
        add_parts(pattern, basis, positive, keep->args[1], out);
        return;
    }
    struct interval_part part = {.keep = keep};
    part.placed = basis_rewrite(pattern, basis, SIDE_QUERY, keep);
    struct rules rules = solve_rules(pattern->graph, part.placed, positive, most_rules(pattern));
    if (!interval_sets(pattern->graph, &rules, &part) && basis->axis_count > 1) {
        const struct expr *pinned = basis_rewrite_pinned(pattern, basis, keep);
        rules = solve_rules(pattern->graph, pinned, positive, most_rules(pattern));
        part.pinned = interval_sets(pattern->graph, &rules, &part);
    }
    if (!expr_is_bool(part.placed, true))
        out->parts[out->count++] = part;
}

// The whole predicate as one part where its rules are few products, else its conjuncts.
static void mask_analyse(const struct pattern *pattern, const struct basis *basis,
                         struct basis_facts *facts) {
    struct expr_list positive = known_positive(pattern, basis);
    struct interval_part whole = {.keep = pattern->keep, .placed = facts->keep};
    if (expr_is_bool(facts->keep, true))
        return;
    if (interval_sets(pattern->graph, &facts->rules, &whole) && whole.set_count <= 2)
        facts->mask.parts[facts->mask.count++] = whole;
    else
        add_parts(pattern, basis, &positive, pattern->keep, &facts->mask);
}

// Where some basis needs no classification, only such are worth planning in.
static void mark_usable(struct facts *facts, int side) {
    bool solved = false;
    for (int b = 0; b < facts->basis_count; b++)
        solved |= facts->sides[side][b].unsolved_rules == 0;
    for (int b = 0; b < facts->basis_count; b++)
        facts->sides[side][b].usable = !solved || facts->sides[side][b].unsolved_rules == 0;
}

struct facts *analyse(struct arena *arena, const struct pattern *pattern) {
    struct facts *facts = ARENA_NEW(arena, struct facts);
    facts->tables_in_keep = ARENA_ARRAY(arena, bool, (size_t)pattern->table_count + 1);
    facts->basis_count = basis_list(pattern, facts->bases);
    struct usage usage = {facts, ARENA_ARRAY(arena, uint8_t, pattern->keep->id + 1)};
    note_usage(&usage, pattern->keep);
    for (int side = 0; side < SIDE_COUNT; side++) {
        for (int b = 0; b < facts->basis_count; b++)
            facts->sides[side][b] = basis_analyse(pattern, &facts->bases[b], (enum side)side);
        for (int b = 0; b < facts->basis_count && side == SIDE_QUERY; b++)
            mask_analyse(pattern, &facts->bases[b], &facts->sides[side][b]);
        mark_usable(facts, side);
    }
    return facts;
}

static void join_differences(struct facts *all, const struct facts *one,
                             const struct pattern *pattern) {
    all->by_head |= one->by_head;
    all->by_batch |= one->by_batch;
    for (int t = 0; t < pattern->table_count; t++)
        all->tables_in_keep[t] |= one->tables_in_keep[t];
}

struct facts **analyse_sources(struct arena *arena, const struct pattern *pattern) {
    int count = pattern_source_count(pattern);
    struct facts **facts = ARENA_ARRAY(arena, struct facts *, (size_t)count);
    for (int s = 0; s < count; s++)
        facts[s] = analyse(arena, pattern_source(pattern, s).view);
    for (int s = 1; s < count; s++)
        join_differences(facts[0], facts[s], pattern);
    return facts;
}

static void print_basis(const struct facts *facts, int side, int b, const struct expr_names *names,
                        struct strbuf *out) {
    const struct basis *basis = &facts->bases[b];
    strbuf_printf(out, "%s %s%s\n", side == SIDE_QUERY ? "query-major" : "key-major", basis->name,
                  facts->sides[side][b].usable ? "" : " (not used)");
    for (int a = 0; a < ABI_AXES; a++)
        if (basis->split[a]) {
            strbuf_printf(out, "  axis %d split by residue modulo ", a);
            expr_print(basis->split[a], names, out);
            strbuf_puts(out, "\n");
        }
    rules_print(&facts->sides[side][b].rules, names, out);
    intervals_print(&facts->sides[side][b].mask, names, out);
}

void facts_print(const struct facts *facts, const struct pattern *pattern, struct strbuf *out) {
    struct expr_names names = pattern_names(pattern, pattern->graph->arena);
    bool any = false;
    for (int t = 0; t < pattern->table_count; t++)
        any |= facts->tables_in_keep[t];
    strbuf_printf(out, "lists differ by head: %s\n",
                  facts->by_head ? "each head has its own"
                  : any          ? "where these tables differ"
                                 : "no");
    for (int t = 0; !facts->by_head && t < pattern->table_count; t++)
        if (facts->tables_in_keep[t])
            strbuf_printf(out, "  %s\n", names.tables[t]);
    strbuf_printf(out, "lists differ by batch: %s\n", facts->by_batch ? "yes" : "no");
    for (int side = 0; side < SIDE_COUNT; side++)
        for (int b = 0; b < facts->basis_count; b++)
            print_basis(facts, side, b, &names, out);
}

void facts_print_sources(struct facts *const *facts, const struct pattern *pattern,
                         struct strbuf *out) {
    for (int s = 0; s < pattern_source_count(pattern); s++) {
        const struct pattern_source source = pattern_source(pattern, s);
        if (pattern_is_pooled(pattern))
            strbuf_printf(out, "%ssource %d, by %lld\n", s ? "\n" : "", s,
                          (long long)source.factor);
        facts_print(facts[s], source.view, out);
    }
}
