// Stage check: sets. The expression graph has none: membership becomes comparisons, and a
// quantifier over a set becomes quantifiers over its ranges.
//
//   x in a .. b step s      a <= x and x < b and (x - a) % s == 0
//   any e in A | B : P      (any e in A : P) or (any e in B : P)
//   count e in A | B : P    (count e in A : P) + (count e in B : P and not e in A)
//   any e in A - B : P      any e in A : P and not e in B
//   x in an input set       one operation, which reads the set's table
//   any e in an input set   over the numbers of its elements (check_elements.c)
//
// so that an element of several parts counts once. Explicit elements are unrolled.

#include "dsl/checker.h"

static const struct expr *integer(const struct place *place, struct span span, int64_t value) {
    return expr_int(place->root->graph, span, value);
}

static const struct expr *make1(const struct place *place, struct span span, enum op op,
                                const struct expr *a) {
    return expr_make(place->root->graph, span, op, &a);
}

static const struct expr *make2(const struct place *place, struct span span, enum op op,
                                const struct expr *a, const struct expr *b) {
    const struct expr *args[] = {a, b};
    return expr_make(place->root->graph, span, op, args);
}

static struct set *new_set(const struct place *place, enum set_kind kind, struct span span) {
    struct set *set = ARENA_NEW(place->root->checker->arena, struct set);
    set->kind = kind;
    set->span = span;
    set->parts = 1;
    return set;
}

// ---- making sets -----------------------------------------------------------------------------

struct operand lower_range(const struct place *place, const struct ast *node) {
    const struct ast *step_ast = node->as.args[2];
    struct set *set = new_set(place, SET_RANGE, node->span);
    set->begin = lower_typed(place, node->as.args[0], TYPE_INT, "the start of a range");
    set->end = lower_typed(place, node->as.args[1], TYPE_INT, "the end of a range");
    if (step_ast)
        set->step = lower_typed(place, step_ast, TYPE_INT, "the step of a range");
    if (!set->begin || !set->end || (step_ast && !set->step))
        return (struct operand){0};
    if (set->step && set->step->op == OP_INT && set->step->payload.i < 1) {
        complain(place, step_ast->span, "the step of a range is at least 1, this is %lld",
                 (long long)set->step->payload.i);
        return (struct operand){0};
    }
    if (set->step && expr_is_int(set->step, 1))
        set->step = NULL;
    set->deps = set->begin->deps | set->end->deps | (set->step ? set->step->deps : 0);
    return (struct operand){.set = set};
}

struct operand lower_pow2(const struct place *place, const struct ast *node) {
    const struct ast *arg = node->as.list->first->value;
    struct operand exponents = lower(place, arg);
    if (is_poison(exponents))
        return exponents;
    if (!exponents.set || exponents.set->kind != SET_RANGE || exponents.set->step) {
        complain(place, arg->span, "pow2 takes a range of exponents: pow2(0 .. 8)");
        return (struct operand){0};
    }
    struct set *set = new_set(place, SET_POW2, node->span);
    set->begin = exponents.set->begin;
    set->end = exponents.set->end;
    set->deps = exponents.set->deps;
    const struct expr *begin = set->begin, *end = set->end;
    if ((begin->op == OP_INT && begin->payload.i < 0) ||
        (end->op == OP_INT && end->payload.i > 63)) {
        complain(place, arg->span, "the exponents of pow2 lie in 0 .. 63");
        return (struct operand){0};
    }
    return (struct operand){.set = set};
}

// Appends an element unless the very same expression is there; `seen` is an open hash of ids.
static void add_element(struct set *set, const struct expr **elements, uint32_t *seen,
                        uint32_t room, const struct expr *element) {
    uint32_t at = element->id * 0x9e3779b1u & (room - 1);
    for (; seen[at]; at = (at + 1) & (room - 1))
        if (seen[at] == element->id + 1)
            return;
    seen[at] = element->id + 1;
    set->deps |= element->deps;
    elements[set->count++] = element;
}

// The elements without duplicates, constants first: constants of different nodes are different
// numbers, which spares `count` most comparisons.
static void fill_list(const struct place *place, struct set *set, const struct expr *const *values,
                      uint32_t count) {
    struct arena *arena = place->root->checker->arena;
    uint32_t room = 4;
    while (room < count * 2)
        room *= 2;
    uint32_t *seen = ARENA_ARRAY(arena, uint32_t, room);
    const struct expr **elements = ARENA_ARRAY(arena, const struct expr *, count);
    for (uint32_t i = 0; i < count; i++)
        if (is_constant(values[i]))
            add_element(set, elements, seen, room, values[i]);
    set->constants = set->count;
    for (uint32_t i = 0; i < count; i++)
        if (!is_constant(values[i]))
            add_element(set, elements, seen, room, values[i]);
    set->elements = elements;
}

