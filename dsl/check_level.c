// Stage check: keys read at several resolutions.
//
//   pool B by f1, f2, ...;      what factors there are
//   keep P at F;                a source for each factor f: P for every key of a group, and F == f
//   add P at F weight W;        the same, which may overlap the others
//
// `keep` statements exclude one another: a group is kept only where no finer one inside of it is. A
// group's condition is over the group's number (dsl/pool_expr.h).

#include "dsl/checker.h"
#include "dsl/pool_expr.h"

#include <string.h>

enum { MAX_LEVELS = 64, MAX_BLOCK = 1 << 20 };

struct level { // keep P at F, add P at F weight W
    const struct expr *condition, *factor, *weight;
    bool overlaps; // add
    struct span span;
};

struct pooling {
    const struct ast_stmt *pool; // the statement, or NULL
    int number;                  // of the pattern's pools
    bool failed;
    struct level levels[MAX_LEVELS];
    int level_count;
};

static struct pooling *pooling_of(struct unit *unit) {
    if (!unit->pooling)
        unit->pooling = ARENA_NEW(unit->place.root->checker->arena, struct pooling);
    return unit->pooling;
}

// ---- pool B by f1, f2, ... ----------------------------------------------------------------------

static bool constant(const struct place *place, const struct ast *node, const char *what,
                     int64_t most, int64_t *out) {
    const struct expr *value = lower_typed(place, node, TYPE_INT, what);
    if (!value)
        return false;
    if (value->op != OP_INT) {
        complain(place, node->span, "%s is a constant", what);
        return false;
    }
    *out = value->payload.i;
    if (*out >= 1 && *out <= most)
        return true;
    complain(place, node->span, "%s is 1 .. %lld, saw %lld", what, (long long)most,
             (long long)*out);
    return false;
}

static bool add_factor(const struct place *place, struct pattern_pool *pool,
                       const struct ast *node) {
    int64_t factor;
    if (!constant(place, node, "a factor of a 'pool'", pool->block, &factor))
        return false;
    if (pool->block % factor != 0) {
        complain(place, node->span, "%lld does not divide the block of %lld keys",
                 (long long)factor, (long long)pool->block);
        return false;
    }
    if (pool->factor_count == MAX_FACTORS) {
        complain(place, node->span, "a 'pool' has at most %d factors", MAX_FACTORS);
        return false;
    }
    int at = pool->factor_count++;
    for (; at > 0 && pool->factors[at - 1] > factor; at--)
        pool->factors[at] = pool->factors[at - 1];
    pool->factors[at] = factor;
    return true;
}

static bool factors_nest(const struct place *place, const struct pattern_pool *pool) {
    for (int i = 1; i < pool->factor_count; i++) {
        int64_t fine = pool->factors[i - 1], coarse = pool->factors[i];
        if (fine == coarse)
            complain(place, pool->span, "factor %lld is given twice", (long long)fine);
        else if (coarse % fine != 0)
            complain(place, pool->span,
                     "factor %lld is no multiple of factor %lld: groups lie inside each other",
                     (long long)coarse, (long long)fine);
        else
            continue;
        return false;
    }
    return true;
}

static bool one_axis(const struct unit *unit, struct span span) {
    const struct root *root = unit->place.root;
    if (root->no_axes || root->pattern->axis_count == 1)
        return !root->no_axes;
    complain(&unit->place, span, "keys are pooled along one axis, this pattern has %d",
             root->pattern->axis_count);
    remark_axes(&unit->place);
    return false;
}

static bool read_factors(struct unit *unit, const struct ast_stmt *stmt,
                         struct pattern_pool *pool) {
    const struct place *place = &unit->place;
    *pool = (struct pattern_pool){.span = stmt->span};
    if (!one_axis(unit, stmt->span) ||
        !constant(place, stmt->value, "the block of a 'pool'", MAX_BLOCK, &pool->block))
        return false;
    bool good = true;
    for (const struct ast_item *item = stmt->names->first; item; item = item->next)
        good = add_factor(place, pool, item->value) && good;
    return good && factors_nest(place, pool);
}

void read_pool(struct unit *unit, const struct ast_stmt *stmt) {
    struct pooling *pooling = pooling_of(unit);
    struct pattern *pattern = unit->place.root->pattern;
    if (pooling->pool) {
        complain(&unit->place, stmt->span, "there is one 'pool'");
        remark(&unit->place, pooling->pool->span, "the first is here");
        pooling->failed = true;
        return;
    }
    pooling->pool = stmt;
    pooling->number = pattern->pool_count;
    struct pattern_pool *pools = ARENA_ARRAY(unit->place.root->checker->arena, struct pattern_pool,
                                             (size_t)pattern->pool_count + 1);
    if (pattern->pool_count)
        memcpy(pools, pattern->pools, (size_t)pattern->pool_count * sizeof *pools);
    pattern->pools = pools;
    pooling->failed |= !read_factors(unit, stmt, &pools[pattern->pool_count++]);
}

