// Stage check: the entries, and the order of things.
//
//   files and imports -> functions, each on its own -> patterns of the file, in order
//
// Patterns of imported files are checked when one of them is used.

#include "dsl/checker.h"

#include <locale.h>
#include <string.h>

struct root *root_new(struct checker *checker, struct expr_graph *graph) {
    struct root *root = ARENA_NEW(checker->arena, struct root);
    root->checker = checker;
    root->graph = graph;
    root->memo = memo_new(checker->arena);
    root->head = expr_ref(graph, (struct span){0}, OP_HEAD, TYPE_INT, 0, 0, NULL, 0);
    root->pattern = ARENA_NEW(checker->arena, struct pattern);
    root->pattern->graph = graph;
    root->pattern->diags = checker->diags;
    return root;
}

static void checker_init(struct checker *checker, struct arena *arena, struct diags *diags,
                         struct error *error, const struct check_options *options) {
    memset(checker, 0, sizeof *checker);
    checker->arena = arena;
    checker->diags = diags;
    checker->error = error;
    checker->options = options;
    checker->tokens_left = MAX_TOKENS;
    checker->steps_left = MAX_STEPS;
    struct words *words = &checker->words;
    words_init(words, arena);
    parser_reserve_words(words);
    checker->word_head = words_text(words, "head");
    checker->word_heads = words_text(words, "heads");
    checker->word_kv_head = words_text(words, "kv_head");
    checker->word_batch = words_text(words, "batch");
    checker->word_causal = words_text(words, "causal");
    checker->word_s = words_text(words, "s");
    checker->word_q = words_text(words, "q");
    checker->word_k = words_text(words, "k");
    checker->word_token = words_text(words, "token");
    checker->word_segment = words_text(words, "segment");
    checker->word_blocks = words_text(words, "blocks");
    checker->word_int = words_text(words, "int");
    checker->word_real = words_text(words, "real");
    checker->word_set = words_text(words, "set");
    checker->scratch = ARENA_NEW(arena, struct expr_graph);
    expr_graph_init(checker->scratch, arena);
    checker->nowhere = root_new(checker, checker->scratch);
    checker->nowhere->no_axes = true;
}

// ---- which pattern ---------------------------------------------------------------------------

static bool named_like_file(const char *pattern, const char *path) {
    static const char suffix[] = ".heddle";
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    size_t length = strlen(base), end = sizeof suffix - 1;
    if (length > end && strcmp(base + length - end, suffix) == 0)
        length -= end;
    return strlen(pattern) == length && strncmp(pattern, base, length) == 0;
}

static struct pattern_decl *choose(const struct checker *checker, const char *path) {
    const struct check_options *options = checker->options;
    const char *wanted = options ? options->pattern : NULL;
    struct pattern_decl *chosen = NULL;
    for (struct pattern_decl *decl = checker->files->patterns; decl; decl = decl->next) {
        const char *name = decl->stmt->name.text;
        if (wanted ? strcmp(name, wanted) == 0 : named_like_file(name, path))
            return decl;
        if (!wanted)
            chosen = decl;
    }
    return chosen;
}

static enum heddle_status no_such_pattern(struct checker *checker, const char *path) {
    const char *wanted = checker->options->pattern;
    struct nearest nearest;
    nearest_init(&nearest, wanted);
    for (struct pattern_decl *decl = checker->files->patterns; decl; decl = decl->next)
        nearest_offer(&nearest, decl->stmt->name.text);
    return error_set(checker->error, HEDDLE_BAD_ARGUMENT, "'%s' declares no pattern '%s'%s%s%s",
                     path, wanted, nearest.best ? "; did you mean '" : "",
                     nearest.best ? nearest.best : "", nearest.best ? "'?" : "");
}

// Every --const must be one of the chosen pattern's.
static enum heddle_status check_overrides(struct checker *checker) {
    const struct check_options *options = checker->options;
    const struct pattern *pattern = checker->chosen->pattern;
    for (int i = 0; options && i < options->const_count; i++) {
        const char *name = options->consts[i].name;
        struct nearest nearest;
        nearest_init(&nearest, name);
        bool found = false;
        for (int j = 0; j < pattern->const_count && !found; j++) {
            found = strcmp(pattern->consts[j].name, name) == 0;
            nearest_offer(&nearest, pattern->consts[j].name);
        }
        if (!found)
            return error_set(checker->error, HEDDLE_BAD_ARGUMENT,
                             "pattern '%s' has no const '%s'%s%s%s", pattern->name, name,
                             nearest.best ? "; did you mean '" : "",
                             nearest.best ? nearest.best : "", nearest.best ? "'?" : "");
    }
    return HEDDLE_OK;
}

// ---- the stage -------------------------------------------------------------------------------

static void check_functions(struct checker *checker) {
    for (const struct file *file = checker->files; file; file = file->next) {
        struct place place = file_place(checker, file);
        for (struct binding *binding = file->functions->first; binding; binding = binding->next)
            if (binding->function->state == UNCHECKED)
                check_function(&place, binding->function);
    }
}

