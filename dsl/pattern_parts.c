// See pattern_codec.h. Each function below describes one structure, for writing and for reading
// (compiler/base/codec.h): a new member is one line.

#include "dsl/pattern_parts.h"

enum { MOST_DECLARED = 1024 };

// Where one of these fails, a member was added: write and read it below, test what later stages
// take for granted of it in pattern_valid*.c, then correct the size.
_Static_assert(sizeof(struct pattern) == 264, "all members are written");
_Static_assert(sizeof(struct pattern_param) == 48, "all members are written");
_Static_assert(sizeof(struct pattern_index) == 16, "all members are written");
_Static_assert(sizeof(struct pattern_input) == 120, "all members are written");
_Static_assert(sizeof(struct pattern_derived) == 600, "all members are written");
_Static_assert(sizeof(struct pattern_pool) == 96, "all members are written");
_Static_assert(sizeof(struct pattern_source) == 64, "all members are written");
_Static_assert(sizeof(struct pattern_branch) == 40, "all members are written");
_Static_assert(sizeof(struct pattern_level) == 28, "all members are written");
_Static_assert(sizeof(struct pattern_map) == 120, "all members are written");
_Static_assert(sizeof(struct pattern_require) == 40, "all members are written");
_Static_assert(sizeof(struct pattern_const) == 48, "all members are written");

static void index_of(struct pattern_codec *p, struct pattern_index *index) {
    index->kind = (enum index_kind)codec_int(p->c, (int)index->kind, 0, INDEX_WIDTH);
    index->axis = (uint16_t)codec_int(p->c, index->axis, 0, MAX_AXES - 1);
    index->extent = pattern_ref(p, index->extent);
}

static int indices(struct pattern_codec *p, struct pattern_index *all, int count) {
    count = codec_int(p->c, count, 0, MAX_INDICES);
    for (int i = 0; i < count; i++)
        index_of(p, &all[i]);
    return count;
}

static void constant(struct pattern_codec *p, struct pattern_const *constant) {
    constant->name = codec_text(p->c, constant->name);
    constant->type = (enum type)codec_int(p->c, (int)constant->type, 0, TYPE_REAL);
    if (constant->type == TYPE_BOOL)
        constant->value.b = codec_bool(p->c, constant->value.b);
    else // the same 8 bytes
        constant->value.i = (int64_t)codec_bits(p->c, (uint64_t)constant->value.i);
    constant->span = pattern_span(p, constant->span);
}

static void param(struct pattern_codec *p, struct pattern_param *param) {
    param->name = codec_text(p->c, param->name);
    param->type = (enum type)codec_int(p->c, (int)param->type, 0, TYPE_REAL);
    param->per_head = codec_bool(p->c, param->per_head);
    param->index = (uint16_t)codec_int(p->c, param->index, 0, MOST_DECLARED);
    param->fallback = pattern_ref(p, param->fallback);
    param->required = codec_bool(p->c, param->required);
    param->span = pattern_span(p, param->span);
}

