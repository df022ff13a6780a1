// The check stage's dump (`--emit=pattern`): the normal form of a pattern.
//
// Nodes used more than once get a line of their own before the first statement that needs them, so
// the dump is as long as the graph, not as its text form; so do nodes under which much hangs, so
// that no line gets long. A node that depends on a quantifier's variable or on `s` becomes a
// function of it:
//
//   let n1 = q.i / 64;
//   fn n2(e0) = n1 - e0 < 4;
//   keep any e0 in 0 .. 8 : n2(e0) and ...
//
// The dump is a pattern file itself, and checking it gives the same fingerprint; not so where keys
// are pooled (write_sources).

#include "dsl/pattern.h"

#include <string.h>

enum { MAX_LINE_NODES = 100 };

struct dump {
    const struct pattern *pattern;
    struct arena arena; // own
    struct strbuf *out;
    struct expr_names names;
    const char **spelled; // by id: how a named node is written; names.nodes
    uint32_t *uses;       // by id: users and statements
    bool *is_root;        // by id: stands in a statement of its own
    bool *named;          // by id: gets a name, once its line is written
    uint32_t *size;       // by id: nodes printed for it where it is not named
    bool *written;        // by id: its line is out
    bool *of_stage;       // by id: stands in stages and selections only
    int count;
};

static bool is_leaf(const struct expr *node) {
    return node->arity == 0;
}

// ---- which nodes get a name ------------------------------------------------------------------

static void count_uses(struct dump *dump, const struct expr *root) {
    if (!root)
        return;
    dump->uses[root->id]++;
    dump->is_root[root->id] = true;
}

// Arguments come before their users, so one sweep down the ids meets every user first.
static void spread_uses(struct dump *dump) {
    const struct expr_graph *graph = dump->pattern->graph;
    for (uint32_t id = graph->count; id-- > 0;) {
        const struct expr *node = graph->nodes[id];
        for (int i = 0; dump->uses[id] && i < node->arity; i++)
            dump->uses[node->args[i]->id]++;
    }
}

static void each_root(struct dump *dump, void (*visit)(struct dump *, const struct expr *)) {
    const struct pattern *pattern = dump->pattern;
    for (int i = 0; i < pattern->param_count; i++)
        visit(dump, pattern->params[i].fallback);
    const struct expr *const *part;
    for (int i = 0; i < pattern->input_count; i++) {
        for (int j = 0; j < pattern->inputs[i].index_count; j++)
            visit(dump, pattern->inputs[i].indices[j].extent);
        for (int j = 0; (part = pattern_derived_part(&pattern->inputs[i], j)); j++)
            visit(dump, *part);
    }
    for (int i = 0; i < pattern->map_count; i++) {
        for (int j = 0; j < pattern->maps[i].index_count; j++)
            visit(dump, pattern->maps[i].indices[j].extent);
        visit(dump, pattern->maps[i].written);
    }
    for (int i = 0; i < pattern->require_count; i++)
        visit(dump, pattern->requires[i].condition);
    for (int i = 0; i < pattern->source_count; i++) {
        visit(dump, pattern->sources[i].keep);
        visit(dump, pattern->sources[i].weight);
    }
    if (!pattern->source_count)
        visit(dump, pattern->written);
    for (int i = 0; i < pattern->branch_count; i++)
        visit(dump, pattern->branches[i].gate);
    visit(dump, pattern->score);
}

static bool name_taken(const struct dump *dump, const char *name) {
    const struct pattern *pattern = dump->pattern;
    bool taken = false;
    for (int i = 0; i < pattern->param_count && !taken; i++)
        taken = strcmp(pattern->params[i].name, name) == 0;
    for (int i = 0; i < pattern->input_count && !taken; i++)
        taken = strcmp(pattern->inputs[i].name, name) == 0;
    for (int i = 0; i < pattern->map_count && !taken; i++)
        taken = strcmp(pattern->maps[i].name, name) == 0;
    for (int i = 0; i < pattern->const_count && !taken; i++)
        taken = strcmp(pattern->consts[i].name, name) == 0;
    return taken;
}