static enum heddle_status check_all(struct checker *checker, const char *path, const char *text,
                                    size_t length_bytes, struct pattern **out_pattern) {
    struct diags *diags = checker->diags;
    uint32_t errors_before = diags->error_count;
    enum heddle_status status = load_files(checker, path, text, length_bytes);
    if (status != HEDDLE_OK)
        return status;
    if (checker->files) {
        checker->chosen = choose(checker, path);
        check_functions(checker);
        for (struct pattern_decl *decl = checker->files->patterns; decl; decl = decl->next)
            if (decl->state == UNCHECKED)
                check_pattern(checker, decl);
        if (!checker->files->patterns && diags->error_count == errors_before)
            diag_error(diags,
                       (struct span){.source = checker->files->source, .line = 1, .column = 1},
                       "this file declares no pattern");
    }
    if (checker->status != HEDDLE_OK)
        return checker->status;
    uint32_t errors = diags->error_count - errors_before;
    if (errors > 0)
        return error_set(checker->error, HEDDLE_PATTERN_ERROR, "%s: %u error%s", path, errors,
                         errors == 1 ? "" : "s");
    if (!checker->chosen)
        return no_such_pattern(checker, path);
    *out_pattern = checker->chosen->pattern;
    return check_overrides(checker);
}

static enum heddle_status dump(struct arena *arena, struct diags *diags, const char *path,
                               const char *text, size_t length_bytes, struct strbuf *out,
                               struct error *error) {
    struct words words;
    uint32_t tokens = MAX_TOKENS, errors_before = diags->error_count;
    words_init(&words, arena);
    parser_reserve_words(&words);
    struct ast_stmts statements = {0};
    if (length_bytes > MAX_FILE_BYTES) {
        diag_error(diags, (struct span){0}, "'%s' is over %d MiB", path, MAX_FILE_BYTES >> 20);
    } else {
        uint32_t source = diags_add_source(diags, path, text, length_bytes);
        if (source_is_text(diags, source))
            statements = parse_source(arena, diags, &words, source, &tokens);
    }
    if (diags->error_count > errors_before)
        return error_set(error, HEDDLE_PATTERN_ERROR, "%s: the text does not parse", path);
    ast_print(statements.first, out);
    return out->failed ? error_set(error, HEDDLE_OUT_OF_MEMORY, "%s: out of memory", path)
                       : HEDDLE_OK;
}

// ---- entries ---------------------------------------------------------------------------------

// What an entry was asked for: out NULL for a check.
struct request {
    struct arena *arena;
    struct diags *diags;
    const char *path, *text;
    size_t length_bytes;
    const struct check_options *options;
    struct pattern **out_pattern;
    struct strbuf *out;
    struct error *error;
};

static enum heddle_status answer(const struct request *request) {
    if (request->out)
        return dump(request->arena, request->diags, request->path, request->text,
                    request->length_bytes, request->out, request->error);
    struct checker checker;
    checker_init(&checker, request->arena, request->diags, request->error, request->options);
    return check_all(&checker, request->path, request->text, request->length_bytes,
                     request->out_pattern);
}

// Runs with a way out of the arena of its own; *out_escaped tells whether it was taken.
static enum heddle_status answer_or_escape(const struct request *request, bool *out_escaped) {
    jmp_buf *outer = request->arena->escape;
    jmp_buf escape;
    *out_escaped = setjmp(escape) != 0;
    if (*out_escaped) {
        request->arena->escape = outer;
        return error_set(request->error, HEDDLE_OUT_OF_MEMORY, "%s: out of memory", request->path);
    }
    request->arena->escape = &escape;
    enum heddle_status status = answer(request);
    request->arena->escape = outer;
    return status;
}

// Numbers are read and written with a point, whatever the host's locale.
static enum heddle_status serve(const struct request *request) {
    bool escaped;
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    locale_t before = plain ? uselocale(plain) : (locale_t)0;
    enum heddle_status status = answer_or_escape(request, &escaped);
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
    if (escaped && request->arena->escape) // the caller has a way out of its own
        longjmp(*request->arena->escape, 1);
    return status;
}

enum heddle_status check_text(struct arena *arena, struct diags *diags, const char *path,
                              const char *text, size_t length_bytes,
                              const struct check_options *options, struct pattern **out_pattern,
                              struct error *error) {
    return serve(&(struct request){arena, diags, path, text, length_bytes, options, out_pattern,
                                   NULL, error});
}

enum heddle_status check_file(struct arena *arena, struct diags *diags, const char *path,
                              const struct check_options *options, struct pattern **out_pattern,
                              struct error *error) {
    return serve(&(struct request){arena, diags, path, NULL, 0, options, out_pattern, NULL, error});
}

enum heddle_status parse_dump(struct arena *arena, struct diags *diags, const char *path,
                              const char *text, size_t length_bytes, struct strbuf *out,
                              struct error *error) {
    return serve(&(struct request){arena, diags, path, text, length_bytes, NULL, NULL, out, error});
}
