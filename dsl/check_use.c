// Stage check: `use P(name = expr)`: the keep condition of another pattern.
//
// P's statements are read again in the place of the use, with arguments for its parameters and
// constants. Its requires, inputs and maps become those of the using pattern; what it keeps is the
// value of the expression.

#include "dsl/checker.h"

const struct ast_item *find_argument(const struct ast_list *args, const char *name) {
    for (const struct ast_item *arg = args ? args->first : NULL; arg; arg = arg->next)
        if (arg->name.text == name)
            return arg;
    return NULL;
}

static bool has_parameter(const struct pattern_decl *decl, const char *name) {
    for (uint32_t i = 0; i < decl->param_count; i++)
        if (decl->params[i].text == name)
            return true;
    return false;
}

// ---- what may go wrong -----------------------------------------------------------------------

static void unknown_argument(const struct place *place, const struct pattern_decl *decl,
                             struct ast_name name) {
    struct nearest nearest;
    nearest_init(&nearest, name.text);
    for (uint32_t i = 0; i < decl->param_count; i++)
        nearest_offer(&nearest, decl->params[i].text);
    const char *pattern = decl->stmt->name.text;
    if (nearest.best)
        complain(place, name.span, "pattern '%s' has no parameter '%s'; did you mean '%s'?",
                 pattern, name.text, nearest.best);
    else
        complain(place, name.span, "pattern '%s' has no parameter '%s'", pattern, name.text);
    remark(place, decl->stmt->name.span, "'%s' is declared here", pattern);
}

static bool arguments_fit(const struct place *place, const struct ast *node,
                          const struct pattern_decl *decl) {
    bool good = true;
    for (const struct ast_item *arg = node->as.list ? node->as.list->first : NULL; arg;
         arg = arg->next) {
        if (find_argument(node->as.list, arg->name.text) != arg)
            complain(place, arg->name.span, "'%s' is given twice", arg->name.text);
        else if (!has_parameter(decl, arg->name.text))
            unknown_argument(place, decl, arg->name);
        else
            continue;
        good = false;
    }
    return good;
}

static const char *axes_text(const struct place *place, const struct ast_stmt *axes) {
    const char *text = "";
    for (const struct ast_item *item = axes->names->first; item; item = item->next)
        text = arena_format(place->root->checker->arena, "%s%s%s", text,
                            item == axes->names->first ? "" : ", ", item->name.text);
    return text;
}

static bool axes_agree(const struct place *place, const struct ast *node,
                       const struct pattern_decl *decl) {
    const struct pattern *pattern = place->root->pattern;
    const struct ast_stmt *axes = decl->axes;
    if (place->root->no_axes || !axes)
        return false;
    int index = 0;
    bool same = axes->names->count == (uint32_t)pattern->axis_count;
    for (const struct ast_item *item = axes->names->first; same && item; item = item->next)
        same = item->name.text == pattern->axes[index++];
    if (same)
        return true;
    complain(place, node->name.span, "'%s' has other axes than this pattern: %s",
             decl->stmt->name.text, axes_text(place, axes));
    remark(place, pattern->axes_span, "the axes of this pattern are declared here");
    return false;
}

static struct pattern_decl *find_used(const struct place *place, const struct ast *node) {
    // The scope chain of any place ends in a file's functions; its patterns are named beside them.
    const struct file *file = place_file(place);
    const struct place patterns = {
        .root = place->root, .scope = file->pattern_names, .limit = UINT32_MAX};
    const struct binding *binding = place_find(&patterns, node->name.text);
    if (binding && binding->kind == BIND_PATTERN)
        return binding->pattern;
    if (binding) {
        complain(place, node->name.span, "two imported files declare pattern '%s'",
                 node->name.text);
        return NULL;
    }
    if (file->functions->incomplete)
        return NULL;
    struct nearest nearest;
    nearest_init(&nearest, node->name.text);
    for (const struct scope *scope = file->pattern_names; scope; scope = scope->parent)
        for (const struct binding *other = scope->first; other; other = other->next)
            nearest_offer(&nearest, other->name.text);
    if (nearest.best)
        complain(place, node->name.span, "unknown pattern '%s'; did you mean '%s'?",
                 node->name.text, nearest.best);
    else
        complain(place, node->name.span,
                 "unknown pattern '%s'; patterns of other files need import \"FILE\";",
                 node->name.text);
    return NULL;
}

