// Stage check: the statement of a stage, an array that is computed from q and k before the
// attention; what selections share with it.
//
// Every array has the batch entry as its first index, whether it is written or not: two entries
// have other queries and keys.

#include "dsl/check_row.h"

#include <string.h>

// A coordinate (k.i) as the type of an index.
static bool coordinate_index(struct unit *unit, const struct ast *node, struct stage_scope *scope,
                             int at) {
    const struct checker *checker = unit->place.root->checker;
    const struct pattern *pattern = unit->place.root->pattern;
    if (node->kind != AST_MEMBER ||
        (node->name.text != checker->word_q && node->name.text != checker->word_k))
        return false;
    int axis = pattern->axis_count - 1;
    while (axis >= 0 && pattern->axes[axis] != node->as.member.text)
        axis--;
    if (axis < 0 && node->as.member.text != checker->word_token)
        return false;
    scope->names[at].side = node->name.text == checker->word_q ? SIDE_QUERY : SIDE_KEY;
    scope->names[at].axis = axis;
    scope->input.indices[at] = (struct pattern_index){axis < 0 ? INDEX_TOKEN : INDEX_AXIS,
                                                      (uint16_t)(axis < 0 ? 0 : axis), NULL};
    scope->derived.names[at] =
        arena_format(checker->arena, "%s.%s", node->name.text, node->as.member.text);
    return true;
}

// A name that is no type: an index whose extent follows from what is computed.
static bool is_free_name(const struct unit *unit, const struct ast *node) {
    const struct checker *checker = unit->place.root->checker;
    const struct pattern *pattern = unit->place.root->pattern;
    bool known = node->kind != AST_NAME;
    if (known)
        return false;
    const char *name = node->name.text;
    for (int i = 0; i < pattern->axis_count; i++)
        known = known || pattern->axes[i] == name;
    return !known && name != checker->word_head && name != checker->word_kv_head &&
           name != checker->word_batch && name != checker->word_token;
}

static bool read_index(struct unit *unit, const struct ast_item *item, struct stage_scope *scope,
                       int at) {
    const struct ast *node = item->value;
    scope->names[at].side = -1;
    scope->derived.names[at] = item->name.text;
    if (item->name.text && (node->kind == AST_RANGE || node->kind == AST_SET))
        return map_extent(unit, node, &scope->input.indices[at]);
    if (!item->name.text && coordinate_index(unit, node, scope, at))
        return true;
    if (!item->name.text && is_free_name(unit, node)) {
        scope->derived.names[at] = node->name.text;
        scope->names[at].unsized = true;
        return true;
    }
    return input_index(unit, node, &scope->input.indices[at]);
}

static void bind_index(struct stage_scope *scope, int at, struct ast_name name) {
    struct place *place = &scope->place;
    if (!name.text)
        return;
    struct binding *binding = scope_declare(place, place->scope, BIND_VALUE, "index", name);
    binding->value.expr = scope->names[at].value;
    scope->derived.names[at] = name.text;
}

// The value of an index inside of the stage: the head's and the batch's own, or a variable.
static void value_index(struct stage_scope *scope, int at, struct span span) {
    struct place *place = &scope->place;
    enum index_kind kind = scope->input.indices[at].kind;
    enum op op = kind == INDEX_HEAD      ? OP_HEAD
                 : kind == INDEX_KV_HEAD ? OP_KV_HEAD
                 : kind == INDEX_BATCH   ? OP_BATCH
                                         : OP_VAR;
    if (scope->names[at].unsized)
        op = OP_VAR;
    scope->derived.index_var[at] = -1;
    if (op == OP_VAR)
        scope->derived.index_var[at] = (int8_t)place->variables++;
    scope->names[at].value =
        node_leaf(place, span, op, TYPE_INT, op == OP_VAR ? scope->derived.index_var[at] : 0);
}