// "n3", or "n3(e0, s)" for a node that depends on them.
static const char *spell(struct dump *dump, const struct expr *node) {
    const char *text, *between = "(";
    do
        text = arena_format(&dump->arena, "n%d", ++dump->count);
    while (name_taken(dump, text));
    for (int variable = 0; variable < MAX_VARS; variable++)
        if (node->vars >> variable & 1) {
            text = arena_format(&dump->arena, "%s%se%d", text, between, variable);
            between = ", ";
        }
    if (node->deps & DEP_SCORE) {
        text = arena_format(&dump->arena, "%s%ss", text, between);
        between = ", ";
    }
    if (*between == ',')
        return arena_format(&dump->arena, "%s)", text);
    return dump->of_stage[node->id] ? arena_format(&dump->arena, "%s()", text) : text;
}

static void choose_names(struct dump *dump) {
    const struct expr_graph *graph = dump->pattern->graph;
    for (uint32_t id = 0; id < graph->count; id++) {
        const struct expr *node = graph->nodes[id];
        if (!dump->uses[id])
            continue;
        uint32_t size = 1;
        dump->of_stage[id] = node->op >= OP_TENSOR && node->op <= OP_MIN_OVER;
        for (int i = 0; i < node->arity; i++)
            dump->of_stage[id] |= dump->of_stage[node->args[i]->id];
        for (int i = 0; i < node->arity; i++)
            size += dump->named[node->args[i]->id] ? 1 : dump->size[node->args[i]->id];
        dump->size[id] = size;
        bool conversion = node->op == OP_TO_REAL && is_leaf(node->args[0]);
        bool in_one_statement = dump->is_root[id] && dump->uses[id] == 1;
        dump->named[id] = !is_leaf(node) && !conversion && !in_one_statement &&
                          (dump->uses[id] > 1 || size > MAX_LINE_NODES);
    }
}

// ---- lines -----------------------------------------------------------------------------------

// The lines of the named nodes below `root`, arguments first. A name stands for the node, but its
// own line is about the node itself: expr_print spells only what is below its root.
static void write_below(struct dump *dump, const struct expr *node) {
    if (dump->written[node->id])
        return;
    dump->written[node->id] = true;
    for (int i = 0; i < node->arity; i++)
        write_below(dump, node->args[i]);
    if (!dump->named[node->id])
        return;
    const char *name = dump->spelled[node->id] = spell(dump, node);
    strbuf_printf(dump->out, "    %s %s = ", strchr(name, '(') ? "fn" : "let", name);
    expr_print(node, &dump->names, dump->out);
    strbuf_puts(dump->out, ";\n");
}

static void write_root(struct dump *dump, const struct expr *node) {
    if (node)
        write_below(dump, node);
}

// The expression in a statement, whose names are out.
static void write_expr(struct dump *dump, const struct expr *node) {
    const char *name = dump->spelled[node->id];
    if (name)
        strbuf_puts(dump->out, name);
    else
        expr_print(node, &dump->names, dump->out);
}

static const char *type_word(enum type type) {
    return type == TYPE_REAL ? "real" : "int";
}

static void write_consts(struct dump *dump) {
    const struct pattern *pattern = dump->pattern;
    for (int i = 0; i < pattern->const_count; i++) {
        const struct pattern_const *record = &pattern->consts[i];
        strbuf_printf(dump->out, "    const %s %s = ", type_word(record->type), record->name);
        if (record->type == TYPE_REAL)
            expr_print_real(record->value.r, dump->out);
        else
            strbuf_printf(dump->out, "%lld", (long long)record->value.i);
        strbuf_puts(dump->out, ";\n");
    }
}

