// The expression graph: what a checked pattern is made of, and the table of its operations.
//
// Nodes are immutable and shared: expr_make returns the same node for the same operation on the
// same arguments, so a pattern is a directed acyclic graph whose text form may be exponentially
// longer. Anything that walks it must therefore visit each node once (struct expr_memo).
//
// One row of ops.def is one operation, with all its meanings side by side:
//
//   name, how it is written, types
//   eval    the plain C meaning, for the reference and for folding constants
//   point   the meaning for one pair, over an algebra (emitted into masks and scores)
//   box     the meaning for a box of pairs: an interval with a congruence (planner, analysis)
//   fold    algebraic rules that hold without knowing the arguments (x + 0 = x), or NULL
//
// To add an operation: one row in ops.def, its functions in ops_*.c and their names in
// ops.h, one line in tests/unit/test_ops.c.
#ifndef HEDDLE_DSL_EXPR_H
#define HEDDLE_DSL_EXPR_H

#include "compiler/base/arena.h"
#include "compiler/base/diag.h"
#include "compiler/base/strbuf.h"
#include "dsl/alg.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAX_AXES = 3, MAX_INDICES = 4, MAX_EXPR_ARGS = 4, MAX_VARS = 16 };

// A pattern whose expressions exceed these is refused at check: walks may recurse on the depth, and
// the reference's cost is the weight.
enum { EXPR_DEPTH_LIMIT = 3000, EXPR_WEIGHT_LIMIT = 1000000 };

enum type { TYPE_BOOL, TYPE_INT, TYPE_REAL };

enum side { SIDE_QUERY, SIDE_KEY };
// Whose place a leaf OP_PLACE is (compiler/analyse/basis.h).
enum place_of { PLACE_OF_ITEM, PLACE_OF_LIST, PLACE_OF_TILE };

enum op {
#define OP(name, ...) OP_##name,
#include "dsl/ops.def"
#undef OP
    OP_COUNT_
};

// What a node's value may depend on (bits of expr.deps). No bit: uniform over a launch.
enum {
    DEP_QUERY = 1, // the query's position
    DEP_KEY = 2,   // the key's position
    DEP_HEAD = 4,  // head or kv_head, through whatever table
    DEP_BATCH = 8,
    DEP_SCORE = 16, // the scaled logit `s`
    DEP_VAR = 32,   // a variable of a quantifier outside of this node
    DEP_ARRAY = 64, // reads an input or a map
    DEP_ROW = 128,  // is a row: has a value for each dim
};

struct expr {
    enum op op;
    enum type type;
    uint8_t arity;
    uint8_t deps;
    uint16_t vars;   // bit n: quantifier variable n is free here (numbered by nesting depth)
    uint32_t depth;  // longest path to a leaf
    uint32_t weight; // nodes of the text form, saturating; the checker bounds both
    uint32_t id;     // dense, from 0, in order of creation: arguments come before their users
    union {
        int64_t i; // OP_INT; OP_BOOL (0, 1)
        double r;  // OP_REAL
        struct {
            uint16_t index; // axis, parameter, input, map or variable number
            uint16_t side;  // enum side, for coordinates and tokens; enum place_of
        } ref;
    } payload;
    struct span span; // where it was first written
    const struct expr *args[];
};

struct expr_graph {
    struct arena *arena;       // borrowed
    const struct expr **nodes; // by id
    uint32_t count, room;
    uint32_t *buckets; // open hash of id + 1
    uint32_t bucket_count;
    uint32_t node_limit; // creating more escapes through the arena; 0: 1,000,000
};

void expr_graph_init(struct expr_graph *graph, struct arena *arena);

// The one way to make a node: folds constants and applies the row's rules, then shares. Types of
// the arguments must already fit the row (asserted).
const struct expr *expr_make(struct expr_graph *graph, struct span span, enum op op,
                             const struct expr *const *args);
const struct expr *expr_int(struct expr_graph *graph, struct span span, int64_t value);
const struct expr *expr_real(struct expr_graph *graph, struct span span, double value);
const struct expr *expr_bool(struct expr_graph *graph, struct span span, bool value);
// Leaves and array reads: OP_COORD, OP_TOKEN, OP_SIZE, OP_PARAM, OP_VAR, ... with a payload.
const struct expr *expr_ref(struct expr_graph *graph, struct span span, enum op op, enum type type,
                            uint16_t index, uint16_t side, const struct expr *const *args,
                            uint8_t arity);
// The same operation (and payload) on other arguments: for rewriting passes.
const struct expr *expr_rebuild(struct expr_graph *graph, const struct expr *node,
                                const struct expr *const *args);
