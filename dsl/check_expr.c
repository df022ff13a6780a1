// Stage check: names and operators -> nodes of the expression graph.
//
// Types are found from the leaves up: an operator's row in dsl/ops.def says what it takes, and an
// integer becomes a real where that makes a row fit. Only what is wrong for every problem is an
// error here: a constant divisor of zero, a constant shift count out of range, a constant that
// overflows.

#include "dsl/checker.h"

#include <string.h>

enum { BALANCED_FROM = 64 }; // terms; shorter chains keep the shape they were written in

bool is_constant(const struct expr *node) {
    return node->op == OP_INT || node->op == OP_REAL || node->op == OP_BOOL;
}

const struct expr *to_real(const struct place *place, const struct expr *value) {
    if (value->type != TYPE_INT)
        return value;
    return expr_make(place->root->graph, value->span, OP_TO_REAL, &value);
}

// ---- operators -------------------------------------------------------------------------------

static const char *const numbers_of_types[2][3] = {{"a boolean", "an integer", "a real"},
                                                   {"two booleans", "two integers", "two reals"}};

// What a row's signature takes, in words: "two integers".
static const char *signature_words(const char *signature) {
    int type = signature[0] == 'b' ? TYPE_BOOL : signature[0] == 'i' ? TYPE_INT : TYPE_REAL;
    return numbers_of_types[signature[1] != '>'][type];
}

static void no_row(const struct place *place, struct span span, const char *surface,
                   const enum type *types, int count) {
    struct arena *arena = place->root->checker->arena;
    const char *takes = NULL, *saw;
    if (strcmp(surface, "?:") == 0) {
        complain(place, span, "both arms of '?:' have one type, saw %s and %s",
                 type_words(types[1]), type_words(types[2]));
        return;
    }
    for (int op = 0; op < OP_COUNT_; op++) {
        const struct op_info *info = &op_table[op];
        if (!info->eval || strcmp(info->surface, surface) != 0 ||
            strchr(info->signature, '>') != info->signature + count)
            continue;
        const char *one = signature_words(info->signature);
        takes = takes ? arena_format(arena, "%s or %s", takes, one) : one;
    }
    if (count == 2 && types[0] != types[1])
        saw = arena_format(arena, "%s and %s", type_words(types[0]), type_words(types[1]));
    else
        saw = numbers_of_types[count == 2][types[0]];
    complain(place, span, "'%s' takes %s, saw %s", surface, takes ? takes : "nothing", saw);
}

static bool is_zero(const struct expr *node) {
    return expr_is_int(node, 0) || (node->op == OP_REAL && node->payload.r == 0.0);
}

// Errors that the constants among the arguments show.
static bool constants_fit(const struct place *place, enum op op, const struct expr *const *args,
                          const struct span *arg_spans) {
    if ((op == OP_DIV || op == OP_MOD || op == OP_CEILDIV || op == OP_RDIV) && is_zero(args[1])) {
        complain(place, arg_spans[1], "division by zero: this is always 0");
        return false;
    }
    bool shift = (op == OP_SHL || op == OP_SHR) && args[1]->op == OP_INT;
    if (shift && (args[1]->payload.i < 0 || args[1]->payload.i > 63)) {
        complain(place, arg_spans[1], "a shift count is 0 to 63, this is %lld",
                 (long long)args[1]->payload.i);
        return false;
    }
    return true;
}

const struct expr *apply(const struct place *place, struct span span, const char *surface,
                         const struct expr *const *args, const struct span *arg_spans, int count) {
    enum type types[MAX_EXPR_ARGS] = {TYPE_BOOL};
    const struct expr *fitting[MAX_EXPR_ARGS];
    bool constant = true;
    for (int i = 0; i < count; i++) {
        types[i] = args[i]->type;
        constant = constant && is_constant(args[i]);
    }
    uint32_t converts;
    enum op op = op_lookup(surface, types, count, &converts);
    if (op == OP_COUNT_) {
        no_row(place, span, surface, types, count);
        return NULL;
    }
    for (int i = 0; i < count; i++)
        fitting[i] = converts >> i & 1 ? to_real(place, args[i]) : args[i];
    if (!constants_fit(place, op, fitting, arg_spans))
        return NULL;
    const struct expr *node = expr_make(place->root->graph, span, op, fitting);
    if (constant && !is_constant(node)) {
        complain(place, span, "this overflows the 64 bits of an integer");
        return NULL;
    }
    return node;
}