static void write_params(struct dump *dump) {
    const struct pattern *pattern = dump->pattern;
    for (int i = 0; i < pattern->param_count; i++) {
        const struct pattern_param *param = &pattern->params[i];
        write_root(dump, param->fallback);
        strbuf_printf(dump->out, "    param %s %s%s", type_word(param->type), param->name,
                      param->per_head ? "[head]" : "");
        if (!param->required) {
            strbuf_puts(dump->out, " = ");
            write_expr(dump, param->fallback);
        }
        strbuf_puts(dump->out, ";\n");
    }
}

static void write_index(struct dump *dump, const struct pattern_index *index) {
    static const char *const words[] = {[INDEX_HEAD] = "head",
                                        [INDEX_KV_HEAD] = "kv_head",
                                        [INDEX_BATCH] = "batch",
                                        [INDEX_TOKEN] = "token"};
    if (index->kind == INDEX_AXIS) {
        strbuf_puts(dump->out, dump->pattern->axes[index->axis]);
    } else if (index->kind == INDEX_BLOCKS) {
        strbuf_printf(dump->out, "blocks(%s, ", dump->pattern->axes[index->axis]);
        write_expr(dump, index->extent);
        strbuf_puts(dump->out, ")");
    } else if (index->kind == INDEX_RANGE) { // of inputs: by branches
        strbuf_puts(dump->out, "branch");
    } else {
        strbuf_puts(dump->out, words[index->kind]);
    }
}

static void write_bound(struct dump *dump, const struct expr *node);

static void write_derived_index(struct dump *dump, const struct pattern_input *input, int at) {
    const struct pattern_index *index = &input->indices[at];
    int variable = input->derived->index_var[at];
    if (variable >= 0)
        strbuf_printf(dump->out, "e%d in ", variable);
    if (index->kind == INDEX_RANGE) {
        strbuf_puts(dump->out, "0 .. ");
        write_bound(dump, index->extent);
    } else {
        write_index(dump, index);
    }
}

static void write_part(struct dump *dump, const char *words, const struct expr *node) {
    if (!node)
        return;
    strbuf_puts(dump->out, words);
    write_expr(dump, node);
}

static void write_bands(struct dump *dump, const struct pattern_derived *d) {
    for (int i = 0; i + 1 < d->band_count; i++) {
        strbuf_printf(dump->out, "%lld: ", (long long)d->band_level[i]);
        write_expr(dump, d->band_share[i]);
        write_part(dump, " step ", d->band_step[i]);
        strbuf_puts(dump->out, ", ");
    }
    strbuf_printf(dump->out, "rest: %lld", (long long)d->band_level[d->band_count - 1]);
}

static void write_together(struct dump *dump, const struct pattern_input *input) {
    const struct pattern_derived *d = input->derived;
    const char *between = " over (";
    for (int i = 0; i < d->index_count; i++)
        if (d->together >> i & 1) {
            if (d->index_var[i] >= 0)
                strbuf_printf(dump->out, "%se%d", between, d->index_var[i]);
            else
                strbuf_printf(dump->out, "%s%s", between,
                              input->indices[i].kind == INDEX_HEAD ? "head" : "kv_head");
            between = ", ";
        }
    strbuf_puts(dump->out, *between == ',' ? ")" : "");
}

static void write_selection(struct dump *dump, const struct pattern_input *input) {
    static const char *const modes[] = {"top", "mass", "above", "bands"};
    const struct pattern_derived *d = input->derived;
    bool mass_bands = d->mode == SELECT_BANDS && d->inclusive;
    strbuf_printf(dump->out, "%s%s(", mass_bands ? "mass_" : "", modes[d->mode]);
    if (d->mode == SELECT_BANDS)
        write_bands(dump, d);
    else
        write_expr(dump, d->amount);
    strbuf_printf(dump->out, "%s) of e%d in ",
                  d->mode == SELECT_MASS && !d->inclusive ? ", exclusive" : "", d->variable);
    write_bound(dump, d->begin);
    strbuf_puts(dump->out, " .. ");
    write_bound(dump, d->end);
    write_together(dump, input);
    write_part(dump, " where ", d->where);
    write_part(dump, " ranked by ", d->value);
    write_part(dump, " always ", d->forced);
    write_part(dump, " least ", d->least);
    write_part(dump, " most ", d->most);
}