// A stage or a selection: its expressions, whichever there are, and what they are for.
static void derived_of(struct pattern_codec *p, struct pattern_derived *d) {
    struct codec *c = p->c;
    d->is_select = codec_bool(c, d->is_select);
    d->rows = codec_bool(c, d->rows);
    d->softmax = codec_bool(c, d->softmax);
    d->implicit_batch = codec_bool(c, d->implicit_batch);
    d->index_count = codec_int(c, d->index_count, 0, MAX_INDICES);
    for (int i = 0; i < d->index_count; i++) {
        d->index_var[i] = (int8_t)codec_int(c, d->index_var[i], -1, MAX_VARS - 1);
        d->names[i] = codec_text(c, d->names[i]);
    }
    d->value = pattern_ref(p, d->value);
    d->where = pattern_ref(p, d->where);
    d->variable = codec_int(c, d->variable, 0, MAX_VARS - 1);
    d->begin = pattern_ref(p, d->begin);
    d->end = pattern_ref(p, d->end);
    d->mode = (enum select_mode)codec_int(c, (int)d->mode, 0, SELECT_BANDS);
    d->inclusive = codec_bool(c, d->inclusive);
    d->amount = pattern_ref(p, d->amount);
    d->forced = pattern_ref(p, d->forced);
    d->least = pattern_ref(p, d->least);
    d->most = pattern_ref(p, d->most);
    d->together = (uint8_t)codec_int(c, d->together, 0, (1 << MAX_INDICES) - 1);
    d->band_count = codec_int(c, d->band_count, 0, MAX_BANDS);
    for (int i = 0; i < d->band_count; i++) {
        d->band_level[i] = codec_int64(c, d->band_level[i], 0, INT32_MAX);
        d->band_share[i] = pattern_ref(p, d->band_share[i]);
        d->band_step[i] = pattern_ref(p, d->band_step[i]);
    }
    d->reach = pattern_ref(p, d->reach);
    d->width_count = codec_int(c, d->width_count, 0, MAX_WIDTHS);
    for (int i = 0; i < d->width_count; i++) {
        d->widths[i].input = (uint16_t)codec_int(c, d->widths[i].input, 0, MOST_DECLARED);
        d->widths[i].factor = pattern_ref(p, d->widths[i].factor);
    }
}

static void input(struct pattern_codec *p, struct pattern_input *input) {
    input->name = codec_text(p->c, input->name);
    input->type = (enum type)codec_int(p->c, (int)input->type, 0, TYPE_REAL);
    input->index_count = indices(p, input->indices, input->index_count);
    input->span = pattern_span(p, input->span);
    input->is_elements = codec_bool(p->c, input->is_elements);
    input->set = (uint16_t)codec_int(p->c, input->set, 0, MOST_DECLARED);
    input->room = (uint16_t)codec_int(p->c, input->room, 0, MOST_DECLARED);
    if (codec_bool(p->c, input->derived != NULL)) {
        struct pattern_derived copy = {0};
        struct pattern_derived *derived =
            codec_reads(p->c) ? ARENA_NEW(p->c->arena, struct pattern_derived) : &copy;
        if (input->derived)
            *derived = *input->derived;
        derived_of(p, derived);
        input->derived = codec_reads(p->c) ? derived : input->derived;
    }
}

static void map(struct pattern_codec *p, struct pattern_map *map) {
    map->name = codec_text(p->c, map->name);
    map->index_count = indices(p, map->indices, map->index_count);
    map->written = pattern_ref(p, map->written);
    map->body = pattern_ref(p, map->body);
    map->span = pattern_span(p, map->span);
}

static void require(struct pattern_codec *p, struct pattern_require *require) {
    require->condition = pattern_ref(p, require->condition);
    require->message = codec_text(p->c, require->message);
    require->span = pattern_span(p, require->span);
}

// ---- sources ------------------------------------------------------------------------------------

static void pool(struct pattern_codec *p, struct pattern_pool *pool) {
    struct codec *c = p->c;
    pool->block = codec_int64(c, pool->block, 1, INT32_MAX);
    pool->factor_count = codec_int(c, pool->factor_count, 1, MAX_FACTORS);
    for (int i = 0; i < pool->factor_count; i++)
        pool->factors[i] = codec_int64(c, pool->factors[i], 1, INT32_MAX);
    pool->span = pattern_span(p, pool->span);
}

// Of its view, the condition alone: the rest is the pattern's (make_views).
static void source(struct pattern_codec *p, struct pattern_source *source) {
    struct codec *c = p->c;
    source->factor = codec_int64(c, source->factor, 1, INT32_MAX);
    source->pool = codec_int(c, source->pool, -1, MOST_DECLARED);
    source->branch = codec_int(c, source->branch, 0, MOST_DECLARED);
    source->keep = pattern_ref(p, source->keep);
    source->weight = pattern_ref(p, source->weight);
    const struct expr *counted = pattern_ref(p, source->view ? source->view->keep : NULL);
    if (codec_reads(c)) {
        source->view = ARENA_NEW(c->arena, struct pattern);
        source->view->keep = counted;
    }
    source->span = pattern_span(p, source->span);
}

