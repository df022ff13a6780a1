// See pattern_codec.h. Here: the graph; what refers to it is in pattern_parts.c. Operations are
// named, so that a new row in ops.def changes nothing here and older bytes stay readable.

#include "dsl/pattern_codec.h"

#include "dsl/pattern_parts.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_SOURCES = 1024, MOST_NODES = 1 << 20 };

// ---- nodes --------------------------------------------------------------------------------------

const struct expr *pattern_ref(struct pattern_codec *p, const struct expr *node) {
    if (p->marking) {
        if (node)
            p->numbers[node->id] = 1;
        return node;
    }
    int64_t number = node && !codec_reads(p->c) ? p->numbers[node->id] : 0;
    number = codec_int64(p->c, number, 0, p->graph->count);
    if (!codec_reads(p->c))
        return node;
    return number ? p->graph->nodes[number - 1] : NULL;
}

struct span pattern_span(struct pattern_codec *p, struct span span) {
    struct codec *c = p->c;
    if (p->marking)
        return span;
    span.line = (uint32_t)codec_int64(c, span.line, 0, INT32_MAX);
    if (!span.line)
        return (struct span){0};
    span.source = (uint32_t)codec_int64(c, span.source, 0, MOST_SOURCES);
    span.column = (uint32_t)codec_int64(c, span.column, 0, INT32_MAX);
    return span;
}

static bool is_number(enum op op) {
    return op == OP_INT || op == OP_BOOL || op == OP_REAL;
}

// Variables are bits of what a node depends on, so their numbers are tested before nodes are made.
static int most_index(enum op op) {
    bool variable = op == OP_VAR || op == OP_ANY || op == OP_ALL || op == OP_COUNT ||
                    op == OP_SUM_OVER || op == OP_MAX_OVER || op == OP_MIN_OVER;
    return variable ? MAX_VARS - 1 : UINT16_MAX;
}

static int fixed_arity(enum op op) { // -1: any number of indices
    const char *signature = op_table[op].signature;
    return strchr(signature, '*') ? -1 : (int)(strchr(signature, '>') - signature);
}

static bool letter_fits(char letter, enum type type) {
    return type == (letter == 'b' ? TYPE_BOOL : letter == 'r' ? TYPE_REAL : TYPE_INT);
}

// Do the arguments have the types of the row?
static bool args_fit(enum op op, const struct expr *const *args, int arity) {
    const char *signature = op_table[op].signature;
    for (int i = 0; i < arity; i++)
        if (!letter_fits(signature[fixed_arity(op) < 0 ? 0 : i], args[i]->type))
            return false;
    return true;
}

struct proto { // a node before it is made
    struct span span;
    enum op op;
    enum type type;
    union {
        int64_t i;
        double r;
    } number;
    uint16_t index, side;
    int arity;
    const struct expr *args[MAX_EXPR_ARGS];
};

// Through the functions that the checker uses, so that it can be no other node than theirs.
static const struct expr *make(struct expr_graph *graph, const struct proto *proto) {
    if (op_table[proto->op].eval)
        return expr_make(graph, proto->span, proto->op, proto->args);
    switch (proto->op) {
    case OP_INT:
        return expr_int(graph, proto->span, proto->number.i);
    case OP_BOOL:
        return expr_bool(graph, proto->span, proto->number.i != 0);
    case OP_REAL:
        return expr_real(graph, proto->span, proto->number.r);
    default:
        return expr_ref(graph, proto->span, proto->op, proto->type, proto->index, proto->side,
                        proto->args, (uint8_t)proto->arity);
    }
}

static void describe(struct pattern_codec *p, struct proto *proto) {
    struct codec *c = p->c;
    enum op op = proto->op;
    char result = strchr(op_table[op].signature, '>')[1];
    proto->span = pattern_span(p, proto->span);
    proto->type = result == 'b'   ? TYPE_BOOL
                  : result == 'r' ? TYPE_REAL
                  : result == 'i' ? TYPE_INT
                                  : (enum type)codec_int(c, (int)proto->type, 0, TYPE_REAL);
    if (op == OP_REAL) {
        proto->number.i = (int64_t)codec_bits(c, (uint64_t)proto->number.i);
    } else if (is_number(op)) {
        proto->number.i = codec_int64(c, proto->number.i, INT64_MIN, INT64_MAX);
    } else if (!op_table[op].eval) {
        proto->index = (uint16_t)codec_int(c, proto->index, 0, most_index(op));
        proto->side = (uint16_t)codec_int(c, proto->side, 0, SIDE_KEY);
    }
    if (fixed_arity(op) < 0)
        proto->arity = codec_int(c, proto->arity, 1, MAX_EXPR_ARGS);
    else
        proto->arity = fixed_arity(op);
}

static void write_node(struct pattern_codec *p, const struct expr *node, int op_number) {
    struct proto proto = {.span = node->span, .op = node->op, .type = node->type};
    proto.number.i = node->payload.i;
    proto.arity = node->arity;
    codec_int(p->c, op_number, 0, p->op_count - 1);
    if (!is_number(node->op)) {
        proto.index = node->payload.ref.index;
        proto.side = node->payload.ref.side;
    }
    describe(p, &proto);
    for (int i = 0; i < node->arity; i++)
        pattern_ref(p, node->args[i]);
}

