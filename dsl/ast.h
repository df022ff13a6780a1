// The syntax tree: result of the parse stage, input of check.
//
// Plain data in the compilation's arena, with a span on every node. The grammar is wide on purpose:
// anything that reads like an expression may stand where an expression may, and check says what is
// wrong with it. Names are words (dsl/words.h): equal texts have equal addresses.
#ifndef HEDDLE_DSL_AST_H
#define HEDDLE_DSL_AST_H

#include "compiler/base/diag.h"
#include "compiler/base/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAX_NESTING = 256 };

struct ast_name {
    const char *text; // a word
    struct span span;
};

enum ast_kind {
    AST_POISON, // stands for something already reported
    AST_INT,
    AST_REAL,
    AST_BOOL,
    AST_NAME,       // local
    AST_MEMBER,     // q.x
    AST_CALL,       // min(a, b)
    AST_INDEX,      // shift[head]
    AST_UNARY,      // -a, not a
    AST_BINARY,     // a + b, a in b
    AST_TERNARY,    // c ? a : b
    AST_RANGE,      // a .. b step c
    AST_SET,        // {a, b}
    AST_QUANTIFIER, // any e in S : P
    AST_USE,        // use P(name = expr)
    AST_REDUCE,     // sum x in S : E
    AST_REDUCE_OF,  // sum r of A, sum along diagonals of A
    AST_POOLED,     // mean(q, 64)[head, b]: args[0] the call, args[1] an AST_INDEX
    AST_BAND        // 8: 0.35 step 2, of a selection's bands: args factor, share, step or NULL
};

enum ast_op {
    AST_NEGATE,
    AST_NOT,
    AST_OR,
    AST_AND,
    AST_LT,
    AST_LE,
    AST_GT,
    AST_GE,
    AST_EQ,
    AST_NE,
    AST_IN,
    AST_BIT_OR,
    AST_BIT_XOR,
    AST_BIT_AND,
    AST_SHL,
    AST_SHR,
    AST_ADD,
    AST_SUB,
    AST_MUL,
    AST_DIV,
    AST_MOD,
    AST_ANY,
    AST_ALL,
    AST_COUNT,
    AST_SUM,
    AST_MEAN,
    AST_MAX,
    AST_MIN,
    AST_OP_COUNT
};

struct ast;

struct ast_item {            // of a list: an argument, an element, `name = value`, `name in value`
    struct ast_name name;    // text NULL: none
    const struct ast *value; // NULL: only a name
    struct ast_item *next;
};

struct ast_list {
    struct ast_item *first, *last;
    uint32_t count;
};

struct ast {
    enum ast_kind kind;
    enum ast_op op;     // AST_UNARY, AST_BINARY, AST_QUANTIFIER
    bool parenthesised; // written in ( ); only comparisons ask
    uint16_t depth;     // of recursion over the tree; a left spine of operators is one level
    struct span span;
    // AST_NAME, AST_CALL, AST_INDEX, AST_USE: the name; AST_MEMBER: before the point;
    // AST_QUANTIFIER, AST_REDUCE: the variable; AST_REDUCE_OF: the index, or NULL for diagonals.
    struct ast_name name;
    union {
        uint64_t integer; // AST_INT: at most 2^63, which only fits after a minus sign
        double real;
        bool boolean;
        struct ast_name member;      // AST_MEMBER: after the point
        const struct ast_list *list; // AST_CALL, AST_INDEX, AST_SET, AST_USE
        // Operands in the order written. AST_RANGE without step: the third is NULL.
        // AST_QUANTIFIER: the set, then the condition.
        const struct ast *args[3];
    } as;
};

enum ast_stmt_kind {
    STMT_AXES,
    STMT_CONST,
    STMT_PARAM,
    STMT_INPUT,
    STMT_LET,
    STMT_MAP,
    STMT_STAGE,
    STMT_SELECT,
    STMT_FN,
    STMT_REQUIRE,
    STMT_KEEP,
    STMT_SCORE,
    STMT_POOL,
    STMT_ADD,
    STMT_BRANCH,
    STMT_MERGE,
    STMT_IMPORT,
    STMT_PATTERN,
    STMT_LATER // of a later version, already reported; kept for its name
};

struct ast_decl { // local[head] = 16
    struct ast_name name;
    const struct ast_list *indices; // NULL: none. Of maps: `name in set`
    const struct ast *value;        // NULL: none
    struct ast_decl *next;
};

struct ast_derived { // of a stage and a selection
    struct ast_name name;
    const struct ast_list *indices;  // an index type, or `name in` one
    const struct ast_list *as;       // names of all indices, or NULL
    const struct ast *value;         // of a stage; of a selection, what candidates are ranked by
    const struct ast *where;         // or NULL
    const struct ast *mode;          // of a selection: a call, AST_BANDs among its arguments
    struct ast_name variable;        // of a selection: the candidate
    const struct ast *set;           // of a selection: candidates
    const struct ast_list *together; // names of indices that are ranked as one, or NULL
    const struct ast *always, *least, *most; // or NULL
};

struct ast_decls {
    struct ast_decl *first, *last;
};

struct ast_stmt {
    enum ast_stmt_kind kind;
    struct span span;       // the opening word
    struct ast_name type;   // STMT_CONST, STMT_PARAM, STMT_INPUT; text NULL: not written
    struct ast_name name;   // STMT_FN, STMT_PATTERN, STMT_BRANCH, STMT_MERGE (how); STMT_LATER,
                            // STMT_AXES may lack one
    struct ast_list *names; // STMT_AXES: the axes; STMT_FN: the parameters; STMT_POOL: factors
    struct ast_decl *decls; // declarations; STMT_FN: the `where` part
    // STMT_FN, STMT_REQUIRE, STMT_SCORE; STMT_KEEP, STMT_ADD: the condition, NULL for all keys;
    // STMT_POOL: the block; STMT_MERGE: the gate or NULL
    const struct ast *value;
    const struct ast *level;     // STMT_KEEP, STMT_ADD: after `at`; NULL: the keys themselves
    const struct ast *weight;    // STMT_ADD, STMT_BRANCH: or NULL
    struct ast_derived *derived; // STMT_STAGE, STMT_SELECT
    struct ast_name text;        // STMT_REQUIRE: the message or NULL; STMT_IMPORT: the path
    struct ast_stmt *body;       // STMT_PATTERN, STMT_BRANCH
    struct span end;             // the same: the closing brace
    struct ast_stmt *next;
};

struct ast_stmts {
    struct ast_stmt *first, *last;
};

// ---- building (the parser's actions) --------------------------------------------------------

struct ast *ast_new(struct arena *arena, enum ast_kind kind, struct span span);
struct ast *ast_named(struct arena *arena, enum ast_kind kind, struct span span,
                      struct ast_name name, const struct ast_list *list);
// A node with up to three operands (NULL: fewer).
struct ast *ast_operation(struct arena *arena, enum ast_kind kind, enum ast_op op, struct span span,
                          const struct ast *a, const struct ast *b, const struct ast *c);
// Appends to a list; NULL makes one.
struct ast_list *ast_append(struct arena *arena, struct ast_list *list, struct ast_name name,
                            const struct ast *value);
bool ast_is_comparison(const struct ast *node);
// The whole extent of two spans of one source.
struct span span_join(struct span first, struct span last);

// Text whose parse gives the same tree.
void ast_print(const struct ast_stmt *statements, struct strbuf *out);

struct ast_op_info {
    const char *surface;
    int precedence; // as in ops.def
};
extern const struct ast_op_info ast_ops[AST_OP_COUNT];

#endif
