// Stage check: pooled rows, whose stages no name finds; short forms, and the names of rows.

#include "dsl/check_row.h"

#include <string.h>

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
int stage_add_array(const struct place *place, const struct pattern_input *input) {
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
    const struct expr *b = node_leaf(place, span, OP_VAR, TYPE_INT, 0);
    const struct expr *x = node_leaf(place, span, OP_VAR, TYPE_INT, 1);
    const struct expr *begin = node2(place, span, OP_MUL, size, b);
    const struct expr *end = node2(place, span, OP_ADD, begin, size), *body, *args[MAX_INDICES];
    if (pooled->side >= 0) {
        enum op head = pooled->side == SIDE_QUERY ? OP_HEAD : OP_KV_HEAD;
        end = node2(place, span, OP_MIN, end, stage_token_count(place, span));
        if (pooled->side == SIDE_QUERY)
            begin = node2(place, span, OP_MAX, begin, stage_first_query(place, span));
        body = tensor_row(place, span, pooled->side, node_leaf(place, span, head, TYPE_INT, 0), x);
    } else {
        int last = stage->derived->index_count - 1;
        end = node2(place, span, OP_MIN, end, extent_of(place, span, &stage->indices[last]));
        for (int i = 0; i < last; i++)
            args[i] = node_leaf(place, span,
                                stage->indices[i].kind == INDEX_BATCH  ? OP_BATCH
                                : stage->indices[i].kind == INDEX_HEAD ? OP_HEAD
                                                                       : OP_KV_HEAD,
                                TYPE_INT, 0);
        args[last] = x;
        body = expr_ref(place->root->graph, span, OP_STAGE, TYPE_REAL, pooled->stage, 1, args,
                        (uint8_t)(last + 1));
    }
    return make_reduction(place, span, op, 1, begin, end, NULL, body);
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
        (struct pattern_index){INDEX_RANGE, 0, node2(place, span, OP_CEILDIV, rows, size)};
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
    return stage_add_array(place, &input);
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
        at[1] = node2(place, span, OP_ADD, node2(place, span, OP_MUL, size, at[1]), offset);
    else
        at[1] = node2(place, span, OP_ADD,
                      node2(place, span, OP_SUB, stage_token_count(place, span), size), at[1]);
    return (struct operand){.expr = tensor_row(place, span, pooled->side, at[0], at[1])};
}

// mean(q, 64)[head, b], last(q, 64)[head, r], sample(k, 64, 1)[head, b]
struct operand lower_pooled(const struct place *place, const struct ast *node) {
    const struct ast *call = node->as.args[0], *index = node->as.args[1];
    const char *word = call->name.text;
    uint32_t count = call->as.list ? call->as.list->count : 0;
    bool last = strcmp(word, "last") == 0, sample = strcmp(word, "sample") == 0;
    enum ast_op op = AST_SUM;
    struct pooled pooled = {.side = -1};
    while (op <= AST_MIN && strcmp(ast_ops[op].surface, word) != 0)
        op++;
    if (!stage_only(place, node->span, "a pooled row"))
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
                              : node_int(place, node->span, 0);
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
    const struct expr *head = node_leaf(place, span, OP_HEAD, TYPE_INT, 0);
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
        node2(place, span, OP_ADD, node2(place, span, OP_SUB, stage_token_count(place, span), size),
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
    const struct expr *product = b ? node2(place, node->span, OP_RMUL, left, right) : left;
    const struct expr *sum =
        expr_ref(place->root->graph, node->span, OP_DIM_SUM, TYPE_REAL, 0, 0, &product, 1);
    if (bare && place->stage && place->stage->logit)
        sum = node2(place, node->span, OP_RMUL,
                    node_leaf(place, node->span, OP_SCALE, TYPE_REAL, 0), sum);
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
    if (!stage_only(place, node->span, dot ? "'dot'" : "'sum'"))
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
            *out = (struct operand){
                .expr = node_leaf(place, node->span, names[i].op, names[i].type, 0)};
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
