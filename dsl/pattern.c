// The checked pattern: names and fingerprint.

#include "dsl/pattern.h"

#include <stdlib.h>

struct expr_names pattern_names(const struct pattern *pattern, struct arena *arena) {
    const char **scalars = ARENA_ARRAY(arena, const char *, (size_t)pattern->scalar_count);
    const char **tables = ARENA_ARRAY(arena, const char *, (size_t)pattern->table_count);
    const char **inputs = ARENA_ARRAY(arena, const char *, (size_t)pattern->input_count);
    bool *batched = ARENA_ARRAY(arena, bool, (size_t)pattern->input_count);
    const char **maps = ARENA_ARRAY(arena, const char *, (size_t)pattern->map_count);
    for (int i = 0; i < pattern->param_count; i++) {
        const struct pattern_param *param = &pattern->params[i];
        (param->per_head ? tables : scalars)[param->index] = param->name;
    }
    for (int i = 0; i < pattern->input_count; i++) {
        const struct pattern_input *input = &pattern->inputs[i];
        inputs[i] = input->name;
        batched[i] = input->derived && input->derived->implicit_batch;
        if (input->is_elements)
            scalars[input->room] =
                arena_format(arena, "room(%s)", pattern->inputs[input->set].name);
    }
    for (int i = 0; i < pattern->map_count; i++)
        maps[i] = pattern->maps[i].name;
    return (struct expr_names){pattern->axes, scalars, tables, inputs, maps, batched, NULL};
}

bool pattern_selects(const struct pattern *pattern) {
    for (int i = 0; i < pattern->input_count; i++)
        if (pattern->inputs[i].derived)
            return true;
    return false;
}

const struct expr *const *pattern_derived_part(const struct pattern_input *input, int n) {
    enum { SINGLE = 9 };
    const struct pattern_derived *d = input->derived;
    if (!d || n >= SINGLE + 2 * MAX_BANDS)
        return NULL;
    if (n >= SINGLE + MAX_BANDS)
        return &d->band_step[n - SINGLE - MAX_BANDS];
    if (n >= SINGLE)
        return &d->band_share[n - SINGLE];
    const struct expr *const *const single[SINGLE] = {&d->value, &d->where,  &d->begin,
                                                      &d->end,   &d->amount, &d->forced,
                                                      &d->least, &d->most,   &d->reach};
    return single[n];
}

// ---- fingerprint -----------------------------------------------------------------------------
//
// Nodes are numbered in the order in which a walk from the roots leaves them, so the digest does
// not depend on names, layout, or on nodes that the checker made and dropped.

struct digest {
    uint64_t hash;
    uint32_t *number; // by node id; 0: not met
    uint32_t count;
    struct strbuf *words; // all of them; or NULL
};

static void add_word(struct digest *digest, uint64_t word) {
    if (digest->words)
        strbuf_add(digest->words, (const char *)&word, sizeof word);
    digest->hash = (digest->hash ^ word) * 0x9e3779b97f4a7c15u;
    digest->hash ^= digest->hash >> 29;
}

static void add_expr(struct digest *digest, const struct expr *node) {
    if (!node) {
        add_word(digest, UINT64_MAX);
        return;
    }
    if (digest->number[node->id]) {
        add_word(digest, digest->number[node->id]);
        return;
    }
    for (int i = 0; i < node->arity; i++)
        add_expr(digest, node->args[i]);
    add_word(digest, (uint64_t)node->op << 32 | (uint64_t)node->type << 16 | node->arity);
    add_word(digest, (uint64_t)node->payload.i);
    for (int i = 0; i < node->arity; i++)
        add_word(digest, digest->number[node->args[i]->id]);
    digest->number[node->id] = ++digest->count;
}

static void add_indices(struct digest *digest, const struct pattern_index *indices, int count) {
    add_word(digest, (uint64_t)count);
    for (int i = 0; i < count; i++) {
        add_word(digest, (uint64_t)indices[i].kind << 32 | indices[i].axis);
        add_expr(digest, indices[i].extent);
    }
}