static bool read_node(struct pattern_codec *p) {
    uint32_t number = p->graph->count;
    struct proto proto = {.op = p->ops[codec_int(p->c, 0, 0, p->op_count - 1)]};
    describe(p, &proto);
    for (int i = 0; i < proto.arity; i++)
        if (!(proto.args[i] = pattern_ref(p, NULL)))
            codec_fail(p->c, "an operation lacks an argument");
    if (p->c->fault)
        return false;
    if (!args_fit(proto.op, proto.args, proto.arity))
        codec_fail(p->c, "an argument is of the wrong type");
    else if (make(p->graph, &proto)->id != number) // shared or folded: the checker leaves no such
        codec_fail(p->c, "an expression is not in its normal form");
    return !p->c->fault;
}

// ---- the graph ----------------------------------------------------------------------------------

static enum op op_named(const char *name) {
    for (int op = 0; op < OP_COUNT_; op++)
        if (name && strcmp(op_table[op].name, name) == 0)
            return (enum op)op;
    return OP_COUNT_;
}

// Names of the operations in use; out: by operation, its number.
static void write_ops(struct pattern_codec *p, int *number_of) {
    bool used[OP_COUNT_] = {false};
    for (uint32_t id = 0; id < p->graph->count; id++)
        if (p->numbers[id])
            used[p->graph->nodes[id]->op] = true;
    for (int op = 0; op < OP_COUNT_; op++)
        if (used[op])
            number_of[op] = p->op_count++;
    codec_count(p->c, p->op_count, OP_COUNT_);
    for (int op = 0; op < OP_COUNT_; op++)
        if (used[op])
            codec_text(p->c, op_table[op].name);
}

static void read_ops(struct pattern_codec *p) {
    p->op_count = codec_count(p->c, 0, OP_COUNT_);
    p->ops = ARENA_ARRAY(p->c->arena, enum op, (size_t)p->op_count + 1);
    for (int i = 0; i < p->op_count; i++) {
        p->ops[i] = op_named(codec_text(p->c, NULL));
        if (p->ops[i] == OP_COUNT_)
            codec_fail(p->c, "it has an operation that this version does not know");
    }
    if (!p->op_count)
        codec_fail(p->c, "it has no operation");
}

// Arguments have smaller ids than their users, so one way down finds all that is reached.
static uint32_t mark_args(struct pattern_codec *p) {
    uint32_t count = 0;
    for (uint32_t id = p->graph->count; id-- > 0;) {
        const struct expr *node = p->graph->nodes[id];
        for (int i = 0; p->numbers[id] && i < node->arity; i++)
            p->numbers[node->args[i]->id] = 1;
        count += p->numbers[id];
    }
    return count;
}

static void write_graph(struct pattern_codec *p) {
    int number_of[OP_COUNT_] = {0};
    uint32_t count = mark_args(p), number = 0;
    write_ops(p, number_of);
    codec_count(p->c, (int)count, MOST_NODES);
    for (uint32_t id = 0; id < p->graph->count; id++) {
        const struct expr *node = p->graph->nodes[id];
        if (!p->numbers[id])
            continue;
        p->numbers[id] = ++number;
        write_node(p, node, number_of[node->op]);
    }
}

static void read_graph(struct pattern_codec *p) {
    read_ops(p);
    int count = codec_count(p->c, 0, MOST_NODES);
    for (int i = 0; i < count && !p->c->fault && read_node(p); i++)
        ;
}

// Paths alone, so that messages can name a place.
static void sources(struct codec *c, struct diags *diags) {
    uint32_t count = (uint32_t)codec_count(c, (int)diags->source_count, MOST_SOURCES);
    for (uint32_t i = 0; i < count; i++) {
        const char *path = codec_text(c, codec_reads(c) ? NULL : diags->sources[i].path);
        if (codec_reads(c))
            diags_add_source(diags, path ? path : "", "", 0);
    }
}

// ---- all of it ----------------------------------------------------------------------------------

static void write_all(struct pattern_codec *p, const struct pattern *pattern) {
    struct strbuf nothing = {0}, *out = p->c->out;
    struct pattern copy = *pattern; // as it is: a writer changes nothing
    p->marking = true;
    p->c->out = &nothing;
    pattern_parts(p, &copy);
    p->marking = false;
    p->c->out = out;
    out->failed |= nothing.failed;
    strbuf_finish(&nothing);
    sources(p->c, pattern->diags);
    write_graph(p);
    pattern_parts(p, &copy);
}

bool pattern_write(const struct pattern *pattern, struct strbuf *out) {
    struct codec c = codec_writer(out);
    struct pattern_codec p = {.c = &c, .graph = pattern->graph};
    // Not from the pattern's arena: several threads may ask at once.
    p.numbers = calloc((size_t)pattern->graph->count + 1, sizeof *p.numbers);
    if (!p.numbers)
        return false;
    write_all(&p, pattern);
    free(p.numbers);
    return !out->failed && !c.fault;
}

struct pattern *pattern_read(const char *bytes, size_t length, struct arena *arena,
                             struct diags *diags, const char **out_fault) {
    struct codec c = codec_reader(bytes, length, arena);
    struct pattern *pattern = ARENA_NEW(arena, struct pattern);
    struct pattern_codec p = {.c = &c, .graph = ARENA_NEW(arena, struct expr_graph)};
    expr_graph_init(p.graph, arena);
    pattern->graph = p.graph;
    pattern->diags = diags;
    sources(&c, diags);
    read_graph(&p);
    pattern_parts(&p, pattern);
    if (c.at != length)
        codec_fail(&c, "more follows than a pattern");
    if (!c.fault)
        c.fault = pattern_fault(pattern);
    *out_fault = c.fault;
    return c.fault ? NULL : pattern;
}
