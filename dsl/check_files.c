// Stage check: files - the one on the command line and what it imports.
//
// A file is read once however often it is imported; device and inode tell. Importing a file brings
// its own functions and patterns (not what it imports itself); the importing file's names win.

#include "dsl/checker.h"

#include <errno.h>
#include <string.h>

struct place file_place(const struct checker *checker, const struct file *file) {
    return (struct place){.root = checker->nowhere,
                          .scope = file->functions,
                          .limit = UINT32_MAX,
                          .head = checker->nowhere->head};
}

// ---- declarations of a file ------------------------------------------------------------------

static void declare_pattern(struct checker *checker, struct file *file,
                            const struct ast_stmt *stmt) {
    struct place place = file_place(checker, file);
    struct pattern_decl *decl = ARENA_NEW(checker->arena, struct pattern_decl);
    decl->stmt = stmt;
    decl->file = file;
    scope_declare(&place, file->pattern_names, BIND_PATTERN, "pattern", stmt->name)->pattern = decl;
    *(file->last_pattern ? &file->last_pattern->next : &file->patterns) = decl;
    file->last_pattern = decl;
}

static void declare_file(struct checker *checker, struct file *file) {
    static const char *const words[] = {
        [STMT_AXES] = "axes",   [STMT_CONST] = "const",     [STMT_PARAM] = "param",
        [STMT_INPUT] = "input", [STMT_LET] = "let",         [STMT_MAP] = "map",
        [STMT_KEEP] = "keep",   [STMT_REQUIRE] = "require", [STMT_SCORE] = "score",
        [STMT_POOL] = "pool",   [STMT_ADD] = "add",         [STMT_BRANCH] = "branch",
        [STMT_MERGE] = "merge"};
    struct place place = file_place(checker, file);
    for (const struct ast_stmt *stmt = file->statements.first; stmt; stmt = stmt->next) {
        // After a statement that was lost, others may only seem to stand outside of a pattern.
        bool lost = file->functions->incomplete;
        if (stmt->kind == STMT_LATER)
            file->functions->incomplete = true;
        else if (stmt->kind == STMT_PATTERN)
            declare_pattern(checker, file, stmt);
        else if (stmt->kind != STMT_FN && stmt->kind != STMT_IMPORT && !lost)
            complain(&place, stmt->span, "'%s' belongs inside a pattern: pattern NAME { ... }",
                     words[stmt->kind]);
    }
    declare_functions(&place, file->functions, file->statements.first);
}

// ---- imports ---------------------------------------------------------------------------------

// Makes the names of one scope known in another, through its parent.
static void import_names(struct checker *checker, const struct file *file, struct scope *to,
                         const struct scope *from) {
    struct place place = file_place(checker, file);
    for (const struct binding *name = from->first; name; name = name->next) {
        struct binding *other = scope_find(to->parent, name->name.text);
        if (other && (other->function != name->function || other->pattern != name->pattern))
            other->kind = BIND_AMBIGUOUS;
        if (other)
            continue;
        struct binding *binding =
            scope_declare(&place, to->parent, name->kind, name->what, name->name);
        binding->function = name->function;
        binding->pattern = name->pattern;
    }
}

static const char *beside(struct checker *checker, const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    if (name[0] == '/' || !slash)
        return name;
    return arena_format(checker->arena, "%.*s/%s", (int)(slash - path), path, name);
}

// The first place where the imported file is, or NULL.
static const char *find_import(struct checker *checker, const struct file *file, const char *name) {
    struct loaded ignored;
    const char *path = beside(checker, checker->diags->sources[file->source].path, name);
    if (load_identity(path, &ignored))
        return path;
    const struct check_options *options = checker->options;
    for (int i = 0; options && i < options->import_dir_count; i++) {
        path = arena_format(checker->arena, "%s/%s", options->import_dirs[i], name);
        if (load_identity(path, &ignored))
            return path;
    }
    return NULL;
}

static struct file *known_file(const struct checker *checker, const struct loaded *identity) {
    for (struct file *file = checker->files; file; file = file->next)
        if (file->has_identity && file->device == identity->device &&
            file->inode == identity->inode)
            return file;
    return NULL;
}

static struct file *add_file(struct checker *checker, const char *path, const char *text,
                             size_t length_bytes, const struct loaded *identity,
                             struct span imported_at);

static struct file *load_import(struct checker *checker, const struct ast_stmt *stmt,
                                const char *path) {
    struct loaded loaded = {0};
    struct diags *diags = checker->diags;
    switch (load_file(checker->arena, path, &loaded)) {
    case LOAD_OK:
        return add_file(checker, path, loaded.text, loaded.length_bytes, &loaded, stmt->text.span);
    case LOAD_TOO_LARGE:
        diag_error(diags, stmt->text.span, "'%s' is over %d MiB", path, MAX_FILE_BYTES >> 20);
        break;
    case LOAD_NOT_A_FILE:
        diag_error(diags, stmt->text.span, "'%s' is not a file", path);
        break;
    default:
        diag_error(diags, stmt->text.span, "cannot read '%s': %s", path, strerror(errno));
    }
    return NULL;
}