const struct expr *join(const struct place *place, enum op op, const struct expr *const *terms,
                        uint32_t count) {
    struct expr_graph *graph = place->root->graph;
    if (count > BALANCED_FROM) {
        const struct expr *halves[] = {join(place, op, terms, count / 2),
                                       join(place, op, terms + count / 2, count - count / 2)};
        return expr_make(graph, halves[0]->span, op, halves);
    }
    const struct expr *all = terms[0];
    for (uint32_t i = 1; i < count; i++) {
        const struct expr *args[] = {all, terms[i]};
        all = expr_make(graph, all->span, op, args);
    }
    return all;
}

static const char *surface_of(enum ast_op op, bool *out_swapped) {
    *out_swapped = op == AST_GT || op == AST_GE;
    return *out_swapped ? op == AST_GT ? "<" : "<=" : ast_ops[op].surface;
}

static struct operand apply_to_sets(const struct place *place, const struct ast *node,
                                    struct operand left, struct operand right) {
    bool joins = node->op == AST_BIT_OR || node->op == AST_BIT_AND || node->op == AST_SUB;
    if (joins && left.set && right.set)
        return set_combine(place, node->span, node->op, left.set, right.set);
    complain(place, node->span, "'%s' does not take %s and %s", ast_ops[node->op].surface,
             operand_words(left), operand_words(right));
    if (node->op == AST_SUB && right.set)
        remark(place, node->span, "a range in front of '-' needs parentheses: (a .. b) - c");
    return (struct operand){0};
}

static struct operand apply_in(const struct place *place, const struct ast *node,
                               struct operand element, struct operand set) {
    if (!set.set)
        complain(place, node->as.args[1]->span, "'in' takes a set on its right, saw %s",
                 operand_words(set));
    else if (!element.expr || element.expr->type != TYPE_INT)
        complain(place, node->as.args[0]->span, "the elements of a set are integers, saw %s",
                 operand_words(element));
    else
        return (struct operand){.expr = set_contains(place, node->span, set.set, element.expr)};
    return (struct operand){0};
}

static struct operand apply_binary(const struct place *place, const struct ast *node,
                                   struct operand left, struct operand right) {
    if (is_poison(left) || is_poison(right))
        return (struct operand){0};
    if (node->op == AST_IN)
        return apply_in(place, node, left, right);
    if (left.set || right.set)
        return apply_to_sets(place, node, left, right);
    bool swapped;
    const char *surface = surface_of(node->op, &swapped);
    const struct expr *args[] = {swapped ? right.expr : left.expr,
                                 swapped ? left.expr : right.expr};
    struct span spans[] = {node->as.args[swapped]->span, node->as.args[!swapped]->span};
    return (struct operand){.expr = apply(place, node->span, surface, args, spans, 2)};
}

static enum op joining_op(enum ast_op op) {
    return op == AST_OR ? OP_OR : op == AST_AND ? OP_AND : op == AST_ADD ? OP_ADD : OP_COUNT_;
}

// A long run of one associative operator: `value op spine[count - 1]'s right op ... spine[0]'s`.
// The tree is made shallow, because later stages recurse over it.
static struct operand lower_run(const struct place *place, const struct ast *const *spine,
                                uint32_t count, struct operand value) {
    struct arena *arena = place->root->checker->arena;
    enum op op = joining_op(spine[0]->op);
    enum type type = op == OP_ADD ? TYPE_INT : TYPE_BOOL;
    const struct expr **terms = ARENA_ARRAY(arena, const struct expr *, count + 1);
    uint32_t fitting = value.expr && value.expr->type == type;
    terms[0] = value.expr;
    for (uint32_t i = count; i-- > 0;) {
        struct operand right = lower(place, spine[i]->as.args[1]);
        if (fitting == count - i && right.expr && right.expr->type == type)
            terms[fitting++] = right.expr;
        else if (fitting == count - i) // reals, sets or errors from here on: one by one
            value = apply_binary(place, spine[i],
                                 (struct operand){.expr = join(place, op, terms, fitting)}, right);
        else
            value = apply_binary(place, spine[i], value, right);
    }
    return fitting == count + 1 ? (struct operand){.expr = join(place, op, terms, count + 1)}
                                : value;
}

