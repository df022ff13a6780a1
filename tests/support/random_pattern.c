#include "tests/support/random_pattern.h"

#include <inttypes.h>

uint64_t random_next(struct random_source *source) { // splitmix64
    uint64_t z = source->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t random_in(struct random_source *source, int64_t first, int64_t last) {
    return first + (int64_t)(random_next(source) % (uint64_t)(last - first + 1));
}

struct writer {
    struct random_source *random;
    struct strbuf *out;
    int axes;
    bool with_input;
};

static int pick(struct writer *w, int choices) {
    return (int)random_in(w->random, 0, choices - 1);
}

static void put(struct writer *w, const char *text) {
    strbuf_puts(w->out, text);
}

static char axis_name(struct writer *w) {
    return (char)('a' + pick(w, w->axes));
}

static void number(struct writer *w, int64_t first, int64_t last) {
    strbuf_printf(w->out, "%" PRId64, random_in(w->random, first, last));
}

// A value that is the same for all positions.
static void uniform(struct writer *w) {
    switch (pick(w, 5)) {
    case 0:
        put(w, "p0");
        break;
    case 1:
        put(w, "t[head]");
        break;
    case 2:
        strbuf_printf(w->out, "size(%c) / %" PRId64, axis_name(w), random_in(w->random, 1, 4));
        break;
    default:
        number(w, -3, 40);
        break;
    }
}

// A divisor: positive whatever the parameters are.
static void divisor(struct writer *w) {
    if (pick(w, 4) == 0)
        put(w, "p1"); // 1 .. 9
    else
        number(w, 1, 17);
}

static void position(struct writer *w, char side, char axis) {
    switch (pick(w, 6)) {
    case 0:
        strbuf_printf(w->out, "%c.%c / ", side, axis);
        divisor(w);
        break;
    case 1:
        strbuf_printf(w->out, "(%c.%c + ", side, axis);
        number(w, 0, 9);
        put(w, ") / ");
        divisor(w);
        break;
    default:
        strbuf_printf(w->out, "%c.%c", side, axis);
        break;
    }
}

static void distance(struct writer *w) {
    char axis = axis_name(w);
    int form = pick(w, 4);
    put(w, form == 0 ? "abs(" : "(");
    position(w, 'q', axis);
    put(w, " - ");
    position(w, 'k', axis);
    put(w, ")");
}

static const char *comparison(struct writer *w) {
    static const char *const words[] = {" <= ", " < ", " >= ", " > ", " == ", " != "};
    return words[pick(w, 6)];
}

static void window(struct writer *w) {
    distance(w);
    put(w, comparison(w));
    uniform(w);
}

static void comb(struct writer *w) {
    put(w, "(");
    if (pick(w, 2))
        position(w, 'k', axis_name(w));
    else
        distance(w);
    put(w, " + ");
    uniform(w);
    put(w, ") % ");
    divisor(w);
    put(w, comparison(w));
    number(w, 0, 6);
}

static void same_block(struct writer *w) {
    char axis = axis_name(w);
    int64_t block = random_in(w->random, 1, 20);
    const char *op = pick(w, 2) ? "/" : "%";
    strbuf_printf(w->out, "q.%c %s %" PRId64 " == k.%c %s %" PRId64, axis, op, block, axis, op,
                  block);
}

static void band(struct writer *w) { // the window shrinks as another axis's distance grows
    char far = axis_name(w), near = axis_name(w);
    strbuf_printf(w->out, "abs(q.%c - k.%c) <= ", near, near);
    number(w, 1, 40);
    strbuf_printf(w->out, " >> min(log2(max(abs(q.%c - k.%c), 1)), 8)", far, far);
}

static void shifted(struct writer *w) { // a window that slides inward at the borders
    char axis = axis_name(w);
    int64_t width = random_in(w->random, 1, 20);
    strbuf_printf(w->out,
                  "k.%c in clamp(q.%c - %" PRId64 ", 0, max(size(%c) - %" PRId64
                  ", 0)) .. clamp(q.%c - %" PRId64 ", 0, max(size(%c) - %" PRId64
                  ", 0)) + %" PRId64,
                  axis, axis, width / 2, axis, width, axis, width / 2, axis, width, width);
}

static void atom(struct writer *w) {
    char axis;
    switch (pick(w, w->with_input ? 13 : 12)) {
    case 0:
    case 1:
        window(w);
        break;
    case 2:
        put(w, "causal");
        break;
    case 3:
        comb(w);
        break;
    case 4:
        same_block(w);
        break;
    case 5:
        band(w);
        break;
    case 6:
        shifted(w);
        break;
    case 7:
        axis = axis_name(w);
        strbuf_printf(w->out, "%c.%c < ", pick(w, 2) ? 'k' : 'q', axis);
        uniform(w);
        break;
    case 8:
        axis = axis_name(w);
        strbuf_printf(w->out, "q.%c - k.%c in pow2(0 .. %d)", axis, axis, 1 + pick(w, 8));
        break;
    case 9:
        axis = axis_name(w);
        strbuf_printf(w->out, "any e in 0 .. %d : q.%c - k.%c == e * ", 1 + pick(w, 6), axis, axis);
        number(w, 1, 12);
        break;
    case 10:
        axis = axis_name(w);
        strbuf_printf(w->out, "(q.%c * 7 + k.%c * ", axis, axis_name(w));
        number(w, 1, 5);
        put(w, ") % 11 < ");
        number(w, 1, 9);
        break;
    case 11:
        axis = axis_name(w);
        strbuf_printf(w->out, "min(k.%c, p0) ", axis);
        put(w, pick(w, 2) ? "<= " : ">= ");
        strbuf_printf(w->out, "max(q.%c - ", axis);
        number(w, 0, 9);
        put(w, ", 3)");
        break;
    default:
        put(w, "doc[q.token] == doc[k.token]");
        break;
    }
}

static void condition(struct writer *w, int depth) {
    int form = depth <= 0 ? 0 : pick(w, 8);
    put(w, "(");
    switch (form) {
    case 1:
    case 2:
    case 3:
        condition(w, depth - 1);
        put(w, " and ");
        condition(w, depth - 1);
        break;
    case 4:
    case 5:
        condition(w, depth - 1);
        put(w, " or ");
        condition(w, depth - 1);
        break;
    case 6:
        put(w, "not ");
        condition(w, depth - 1);
        break;
    case 7:
        condition(w, 0);
        put(w, " ? ");
        condition(w, depth - 1);
        put(w, " : ");
        condition(w, depth - 1);
        break;
    default:
        atom(w);
        break;
    }
    put(w, ")");
}

void random_pattern(struct random_source *source, int axes, bool with_input, struct strbuf *out) {
    struct writer w = {source, out, axes, with_input};
    put(&w, "pattern random {\n    axes ");
    for (int a = 0; a < axes; a++)
        strbuf_printf(out, "%s%c", a ? ", " : "", 'a' + a);
    put(&w, ";\n    param int p0 = 5, p1 = 3, t[head] = head * 4;\n    require p1 >= 1;\n");
    if (with_input)
        put(&w, "    input int doc[token];\n");
    put(&w, "    keep ");
    if (pick(&w, 3) == 0) { // every axis split by residue
        char axis = axis_name(&w);
        strbuf_printf(out, "q.%c %% p1 == k.%c %% p1 and ", axis, axis);
    }
    condition(&w, 3);
    put(&w, ";\n}\n");
}