static void branch(struct pattern_codec *p, struct pattern_branch *branch) {
    branch->name = codec_text(p->c, branch->name);
    branch->gate = pattern_ref(p, branch->gate);
    branch->span = pattern_span(p, branch->span);
}

static void level(struct pattern_codec *p, struct pattern_level *level) {
    level->input = (uint16_t)codec_int(p->c, level->input, 0, MOST_DECLARED);
    level->pool = codec_int(p->c, level->pool, 0, MOST_DECLARED);
    level->span = pattern_span(p, level->span);
}

// This pattern as one of each source, as dsl/check_level.c makes them.
static void make_views(struct pattern *pattern) {
    for (int i = 0; i < pattern->source_count; i++) {
        struct pattern *view = pattern->sources[i].view;
        const struct expr *counted = view->keep;
        *view = *pattern;
        view->written = pattern->sources[i].keep;
        view->keep = counted;
    }
}

static void sources(struct pattern_codec *p, struct pattern *pattern) {
    struct codec *c = p->c;
    CODEC_ARRAY(c, pattern->pools, pattern->pool_count, MOST_DECLARED);
    for (int i = 0; i < pattern->pool_count; i++)
        pool(p, &pattern->pools[i]);
    CODEC_ARRAY(c, pattern->sources, pattern->source_count, MAX_SOURCES);
    for (int i = 0; i < pattern->source_count; i++)
        source(p, &pattern->sources[i]);
    CODEC_ARRAY(c, pattern->levels, pattern->level_count, MOST_DECLARED);
    for (int i = 0; i < pattern->level_count; i++)
        level(p, &pattern->levels[i]);
    CODEC_ARRAY(c, pattern->branches, pattern->branch_count, MOST_DECLARED);
    for (int i = 0; i < pattern->branch_count; i++)
        branch(p, &pattern->branches[i]);
}

// ---- all of it ----------------------------------------------------------------------------------

void pattern_parts(struct pattern_codec *p, struct pattern *pattern) {
    struct codec *c = p->c;
    pattern->name = codec_text(c, pattern->name);
    pattern->path = codec_text(c, pattern->path);
    pattern->axis_count = codec_int(c, pattern->axis_count, 1, MAX_AXES);
    for (int i = 0; i < pattern->axis_count; i++)
        pattern->axes[i] = codec_text(c, pattern->axes[i]);
    pattern->axes_span = pattern_span(p, pattern->axes_span);
    CODEC_ARRAY(c, pattern->consts, pattern->const_count, MOST_DECLARED);
    for (int i = 0; i < pattern->const_count; i++)
        constant(p, &pattern->consts[i]);
    CODEC_ARRAY(c, pattern->params, pattern->param_count, MOST_DECLARED);
    for (int i = 0; i < pattern->param_count; i++)
        param(p, &pattern->params[i]);
    pattern->scalar_count = codec_int(c, pattern->scalar_count, 0, MOST_DECLARED);
    pattern->table_count = codec_int(c, pattern->table_count, 0, MOST_DECLARED);
    CODEC_ARRAY(c, pattern->inputs, pattern->input_count, MOST_DECLARED);
    for (int i = 0; i < pattern->input_count; i++)
        input(p, &pattern->inputs[i]);
    CODEC_ARRAY(c, pattern->maps, pattern->map_count, MOST_DECLARED);
    for (int i = 0; i < pattern->map_count; i++)
        map(p, &pattern->maps[i]);
    CODEC_ARRAY(c, pattern->requires, pattern->require_count, MOST_DECLARED);
    for (int i = 0; i < pattern->require_count; i++)
        require(p, &pattern->requires[i]);
    pattern->written = pattern_ref(p, pattern->written);
    pattern->keep = pattern_ref(p, pattern->keep);
    pattern->score = pattern_ref(p, pattern->score);
    sources(p, pattern);
    if (codec_reads(c))
        make_views(pattern);
}