// A chain of operators leans to the left and may be very long: it is walked in a loop, from the
// innermost operator, the last of `spine`, outwards.
static struct operand lower_binary(const struct place *place, const struct ast *node) {
    uint32_t length = 0;
    for (const struct ast *at = node; at->kind == AST_BINARY; at = at->as.args[0])
        length++;
    const struct ast **spine = ARENA_ARRAY(place->root->checker->arena, const struct ast *, length);
    for (uint32_t i = 0; i < length; i++, node = node->as.args[0])
        spine[i] = node;
    struct operand value = lower(place, node);
    for (uint32_t end = length, begin; end > 0; end = begin) {
        for (begin = end - 1; begin > 0 && spine[begin - 1]->op == spine[end - 1]->op;)
            begin--;
        if (end - begin >= BALANCED_FROM && joining_op(spine[begin]->op) != OP_COUNT_)
            value = lower_run(place, spine + begin, end - begin, value);
        else
            for (uint32_t i = end; i-- > begin;)
                value = apply_binary(place, spine[i], value, lower(place, spine[i]->as.args[1]));
    }
    return value;
}

static struct operand lower_unary(const struct place *place, const struct ast *node) {
    const struct ast *arg = node->as.args[0];
    // The one integer whose digits alone do not fit.
    if (node->op == AST_NEGATE && arg->kind == AST_INT && arg->as.integer == (uint64_t)1 << 63)
        return (struct operand){.expr = expr_int(place->root->graph, node->span, INT64_MIN)};
    const char *surface = ast_ops[node->op].surface;
    const struct expr *value = lower_value(place, arg, node->op == AST_NOT ? "'not'" : "'-'");
    if (!value)
        return (struct operand){0};
    return (struct operand){.expr = apply(place, node->span, surface, &value, &arg->span, 1)};
}

static struct operand lower_ternary(const struct place *place, const struct ast *node) {
    const struct expr *args[3];
    struct span spans[3];
    args[0] = lower_typed(place, node->as.args[0], TYPE_BOOL, "the condition of '?:'");
    args[1] = lower_value(place, node->as.args[1], "an arm of '?:'");
    args[2] = lower_value(place, node->as.args[2], "an arm of '?:'");
    for (int i = 0; i < 3; i++) {
        if (!args[i])
            return (struct operand){0};
        spans[i] = node->as.args[i]->span;
    }
    return (struct operand){.expr = apply(place, node->span, "?:", args, spans, 3)};
}

// ---- names -----------------------------------------------------------------------------------

static const struct expr *leaf(const struct place *place, struct span span, enum op op, int index,
                               int side) {
    return expr_ref(place->root->graph, span, op, op == OP_SCORE ? TYPE_REAL : TYPE_INT,
                    (uint16_t)index, (uint16_t)side, NULL, 0);
}

static struct operand predefined_name(const struct place *place, const struct ast *node) {
    const struct checker *checker = place->root->checker;
    const char *name = node->name.text;
    struct span span = node->span;
    struct operand of_stage;
    if (name == checker->word_head)
        return (struct operand){.expr = place->head};
    if (stage_name(place, node, &of_stage))
        return of_stage;
    if (name == checker->word_heads)
        return (struct operand){.expr = leaf(place, span, OP_HEADS, 0, 0)};
    if (name == checker->word_batch)
        return (struct operand){.expr = leaf(place, span, OP_BATCH, 0, 0)};
    if (name == checker->word_s && place->in_score)
        return (struct operand){.expr = leaf(place, span, OP_SCORE, 0, 0)};
    if (name == checker->word_causal) {
        const struct expr *tokens[] = {leaf(place, span, OP_TOKEN, 0, SIDE_KEY),
                                       leaf(place, span, OP_TOKEN, 0, SIDE_QUERY)};
        return (struct operand){.expr = expr_make(place->root->graph, span, OP_LE, tokens)};
    }
    if (name == checker->word_kv_head) {
        if (place->head->op == OP_HEAD)
            return (struct operand){.expr = leaf(place, span, OP_KV_HEAD, 0, 0)};
        complain(place, span,
                 "'kv_head' is known for 'head' only, and this is read at another "
                 "head");
    } else if (name == checker->word_q || name == checker->word_k) {
        complain(place, span, "'%s' has no value of its own: write %s.token or %s.AXIS", name, name,
                 name);
    } else if (is_builtin(name)) {
        complain(place, span, "'%s' is a function: write %s(...)", name, name);
    } else {
        unknown_name(place, node->name, "name");
    }
    return (struct operand){0};
}