// ---- keep P at F, add P at F weight W
// -------------------------------------------------------------

const struct expr *read_weight(struct unit *unit, const struct ast *node, bool *good) {
    if (!node)
        return NULL;
    const struct expr *weight = lower_typed(&unit->place, node, TYPE_REAL, "a 'weight'");
    *good = *good && weight &&
            require_uniform(&unit->place, weight, node->span, DEP_HEAD, "a 'weight'");
    if (*good && weight->op == OP_REAL && !(weight->payload.r > 0.0)) {
        complain(&unit->place, node->span, "a weight is above 0");
        *good = false;
    }
    return weight;
}

void read_level(struct unit *unit, const struct ast_stmt *stmt) {
    struct pooling *pooling = pooling_of(unit);
    const struct place *place = &unit->place;
    bool good = true, overlaps = stmt->kind == STMT_ADD;
    const struct expr *condition =
        stmt->value ? lower_typed(place, stmt->value, TYPE_BOOL, overlaps ? "'add'" : "'keep'")
                    : expr_bool(place->root->graph, stmt->span, true);
    const struct expr *factor = lower_typed(place, stmt->level, TYPE_INT, "'at'");
    const struct expr *weight = read_weight(unit, stmt->weight, &good);
    if (good && pooling->level_count == MAX_LEVELS) {
        complain(place, stmt->span, "more than %d statements with 'at'", MAX_LEVELS);
        good = false;
    }
    if (!good || !condition || !factor) {
        pooling->failed = true;
        return;
    }
    pooling->levels[pooling->level_count++] =
        (struct level){condition, factor, weight, overlaps, stmt->level->span};
}

// ---- sources
// --------------------------------------------------------------------------------------

struct sources { // of a unit, in the making
    struct unit *unit;
    const struct pooling *pooling;
    const struct pattern_pool *pool;
    struct pattern_source *items; // [MAX_SOURCES]
    int count;
    bool failed;
};

static struct expr_graph *graph_of(const struct sources *s) {
    return s->unit->place.root->graph;
}

// How many groups of a factor there are.
static const struct expr *group_count(const struct sources *s, int64_t factor) {
    struct expr_graph *graph = graph_of(s);
    const struct expr *size = expr_ref(graph, (struct span){0}, OP_SIZE, TYPE_INT, 0, 0, NULL, 0);
    return factor == 1 ? size
                       : expr_op2(graph, OP_CEILDIV, size, expr_int(graph, size->span, factor));
}

static const struct expr *over_groups(struct sources *s, const struct expr *condition, int64_t fine,
                                      int64_t coarse, bool all, struct span span) {
    const struct pool_group group = {graph_of(s), coarse / fine, group_count(s, fine)};
    const struct expr *out = pool_condition(&group, condition, all);
    if (out)
        return out;
    complain(&s->unit->place, span, "quantifiers are more than %d inside each other", MAX_VARS);
    s->failed = true;
    return condition;
}

static bool is_factor(const struct pattern_pool *pool, int64_t value) {
    for (int f = 0; f < pool->factor_count; f++)
        if (pool->factors[f] == value)
            return true;
    return false;
}

static const char *factors_text(const struct sources *s) {
    const char *text = "";
    for (int f = 0; f < s->pool->factor_count; f++)
        text = arena_format(s->unit->place.root->checker->arena, "%s%s%lld", text, f ? ", " : "",
                            (long long)s->pool->factors[f]);
    return text;
}

// A selection's bands say what levels there are.
static bool bands_are_factors(struct sources *s, const struct level *level, const struct expr *at) {
    const struct pattern *pattern = s->unit->place.root->pattern;
    if (at->op == OP_SELECT_I)
        return bands_are_factors(s, level, at->args[1]) && bands_are_factors(s, level, at->args[2]);
    const struct pattern_derived *chosen =
        at->op == OP_INPUT ? pattern->inputs[at->payload.ref.index].derived : NULL;
    for (int i = 0; chosen && i < chosen->band_count; i++) {
        int64_t value = chosen->band_level[i];
        if (value == 0 || is_factor(s->pool, value))
            continue;
        complain(&s->unit->place, level->span,
                 "a band of '%s' has level %lld, which is no factor of the 'pool': %s, or 0",
                 pattern->inputs[at->payload.ref.index].name, (long long)value, factors_text(s));
        remark(&s->unit->place, pattern->inputs[at->payload.ref.index].span, "it is chosen here");
        return false;
    }
    return true;
}

