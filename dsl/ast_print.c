// The parse stage's dump (`--emit=ast`): the tree as text that parses to the same tree.
//
// Parentheses are those that the tree needs, not those that were written. A left spine of operators
// is printed in a loop, because a file may hold a sum of a hundred thousand terms.

#include "dsl/ast.h"
#include "dsl/expr.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PREC_TERNARY = 1, PREC_RANGE = 9, PREC_OPERAND = 14 };

static void print(const struct ast *node, int at_least, struct strbuf *out);

static void print_list(const struct ast_list *list, const char *between, struct strbuf *out) {
    for (const struct ast_item *item = list ? list->first : NULL; item; item = item->next) {
        if (item->name.text)
            strbuf_puts(out, item->name.text);
        if (item->name.text && item->value)
            strbuf_puts(out, between);
        if (item->value)
            print(item->value, 0, out);
        if (item->next)
            strbuf_puts(out, ", ");
    }
}

static int precedence(const struct ast *node) {
    switch (node->kind) {
    case AST_UNARY:
    case AST_BINARY:
    case AST_QUANTIFIER:
    case AST_REDUCE:
        return ast_ops[node->op].precedence;
    case AST_TERNARY:
        return PREC_TERNARY;
    case AST_RANGE:
        return PREC_RANGE;
    default:
        return PREC_OPERAND;
    }
}

// Comparisons do not associate: their left operand, too, must bind tighter.
static int left_precedence(const struct ast *node) {
    return precedence(node) + ast_is_comparison(node);
}

static void print_spine(const struct ast *node, struct strbuf *out) {
    const struct ast *innermost = node;
    size_t length = 1;
    for (; innermost->as.args[0]->kind == AST_BINARY; innermost = innermost->as.args[0])
        length++;
    const struct ast **spine = malloc(length * sizeof(struct ast *));
    if (!spine) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < length; i++, node = node->as.args[0]) {
        spine[i] = node;
        if (i && precedence(node) < left_precedence(spine[i - 1]))
            strbuf_puts(out, "(");
    }
    print(node, left_precedence(innermost), out);
    for (size_t i = length; i-- > 0;) {
        strbuf_printf(out, " %s ", ast_ops[spine[i]->op].surface);
        print(spine[i]->as.args[1], precedence(spine[i]) + 1, out);
        if (i && precedence(spine[i]) < left_precedence(spine[i - 1]))
            strbuf_puts(out, ")");
    }
    free(spine);
}

static void print_call(const struct ast *node, const char *open, const char *close,
                       struct strbuf *out) {
    if (node->name.text)
        strbuf_puts(out, node->name.text);
    strbuf_puts(out, open);
    print_list(node->as.list, " = ", out);
    strbuf_puts(out, close);
}

static void print_operation(const struct ast *node, struct strbuf *out) {
    const struct ast *const *args = node->as.args;
    switch (node->kind) {
    case AST_UNARY:
        strbuf_puts(out, node->op == AST_NOT ? "not " : "-");
        print(args[0], precedence(node), out);
        break;
    case AST_TERNARY:
        print(args[0], PREC_TERNARY + 1, out);
        strbuf_puts(out, " ? ");
        print(args[1], PREC_TERNARY, out);
        strbuf_puts(out, " : ");
        print(args[2], PREC_TERNARY, out);
        break;
    case AST_RANGE:
        print(args[0], PREC_RANGE + 1, out);
        strbuf_puts(out, " .. ");
        print(args[1], PREC_RANGE + 1, out);
        if (args[2]) {
            strbuf_puts(out, " step ");
            print(args[2], PREC_RANGE + 1, out);
        }
        break;
    case AST_QUANTIFIER:
    case AST_REDUCE:
        strbuf_printf(out, "%s %s in ", ast_ops[node->op].surface, node->name.text);
        print(args[0], ast_ops[AST_BIT_OR].precedence, out);
        strbuf_puts(out, " : ");
        print(args[1], precedence(node), out);
        break;
    default:
        print_spine(node, out);
    }
}

