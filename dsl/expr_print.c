// Expressions as the language writes them.

#include "dsl/expr.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LENGTH_LIMIT = 64 * 1024 };

struct printer {
    const struct expr *root;
    const struct expr_names *names;
    struct strbuf *out;
    size_t begin;
};

static void print(struct printer *p, const struct expr *node, int outer);

void expr_print_real(double value, struct strbuf *out) {
    char text[64];
    if (fabs(value) < 1e15 && value == floor(value)) { // rather 30.0 than 3.0e+01
        strbuf_printf(out, "%.1f", value);
        return;
    }
    snprintf(text, sizeof text, "%.17g", value);
    for (int digits = 1; digits < 17; digits++) {
        char shorter[64];
        double back;
        snprintf(shorter, sizeof shorter, "%.*g", digits, value);
        if (sscanf(shorter, "%lf", &back) == 1 && back == value) {
            memcpy(text, shorter, sizeof text);
            break;
        }
    }
    // A real literal has digits on both sides of its point.
    char *exponent = strchr(text, 'e');
    if (isfinite(value) && !strchr(text, '.')) {
        int mantissa = exponent ? (int)(exponent - text) : (int)strlen(text);
        strbuf_printf(out, "%.*s.0%s", mantissa, text, exponent ? exponent : "");
    } else {
        strbuf_puts(out, text);
    }
}

static void print_some_indices(struct printer *p, const char *name, const struct expr *node,
                               int count) {
    bool of_input = node->op == OP_INPUT || node->op == OP_MEMBER || node->op == OP_STAGE;
    int first = of_input && p->names->batched && p->names->batched[node->payload.ref.index];
    strbuf_printf(p->out, "%s[", name);
    for (int i = first; i < count; i++) {
        strbuf_puts(p->out, i > first ? ", " : "");
        print(p, node->args[i], 0);
    }
    strbuf_puts(p->out, "]");
}

static void print_indices(struct printer *p, const char *name, const struct expr *node) {
    print_some_indices(p, name, node, node->arity);
}

// x in name[indices], where comparisons stand.
static void print_member(struct printer *p, const char *name, const struct expr *node, int outer) {
    int precedence = op_table[OP_MEMBER].precedence, indices = node->arity - 1;
    strbuf_puts(p->out, outer > precedence ? "(" : "");
    print(p, node->args[indices], precedence + 1);
    strbuf_puts(p->out, " in ");
    print_some_indices(p, name, node, indices);
    strbuf_puts(p->out, outer > precedence ? ")" : "");
}

static const char *const place_names[] = {
    [PLACE_OF_ITEM] = "item", [PLACE_OF_LIST] = "list", [PLACE_OF_TILE] = "tile"};

static void print_variable(struct printer *p, unsigned index) {
    strbuf_printf(p->out, "e%u", index);
}

static void print_row(struct printer *p, const struct expr *node) {
    strbuf_puts(p->out, node->payload.ref.side == SIDE_QUERY ? "q[" : "k[");
    print(p, node->args[0], 0);
    strbuf_puts(p->out, ", ");
    print(p, node->args[1], 0);
    strbuf_puts(p->out, "]");
}

static void print_dim_sum(struct printer *p, const struct expr *node) {
    strbuf_puts(p->out, "sum(");
    print(p, node->args[0], 0);
    strbuf_puts(p->out, ")");
}

static void print_quantifier(struct printer *p, const struct expr *node, int outer) {
    strbuf_puts(p->out, outer > 4 ? "(" : "");
    strbuf_printf(p->out, "%s ", op_table[node->op].surface);
    print_variable(p, node->payload.ref.index);
    strbuf_puts(p->out, " in ");
    print(p, node->args[0], 6);
    strbuf_puts(p->out, " .. ");
    print(p, node->args[1], 6);
    if (!expr_is_int(node->args[2], 1)) {
        strbuf_puts(p->out, " step ");
        print(p, node->args[2], 6);
    }
    strbuf_puts(p->out, " : ");
    print(p, node->args[3], 4);
    strbuf_puts(p->out, outer > 4 ? ")" : "");
}

