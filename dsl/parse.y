/* Stage parse, second half: tokens -> syntax tree.
 *
 * The grammar is wide on purpose: sets, ranges, calls and operators are all expressions, and check
 * says in words what does not fit. Errors recover at ';' and '}', so one run reports several.
 */
%require "3.6"
%define api.pure full
%define api.prefix {dsl_}
%define api.location.type {struct span}
%define parse.error custom
/* Exact lists of what may come next, for the messages. */
%define lr.type canonical-lr
/* After 'error ;' the parser must not wait for the next token to leave its silence. */
%define lr.default-reduction consistent
%locations
%param {struct parser *parser}
%expect 0

%code requires {
#include "dsl/parser.h"
}

%code {
#include <string.h>

/* The stack never grows: it would have to be given back when the arena escapes through yyparse. */
#define YYINITDEPTH 8000
#define YYMAXDEPTH YYINITDEPTH
#define YYLLOC_DEFAULT(current, rhs, count)                                                        \
    ((current) = (count) ? span_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, count))                       \
                         : (struct span){YYRHSLOC(rhs, 0).source, YYRHSLOC(rhs, 0).end,            \
                                         YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).line,              \
                                         YYRHSLOC(rhs, 0).column})

int dsl_lex(DSL_STYPE *value, struct span *span, struct parser *parser);
static void dsl_error(const struct span *span, struct parser *parser, const char *message);

static struct ast *operation(struct parser *parser, struct span span, enum ast_kind kind,
                                   enum ast_op op, const struct ast *a, const struct ast *b,
                                   const struct ast *c) {
    return parser_checked(parser, ast_operation(parser->arena, kind, op, span, a, b, c));
}

static struct ast *binary(struct parser *parser, struct span span, enum ast_op op,
                                const struct ast *a, const struct ast *b) {
    return operation(parser, span, AST_BINARY, op, a, b, NULL);
}

static struct ast *named(struct parser *parser, struct span span, enum ast_kind kind,
                               const char *name, struct span name_span,
                               const struct ast_list *list) {
    struct ast_name ast_name = {name, name_span};
    return parser_checked(parser, ast_named(parser->arena, kind, span, ast_name, list));
}

/* a < b < c is not what it looks like in mathematics, so it is refused. */
static struct ast *comparison(struct parser *parser, struct span span, struct span at,
                                    enum ast_op op, const struct ast *a, const struct ast *b) {
    if (ast_is_comparison(a) && !a->parenthesised) {
        diag_error(parser->diags, at,
                   "comparisons do not chain: write 'a %s b and b %s c', or parentheses around "
                   "the first",
                   ast_ops[a->op].surface, ast_ops[op].surface);
        return ast_new(parser->arena, AST_POISON, span);
    }
    return binary(parser, span, op, a, b);
}

static struct ast_list *append(struct parser *parser, struct ast_list *list, const char *name,
                               struct span name_span, const struct ast *value) {
    return ast_append(parser->arena, list, (struct ast_name){name, name_span}, value);
}

static struct ast_stmt *statement(struct parser *parser, enum ast_stmt_kind kind,
                                  struct span span) {
    struct ast_stmt *stmt = ARENA_NEW(parser->arena, struct ast_stmt);
    stmt->kind = kind;
    stmt->span = span;
    return stmt;
}

static struct ast_stmt *declaration(struct parser *parser, enum ast_stmt_kind kind,
                                    struct span span, const char *type, struct span type_span,
                                    struct ast_decl *decls) {
    struct ast_stmt *stmt = statement(parser, kind, span);
    stmt->type = (struct ast_name){type, type_span};
    stmt->decls = decls;
    return stmt;
}

static struct ast_stmt *expression(struct parser *parser, enum ast_stmt_kind kind,
                                   struct span span, const struct ast *value) {
    struct ast_stmt *stmt = statement(parser, kind, span);
    stmt->value = value;
    return stmt;
}

static struct ast_stmt *levelled(struct parser *parser, enum ast_stmt_kind kind, struct span span,
                                 const struct ast *value, const struct ast *level) {
    struct ast_stmt *stmt = expression(parser, kind, span, value);
    stmt->level = level;
    return stmt;
}

