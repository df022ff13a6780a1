// Stage check: selections, sets (or levels) that are chosen from candidates by a ranking.
//
// The candidates become a range and a condition over one variable, what is forced a condition over
// the same variable, so that compiled code, the reference and the planner's tables know integers
// and conditions only.

#include "dsl/check_row.h"

#include <string.h>

// children(S, n): x with x / n in S.
struct operand lower_children(const struct place *place, const struct ast *node) {
    uint32_t count = node->as.list ? node->as.list->count : 0;
    if (count != 2) {
        complain(place, node->span, "'children' takes a set and how many each element has");
        return (struct operand){0};
    }
    struct operand parents = lower(place, node->as.list->first->value);
    const struct ast *last = node->as.list->last->value;
    const struct expr *factor = lower_typed(place, last, TYPE_INT, "the number of children");
    if (parents.expr)
        complain(place, node->as.list->first->value->span, "'children' takes a set, saw %s",
                 operand_words(parents));
    if (!parents.set || !factor ||
        !require_uniform(place, factor, last->span, 0, "the number of children"))
        return (struct operand){0};
    if (factor->op == OP_INT && factor->payload.i < 1) {
        complain(place, last->span, "the number of children is at least 1, this is %lld",
                 (long long)factor->payload.i);
        return (struct operand){0};
    }
    struct set *set = ARENA_NEW(place->root->checker->arena, struct set);
    *set = (struct set){.kind = SET_CHILDREN,
                        .span = node->span,
                        .parts = parents.set->parts,
                        .deps = parents.set->deps,
                        .step = factor,
                        .left = parents.set};
    return (struct operand){.set = set};
}

// ---- how far the elements reach --------------------------------------------------------------

struct reach {
    const struct expr *below; // elements lie below this; NULL: nothing yet
    bool unknown;
    struct pattern_derived *derived; // gets the widths of input sets
};

static void reach_below(const struct place *place, struct reach *reach, const struct expr *below) {
    reach->below = reach->below ? node2(place, below->span, OP_MAX, reach->below, below) : below;
}

static void reach_width(struct reach *reach, uint16_t input, const struct expr *factor) {
    struct pattern_derived *derived = reach->derived;
    if (derived->width_count == MAX_WIDTHS) {
        reach->unknown = true;
        return;
    }
    derived->widths[derived->width_count].input = input;
    derived->widths[derived->width_count++].factor = factor;
}

static void reach_set(const struct place *place, struct reach *reach, const struct set *set,
                      const struct expr *factor) {
    const struct expr *one = node_int(place, set->span, 1);
    switch (set->kind) {
    case SET_RANGE:
        reach_below(place, reach,
                    factor ? node2(place, set->span, OP_MUL, set->end, factor) : set->end);
        break;
    case SET_LIST:
        for (uint32_t i = 0; i < set->count; i++) {
            const struct expr *below = node2(place, set->span, OP_ADD, set->elements[i], one);
            reach_below(place, reach,
                        factor ? node2(place, set->span, OP_MUL, below, factor) : below);
        }
        break;
    case SET_INPUT:
        reach_width(reach, set->input, factor);
        break;
    case SET_UNION:
        reach_set(place, reach, set->left, factor);
        reach_set(place, reach, set->right, factor);
        break;
    case SET_INTERSECTION:
    case SET_DIFFERENCE:
        reach_set(place, reach, set->left, factor);
        break;
    case SET_CHILDREN:
        reach_set(place, reach, set->left,
                  factor ? node2(place, set->span, OP_MUL, factor, set->step) : set->step);
        break;
    case SET_POW2:
        reach->unknown = true;
        break;
    }
}

// ---- clauses ---------------------------------------------------------------------------------

static bool before_attention(const struct place *place, const struct set *set) {
    if (!(set->deps & (DEP_QUERY | DEP_KEY | DEP_SCORE | DEP_ROW)))
        return true;
    complain(place, set->span,
             "a selection is made before the attention: it has no query, key or logit");
    return false;
}

static const struct set *read_set(const struct place *place, const struct ast *node,
                                  const char *what) {
    struct operand value = lower(place, node);
    if (value.expr)
        complain(place, node->span, "%s is a set, saw %s", what, operand_words(value));
    return value.set && before_attention(place, value.set) ? value.set : NULL;
}

static const struct expr *and_also(const struct place *place, const struct expr *a,
                                   const struct expr *b) {
    return a ? node2(place, b->span, OP_AND, a, b) : b;
}

