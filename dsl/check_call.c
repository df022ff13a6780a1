// Stage check: calls of functions and built-in functions, reads of arrays; the memo of expansions.
//
// A function has no types of its own: its body is lowered for each set of arguments. Before any
// pattern is read, each function is lowered once with poison for arguments, which finds unknown
// names and recursion (a function that calls itself) in functions nobody calls, too.

#include "dsl/checker.h"

#include <string.h>

// ---- memo ------------------------------------------------------------------------------------

struct memo_entry {
    struct memo_entry *next;
    uint64_t hash;
    struct memo_key key;
    struct memo_value value;
};

struct memo {
    struct memo_entry **buckets;
    uint32_t bucket_count, count;
};

enum { FIRST_BUCKETS = 64 };

struct memo *memo_new(struct arena *arena) {
    struct memo *memo = ARENA_NEW(arena, struct memo);
    memo->bucket_count = FIRST_BUCKETS;
    memo->buckets = ARENA_ARRAY(arena, struct memo_entry *, FIRST_BUCKETS);
    return memo;
}

static uint64_t mix(uint64_t hash, uintptr_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static uint64_t hash_key(const struct memo_key *key) {
    uint64_t hash = mix(mix(0, (uintptr_t)key->object), (uintptr_t)key->head);
    hash = mix(hash, (uintptr_t)key->variables * 4 + key->in_score * 2u + key->in_stage);
    for (uint32_t i = 0; i < key->count; i++)
        hash = mix(hash, (uintptr_t)key->args[i]);
    return hash;
}

static bool same_key(const struct memo_key *a, const struct memo_key *b) {
    return a->object == b->object && a->head == b->head && a->variables == b->variables &&
           a->in_score == b->in_score && a->in_stage == b->in_stage && a->count == b->count &&
           (a->count == 0 || memcmp(a->args, b->args, a->count * sizeof *a->args) == 0);
}

static void memo_grow(struct arena *arena, struct memo *memo) {
    uint32_t bucket_count = memo->bucket_count * 4;
    struct memo_entry **buckets = ARENA_ARRAY(arena, struct memo_entry *, bucket_count);
    for (uint32_t i = 0; i < memo->bucket_count; i++)
        for (struct memo_entry *entry = memo->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            struct memo_entry **bucket = &buckets[entry->hash & (bucket_count - 1)];
            entry->next = *bucket;
            *bucket = entry;
        }
    memo->buckets = buckets;
    memo->bucket_count = bucket_count;
}

struct memo_value *memo_find(struct root *root, const struct memo_key *key) {
    struct memo *memo = root->memo;
    struct arena *arena = root->checker->arena;
    uint64_t hash = hash_key(key);
    struct memo_entry *entry = memo->buckets[hash & (memo->bucket_count - 1)];
    for (; entry; entry = entry->next)
        if (entry->hash == hash && same_key(&entry->key, key))
            return &entry->value;
    if (memo->count++ > memo->bucket_count)
        memo_grow(arena, memo);
    entry = ARENA_NEW(arena, struct memo_entry);
    entry->hash = hash;
    entry->key = *key;
    if (key->count) {
        const void **args = ARENA_ARRAY(arena, const void *, key->count);
        memcpy(args, key->args, key->count * sizeof *args);
        entry->key.args = args;
    }
    struct memo_entry **bucket = &memo->buckets[hash & (memo->bucket_count - 1)];
    entry->next = *bucket;
    *bucket = entry;
    return &entry->value;
}

// ---- functions -------------------------------------------------------------------------------

struct argument {
    struct operand value;
    const struct ast *ast;
    bool has_quantifier;
};

static void bind_parameters(const struct place *body, const struct function *function,
                            const struct argument *args, const struct place *home) {
    const struct ast_list *names = function->stmt->names;
    for (const struct ast_item *name = names ? names->first : NULL; name; name = name->next) {
        struct binding *binding = scope_declare(body, body->scope, args ? BIND_VALUE : BIND_POISON,
                                                "parameter", name->name);
        if (!args)
            continue;
        binding->value = args->value;
        binding->ast = args->ast;
        binding->has_quantifier = args->has_quantifier;
        binding->home = home;
        args++;
    }
}

// Opens the scope of a function's parameters and `where` names, and lowers its body in it. args
// NULL: all poison.
static struct operand expand(const struct place *caller, const struct function *function,
                             const struct argument *args, const struct call_site *calls) {
    struct place body = *caller;
    body.scope = scope_new(caller->root->checker, function->scope, UINT32_MAX);
    body.calls = calls;
    bind_parameters(&body, function, args, args ? place_keep(caller) : NULL);
    body.limit = body.scope->count;
    declare_lets(&body, function->stmt->decls, "name");
    return lower(&body, function->stmt->value);
}

static void report_recursion(const struct place *place, struct span span,
                             const struct function *function) {
    const char *name = function->stmt->name.text;
    complain(place, span, "the function '%s' calls itself", name);
    remark(place, function->stmt->name.span, "'%s' is declared here", name);
}

void check_function(const struct place *place, struct function *function) {
    struct checker *checker = place->root->checker;
    uint32_t errors_before = checker->diags->error_count;
    function->state = CHECKING;
    struct place alone = *place;
    alone.variables = 0;
    alone.in_stage = true;
    alone.in_score = true; // `s` is looked at again where the function is called
    expand(&alone, function, NULL, NULL);
    function->state = checker->diags->error_count == errors_before ? CHECKED : BROKEN;
}

static bool function_is_sound(const struct place *place, const struct ast *node,
                              struct function *function) {
    if (function->state == CHECKING) {
        report_recursion(place, node->span, function);
        return false;
    }
    if (function->state == UNCHECKED)
        check_function(place, function);
    return function->state == CHECKED;
}

// The arguments' values. Returns whether none is poison.
static bool lower_arguments(const struct place *place, const struct ast_list *list,
                            struct argument *out_args, const void **out_keys) {
    bool good = true;
    for (const struct ast_item *item = list ? list->first : NULL; item;
         item = item->next, out_args++) {
        int before = place->root->quantifiers;
        struct operand value = lower(place, item->value);
        *out_args = (struct argument){value, item->value, place->root->quantifiers != before};
        *out_keys++ = value.set ? (const void *)value.set : (const void *)value.expr;
        good = good && !is_poison(value);
    }
    return good;
}

static struct operand call_function(const struct place *place, const struct ast *node,
                                    struct function *function) {
    struct checker *checker = place->root->checker;
    uint32_t wanted = function->stmt->names ? function->stmt->names->count : 0;
    uint32_t count = node->as.list ? node->as.list->count : 0;
    struct argument *args = ARENA_ARRAY(checker->arena, struct argument, count);
    const void **keys = ARENA_ARRAY(checker->arena, const void *, count);
    bool good = lower_arguments(place, node->as.list, args, keys);
    if (count != wanted) {
        complain(place, node->span, "'%s' takes %u argument%s, saw %u", node->name.text, wanted,
                 wanted == 1 ? "" : "s", count);
        remark(place, function->stmt->name.span, "'%s' is declared here", node->name.text);
        return (struct operand){0};
    }
    if (!function_is_sound(place, node, function) || !good)
        return (struct operand){0};
    struct memo_key key = {.object = function,
                           .head = place->head,
                           .variables = place->variables,
                           .in_score = place->in_score,
                           .in_stage = place->in_stage,
                           .args = keys,
                           .count = count};
    struct memo_value *found = memo_find(place->root, &key);
    if (found->known) {
        place->root->quantifiers += found->has_quantifier;
        return found->operand;
    }
    struct call_site *site = ARENA_NEW(checker->arena, struct call_site);
    *site = (struct call_site){node->name.text, node->span, place->calls};
    int before = place->root->quantifiers;
    struct operand value = expand(place, function, args, site);
    *memo_find(place->root, &key) =
        (struct memo_value){value, place->root->quantifiers != before, true};
    return value;
}

// ---- built-in functions ----------------------------------------------------------------------

struct builtin {
    const char *name;
    uint32_t arguments; // min and max take more
};

// Functions that are not rows of the operation table.
static const struct builtin special[] = {{"clamp", 3}, {"size", 1}, {"pow2", 1}};
enum { SPECIAL_COUNT = sizeof special / sizeof *special };

// A row that is called by name; those in parentheses are the compiler's own.
static bool is_call_row(const struct op_info *row) {
    return row->form == FORM_CALL && row->surface[0] != '(';
}

static bool find_builtin(const char *name, struct builtin *out) {
    for (int i = 0; i < SPECIAL_COUNT; i++)
        if (strcmp(special[i].name, name) == 0) {
            *out = special[i];
            return true;
        }
    for (int op = 0; op < OP_COUNT_; op++) {
        const struct op_info *row = &op_table[op];
        if (is_call_row(row) && strcmp(row->surface, name) == 0) {
            const char *arrow = strchr(row->signature, '>');
            *out = (struct builtin){row->surface, (uint32_t)(arrow - row->signature)};
            return true;
        }
    }
    return false;
}

bool is_builtin(const char *name) {
    struct builtin builtin;
    return find_builtin(name, &builtin);
}

void offer_builtins(struct nearest *nearest) {
    for (int i = 0; i < SPECIAL_COUNT; i++)
        nearest_offer(nearest, special[i].name);
    for (int op = 0; op < OP_COUNT_; op++)
        if (is_call_row(&op_table[op]))
            nearest_offer(nearest, op_table[op].surface);
}

static struct operand call_size(const struct place *place, const struct ast *node) {
    const struct ast *arg = node->as.list->first->value;
    const struct pattern *pattern = place->root->pattern;
    if (arg->kind != AST_NAME) {
        complain(place, arg->span, "size takes the name of an axis: size(x)");
        return (struct operand){0};
    }
    if (place->root->no_axes)
        return (struct operand){0};
    for (int i = 0; i < pattern->axis_count; i++)
        if (pattern->axes[i] == arg->name.text)
            return (struct operand){.expr = expr_ref(place->root->graph, node->span, OP_SIZE,
                                                     TYPE_INT, (uint16_t)i, 0, NULL, 0)};
    complain(place, arg->span, "'size(%s)' - this pattern has no axis '%s'", arg->name.text,
             arg->name.text);
    remark_axes(place);
    return (struct operand){0};
}

static const struct expr *call_clamp(const struct place *place, struct span span,
                                     const struct expr *const *args, const struct span *spans) {
    const struct expr *inner = apply(place, span, "max", args, spans, 2);
    if (!inner)
        return NULL;
    const struct expr *outer_args[] = {inner, args[2]};
    struct span outer_spans[] = {span, spans[2]};
    return apply(place, span, "min", outer_args, outer_spans, 2);
}

static struct operand call_builtin(const struct place *place, const struct ast *node,
                                   const struct builtin *builtin) {
    const struct expr *args[3], *value = NULL;
    struct span spans[3];
    uint32_t count = 0;
    bool folds = strcmp(builtin->name, "min") == 0 || strcmp(builtin->name, "max") == 0;
    bool poisoned = false;
    for (const struct ast_item *item = node->as.list->first; item; item = item->next) {
        const struct expr *arg = lower_value(place, item->value, builtin->name);
        poisoned = poisoned || !arg;
        args[count] = arg;
        spans[count++] = item->value->span;
        if (poisoned)
            count = 0;
        else if (folds && count == 2 && item->next) { // min(a, b, c) is min(min(a, b), c)
            args[0] = apply(place, node->span, builtin->name, args, spans, 2);
            poisoned = !args[0];
            count = 1;
        }
    }
    if (poisoned)
        return (struct operand){0};
    if (strcmp(builtin->name, "clamp") == 0)
        value = call_clamp(place, node->span, args, spans);
    else if (strcmp(builtin->name, "real") == 0 && args[0]->type == TYPE_REAL)
        value = args[0];
    else
        value = apply(place, node->span, builtin->name, args, spans, (int)count);
    return (struct operand){.expr = value};
}

static struct operand builtin_call(const struct place *place, const struct ast *node,
                                   const struct builtin *builtin) {
    uint32_t count = node->as.list ? node->as.list->count : 0;
    bool more_allowed = strcmp(builtin->name, "min") == 0 || strcmp(builtin->name, "max") == 0;
    if (count < builtin->arguments || (count > builtin->arguments && !more_allowed)) {
        complain(place, node->span, "'%s' takes %u argument%s%s, saw %u", builtin->name,
                 builtin->arguments, builtin->arguments == 1 ? "" : "s",
                 more_allowed ? " or more" : "", count);
        return (struct operand){0};
    }
    if (strcmp(builtin->name, "size") == 0)
        return call_size(place, node);
    if (strcmp(builtin->name, "pow2") == 0)
        return lower_pow2(place, node);
    return call_builtin(place, node, builtin);
}

struct operand lower_call(const struct place *place, const struct ast *node) {
    const struct binding *binding = place_find(place, node->name.text);
    if (!binding) {
        struct builtin builtin;
        struct operand of_stage;
        if (stage_call(place, node, &of_stage))
            return of_stage;
        if (find_builtin(node->name.text, &builtin))
            return builtin_call(place, node, &builtin);
        unknown_name(place, node->name, "function");
        return (struct operand){0};
    }
    if (binding->kind == BIND_FUNCTION)
        return call_function(place, node, binding->function);
    if (binding->kind == BIND_AMBIGUOUS) {
        complain(place, node->span, "two imported files declare '%s'", node->name.text);
    } else if (binding->kind != BIND_POISON) {
        complain(place, node->span, "'%s' is a %s here, not a function", node->name.text,
                 binding->what);
        remark(place, binding->name.span, "'%s' is declared here", node->name.text);
    }
    return (struct operand){0};
}

// ---- arrays ----------------------------------------------------------------------------------

// All indices, as integers. NULL elements are poison; returns whether all are good.
static bool lower_indices(const struct place *place, const struct ast *node,
                          const struct expr **out_indices, uint32_t wanted, const char *what) {
    uint32_t count = node->as.list ? node->as.list->count : 0;
    bool good = true;
    uint32_t index = 0;
    for (const struct ast_item *item = node->as.list ? node->as.list->first : NULL; item;
         item = item->next, index++) {
        const struct expr *value = lower_typed(place, item->value, TYPE_INT, "an index");
        good = good && value;
        if (index < wanted)
            out_indices[index] = value;
    }
    if (count == wanted)
        return good;
    complain(place, node->span, "the %s '%s' takes %u ind%s, saw %u", what, node->name.text, wanted,
             wanted == 1 ? "ex" : "ices", count);
    return false;
}

static struct operand read_table(const struct place *place, const struct ast *node,
                                 const struct binding *binding) {
    const struct expr *index;
    if (!lower_indices(place, node, &index, 1, binding->what))
        return (struct operand){0};
    if (binding->kind == BIND_TABLE_VALUE) {
        struct place there = *place;
        there.head = index;
        return binding_value(&there, binding);
    }
    return (struct operand){.expr = expr_ref(place->root->graph, node->span, OP_TABLE,
                                             binding->type, binding->index, 0, &index, 1)};
}

static struct operand read_input(const struct place *place, const struct ast *node,
                                 const struct binding *binding) {
    const struct pattern_input *input = &place->root->pattern->inputs[binding->index];
    const struct expr *indices[MAX_INDICES];
    bool is_set = pattern_is_set(input);
    if (input->derived)
        return read_derived(place, node, binding->index);
    uint32_t count = (uint32_t)(input->index_count - is_set);
    if (!lower_indices(place, node, indices, count, is_set ? "input set" : "input"))
        return (struct operand){0};
    if (is_set)
        return lower_input_set(place, node, binding->index, indices, count);
    return (struct operand){.expr =
                                expr_ref(place->root->graph, node->span, OP_INPUT, input->type,
                                         binding->index, 0, indices, (uint8_t)input->index_count)};
}

static struct operand read_map(const struct place *place, const struct ast *node,
                               const struct binding *binding) {
    const struct pattern_map *map = &place->root->pattern->maps[binding->index];
    const struct expr *indices[MAX_INDICES];
    if (!lower_indices(place, node, indices, (uint32_t)map->index_count, "map"))
        return (struct operand){0};
    return (struct operand){.expr =
                                expr_ref(place->root->graph, node->span, OP_MAP, TYPE_BOOL,
                                         binding->index, 0, indices, (uint8_t)map->index_count)};
}

struct operand lower_index(const struct place *place, const struct ast *node) {
    const struct binding *binding = place_find(place, node->name.text);
    if (!binding) {
        const struct checker *checker = place->root->checker;
        if (node->name.text == checker->word_q || node->name.text == checker->word_k)
            return stage_row(place, node);
        unknown_name(place, node->name, "array");
        return (struct operand){0};
    }
    switch (binding->kind) {
    case BIND_TABLE:
    case BIND_TABLE_VALUE:
        return read_table(place, node, binding);
    case BIND_INPUT:
        return read_input(place, node, binding);
    case BIND_MAP:
        return read_map(place, node, binding);
    case BIND_POISON:
        return (struct operand){0};
    default:
        complain(place, node->span, "'%s' takes no index", node->name.text);
        remark(place, binding->name.span, "the %s '%s' is declared here", binding->what,
               node->name.text);
        return (struct operand){0};
    }
}