static bool pattern_is_sound(const struct place *place, const struct ast *node,
                             struct pattern_decl *decl) {
    const char *name = decl->stmt->name.text;
    if (decl->state == UNCHECKED)
        check_pattern(place->root->checker, decl);
    if (decl->state == CHECKING) {
        complain(place, node->span, "pattern '%s' uses itself", name);
        remark(place, decl->stmt->name.span, "'%s' is declared here", name);
        return false;
    }
    if (decl->score) {
        const char *what = decl->score->kind == STMT_STAGE    ? "stage"
                           : decl->score->kind == STMT_SELECT ? "selection"
                                                              : "score";
        complain(place, node->name.span, "'%s' has a %s and cannot be used", name, what);
        remark(place, decl->score->span, "the %s is here", what);
        return false;
    }
    if (decl->pool) {
        complain(place, node->name.span, "'%s' pools or branches and cannot be used", name);
        remark(place, decl->pool->span, "it does so here");
        return false;
    }
    return decl->state == CHECKED;
}

// ---- the expansion ---------------------------------------------------------------------------

// The arguments' values, for the memo and for their own errors.
static bool argument_keys(const struct place *place, const struct ast *node,
                          const struct pattern_decl *decl, const void **keys) {
    bool good = true;
    for (uint32_t i = 0; i < decl->param_count; i++) {
        const struct ast_item *arg = find_argument(node->as.list, decl->params[i].text);
        keys[i] = arg ? lower_value(place, arg->value, "a parameter") : NULL;
        good = good && (!arg || keys[i]);
    }
    return good;
}

static struct operand expand(const struct place *place, const struct ast *node,
                             struct pattern_decl *decl) {
    struct checker *checker = place->root->checker;
    struct call_site *site = ARENA_NEW(checker->arena, struct call_site);
    *site = (struct call_site){decl->stmt->name.text, node->span, place->calls};
    struct unit unit = {.decl = decl,
                        .args = node->as.list,
                        .args_place = place,
                        .use_span = node->span,
                        .used = true};
    unit.place = *place;
    unit.place.scope = scope_new(checker, decl->file->functions, UINT32_MAX);
    unit.place.limit = 0;
    unit.place.in_score = false;
    unit.place.calls = site;
    return (struct operand){.expr = read_statements(&unit)};
}

struct operand lower_use(const struct place *place, const struct ast *node) {
    struct root *root = place->root;
    struct pattern_decl *decl = find_used(place, node);
    if (!decl || !pattern_is_sound(place, node, decl) || !axes_agree(place, node, decl))
        return (struct operand){0};
    uint32_t count = decl->param_count, arg_count = node->as.list ? node->as.list->count : 0;
    if (arg_count > count + 8) { // lists are searched
        complain(place, node->span, "'%s' has %u parameters, saw %u", decl->stmt->name.text, count,
                 arg_count);
        return (struct operand){0};
    }
    if (!spend(place, node->span, count * (1 + arg_count / 8)) || !arguments_fit(place, node, decl))
        return (struct operand){0};
    const void **keys = ARENA_ARRAY(root->checker->arena, const void *, count);
    if (!argument_keys(place, node, decl, keys))
        return (struct operand){0};
    struct memo_key key = {.object = decl,
                           .head = place->head,
                           .variables = place->variables,
                           .args = keys,
                           .count = count};
    struct memo_value *found = memo_find(root, &key);
    if (found->known) {
        root->quantifiers += found->has_quantifier;
        return found->operand;
    }
    int before = root->quantifiers;
    struct operand value = expand(place, node, decl);
    *memo_find(root, &key) = (struct memo_value){value, root->quantifiers != before, true};
    return value;
}
