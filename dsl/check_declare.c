// Stage check: declarations - constants, parameters, inputs, maps, lets.
//
// In a used pattern a parameter is no parameter of the result: its name stands for the argument, or
// for its default, lowered where the use stands. Inputs and maps come along.

#include "dsl/checker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct checker *checker_of(const struct unit *unit) {
    return unit->place.root->checker;
}

static struct binding *declare(struct unit *unit, enum binding_kind kind, const char *what,
                               struct ast_name name) {
    struct binding *binding = scope_declare(&unit->place, unit->place.scope, kind, what, name);
    unit->place.limit = unit->place.scope->count;
    return binding;
}

// The written type, or int. False after an error.
static bool number_type(const struct unit *unit, const struct ast_stmt *stmt, enum type *out_type) {
    const struct checker *checker = checker_of(unit);
    *out_type = stmt->type.text == checker->word_real ? TYPE_REAL : TYPE_INT;
    if (!stmt->type.text || stmt->type.text == checker->word_int || *out_type == TYPE_REAL)
        return true;
    complain(&unit->place, stmt->type.span, "the type is 'int' or 'real', saw '%s'",
             stmt->type.text);
    return false;
}

static void declare_poison(struct unit *unit, const char *what, const struct ast_stmt *stmt) {
    for (const struct ast_decl *decl = stmt->decls; decl; decl = decl->next)
        declare(unit, BIND_POISON, what, decl->name);
}

// ---- lets and arguments ----------------------------------------------------------------------

struct binding *bind_expression(const struct place *place, struct scope *scope, const char *what,
                                struct ast_name name, const struct ast *ast,
                                const struct place *home, int type) {
    int before = home->root->quantifiers;
    struct operand value;
    if (type < 0)
        value = lower(home, ast);
    else
        value = (struct operand){
            .expr = lower_typed(home, ast, (enum type)type,
                                arena_format(place->root->checker->arena, "'%s'", name.text))};
    struct binding *binding = scope_declare(place, scope, BIND_VALUE, what, name);
    binding->value = value;
    binding->ast = ast;
    binding->home = place_keep(home);
    binding->has_quantifier = home->root->quantifiers != before;
    binding->to_real = type == TYPE_REAL;
    return binding;
}

void declare_lets(struct place *place, const struct ast_decl *decls, const char *what) {
    for (const struct ast_decl *decl = decls; decl; decl = decl->next) {
        bind_expression(place, place->scope, what, decl->name, decl->value, place, -1);
        place->limit = place->scope->count;
    }
}

// ---- constants -------------------------------------------------------------------------------

const char *override_of(const struct unit *unit, const char *name) {
    const struct check_options *options = checker_of(unit)->options;
    if (unit->used || unit->decl != checker_of(unit)->chosen || !options)
        return NULL;
    const char *value = NULL;
    for (int i = 0; i < options->const_count; i++)
        if (strcmp(options->consts[i].name, name) == 0)
            value = options->consts[i].value; // the last one counts
    return value;
}

// A value from the command line.
static const struct expr *parse_override(struct unit *unit, const struct ast_decl *decl,
                                         enum type type, const char *text) {
    struct checker *checker = checker_of(unit);
    struct expr_graph *graph = unit->place.root->graph;
    char *end = NULL;
    errno = 0;
    long long integer = strtoll(text, &end, 10);
    if (type == TYPE_INT && end != text && !*end && !errno)
        return expr_int(graph, decl->name.span, integer);
    errno = 0;
    double real = strtod(text, &end);
    if (type == TYPE_REAL && end != text && !*end && !errno && real - real == 0)
        return expr_real(graph, decl->name.span, real);
    checker->status = error_set(checker->error, HEDDLE_BAD_ARGUMENT, "const %s takes %s, saw '%s'",
                                decl->name.text, type_words(type), text);
    return NULL;
}