static void write_derived(struct dump *dump, const struct pattern_input *input) {
    const struct pattern_derived *d = input->derived;
    const struct expr *const *part;
    for (int j = 0; (part = pattern_derived_part(input, j)); j++)
        write_root(dump, *part);
    strbuf_printf(dump->out, "    %s %s[", d->is_select ? "select" : "stage", input->name);
    for (int j = d->implicit_batch; j < d->index_count; j++) {
        strbuf_puts(dump->out, j > d->implicit_batch ? ", " : "");
        write_derived_index(dump, input, j);
    }
    strbuf_puts(dump->out, "] = ");
    if (d->is_select) {
        write_selection(dump, input);
    } else {
        strbuf_puts(dump->out, d->softmax ? "softmax(" : "");
        write_expr(dump, d->value);
        strbuf_puts(dump->out, d->softmax ? ")" : "");
        write_part(dump, " where ", d->where);
    }
    strbuf_puts(dump->out, ";\n");
}

static void write_inputs(struct dump *dump) {
    const struct pattern *pattern = dump->pattern;
    for (int i = 0; i < pattern->input_count; i++) {
        const struct pattern_input *input = &pattern->inputs[i];
        if (input->derived)
            continue;
        for (int j = 0; j < input->index_count; j++)
            write_root(dump, input->indices[j].extent);
        bool is_set = pattern_is_set(input);
        if (!pattern_is_given(input))
            continue;
        strbuf_printf(dump->out, "    input %s %s[", is_set ? "set" : type_word(input->type),
                      input->name);
        for (int j = 0; j < input->index_count - is_set; j++) {
            strbuf_puts(dump->out, j ? ", " : "");
            write_index(dump, &input->indices[j]);
        }
        strbuf_puts(dump->out, "];\n");
    }
}

// A range's bound, in parentheses unless it is a name or a call.
static void write_bound(struct dump *dump, const struct expr *node) {
    bool closed = is_leaf(node) || dump->named[node->id] || op_table[node->op].form == FORM_CALL;
    strbuf_puts(dump->out, closed ? "" : "(");
    write_expr(dump, node);
    strbuf_puts(dump->out, closed ? "" : ")");
}

static void write_maps(struct dump *dump) {
    const struct pattern *pattern = dump->pattern;
    for (int i = 0; i < pattern->map_count; i++) {
        const struct pattern_map *map = &pattern->maps[i];
        for (int j = 0; j < map->index_count; j++)
            write_root(dump, map->indices[j].extent);
        write_root(dump, map->written);
        strbuf_printf(dump->out, "    map %s[", map->name);
        for (int j = 0; j < map->index_count; j++) {
            strbuf_printf(dump->out, "%se%d in 0 .. ", j ? ", " : "", j);
            write_bound(dump, map->indices[j].extent);
        }
        strbuf_puts(dump->out, "] = ");
        write_expr(dump, map->written);
        strbuf_puts(dump->out, ";\n");
    }
}

static void write_statement(struct dump *dump, const char *word, const struct expr *node,
                            const char *message) {
    write_root(dump, node);
    strbuf_printf(dump->out, "    %s ", word);
    write_expr(dump, node);
    if (message)
        strbuf_printf(dump->out, " : \"%s\"", message);
    strbuf_puts(dump->out, ";\n");
}

