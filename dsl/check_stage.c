// Stage check: stages, arrays that are computed from q and k before the attention.
//
// A row (q[head, token], or an element of a stage of rows) is an expression that has a value for
// each dim: DEP_ROW. Operations on it are those on its elements, so rows need none of their own:
//
//   dot(a, b)             DIM_SUM(a * b)
//   mean x in a .. b : k[kv_head, x]    SUM_OVER(a, b, 1, TENSOR(kv_head, x)) / (b - a)
//   mean(q, 64)[h, b]     an element of a stage of its own, which no name finds
//
// Every array has the batch entry as its first index, whether it is written or not: two entries
// have other queries and keys.

#include "dsl/checker.h"

#include <string.h>

static const struct expr *integer(const struct place *place, struct span span, int64_t value) {
    return expr_int(place->root->graph, span, value);
}

static const struct expr *make1(const struct place *place, struct span span, enum op op,
                                const struct expr *a) {
    return expr_make(place->root->graph, span, op, &a);
}

static const struct expr *make2(const struct place *place, struct span span, enum op op,
                                const struct expr *a, const struct expr *b) {
    return expr_make(place->root->graph, span, op, (const struct expr *[]){a, b});
}

static const struct expr *leaf(const struct place *place, struct span span, enum op op,
                               enum type type, int index) {
    return expr_ref(place->root->graph, span, op, type, (uint16_t)index, 0, NULL, 0);
}

static bool is_row(const struct expr *node) {
    return node->deps & DEP_ROW;
}

const struct expr *stage_token_count(const struct place *place, struct span span) {
    const struct expr *count = integer(place, span, 1);
    for (int i = 0; i < place->root->pattern->axis_count; i++)
        count = make2(place, span, OP_MUL, count, leaf(place, span, OP_SIZE, TYPE_INT, i));
    return count;
}

// The first query's token; 0 where there are more queries than keys.
static const struct expr *first_query(const struct place *place, struct span span) {
    const struct expr *queries = leaf(place, span, OP_QUERIES, TYPE_INT, 0);
    return make2(place, span, OP_MAX, integer(place, span, 0),
                 make2(place, span, OP_SUB, stage_token_count(place, span), queries));
}

static bool in_stage(const struct place *place, struct span span, const char *what) {
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
    return leaf(place, index->span, OP_KV_HEAD, TYPE_INT, 0);
}

static const struct expr *tensor_row(const struct place *place, struct span span, int side,
                                     const struct expr *head, const struct expr *token) {
    const struct expr *args[] = {side == SIDE_KEY ? kv_head_of(place, head) : head, token};
    return expr_ref(place->root->graph, span, OP_TENSOR, TYPE_REAL, 0, (uint16_t)side, args, 2);
}

static const struct expr *index_value(const struct place *place, const struct ast *node) {
    return stage_value(place, node, TYPE_INT, "an index");
}