static struct ast_stmt *branch(struct parser *parser, struct span span, const char *name,
                               struct span name_span, const struct ast *weight,
                               struct ast_stmt *body, struct span end) {
    struct ast_stmt *stmt = statement(parser, STMT_BRANCH, span);
    stmt->name = (struct ast_name){name, name_span};
    stmt->weight = weight;
    stmt->body = body;
    stmt->end = end;
    return stmt;
}

/* A word that is no reserved one, where only that word may stand. */
static bool spelled(struct parser *parser, const char *word, struct span span,
                    const char *expected) {
    if (strcmp(word, expected) == 0)
        return true;
    diag_error(parser->diags, span, "expected '%s', saw '%s'", expected, word);
    return false;
}

static struct ast_decl *declare(struct parser *parser, const char *name, struct span span,
                                const struct ast_list *indices, const struct ast *value) {
    struct ast_decl *decl = ARENA_NEW(parser->arena, struct ast_decl);
    decl->name = (struct ast_name){name, span};
    decl->indices = indices;
    decl->value = value;
    return decl;
}

/* What stands for a statement that could not be read: names may be missing. */
static struct ast_stmts lost(struct parser *parser, struct ast_stmts list, struct span span) {
    parser_append(&list, statement(parser, STMT_LATER, span));
    return list;
}

static struct ast_stmt *derived(struct parser *parser, enum ast_stmt_kind kind, struct span span,
                                const char *name, struct span name_span,
                                const struct ast_list *indices, const struct ast_list *as) {
    struct ast_stmt *stmt = statement(parser, kind, span);
    stmt->name = (struct ast_name){name, name_span};
    stmt->derived = ARENA_NEW(parser->arena, struct ast_derived);
    stmt->derived->name = stmt->name;
    stmt->derived->indices = indices;
    stmt->derived->as = as;
    return stmt;
}

/* `name in type` was read as a comparison. */
static struct ast_list *append_index(struct parser *parser, struct ast_list *list,
                                     const struct ast *node) {
    bool named = node->kind == AST_BINARY && node->op == AST_IN && !node->parenthesised &&
                 node->as.args[0]->kind == AST_NAME;
    if (!named)
        return append(parser, list, NULL, node->span, node);
    return append(parser, list, node->as.args[0]->name.text, node->as.args[0]->span,
                  node->as.args[1]);
}

/* sum, mean, max, min: names everywhere else. */
static enum ast_op reduction(const char *word) {
    enum ast_op op = AST_SUM;
    while (op < AST_MIN && strcmp(ast_ops[op].surface, word) != 0)
        op++;
    return op;
}

static struct ast *reduce(struct parser *parser, struct span span, enum ast_kind kind,
                          const char *word, const char *name, struct span name_span, const struct ast *a, const struct ast *b) {
    struct ast *node = ast_operation(parser->arena, kind, reduction(word), span, a, b, NULL);
    node->name = (struct ast_name){name, name_span};
    return parser_checked(parser, node);
}

static void expect_words(struct parser *parser, struct span span, const char *one,
                         const char *other) {
    if (strcmp(one, "along") != 0 || strcmp(other, "diagonals") != 0)
        diag_error(parser->diags, span, "expected 'along diagonals of', saw '%s %s of'", one,
                   other);
}

/* A clause of a selection may stand once. */
static void clause(struct parser *parser, const struct ast **place, const struct ast *value,
                   struct span span, const char *word) {
    if (*place)
        diag_error(parser->diags, span, "'%s' stands twice in this selection", word);
    *place = value;
}

static void later(struct parser *parser, struct span span, const char *word) {
    diag_error(parser->diags, span, "'%s': not in this version", word);
}
}

%union {
    uint64_t integer;
    double real;
    const char *word;
    struct ast *node;
    struct ast_list *list;
    struct ast_decl *decl;
    struct ast_decls decls;
    struct ast_stmt *stmt;
    struct ast_stmts stmts;
    struct ast_derived *derived; // a pointer: the parser's stack holds 8,000 of this union
}