// The key of a source is a group's number, which no pattern file can say: one with `source` lines
// is not read back.
static void write_sources(struct dump *dump) {
    const struct pattern *pattern = dump->pattern;
    for (int i = 0; i < pattern->pool_count; i++) {
        const struct pattern_pool *pool = &pattern->pools[i];
        strbuf_printf(dump->out, "    pool %lld by ", (long long)pool->block);
        for (int f = 0; f < pool->factor_count; f++)
            strbuf_printf(dump->out, "%s%lld", f ? ", " : "", (long long)pool->factors[f]);
        strbuf_puts(dump->out, ";\n");
    }
    for (int i = 0; i < pattern->source_count; i++) {
        const struct pattern_source *source = &pattern->sources[i];
        write_root(dump, source->keep);
        write_root(dump, source->weight);
        strbuf_printf(dump->out, "    source %lld ", (long long)source->factor);
        if (pattern->branch_count)
            strbuf_printf(dump->out, "of %s ", pattern->branches[source->branch].name);
        strbuf_puts(dump->out, "keep ");
        write_expr(dump, source->keep);
        if (source->weight) {
            strbuf_puts(dump->out, " weight ");
            write_expr(dump, source->weight);
        }
        strbuf_puts(dump->out, ";\n");
    }
}

static void write_gates(struct dump *dump) {
    const struct pattern *pattern = dump->pattern;
    for (int i = 0; pattern_is_gated(pattern) && i < pattern->branch_count; i++) {
        write_root(dump, pattern->branches[i].gate);
        strbuf_printf(dump->out, "    gate of %s ", pattern->branches[i].name);
        write_expr(dump, pattern->branches[i].gate);
        strbuf_puts(dump->out, ";\n");
    }
}

static void write_pattern(struct dump *dump) {
    const struct pattern *pattern = dump->pattern;
    strbuf_printf(dump->out, "pattern %s {\n    axes ", pattern->name);
    for (int i = 0; i < pattern->axis_count; i++)
        strbuf_printf(dump->out, "%s%s", i ? ", " : "", pattern->axes[i]);
    strbuf_puts(dump->out, ";\n");
    write_consts(dump);
    write_params(dump);
    write_inputs(dump);
    write_maps(dump);
    for (int i = 0; i < pattern->input_count; i++)
        if (pattern->inputs[i].derived) {
            for (int j = 0; j < pattern->inputs[i].index_count; j++)
                write_root(dump, pattern->inputs[i].indices[j].extent);
            write_derived(dump, &pattern->inputs[i]);
        }
    for (int i = 0; i < pattern->require_count; i++)
        write_statement(dump, "require", pattern->requires[i].condition,
                        pattern->requires[i].message);
    if (pattern->source_count)
        write_sources(dump);
    else
        write_statement(dump, "keep", pattern->written, NULL);
    write_gates(dump);
    if (pattern->score)
        write_statement(dump, "score", pattern->score, NULL);
    strbuf_puts(dump->out, "}\n");
}

void pattern_print(const struct pattern *pattern, struct strbuf *out) {
    struct dump dump = {.pattern = pattern, .out = out};
    uint32_t count = pattern->graph->count;
    arena_init(&dump.arena, 0);
    jmp_buf escape;
    dump.arena.escape = &escape;
    if (setjmp(escape) == 0) {
        dump.uses = ARENA_ARRAY(&dump.arena, uint32_t, count);
        dump.is_root = ARENA_ARRAY(&dump.arena, bool, count);
        dump.named = ARENA_ARRAY(&dump.arena, bool, count);
        dump.size = ARENA_ARRAY(&dump.arena, uint32_t, count);
        dump.written = ARENA_ARRAY(&dump.arena, bool, count);
        dump.of_stage = ARENA_ARRAY(&dump.arena, bool, count);
        dump.spelled = ARENA_ARRAY(&dump.arena, const char *, count);
        dump.names = pattern_names(pattern, &dump.arena);
        dump.names.nodes = dump.spelled;
        each_root(&dump, count_uses);
        spread_uses(&dump);
        choose_names(&dump);
        write_pattern(&dump);
    } else {
        out->failed = true;
    }
    arena_finish(&dump.arena);
}