static const struct expr *const_value(struct unit *unit, const struct ast_decl *decl,
                                      enum type type) {
    const struct ast_item *arg = unit->used ? find_argument(unit->args, decl->name.text) : NULL;
    const struct place *home = arg ? unit->args_place : &unit->place;
    const struct ast *ast = arg ? arg->value : decl->value;
    const char *override = override_of(unit, decl->name.text);
    const char *what = arena_format(checker_of(unit)->arena, "const '%s'", decl->name.text);
    const struct expr *value = lower_typed(home, ast, type, what);
    if (override)
        return parse_override(unit, decl, type, override);
    if (!value || is_constant(value))
        return value;
    complain(home, ast->span,
             "const '%s' is made of numbers and other constants only; this is not known before "
             "the program runs",
             decl->name.text);
    return NULL;
}

static void record_const(struct unit *unit, const struct ast_decl *decl, const struct expr *value) {
    struct root *root = unit->place.root;
    struct pattern *pattern = root->pattern;
    pattern->consts = array_grow(root->checker->arena, pattern->consts, pattern->const_count,
                                 &root->const_room, sizeof *pattern->consts);
    struct pattern_const *record = &pattern->consts[pattern->const_count++];
    record->name = decl->name.text;
    record->type = value->type;
    record->span = decl->name.span;
    if (value->type == TYPE_REAL)
        record->value.r = value->payload.r;
    else
        record->value.i = value->payload.i;
}

void declare_consts(struct unit *unit, const struct ast_stmt *stmt) {
    enum type type;
    bool good = number_type(unit, stmt, &type);
    for (const struct ast_decl *decl = stmt->decls; decl; decl = decl->next) {
        const struct expr *value = good ? const_value(unit, decl, type) : NULL;
        if (unit->place.root->pattern->const_count == MAX_DECLARED && value) {
            complain(&unit->place, decl->name.span, "a pattern has at most %d constants",
                     MAX_DECLARED);
            value = NULL;
        }
        struct binding *binding =
            declare(unit, value ? BIND_VALUE : BIND_POISON, "const", decl->name);
        binding->value.expr = value;
        if (value && !unit->used)
            record_const(unit, decl, value);
    }
}

// ---- parameters ------------------------------------------------------------------------------

static bool is_per_head(const struct unit *unit, const struct ast_decl *decl) {
    const struct ast_item *index = decl->indices ? decl->indices->first : NULL;
    return index && !index->next && index->value->kind == AST_NAME &&
           index->value->name.text == checker_of(unit)->word_head;
}

// The default as a value of its type; none written: 0.
static const struct expr *fallback_value(struct unit *unit, const struct ast_decl *decl,
                                         enum type type, bool per_head) {
    struct expr_graph *graph = unit->place.root->graph;
    if (!decl->value)
        return type == TYPE_REAL ? expr_real(graph, decl->name.span, 0.0)
                                 : expr_int(graph, decl->name.span, 0);
    const char *what = arena_format(checker_of(unit)->arena, "parameter '%s'", decl->name.text);
    const struct expr *value = lower_typed(&unit->place, decl->value, type, what);
    if (!value || !require_uniform(&unit->place, value, decl->value->span, per_head ? DEP_HEAD : 0,
                                   "the default of a parameter"))
        return NULL;
    return value;
}

static void declare_own_param(struct unit *unit, const struct ast_decl *decl, enum type type,
                              bool per_head) {
    struct root *root = unit->place.root;
    struct pattern *pattern = root->pattern;
    const struct expr *fallback = fallback_value(unit, decl, type, per_head);
    if (pattern->param_count == MAX_DECLARED)
        complain(&unit->place, decl->name.span, "a pattern has at most %d parameters",
                 MAX_DECLARED);
    if (!fallback || pattern->param_count == MAX_DECLARED) {
        declare(unit, BIND_POISON, "parameter", decl->name);
        return;
    }
    int index = per_head ? pattern->table_count++ : pattern->scalar_count++;
    pattern->params = array_grow(root->checker->arena, pattern->params, pattern->param_count,
                                 &root->param_room, sizeof *pattern->params);
    pattern->params[pattern->param_count++] = (struct pattern_param){
        decl->name.text, type, per_head, (uint16_t)index, fallback, !decl->value, decl->name.span};
    struct binding *binding =
        declare(unit, per_head ? BIND_TABLE : BIND_VALUE, "parameter", decl->name);
    binding->index = (uint16_t)index;
    binding->type = type;
    if (!per_head)
        binding->value.expr =
            expr_ref(root->graph, decl->name.span, OP_PARAM, type, (uint16_t)index, 0, NULL, 0);
}

