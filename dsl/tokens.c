// The token stream between lexer and grammar: limits, statements of later versions, and what syntax
// errors say.

#include "dsl/parser.h"

#include "dsl/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int dsl_scan(DSL_STYPE *value, struct span *span, void *scanner);
int dsl_lex(DSL_STYPE *value, struct span *span, struct parser *parser);

static const struct reserved {
    const char *text;
    int token;
    bool opens_statement, later;
} reserved[] = {
    {"pattern", PATTERN, true, false},
    {"import", IMPORT, true, false},
    {"fn", FN, true, false},
    {"axes", AXES, true, false},
    {"const", CONST, true, false},
    {"param", PARAM, true, false},
    {"input", INPUT, true, false},
    {"let", LET, true, false},
    {"map", MAP, true, false},
    {"require", REQUIRE, true, false},
    {"keep", KEEP, true, false},
    {"score", SCORE, true, false},
    {"segments", SEGMENTS, true, false},
    {"select", SELECT, true, false},
    {"stage", STAGE, true, false},
    {"pool", POOL, true, false},
    {"add", ADD, true, false},
    {"branch", BRANCH, true, false},
    {"merge", MERGE, true, false},
    {"order", ORDER, true, true},
    {"layer", LAYER, true, true},
    {"at", AT, false, false},
    {"where", WHERE, false, false},
    {"step", STEP, false, false},
    {"use", USE, false, false},
    {"true", TRUE, false, false},
    {"false", FALSE, false, false},
    {"and", AND, false, false},
    {"or", OR, false, false},
    {"not", NOT, false, false},
    {"in", IN, false, false},
    {"any", ANY, false, false},
    {"all", ALL, false, false},
    {"count", COUNT, false, false},
};
enum { RESERVED_COUNT = sizeof reserved / sizeof *reserved };

void parser_reserve_words(struct words *words) {
    for (int i = 0; i < RESERVED_COUNT; i++)
        words_get(words, reserved[i].text, strlen(reserved[i].text))->token = reserved[i].token;
}

static const struct reserved *reserved_word(int token) {
    for (int i = 0; i < RESERVED_COUNT; i++)
        if (reserved[i].token == token)
            return &reserved[i];
    return NULL;
}

// ---- called by the lexer --------------------------------------------------------------------

static uint32_t count_columns(const char *text, size_t length_bytes) {
    uint32_t columns = 0;
    for (size_t i = 0; i < length_bytes; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80; // not for continuation bytes
    return columns;
}

struct span parser_advance(struct parser *parser, const char *text, size_t length_bytes) {
    struct span span = {parser->source, parser->offset, parser->offset + (uint32_t)length_bytes,
                        parser->line, parser->column};
    parser->offset += (uint32_t)length_bytes;
    parser->column += count_columns(text, length_bytes);
    return span;
}

void parser_newline(struct parser *parser) {
    parser->line++;
    parser->column = 1;
}

uint64_t parser_integer(struct parser *parser, struct span span, const char *text, size_t length) {
    const uint64_t most = (uint64_t)1 << 63; // fits after a minus sign only; check looks at that
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (most - digit) / 10) {
            diag_error(parser->diags, span, "this integer does not fit 64 bits");
            return 0;
        }
        value = value * 10 + digit;
    }
    return value;
}

double parser_real(struct parser *parser, struct span span, const char *text, size_t length) {
    if (length > MAX_NUMBER_BYTES) {
        diag_error(parser->diags, span, "a number has at most %d digits", MAX_NUMBER_BYTES);
        return 0;
    }
    double value = strtod(text, NULL);
    if (isfinite(value))
        return value;
    diag_error(parser->diags, span, "this number is beyond the range of a real");
    return 0;
}

const struct word *parser_word(struct parser *parser, struct span span, const char *text,
                               size_t length) {
    if (length > MAX_NAME_BYTES) {
        diag_error(parser->diags, span, "a name has at most %d bytes", MAX_NAME_BYTES);
        length = MAX_NAME_BYTES;
    }
    return words_get(parser->words, text, length);
}

