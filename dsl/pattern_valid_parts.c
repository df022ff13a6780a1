// Sources, stages and selections of a pattern that was read from bytes. See pattern_valid.h.

#include "dsl/pattern_valid.h"

// ---- sources ------------------------------------------------------------------------------------

static bool is_factor(const struct pattern_pool *pool, int64_t value) {
    for (int f = 0; f < pool->factor_count; f++)
        if (pool->factors[f] == value)
            return true;
    return false;
}

static void check_pool(struct validity *v, const struct pattern_pool *pool) {
    for (int f = 1; f < pool->factor_count; f++)
        expect(v,
               pool->factors[f] > pool->factors[f - 1] &&
                   pool->factors[f] % pool->factors[f - 1] == 0,
               "the factors of a pool do not nest");
    expect(v, pool->block % pool->factors[pool->factor_count - 1] == 0,
           "a factor does not divide the block");
}

static void check_source(struct validity *v, int number) {
    const int of_pairs = DEP_QUERY | DEP_KEY | DEP_HEAD | DEP_BATCH | DEP_ARRAY;
    const struct pattern *pattern = v->pattern;
    const struct pattern_source *source = &pattern->sources[number];
    bool pooled = source->factor > 1;
    int before = number ? pattern->sources[number - 1].branch : 0;
    expect(v, source->branch == before || (number && source->branch == before + 1),
           "sources are not in the order of their branches");
    if (expect(v,
               pooled ? source->pool >= 0 && source->pool < pattern->pool_count
                      : source->pool == -1,
               "a source is of no pool") &&
        pooled)
        expect(v,
               is_factor(&pattern->pools[source->pool], source->factor) &&
                   pattern->axis_count == 1 && !(pattern->score && pattern->score->deps & DEP_KEY),
               "a source reads means that there are not");
    if (valid_root(v, source->keep, TYPE_BOOL, of_pairs, 0, false))
        valid_operations(v, source->keep);
    valid_counted(v, source->view->keep, of_pairs, 0);
    if (source->weight)
        valid_root(v, source->weight, TYPE_REAL, DEP_HEAD, 0, false);
}

static void check_branches(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    int last = pattern->source_count ? pattern->sources[pattern->source_count - 1].branch : 0;
    expect(v, last == (pattern->branch_count ? pattern->branch_count - 1 : 0),
           "a branch has no source");
    expect(v, pattern->branch_count <= MAX_BRANCHES, "there are too many branches");
    for (int i = 0; i < pattern->branch_count && !v->fault; i++) {
        const struct pattern_branch *branch = &pattern->branches[i];
        expect(v, branch->name != NULL, "a branch has no name");
        expect(v, !branch->gate == !pattern->branches[0].gate, "a branch has no gate");
        if (branch->gate && valid_root(v, branch->gate, TYPE_REAL,
                                       DEP_QUERY | DEP_HEAD | DEP_BATCH | DEP_ARRAY, 0, false))
            valid_operations(v, branch->gate);
    }
}

static void check_levels(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    for (int i = 0; i < pattern->level_count && !v->fault; i++) {
        const struct pattern_level *level = &pattern->levels[i];
        expect(v,
               level->input < pattern->input_count && level->pool < pattern->pool_count &&
                   pattern->inputs[level->input].type == TYPE_INT &&
                   !pattern->inputs[level->input].derived,
               "a level is of no input or of no pool");
    }
}

void valid_sources(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    for (int i = 0; i < pattern->pool_count; i++)
        check_pool(v, &pattern->pools[i]);
    for (int i = 0; i < pattern->source_count && !v->fault; i++)
        check_source(v, i);
    if (pattern->source_count && !v->fault)
        expect(v,
               pattern->written == pattern->sources[0].keep &&
                   pattern->keep == pattern->sources[0].view->keep,
               "what is kept is not the first source's");
    check_branches(v);
    check_levels(v);
}

// ---- stages and selections ----------------------------------------------------------------------

struct derived_check {
    struct validity *v;
    const struct pattern_input *input;
    const struct pattern_derived *d;
    int number, vars; // of the input; variables of its indices
};

static bool check_part(struct derived_check *c, const struct expr *part, enum type type, int vars,
                       int more_deps) {
    const int allowed = DEP_HEAD | DEP_BATCH | DEP_VAR | DEP_ARRAY | more_deps;
    return valid_root(c->v, part, type, allowed, vars, true) &&
           expect(c->v, c->v->latest_derived[part->id] <= c->number, "a stage is of a later one");
}