%token END 0 "the end of the file"
%token <word> NAME "a name"
%token <integer> INTEGER "an integer"
%token <real> REAL "a real number"
%token <word> STRING "a text in quotes"
%token <word> PATTERN "'pattern'" IMPORT "'import'" FN "'fn'" AXES "'axes'" CONST "'const'"
%token <word> PARAM "'param'" INPUT "'input'" LET "'let'" MAP "'map'" REQUIRE "'require'"
%token <word> KEEP "'keep'" SCORE "'score'"
%token <word> SELECT "'select'" STAGE "'stage'" POOL "'pool'" ADD "'add'" BRANCH "'branch'"
%token <word> MERGE "'merge'" ORDER "'order'" LAYER "'layer'" SEGMENTS "'segments'" AT "'at'"
%token <word> WHERE "'where'" STEP "'step'" USE "'use'" TRUE "'true'" FALSE "'false'"
%token <word> AND "'and'" OR "'or'" NOT "'not'" IN "'in'" ANY "'any'" ALL "'all'" COUNT "'count'"
%token <word> AS "'as'" OF "'of'" RANKED "'ranked'" BY "'by'" OVER "'over'" ALWAYS "'always'"
%token <word> REDUCTION "a reduction"
%token <word> LEAST "'least'" MOST "'most'"
%token <word> LATER "a statement of a later version"
%token DOTS "'..'" SHL "'<<'" SHR "'>>'" LE "'<='" GE "'>='" EQ "'=='" NE "'!='"

%right '?' ':'
%left OR
%left AND
%precedence NOT ANY ALL COUNT
%left '<' LE '>' GE EQ NE IN
%left '|'
%left '^'
%left '&'
%nonassoc DOTS
%precedence STEP
%left SHL SHR
%left '+' '-'
%left '*' '/' '%'
%precedence NEGATIVE

%type <node> expr primary band mode
%type <derived> clauses
%type <list> exprs some_exprs names some_names bindings some_bindings map_indices
%type <list> derived_indices as_names bands
%type <decl> param_decl plain_decl input_decl map_decl
%type <decls> param_decls plain_decls input_decls map_decls where
%type <stmt> item statement
%type <stmts> items statements

%start file

%%

file: items { parser->statements = $1; };

items:
    %empty              { $$ = (struct ast_stmts){NULL, NULL}; }
  | items item          { $$ = $1; parser_append(&$$, $2); }
  | items error ';'     { $$ = lost(parser, $1, @2); parser->lost_item = true; yyerrok; }
  | items error '}'     { $$ = lost(parser, $1, @2); parser->lost_item = true; yyerrok; }
  ;

item:
    statement
  | PATTERN NAME '{' statements '}' {
        $$ = statement(parser, STMT_PATTERN, @1);
        $$->name = (struct ast_name){$2, @2};
        $$->body = $4.first;
        $$->end = @5;
    }
  | PATTERN NAME '{' statements error '}' {
        $$ = statement(parser, STMT_PATTERN, @1);
        $$->name = (struct ast_name){$2, @2};
        $$->body = lost(parser, $4, @5).first;
        $$->end = @6;
        yyerrok;
    }
  | PATTERN error '{' statements '}' {
        $$ = statement(parser, STMT_LATER, @1);
        yyerrok;
    }
  ;

statements:
    %empty                  { $$ = (struct ast_stmts){NULL, NULL}; }
  | statements statement    { $$ = $1; parser_append(&$$, $2); }
  | statements error ';'    { $$ = lost(parser, $1, @2); yyerrok; }
  ;