static bool level_is_sound(struct sources *s, const struct level *level) {
    const struct place *place = &s->unit->place;
    const struct expr *at = level->factor;
    if (at->op == OP_INT && at->payload.i != 0 && !is_factor(s->pool, at->payload.i)) {
        complain(place, level->span, "the 'pool' has no factor %lld: it has %s, and 0 skips",
                 (long long)at->payload.i, factors_text(s));
        remark(place, s->pool->span, "the factors are here");
        return false;
    }
    if (!bands_are_factors(s, level, at))
        return false;
    const struct expr *changing = pool_off_grid(graph_of(s), at, s->pool->block);
    if (!changing)
        return true;
    struct expr_names names = pattern_names(place->root->pattern, place->root->checker->arena);
    struct strbuf text = {0};
    expr_print(changing, &names, &text);
    complain(place, level->span,
             "'at' has one value for each block of %lld keys, and '%s' changes inside of a block",
             (long long)s->pool->block, text.text ? text.text : "this");
    remark(place, changing->span, "the term is here");
    strbuf_finish(&text);
    return false;
}

static void add_source(struct sources *s, int64_t factor, const struct expr *keep,
                       const struct expr *weight, struct span span) {
    if (expr_is_bool(keep, false))
        return;
    if (s->count == MAX_SOURCES) {
        complain(&s->unit->place, span, "more than %d sources of keys in one softmax", MAX_SOURCES);
        s->failed = true;
        return;
    }
    s->items[s->count++] = (struct pattern_source){.factor = factor,
                                                   .pool = factor > 1 ? s->pooling->number : -1,
                                                   .keep = keep,
                                                   .weight = weight,
                                                   .span = span};
}

// What one statement keeps at a factor, over that factor's groups.
static const struct expr *kept_at(struct sources *s, const struct level *level, int64_t factor) {
    const struct expr *here = pool_level_is(graph_of(s), level->factor, factor);
    const struct expr *both = expr_op2(graph_of(s), OP_AND, level->condition, here);
    return over_groups(s, both, 1, factor, true, level->span);
}

// All `keep`s at one factor, less the groups in which a finer one keeps something. One statement's
// levels exclude each other as they are: they are constant on blocks.
static const struct expr *kept_by_all(struct sources *s, int64_t factor, int finer, int keeps) {
    struct expr_graph *graph = graph_of(s);
    const struct expr *kept = expr_bool(graph, s->pool->span, false);
    for (int i = 0; i < s->pooling->level_count; i++)
        if (!s->pooling->levels[i].overlaps)
            kept = expr_op2(graph, OP_OR, kept, kept_at(s, &s->pooling->levels[i], factor));
    for (int i = 0; i < finer && keeps > 1 && !expr_is_bool(kept, false); i++) {
        const struct pattern_source *fine = &s->items[i];
        const struct expr *taken =
            over_groups(s, fine->keep, fine->factor, factor, false, fine->span);
        kept = expr_op2(graph, OP_AND, kept, expr_op1(graph, OP_NOT, taken));
    }
    return kept;
}

static void make_sources(struct sources *s) {
    int keeps = 0;
    for (int i = 0; i < s->pooling->level_count; i++) {
        s->failed |= !level_is_sound(s, &s->pooling->levels[i]);
        keeps += !s->pooling->levels[i].overlaps;
    }
    for (int f = 0; f < s->pool->factor_count && !s->failed; f++) {
        int64_t factor = s->pool->factors[f];
        add_source(s, factor, kept_by_all(s, factor, s->count, keeps), NULL, s->pool->span);
    }
    for (int i = 0; i < s->pooling->level_count && !s->failed; i++) {
        const struct level *level = &s->pooling->levels[i];
        for (int f = 0; f < s->pool->factor_count && level->overlaps; f++)
            add_source(s, s->pool->factors[f], kept_at(s, level, s->pool->factors[f]),
                       level->weight, level->span);
    }
    if (!s->count) // nothing is kept: every row is empty
        s->items[s->count++] = (struct pattern_source){
            .factor = 1, .pool = -1, .keep = expr_bool(graph_of(s), s->pool->span, false)};
}

// An input that is a whole `at`, whose values can be looked at when it is bound.
static void note_levels(struct sources *s) {
    struct pattern *pattern = s->unit->place.root->pattern;
    struct arena *arena = s->unit->place.root->checker->arena;
    struct pattern_level *levels = ARENA_ARRAY(
        arena, struct pattern_level, (size_t)(pattern->level_count + s->pooling->level_count) + 1);
    if (pattern->level_count)
        memcpy(levels, pattern->levels, (size_t)pattern->level_count * sizeof *levels);
    pattern->levels = levels;
    for (int i = 0; i < s->pooling->level_count; i++)
        if (s->pooling->levels[i].factor->op == OP_INPUT &&
            !pattern->inputs[s->pooling->levels[i].factor->payload.ref.index].derived)
            levels[pattern->level_count++] =
                (struct pattern_level){s->pooling->levels[i].factor->payload.ref.index,
                                       s->pooling->number, s->pooling->levels[i].span};
}