static void declare_used_param(struct unit *unit, const struct ast_decl *decl, enum type type,
                               bool per_head) {
    const struct ast_item *arg = find_argument(unit->args, decl->name.text);
    if (!arg && !decl->value) {
        complain(unit->args_place, unit->use_span,
                 "'use' must give '%s' a value: it has no default", decl->name.text);
        struct binding *binding =
            declare(unit, per_head ? BIND_TABLE_VALUE : BIND_VALUE, "parameter", decl->name);
        binding->value.expr = fallback_value(unit, decl, type, per_head);
        return;
    }
    struct binding *binding = bind_expression(&unit->place, unit->place.scope, "parameter",
                                              decl->name, arg ? arg->value : decl->value,
                                              arg ? unit->args_place : &unit->place, (int)type);
    if (per_head)
        binding->kind = BIND_TABLE_VALUE;
    unit->place.limit = unit->place.scope->count;
}

void declare_params(struct unit *unit, const struct ast_stmt *stmt) {
    enum type type;
    if (!number_type(unit, stmt, &type)) {
        declare_poison(unit, "parameter", stmt);
        return;
    }
    for (const struct ast_decl *decl = stmt->decls; decl; decl = decl->next) {
        bool per_head = decl->indices != NULL;
        if (per_head && !is_per_head(unit, decl)) {
            complain(&unit->place, decl->name.span,
                     "a parameter is one number, or one per head: write %s[head]", decl->name.text);
            declare(unit, BIND_POISON, "parameter", decl->name);
        } else if (unit->used) {
            declare_used_param(unit, decl, type, per_head);
        } else {
            declare_own_param(unit, decl, type, per_head);
        }
    }
}

// ---- inputs ----------------------------------------------------------------------------------

static int find_axis(const struct unit *unit, const char *name) {
    const struct pattern *pattern = unit->place.root->pattern;
    for (int i = 0; i < pattern->axis_count; i++)
        if (pattern->axes[i] == name)
            return i;
    return -1;
}

// blocks(AXIS, B)
static bool blocks_index(struct unit *unit, const struct ast *node,
                         struct pattern_index *out_index) {
    const struct ast_item *axis = node->as.list ? node->as.list->first : NULL;
    if (!axis || node->as.list->count != 2 || axis->value->kind != AST_NAME) {
        complain(&unit->place, node->span, "write blocks(AXIS, SIZE)");
        return false;
    }
    int number = find_axis(unit, axis->value->name.text);
    if (number < 0 && !unit->place.root->no_axes) {
        complain(&unit->place, axis->value->span, "this pattern has no axis '%s'",
                 axis->value->name.text);
        remark_axes(&unit->place);
    }
    const struct ast *size = axis->next->value;
    const struct expr *extent = lower_typed(&unit->place, size, TYPE_INT, "the size of a block");
    if (number < 0 || !extent ||
        !require_uniform(&unit->place, extent, size->span, 0, "the size of a block"))
        return false;
    if (extent->op == OP_INT && extent->payload.i < 1) {
        complain(&unit->place, size->span, "the size of a block is at least 1, this is %lld",
                 (long long)extent->payload.i);
        return false;
    }
    *out_index = (struct pattern_index){INDEX_BLOCKS, (uint16_t)number, extent};
    return true;
}

static bool branch_index(struct unit *unit, const struct ast *node,
                         struct pattern_index *out_index) {
    int64_t count = 0;
    for (const struct ast_stmt *stmt = unit->decl->stmt->body; stmt; stmt = stmt->next)
        count += stmt->kind == STMT_BRANCH;
    *out_index = (struct pattern_index){INDEX_RANGE, 0,
                                        expr_int(unit->place.root->graph, node->span, count)};
    if (count == 0)
        complain(&unit->place, node->span, "this pattern has no branches");
    return count > 0;
}

