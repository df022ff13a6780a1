// Stage check: rows, the vectors of the head dim that stages compute with, and reductions.
//
// A row (q[head, token], or an element of a stage of rows) is an expression that has a value for
// each dim: DEP_ROW. Operations on it are those on its elements, so rows need none of their own:
//
//   dot(a, b)                           DIM_SUM(a * b)
//   mean x in a .. b : k[kv_head, x]    SUM_OVER(a, b, 1, TENSOR(kv_head, x)) / (b - a)
//   mean(q, 64)[h, b]                   an element of a stage of its own (check_pooled.c)

#include "dsl/check_row.h"

#include <string.h>

const struct expr *stage_token_count(const struct place *place, struct span span) {
    const struct expr *count = node_int(place, span, 1);
    for (int i = 0; i < place->root->pattern->axis_count; i++)
        count = node2(place, span, OP_MUL, count, node_leaf(place, span, OP_SIZE, TYPE_INT, i));
    return count;
}

// The first query's token; 0 where there are more queries than keys.
const struct expr *stage_first_query(const struct place *place, struct span span) {
    const struct expr *queries = node_leaf(place, span, OP_QUERIES, TYPE_INT, 0);
    return node2(place, span, OP_MAX, node_int(place, span, 0),
                 node2(place, span, OP_SUB, stage_token_count(place, span), queries));
}

bool stage_only(const struct place *place, struct span span, const char *what) {
    if (place->in_stage)
        return true;
    complain(place, span, "%s stands in stages and selections only", what);
    return false;
}

const struct expr *stage_value(const struct place *place, const struct ast *node, enum type type,
                               const char *what) {
    const struct expr *value = lower_typed(place, node, type, what);
    if (!value)
        return NULL;
    if (is_row(value)) {
        complain(place, node->span,
                 "%s takes one value, not a row: dot(a, b) and sum(row) make one", what);
        return NULL;
    }
    if (value->deps & (DEP_QUERY | DEP_KEY | DEP_SCORE)) {
        complain(place, node->span,
                 "%s is computed before the attention: it has no query, key or logit", what);
        return NULL;
    }
    return value;
}

// ---- rows ------------------------------------------------------------------------------------

// An index of kind kv_head: `head` stands for that head's own.
static const struct expr *kv_head_of(const struct place *place, const struct expr *index) {
    if (index->op != OP_HEAD)
        return index;
    return node_leaf(place, index->span, OP_KV_HEAD, TYPE_INT, 0);
}

const struct expr *tensor_row(const struct place *place, struct span span, int side,
                              const struct expr *head, const struct expr *token) {
    const struct expr *args[] = {side == SIDE_KEY ? kv_head_of(place, head) : head, token};
    return expr_ref(place->root->graph, span, OP_TENSOR, TYPE_REAL, 0, (uint16_t)side, args, 2);
}

static const struct expr *index_value(const struct place *place, const struct ast *node) {
    return stage_value(place, node, TYPE_INT, "an index");
}

bool two_indices(const struct place *place, const struct ast *node, const struct expr **out) {
    if (!node->as.list || node->as.list->count != 2) {
        complain(place, node->span, "'%s' takes a head and a token: %s[%s, ...]", node->name.text,
                 node->name.text, node->name.text[0] == 'k' ? "kv_head" : "head");
        return false;
    }
    out[0] = index_value(place, node->as.list->first->value);
    out[1] = index_value(place, node->as.list->last->value);
    return out[0] && out[1];
}

// q[head, token], k[kv_head, token]
struct operand stage_row(const struct place *place, const struct ast *node) {
    const struct expr *indices[2];
    int side = node->name.text == place->root->checker->word_q ? SIDE_QUERY : SIDE_KEY;
    if (!stage_only(place, node->span, side == SIDE_QUERY ? "a row q[...]" : "a row k[...]") ||
        !two_indices(place, node, indices))
        return (struct operand){0};
    return (struct operand){.expr = tensor_row(place, node->span, side, indices[0], indices[1])};
}

// Whether an index is an earlier stage's own kind of head.
static const struct expr *fitting_index(const struct place *place,
                                        const struct pattern_index *index,
                                        const struct expr *value) {
    return index->kind == INDEX_KV_HEAD ? kv_head_of(place, value) : value;
}

