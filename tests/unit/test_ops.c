// The table of operations: every row's meanings agree with each other.
//
// To add an operation, add a line to SAMPLES; the property test picks the row up by itself.

#include "dsl/expr.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- samples: what each operation means -------------------------------------------------------

struct sample {
    const char *op; // row name
    double args[3], result;
};

static const struct sample SAMPLES[] = {
    {"NOT", {1}, 0},
    {"AND", {1, 0}, 0},
    {"OR", {1, 0}, 1},
    {"IFF", {0, 0}, 1},
    {"XOR", {1, 0}, 1},
    {"SELECT_B", {1, 0, 1}, 0},
    {"SELECT_I", {0, 7, 9}, 9},
    {"SELECT_R", {1, 0.5, 2}, 0.5},
    {"NEG", {3}, -3},
    {"ADD", {2, -5}, -3},
    {"SUB", {2, -5}, 7},
    {"MUL", {-4, 6}, -24},
    {"DIV", {-1, 2}, -1},
    {"DIV", {7, -2}, -4},
    {"MOD", {-1, 4}, 3},
    {"MOD", {5, -3}, -1},
    {"CEILDIV", {-7, 2}, -3},
    {"CEILDIV", {7, 2}, 4},
    {"MIN", {3, -2}, -2},
    {"MAX", {3, -2}, 3},
    {"ABS", {-9}, 9},
    {"LOG2", {9}, 3},
    {"LOG2", {0}, -1},
    {"BITS", {0}, 0},
    {"BITS", {8}, 4},
    {"BITAND", {12, 10}, 8},
    {"BITAND", {-1, 10}, 10},
    {"BITXOR", {12, 10}, 6},
    {"BITOR", {12, 10}, 14},
    {"SHL", {-3, 4}, -48},
    {"SHR", {-5, 1}, -3},
    {"LT", {1, 1}, 0},
    {"LE", {1, 1}, 1},
    {"EQ", {4, 4}, 1},
    {"NE", {4, 4}, 0},
    {"IN_POW2", {16, 0, 5}, 1},
    {"IN_POW2", {32, 0, 5}, 0},
    {"TO_REAL", {-3}, -3.0},
    {"FLOOR", {-2.5}, -3},
    {"RNEG", {0.5}, -0.5},
    {"RADD", {0.5, 0.25}, 0.75},
    {"RSUB", {0.5, 0.25}, 0.25},
    {"RMUL", {0.5, 3}, 1.5},
    {"RDIV", {1, 4}, 0.25},
    {"RMIN", {1, 4}, 1},
    {"RMAX", {1, 4}, 4},
    {"RABS", {-4}, 4},
    {"REXP", {0}, 1},
    {"REXP2", {-3}, 0.125},
    {"RLOG", {1}, 0},
    {"RLOG2", {32}, 5},
    {"RSQRT", {2.25}, 1.5},
    {"RTANH", {0}, 0},
    {"RLT", {1, 2}, 1},
    {"RLE", {2, 1}, 0},
    {"REQ", {2, 2}, 1},
    {"RNE", {2, 2}, 0},
};
enum { SAMPLE_COUNT = sizeof SAMPLES / sizeof *SAMPLES };

static enum op op_named(const char *name) {
    for (int op = 0; op < OP_COUNT_; op++)
        if (strcmp(op_table[op].name, name) == 0)
            return (enum op)op;
    cr_assert(false, "no row '%s'", name);
    return OP_COUNT_;
}

static int arity_of(const struct op_info *info) {
    return (int)(strchr(info->signature, '>') - info->signature);
}

static union value value_of(char type, double x) {
    return type == 'r'   ? (union value){.r = x}
           : type == 'b' ? (union value){.b = x != 0}
                         : (union value){.i = (int64_t)x};
}
static double number_of(char type, union value x) {
    return type == 'r' ? x.r : type == 'b' ? (double)x.b : (double)x.i;
}

Test(ops, every_operation_has_a_sample) {
    for (int op = 0; op < OP_COUNT_; op++) {
        bool sampled = !op_table[op].eval; // leaves mean what the environment says
        for (int i = 0; i < SAMPLE_COUNT; i++)
            sampled |= strcmp(SAMPLES[i].op, op_table[op].name) == 0;
        cr_expect(sampled, "add a line for %s to SAMPLES", op_table[op].name);
    }
}

Test(ops, samples_hold) {
    for (int i = 0; i < SAMPLE_COUNT; i++) {
        const struct op_info *info = &op_table[op_named(SAMPLES[i].op)];
        union value args[3];
        enum eval_fault fault = EVAL_OK;
        int arity = arity_of(info);
        for (int a = 0; a < arity; a++)
            args[a] = value_of(info->signature[a], SAMPLES[i].args[a]);
        double result = number_of(info->signature[arity + 1], info->eval(args, &fault));
        cr_expect_eq(fault, EVAL_OK);
        cr_expect_eq(result, SAMPLES[i].result, "line %d, %s: %g", i, info->name, result);
    }
}

// ---- properties: eval, point and box agree ----------------------------------------------------

static uint64_t state = 42;
static uint64_t next(void) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static int64_t between(int64_t first, int64_t last) {
    return first + (int64_t)(next() % (uint64_t)(last - first + 1));
}

struct argument { // a box and a congruence, with members to draw
    int64_t first, step, count;
    double real_first, real_last;
};

static int64_t magnitude(void) {
    static const int64_t most[] = {3, 20, 300, 1 << 20, INT64_C(1) << 40};
    return most[between(0, 4)];
}