static void print_leaf(struct printer *p, const struct expr *node, int outer) {
    const struct expr_names *names = p->names;
    unsigned index = node->payload.ref.index;
    const char *side = node->payload.ref.side == SIDE_QUERY ? "q" : "k";
    switch (node->op) {
    case OP_BOOL:
        strbuf_puts(p->out, node->payload.i ? "true" : "false");
        break;
    case OP_INT:
        if (node->payload.i < 0 && outer > 11)
            strbuf_printf(p->out, "(%lld)", (long long)node->payload.i);
        else
            strbuf_printf(p->out, "%lld", (long long)node->payload.i);
        break;
    case OP_REAL:
        expr_print_real(node->payload.r, p->out);
        break;
    case OP_COORD:
        strbuf_printf(p->out, "%s.%s", side, names->axes[index]);
        break;
    case OP_TOKEN:
        strbuf_printf(p->out, "%s.token", side);
        break;
    case OP_SIZE:
        strbuf_printf(p->out, "size(%s)", names->axes[index]);
        break;
    case OP_HEAD:
        strbuf_puts(p->out, "head");
        break;
    case OP_HEADS:
        strbuf_puts(p->out, "heads");
        break;
    case OP_KV_HEAD:
        strbuf_puts(p->out, "kv_head");
        break;
    case OP_BATCH:
        strbuf_puts(p->out, "batch");
        break;
    case OP_PARAM:
        strbuf_puts(p->out, names->params[index]);
        break;
    case OP_SCORE:
        strbuf_puts(p->out, "s");
        break;
    case OP_VAR:
        print_variable(p, index);
        break;
    case OP_PLACE:
        strbuf_printf(p->out, "%s%u", place_names[node->payload.ref.side], index);
        break;
    case OP_RESIDUE:
        strbuf_printf(p->out, "residue%u", index);
        break;
    case OP_DILATION:
        strbuf_printf(p->out, "dilation%u", index);
        break;
    case OP_ENUM:
        strbuf_printf(p->out, "n%u", index);
        break;
    case OP_TABLE:
        print_indices(p, names->tables[index], node);
        break;
    case OP_INPUT:
        print_indices(p, names->inputs[index], node);
        break;
    case OP_MAP:
        print_indices(p, names->maps[index], node);
        break;
    case OP_MEMBER:
        print_member(p, names->inputs[index], node, outer);
        break;
    case OP_TENSOR:
        print_row(p, node);
        break;
    case OP_STAGE:
        print_indices(p, names->inputs[index], node);
        break;
    case OP_DIM_SUM:
        print_dim_sum(p, node);
        break;
    case OP_DIM:
        strbuf_puts(p->out, "dim");
        break;
    case OP_QUERIES:
        strbuf_puts(p->out, "queries");
        break;
    case OP_SCALE:
        strbuf_puts(p->out, "scale");
        break;
    default:
        print_quantifier(p, node, outer);
        break;
    }
}

// An integer operand becomes a real by itself, unless that leaves integers only: then the operation
// would read back as another one. The operand whose conversion must be written, or -1.
static int explicit_real(const struct expr *node) {
    enum type types[MAX_EXPR_ARGS];
    uint32_t converts;
    int first = -1;
    for (int i = node->arity - 1; i >= 0; i--) {
        bool converted = node->args[i]->op == OP_TO_REAL;
        types[i] = converted ? TYPE_INT : node->args[i]->type;
        first = converted ? i : first;
    }
    if (first < 0 ||
        op_lookup(op_table[node->op].surface, types, node->arity, &converts) == node->op)
        return -1;
    return first;
}

static void print_operand(struct printer *p, const struct expr *node, int index, int outer) {
    bool explicit = explicit_real(node) == index;
    strbuf_puts(p->out, explicit ? "real(" : "");
    print(p, node->args[index], explicit ? 0 : outer);
    strbuf_puts(p->out, explicit ? ")" : "");
}

static void print_form(struct printer *p, const struct expr *node, int outer) {
    const struct op_info *info = &op_table[node->op];
    // ?: has no row precedence of its own arms: all three are printed tighter than it.
    bool parens = info->form != FORM_CALL && info->precedence < outer;
    strbuf_puts(p->out, parens ? "(" : "");
    switch (info->form) {
    case FORM_INFIX: {
        // Comparisons do not associate; - and / and % take a tighter right operand.
        bool comparison = info->precedence == 5;
        print_operand(p, node, 0, info->precedence + comparison);
        strbuf_printf(p->out, " %s ", info->surface);
        print_operand(p, node, 1, info->precedence + 1);
        break;
    }
    case FORM_PREFIX:
        strbuf_printf(p->out, node->op == OP_NOT ? "%s " : "%s", info->surface);
        print_operand(p, node, 0, info->precedence);
        break;
    case FORM_TERNARY:
        print_operand(p, node, 0, 2);
        strbuf_puts(p->out, " ? ");
        print_operand(p, node, 1, 2);
        strbuf_puts(p->out, " : ");
        print_operand(p, node, 2, 1);
        break;
    default:
        strbuf_printf(p->out, "%s(", info->surface);
        for (int i = 0; i < node->arity; i++) {
            strbuf_puts(p->out, i ? ", " : "");
            print_operand(p, node, i, 0);
        }
        strbuf_puts(p->out, ")");
        break;
    }
    strbuf_puts(p->out, parens ? ")" : "");
}

static void print(struct printer *p, const struct expr *node, int outer) {
    if (p->out->length - p->begin > LENGTH_LIMIT)
        return;
    const char *name = p->names->nodes && node != p->root ? p->names->nodes[node->id] : NULL;
    if (name)
        strbuf_puts(p->out, name);
    else if (node->op == OP_TO_REAL) // mostly implicit in the language
        print(p, node->args[0], outer);
    else if (node->op == OP_IN_POW2) {
        strbuf_puts(p->out, outer > 5 ? "(" : "");
        print(p, node->args[0], 6);
        strbuf_puts(p->out, " in pow2(");
        print(p, node->args[1], 0);
        strbuf_puts(p->out, " .. ");
        print(p, node->args[2], 0);
        strbuf_puts(p->out, outer > 5 ? "))" : ")");
    } else if (op_table[node->op].form == FORM_LEAF)
        print_leaf(p, node, outer);
    else
        print_form(p, node, outer);
}

void expr_print(const struct expr *root, const struct expr_names *names, struct strbuf *out) {
    struct printer p = {root, names, out, out->length};
    print(&p, root, 0);
    if (out->length - p.begin > LENGTH_LIMIT)
        strbuf_puts(out, " ...");
}
