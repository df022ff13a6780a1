// Stage check: the statements of a pattern, in order, and the pattern as a whole.

#include "dsl/checker.h"

bool require_uniform(const struct place *place, const struct expr *value, struct span span,
                     uint8_t allowed, const char *what) {
    static const struct {
        uint8_t dep;
        const char *text;
    } words[] = {{DEP_QUERY, "the query's position"},
                 {DEP_KEY, "the key's position"},
                 {DEP_HEAD, "the head"},
                 {DEP_BATCH, "the batch entry"},
                 {DEP_SCORE, "the logit"},
                 {DEP_VAR, "a quantifier's variable"},
                 {DEP_ARRAY, "an input or a map"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (value->deps & words[i].dep & ~allowed) {
            complain(place, span, "%s is computed once per plan, this depends on %s", what,
                     words[i].text);
            return false;
        }
    return true;
}

// ---- axes ------------------------------------------------------------------------------------

static void bad_axes(struct unit *unit) {
    unit->place.root->no_axes = true;
}

static void declare_axis(struct unit *unit, struct ast_name name) {
    const struct checker *checker = unit->place.root->checker;
    struct pattern *pattern = unit->place.root->pattern;
    bool known = name.text == checker->word_token || name.text == checker->word_segment;
    if (known)
        complain(&unit->place, name.span, "'%s' has a meaning of its own after q. and k.",
                 name.text);
    for (int i = 0; i < pattern->axis_count && !known; i++) {
        known = pattern->axes[i] == name.text;
        if (known)
            complain(&unit->place, name.span, "axis '%s' is declared twice", name.text);
    }
    if (known)
        bad_axes(unit);
    else
        pattern->axes[pattern->axis_count++] = name.text;
}

static void declare_axes(struct unit *unit, const struct ast_stmt *stmt) {
    struct pattern *pattern = unit->place.root->pattern;
    if (unit->axes) {
        complain(&unit->place, stmt->span, "a pattern has one 'axes' statement");
        remark(&unit->place, unit->axes->span, "the first is here");
        return;
    }
    unit->axes = stmt;
    if (unit->used) // compared with the user's axes by lower_use
        return;
    pattern->axes_span = stmt->span;
    if (stmt->names->count > MAX_AXES) {
        complain(&unit->place, stmt->span, "a pattern has at most %d axes, this has %u", MAX_AXES,
                 stmt->names->count);
        bad_axes(unit);
        return;
    }
    for (const struct ast_item *item = stmt->names->first; item; item = item->next)
        declare_axis(unit, item->name);
}

// Axes may be named before their statement, wherever it stands.
static void read_axes(struct unit *unit) {
    bool incomplete = unit->place.scope->incomplete;
    for (const struct ast_stmt *stmt = unit->decl->stmt->body; stmt; stmt = stmt->next)
        if (stmt->kind == STMT_AXES)
            declare_axes(unit, stmt);
    if (unit->axes)
        return;
    if (!incomplete)
        complain(&unit->place, unit->decl->stmt->name.span,
                 "pattern '%s' declares no axes: write 'axes i;' for a plain sequence",
                 unit->decl->stmt->name.text);
    bad_axes(unit);
}

// ---- require, keep, score --------------------------------------------------------------------

static void add_require(struct unit *unit, const struct ast_stmt *stmt,
                        const struct expr *condition) {
    struct root *root = unit->place.root;
    struct pattern *pattern = root->pattern;
    // A pattern used twice with the same arguments brings its requires once.
    struct memo_value *seen = memo_find(root, &(struct memo_key){.object = condition});
    if (seen->known)
        return;
    seen->known = true;
    if (pattern->require_count == MAX_DECLARED) {
        complain(&unit->place, stmt->span, "a pattern has at most %d 'require' statements",
                 MAX_DECLARED);
        return;
    }
    pattern->requires = array_grow(root->checker->arena, pattern->requires, pattern->require_count,
                                   &root->require_room, sizeof *pattern->requires);
    pattern->requires[pattern->require_count++] =
        (struct pattern_require){condition, stmt->text.text, stmt->value->span};
}

static void never_holds(struct unit *unit, const struct ast_stmt *stmt) {
    const struct pattern *pattern = unit->place.root->pattern;
    const char *message = stmt->text.text;
    complain(&unit->place, stmt->value->span, "this 'require' never holds%s%s", message ? ": " : "",
             message ? message : "");
    for (int i = 0; i < pattern->const_count; i++) {
        const char *value = override_of(unit, pattern->consts[i].name);
        if (value)
            remark(&unit->place, pattern->consts[i].span, "%s = %s (given)",
                   pattern->consts[i].name, value);
    }
}

static void read_require(struct unit *unit, const struct ast_stmt *stmt) {
    const struct expr *condition = lower_typed(&unit->place, stmt->value, TYPE_BOOL, "'require'");
    if (!condition ||
        !require_uniform(&unit->place, condition, stmt->value->span, DEP_HEAD, "a 'require'"))
        return;
    if (expr_is_bool(condition, false))
        never_holds(unit, stmt);
    else if (!expr_is_bool(condition, true))
        add_require(unit, stmt, condition);
}

static void read_keep(struct unit *unit, const struct ast_stmt *stmt) {
    if (stmt->level) {
        read_level(unit, stmt);
        return;
    }
    const struct expr *condition = lower_typed(&unit->place, stmt->value, TYPE_BOOL, "'keep'");
    if (!condition) {
        unit->keep_failed = true;
        return;
    }
    unit->keeps = array_grow(unit->place.root->checker->arena, unit->keeps, unit->keep_count,
                             &unit->keep_room, sizeof *unit->keeps);
    unit->keeps[unit->keep_count++] = condition;
}

static void read_score(struct unit *unit, const struct ast_stmt *stmt) {
    if (unit->score) {
        complain(&unit->place, stmt->span, "a pattern has one 'score'");
        remark(&unit->place, unit->score->span, "the first is here");
        return;
    }
    unit->score = stmt;
    struct place inside = unit->place;
    inside.in_score = true;
    unit->score_value = lower_typed(&inside, stmt->value, TYPE_REAL, "'score'");
}

// ---- all statements --------------------------------------------------------------------------

void declare_functions(const struct place *place, struct scope *scope,
                       const struct ast_stmt *statements) {
    for (const struct ast_stmt *stmt = statements; stmt; stmt = stmt->next) {
        if (stmt->kind != STMT_FN)
            continue;
        struct binding *binding =
            scope_declare(place, scope, BIND_FUNCTION, "function", stmt->name);
        binding->function = ARENA_NEW(place->root->checker->arena, struct function);
        binding->function->stmt = stmt;
        binding->function->scope = scope;
    }
}

static void check_functions(struct unit *unit) {
    for (struct binding *binding = unit->place.scope->first; binding; binding = binding->next)
        if (binding->kind == BIND_FUNCTION && binding->function->state == UNCHECKED)
            check_function(&unit->place, binding->function);
}

void read_statement(struct unit *unit, const struct ast_stmt *stmt) {
    switch (stmt->kind) {
    case STMT_CONST:
        declare_consts(unit, stmt);
        break;
    case STMT_PARAM:
        declare_params(unit, stmt);
        break;
    case STMT_INPUT:
        declare_inputs(unit, stmt);
        break;
    case STMT_LET:
        declare_lets(&unit->place, stmt->decls, "let");
        break;
    case STMT_MAP:
        declare_maps(unit, stmt);
        break;
    case STMT_STAGE:
        declare_stage(unit, stmt);
        break;
    case STMT_SELECT:
        declare_select(unit, stmt);
        break;
    case STMT_REQUIRE:
        read_require(unit, stmt);
        break;
    case STMT_KEEP:
        read_keep(unit, stmt);
        break;
    case STMT_SCORE:
        read_score(unit, stmt);
        break;
    case STMT_POOL:
        read_pool(unit, stmt);
        break;
    case STMT_ADD:
        read_level(unit, stmt);
        break;
    case STMT_BRANCH:
        read_branch(unit, stmt);
        break;
    case STMT_MERGE:
        read_merge(unit, stmt);
        break;
    case STMT_IMPORT:
        complain(&unit->place, stmt->span, "'import' stands outside of patterns");
        break;
    case STMT_LATER:
        if (stmt->name.text)
            scope_declare(&unit->place, unit->place.scope, BIND_POISON, "name", stmt->name);
        unit->place.limit = unit->place.scope->count;
        break;
    case STMT_AXES:
    case STMT_FN:
    case STMT_PATTERN:
        break;
    }
}

const struct expr *read_statements(struct unit *unit) {
    struct scope *scope = unit->place.scope;
    const struct ast_stmt *body = unit->decl->stmt->body;
    for (const struct ast_stmt *stmt = body; stmt; stmt = stmt->next)
        scope->incomplete = scope->incomplete || stmt->kind == STMT_LATER;
    scope->statements = body;
    read_axes(unit);
    declare_functions(&unit->place, scope, body);
    unit->place.limit = scope->count;
    for (const struct ast_stmt *stmt = body; stmt; stmt = stmt->next)
        read_statement(unit, stmt);
    if (!unit->used)
        check_functions(unit);
    if (unit->keep_failed)
        return NULL;
    if (unit->branching)
        return finish_branches(unit);
    if (unit->pooling)
        return finish_pooling(unit);
    if (unit->keep_count > 0)
        return join(&unit->place, OP_OR, unit->keeps, (uint32_t)unit->keep_count);
    if (!scope->incomplete)
        complain(&unit->place, unit->decl->stmt->name.span,
                 "pattern '%s' keeps nothing: it has no 'keep' statement",
                 unit->decl->stmt->name.text);
    return NULL;
}

// Different operations of an expression; counting stops past the limit.
static int count_operations(const struct expr *node, struct visits *visits, int count) {
    if (visits->marks[node->id] == visits->walk || count > MAX_OPERATIONS)
        return count;
    visits->marks[node->id] = visits->walk;
    for (int i = 0; i < node->arity; i++)
        count = count_operations(node->args[i], visits, count);
    return count + 1;
}

// Later stages walk the graph by recursion and the reference by the text form, and compile time
// grows faster than the number of operations: all three are bounded.
static void check_extent(struct unit *unit, struct visits *visits, const struct expr *root,
                         struct span span) {
    if (!root)
        return;
    visits->walk++;
    if (root->id >= visits->room || visits->graph != unit->place.root->graph) {
        visits->graph = unit->place.root->graph;
        visits->room = visits->graph->count * 2;
        visits->marks = ARENA_ARRAY(visits->graph->arena, uint32_t, visits->room);
    }
    if (root->depth > EXPR_DEPTH_LIMIT)
        complain(&unit->place, span, "more than %d operations inside each other", EXPR_DEPTH_LIMIT);
    else if (root->weight > EXPR_WEIGHT_LIMIT)
        complain(&unit->place, span,
                 "the pattern expands to too much: more than %d operations when written out",
                 EXPR_WEIGHT_LIMIT);
    else if (count_operations(root, visits, 0) > MAX_OPERATIONS)
        complain(&unit->place, span,
                 "more than the %d different operations in one expression that this version "
                 "compiles; long lists belong in an input",
                 MAX_OPERATIONS);
}

static void check_extents(struct unit *unit) {
    const struct pattern *pattern = unit->place.root->pattern;
    struct span span = unit->decl->stmt->name.span;
    struct visits *visits = &unit->place.root->checker->visits;
    check_extent(unit, visits, pattern->keep, span);
    for (int i = 0; i < pattern->source_count; i++) {
        check_extent(unit, visits, pattern->sources[i].keep, pattern->sources[i].span);
        check_extent(unit, visits, pattern->sources[i].weight, pattern->sources[i].span);
    }
    check_extent(unit, visits, pattern->score, span);
    for (int i = 0; i < pattern->param_count; i++)
        check_extent(unit, visits, pattern->params[i].fallback, pattern->params[i].span);
    for (int i = 0; i < pattern->map_count; i++) {
        check_extent(unit, visits, pattern->maps[i].body, pattern->maps[i].span);
        for (int j = 0; j < pattern->maps[i].index_count; j++)
            check_extent(unit, visits, pattern->maps[i].indices[j].extent, pattern->maps[i].span);
    }
    for (int i = 0; i < pattern->require_count; i++)
        check_extent(unit, visits, pattern->requires[i].condition, pattern->requires[i].span);
    for (int i = 0; i < pattern->input_count; i++) {
        const struct pattern_input *input = &pattern->inputs[i];
        const struct expr *const *at;
        for (int j = 0; j < input->index_count; j++)
            check_extent(unit, visits, input->indices[j].extent, input->span);
        for (int j = 0; (at = pattern_derived_part(input, j)); j++)
            check_extent(unit, visits, *at, input->span);
    }
}

// What a use of the pattern wants to know without reading the statements again.
static void summarise(struct checker *checker, struct pattern_decl *decl) {
    struct ast_name *params = NULL;
    int count = 0, room = 0;
    for (const struct ast_stmt *stmt = decl->stmt->body; stmt; stmt = stmt->next) {
        if (stmt->kind == STMT_AXES)
            decl->axes = stmt;
        if (stmt->kind == STMT_SCORE || stmt->kind == STMT_STAGE || stmt->kind == STMT_SELECT)
            decl->score = stmt;
        bool several = stmt->kind == STMT_POOL || stmt->kind == STMT_BRANCH || stmt->level;
        if (several && !decl->pool)
            decl->pool = stmt;
        if (stmt->kind != STMT_PARAM && stmt->kind != STMT_CONST)
            continue;
        for (const struct ast_decl *param = stmt->decls; param; param = param->next) {
            params = array_grow(checker->arena, params, count, &room, sizeof *params);
            params[count++] = param->name;
        }
    }
    decl->params = params;
    decl->param_count = (uint32_t)count;
}

void check_pattern(struct checker *checker, struct pattern_decl *decl) {
    struct expr_graph *graph = checker->scratch;
    if (decl == checker->chosen) {
        graph = ARENA_NEW(checker->arena, struct expr_graph);
        expr_graph_init(graph, checker->arena);
    }
    struct root *root = root_new(checker, graph);
    uint32_t errors_before = checker->diags->error_count;
    struct pattern *pattern = root->pattern;
    decl->state = CHECKING;
    decl->pattern = pattern;
    summarise(checker, decl);
    pattern->name = decl->stmt->name.text;
    pattern->path = checker->diags->sources[decl->file->source].path;
    struct unit unit = {.decl = decl};
    unit.place = (struct place){.root = root,
                                .scope = scope_new(checker, decl->file->functions, UINT32_MAX),
                                .head = root->head};
    pattern->written = pattern->keep = read_statements(&unit);
    pattern->score = unit.score_value;
    check_pooled_score(&unit);
    check_extents(&unit);
    decl->state = checker->diags->error_count == errors_before ? CHECKED : BROKEN;
}