// Variables of indices are counted from 0; a head and the batch have none.
static void check_index_vars(struct derived_check *c) {
    for (int i = 0; i < c->d->index_count && !c->v->fault; i++) {
        enum index_kind kind = c->input->indices[i].kind;
        bool none = kind == INDEX_HEAD || kind == INDEX_KV_HEAD || kind == INDEX_BATCH;
        expect(c->v, c->d->index_var[i] == (none ? -1 : c->vars), "an index has another variable");
        c->vars += !none;
    }
    expect(c->v, !c->d->implicit_batch || c->input->indices[0].kind == INDEX_BATCH,
           "a stage has no batch");
}

static void check_shape(struct derived_check *c) {
    const struct pattern_derived *d = c->d;
    bool last = d->rows || d->is_select;
    enum index_kind kind = c->input->indices[c->input->index_count - 1].kind;
    expect(c->v, d->index_count >= 1 && c->input->index_count == d->index_count + last,
           "a stage has other indices");
    expect(c->v,
           !c->input->is_elements && !(d->rows && d->is_select) &&
               !(d->softmax && (d->rows || d->is_select)) &&
               (!last || kind == (d->rows ? INDEX_DIM : INDEX_WIDTH)),
           "a stage is of no kind");
    bool bands = d->is_select && d->mode == SELECT_BANDS;
    enum type type = !d->is_select ? TYPE_REAL : bands ? TYPE_INT : TYPE_BOOL;
    expect(c->v, c->input->type == type, "a stage is of another type");
}

static void check_widths(struct derived_check *c) {
    const struct pattern *pattern = c->v->pattern;
    for (int i = 0; i < c->d->width_count && !c->v->fault; i++) {
        int input = c->d->widths[i].input;
        const struct expr *factor = c->d->widths[i].factor;
        expect(c->v,
               input < pattern->input_count && pattern_is_set(&pattern->inputs[input]) &&
                   (!pattern->inputs[input].derived || input < c->number),
               "a selection is as wide as no set");
        if (factor)
            valid_root(c->v, factor, TYPE_INT, 0, 0, false);
    }
}

static void check_bands(struct derived_check *c) {
    const struct pattern_derived *d = c->d;
    bool bands = d->mode == SELECT_BANDS;
    expect(c->v, bands == (d->band_count > 0) && bands == !d->amount,
           "a selection says twice, or not, what it takes");
    for (int i = 0; i < d->band_count && !c->v->fault; i++) {
        bool last = i == d->band_count - 1;
        expect(c->v, last == !d->band_share[i], "a band has no share");
        if (!last)
            check_part(c, d->band_share[i], TYPE_REAL, c->vars, 0);
        if (d->band_step[i])
            check_part(c, d->band_step[i], TYPE_INT, c->vars, 0);
    }
}

static void check_selection(struct derived_check *c) {
    const struct pattern_derived *d = c->d;
    int vars = c->vars;
    expect(c->v, d->variable == vars, "a candidate has another variable");
    expect(c->v, !(d->together >> d->index_count), "lists are ranked by no index");
    check_part(c, d->begin, TYPE_INT, vars, 0);
    check_part(c, d->end, TYPE_INT, vars, 0);
    if (d->amount) {
        bool real = d->mode != SELECT_TOP || d->amount->type == TYPE_REAL;
        check_part(c, d->amount, real ? TYPE_REAL : TYPE_INT, vars, 0);
    }
    if (d->forced)
        check_part(c, d->forced, TYPE_BOOL, vars + 1, 0);
    if (d->least)
        check_part(c, d->least, TYPE_INT, vars, 0);
    if (d->most)
        check_part(c, d->most, TYPE_INT, vars, 0);
    if (d->reach)
        check_part(c, d->reach, TYPE_INT, vars, 0);
    check_bands(c);
    check_widths(c);
}

void valid_derived(struct validity *v, int number) {
    const struct pattern_input *input = &v->pattern->inputs[number];
    const struct pattern_derived *d = input->derived;
    struct derived_check c = {.v = v, .input = input, .d = d, .number = number};
    check_shape(&c);
    if (!v->fault)
        check_index_vars(&c);
    if (v->fault)
        return;
    int vars = c.vars + d->is_select;
    if (check_part(&c, d->value, TYPE_REAL, vars, d->rows ? DEP_ROW : 0))
        expect(v, d->rows == !!(d->value->deps & DEP_ROW), "a stage is of rows, or is not");
    if (d->where)
        check_part(&c, d->where, TYPE_BOOL, vars, 0);
    if (d->is_select)
        check_selection(&c);
    else
        expect(v,
               !d->forced && !d->amount && !d->least && !d->most && !d->reach && !d->begin &&
                   !d->end && !d->band_count && !d->width_count && !d->together,
               "a stage has parts of a selection");
}