bool input_index(struct unit *unit, const struct ast *node, struct pattern_index *out_index) {
    const struct checker *checker = checker_of(unit);
    const struct {
        const char *word;
        enum index_kind kind;
    } kinds[] = {{checker->word_head, INDEX_HEAD},
                 {checker->word_kv_head, INDEX_KV_HEAD},
                 {checker->word_batch, INDEX_BATCH},
                 {checker->word_token, INDEX_TOKEN}};
    if (node->kind == AST_CALL && node->name.text == checker->word_blocks)
        return blocks_index(unit, node, out_index);
    if (node->kind == AST_NAME && strcmp(node->name.text, "branch") == 0)
        return branch_index(unit, node, out_index);
    int axis = node->kind == AST_NAME ? find_axis(unit, node->name.text) : -1;
    *out_index = (struct pattern_index){INDEX_AXIS, (uint16_t)axis, NULL};
    if (axis >= 0)
        return true;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (node->kind == AST_NAME && node->name.text == kinds[i].word) {
            *out_index = (struct pattern_index){kinds[i].kind, 0, NULL};
            return true;
        }
    if (!unit->place.root->no_axes)
        complain(&unit->place, node->span,
                 "an input is indexed by head, kv_head, batch, token, an axis of the pattern, or "
                 "blocks(AXIS, SIZE)");
    return false;
}

static bool input_indices(struct unit *unit, const struct ast_decl *decl,
                          struct pattern_input *input) {
    bool good = true, is_set = pattern_is_set(input);
    uint32_t count = decl->indices ? decl->indices->count : 0, most = MAX_INDICES - is_set;
    if (count == 0 || count > most) {
        complain(&unit->place, decl->name.span, "an input%s has 1 to %u indices: %s[%s], say",
                 is_set ? " set" : "", most, decl->name.text, is_set ? "head" : "i");
        return false;
    }
    for (const struct ast_item *item = decl->indices->first; item; item = item->next)
        good = input_index(unit, item->value, &input->indices[input->index_count++]) && good;
    if (is_set)
        input->indices[input->index_count++] = (struct pattern_index){INDEX_TOKEN, 0, NULL};
    return good;
}

static bool same_input(const struct pattern_input *a, const struct pattern_input *b) {
    bool same = a->type == b->type && a->index_count == b->index_count;
    for (int i = 0; same && i < a->index_count; i++)
        same = a->indices[i].kind == b->indices[i].kind &&
               a->indices[i].axis == b->indices[i].axis &&
               a->indices[i].extent == b->indices[i].extent;
    return same;
}

// The number of an input like this one, shared or new; -1 after an error.
static int place_input(struct unit *unit, const struct pattern_input *input) {
    struct root *root = unit->place.root;
    struct pattern *pattern = root->pattern;
    for (int i = 0; i < pattern->input_count; i++) {
        const struct pattern_input *other = &pattern->inputs[i];
        if (other->name != input->name)
            continue;
        if (same_input(other, input))
            return i;
        complain(&unit->place, input->span, "another input '%s' has other indices or another type",
                 input->name);
        remark(&unit->place, other->span, "it is declared here");
        return -1;
    }
    if (pattern->input_count == MAX_DECLARED) {
        complain(&unit->place, input->span, "a pattern has at most %d inputs", MAX_DECLARED);
        return -1;
    }
    pattern->inputs = array_grow(root->checker->arena, pattern->inputs, pattern->input_count,
                                 &root->input_room, sizeof *pattern->inputs);
    pattern->inputs[pattern->input_count] = *input;
    return pattern->input_count++;
}

void declare_inputs(struct unit *unit, const struct ast_stmt *stmt) {
    enum type type = TYPE_BOOL;
    bool good = stmt->type.text == checker_of(unit)->word_set || number_type(unit, stmt, &type);
    for (const struct ast_decl *decl = stmt->decls; decl; decl = decl->next) {
        struct pattern_input input = {
            .name = decl->name.text, .type = type, .span = decl->name.span};
        int index = good && input_indices(unit, decl, &input) ? place_input(unit, &input) : -1;
        struct binding *binding =
            declare(unit, index < 0 ? BIND_POISON : BIND_INPUT, "input", decl->name);
        binding->index = (uint16_t)index;
    }
}

// ---- maps ------------------------------------------------------------------------------------