// Nothing for a pattern without sources: its digest is that of its other parts.
static void add_sources(struct digest *digest, const struct pattern *pattern) {
    for (int i = 0; i < pattern->pool_count; i++) {
        add_word(digest, (uint64_t)pattern->pools[i].block);
        add_word(digest, (uint64_t)pattern->pools[i].factor_count);
        for (int f = 0; f < pattern->pools[i].factor_count; f++)
            add_word(digest, (uint64_t)pattern->pools[i].factors[f]);
    }
    for (int i = 0; i < pattern->source_count; i++) {
        add_word(digest, (uint64_t)pattern->sources[i].factor);
        add_word(digest, (uint64_t)pattern->sources[i].pool);
        add_word(digest, (uint64_t)pattern->sources[i].branch);
        add_expr(digest, pattern->sources[i].keep);
        add_expr(digest, pattern->sources[i].weight);
    }
    for (int i = 0; pattern_is_gated(pattern) && i < pattern->branch_count; i++)
        add_expr(digest, pattern->branches[i].gate);
}

static void add_derived(struct digest *digest, const struct pattern_input *input) {
    const struct pattern_derived *d = input->derived;
    const struct expr *const *part;
    add_word(digest, d != NULL);
    if (!d)
        return;
    add_word(digest, (uint64_t)d->is_select | (uint64_t)d->rows << 1 | (uint64_t)d->softmax << 2 |
                         (uint64_t)d->implicit_batch << 3 | (uint64_t)d->inclusive << 4 |
                         (uint64_t)d->mode << 8 | (uint64_t)d->together << 16 |
                         (uint64_t)d->band_count << 24 | (uint64_t)d->variable << 40 |
                         (uint64_t)d->index_count << 48);
    for (int i = 0; i < d->index_count; i++)
        add_word(digest, (uint64_t)d->index_var[i]);
    for (int i = 0; i < d->band_count; i++)
        add_word(digest, (uint64_t)d->band_level[i]);
    for (int i = 0; (part = pattern_derived_part(input, i)); i++)
        if (part != &d->reach) // how wide a table is decides no code
            add_expr(digest, *part);
}

static void add_pattern(struct digest *digest, const struct pattern *pattern) {
    add_word(digest, (uint64_t)pattern->axis_count);
    add_word(digest, (uint64_t)pattern->param_count);
    for (int i = 0; i < pattern->param_count; i++) {
        add_word(digest, (uint64_t)pattern->params[i].type << 1 | pattern->params[i].per_head);
        add_expr(digest, pattern->params[i].fallback);
    }
    add_word(digest, (uint64_t)pattern->input_count);
    for (int i = 0; i < pattern->input_count; i++) {
        add_word(digest,
                 (uint64_t)pattern->inputs[i].room << 32 | (uint64_t)pattern->inputs[i].set << 16 |
                     (uint64_t)pattern->inputs[i].is_elements << 8 | pattern->inputs[i].type);
        add_indices(digest, pattern->inputs[i].indices, pattern->inputs[i].index_count);
        add_derived(digest, &pattern->inputs[i]);
    }
    add_word(digest, (uint64_t)pattern->map_count);
    for (int i = 0; i < pattern->map_count; i++) {
        add_indices(digest, pattern->maps[i].indices, pattern->maps[i].index_count);
        add_expr(digest, pattern->maps[i].body);
    }
    add_word(digest, (uint64_t)pattern->require_count);
    for (int i = 0; i < pattern->require_count; i++)
        add_expr(digest, pattern->requires[i].condition);
    add_expr(digest, pattern->keep);
    add_expr(digest, pattern->score);
    add_sources(digest, pattern);
}

static uint64_t digest_of(const struct pattern *pattern, struct strbuf *words) {
    struct digest digest = {.hash = 0x68656464, .words = words}; // "hedd"
    // Not from the pattern's arena: several threads may ask at once.
    digest.number = calloc((size_t)pattern->graph->count + 1, sizeof *digest.number);
    if (!digest.number)
        return 0;
    add_pattern(&digest, pattern);
    free(digest.number);
    return digest.hash ? digest.hash : 1;
}

uint64_t pattern_fingerprint(const struct pattern *pattern) {
    return digest_of(pattern, NULL);
}

bool pattern_identity(const struct pattern *pattern, struct strbuf *out) {
    return digest_of(pattern, out) != 0 && !out->failed;
}