static inline const struct expr *expr_op1(struct expr_graph *g, enum op op, const struct expr *a) {
    return expr_make(g, a->span, op, (const struct expr *[]){a});
}
static inline const struct expr *expr_op2(struct expr_graph *g, enum op op, const struct expr *a,
                                          const struct expr *b) {
    return expr_make(g, a->span, op, (const struct expr *[]){a, b});
}
static inline const struct expr *expr_op3(struct expr_graph *g, enum op op, const struct expr *a,
                                          const struct expr *b, const struct expr *c) {
    return expr_make(g, a->span, op, (const struct expr *[]){a, b, c});
}
static inline bool expr_is_int(const struct expr *e, int64_t value) {
    return e->op == OP_INT && e->payload.i == value;
}
static inline bool expr_is_bool(const struct expr *e, bool value) {
    return e->op == OP_BOOL && e->payload.i == (int64_t)value;
}

// Rewrites a graph from the leaves up, each node once: `replace` gets a node and its rewritten
// arguments, and returns its replacement, or NULL for the same operation on those arguments.
const struct expr *expr_rewrite(struct expr_graph *graph, const struct expr *root,
                                const struct expr *(*replace)(void *context,
                                                              const struct expr *node,
                                                              const struct expr *const *args),
                                void *context);

// ---- the table ----------------------------------------------------------------------------

union value { // a computed value; which member is live follows from the type
    int64_t i;
    double r;
    bool b;
};

// An interval with a congruence. lo and hi are inclusive bounds. For a boolean, lo is "true for
// every pair" and hi is "true for some pair, as far as known". Integers are also known to be
// rem modulo mod (mod 1: nothing known; mod 0: the constant rem); mod and rem are numbers even
// where lo and hi are instructions.
struct box {
    aval lo, hi;
    int64_t mod, rem;
};

// What eval may complain about: the first fault is kept.
enum eval_fault { EVAL_OK, EVAL_OVERFLOW, EVAL_ZERO_DIVISOR, EVAL_SHIFT, EVAL_WORK };

enum op_form {
    FORM_LEAF,   // written in its own way (constants, coordinates, reads)
    FORM_INFIX,  // a + b
    FORM_PREFIX, // not a, -a
    FORM_CALL,   // min(a, b)
    FORM_TERNARY // c ? a : b
};

struct op_info {
    const char *name;    // of the operation in dumps, unique
    const char *surface; // as a user writes it; several rows may share it and differ in types
    enum op_form form;
    int precedence;        // of infix and prefix forms, higher binds tighter
    const char *signature; // argument types, '>', result type: "ii>i", letters b, i, r
    union value (*eval)(const union value *args, enum eval_fault *fault);
    aval (*point)(struct alg *, const aval *args);
    void (*box)(struct alg *, const struct box *args, struct box *out);
    const struct expr *(*fold)(struct expr_graph *, struct span, const struct expr *const *args);
};

extern const struct op_info op_table[OP_COUNT_];

// The row for `surface` applied to arguments of these types, ints converted to reals where that
// makes a row fit; OP_COUNT_ when there is none. *out_converts gets a bit per argument to convert.
enum op op_lookup(const char *surface, const enum type *types, int count, uint32_t *out_converts);

// ---- evaluation of one pair (the reference meaning) ----------------------------------------

struct eval_array {   // an input or a map, as the evaluator sees it
    const void *data; // int32_t, float or uint8_t elements, row-major
    enum type type;   // TYPE_INT, TYPE_REAL, TYPE_BOOL
    int index_count;
    int64_t extent[MAX_INDICES];
};

struct eval_rows;

struct eval_env {
    int64_t size[MAX_AXES];
    int axis_count;
    int64_t heads, kv_heads, batches;
    const union value *params;        // scalars, by number
    const union value *const *tables; // per-head parameters: [number][head]
    const struct eval_array *inputs;  // by number
    const struct eval_array *maps;
    int64_t head, batch;
    int64_t query[MAX_AXES], key[MAX_AXES]; // coordinates of the pair
    double score;                           // `s`
    struct eval_rows *rows;                 // what stages read (dsl/eval_rows.h), or NULL
    // Turns of quantifiers still allowed, or 0 for no bound: EVAL_WORK when they are spent.
    int64_t turns_left;
    int64_t vars[MAX_VARS]; // quantifier variables, by nesting depth
};

struct eval_failure {
    enum eval_fault fault;
    const struct expr *at;
};

// Value of `root` for one pair, by the rows' `eval`. Lazy where the language is: `and`, `or` and
// `?:` evaluate only what decides. An array read out of its extents gives 0 and EVAL_OVERFLOW.
// Recursion follows the text form, so cost is the text's, not the graph's: fine for a reference.
union value expr_eval(const struct expr *root, struct eval_env *env, struct eval_failure *failure);

// ---- printing -------------------------------------------------------------------------------

struct expr_names { // how references are spelled
    const char *const *axes, *const *params, *const *tables, *const *inputs, *const *maps;
    const bool *batched;      // by input: its first index is the batch, and not written; or NULL
    const char *const *nodes; // by id: what stands for a node below the root, or NULL; may be NULL
};
// The expression as the language writes it, with the fewest parentheses. Output longer than 64 KiB
// is cut with " ...".
void expr_print(const struct expr *root, const struct expr_names *names, struct strbuf *out);
// A real literal of the language: the shortest text that reads back as this number.
void expr_print_real(double value, struct strbuf *out);

#endif