statement:
    IMPORT STRING ';' {
        $$ = statement(parser, STMT_IMPORT, @1);
        $$->text = (struct ast_name){$2, @2};
    }
  | AXES some_names ';' {
        $$ = statement(parser, STMT_AXES, @1);
        $$->names = $2;
    }
  | CONST NAME plain_decls ';'  { $$ = declaration(parser, STMT_CONST, @1, $2, @2, $3.first); }
  | CONST plain_decls ';'       { $$ = declaration(parser, STMT_CONST, @1, NULL, @1, $2.first); }
  | LET plain_decls ';'         { $$ = declaration(parser, STMT_LET, @1, NULL, @1, $2.first); }
  | PARAM NAME param_decls ';'  { $$ = declaration(parser, STMT_PARAM, @1, $2, @2, $3.first); }
  | PARAM param_decls ';'       { $$ = declaration(parser, STMT_PARAM, @1, NULL, @1, $2.first); }
  | INPUT NAME input_decls ';'  { $$ = declaration(parser, STMT_INPUT, @1, $2, @2, $3.first); }
  | MAP map_decls ';'           { $$ = declaration(parser, STMT_MAP, @1, NULL, @1, $2.first); }
  | STAGE NAME '[' derived_indices ']' as_names '=' expr ';' {
        $$ = derived(parser, STMT_STAGE, @1, $2, @2, $4, $6);
        $$->derived->value = $8;
    }
  | STAGE NAME '[' derived_indices ']' as_names '=' expr WHERE expr ';' {
        $$ = derived(parser, STMT_STAGE, @1, $2, @2, $4, $6);
        $$->derived->value = $8;
        $$->derived->where = $10;
    }
  | SELECT NAME '[' derived_indices ']' as_names '=' mode OF NAME IN expr clauses ';' {
        $$ = derived(parser, STMT_SELECT, @1, $2, @2, $4, $6);
        struct ast_derived names = *$$->derived;
        *$$->derived = *$13;
        $$->derived->name = names.name;
        $$->derived->indices = names.indices;
        $$->derived->as = names.as;
        $$->derived->mode = $8;
        $$->derived->variable = (struct ast_name){$10, @10};
        $$->derived->set = $12;
    }
  | FN NAME '(' names ')' '=' expr where ';' {
        $$ = expression(parser, STMT_FN, @1, $7);
        $$->name = (struct ast_name){$2, @2};
        $$->names = $4;
        $$->decls = $8.first;
    }
  | REQUIRE expr ';'            { $$ = expression(parser, STMT_REQUIRE, @1, $2); }
  | REQUIRE expr ':' STRING ';' {
        $$ = expression(parser, STMT_REQUIRE, @1, $2);
        $$->text = (struct ast_name){$4, @4};
    }
  | KEEP expr ';'               { $$ = expression(parser, STMT_KEEP, @1, $2); }
  | KEEP expr AT expr ';'       { $$ = levelled(parser, STMT_KEEP, @1, $2, $4); }
  | KEEP AT expr ';'            { $$ = levelled(parser, STMT_KEEP, @1, NULL, $3); }
  | ADD expr AT expr ';'        { $$ = levelled(parser, STMT_ADD, @1, $2, $4); }
  | ADD AT expr ';'             { $$ = levelled(parser, STMT_ADD, @1, NULL, $3); }
  | ADD expr AT expr NAME expr ';' {
        $$ = levelled(parser, STMT_ADD, @1, $2, $4);
        $$->weight = spelled(parser, $5, @5, "weight") ? $6 : NULL;
    }
  | ADD AT expr NAME expr ';' {
        $$ = levelled(parser, STMT_ADD, @1, NULL, $3);
        $$->weight = spelled(parser, $4, @4, "weight") ? $5 : NULL;
    }
  | POOL expr NAME some_exprs ';' {
        $$ = expression(parser, STMT_POOL, @1, $2);
        spelled(parser, $3, @3, "by");
        $$->names = $4;
    }
  | BRANCH NAME '{' statements '}'  { $$ = branch(parser, @1, $2, @2, NULL, $4.first, @5); }
  | BRANCH NAME NAME expr '{' statements '}' {
        $$ = branch(parser, @1, $2, @2, spelled(parser, $3, @3, "weight") ? $4 : NULL, $6.first,
                    @7);
    }
  | MERGE NAME ';' {
        $$ = statement(parser, STMT_MERGE, @1);
        $$->name = (struct ast_name){$2, @2};
    }
  | MERGE NAME expr ';' {
        $$ = expression(parser, STMT_MERGE, @1, $3);
        $$->name = (struct ast_name){$2, @2};
    }
  | SCORE expr ';'              { $$ = expression(parser, STMT_SCORE, @1, $2); }
  | SEGMENTS segments {
        later(parser, @1, "segments");
        $$ = statement(parser, STMT_LATER, @1);
    }
  | LATER {
        $$ = statement(parser, STMT_LATER, @1);
        $$->name = (struct ast_name){$1, @1};
    }
  ;