struct operand lower_list(const struct place *place, const struct ast *node) {
    uint32_t count = node->as.list ? node->as.list->count : 0, good = 0;
    if (count > MAX_SET_ELEMENTS) {
        complain(place, node->span, "a set has at most %d elements, this has %u", MAX_SET_ELEMENTS,
                 count);
        return (struct operand){0};
    }
    const struct expr **values =
        ARENA_ARRAY(place->root->checker->arena, const struct expr *, count);
    for (const struct ast_item *item = node->as.list ? node->as.list->first : NULL; item;
         item = item->next) {
        values[good] = lower_typed(place, item->value, TYPE_INT, "an element of a set");
        good += values[good] != NULL;
    }
    if (good < count)
        return (struct operand){0};
    struct set *set = new_set(place, SET_LIST, node->span);
    fill_list(place, set, values, count);
    return (struct operand){.set = set};
}

struct operand lower_input_set(const struct place *place, const struct ast *node, uint16_t input,
                               const struct expr *const *indices, uint32_t count) {
    struct set *set = new_set(place, SET_INPUT, node->span);
    const struct expr **kept =
        ARENA_ARRAY(place->root->checker->arena, const struct expr *, count + 1);
    set->deps = DEP_ARRAY;
    for (uint32_t i = 0; i < count; i++) {
        kept[i] = indices[i];
        set->deps |= indices[i]->deps;
    }
    set->elements = kept;
    set->count = count;
    set->input = input;
    return (struct operand){.set = set};
}

struct operand set_combine(const struct place *place, struct span span, enum ast_op op,
                           const struct set *left, const struct set *right) {
    struct set *set = new_set(place,
                              op == AST_BIT_OR    ? SET_UNION
                              : op == AST_BIT_AND ? SET_INTERSECTION
                                                  : SET_DIFFERENCE,
                              span);
    set->left = left;
    set->right = right;
    set->parts = left->parts + right->parts;
    set->deps = left->deps | right->deps;
    if (set->parts <= MAX_SET_PARTS)
        return (struct operand){.set = set};
    complain(place, span, "a set is joined from at most %d others", MAX_SET_PARTS);
    return (struct operand){0};
}

// ---- membership ------------------------------------------------------------------------------

static const struct expr *in_range(const struct place *place, struct span span,
                                   const struct set *set, const struct expr *x) {
    const struct expr *inside = make2(place, span, OP_AND, make2(place, span, OP_LE, set->begin, x),
                                      make2(place, span, OP_LT, x, set->end));
    if (!set->step)
        return inside;
    const struct expr *offset = make2(place, span, OP_SUB, x, set->begin);
    const struct expr *remainder = make2(place, span, OP_MOD, offset, set->step);
    return make2(place, span, OP_AND, inside,
                 make2(place, span, OP_EQ, remainder, integer(place, span, 0)));
}

static const struct expr *in_list(const struct place *place, struct span span,
                                  const struct set *set, const struct expr *x) {
    if (set->count == 0 || !spend(place, span, set->count))
        return expr_bool(place->root->graph, span, false);
    const struct expr **terms =
        ARENA_ARRAY(place->root->checker->arena, const struct expr *, set->count);
    for (uint32_t i = 0; i < set->count; i++)
        terms[i] = make2(place, span, OP_EQ, x, set->elements[i]);
    return join(place, OP_OR, terms, set->count);
}

static const struct expr *in_input(const struct place *place, struct span span,
                                   const struct set *set, const struct expr *x) {
    const struct expr *args[MAX_INDICES];
    for (uint32_t i = 0; i < set->count; i++)
        args[i] = set->elements[i];
    args[set->count] = x;
    return expr_ref(place->root->graph, span, OP_MEMBER, TYPE_BOOL, set->input, 0, args,
                    (uint8_t)(set->count + 1));
}

const struct expr *set_contains(const struct place *place, struct span span, const struct set *set,
                                const struct expr *element) {
    const struct expr *left, *right;
    if (!spend(place, span, 1))
        return expr_bool(place->root->graph, span, false);
    switch (set->kind) {
    case SET_RANGE:
        return in_range(place, span, set, element);
    case SET_POW2: {
        const struct expr *args[] = {element, set->begin, set->end};
        return expr_make(place->root->graph, span, OP_IN_POW2, args);
    }
    case SET_LIST:
        return in_list(place, span, set, element);
    case SET_INPUT:
        return in_input(place, span, set, element);
    case SET_CHILDREN:
        return set_contains(place, span, set->left, make2(place, span, OP_DIV, element, set->step));
    default:
        left = set_contains(place, span, set->left, element);
        right = set_contains(place, span, set->right, element);
        if (set->kind == SET_DIFFERENCE)
            right = make1(place, span, OP_NOT, right);
        return make2(place, span, set->kind == SET_UNION ? OP_OR : OP_AND, left, right);
    }
}