bool map_extent(struct unit *unit, const struct ast *node, struct pattern_index *out_index) {
    struct operand range = lower(&unit->place, node);
    if (is_poison(range))
        return false;
    bool fits = range.set && range.set->kind == SET_RANGE && !range.set->step &&
                expr_is_int(range.set->begin, 0);
    if (!fits) {
        complain(&unit->place, node->span, "an index of a map runs over a range 0 .. n");
        return false;
    }
    *out_index = (struct pattern_index){INDEX_RANGE, 0, range.set->end};
    return require_uniform(&unit->place, range.set->end, node->span, 0, "the extent of a map");
}

static const struct expr *map_body(struct unit *unit, const struct ast_decl *decl) {
    struct root *root = unit->place.root;
    struct place inside = unit->place;
    inside.scope = scope_new(root->checker, unit->place.scope, unit->place.limit);
    inside.variables = 0;
    for (const struct ast_item *item = decl->indices->first; item; item = item->next) {
        struct binding *binding =
            scope_declare(&inside, inside.scope, BIND_VALUE, "index", item->name);
        binding->value.expr = expr_ref(root->graph, item->name.span, OP_VAR, TYPE_INT,
                                       (uint16_t)inside.variables++, 0, NULL, 0);
    }
    inside.limit = inside.scope->count;
    const struct expr *body =
        lower_typed(&inside, decl->value, TYPE_BOOL,
                    arena_format(root->checker->arena, "map '%s'", decl->name.text));
    if (body && !require_uniform(&inside, body, decl->value->span, DEP_VAR, "a map"))
        return NULL;
    return body;
}

static bool same_map(const struct pattern_map *a, const struct pattern_map *b) {
    bool same = a->body == b->body && a->index_count == b->index_count;
    for (int i = 0; same && i < a->index_count; i++)
        same = a->indices[i].extent == b->indices[i].extent;
    return same;
}

static bool map_name_taken(const struct pattern *pattern, const char *name) {
    for (int i = 0; i < pattern->map_count; i++)
        if (strcmp(pattern->maps[i].name, name) == 0)
            return true;
    return false;
}

// A used pattern may bring a map several times, for other arguments: the later ones get numbers.
static const char *map_name(struct root *root, const char *name) {
    const char *unique = name;
    for (int number = 2; map_name_taken(root->pattern, unique); number++)
        unique = arena_format(root->checker->arena, "%s_%d", name, number);
    return unique;
}

static int place_map(struct unit *unit, struct pattern_map *map) {
    struct root *root = unit->place.root;
    struct pattern *pattern = root->pattern;
    for (int i = 0; i < pattern->map_count; i++)
        if (same_map(&pattern->maps[i], map))
            return i;
    if (pattern->map_count == MAX_DECLARED) {
        complain(&unit->place, map->span, "a pattern has at most %d maps", MAX_DECLARED);
        return -1;
    }
    map->name = map_name(root, map->name);
    pattern->maps = array_grow(root->checker->arena, pattern->maps, pattern->map_count,
                               &root->map_room, sizeof *pattern->maps);
    pattern->maps[pattern->map_count] = *map;
    return pattern->map_count++;
}

static int read_map(struct unit *unit, const struct ast_decl *decl) {
    struct pattern_map map = {.name = decl->name.text, .span = decl->name.span};
    bool good = true;
    if (decl->indices->count > MAX_INDICES) {
        complain(&unit->place, decl->name.span, "a map has at most %d indices", MAX_INDICES);
        return -1;
    }
    if (unit->place.variables > 0) {
        complain(&unit->place, decl->name.span,
                 "a pattern with a map cannot be used inside a quantifier");
        return -1;
    }
    for (const struct ast_item *item = decl->indices->first; item; item = item->next)
        good = map_extent(unit, item->value, &map.indices[map.index_count++]) && good;
    map.written = map.body = map_body(unit, decl);
    return good && map.body ? place_map(unit, &map) : -1;
}

void declare_maps(struct unit *unit, const struct ast_stmt *stmt) {
    for (const struct ast_decl *decl = stmt->decls; decl; decl = decl->next) {
        int index = read_map(unit, decl);
        struct binding *binding =
            declare(unit, index < 0 ? BIND_POISON : BIND_MAP, "map", decl->name);
        binding->index = (uint16_t)index;
    }
}