void parser_stray(struct parser *parser, struct span span, const char *text, size_t length) {
    if (length == 1 && ((unsigned char)text[0] < 0x20 || text[0] == 0x7f))
        diag_error(parser->diags, span, "a control character (byte %d) has no meaning here",
                   text[0]);
    else
        diag_error(parser->diags, span, "'%.*s' has no meaning here",
                   (int)(length < 32 ? length : 32), text);
}

// ---- the stream -----------------------------------------------------------------------------

static int stop(struct parser *parser) {
    parser->stopped = true;
    return 0;
}

void parser_too_deep(struct parser *parser, struct span span) {
    if (!parser->nested_too_deep)
        diag_error(parser->diags, span, "this nests deeper than %d levels", MAX_NESTING);
    parser->nested_too_deep = true;
    parser->stopped = true;
}

struct ast *parser_checked(struct parser *parser, struct ast *node) {
    if (node->depth <= MAX_NESTING)
        return node;
    parser_too_deep(parser, node->span);
    return ast_new(parser->arena, AST_POISON, node->span);
}

static void count_brackets(struct parser *parser, int token, struct span span) {
    if (token == '(' || token == '[' || token == '{') {
        if (++parser->brackets > MAX_NESTING)
            parser_too_deep(parser, span);
    } else if ((token == ')' || token == ']' || token == '}') && parser->brackets > 0) {
        parser->brackets--;
    }
}

static int next_token(struct parser *parser, DSL_STYPE *value, struct span *span) {
    // Past so many errors nothing is learnt from more of them.
    parser->stopped = parser->stopped || parser->diags->error_count > MAX_ERRORS;
    if (parser->stopped || parser->ended) {
        *span = parser->previous_span;
        return 0;
    }
    if (parser->pending) {
        int token = parser->pending;
        *span = parser->pending_span;
        parser->pending = 0;
        return token;
    }
    int token = dsl_scan(value, span, parser->scanner);
    if (token == 0) {
        *span = parser_advance(parser, "", 0);
        parser->ended = true;
    } else if (*parser->tokens == 0) {
        diag_error(parser->diags, *span, "the files are too long: more than %d words and signs",
                   MAX_TOKENS);
        return stop(parser);
    } else {
        --*parser->tokens;
    }
    count_brackets(parser, token, *span);
    return parser->stopped ? 0 : token;
}

// Reads past a statement of a later version. Its first name is kept, so that uses of it elsewhere
// need not be errors of their own. The end is a ';', or the brace that closes a block.
static const char *skip_statement(struct parser *parser, bool is_block) {
    const char *name = NULL;
    int depth = 0;
    for (;;) {
        DSL_STYPE value;
        struct span span;
        int token = next_token(parser, &value, &span);
        if (token == 0 || (token == ';' && depth == 0))
            return name;
        if (token == '}' && depth == 0) {
            parser->pending = token;
            parser->pending_span = span;
            return name;
        }
        depth += token == '(' || token == '[' || token == '{';
        depth -= (token == ')' || token == ']' || token == '}') && depth > 0;
        if (token == '}' && depth == 0 && is_block)
            return name;
        if (token == NAME && !name)
            name = value.word;
    }
}

// Words with a meaning inside of stages and selections only, where no name can stand: after an
// operand. They stay names everywhere else.
static int clause_word(const char *text, int previous) {
    static const struct {
        const char *text;
        int token;
    } words[] = {{"as", AS},         {"of", OF},       {"ranked", RANKED}, {"over", OVER},
                 {"always", ALWAYS}, {"least", LEAST}, {"most", MOST}};
    bool after_operand = previous == NAME || previous == ')' || previous == ']' ||
                         previous == '}' || previous == INTEGER || previous == REAL ||
                         previous == TRUE || previous == FALSE;
    if (previous == RANKED && strcmp(text, "by") == 0)
        return BY;
    for (size_t i = 0; after_operand && i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i].text) == 0)
            return words[i].token;
    return NAME;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// sum, mean, max and min reduce where a name follows: sum x in 0 .. 4 : ... They are names
