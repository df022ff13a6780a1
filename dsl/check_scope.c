// Stage check: scopes, and errors about names.

#include "dsl/checker.h"

#include <string.h>

enum { LINEAR = 8, FIRST_REPORTS = 64, MOST_CALL_NOTES = 3 };

void *array_grow(struct arena *arena, void *array, int count, int *room, size_t size_bytes) {
    if (count < *room)
        return array;
    int grown_room = *room ? *room * 2 : 8;
    void *grown = arena_array(arena, (size_t)grown_room, size_bytes);
    if (count)
        memcpy(grown, array, (size_t)count * size_bytes);
    *room = grown_room;
    return grown;
}

// ---- scopes ----------------------------------------------------------------------------------

struct scope *scope_new(struct checker *checker, struct scope *parent, uint32_t parent_limit) {
    struct scope *scope = ARENA_NEW(checker->arena, struct scope);
    scope->parent = parent;
    scope->parent_limit = parent_limit;
    return scope;
}

// Words have addresses of their own, so the address is the key.
static uint32_t slot_of(const char *name, uint32_t room) {
    return (uint32_t)(((uintptr_t)name >> 3) * 0x9e3779b1u >> 4) & (room - 1);
}

static void table_add(struct scope *scope, struct binding *binding) {
    uint32_t at = slot_of(binding->name.text, scope->room);
    while (scope->table[at])
        at = (at + 1) & (scope->room - 1);
    scope->table[at] = binding;
}

static void table_grow(struct arena *arena, struct scope *scope) {
    scope->room = scope->room ? scope->room * 2 : 4 * LINEAR;
    scope->table = ARENA_ARRAY(arena, struct binding *, scope->room);
    for (struct binding *binding = scope->first; binding; binding = binding->next)
        table_add(scope, binding);
}

struct binding *scope_find(const struct scope *scope, const char *name) {
    if (!scope->table) {
        for (struct binding *binding = scope->first; binding; binding = binding->next)
            if (binding->name.text == name)
                return binding;
        return NULL;
    }
    for (uint32_t at = slot_of(name, scope->room); scope->table[at];
         at = (at + 1) & (scope->room - 1))
        if (scope->table[at]->name.text == name)
            return scope->table[at];
    return NULL;
}

static void scope_add(struct arena *arena, struct scope *scope, struct binding *binding) {
    binding->position = scope->count++;
    *(scope->last ? &scope->last->next : &scope->first) = binding;
    scope->last = binding;
    if (scope->table ? scope->count * 2 > scope->room : scope->count > LINEAR)
        table_grow(arena, scope);
    else if (scope->table)
        table_add(scope, binding);
}

struct binding *scope_declare(const struct place *place, struct scope *scope,
                              enum binding_kind kind, const char *what, struct ast_name name) {
    struct arena *arena = place->root->checker->arena;
    struct binding *binding = ARENA_NEW(arena, struct binding);
    binding->name = name;
    binding->kind = kind;
    binding->what = what;
    const struct binding *earlier = scope_find(scope, name.text);
    if (earlier) {
        complain(place, name.span, "'%s' is declared twice", name.text);
        remark(place, earlier->name.span, "the %s '%s' is declared here", earlier->what, name.text);
        return binding;
    }
    scope_add(arena, scope, binding);
    return binding;
}

struct binding *place_find(const struct place *place, const char *name) {
    uint32_t limit = place->limit;
    for (const struct scope *scope = place->scope; scope; scope = scope->parent) {
        struct binding *binding = scope_find(scope, name);
        if (binding && binding->position < limit)
            return binding;
        limit = scope->parent_limit;
    }
    return NULL;
}

const struct file *place_file(const struct place *place) {
    const struct scope *scope = place->scope;
    while (!scope->file)
        scope = scope->parent;
    return scope->file;
}

struct place *place_keep(const struct place *place) {
    struct place *copy = ARENA_NEW(place->root->checker->arena, struct place);
    *copy = *place;
    return copy;
}

// ---- unknown names ---------------------------------------------------------------------------

static const struct ast_decl *find_decl(const struct ast_stmt *statements, const char *name) {
    for (const struct ast_stmt *stmt = statements; stmt; stmt = stmt->next)
        for (const struct ast_decl *decl = stmt->kind == STMT_FN ? NULL : stmt->decls; decl;
             decl = decl->next)
            if (decl->name.text == name)
                return decl;
    return NULL;
}

static bool is_axis(const struct place *place, const char *name) {
    const struct pattern *pattern = place->root->pattern;
    for (int i = 0; i < pattern->axis_count; i++)
        if (pattern->axes[i] == name)
            return true;
    return false;
}