static struct argument random_argument(char type, bool is_count) {
    struct argument a = {.count = between(1, 9)};
    a.step = between(0, 2) ? 1 : between(1, 12);
    int64_t most = magnitude();
    a.first = is_count ? between(0, 20) : between(-most, most);
    if (type == 'b') {
        a.first = between(0, 1);
        a.step = 1;
        a.count = a.first ? 1 : between(1, 2);
    }
    if (is_count)
        a.count = between(1, 4);
    a.real_first = (double)between(-4000, 4000) / 64.0;
    a.real_last = a.real_first + (double)between(0, 640) / 64.0;
    return a;
}

static struct box box_of_argument(char type, const struct argument *a) {
    struct box box = {.mod = 1};
    if (type == 'r') {
        box.lo.r = a->real_first;
        box.hi.r = a->real_last;
    } else if (type == 'b') {
        box.lo.b = a->count == 1 && a->first;
        box.hi.b = a->count == 2 || a->first;
    } else {
        box.lo.i = a->first;
        box.hi.i = a->first + (a->count - 1) * a->step;
        box.mod = a->count == 1 ? 0 : a->step;
        box.rem = a->count == 1 ? a->first : ((a->first % a->step) + a->step) % a->step;
    }
    return box;
}

static union value draw(char type, const struct argument *a) {
    if (type == 'r')
        return (union value){.r = a->real_first +
                                  (a->real_last - a->real_first) * (double)between(0, 16) / 16.0};
    int64_t x = a->first + between(0, a->count - 1) * a->step;
    return type == 'b' ? (union value){.b = x != 0} : (union value){.i = x};
}

static aval to_aval(char type, union value v) {
    aval out = {.i = 0};
    if (type == 'r')
        out.r = v.r;
    else if (type == 'b')
        out.b = v.b;
    else
        out.i = v.i;
    return out;
}

static bool within(char type, union value v, const struct box *box) {
    if (type == 'r')
        return isnan(v.r) || (box->lo.r <= v.r && v.r <= box->hi.r);
    if (type == 'b')
        return box->lo.b <= v.b && v.b <= box->hi.b;
    bool congruent = box->mod == 0 ? v.i == box->rem : ((v.i - box->rem) % box->mod) == 0;
    return congruent && box->lo.i <= v.i && v.i <= box->hi.i;
}

static bool same(char type, union value v, aval p) {
    if (type == 'r')
        return v.r == p.r || (isnan(v.r) && isnan(p.r));
    return type == 'b' ? v.b == p.b : v.i == p.i;
}

static void check_row(const struct op_info *info) {
    struct alg_concrete alg;
    struct argument arguments[3];
    struct box boxes[3], out;
    int arity = arity_of(info);
    bool shifts = strncmp(info->name, "SH", 2) == 0 && arity == 2;
    for (int a = 0; a < arity; a++) {
        arguments[a] = random_argument(info->signature[a], shifts && a == 1);
        boxes[a] = box_of_argument(info->signature[a], &arguments[a]);
    }
    alg_concrete_init(&alg);
    info->box(&alg.alg, boxes, &out);
    if (alg.overflow || alg.zero_divisor) // refused when a plan is made
        return;
    for (int n = 0; n < 12; n++) {
        union value args[3] = {0};
        aval points[3];
        enum eval_fault fault = EVAL_OK;
        for (int a = 0; a < arity; a++) {
            args[a] = draw(info->signature[a], &arguments[a]);
            points[a] = to_aval(info->signature[a], args[a]);
        }
        char type = info->signature[arity + 1];
        union value value = info->eval(args, &fault);
        if (fault != EVAL_OK)
            continue;
        cr_assert(same(type, value, info->point(&alg.alg, points)),
                  "%s: point differs from eval at %" PRId64 ", %" PRId64, info->name, args[0].i,
                  args[1].i);
        cr_assert(within(type, value, &out),
                  "%s: %" PRId64 " of %" PRId64 ", %" PRId64 ", %" PRId64
                  " is outside of the box %" PRId64 " .. %" PRId64 " (%" PRId64 " mod %" PRId64 ")",
                  info->name, value.i, args[0].i, args[1].i, args[2].i, out.lo.i, out.hi.i, out.rem,
                  out.mod);
    }
}

Test(ops, point_equals_eval_and_lies_in_the_box) {
    for (int op = 0; op < OP_COUNT_; op++)
        for (int round = 0; op_table[op].eval && round < 4000; round++)
            check_row(&op_table[op]);
}

Test(ops, software_functions_are_accurate) {
    struct alg_concrete alg;
    alg_concrete_init(&alg);
    double (*const exact[])(double) = {exp2, log2, exp, log, tanh};
    for (int f = 0; f < ALG_MATH_COUNT; f++)
        for (int i = 0; i < 20000; i++) {
            bool positive = f == ALG_LOG || f == ALG_LOG2;
            double x = positive ? ldexp((double)between(1, 1 << 30), (int)between(-300, 300))
                                : (double)between(-(1 << 24), 1 << 24) / (1 << 18);
            double seen = alg_math(&alg.alg, (enum alg_math)f, (aval){.r = x}).r;
            double wanted = exact[f](x);
            cr_assert_leq(fabs(seen - wanted), 4e-15 * fabs(wanted) + 1e-300,
                          "function %d at %a: %a, not %a", f, x, seen, wanted);
        }
}
