// The syntax tree: building.

#include "dsl/ast.h"

const struct ast_op_info ast_ops[AST_OP_COUNT] = {
    [AST_NEGATE] = {"-", 13}, [AST_NOT] = {"not", 4},   [AST_OR] = {"or", 2},
    [AST_AND] = {"and", 3},   [AST_LT] = {"<", 5},      [AST_LE] = {"<=", 5},
    [AST_GT] = {">", 5},      [AST_GE] = {">=", 5},     [AST_EQ] = {"==", 5},
    [AST_NE] = {"!=", 5},     [AST_IN] = {"in", 5},     [AST_BIT_OR] = {"|", 6},
    [AST_BIT_XOR] = {"^", 7}, [AST_BIT_AND] = {"&", 8}, [AST_SHL] = {"<<", 10},
    [AST_SHR] = {">>", 10},   [AST_ADD] = {"+", 11},    [AST_SUB] = {"-", 11},
    [AST_MUL] = {"*", 12},    [AST_DIV] = {"/", 12},    [AST_MOD] = {"%", 12},
    [AST_ANY] = {"any", 4},   [AST_ALL] = {"all", 4},   [AST_COUNT] = {"count", 4},
    [AST_SUM] = {"sum", 4},   [AST_MEAN] = {"mean", 4}, [AST_MAX] = {"max", 4},
    [AST_MIN] = {"min", 4},
};

struct ast *ast_new(struct arena *arena, enum ast_kind kind, struct span span) {
    struct ast *node = ARENA_NEW(arena, struct ast);
    node->kind = kind;
    node->span = span;
    node->depth = 1;
    return node;
}

static void deepen(struct ast *node, const struct ast *child) {
    if (child && child->depth >= node->depth)
        node->depth = (uint16_t)(child->depth + 1);
}

struct ast *ast_named(struct arena *arena, enum ast_kind kind, struct span span,
                      struct ast_name name, const struct ast_list *list) {
    struct ast *node = ast_new(arena, kind, span);
    node->name = name;
    node->as.list = list;
    for (const struct ast_item *item = list ? list->first : NULL; item; item = item->next)
        deepen(node, item->value);
    return node;
}

struct ast *ast_operation(struct arena *arena, enum ast_kind kind, enum ast_op op, struct span span,
                          const struct ast *a, const struct ast *b, const struct ast *c) {
    struct ast *node = ast_new(arena, kind, span);
    node->op = op;
    node->as.args[0] = a;
    node->as.args[1] = b;
    node->as.args[2] = c;
    // a + b + c + ... leans to the left; walks follow that spine in a loop.
    if (kind == AST_BINARY && a->kind == AST_BINARY)
        node->depth = a->depth;
    else
        deepen(node, a);
    deepen(node, b);
    deepen(node, c);
    return node;
}

struct ast_list *ast_append(struct arena *arena, struct ast_list *list, struct ast_name name,
                            const struct ast *value) {
    if (!list)
        list = ARENA_NEW(arena, struct ast_list);
    struct ast_item *item = ARENA_NEW(arena, struct ast_item);
    item->name = name;
    item->value = value;
    *(list->last ? &list->last->next : &list->first) = item;
    list->last = item;
    list->count++;
    return list;
}

bool ast_is_comparison(const struct ast *node) {
    return node->kind == AST_BINARY && node->op >= AST_LT && node->op <= AST_IN;
}

struct span span_join(struct span first, struct span last) {
    if (first.source == last.source && last.end > first.end)
        first.end = last.end;
    return first;
}