// An element of a stage or a selection's set or level; `node` has the written indices.
struct operand read_derived(const struct place *place, const struct ast *node, uint16_t number) {
    const struct pattern_input *input = &place->root->pattern->inputs[number];
    const struct pattern_derived *derived = input->derived;
    const struct expr *args[MAX_INDICES];
    uint32_t given = node->as.list ? node->as.list->count : 0;
    int first = derived->implicit_batch;
    bool is_set = pattern_is_set(input), good = true;
    int wanted = input->index_count - first - is_set - derived->rows, at = first;
    if ((int)given != wanted) {
        complain(place, node->span, "'%s' takes %d ind%s, saw %u", input->name, wanted,
                 wanted == 1 ? "ex" : "ices", given);
        remark(place, input->span, "'%s' is declared here", input->name);
        return (struct operand){0};
    }
    args[0] = node_leaf(place, node->span, OP_BATCH, TYPE_INT, 0);
    for (const struct ast_item *item = node->as.list ? node->as.list->first : NULL; item;
         item = item->next, at++) {
        const struct expr *value = lower_typed(place, item->value, TYPE_INT, "an index");
        if (value && is_row(value))
            value = index_value(place, item->value);
        args[at] = value ? fitting_index(place, &input->indices[at], value) : NULL;
        good = good && value;
    }
    if (!good)
        return (struct operand){0};
    if (is_set)
        return lower_input_set(place, node, number, args, (uint32_t)at);
    bool stage = place->in_stage && input->type == TYPE_REAL;
    if (derived->rows && !stage_only(place, node->span, "a row"))
        return (struct operand){0};
    return (struct operand){.expr = expr_ref(place->root->graph, node->span,
                                             stage ? OP_STAGE : OP_INPUT, input->type, number,
                                             stage && derived->rows, args, (uint8_t)at)};
}

// ---- reductions ------------------------------------------------------------------------------

// `op` of `body` over begin .. end; `mean` divides.
const struct expr *make_reduction(const struct place *place, struct span span, enum ast_op op,
                                  int variable, const struct expr *begin, const struct expr *end,
                                  const struct expr *step, const struct expr *body) {
    const struct expr *one = node_int(place, span, 1);
    const struct expr *args[] = {begin, end, step ? step : one, body};
    enum op row = op == AST_MAX ? OP_MAX_OVER : op == AST_MIN ? OP_MIN_OVER : OP_SUM_OVER;
    const struct expr *value =
        expr_ref(place->root->graph, span, row, TYPE_REAL, (uint16_t)variable, 0, args, 4);
    place->root->quantifiers++;
    if (op != AST_MEAN)
        return value;
    const struct expr *length = node2(place, span, OP_SUB, end, begin);
    if (step)
        length = node2(place, span, OP_CEILDIV, length, step);
    const struct expr *count =
        node1(place, span, OP_TO_REAL, node2(place, span, OP_MAX, one, length));
    return node2(place, span, OP_RDIV, value, count);
}

static const struct expr *variable_of(const struct place *place, struct span span) {
    if (place->variables < MAX_VARS)
        return node_leaf(place, span, OP_VAR, TYPE_INT, place->variables);
    complain(place, span, "indices, quantifiers and reductions are at most %d deep", MAX_VARS);
    return NULL;
}

struct operand lower_reduce(const struct place *place, const struct ast *node) {
    struct operand over = lower(place, node->as.args[0]);
    const struct expr *variable = variable_of(place, node->span);
    bool range = over.set && over.set->kind == SET_RANGE;
    place->root->checker->last_variable = node->name.text;
    if (!stage_only(place, node->span, "a reduction"))
        return (struct operand){0};
    if (!is_poison(over) && (!range || over.set->deps & DEP_ROW))
        complain(place, node->as.args[0]->span,
                 "a reduction runs over a range: %s %s in 0 .. 64 : ...", ast_ops[node->op].surface,
                 node->name.text);
    struct place inside = *place;
    struct scope *scope = scope_new(inside.root->checker, inside.scope, inside.limit);
    struct binding *binding = scope_declare(
        &inside, scope, range && variable ? BIND_VALUE : BIND_POISON, "variable", node->name);
    binding->value.expr = variable;
    inside.scope = scope;
    inside.limit = scope->count;
    inside.variables++;
    const struct expr *body = lower_typed(&inside, node->as.args[1], TYPE_REAL, "a reduction");
    if (!body || !range || !variable)
        return (struct operand){0};
    return (struct operand){.expr = make_reduction(place, node->span, node->op, place->variables,
                                                   over.set->begin, over.set->end, over.set->step,
                                                   body)};
}