// The set as a range, and a condition where that is not all. `inside` knows the variable.
static bool read_candidates(const struct place *inside, const struct place *outside,
                            const struct ast_derived *decl, const struct expr *variable,
                            struct pattern_derived *out, struct reach *reach) {
    const struct set *set = read_set(outside, decl->set, "what is selected from");
    if (!set)
        return false;
    bool plain = set->kind == SET_RANGE && !set->step;
    out->begin = set->kind == SET_RANGE ? set->begin : node_int(outside, set->span, 0);
    out->end = set->kind == SET_RANGE ? set->end : stage_token_count(outside, set->span);
    reach_set(outside, reach, set, NULL);
    if (decl->where) {
        out->where = stage_value(inside, decl->where, TYPE_BOOL, "the condition of a selection");
        if (!out->where)
            return false;
    }
    if (!plain)
        out->where = and_also(inside, out->where, set_contains(inside, set->span, set, variable));
    return true;
}

// A set, or a condition over the candidate.
static const struct expr *read_always(const struct place *inside, const struct ast *node,
                                      const struct expr *variable, struct reach *reach) {
    struct operand always = lower(inside, node);
    if (always.set && before_attention(inside, always.set)) {
        uint32_t bit = 1u << variable->payload.ref.index;
        reach_set(inside, reach, always.set, NULL);
        reach->unknown = reach->unknown || (reach->below && reach->below->vars & bit);
        return set_contains(inside, node->span, always.set, variable);
    }
    return always.expr ? stage_value(inside, node, TYPE_BOOL, "what is always selected") : NULL;
}

static const struct expr *read_count(const struct place *place, const struct ast *node,
                                     const char *what) {
    const struct expr *count = node ? stage_value(place, node, TYPE_INT, what) : NULL;
    if (count && count->op == OP_INT && count->payload.i < 0) {
        complain(place, node->span, "%s is at least 0, this is %lld", what,
                 (long long)count->payload.i);
        return NULL;
    }
    return count;
}

// An integer, or a real, which is rounded down.
static const struct expr *read_top(const struct place *place, const struct ast *node) {
    static const char what[] = "how many are selected";
    const struct expr *value = lower_value(place, node, what);
    if (value && value->type == TYPE_REAL)
        return stage_value(place, node, TYPE_REAL, what);
    return read_count(place, node, what);
}

static bool is_word(const struct ast *node, const char *word) {
    return node->kind == AST_NAME && strcmp(node->name.text, word) == 0;
}

static bool wrong_mode(const struct place *place, const struct ast *mode) {
    complain(place, mode->span,
             "what is selected is top(n), mass(p), mass(p, exclusive), above(t), "
             "bands(level: share, ..., rest: level) or mass_bands(...)");
    return false;
}

// One of bands(1: 0.10, 8: 0.35 step 2, rest: 0).
static bool read_band(const struct place *place, const struct ast *node, bool last,
                      struct pattern_derived *out) {
    bool rest = is_word(node->as.args[0], "rest") && !place_find(place, "rest");
    const struct ast *level_ast = node->as.args[rest];
    const struct expr *level = stage_value(place, level_ast, TYPE_INT, "the level of a band");
    int at = out->band_count++;
    if (!level)
        return false;
    if (level->op != OP_INT || level->payload.i < 0 || level->payload.i > INT32_MAX) {
        complain(place, level_ast->span, "the level of a band is a constant of at least 0");
        return false;
    }
    if (rest != last || (rest && node->as.args[2])) {
        complain(place, node->span, "the last band, and no other, is 'rest: level'");
        return false;
    }
    out->band_level[at] = level->payload.i;
    if (rest)
        return true;
    out->band_share[at] = stage_value(place, node->as.args[1], TYPE_REAL, "the share of a band");
    if (node->as.args[2])
        out->band_step[at] = stage_value(place, node->as.args[2], TYPE_INT, "the step of a band");
    return out->band_share[at] && (!node->as.args[2] || out->band_step[at]);
}

static bool read_bands(const struct place *place, const struct ast *mode,
                       struct pattern_derived *out) {
    uint32_t count = mode->as.list->count;
    out->mode = SELECT_BANDS;
    if (count > MAX_BANDS) {
        complain(place, mode->span, "a selection has at most %d bands", MAX_BANDS);
        return false;
    }
    for (const struct ast_item *item = mode->as.list->first; item; item = item->next)
        if (item->value->kind != AST_BAND || !read_band(place, item->value, !item->next, out))
            return item->value->kind == AST_BAND ? false : wrong_mode(place, mode);
    return true;
}