static bool two_indices(const struct place *place, const struct ast *node,
                        const struct expr **out) {
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
    if (!in_stage(place, node->span, side == SIDE_QUERY ? "a row q[...]" : "a row k[...]") ||
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
    args[0] = leaf(place, node->span, OP_BATCH, TYPE_INT, 0);
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
    if (derived->rows && !in_stage(place, node->span, "a row"))
        return (struct operand){0};
    return (struct operand){.expr = expr_ref(place->root->graph, node->span,
                                             stage ? OP_STAGE : OP_INPUT, input->type, number,
                                             stage && derived->rows, args, (uint8_t)at)};
}

// ---- reductions ------------------------------------------------------------------------------

// `op` of `body` over begin .. end; `mean` divides.
static const struct expr *reduction(const struct place *place, struct span span, enum ast_op op,
                                    int variable, const struct expr *begin, const struct expr *end,
                                    const struct expr *step, const struct expr *body) {
    const struct expr *one = integer(place, span, 1);
    const struct expr *args[] = {begin, end, step ? step : one, body};
    enum op row = op == AST_MAX ? OP_MAX_OVER : op == AST_MIN ? OP_MIN_OVER : OP_SUM_OVER;
    const struct expr *value =
        expr_ref(place->root->graph, span, row, TYPE_REAL, (uint16_t)variable, 0, args, 4);
    place->root->quantifiers++;
    if (op != AST_MEAN)
        return value;
    const struct expr *length = make2(place, span, OP_SUB, end, begin);
    if (step)
        length = make2(place, span, OP_CEILDIV, length, step);
    const struct expr *count =
        make1(place, span, OP_TO_REAL, make2(place, span, OP_MAX, one, length));
    return make2(place, span, OP_RDIV, value, count);
}

static const struct expr *variable_of(const struct place *place, struct span span) {
    if (place->variables < MAX_VARS)
        return leaf(place, span, OP_VAR, TYPE_INT, place->variables);
    complain(place, span, "indices, quantifiers and reductions are at most %d deep", MAX_VARS);
    return NULL;
}

struct operand lower_reduce(const struct place *place, const struct ast *node) {
    struct operand over = lower(place, node->as.args[0]);
    const struct expr *variable = variable_of(place, node->span);
    bool range = over.set && over.set->kind == SET_RANGE;
    place->root->checker->last_variable = node->name.text;
    if (!in_stage(place, node->span, "a reduction"))
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
    return (struct operand){.expr =
                                reduction(place, node->span, node->op, place->variables,
                                          over.set->begin, over.set->end, over.set->step, body)};
}

// The extent of an index as an expression.
static const struct expr *extent_of(const struct place *place, struct span span,
                                    const struct pattern_index *index) {
    switch (index->kind) {
    case INDEX_HEAD:
        return leaf(place, span, OP_HEADS, TYPE_INT, 0);
    case INDEX_AXIS:
        return leaf(place, span, OP_SIZE, TYPE_INT, index->axis);
    case INDEX_TOKEN:
        return stage_token_count(place, span);
    case INDEX_BLOCKS:
        return make2(place, span, OP_CEILDIV, leaf(place, span, OP_SIZE, TYPE_INT, index->axis),
                     index->extent);
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
    if (!in_stage(place, span, "a reduction") || !scope)
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
                make2(place, span, OP_ADD, variable, make2(place, span, OP_SUB, columns, rows));
            args[i] = make2(place, span, OP_SUB, position, scope->names[at].value);
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
    return (struct operand){.expr = reduction(place, span, node->op, place->variables,
                                              integer(place, span, 0), rows, NULL, body)};
}

// ---- pooling ---------------------------------------------------------------------------------

// What is pooled: q, k (side), or a stage of rows.
struct pooled {
    int side; // -1: a stage
    uint16_t stage;
};

static bool find_pooled(const struct place *place, const struct ast *node, struct pooled *out) {
    const struct checker *checker = place->root->checker;
    const char *name = node->kind == AST_NAME ? node->name.text : NULL;
    const struct binding *binding = name ? place_find(place, name) : NULL;
    out->side = name == checker->word_q ? SIDE_QUERY : SIDE_KEY;
    if (name && !binding && (name == checker->word_q || name == checker->word_k))
        return true;
    out->side = -1;
    out->stage = 0;
    if (binding && binding->kind == BIND_INPUT) {
        const struct pattern_input *input = &place->root->pattern->inputs[binding->index];
        out->stage = binding->index;
        if (input->derived && input->derived->rows)
            return true;
    }
    complain(place, node->span, "what is pooled is q, k or a stage of rows");
    return false;
}

static bool same_stage(const struct pattern_input *a, const struct pattern_input *b) {
    bool same = a->derived && a->derived->value == b->derived->value && !a->derived->where &&
                !a->derived->is_select && !a->derived->softmax && a->index_count == b->index_count;
    for (int i = 0; same && i < a->index_count; i++)
        same = a->indices[i].kind == b->indices[i].kind &&
               a->indices[i].axis == b->indices[i].axis &&
               a->indices[i].extent == b->indices[i].extent;
    return same;
}

// Appends an array; -1 after an error.
static int add_array(const struct place *place, const struct pattern_input *input) {
    struct root *root = place->root;
    struct pattern *pattern = root->pattern;
    if (pattern->input_count == MAX_DECLARED) {
        complain(place, input->span, "a pattern has at most %d inputs, stages and selections",
                 MAX_DECLARED);
        return -1;
    }
    pattern->inputs = array_grow(root->checker->arena, pattern->inputs, pattern->input_count,
                                 &root->input_room, sizeof *pattern->inputs);
    pattern->inputs[pattern->input_count] = *input;
    return pattern->input_count++;
}

static bool array_name_taken(const struct pattern *pattern, const char *name) {
    for (int i = 0; i < pattern->input_count; i++)
        if (strcmp(pattern->inputs[i].name, name) == 0)
            return true;
    return false;
}

// Block b of `size` rows: over x in size * b .. size * (b + 1), as far as there are any.
static const struct expr *pooled_value(const struct place *place, struct span span, enum ast_op op,
                                       const struct pooled *pooled,
                                       const struct pattern_input *stage, const struct expr *size) {
    const struct expr *b = leaf(place, span, OP_VAR, TYPE_INT, 0);
    const struct expr *x = leaf(place, span, OP_VAR, TYPE_INT, 1);
    const struct expr *begin = make2(place, span, OP_MUL, size, b);
    const struct expr *end = make2(place, span, OP_ADD, begin, size), *body, *args[MAX_INDICES];
    if (pooled->side >= 0) {
        enum op head = pooled->side == SIDE_QUERY ? OP_HEAD : OP_KV_HEAD;
        end = make2(place, span, OP_MIN, end, stage_token_count(place, span));
        if (pooled->side == SIDE_QUERY)
            begin = make2(place, span, OP_MAX, begin, first_query(place, span));
        body = tensor_row(place, span, pooled->side, leaf(place, span, head, TYPE_INT, 0), x);
    } else {
        int last = stage->derived->index_count - 1;
        end = make2(place, span, OP_MIN, end, extent_of(place, span, &stage->indices[last]));
        for (int i = 0; i < last; i++)
            args[i] = leaf(place, span,
                           stage->indices[i].kind == INDEX_BATCH  ? OP_BATCH
                           : stage->indices[i].kind == INDEX_HEAD ? OP_HEAD
                                                                  : OP_KV_HEAD,
                           TYPE_INT, 0);
        args[last] = x;
        body = expr_ref(place->root->graph, span, OP_STAGE, TYPE_REAL, pooled->stage, 1, args,
                        (uint8_t)(last + 1));
    }
    return reduction(place, span, op, 1, begin, end, NULL, body);
}

// The hidden stage that holds the pooled rows; -1 after an error.
static int pool_stage(const struct place *place, const struct ast *node, enum ast_op op,
                      const struct pooled *pooled, const struct expr *size) {
    struct root *root = place->root;
    struct span span = node->span;
    const struct pattern_input *stage =
        pooled->side < 0 ? &root->pattern->inputs[pooled->stage] : NULL;
    struct pattern_derived *derived = ARENA_NEW(root->checker->arena, struct pattern_derived);
    struct pattern_input input = {.type = TYPE_REAL, .span = span, .derived = derived};
    const struct expr *rows = stage_token_count(place, span);
    int last = 2;
    derived->rows = derived->implicit_batch = true;
    if (stage) {
        last = stage->derived->index_count - 1;
        rows = extent_of(place, span, &stage->indices[last]);
        derived->implicit_batch = stage->derived->implicit_batch;
        memcpy(input.indices, stage->indices, sizeof input.indices);
        memcpy(derived->names, stage->derived->names, sizeof derived->names);
        for (int i = 0; i < last; i++)
            if (stage->derived->index_var[i] >= 0)
                rows = NULL;
    } else {
        input.indices[0].kind = INDEX_BATCH;
        input.indices[1].kind = pooled->side == SIDE_QUERY ? INDEX_HEAD : INDEX_KV_HEAD;
    }
    if (!rows) {
        complain(place, span, "this stage is pooled over more than one index: write a reduction");
        return -1;
    }
    input.indices[last] =
        (struct pattern_index){INDEX_RANGE, 0, make2(place, span, OP_CEILDIV, rows, size)};
    input.indices[last + 1] = (struct pattern_index){.kind = INDEX_DIM};
    input.index_count = last + 2;
    derived->index_count = last + 1;
    memset(derived->index_var, -1, sizeof derived->index_var);
    derived->index_var[last] = 0;
    derived->value = pooled_value(place, span, op, pooled, stage, size);
    for (int i = 0; i < root->pattern->input_count; i++)
        if (same_stage(&root->pattern->inputs[i], &input))
            return i;
    const char *base = pooled->side == SIDE_QUERY ? "q"
                       : pooled->side == SIDE_KEY ? "k"
                                                  : stage->name;
    const char *stem = arena_format(root->checker->arena, "%s_%s", ast_ops[op].surface, base);
    if (size->op == OP_INT)
        stem = arena_format(root->checker->arena, "%s_%lld", stem, (long long)size->payload.i);
    input.name = stem;
    for (int n = 2; array_name_taken(root->pattern, input.name); n++)
        input.name = arena_format(root->checker->arena, "%s_%d", stem, n);
    return add_array(place, &input);
}

// last(q, n)[h, r] and sample(q, n, p)[h, b]: rows of q or k themselves, or of a stage.
static struct operand fixed_row(const struct place *place, const struct ast *node,
                                const struct pooled *pooled, const struct expr *size,
                                const struct expr *offset) {
    const struct ast *index = node->as.args[1];
    const struct expr *at[2];
    struct span span = node->span;
    if (pooled->side < 0) {
        complain(place, span, "'%s' is of q or k; rows of a stage are read by their index",
                 index->name.text);
        return (struct operand){0};
    }
    if (!two_indices(place, index, at))
        return (struct operand){0};
    if (offset)
        at[1] = make2(place, span, OP_ADD, make2(place, span, OP_MUL, size, at[1]), offset);
    else
        at[1] = make2(place, span, OP_ADD,
                      make2(place, span, OP_SUB, stage_token_count(place, span), size), at[1]);
    return (struct operand){.expr = tensor_row(place, span, pooled->side, at[0], at[1])};
}

// mean(q, 64)[head, b], last(q, 64)[head, r], sample(k, 64, 1)[head, b]
struct operand lower_pool(const struct place *place, const struct ast *node) {
    const struct ast *call = node->as.args[0], *index = node->as.args[1];
    const char *word = call->name.text;
    uint32_t count = call->as.list ? call->as.list->count : 0;
    bool last = strcmp(word, "last") == 0, sample = strcmp(word, "sample") == 0;
    enum ast_op op = AST_SUM;
    struct pooled pooled = {.side = -1};
    while (op <= AST_MIN && strcmp(ast_ops[op].surface, word) != 0)
        op++;
    if (!in_stage(place, node->span, "a pooled row"))
        return (struct operand){0};
    if ((op > AST_MIN && !last && !sample) || count < 2 || count > 2u + sample) {
        complain(place, node->span,
                 "a pooled row is mean, max, min or sum of rows, mean(q, 64)[head, b], or "
                 "last(q, 64)[head, r], or sample(k, 64, 1)[head, b]");
        return (struct operand){0};
    }
    const struct ast_item *second = call->as.list->first->next;
    const struct expr *size = stage_value(place, second->value, TYPE_INT, "the size of a block");
    const struct expr *offset = NULL;
    if (sample)
        offset = second->next ? stage_value(place, second->next->value, TYPE_INT, "a position")
                              : integer(place, node->span, 0);
    if (!find_pooled(place, call->as.list->first->value, &pooled) || !size || (sample && !offset))
        return (struct operand){0};
    if (size->op == OP_INT && size->payload.i < 1) {
        complain(place, second->value->span, "the size of a block is at least 1, this is %lld",
                 (long long)size->payload.i);
        return (struct operand){0};
    }
    if (last || sample)
        return fixed_row(place, node, &pooled, size, offset);
    if (!require_uniform(place, size, second->value->span, 0, "the size of a block"))
        return (struct operand){0};
    int stage = pool_stage(place, node, op, &pooled, size);
    return stage < 0 ? (struct operand){0} : read_derived(place, index, (uint16_t)stage);
}

// ---- names and calls -------------------------------------------------------------------------

// k where k[kv_head, k.i] is meant, last(q, 64) where last(q, 64)[head, r] is.
static const struct expr *bare_row(const struct place *place, const struct ast *node) {
    const struct checker *checker = place->root->checker;
    struct stage_scope *scope = place->stage;
    struct span span = node->span;
    if (!scope)
        return NULL;
    int last = scope->derived.index_count - 1;
    bool is_k = node->kind == AST_NAME && node->name.text == checker->word_k;
    const struct expr *head = leaf(place, span, OP_HEAD, TYPE_INT, 0);
    if (is_k && scope->names[last].side == SIDE_KEY) {
        scope->logit = true;
        return tensor_row(place, span, SIDE_KEY, head, scope->names[last].value);
    }
    bool is_last = node->kind == AST_CALL && strcmp(node->name.text, "last") == 0 &&
                   node->as.list && node->as.list->count == 2 &&
                   node->as.list->first->value->kind == AST_NAME &&
                   node->as.list->first->value->name.text == checker->word_q;
    int rows = 0;
    while (rows <= last && !scope->names[rows].unsized)
        rows++;
    if (!is_last || rows > last)
        return NULL;
    const struct expr *size =
        stage_value(place, node->as.list->last->value, TYPE_INT, "the number of rows");
    if (!size || !require_uniform(place, size, node->span, 0, "the number of rows"))
        return NULL;
    scope->input.indices[rows] = (struct pattern_index){INDEX_RANGE, 0, size};
    scope->names[rows].unsized = false;
    const struct expr *token =
        make2(place, span, OP_ADD, make2(place, span, OP_SUB, stage_token_count(place, span), size),
              scope->names[rows].value);
    scope->names[rows].side = SIDE_QUERY;
    scope->names[rows].axis = -1;
    scope->names[rows].value = token;
    return tensor_row(place, span, SIDE_QUERY, head, token);
}

static const struct expr *row_argument(const struct place *place, const struct ast *node) {
    const struct expr *bare =
        place_find(place, node->name.text ? node->name.text : "") ? NULL : bare_row(place, node);
    return bare ? bare : lower_typed(place, node, TYPE_REAL, "a row");
}

static struct operand lower_dot(const struct place *place, const struct ast *node) {
    const struct ast_item *a = node->as.list->first, *b = a->next;
    bool bare = b && b->value->kind == AST_NAME;
    const struct expr *left = row_argument(place, a->value);
    const struct expr *right = b ? row_argument(place, b->value) : left;
    if (!left || !right)
        return (struct operand){0};
    if (!is_row(left) || !is_row(right)) {
        complain(
            place, is_row(left) && b ? b->value->span : a->value->span,
            "'%s' takes rows: q[head, token], k[kv_head, token], pooled ones, or stages of them",
            node->name.text);
        return (struct operand){0};
    }
    const struct expr *product = b ? make2(place, node->span, OP_RMUL, left, right) : left;
    const struct expr *sum =
        expr_ref(place->root->graph, node->span, OP_DIM_SUM, TYPE_REAL, 0, 0, &product, 1);
    if (bare && place->stage && place->stage->logit)
        sum =
            make2(place, node->span, OP_RMUL, leaf(place, node->span, OP_SCALE, TYPE_REAL, 0), sum);
    return (struct operand){.expr = sum};
}

bool stage_call(const struct place *place, const struct ast *node, struct operand *out) {
    const char *name = node->name.text;
    uint32_t count = node->as.list ? node->as.list->count : 0;
    bool dot = strcmp(name, "dot") == 0, sum = strcmp(name, "sum") == 0;
    *out = (struct operand){0};
    if (strcmp(name, "children") == 0) {
        *out = lower_children(place, node);
        return true;
    }
    if (strcmp(name, "softmax") == 0) {
        complain(place, node->span,
                 "'softmax' is the whole of a stage: stage A[...] = softmax(...)");
        return true;
    }
    if (!dot && !sum)
        return false;
    if (!in_stage(place, node->span, dot ? "'dot'" : "'sum'"))
        return true;
    if (count != 1u + dot) {
        complain(place, node->span, "'%s' takes %s, saw %u arguments", name,
                 dot ? "two rows" : "one row", count);
        return true;
    }
    *out = lower_dot(place, node);
    return true;
}

bool stage_name(const struct place *place, const struct ast *node, struct operand *out) {
    static const struct {
        const char *name;
        enum op op;
        enum type type;
    } names[] = {{"dim", OP_DIM, TYPE_INT},
                 {"queries", OP_QUERIES, TYPE_INT},
                 {"scale", OP_SCALE, TYPE_REAL}};
    for (size_t i = 0; place->in_stage && i < sizeof names / sizeof *names; i++)
        if (strcmp(node->name.text, names[i].name) == 0) {
            *out = (struct operand){.expr = leaf(place, node->span, names[i].op, names[i].type, 0)};
            return true;
        }
    return false;
}

// k.i in a stage with an index k.i. axis -1: the token.
bool stage_member(const struct place *place, int side, int axis, struct operand *out) {
    struct stage_scope *scope = place->stage;
    for (int i = 0; scope && i < scope->derived.index_count; i++)
        if (scope->names[i].side == side && scope->names[i].axis == axis &&
            !scope->names[i].unsized) {
            *out = (struct operand){.expr = scope->names[i].value};
            return true;
        }
    return false;
}

// ---- the statement ---------------------------------------------------------------------------

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
        leaf(place, span, op, TYPE_INT, op == OP_VAR ? scope->derived.index_var[at] : 0);
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
    int number = add_array(&unit->place, &input);
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
                make2(place, span, OP_LE, scope->names[scope->derived.index_count - 1].value,
                      scope->names[i].value);
            causal =
                make2(place, span, OP_AND, causal,
                      make2(place, span, OP_LE, first_query(place, span), scope->names[i].value));
            scope->derived.where = scope->derived.where
                                       ? make2(place, span, OP_AND, scope->derived.where, causal)
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