// ---- quantifiers -----------------------------------------------------------------------------

// Elements that do not count: those outside (or, negated, inside) of `set`; or all, unless `holds`.
struct filter {
    const struct set *set; // or NULL
    bool negated;
    const struct expr *holds;
    const struct filter *next;
};

struct quantifier {
    const struct place *place;
    const struct ast *node;
    enum op op; // OP_ANY, OP_ALL, OP_COUNT
};

static const struct expr *passes(const struct place *place, struct span span,
                                 const struct filter *filter, const struct expr *element) {
    const struct expr *all = expr_bool(place->root->graph, span, true);
    for (; filter; filter = filter->next) {
        const struct expr *one =
            filter->set ? set_contains(place, span, filter->set, element) : filter->holds;
        if (filter->negated)
            one = make1(place, span, OP_NOT, one);
        all = make2(place, span, OP_AND, all, one);
    }
    return all;
}

// The condition with the variable standing for `element` (NULL: poison), as the quantifier takes
// it.
static const struct expr *body_at(const struct quantifier *quantifier, int variables,
                                  const struct expr *element, const struct filter *filter) {
    const struct ast *node = quantifier->node;
    struct place inside = *quantifier->place;
    struct scope *scope = scope_new(inside.root->checker, inside.scope, inside.limit);
    struct binding *binding =
        scope_declare(&inside, scope, element ? BIND_VALUE : BIND_POISON, "variable", node->name);
    binding->value.expr = element;
    inside.scope = scope;
    inside.limit = scope->count;
    inside.variables = variables;
    const struct expr *body =
        lower_typed(&inside, node->as.args[1], TYPE_BOOL, "the condition of a quantifier");
    if (!body || !element)
        return NULL;
    const struct expr *counted = passes(&inside, node->span, filter, element);
    if (quantifier->op == OP_ALL)
        return make2(&inside, node->span, OP_OR, make1(&inside, node->span, OP_NOT, counted), body);
    return make2(&inside, node->span, OP_AND, counted, body);
}

static const struct expr *combine(const struct quantifier *quantifier,
                                  const struct expr *const *terms, uint32_t count) {
    struct expr_graph *graph = quantifier->place->root->graph;
    struct span span = quantifier->node->span;
    if (count > 0)
        return join(quantifier->place,
                    quantifier->op == OP_ANY   ? OP_OR
                    : quantifier->op == OP_ALL ? OP_AND
                                               : OP_ADD,
                    terms, count);
    return quantifier->op == OP_COUNT ? expr_int(graph, span, 0)
                                      : expr_bool(graph, span, quantifier->op == OP_ALL);
}

static bool too_many(const struct quantifier *quantifier, const struct set *set) {
    if (set->begin->op != OP_INT || set->end->op != OP_INT ||
        (set->step && set->step->op != OP_INT))
        return false;
    int64_t begin = set->begin->payload.i, end = set->end->payload.i;
    uint64_t span = end > begin ? (uint64_t)end - (uint64_t)begin : 0;
    uint64_t step = set->step ? (uint64_t)set->step->payload.i : 1;
    uint64_t count = span / step + (span % step != 0);
    if (count <= MAX_SET_ELEMENTS)
        return false;
    complain(quantifier->place, quantifier->node->as.args[0]->span,
             "a quantifier runs over at most %d elements, this set has %llu", MAX_SET_ELEMENTS,
             (unsigned long long)count);
    return true;
}

static bool nested_too_deep(const struct quantifier *quantifier) {
    if (quantifier->place->variables < MAX_VARS)
        return false;
    complain(quantifier->place, quantifier->node->span, "quantifiers nest at most %d deep",
             MAX_VARS);
    return true;
}

static const struct expr *variable_of(const struct quantifier *quantifier) {
    return expr_ref(quantifier->place->root->graph, quantifier->node->span, OP_VAR, TYPE_INT,
                    (uint16_t)quantifier->place->variables, 0, NULL, 0);
}

// One node of the graph.
static const struct expr *quantify(const struct quantifier *quantifier, const struct expr *begin,
                                   const struct expr *end, const struct expr *step,
                                   const struct expr *body) {
    const struct place *place = quantifier->place;
    if (expr_is_bool(body, quantifier->op == OP_ALL)) // nothing, or everything, whatever the range
        return combine(quantifier, NULL, 0);
    place->root->quantifiers++;
    return expr_ref(place->root->graph, quantifier->node->span, quantifier->op,
                    quantifier->op == OP_COUNT ? TYPE_INT : TYPE_BOOL, (uint16_t)place->variables,
                    0, (const struct expr *[]){begin, end, step, body}, 4);
}