// A branch's weight multiplies what its groups weigh.
static const struct expr *weight_in_branch(struct unit *unit, const struct pattern_source *source) {
    struct expr_graph *graph = unit->place.root->graph;
    if (!unit->branch_weight)
        return source->weight;
    const struct expr *own =
        source->weight ? source->weight : expr_real(graph, source->span, (double)source->factor);
    return expr_op2(graph, OP_RMUL, unit->branch_weight, own);
}

static bool store_sources(struct unit *unit, const struct pattern_source *items, int count) {
    struct pattern *pattern = unit->place.root->pattern;
    if (pattern->source_count + count > MAX_SOURCES) {
        complain(&unit->place, items[0].span, "more than %d sources of keys in one pattern",
                 MAX_SOURCES);
        return false;
    }
    if (!pattern->sources)
        pattern->sources =
            ARENA_ARRAY(unit->place.root->checker->arena, struct pattern_source, MAX_SOURCES);
    for (int i = 0; i < count; i++) {
        struct pattern_source *source = &pattern->sources[pattern->source_count++];
        *source = items[i];
        source->branch = unit->branch;
        source->weight = weight_in_branch(unit, source);
    }
    return true;
}

// `keep P;` of a pattern that pools is `keep P at 1;`.
static bool take_plain(struct unit *unit, const struct expr *keep) {
    struct pooling *pooling = unit->pooling;
    if (!keep)
        return true;
    if (!is_factor(&unit->place.root->pattern->pools[pooling->number], 1)) {
        complain(&unit->place, keep->span,
                 "'keep' without 'at' reads the keys themselves, and the 'pool' has no factor 1");
        remark(&unit->place, pooling->pool->span, "the factors are here");
        return false;
    }
    if (pooling->level_count == MAX_LEVELS)
        return true;
    const struct expr *one = expr_int(unit->place.root->graph, keep->span, 1);
    pooling->levels[pooling->level_count++] = (struct level){keep, one, NULL, false, keep->span};
    return true;
}

static bool pool_sources(struct unit *unit, const struct expr *keep, struct span span) {
    struct pooling *pooling = unit->pooling;
    struct pattern *pattern = unit->place.root->pattern;
    if (!pooling->pool && !pooling->failed)
        complain(&unit->place, pooling->levels[0].span,
                 "'at' needs a 'pool' statement, which says what factors there are");
    if (!pooling->pool || pooling->failed || !take_plain(unit, keep))
        return false;
    if (!pooling->level_count) {
        complain(&unit->place, span, "nothing is kept here: there is no 'keep' statement");
        return false;
    }
    struct sources s = {.unit = unit, .pooling = pooling, .pool = &pattern->pools[pooling->number]};
    s.items = ARENA_ARRAY(unit->place.root->checker->arena, struct pattern_source, MAX_SOURCES);
    make_sources(&s);
    if (s.failed || !store_sources(unit, s.items, s.count))
        return false;
    note_levels(&s);
    return true;
}

bool append_sources(struct unit *unit, struct span span) {
    const struct expr *keep = NULL;
    if (unit->keep_failed)
        return false;
    if (unit->keep_count > 0)
        keep = join(&unit->place, OP_OR, unit->keeps, (uint32_t)unit->keep_count);
    if (unit->pooling)
        return pool_sources(unit, keep, span);
    if (!keep) {
        complain(&unit->place, span, "nothing is kept here: there is no 'keep' statement");
        return false;
    }
    const struct pattern_source plain = {.factor = 1, .pool = -1, .keep = keep, .span = keep->span};
    return store_sources(unit, &plain, 1);
}

const struct expr *finish_pooling(struct unit *unit) {
    bool good = append_sources(unit, unit->decl->stmt->name.span);
    return good ? unit->place.root->pattern->sources[0].keep : NULL;
}

// ---- the pattern as a whole
// -----------------------------------------------------------------------

void check_pooled_score(struct unit *unit) {
    struct pattern *pattern = unit->place.root->pattern;
    bool pooled = false;
    for (int i = 0; i < pattern->source_count; i++)
        pooled |= pattern->sources[i].factor > 1;
    if (pooled && pattern->score && pattern->score->deps & DEP_KEY)
        complain(&unit->place, unit->score->value->span,
                 "a mean of keys has no position: the 'score' of a pattern that pools does not "
                 "depend on the key");
    for (int i = 0; i < pattern->source_count; i++) {
        struct pattern *view = ARENA_NEW(unit->place.root->checker->arena, struct pattern);
        *view = *pattern;
        view->written = view->keep = pattern->sources[i].keep;
        pattern->sources[i].view = view;
    }
}