static bool has_batch(const struct unit *unit, const struct ast_list *indices) {
    for (const struct ast_item *item = indices->first; item; item = item->next)
        if (item->value->kind == AST_NAME &&
            item->value->name.text == unit->place.root->checker->word_batch)
            return true;
    return false;
}

bool stage_open(struct unit *unit, const struct ast_derived *decl, struct stage_scope *scope) {
    struct checker *checker = unit->place.root->checker;
    memset(scope, 0, sizeof *scope);
    scope->place = unit->place;
    scope->place.scope = scope_new(checker, unit->place.scope, unit->place.limit);
    scope->place.variables = 0;
    scope->place.in_stage = true;
    scope->place.stage = scope;
    scope->derived.implicit_batch = !has_batch(unit, decl->indices);
    int first = scope->derived.implicit_batch, at = first;
    if (decl->indices->count + (uint32_t)first > MAX_INDICES) {
        complain(&unit->place, decl->name.span, "'%s' has at most %d indices", decl->name.text,
                 MAX_INDICES - first);
        return false;
    }
    if (decl->as && decl->as->count != decl->indices->count) {
        complain(&unit->place, decl->as->first->name.span, "'as' names %u indices, '%s' has %u",
                 decl->as->count, decl->name.text, decl->indices->count);
        return false;
    }
    if (first) {
        scope->input.indices[0].kind = INDEX_BATCH;
        scope->names[0].side = -1;
        value_index(scope, 0, decl->name.span);
    }
    const struct ast_item *as = decl->as ? decl->as->first : NULL;
    bool good = true;
    for (const struct ast_item *item = decl->indices->first; item; item = item->next, at++) {
        scope->derived.index_count = at + 1;
        good = read_index(unit, item, scope, at) && good;
        value_index(scope, at, item->value->span);
        struct ast_name name = item->name;
        if (scope->names[at].unsized)
            name = item->value->name;
        bind_index(scope, at, as ? as->name : name);
        as = as ? as->next : NULL;
    }
    scope->place.limit = scope->place.scope->count;
    return good;
}

// Does an expression read this operation?
static bool reads(const struct expr *node, enum op op) {
    bool found =
        node->op == op || (op == OP_HEAD && node->op == OP_TABLE && reads(node->args[0], op));
    for (int i = 0; i < node->arity && !found; i++)
        found = reads(node->args[i], op);
    return found;
}

// `head` and `kv_head` are known where an index is one.
static bool heads_known(struct unit *unit, const struct stage_scope *scope) {
    const struct pattern_derived *d = &scope->derived;
    const struct expr *all[] = {d->value,  d->where, d->begin, d->end,  d->amount,
                                d->forced, d->least, d->most,  d->reach};
    bool head = false, kv_head = false;
    for (int i = 0; i < d->index_count; i++) {
        head = head || scope->input.indices[i].kind == INDEX_HEAD;
        kv_head = kv_head || scope->input.indices[i].kind == INDEX_KV_HEAD;
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i] || all[i]->weight > EXPR_WEIGHT_LIMIT)
            continue;
        const char *missing = !head && reads(all[i], OP_HEAD)                  ? "head"
                              : !head && !kv_head && reads(all[i], OP_KV_HEAD) ? "kv_head"
                                                                               : NULL;
        if (!missing)
            continue;
        complain(&unit->place, all[i]->span, "'%s' is not known here: no index is one", missing);
        return false;
    }
    return true;
}