static void print_leaf(const struct ast *node, struct strbuf *out) {
    switch (node->kind) {
    case AST_INT:
        strbuf_printf(out, "%" PRIu64, node->as.integer);
        break;
    case AST_REAL:
        expr_print_real(node->as.real, out);
        break;
    case AST_BOOL:
        strbuf_puts(out, node->as.boolean ? "true" : "false");
        break;
    case AST_NAME:
        strbuf_puts(out, node->name.text);
        break;
    case AST_MEMBER:
        strbuf_printf(out, "%s.%s", node->name.text, node->as.member.text);
        break;
    case AST_CALL:
        print_call(node, "(", ")", out);
        break;
    case AST_INDEX:
        print_call(node, "[", "]", out);
        break;
    case AST_SET:
        print_call(node, "{", "}", out);
        break;
    case AST_POOLED:
        print_call(node->as.args[0], "(", ")", out);
        strbuf_puts(out, "[");
        print_list(node->as.args[1]->as.list, "", out);
        strbuf_puts(out, "]");
        break;
    case AST_REDUCE_OF:
        strbuf_printf(out, "%s %s of %s", ast_ops[node->op].surface,
                      node->name.text ? node->name.text : "along diagonals",
                      node->as.args[0]->name.text);
        break;
    case AST_BAND:
        print(node->as.args[0], 0, out);
        strbuf_puts(out, ": ");
        print(node->as.args[1], 0, out);
        if (node->as.args[2]) {
            strbuf_puts(out, " step ");
            print(node->as.args[2], 0, out);
        }
        break;
    case AST_USE:
        strbuf_puts(out, "use ");
        print_call(node, "(", ")", out);
        break;
    default:
        strbuf_puts(out, "?");
    }
}

static void print(const struct ast *node, int at_least, struct strbuf *out) {
    int own = precedence(node);
    if (own < at_least)
        strbuf_puts(out, "(");
    if (own == PREC_OPERAND)
        print_leaf(node, out);
    else
        print_operation(node, out);
    if (own < at_least)
        strbuf_puts(out, ")");
}

static void print_decls(const struct ast_stmt *stmt, const struct ast_decl *decl,
                        struct strbuf *out) {
    for (; decl; decl = decl->next) {
        strbuf_puts(out, decl->name.text);
        if (decl->indices) {
            strbuf_puts(out, "[");
            print_list(decl->indices, stmt->kind == STMT_MAP ? " in " : " = ", out);
            strbuf_puts(out, "]");
        }
        if (decl->value) {
            strbuf_puts(out, " = ");
            print(decl->value, 0, out);
        }
        if (decl->next)
            strbuf_puts(out, ", ");
    }
}

static void print_function(const struct ast_stmt *stmt, const char *margin, struct strbuf *out) {
    strbuf_printf(out, "fn %s(", stmt->name.text);
    print_list(stmt->names, "", out);
    strbuf_puts(out, ") = ");
    print(stmt->value, 0, out);
    if (stmt->decls) {
        strbuf_printf(out, "\n%s    where ", margin);
        print_decls(stmt, stmt->decls, out);
    }
}

static void print_level(const struct ast_stmt *stmt, struct strbuf *out) {
    if (!stmt->level)
        return;
    strbuf_puts(out, stmt->value ? " at " : "at ");
    print(stmt->level, 0, out);
    if (stmt->weight) {
        strbuf_puts(out, " weight ");
        print(stmt->weight, 0, out);
    }
}

static void print_clause(const char *words, const struct ast *value, struct strbuf *out) {
    if (!value)
        return;
    strbuf_puts(out, words);
    print(value, 0, out);
}

static void print_names(const char *word, const struct ast_list *names, struct strbuf *out) {
    if (!names)
        return;
    strbuf_printf(out, " %s (", word);
    print_list(names, "", out);
    strbuf_puts(out, ")");
}