// elsewhere.
static bool is_reduction(const struct parser *parser, const char *word, struct span span) {
    static const char *const words[] = {"sum", "mean", "max", "min"};
    const char *text = parser->diags->sources[span.source].text + span.end;
    const char *end;
    bool known = false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        known = known || strcmp(word, words[i]) == 0;
    if (!known)
        return false;
    while (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r')
        text++;
    for (end = text; is_letter(*end) || (end > text && *end >= '0' && *end <= '9');)
        end++;
    if (end == text || end - text > MAX_NAME_BYTES)
        return false;
    const struct word *next = words_get(parser->words, text, (size_t)(end - text));
    return !next->token && (!parser->in_derived || clause_word(next->text, NAME) == NAME);
}

int dsl_lex(DSL_STYPE *value, struct span *span, struct parser *parser) {
    int previous = parser->previous;
    parser->before_span = parser->previous_span;
    int token = next_token(parser, value, span);
    bool at_start = previous == 0 || previous == ';' || previous == '{' || previous == '}';
    const struct reserved *word = at_start ? reserved_word(token) : NULL;
    if (word && word->later) {
        diag_error(parser->diags, *span, "'%s': not in this version", word->text);
        skip_statement(parser, token == LAYER);
        value->word = NULL;
        token = LATER;
    }
    if (previous == ';' || token == STAGE || token == SELECT)
        parser->in_derived = token == STAGE || token == SELECT;
    if (token == NAME && parser->in_derived)
        token = clause_word(value->word, previous);
    if (token == NAME && is_reduction(parser, value->word, *span))
        token = REDUCTION;
    parser->previous = token == LATER ? ';' : token;
    parser->previous_span = *span;
    return token;
}

// ---- syntax errors --------------------------------------------------------------------------

struct expectation {
    const int *tokens;
    int count;
};

static bool expects(const struct expectation *expected, int token) {
    for (int i = 0; i < expected->count; i++)
        if (expected->tokens[i] == token)
            return true;
    return false;
}

static const char *token_text(struct parser *parser, int token) {
    static const struct {
        int token;
        const char *text;
    } others[] = {
        {END, "the end of the file"},
        {NAME, "a name"},
        {STRING, "a text in quotes"},
        {INTEGER, "an integer"},
        {DOTS, "'..'"},
        {LE, "'<='"},
        {GE, "'>='"},
        {EQ, "'=='"},
        {NE, "'!='"},
        {SHL, "'<<'"},
        {SHR, "'>>'"},
        {AS, "'as'"},
        {OF, "'of'"},
        {RANKED, "'ranked by'"},
        {BY, "'by'"},
        {OVER, "'over'"},
        {ALWAYS, "'always'"},
        {LEAST, "'least'"},
        {MOST, "'most'"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].token == token)
            return others[i].text;
    const struct reserved *word = reserved_word(token);
    return word ? arena_format(parser->arena, "'%s'", word->text)
                : arena_format(parser->arena, "'%c'", token);
}

// The token as it was written.
static const char *seen_text(struct parser *parser, int token, struct span span) {
    if (token == END)
        return "the end of the file";
    size_t length = span.end - span.begin;
    return arena_format(parser->arena, "'%.*s%s'", (int)(length < 40 ? length : 40),
                        parser->diags->sources[span.source].text + span.begin,
                        length < 40 ? "" : "...");
}

// Among the tokens that may come next, the ones worth naming: after an expression not what would
// continue it.
static const char *closers(struct parser *parser, const struct expectation *expected) {
    static const int worth[] = {';', ',', ')', ']',  '}',    ':',     '=',
                                '{', '(', '[', NAME, STRING, INTEGER, IN};
    size_t count = expects(expected, OR) ? 6 : sizeof worth / sizeof *worth;
    const char *text = NULL;
    int named = 0;
    for (size_t i = 0; i < count && named < 4; i++) {
        if (!expects(expected, worth[i]))
            continue;
        const char *one = token_text(parser, worth[i]);
        text = text ? arena_format(parser->arena, "%s or %s", text, one) : one;
        named++;
    }
    return text ? text : token_text(parser, expected->count ? expected->tokens[0] : ';');
}

// Where the token before ended.
static struct span after_previous(const struct parser *parser) {
    struct span span = parser->before_span;
    const char *text = parser->diags->sources[span.source].text;
    span.column += count_columns(text + span.begin, span.end - span.begin);
    span.begin = span.end;
    return span;
}

static void not_a_statement(struct parser *parser, int token, struct span span) {
    if (token != NAME) {
        diag_error(parser->diags, span, "expected a statement, saw %s",
                   seen_text(parser, token, span));
        return;
    }
    const char *text =
        words_get(parser->words, parser->diags->sources[span.source].text + span.begin,
                  span.end - span.begin)
            ->text;
    struct nearest nearest;
    nearest_init(&nearest, text);
    for (int i = 0; i < RESERVED_COUNT; i++)
        if (reserved[i].opens_statement && !reserved[i].later)
            nearest_offer(&nearest, reserved[i].text);
    if (nearest.best)
        diag_error(parser->diags, span, "'%s' starts no statement; did you mean '%s'?", text,
                   nearest.best);
    else
        diag_error(parser->diags, span, "'%s' starts no statement", text);
}

static void wrong_continuation(struct parser *parser, int token, struct span span,
                               const struct expectation *expected, struct span previous_end) {
    bool next_line = span.line > previous_end.line;
    if (expects(expected, ';') && (next_line || token == END)) {
        diag_error(parser->diags, previous_end, "expected ';' before %s",
                   seen_text(parser, token, span));
        return;
    }
    const char *hint = token == '=' && expects(expected, EQ) ? "; equality is written '=='" : "";
    diag_error(parser->diags, span, "expected %s, saw %s%s", closers(parser, expected),
               seen_text(parser, token, span), hint);
}

void parser_unexpected(struct parser *parser, int token, struct span span, const int *tokens,
                       int count) {
    struct expectation expected = {tokens, count};
    const struct reserved *word = reserved_word(token);
    if (parser->stopped)
        return;
    if (expects(&expected, KEEP) && token == '}') {
        if (!parser->lost_item)
            diag_error(parser->diags, span, "this '}' closes nothing");
    } else if (expects(&expected, KEEP) && token == END)
        diag_error(parser->diags, span, "expected '}' before the end of the file");
    else if (expects(&expected, KEEP))
        not_a_statement(parser, token, span);
    else if (expects(&expected, INTEGER))
        diag_error(parser->diags, span, "expected an expression, saw %s",
                   seen_text(parser, token, span));
    else if (word && expects(&expected, NAME))
        diag_error(parser->diags, span, "'%s' is a reserved word and cannot be a name", word->text);
    else
        wrong_continuation(parser, token, span, &expected, after_previous(parser));
}

// ---- the stage ------------------------------------------------------------------------------

void parser_append(struct ast_stmts *list, struct ast_stmt *stmt) {
    *(list->last ? &list->last->next : &list->first) = stmt;
    list->last = stmt;
}

struct ast_stmts parse_source(struct arena *arena, struct diags *diags, struct words *words,
                              uint32_t source, uint32_t *tokens) {
    struct parser parser = {.arena = arena,
                            .diags = diags,
                            .words = words,
                            .source = source,
                            .tokens = tokens,
                            .line = 1,
                            .column = 1};
    parser.previous_span = parser.before_span = (struct span){source, 0, 0, 1, 1};
    parser_open(&parser);
    dsl_parse(&parser);
    return parser.statements;
}