// A value bound elsewhere, as it is in this place: see checker.h.
struct operand binding_value(const struct place *place, const struct binding *binding) {
    struct root *root = place->root;
    const struct place *home = binding->home;
    root->quantifiers += binding->has_quantifier;
    if (!binding->ast || is_poison(binding->value))
        return binding->value;
    uint8_t deps = binding->value.set ? binding->value.set->deps : binding->value.expr->deps;
    bool deeper = binding->has_quantifier && place->variables != home->variables;
    bool other_head = place->head != home->head && deps & DEP_HEAD;
    if (!deeper && !other_head)
        return binding->value;
    struct memo_key key = {.object = binding, .head = place->head, .variables = place->variables};
    struct memo_value *found = memo_find(root, &key);
    if (found->known)
        return found->operand;
    struct place there = *home;
    there.variables = place->variables;
    there.head = place->head;
    struct operand value = lower(&there, binding->ast);
    if (value.expr && binding->to_real)
        value.expr = to_real(place, value.expr);
    *memo_find(root, &key) = (struct memo_value){
        .operand = value, .has_quantifier = binding->has_quantifier, .known = true};
    return value;
}

static struct operand lower_name(const struct place *place, const struct ast *node) {
    const struct binding *binding = place_find(place, node->name.text);
    if (!binding)
        return predefined_name(place, node);
    switch (binding->kind) {
    case BIND_VALUE:
        return binding_value(place, binding);
    case BIND_TABLE:
    case BIND_TABLE_VALUE:
    case BIND_INPUT:
    case BIND_MAP:
        complain(place, node->span, "the %s '%s' needs an index: write %s[...]", binding->what,
                 node->name.text, node->name.text);
        break;
    case BIND_FUNCTION:
        complain(place, node->span, "'%s' is a function: write %s(...)", node->name.text,
                 node->name.text);
        break;
    case BIND_AMBIGUOUS:
        complain(place, node->span, "two imported files declare '%s'", node->name.text);
        break;
    default:
        return (struct operand){0};
    }
    remark(place, binding->name.span, "'%s' is declared here", node->name.text);
    return (struct operand){0};
}

static struct operand unknown_axis(const struct place *place, const struct ast *node) {
    const char *member = node->as.member.text;
    complain(place, node->as.member.span, "'%s.%s' - this pattern has no axis '%s'",
             node->name.text, member, member);
    remark_axes(place);
    return (struct operand){0};
}

static struct operand lower_member(const struct place *place, const struct ast *node) {
    const struct checker *checker = place->root->checker;
    const struct binding *hidden = place_find(place, node->name.text);
    const char *base = node->name.text, *member = node->as.member.text;
    if (hidden || (base != checker->word_q && base != checker->word_k)) {
        complain(place, node->span, "only q and k have coordinates, not '%s'", base);
        if (hidden)
            remark(place, hidden->name.span, "here, '%s' is the %s declared here", base,
                   hidden->what);
        return (struct operand){0};
    }
    int side = base == checker->word_q ? SIDE_QUERY : SIDE_KEY;
    struct operand of_stage;
    if (member == checker->word_token)
        return stage_member(place, side, -1, &of_stage)
                   ? of_stage
                   : (struct operand){.expr = leaf(place, node->span, OP_TOKEN, 0, side)};
    if (member == checker->word_segment) {
        complain(place, node->span, "'%s.segment': segments are not in this version", base);
        return (struct operand){0};
    }
    if (place->root->no_axes)
        return (struct operand){0};
    const struct pattern *pattern = place->root->pattern;
    for (int i = 0; i < pattern->axis_count; i++)
        if (pattern->axes[i] == member)
            return stage_member(place, side, i, &of_stage)
                       ? of_stage
                       : (struct operand){.expr = leaf(place, node->span, OP_COORD, i, side)};
    return unknown_axis(place, node);
}