bool stage_close(struct unit *unit, struct stage_scope *scope, const char *what,
                 struct ast_name name) {
    struct root *root = unit->place.root;
    for (int i = 0; i < scope->derived.index_count; i++)
        if (scope->names[i].unsized) {
            complain(&unit->place, name.span,
                     "how many '%s' there are is not said: write %s in 0 .. n",
                     scope->derived.names[i], scope->derived.names[i]);
            return false;
        }
    if (!heads_known(unit, scope))
        return false;
    struct pattern_input input = scope->input;
    struct pattern_derived *derived = ARENA_NEW(root->checker->arena, struct pattern_derived);
    *derived = scope->derived;
    input.name = name.text;
    input.span = name.span;
    input.derived = derived;
    input.index_count = derived->index_count;
    if (derived->rows || derived->is_select) {
        if (input.index_count == MAX_INDICES) {
            complain(&unit->place, name.span, "%s has at most %d indices", what,
                     MAX_INDICES - 1 - derived->implicit_batch);
            return false;
        }
        input.indices[input.index_count++] =
            (struct pattern_index){.kind = derived->rows ? INDEX_DIM : INDEX_WIDTH};
    }
    int number = stage_add_array(&unit->place, &input);
    if (number < 0)
        return false;
    struct binding *binding =
        scope_declare(&unit->place, unit->place.scope, BIND_INPUT, what, name);
    binding->index = (uint16_t)number;
    unit->place.limit = unit->place.scope->count;
    return true;
}

// softmax(E) -> E
static const struct ast *inside_softmax(struct unit *unit, const struct ast *node,
                                        bool *out_softmax) {
    *out_softmax = node->kind == AST_CALL && strcmp(node->name.text, "softmax") == 0 &&
                   !place_find(&unit->place, node->name.text);
    if (!*out_softmax)
        return node;
    if (node->as.list && node->as.list->count == 1)
        return node->as.list->first->value;
    complain(&unit->place, node->span, "'softmax' takes one value: softmax(scale * dot(a, b))");
    return NULL;
}

// A product with bare k is the attention's own logit: of queries that there are, and of keys up to
// theirs.
static void make_causal(struct stage_scope *scope, struct span span) {
    const struct place *place = &scope->place;
    for (int i = 0; i < scope->derived.index_count; i++)
        if (scope->logit && scope->names[i].side == SIDE_QUERY) {
            const struct expr *causal =
                node2(place, span, OP_LE, scope->names[scope->derived.index_count - 1].value,
                      scope->names[i].value);
            causal = node2(
                place, span, OP_AND, causal,
                node2(place, span, OP_LE, stage_first_query(place, span), scope->names[i].value));
            scope->derived.where = scope->derived.where
                                       ? node2(place, span, OP_AND, scope->derived.where, causal)
                                       : causal;
        }
}

static bool read_stage(struct unit *unit, const struct ast_derived *decl,
                       struct stage_scope *scope) {
    if (!stage_open(unit, decl, scope))
        return false;
    const struct ast *body = inside_softmax(unit, decl->value, &scope->derived.softmax);
    const struct expr *value = body ? lower_typed(&scope->place, body, TYPE_REAL, "a stage") : NULL;
    if (decl->where) {
        scope->derived.where =
            stage_value(&scope->place, decl->where, TYPE_BOOL, "the condition of a stage");
        if (!scope->derived.where)
            return false;
    }
    if (!value)
        return false;
    scope->derived.rows = is_row(value);
    scope->derived.value = value;
    scope->input.type = TYPE_REAL;
    if (scope->derived.softmax && scope->derived.rows) {
        complain(&scope->place, body->span, "'softmax' is of values, not of rows");
        return false;
    }
    if (value->deps & (DEP_QUERY | DEP_KEY | DEP_SCORE)) {
        complain(&scope->place, body->span,
                 "a stage is computed before the attention: it has no query, key or logit");
        return false;
    }
    make_causal(scope, decl->value->span);
    return true;
}

void declare_stage(struct unit *unit, const struct ast_stmt *stmt) {
    struct stage_scope scope;
    if (!read_stage(unit, stmt->derived, &scope) ||
        !stage_close(unit, &scope, "stage", stmt->derived->name)) {
        scope_declare(&unit->place, unit->place.scope, BIND_POISON, "stage", stmt->derived->name);
        unit->place.limit = unit->place.scope->count;
    }
}