static void print_derived(const struct ast_stmt *stmt, struct strbuf *out) {
    const struct ast_derived *derived = stmt->derived;
    strbuf_printf(out, "%s %s[", stmt->kind == STMT_STAGE ? "stage" : "select", derived->name.text);
    print_list(derived->indices, " in ", out);
    strbuf_puts(out, "]");
    print_names("as", derived->as, out);
    strbuf_puts(out, " = ");
    if (stmt->kind == STMT_STAGE) {
        print(derived->value, 0, out);
        print_clause(" where ", derived->where, out);
        return;
    }
    print(derived->mode, 0, out);
    strbuf_printf(out, " of %s in ", derived->variable.text);
    print(derived->set, 0, out);
    print_names("over", derived->together, out);
    print_clause(" where ", derived->where, out);
    print_clause(" ranked by ", derived->value, out);
    print_clause(" always ", derived->always, out);
    print_clause(" least ", derived->least, out);
    print_clause(" most ", derived->most, out);
}

static void print_statement(const struct ast_stmt *stmt, const char *margin, struct strbuf *out) {
    static const char *const words[] = {
        [STMT_AXES] = "axes",       [STMT_CONST] = "const", [STMT_PARAM] = "param",
        [STMT_INPUT] = "input",     [STMT_LET] = "let",     [STMT_MAP] = "map",
        [STMT_REQUIRE] = "require", [STMT_KEEP] = "keep",   [STMT_SCORE] = "score",
        [STMT_IMPORT] = "import",   [STMT_POOL] = "pool",   [STMT_ADD] = "add",
        [STMT_MERGE] = "merge",
    };
    if (stmt->kind == STMT_FN) {
        print_function(stmt, margin, out);
        return;
    }
    if (stmt->kind == STMT_STAGE || stmt->kind == STMT_SELECT) {
        print_derived(stmt, out);
        return;
    }
    strbuf_printf(out, "%s ", words[stmt->kind]);
    if (stmt->type.text)
        strbuf_printf(out, "%s ", stmt->type.text);
    if (stmt->kind == STMT_POOL) {
        print(stmt->value, 0, out);
        strbuf_puts(out, " by ");
        print_list(stmt->names, "", out);
        return;
    }
    print_list(stmt->names, "", out);
    if (stmt->kind == STMT_MERGE)
        strbuf_printf(out, "%s%s", stmt->name.text, stmt->value ? " " : "");
    print_decls(stmt, stmt->decls, out);
    if (stmt->value)
        print(stmt->value, 0, out);
    print_level(stmt, out);
    if (stmt->text.text)
        strbuf_printf(out, "%s\"%s\"", stmt->kind == STMT_REQUIRE ? " : " : "", stmt->text.text);
}

static void print_branch(const struct ast_stmt *stmt, const char *margin, struct strbuf *out);

// Statements inside of a pattern or a branch.
static void print_body(const struct ast_stmt *body, const char *margin, struct strbuf *out) {
    for (const struct ast_stmt *inner = body; inner; inner = inner->next) {
        if (inner->kind == STMT_LATER)
            continue;
        strbuf_puts(out, margin);
        if (inner->kind == STMT_BRANCH) {
            print_branch(inner, margin, out);
            continue;
        }
        print_statement(inner, margin, out);
        strbuf_puts(out, ";\n");
    }
}

static void print_branch(const struct ast_stmt *stmt, const char *margin, struct strbuf *out) {
    char deeper[64];
    snprintf(deeper, sizeof deeper, "%s    ", margin);
    strbuf_printf(out, "branch %s ", stmt->name.text);
    if (stmt->weight) {
        strbuf_puts(out, "weight ");
        print(stmt->weight, 0, out);
        strbuf_puts(out, " ");
    }
    strbuf_puts(out, "{\n");
    print_body(stmt->body, deeper, out);
    strbuf_printf(out, "%s}\n", margin);
}

void ast_print(const struct ast_stmt *statements, struct strbuf *out) {
    for (const struct ast_stmt *stmt = statements; stmt; stmt = stmt->next) {
        if (stmt->kind == STMT_LATER)
            continue;
        if (stmt->kind == STMT_BRANCH) {
            print_branch(stmt, "", out);
            continue;
        }
        if (stmt->kind != STMT_PATTERN) {
            print_statement(stmt, "", out);
            strbuf_puts(out, ";\n");
            continue;
        }
        strbuf_printf(out, "pattern %s {\n", stmt->name.text);
        print_body(stmt->body, "    ", out);
        strbuf_puts(out, "}\n");
    }
}