// A range or the powers over a range of exponents.
static const struct expr *over_range(const struct quantifier *quantifier, const struct set *set,
                                     const struct filter *filter) {
    const struct place *place = quantifier->place;
    struct span span = quantifier->node->span;
    if (too_many(quantifier, set))
        return NULL;
    if (!place->in_stage && set->deps & (DEP_QUERY | DEP_KEY | DEP_ARRAY | DEP_SCORE)) {
        complain(place, set->span,
                 "a quantified set must be the same for all positions; test the bounds inside: "
                 "'any e in 0 .. 64 : e < q.i and ...'");
        return NULL;
    }
    if (nested_too_deep(quantifier))
        return NULL;
    const struct expr *variable = variable_of(quantifier);
    if (set->kind == SET_POW2)
        variable = make2(place, span, OP_SHL, integer(place, span, 1), variable);
    const struct expr *body = body_at(quantifier, place->variables + 1, variable, filter);
    if (!body)
        return NULL;
    return quantify(quantifier, set->begin, set->end,
                    set->step ? set->step : integer(place, span, 1), body);
}

// The elements of an input set, whose lists are padded with -1.
static const struct expr *over_input(const struct quantifier *quantifier, const struct set *set,
                                     const struct filter *filter) {
    const struct place *place = quantifier->place;
    struct span span = quantifier->node->span;
    if (nested_too_deep(quantifier))
        return NULL;
    const struct expr *zero = integer(place, span, 0), *room;
    const struct expr *element = set_element(place, set, variable_of(quantifier), &room);
    struct filter unpadded = {.holds = make2(place, span, OP_LE, zero, element), .next = filter};
    const struct expr *body = body_at(quantifier, place->variables + 1, element, &unpadded);
    return body ? quantify(quantifier, zero, room, integer(place, span, 1), body) : NULL;
}

// Explicit elements: one term each. An element equal to an earlier one does not count again.
static const struct expr *over_list(const struct quantifier *quantifier, const struct set *set,
                                    const struct filter *filter) {
    const struct place *place = quantifier->place;
    struct expr_graph *graph = place->root->graph;
    struct span span = quantifier->node->span;
    const struct expr **terms =
        ARENA_ARRAY(place->root->checker->arena, const struct expr *, set->count);
    for (uint32_t i = 0; i < set->count; i++) {
        struct set earlier = *set;
        earlier.count = i;
        struct filter once = {.set = &earlier, .negated = true, .next = filter};
        bool counts = quantifier->op == OP_COUNT;
        terms[i] = body_at(quantifier, place->variables, set->elements[i],
                           counts && i >= set->constants ? &once : filter);
        if (!terms[i])
            return NULL;
        if (counts) {
            const struct expr *args[] = {terms[i], integer(place, span, 1),
                                         integer(place, span, 0)};
            terms[i] = expr_make(graph, span, OP_SELECT_I, args);
        }
    }
    return combine(quantifier, terms, set->count);
}

static const struct expr *over_set(const struct quantifier *quantifier, const struct set *set,
                                   const struct filter *filter) {
    if (set->kind == SET_LIST)
        return over_list(quantifier, set, filter);
    if (set->kind == SET_RANGE || set->kind == SET_POW2)
        return over_range(quantifier, set, filter);
    if (set->kind == SET_INPUT)
        return over_input(quantifier, set, filter);
    if (set->kind == SET_CHILDREN) {
        complain(quantifier->place, set->span,
                 "a quantifier cannot run over children: test them with 'in'");
        return NULL;
    }
    if (set->kind != SET_UNION) {
        struct filter more = {
            .set = set->right, .negated = set->kind == SET_DIFFERENCE, .next = filter};
        return over_set(quantifier, set->left, &more);
    }
    struct filter not_left = {.set = set->left, .negated = true, .next = filter};
    const struct expr *terms[] = {
        over_set(quantifier, set->left, filter),
        over_set(quantifier, set->right, quantifier->op == OP_COUNT ? &not_left : filter)};
    return terms[0] && terms[1] ? combine(quantifier, terms, 2) : NULL;
}

struct operand lower_quantifier(const struct place *place, const struct ast *node) {
    struct operand over = lower(place, node->as.args[0]);
    struct quantifier quantifier = {place, node,
                                    node->op == AST_ANY   ? OP_ANY
                                    : node->op == AST_ALL ? OP_ALL
                                                          : OP_COUNT};
    struct operand value = {0};
    if (over.expr)
        complain(place, node->as.args[0]->span, "'%s' runs over a set, saw %s",
                 ast_ops[node->op].surface, operand_words(over));
    if (over.set)
        value.expr = over_set(&quantifier, over.set, NULL);
    else // still look for errors in the condition
        body_at(&quantifier, place->variables, NULL, NULL);
    place->root->checker->last_variable = node->name.text;
    return value;
}
