// Stage `parse`: text -> syntax tree. What lexer, token stream and grammar share.
//
//   lex.l      bytes -> tokens, with spans; reports what is no token
//   tokens.c   token stream as the grammar sees it: limits, statements of later versions, and the
//              words for syntax errors
//   parse.y    tokens -> tree
#ifndef HEDDLE_DSL_PARSER_H
#define HEDDLE_DSL_PARSER_H

#include "dsl/ast.h"
#include "dsl/words.h"

enum {
    MAX_FILE_BYTES = 16 << 20,
    MAX_ERRORS = 1000,     // counted; then the rest of the file is not read
    MAX_TOKENS = 1000000,  // of all files of a compilation together
    MAX_NUMBER_BYTES = 400 // of a literal; more digits than any double needs to be written out
};

struct parser {
    struct arena *arena;
    struct diags *diags;
    struct words *words;
    uint32_t source;             // index in diags
    uint32_t *tokens;            // borrowed: counts down from MAX_TOKENS
    void *scanner;               // flex
    struct ast_stmts statements; // the result
    bool stopped;                // a limit was passed: the rest of the file is not read
    bool lost_item; // a syntax error outside of patterns: what follows may have lost its place
    bool nested_too_deep; // reported once

    // Position of the lexer.
    uint32_t offset, line, column;

    // Of the token stream.
    int previous; // token before the next one; 0 at the start
    struct span previous_span;
    struct span before_span; // of the token before the last one given out
    int brackets;            // open ( [ {
    int pending;             // a token read ahead, or 0
    struct span pending_span;
    bool in_derived; // inside of a stage or a selection: some names are words of it
    bool ended;      // the lexer has given its end; it must not be asked again
};

// Parses a registered source. Errors are in diags; the tree holds what could be read.
struct ast_stmts parse_source(struct arena *arena, struct diags *diags, struct words *words,
                              uint32_t source, uint32_t *tokens);
// Enters the reserved words.
void parser_reserve_words(struct words *words);

// ---- between lex.l, tokens.c and parse.y ----------------------------------------------------

void parser_open(struct parser *parser); // makes the scanner
struct span parser_advance(struct parser *parser, const char *text, size_t length_bytes);
void parser_newline(struct parser *parser);
uint64_t parser_integer(struct parser *parser, struct span span, const char *text, size_t length);
double parser_real(struct parser *parser, struct span span, const char *text, size_t length);
const struct word *parser_word(struct parser *parser, struct span span, const char *text,
                               size_t length);
void parser_stray(struct parser *parser, struct span span, const char *text, size_t length);
// "expected ..., saw ...": `expected` are token numbers.
void parser_unexpected(struct parser *parser, int token, struct span span, const int *expected,
                       int expected_count);
void parser_too_deep(struct parser *parser, struct span span);
// The node itself, or poison (with an error) where it nests too deep.
struct ast *parser_checked(struct parser *parser, struct ast *node);
void parser_append(struct ast_stmts *list, struct ast_stmt *stmt);

#endif