static struct operand lower_integer(const struct place *place, const struct ast *node) {
    if (node->as.integer > INT64_MAX) {
        complain(place, node->span, "this integer does not fit 64 bits");
        return (struct operand){0};
    }
    return (struct operand){
        .expr = expr_int(place->root->graph, node->span, (int64_t)node->as.integer)};
}

// ---- the walk --------------------------------------------------------------------------------

static struct operand lower_kind(const struct place *place, const struct ast *node) {
    struct expr_graph *graph = place->root->graph;
    switch (node->kind) {
    case AST_POISON:
        return (struct operand){0};
    case AST_INT:
        return lower_integer(place, node);
    case AST_REAL:
        return (struct operand){.expr = expr_real(graph, node->span, node->as.real)};
    case AST_BOOL:
        return (struct operand){.expr = expr_bool(graph, node->span, node->as.boolean)};
    case AST_NAME:
        return lower_name(place, node);
    case AST_MEMBER:
        return lower_member(place, node);
    case AST_CALL:
        return lower_call(place, node);
    case AST_INDEX:
        return lower_index(place, node);
    case AST_UNARY:
        return lower_unary(place, node);
    case AST_BINARY:
        return lower_binary(place, node);
    case AST_TERNARY:
        return lower_ternary(place, node);
    case AST_RANGE:
        return lower_range(place, node);
    case AST_SET:
        return lower_list(place, node);
    case AST_QUANTIFIER:
        return lower_quantifier(place, node);
    case AST_USE:
        return lower_use(place, node);
    case AST_REDUCE:
        return lower_reduce(place, node);
    case AST_REDUCE_OF:
        return lower_reduce_of(place, node);
    case AST_POOLED:
        return lower_pooled(place, node);
    case AST_BAND:
        break;
    }
    return (struct operand){0};
}

// The budget: every file is answered within a second, whatever it expands to.
bool spend(const struct place *place, struct span span, uint32_t steps) {
    struct checker *checker = place->root->checker;
    if (checker->exhausted)
        return false;
    bool in_graph = place->root->graph->count < MAX_NODES;
    if (in_graph && checker->steps_left >= steps) {
        checker->steps_left -= steps;
        return true;
    }
    checker->exhausted = true;
    complain(place, span, "the pattern expands to too much: more than %d operations",
             in_graph ? MAX_STEPS : MAX_NODES);
    return false;
}

struct operand lower(const struct place *place, const struct ast *node) {
    struct checker *checker = place->root->checker;
    if (!spend(place, node->span, 1))
        return (struct operand){0};
    if (checker->nesting >= MAX_EXPANSION) {
        if (!checker->nested_too_deep)
            complain(place, node->span, "functions and uses nest too deep: more than %d levels",
                     MAX_EXPANSION);
        checker->nested_too_deep = true;
        return (struct operand){0};
    }
    checker->nesting++;
    struct operand value = lower_kind(place, node);
    checker->nesting--;
    return value;
}

const struct expr *lower_value(const struct place *place, const struct ast *node,
                               const char *what) {
    struct operand value = lower(place, node);
    if (value.set)
        complain(place, node->span,
                 "%s takes a value, not a set; 'in' asks whether a set holds "
                 "an integer",
                 what);
    return value.expr;
}

const struct expr *lower_typed(const struct place *place, const struct ast *node, enum type type,
                               const char *what) {
    const struct expr *value = lower_value(place, node, what);
    if (value && type == TYPE_REAL)
        value = to_real(place, value);
    if (!value || value->type == type)
        return value;
    complain(place, node->span, "%s takes %s, saw %s", what, type_words(type),
             type_words(value->type));
    return NULL;
}
