// The checked pattern: result of the check stage, input of everything after it.
//
// Pure data in the compilation's arena. `keep` and `score` are nodes of `graph`. All names are
// resolved, functions and uses inlined, constants folded; what a run decides (sizes, parameters,
// inputs) is still symbolic.
#ifndef HEDDLE_DSL_PATTERN_H
#define HEDDLE_DSL_PATTERN_H

#include "compiler/base/diag.h"
#include "compiler/base/strbuf.h"
#include "dsl/expr.h"

struct pattern_param { // OP_PARAM index (scalars) or OP_TABLE index (per head) counts separately
    const char *name;
    enum type type; // TYPE_INT or TYPE_REAL
    bool per_head;
    uint16_t index; // among the scalars, or among the tables
    // Value when the user gives none: over sizes, heads, earlier parameters, and for a table
    // `head`. Never NULL.
    const struct expr *fallback;
    bool required; // none is written: the user must give a value (fallback is 0 then)
    struct span span;
};

// How one index of an input or a map is typed; gives its extent for a problem.
enum index_kind {
    INDEX_HEAD,
    INDEX_KV_HEAD,
    INDEX_BATCH,
    INDEX_TOKEN,
    INDEX_AXIS,
    INDEX_BLOCKS,
    INDEX_RANGE,
    INDEX_ROOM, // of the elements of a set
    INDEX_DIM,  // of stages whose elements are rows: the last
    INDEX_WIDTH // of selections: as wide as their candidates reach (runtime/bind_derived.h)
};
struct pattern_index {
    enum index_kind kind;
    uint16_t axis; // of INDEX_AXIS and INDEX_BLOCKS
    // INDEX_BLOCKS: block size, extent = ceildiv(size(axis), block). INDEX_RANGE (maps): extent.
    // A uniform expression.
    const struct expr *extent;
};

// A set is given as lists of its elements, and kept as a table of bytes: one for each number of
// tokens, which is its last index (INDEX_TOKEN) and not written in the pattern.
struct pattern_derived; // below

struct pattern_input {
    const char *name;
    enum type type; // TYPE_INT (int32 in memory), TYPE_REAL (float32), or TYPE_BOOL: a set
    int index_count;
    struct pattern_index indices[MAX_INDICES];
    struct span span;
    // Not given by the user: the elements of input number `set`, for quantifiers over it
    // (dsl/check_elements.c). `room` numbers the scalar that holds the length of its lists.
    bool is_elements;
    uint16_t set, room;
    // How its contents are computed at each launch (a stage or a selection); NULL: they are given.
    const struct pattern_derived *derived;
};

// A stage or a selection: an input whose contents come from q, k, inputs and what is declared
// before. Its expressions are over its indices: OP_BATCH and OP_HEAD or OP_KV_HEAD for those of
// these kinds, OP_VAR index_var[n] for the others; the arrays of earlier stages are read by
// OP_STAGE.
enum select_mode { SELECT_TOP, SELECT_MASS, SELECT_ABOVE, SELECT_BANDS };
enum { MAX_BANDS = 16, MAX_WIDTHS = 4 };
struct pattern_derived {
    bool is_select;
    bool rows;           // of a stage: an element is a row; the last index is INDEX_DIM
    bool softmax;        // of a stage: along the last index, over the elements where `where` holds
    bool implicit_batch; // the first index is the batch, which is not written
    int index_count;     // without INDEX_DIM and INDEX_WIDTH
    int8_t index_var[MAX_INDICES];  // -1: no variable
    const char *names[MAX_INDICES]; // of the indices, where they have one
    const struct expr *value;       // an element; of a selection: what a candidate is ranked by
    const struct expr *where;       // boolean; NULL: everywhere. Elsewhere a stage is 0

    // Of a selection. Candidates: `variable` in begin .. end where `where` holds.
    int variable;
    const struct expr *begin, *end; // what lies past the set's table is left out
    enum select_mode mode;
    bool inclusive;            // SELECT_MASS; of SELECT_BANDS: shares are of the sum of scores
    const struct expr *amount; // n (a real is rounded down), p, t (real); NULL for bands
    const struct expr *forced; // boolean over the variable, or NULL
    const struct expr *least, *most; // int, or NULL
    uint8_t together;                // bit n: lists that differ in index n only are ranked as one
    int band_count;                  // the last is the rest, without a share
    int64_t band_level[MAX_BANDS];
    const struct expr *band_share[MAX_BANDS], *band_step[MAX_BANDS];
    // Elements lie below `reach`, and below the widths of these inputs times the factors; NULL and
    // none: below the number of tokens.
    const struct expr *reach;
    int width_count;
    struct {
        uint16_t input;
        const struct expr *factor; // NULL: 1
    } widths[MAX_WIDTHS];
};

static inline bool pattern_is_given(const struct pattern_input *input) {
    return !input->is_elements && !input->derived;
}
static inline bool pattern_is_set(const struct pattern_input *input) {
    return input->type == TYPE_BOOL;
}