static void report_cycle(struct checker *checker, const struct ast_stmt *stmt,
                         const struct file *importer, const struct file *imported) {
    if (importer == imported) {
        diag_error(checker->diags, stmt->text.span, "this file imports itself");
        return;
    }
    diag_error(checker->diags, stmt->text.span, "import cycle: '%s' is still being read",
               checker->diags->sources[imported->source].path);
    for (const struct file *file = importer; file != imported && file->imported_at.line;) {
        diag_note(checker->diags, file->imported_at, "'%s' is imported here",
                  checker->diags->sources[file->source].path);
        for (const struct file *other = checker->files; other; other = other->next)
            if (other->source == file->imported_at.source) {
                file = other;
                break;
            }
    }
}

static void read_import(struct checker *checker, struct file *file, const struct ast_stmt *stmt) {
    const char *name = stmt->text.text;
    const char *path = *name ? find_import(checker, file, name) : NULL;
    struct loaded identity;
    if (!path || !load_identity(path, &identity)) {
        diag_error(checker->diags, stmt->text.span,
                   "cannot find '%s', neither beside this file nor among the shipped patterns",
                   name);
        file->functions->incomplete = true;
        return;
    }
    struct file *imported = known_file(checker, &identity);
    if (imported && imported->loading) {
        report_cycle(checker, stmt, file, imported);
        return;
    }
    if (!imported && checker->file_count == MAX_FILES) {
        diag_error(checker->diags, stmt->text.span, "more than %d files", MAX_FILES);
        return;
    }
    if (!imported)
        imported = load_import(checker, stmt, path);
    if (!imported) {
        file->functions->incomplete = true;
        return;
    }
    import_names(checker, file, file->functions, imported->functions);
    import_names(checker, file, file->pattern_names, imported->pattern_names);
}

// ---- reading ---------------------------------------------------------------------------------

static struct file *add_file(struct checker *checker, const char *path, const char *text,
                             size_t length_bytes, const struct loaded *identity,
                             struct span imported_at) {
    struct file *file = ARENA_NEW(checker->arena, struct file);
    *(checker->last_file ? &checker->last_file->next : &checker->files) = file;
    checker->last_file = file;
    checker->file_count++;
    file->loading = true;
    file->imported_at = imported_at;
    if (identity) {
        file->has_identity = true;
        file->device = identity->device;
        file->inode = identity->inode;
    }
    file->functions = scope_new(checker, scope_new(checker, NULL, 0), UINT32_MAX);
    file->functions->file = file;
    file->pattern_names = scope_new(checker, scope_new(checker, NULL, 0), UINT32_MAX);
    file->source = diags_add_source(checker->diags, path, text, length_bytes);
    if (!source_is_text(checker->diags, file->source)) {
        file->functions->incomplete = true;
        file->loading = false;
        return file;
    }
    file->statements = parse_source(checker->arena, checker->diags, &checker->words, file->source,
                                    &checker->tokens_left);
    declare_file(checker, file);
    for (const struct ast_stmt *stmt = file->statements.first; stmt; stmt = stmt->next)
        if (stmt->kind == STMT_IMPORT)
            read_import(checker, file, stmt);
    file->loading = false;
    return file;
}

enum heddle_status load_files(struct checker *checker, const char *path, const char *text,
                              size_t length_bytes) {
    struct loaded loaded = {.length_bytes = length_bytes};
    bool has_identity = text && load_identity(path, &loaded);
    enum load_result result = LOAD_OK;
    if (!text) {
        result = load_file(checker->arena, path, &loaded);
        has_identity = true;
        text = loaded.text;
    } else if (length_bytes > MAX_FILE_BYTES) {
        result = LOAD_TOO_LARGE;
    }
    switch (result) {
    case LOAD_OK:
        add_file(checker, path, text, loaded.length_bytes, has_identity ? &loaded : NULL,
                 (struct span){0});
        return HEDDLE_OK;
    case LOAD_TOO_LARGE:
        diag_error(checker->diags, (struct span){0}, "'%s' is over %d MiB", path,
                   MAX_FILE_BYTES >> 20);
        return HEDDLE_OK;
    case LOAD_NOT_A_FILE:
        return error_set(checker->error, HEDDLE_IO_ERROR, "'%s' is not a file", path);
    default:
        return error_set(checker->error, HEDDLE_IO_ERROR, "cannot read '%s': %s", path,
                         strerror(errno));
    }
}