segments:
    segment
  | segments segment
  ;

segment: NAME ':' some_names ';';

/* ---- declarations ------------------------------------------------------------------------ */

plain_decls:
    plain_decl                  { $$ = (struct ast_decls){$1, $1}; }
  | plain_decls ',' plain_decl  { $$ = $1; $$.last->next = $3; $$.last = $3; }
  ;

plain_decl: NAME '=' expr { $$ = declare(parser, $1, @1, NULL, $3); };

param_decls:
    param_decl                  { $$ = (struct ast_decls){$1, $1}; }
  | param_decls ',' param_decl  { $$ = $1; $$.last->next = $3; $$.last = $3; }
  ;

param_decl:
    NAME                            { $$ = declare(parser, $1, @1, NULL, NULL); }
  | NAME '=' expr                   { $$ = declare(parser, $1, @1, NULL, $3); }
  | NAME '[' exprs ']'              { $$ = declare(parser, $1, @1, $3, NULL); }
  | NAME '[' exprs ']' '=' expr     { $$ = declare(parser, $1, @1, $3, $6); }
  ;

input_decls:
    input_decl                  { $$ = (struct ast_decls){$1, $1}; }
  | input_decls ',' input_decl  { $$ = $1; $$.last->next = $3; $$.last = $3; }
  ;

input_decl:
    NAME                    { $$ = declare(parser, $1, @1, NULL, NULL); }
  | NAME '[' exprs ']'      { $$ = declare(parser, $1, @1, $3, NULL); }
  ;

map_decls:
    map_decl                { $$ = (struct ast_decls){$1, $1}; }
  | map_decls ',' map_decl  { $$ = $1; $$.last->next = $3; $$.last = $3; }
  ;

map_decl: NAME '[' map_indices ']' '=' expr { $$ = declare(parser, $1, @1, $3, $6); };

map_indices:
    NAME IN expr                    { $$ = append(parser, NULL, $1, @1, $3); }
  | map_indices ',' NAME IN expr    { $$ = append(parser, $1, $3, @3, $5); }
  ;

derived_indices:
    expr                        { $$ = append_index(parser, NULL, $1); }
  | derived_indices ',' expr    { $$ = append_index(parser, $1, $3); }
  ;

as_names:
    %empty                  { $$ = NULL; }
  | AS '(' some_names ')'   { $$ = $3; }
  ;

mode:
    NAME '(' exprs ')'      { $$ = named(parser, @$, AST_CALL, $1, @1, $3); }
  | NAME '(' bands ')'      { $$ = named(parser, @$, AST_CALL, $1, @1, $3); }
  ;

bands:
    band                    { $$ = append(parser, NULL, NULL, @1, $1); }
  | bands ',' band          { $$ = append(parser, $1, NULL, @3, $3); }
  ;

band:
    expr ':' expr {
        $$ = operation(parser, @$, AST_BAND, AST_NOT, $1, $3, NULL);
    }
  | expr ':' expr STEP expr {
        $$ = operation(parser, @$, AST_BAND, AST_NOT, $1, $3, $5);
    }
  ;

clauses:
    %empty                  { $$ = ARENA_NEW(parser->arena, struct ast_derived); }
  | clauses WHERE expr      { $$ = $1; clause(parser, &$$->where, $3, @2, "where"); }
  | clauses RANKED BY expr  { $$ = $1; clause(parser, &$$->value, $4, @2, "ranked by"); }
  | clauses OVER '(' some_names ')' {
        $$ = $1;
        if ($$->together)
            diag_error(parser->diags, @2, "'over' stands twice in this selection");
        $$->together = $4;
    }
  | clauses ALWAYS expr     { $$ = $1; clause(parser, &$$->always, $3, @2, "always"); }
  | clauses LEAST expr      { $$ = $1; clause(parser, &$$->least, $3, @2, "least"); }
  | clauses MOST expr       { $$ = $1; clause(parser, &$$->most, $3, @2, "most"); }
  ;

where:
    %empty              { $$ = (struct ast_decls){NULL, NULL}; }
  | WHERE plain_decls   { $$ = $2; }
  ;