static bool read_mode(const struct place *place, const struct ast *mode,
                      struct pattern_derived *out) {
    uint32_t count = mode->as.list ? mode->as.list->count : 0;
    const char *name = mode->name.text;
    const struct ast *first = count ? mode->as.list->first->value : NULL;
    const struct ast *second = count > 1 ? mode->as.list->first->next->value : NULL;
    out->inclusive = strcmp(name, "mass_bands") == 0;
    if (count && (out->inclusive || strcmp(name, "bands") == 0))
        return read_bands(place, mode, out);
    bool mass = strcmp(name, "mass") == 0, top = strcmp(name, "top") == 0;
    bool edge = second && (is_word(second, "inclusive") || is_word(second, "exclusive"));
    if ((!mass && !top && strcmp(name, "above") != 0) || count < 1 || count > 1u + mass ||
        first->kind == AST_BAND || (second && !edge))
        return wrong_mode(place, mode);
    out->mode = mass ? SELECT_MASS : top ? SELECT_TOP : SELECT_ABOVE;
    out->inclusive = !second || is_word(second, "inclusive");
    out->amount = top ? read_top(place, first)
                      : stage_value(place, first, TYPE_REAL, mass ? "a share" : "a threshold");
    return out->amount;
}

// over (qb): the bits of the indices named.
static bool read_together(const struct place *place, const struct ast_list *names,
                          struct stage_scope *scope) {
    for (const struct ast_item *item = names ? names->first : NULL; item; item = item->next) {
        int at = scope->derived.index_count - 1;
        while (at >= 0 && (!scope->derived.names[at] ||
                           strcmp(scope->derived.names[at], item->name.text) != 0))
            at--;
        if (at < 0) {
            complain(place, item->name.span, "'%s' is no index of this selection", item->name.text);
            return false;
        }
        scope->derived.together |= (uint8_t)(1u << at);
    }
    return true;
}

// What one ranking has once may not differ over the indices that are ranked together.
static bool once_a_ranking(const struct place *place, struct span span,
                           const struct pattern_derived *d) {
    const struct expr *all[4 + 2 * MAX_BANDS] = {d->amount, d->least, d->most};
    uint16_t apart = 0;
    for (int i = 0; i < d->index_count; i++)
        if (d->together >> i & 1 && d->index_var[i] >= 0)
            apart |= (uint16_t)(1u << d->index_var[i]);
    for (int i = 0; i < d->band_count; i++) {
        all[3 + 2 * i] = d->band_share[i];
        all[4 + 2 * i] = d->band_step[i];
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i] || !(all[i]->vars & apart))
            continue;
        complain(place, span,
                 "a number here differs between lists that are ranked as one ('over')");
        return false;
    }
    return true;
}

static bool read_select(struct unit *unit, const struct ast_derived *decl,
                        struct stage_scope *scope) {
    if (!stage_open(unit, decl, scope))
        return false;
    struct pattern_derived *out = &scope->derived;
    struct place *outside = &scope->place, inside = scope->place;
    struct span span = decl->variable.span;
    out->is_select = true;
    out->variable = outside->variables;
    const struct expr *variable = expr_ref(unit->place.root->graph, span, OP_VAR, TYPE_INT,
                                           (uint16_t)out->variable, 0, NULL, 0);
    inside.scope = scope_new(inside.root->checker, outside->scope, outside->limit);
    inside.variables++;
    struct binding *binding =
        scope_declare(&inside, inside.scope, BIND_VALUE, "candidate", decl->variable);
    binding->value.expr = variable;
    inside.limit = inside.scope->count;
    struct reach reach = {.derived = out};
    bool good = read_mode(outside, decl->mode, out);
    good = read_candidates(&inside, outside, decl, variable, out, &reach) && good;
    if (!decl->value) {
        complain(&unit->place, decl->name.span,
                 "the selection '%s' does not say what its candidates are ranked by",
                 decl->name.text);
        return false;
    }
    out->value = stage_value(&inside, decl->value, TYPE_REAL, "what candidates are ranked by");
    if (decl->always) {
        out->forced = read_always(&inside, decl->always, variable, &reach);
        if (!out->forced)
            return false;
    }
    out->least = read_count(outside, decl->least, "'least'");
    out->most = read_count(outside, decl->most, "'most'");
    good = good && out->value && (!decl->least || out->least) && (!decl->most || out->most) &&
           read_together(&inside, decl->together, scope);
    if (reach.unknown)
        out->width_count = 0;
    out->reach = reach.unknown ? NULL : reach.below;
    scope->input.type = out->mode == SELECT_BANDS ? TYPE_INT : TYPE_BOOL;
    return good && once_a_ranking(&inside, decl->mode->span, out);
}

void declare_select(struct unit *unit, const struct ast_stmt *stmt) {
    struct stage_scope scope;
    if (!read_select(unit, stmt->derived, &scope) ||
        !stage_close(unit, &scope, "selection", stmt->derived->name)) {
        scope_declare(&unit->place, unit->place.scope, BIND_POISON, "selection",
                      stmt->derived->name);
        unit->place.limit = unit->place.scope->count;
    }
}