// The extent of an index as an expression.
const struct expr *extent_of(const struct place *place, struct span span,
                             const struct pattern_index *index) {
    switch (index->kind) {
    case INDEX_HEAD:
        return node_leaf(place, span, OP_HEADS, TYPE_INT, 0);
    case INDEX_AXIS:
        return node_leaf(place, span, OP_SIZE, TYPE_INT, index->axis);
    case INDEX_TOKEN:
        return stage_token_count(place, span);
    case INDEX_BLOCKS:
        return node2(place, span, OP_CEILDIV,
                     node_leaf(place, span, OP_SIZE, TYPE_INT, index->axis), index->extent);
    case INDEX_RANGE:
        return index->extent;
    default:
        return NULL;
    }
}

// The index of `scope` with this name or of this coordinate; -1: none.
static int index_named(const struct stage_scope *scope, const struct pattern_derived *other,
                       const struct pattern_index *index, int number) {
    for (int i = 0; i < scope->derived.index_count; i++) {
        bool head =
            index->kind == INDEX_HEAD || index->kind == INDEX_KV_HEAD || index->kind == INDEX_BATCH;
        const char *name = other->names[number];
        if (head ? scope->input.indices[i].kind == index->kind
                 : name && scope->derived.names[i] && strcmp(scope->derived.names[i], name) == 0)
            return i;
    }
    return -1;
}

// sum r of A, sum along diagonals of A: the other indices are those of this stage by name.
struct operand lower_reduce_of(const struct place *place, const struct ast *node) {
    const struct ast *name = node->as.args[0];
    struct binding *binding = place_find(place, name->name.text);
    const struct pattern_input *input = binding && binding->kind == BIND_INPUT
                                            ? &place->root->pattern->inputs[binding->index]
                                            : NULL;
    struct stage_scope *scope = place->stage;
    struct span span = node->span;
    if (!stage_only(place, span, "a reduction") || !scope)
        return (struct operand){0};
    if (!input || !input->derived || input->derived->is_select) {
        complain(place, name->span, "'%s' is no earlier stage", name->name.text);
        return (struct operand){0};
    }
    const struct pattern_derived *of = input->derived;
    bool diagonals = !node->name.text, found = diagonals;
    const struct expr *args[MAX_INDICES], *variable = variable_of(place, span);
    int last = of->index_count - 1, reduced = diagonals ? last - 1 : -1;
    for (int i = 0; i <= last && !diagonals; i++)
        if (of->names[i] && strcmp(of->names[i], node->name.text) == 0)
            reduced = i, found = true;
    if (!found || !variable || reduced < of->implicit_batch ||
        !extent_of(place, span, &input->indices[reduced])) {
        complain(place, span,
                 diagonals ? "'%s' has no two last indices with diagonals"
                           : "the stage '%s' has no such index",
                 name->name.text);
        remark(place, input->span, "'%s' is declared here", name->name.text);
        return (struct operand){0};
    }
    const struct expr *rows = extent_of(place, span, &input->indices[reduced]);
    const struct expr *columns = extent_of(place, span, &input->indices[last]);
    for (int i = 0; i <= last; i++) {
        int own = index_named(scope, of, &input->indices[i], i);
        if (i == reduced) {
            args[i] = variable;
        } else if (diagonals && i == last) {
            // The last row and the last column are the same position.
            int at = scope->derived.index_count - 1;
            if (scope->names[at].unsized) {
                scope->input.indices[at] = (struct pattern_index){INDEX_RANGE, 0, columns};
                scope->names[at].unsized = false;
            }
            const struct expr *position =
                node2(place, span, OP_ADD, variable, node2(place, span, OP_SUB, columns, rows));
            args[i] = node2(place, span, OP_SUB, position, scope->names[at].value);
        } else if (own >= 0) {
            args[i] = scope->names[own].value;
        } else {
            complain(place, span, "no index of this stage is '%s' of '%s'",
                     of->names[i] ? of->names[i] : "the index", name->name.text);
            return (struct operand){0};
        }
    }
    const struct expr *body = expr_ref(place->root->graph, span, OP_STAGE, TYPE_REAL,
                                       binding->index, of->rows, args, (uint8_t)(last + 1));
    return (struct operand){.expr = make_reduction(place, span, node->op, place->variables,
                                                   node_int(place, span, 0), rows, NULL, body)};
}