names:
    %empty              { $$ = NULL; }
  | some_names
  ;

some_names:
    NAME                { $$ = append(parser, NULL, $1, @1, NULL); }
  | some_names ',' NAME { $$ = append(parser, $1, $3, @3, NULL); }
  ;

/* ---- expressions ------------------------------------------------------------------------- */

expr:
    primary
  | expr '?' expr ':' expr {
        $$ = operation(parser, @$, AST_TERNARY, AST_NOT, $1, $3, $5);
    }
  | expr OR expr        { $$ = binary(parser, @$, AST_OR, $1, $3); }
  | expr AND expr       { $$ = binary(parser, @$, AST_AND, $1, $3); }
  | NOT expr            { $$ = operation(parser, @$, AST_UNARY, AST_NOT, $2, NULL, NULL); }
  | expr '<' expr       { $$ = comparison(parser, @$, @2, AST_LT, $1, $3); }
  | expr LE expr        { $$ = comparison(parser, @$, @2, AST_LE, $1, $3); }
  | expr '>' expr       { $$ = comparison(parser, @$, @2, AST_GT, $1, $3); }
  | expr GE expr        { $$ = comparison(parser, @$, @2, AST_GE, $1, $3); }
  | expr EQ expr        { $$ = comparison(parser, @$, @2, AST_EQ, $1, $3); }
  | expr NE expr        { $$ = comparison(parser, @$, @2, AST_NE, $1, $3); }
  | expr IN expr        { $$ = comparison(parser, @$, @2, AST_IN, $1, $3); }
  | expr '|' expr       { $$ = binary(parser, @$, AST_BIT_OR, $1, $3); }
  | expr '^' expr       { $$ = binary(parser, @$, AST_BIT_XOR, $1, $3); }
  | expr '&' expr       { $$ = binary(parser, @$, AST_BIT_AND, $1, $3); }
  | expr SHL expr       { $$ = binary(parser, @$, AST_SHL, $1, $3); }
  | expr SHR expr       { $$ = binary(parser, @$, AST_SHR, $1, $3); }
  | expr '+' expr       { $$ = binary(parser, @$, AST_ADD, $1, $3); }
  | expr '-' expr       { $$ = binary(parser, @$, AST_SUB, $1, $3); }
  | expr '*' expr       { $$ = binary(parser, @$, AST_MUL, $1, $3); }
  | expr '/' expr       { $$ = binary(parser, @$, AST_DIV, $1, $3); }
  | expr '%' expr       { $$ = binary(parser, @$, AST_MOD, $1, $3); }
  | expr DOTS expr %prec DOTS {
        $$ = operation(parser, @$, AST_RANGE, AST_NOT, $1, $3, NULL);
    }
  | expr DOTS expr STEP expr %prec STEP {
        $$ = operation(parser, @$, AST_RANGE, AST_NOT, $1, $3, $5);
    }
  | '-' expr %prec NEGATIVE {
        $$ = operation(parser, @$, AST_UNARY, AST_NEGATE, $2, NULL, NULL);
    }
  | ANY NAME IN expr ':' expr %prec ANY {
        struct ast *node = ast_operation(parser->arena, AST_QUANTIFIER, AST_ANY, @$, $4, $6, NULL);
        node->name = (struct ast_name){$2, @2};
        $$ = parser_checked(parser, node);
    }
  | ALL NAME IN expr ':' expr %prec ALL {
        struct ast *node = ast_operation(parser->arena, AST_QUANTIFIER, AST_ALL, @$, $4, $6, NULL);
        node->name = (struct ast_name){$2, @2};
        $$ = parser_checked(parser, node);
    }
  | COUNT NAME IN expr ':' expr %prec COUNT {
        struct ast *node =
            ast_operation(parser->arena, AST_QUANTIFIER, AST_COUNT, @$, $4, $6, NULL);
        node->name = (struct ast_name){$2, @2};
        $$ = parser_checked(parser, node);
    }
  | REDUCTION NAME IN expr ':' expr %prec ANY {
        $$ = reduce(parser, @$, AST_REDUCE, $1, $2, @2, $4, $6);
    }
  | REDUCTION NAME OF NAME {
        $$ = reduce(parser, @$, AST_REDUCE_OF, $1, $2, @2,
                    named(parser, @4, AST_NAME, $4, @4, NULL), NULL);
    }
  | REDUCTION NAME NAME OF NAME {
        expect_words(parser, @2, $2, $3);
        $$ = reduce(parser, @$, AST_REDUCE_OF, $1, NULL, @2,
                    named(parser, @5, AST_NAME, $5, @5, NULL), NULL);
    }
  ;