static void offer_names(const struct place *place, struct nearest *nearest) {
    const struct checker *checker = place->root->checker;
    uint32_t limit = place->limit;
    for (const struct scope *scope = place->scope; scope; scope = scope->parent) {
        for (const struct binding *binding = scope->first; binding; binding = binding->next)
            if (binding->position < limit && nearest->candidates < 1000)
                nearest_offer(nearest, binding->name.text);
        limit = scope->parent_limit;
    }
    const char *const predefined[] = {checker->word_head, checker->word_heads,
                                      checker->word_kv_head, checker->word_batch,
                                      checker->word_causal};
    for (size_t i = 0; i < sizeof predefined / sizeof *predefined; i++)
        nearest_offer(nearest, predefined[i]);
    offer_builtins(nearest);
}

static void suggest(const struct place *place, struct ast_name name, const char *what) {
    struct nearest nearest;
    nearest_init(&nearest, name.text);
    offer_names(place, &nearest);
    if (!nearest.best) {
        complain(place, name.span, "unknown %s '%s'", what, name.text);
        return;
    }
    complain(place, name.span, "unknown %s '%s'; did you mean '%s'?", what, name.text,
             nearest.best);
    const char *best = words_text(&place->root->checker->words, nearest.best);
    const struct binding *meant = place_find(place, best);
    if (meant)
        remark(place, meant->name.span, "the %s '%s' is declared here", meant->what, best);
}

void unknown_name(const struct place *place, struct ast_name name, const char *what) {
    const struct ast_decl *below = NULL;
    bool may_be_function = strcmp(what, "function") == 0;
    for (const struct scope *scope = place->scope; scope; scope = scope->parent) {
        // What a lost statement may have declared; files declare functions only.
        if (scope->incomplete && (!scope->file || may_be_function))
            return;
        if (!below && place->root->checker->diags->error_count < DIAG_ERROR_LIMIT)
            below = find_decl(scope->statements, name.text);
    }
    if (place->root->checker->diags->error_count >= DIAG_ERROR_LIMIT) {
        complain(place, name.span, "unknown name");
    } else if (below) {
        complain(place, name.span, "'%s' is used before its declaration", name.text);
        remark(place, below->name.span, "'%s' is declared here", name.text);
    } else if (name.text == place->root->checker->word_s) {
        complain(place, name.span, "'s', the scaled logit, exists only inside 'score'");
    } else if (is_axis(place, name.text)) {
        complain(place, name.span, "'%s' is an axis: write q.%s or k.%s, or size(%s)", name.text,
                 name.text, name.text, name.text);
    } else if (name.text == place->root->checker->last_variable) {
        complain(place, name.span,
                 "unknown name '%s': a quantifier ends before 'and', 'or' and '?'; put its "
                 "condition in parentheses",
                 name.text);
    } else {
        suggest(place, name, what);
    }
}

// ---- reports ---------------------------------------------------------------------------------

// An expansion may meet the same mistake again and again; one report of a place is enough.
bool report_begin(struct checker *checker, struct span span) {
    if ((checker->reported_count + 1) * 2 > checker->reported_room) {
        uint32_t room = checker->reported_room ? checker->reported_room * 2 : FIRST_REPORTS;
        uint64_t *grown = ARENA_ARRAY(checker->arena, uint64_t, room);
        for (uint32_t i = 0; i < checker->reported_room; i++) {
            uint64_t key = checker->reported[i];
            uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 40) & (room - 1);
            while (key && grown[at])
                at = (at + 1) & (room - 1);
            if (key)
                grown[at] = key;
        }
        checker->reported = grown;
        checker->reported_room = room;
    }
    uint64_t key = ((uint64_t)span.source << 32 | span.begin) + 1;
    uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 40) & (checker->reported_room - 1);
    for (; checker->reported[at]; at = (at + 1) & (checker->reported_room - 1))
        if (checker->reported[at] == key) {
            checker->diags->muted = true; // and so are its notes
            return false;
        }
    checker->reported[at] = key;
    checker->reported_count++;
    return true;
}

void report_calls(const struct place *place) {
    int notes = 0;
    for (const struct call_site *call = place->calls; call && notes < MOST_CALL_NOTES;
         call = call->outer, notes++)
        diag_note(place->root->checker->diags, call->span, "in '%s', used here", call->name);
}

void remark_axes(const struct place *place) {
    const struct pattern *pattern = place->root->pattern;
    const char *list = "";
    for (int i = 0; i < pattern->axis_count; i++)
        list = arena_format(place->root->checker->arena, "%s%s%s", list, i ? ", " : "",
                            pattern->axes[i]);
    remark(place, pattern->axes_span, "axes declared here: %s", list);
}

const char *type_words(enum type type) {
    return type == TYPE_BOOL ? "a boolean" : type == TYPE_INT ? "an integer" : "a real";
}

const char *operand_words(struct operand operand) {
    return operand.set ? "a set" : type_words(operand.expr->type);
}