struct pattern_map { // map M[a in A, b in B] = P: a table of bytes, filled when the plan is made
    const char *name;
    int index_count;
    struct pattern_index indices[MAX_INDICES]; // values run from 0
    const struct expr *written; // boolean over OP_VAR 0 .. index_count-1, uniform otherwise
    const struct expr *body;    // the same value, counted by runs (compiler/analyse/count_runs.h)
    struct span span;
};

struct pattern_require {
    const struct expr *condition; // uniform (may depend on head)
    const char *message;          // or NULL
    struct span span;
};

struct pattern_const {
    const char *name;
    enum type type;
    union value value;
    struct span span;
};

// pool 128 by 1, 2, 4, 8: which means of keys a pattern may read.
enum { MAX_FACTORS = 8, MAX_SOURCES = 16, MAX_BRANCHES = 8 };
struct pattern_pool {
    int64_t block;
    int64_t factors[MAX_FACTORS]; // ascending; each divides the next, the last divides the block
    int factor_count;
    struct span span;
};

// Keys that one softmax reads at one resolution: the keys themselves (factor 1), or the means of
// aligned groups of `factor` keys. The last group may be ragged: the mean of the keys there are.
struct pattern_source {
    int64_t factor;
    int pool;                  // whose factor it is (pattern->pools); -1: no pool's
    int branch;                // whose it is; ascending
    const struct expr *keep;   // as written; the key's coordinate is the number of a group
    const struct expr *weight; // what a whole group weighs: real, may depend on the head; NULL: as
                               // many as it has keys. A group of c keys weighs c / factor of that
    // This pattern as one of this source alone: its keep is the source's. For the stages that know
    // one source.
    struct pattern *view;
    struct span span;
};

// branch NAME { ... }: sources that are normalised apart from the others where a gate merges them.
// With merge lse there is one softmax over all, the branches' weights in those of the sources.
struct pattern_branch {
    const char *name;
    const struct expr *gate; // real, of the query: the factor of its result; NULL: merge lse
    struct span span;
};

struct pattern {
    const char *name;
    const char *path;
    struct expr_graph *graph;
    struct diags *diags; // sources, for messages that name a place later
    int axis_count;
    const char *axes[MAX_AXES]; // outermost first, the last is fastest
    struct span axes_span;

    struct pattern_const *consts;
    int const_count;
    struct pattern_param *params; // in order of declaration
    int param_count, scalar_count, table_count;
    struct pattern_input *inputs;
    int input_count;
    struct pattern_map *maps;
    int map_count;
    struct pattern_require *requires;
    int require_count;

    const struct expr *written; // `keep` as the user wrote it: what the reference evaluates
    const struct expr *keep;    // boolean; the same value, counted by runs
    const struct expr *score;   // real, or NULL for the plain scaled logit

    struct pattern_pool *pools;
    int pool_count;
    struct pattern_source *sources; // none: one, of the keys themselves, kept where `keep` says
    int source_count;
    // Inputs that are read as levels, [level_count]: their values must be factors, or 0.
    struct pattern_level *levels;
    int level_count;
    struct pattern_branch *branches; // none: one, without a name
    int branch_count;
};

struct pattern_level {
    uint16_t input;
    int pool;
    struct span span;
};

static inline int pattern_source_count(const struct pattern *pattern) {
    return pattern->source_count > 0 ? pattern->source_count : 1;
}
static inline struct pattern_source pattern_source(const struct pattern *pattern, int number) {
    if (pattern->source_count > 0)
        return pattern->sources[number];
    return (struct pattern_source){.factor = 1,
                                   .pool = -1,
                                   .keep = pattern->written,
                                   .view = (struct pattern *)(size_t)pattern};
}
// Results of several softmaxes, each times its gate?
static inline bool pattern_is_gated(const struct pattern *pattern) {
    return pattern->branch_count > 0 && pattern->branches[0].gate;
}
// Does some source read means of keys, or weigh its keys?
static inline bool pattern_is_pooled(const struct pattern *pattern) {
    return pattern->source_count > 0;
}

// The stage's dump (`--emit=pattern`): normal form, stable, shared nodes named once.
void pattern_print(const struct pattern *pattern, struct strbuf *out);
// The n-th expression of a stage or selection, a place that may hold NULL; NULL past the last, and
// for inputs that are given.
const struct expr *const *pattern_derived_part(const struct pattern_input *input, int n);
// Does it compute anything from q and k before its attention?
bool pattern_selects(const struct pattern *pattern);
// Names for expr_print.
struct expr_names pattern_names(const struct pattern *pattern, struct arena *arena);
// A digest of everything that decides the compiled code (constants included, names excluded);
// 0: out of memory.
uint64_t pattern_fingerprint(const struct pattern *pattern);
// Appends what the digest is of, as bytes: the same for two patterns where and only where all that
// decides their code is the same. False: out of memory.
bool pattern_identity(const struct pattern *pattern, struct strbuf *out);

#endif