primary:
    INTEGER {
        struct ast *node = ast_new(parser->arena, AST_INT, @$);
        node->as.integer = $1;
        $$ = node;
    }
  | REAL {
        struct ast *node = ast_new(parser->arena, AST_REAL, @$);
        node->as.real = $1;
        $$ = node;
    }
  | TRUE {
        struct ast *node = ast_new(parser->arena, AST_BOOL, @$);
        node->as.boolean = true;
        $$ = node;
    }
  | FALSE               { $$ = ast_new(parser->arena, AST_BOOL, @$); }
  | NAME                { $$ = named(parser, @$, AST_NAME, $1, @1, NULL); }
  | BRANCH              { $$ = named(parser, @$, AST_NAME, $1, @1, NULL); }
  | NAME '.' NAME {
        struct ast *node = ast_new(parser->arena, AST_MEMBER, @$);
        node->name = (struct ast_name){$1, @1};
        node->as.member = (struct ast_name){$3, @3};
        $$ = node;
    }
  | NAME '(' exprs ')'          { $$ = named(parser, @$, AST_CALL, $1, @1, $3); }
  | NAME '[' exprs ']'          { $$ = named(parser, @$, AST_INDEX, $1, @1, $3); }
  | NAME '(' exprs ')' '[' exprs ']' {
        struct ast *call = named(parser, @1, AST_CALL, $1, @1, $3);
        struct ast *index = named(parser, @5, AST_INDEX, $1, @1, $6);
        $$ = operation(parser, @$, AST_POOLED, AST_NOT, call, index, NULL);
    }
  | USE NAME '(' bindings ')'   { $$ = named(parser, @$, AST_USE, $2, @2, $4); }
  | '{' exprs '}'               { $$ = named(parser, @$, AST_SET, NULL, @1, $2); }
  | '(' expr ')' {
        $2->parenthesised = true;
        $$ = $2;
    }
  ;

exprs:
    %empty              { $$ = NULL; }
  | some_exprs
  ;

some_exprs:
    expr                { $$ = append(parser, NULL, NULL, @1, $1); }
  | some_exprs ',' expr { $$ = append(parser, $1, NULL, @3, $3); }
  ;

bindings:
    %empty              { $$ = NULL; }
  | some_bindings
  ;

some_bindings:
    NAME '=' expr                   { $$ = append(parser, NULL, $1, @1, $3); }
  | some_bindings ',' NAME '=' expr { $$ = append(parser, $1, $3, @3, $5); }
  ;

%%

/* The stack is full (yyreport_syntax_error has the rest): something nests without end. */
static void dsl_error(const struct span *span, struct parser *parser, const char *message) {
    (void)message;
    parser_too_deep(parser, *span);
}

enum { MAX_EXPECTED = 64 };

static int token_of(yysymbol_kind_t symbol) {
    for (int token = 0; token <= YYMAXUTOK; token++)
        if (YYTRANSLATE(token) == symbol)
            return token;
    return DSL_UNDEF;
}

static int yyreport_syntax_error(const yypcontext_t *context, struct parser *parser) {
    yysymbol_kind_t expected[MAX_EXPECTED];
    if (parser->diags->error_count >= DIAG_ERROR_LIMIT) { /* counted, never shown */
        diag_error(parser->diags, *yypcontext_location(context), "syntax error");
        return 0;
    }
    int count = yypcontext_expected_tokens(context, expected, MAX_EXPECTED);
    int tokens[MAX_EXPECTED];
    for (int i = 0; i < count; i++)
        tokens[i] = token_of(expected[i]);
    parser_unexpected(parser, token_of(yypcontext_token(context)), *yypcontext_location(context),
                      tokens, count);
    return 0;
}
