// Inside of stage `check`: the structures its files share. Nothing outside of check*.c includes it.
//
//   check.c            the entries, and the order of things
//   check_files.c      reading files, imports
//   check_scope.c      scopes, bindings, errors and hints
//   check_expr.c       names, operators
//   check_call.c       functions, built-in functions, array reads
//   check_set.c        sets: membership and quantifiers
//   check_elements.c   the elements of input sets
//   check_statement.c  the statements of a pattern
//   check_declare.c    parameters, inputs, maps, constants
//   check_use.c        `use P(...)`
//   check_branch.c     `branch`, `merge`
//   check_level.c      `pool`, `keep ... at`, `add`: sources of several resolutions
//   check_row.c        rows and reductions, of stages
//   check_pooled.c     pooled rows, and the names of rows
//   check_stage.c      stages
//   check_select.c     selections
//   load.c             bytes of files
//
// Idea: the syntax tree is *lowered* straight into the expression graph. Where a name stands for an
// expression (let, argument of a function, argument of a use), the binding keeps the value and the
// syntax it came from. The value is shared wherever it can be; it is lowered again only in a place
// that would change it: under more quantifiers (their variables are numbered by depth, so a
// quantifier inside the value must get other numbers) or for another head. Functions and uses are
// memoised by their arguments, so that a chain of doublings costs what its graph costs.
//
// An error poisons its operand; operations on poison are silent poison.
#ifndef HEDDLE_DSL_CHECKER_H
#define HEDDLE_DSL_CHECKER_H

#include "dsl/ast.h"
#include "dsl/check.h"
#include "dsl/parser.h"
#include "dsl/words.h"

enum {
    MAX_FILES = 64,        // of one check, imports included
    MAX_STEPS = 1000000,   // expressions lowered in one check, expansions included
    MAX_NODES = 400000,    // of a pattern's graph
    MAX_EXPANSION = 500,   // levels of expressions, calls and uses inside each other
    MAX_OPERATIONS = 3000, // different ones in `keep` (or `score`): code that compiles in seconds
    MAX_SET_ELEMENTS = 65536,
    MAX_SET_PARTS = 256, // `|`, `&` and `-` in one set
    MAX_DECLARED = 1024  // parameters, inputs, maps, requires: of each
};

// ---- values ----------------------------------------------------------------------------------

enum set_kind {
    SET_RANGE,
    SET_POW2,
    SET_LIST,
    SET_INPUT,
    SET_UNION,
    SET_INTERSECTION,
    SET_DIFFERENCE,
    SET_CHILDREN // x whose x / step is in `left`
};

struct set {
    enum set_kind kind;
    uint8_t deps;   // of all its parts, as in struct expr
    uint32_t parts; // sets it is made of
    struct span span;
    // SET_RANGE: half open; step NULL: 1. SET_POW2: the exponents.
    const struct expr *begin, *end, *step;
    // SET_LIST: all different nodes. SET_INPUT: the indices of input number `input`.
    const struct expr *const *elements;
    uint16_t input;
    uint32_t count, constants; // the constants come first
    const struct set *left, *right;
};

// What an expression means: a value or a set. Neither: poison, already reported.
struct operand {
    const struct expr *expr;
    const struct set *set;
};

static inline bool is_poison(struct operand operand) {
    return !operand.expr && !operand.set;
}

// ---- names -----------------------------------------------------------------------------------

enum binding_kind {
    BIND_POISON,      // its declaration was wrong
    BIND_VALUE,       // stands for `value`
    BIND_TABLE,       // per-head parameter: reads table `index`
    BIND_TABLE_VALUE, // per-head parameter of a used pattern: `value`, at any head
    BIND_INPUT,
    BIND_MAP,
    BIND_FUNCTION,
    BIND_PATTERN,  // in scopes of their own: `use` finds nothing else
    BIND_AMBIGUOUS // imported from two files
};

struct binding {
    struct ast_name name;
    enum binding_kind kind;
    const char *what;         // "parameter", for messages
    uint32_t position;        // in its scope
    struct binding *next;     // in its scope
    uint16_t index;           // of tables, inputs and maps, in the pattern
    struct operand value;     // BIND_VALUE, BIND_TABLE_VALUE
    const struct ast *ast;    // where `value` came from, to lower it again; NULL: it holds anywhere
    const struct place *home; // of `ast`
    enum type type;           // of a table's elements
    bool to_real;             // the value is converted to a real
    bool has_quantifier;      // somewhere inside of `value`
    struct function *function;
    struct pattern_decl *pattern; // in scopes of patterns
};

// Names declared together. A scope may be seen partly: a place sees the bindings before its limit.
struct scope {
    struct scope *parent;
    uint32_t parent_limit;
    struct binding *first, *last;
    uint32_t count;
    struct binding **table; // open hash once there are many
    uint32_t room;
    struct file *file; // of a file's own functions, else NULL
    bool incomplete;   // a statement was lost to a syntax error: names may be missing
    const struct ast_stmt *statements; // for "declared below"
};

enum check_state { UNCHECKED, CHECKING, CHECKED, BROKEN };

struct function {
    const struct ast_stmt *stmt;
    struct scope *scope; // where it is declared
    enum check_state state;
};

struct pattern_decl {
    const struct ast_stmt *stmt;
    struct file *file;
    enum check_state state;
    struct pattern *pattern;             // once checked
    const struct ast_stmt *axes, *score; // NULL: none
    const struct ast_stmt *pool;         // the first statement that needs pooled keys, or NULL
    // Names of its constants and parameters, in order: what a use may give.
    const struct ast_name *params;
    uint32_t param_count;
    struct pattern_decl *next;
};

struct file {
    uint32_t source;
    struct ast_stmts statements;
    bool loading;      // being read: importing it now is a cycle
    bool has_identity; // device and inode are known
    uint64_t device, inode;
    struct span imported_at;                 // line 0: the file on the command line
    struct scope *functions, *pattern_names; // its own; their parents hold what it imports
    struct pattern_decl *patterns, *last_pattern;
    struct file *next;
};

// ---- the work --------------------------------------------------------------------------------

// An expansion in progress, innermost first: for notes, and to find recursion.
struct call_site {
    const char *name;
    struct span span;
    const struct call_site *outer;
};

// Where an expression stands, and so what its names mean.
struct place {
    struct root *root;
    struct scope *scope;
    uint32_t limit;          // bindings of `scope` from here on are not visible
    const struct expr *head; // the value of `head`; other than OP_HEAD in a used table's value
    int variables;           // quantifier variables in use: the number of the next
    bool in_score, in_stage;
    struct stage_scope *stage; // with in_stage: what its names mean; NULL: a function on its own
    const struct call_site *calls;
};

struct stage_scope; // check_stage.c

struct memo; // expansions by function and arguments

// One checked pattern in the making.
struct root {
    struct checker *checker;
    struct pattern *pattern;
    struct expr_graph *graph;
    struct memo *memo;
    const struct expr *head; // OP_HEAD
    bool no_axes;            // not known: a function outside of any pattern, or a wrong declaration
    int const_room, param_room, input_room, map_room, require_room;
    int quantifiers; // made or met so far: a change tells that a value has one inside
};

// Which nodes a walk over a graph has met: those marked with its number. Shared by all patterns of
// a file, whose graph they share, too.
struct visits {
    const struct expr_graph *graph;
    uint32_t *marks; // by id
    uint32_t room, walk;
};

struct checker {
    struct arena *arena;
    struct diags *diags;
    struct error *error;
    enum heddle_status status; // of a wrong --const, else HEDDLE_OK
    const struct check_options *options;
    struct words words;
    struct file *files, *last_file;
    int file_count;
    uint32_t tokens_left;
    uint32_t steps_left;
    bool exhausted;            // the budget's error has been given
    const char *last_variable; // of the last quantifier that was read to its end
    int nesting;               // of lower() on the C stack
    bool nested_too_deep;
    struct visits visits;
    struct pattern_decl *chosen;
    struct root *nowhere; // for functions on their own, and for what stands outside of patterns
    struct expr_graph *scratch; // of all patterns but the chosen one
    uint64_t *reported;         // places of errors: open hash
    uint32_t reported_room, reported_count;
    const char *word_head, *word_heads, *word_kv_head, *word_batch, *word_causal, *word_s, *word_q,
        *word_k, *word_token, *word_segment, *word_blocks, *word_int, *word_real, *word_set;
};

// ---- check_scope.c ---------------------------------------------------------------------------

struct scope *scope_new(struct checker *checker, struct scope *parent, uint32_t parent_limit);
// The binding of exactly this scope, whatever its position.
struct binding *scope_find(const struct scope *scope, const char *name);
// Adds a name; a second declaration is an error (and gets a binding that no name finds).
struct binding *scope_declare(const struct place *place, struct scope *scope,
                              enum binding_kind kind, const char *what, struct ast_name name);
struct binding *place_find(const struct place *place, const char *name);
void unknown_name(const struct place *place, struct ast_name name, const char *what);
const struct file *place_file(const struct place *place);
struct place *place_keep(const struct place *place); // a copy that stays

// May an error be reported here? Not twice at one place.
bool report_begin(struct checker *checker, struct span span);
// Notes of the calls and uses that led here.
void report_calls(const struct place *place);
#define complain(where, at, ...)                                                                   \
    do {                                                                                           \
        const struct place *place_ = (where);                                                      \
        struct span at_ = (at);                                                                    \
        if (report_begin(place_->root->checker, at_)) {                                            \
            diag_error(place_->root->checker->diags, at_, __VA_ARGS__);                            \
            report_calls(place_);                                                                  \
        }                                                                                          \
    } while (0)
// Continues the error just reported. Notes of a suppressed error are suppressed too.
#define remark(where, at, ...) diag_note((where)->root->checker->diags, at, __VA_ARGS__)

void remark_axes(const struct place *place); // "axes declared here: y, x"

const char *type_words(enum type type); // "an integer"
const char *operand_words(struct operand operand);

// Makes room for one more element; returns the (moved) array.
void *array_grow(struct arena *arena, void *array, int count, int *room, size_t size_bytes);

// ---- check_expr.c ----------------------------------------------------------------------------

struct operand lower(const struct place *place, const struct ast *node);
// The same where only a value fits; `what` names the use in an error ("'keep'"). NULL: poison.
const struct expr *lower_value(const struct place *place, const struct ast *node, const char *what);
const struct expr *lower_typed(const struct place *place, const struct ast *node, enum type type,
                               const char *what);
// An operator or built-in function on values, converting integers where that helps.
const struct expr *apply(const struct place *place, struct span span, const char *surface,
                         const struct expr *const *args, const struct span *arg_spans, int count);
const struct expr *to_real(const struct place *place, const struct expr *value);
// and, or, + over many terms, as a shallow tree. At least one.
const struct expr *join(const struct place *place, enum op op, const struct expr *const *terms,
                        uint32_t count);
struct operand binding_value(const struct place *place, const struct binding *binding);
bool is_constant(const struct expr *node);
// Takes steps from the budget; false (with an error, once) when it is used up.
bool spend(const struct place *place, struct span span, uint32_t steps);

// ---- check_call.c ----------------------------------------------------------------------------

struct operand lower_call(const struct place *place, const struct ast *node);
struct operand lower_index(const struct place *place, const struct ast *node);
void check_function(const struct place *place, struct function *function);
bool is_builtin(const char *name);
void offer_builtins(struct nearest *nearest);

struct memo *memo_new(struct arena *arena);
struct memo_key {
    const void *object; // function, pattern or binding
    const struct expr *head;
    int variables;
    bool in_score, in_stage;
    const void *const *args;
    uint32_t count;
};
struct memo_value {
    struct operand operand;
    bool has_quantifier;
    bool known;
};
// The slot for a key, to be filled if not `known`. Valid until the next call.
struct memo_value *memo_find(struct root *root, const struct memo_key *key);

// ---- check_set.c -----------------------------------------------------------------------------

struct operand lower_range(const struct place *place, const struct ast *node);
struct operand lower_list(const struct place *place, const struct ast *node);
struct operand lower_input_set(const struct place *place, const struct ast *node, uint16_t input,
                               const struct expr *const *indices, uint32_t count);
struct operand lower_pow2(const struct place *place, const struct ast *node);
struct operand set_combine(const struct place *place, struct span span, enum ast_op op,
                           const struct set *left, const struct set *right);
const struct expr *set_contains(const struct place *place, struct span span, const struct set *set,
                                const struct expr *element);
// check_elements.c: element number `number` of an input set, ascending; -1 from the end of its list
// to *out_room, which is the same for all lists.
const struct expr *set_element(const struct place *place, const struct set *set,
                               const struct expr *number, const struct expr **out_room);
struct operand lower_quantifier(const struct place *place, const struct ast *node);

// ---- check_statement.c -----------------------------------------------------------------------

// The statements of one pattern being read: the root's own, or a used pattern's.
struct unit {
    struct place place;
    struct pattern_decl *decl;
    const struct ast_list *args; // of the use
    const struct place *args_place;
    struct span use_span; // of the use
    bool used;
    const struct ast_stmt *axes, *score; // already seen
    const struct expr **keeps;
    int keep_count, keep_room;
    bool keep_failed; // a keep was poison
    const struct expr *score_value;
    struct pooling *pooling;          // check_level.c; NULL: no statement of it so far
    struct branching *branching;      // check_branch.c; the same
    int branch;                       // whose sources the statements make
    const struct expr *branch_weight; // or NULL
};

void read_statement(struct unit *unit, const struct ast_stmt *stmt);
// Reads all statements; the or of its keeps, or NULL.
const struct expr *read_statements(struct unit *unit);
// Declares a file's functions in its scope, or a pattern's in the pattern's.
void declare_functions(const struct place *place, struct scope *scope,
                       const struct ast_stmt *statements);
void check_pattern(struct checker *checker, struct pattern_decl *decl);
// No position, input or variable may decide this value: `what` names the use.
bool require_uniform(const struct place *place, const struct expr *value, struct span span,
                     uint8_t allowed, const char *what);

// ---- check_level.c ---------------------------------------------------------------------------

void read_pool(struct unit *unit, const struct ast_stmt *stmt);
// keep P at F, add P at F
void read_level(struct unit *unit, const struct ast_stmt *stmt);
// After all statements: the sources of a unit that pools. NULL where there were errors.
const struct expr *finish_pooling(struct unit *unit);
// The sources of a unit's statements, after those that the pattern has. False after an error, which
// is reported at `span` where the unit keeps nothing.
bool append_sources(struct unit *unit, struct span span);
// A real above 0 that may depend on the head; *good is left or set to false.
const struct expr *read_weight(struct unit *unit, const struct ast *node, bool *good);
// The score of a pattern that pools reads no key's position.
void check_pooled_score(struct unit *unit);

// ---- check_branch.c --------------------------------------------------------------------------

void read_branch(struct unit *unit, const struct ast_stmt *stmt);
void read_merge(struct unit *unit, const struct ast_stmt *stmt);
// After all statements of a unit with branches, like finish_pooling.
const struct expr *finish_branches(struct unit *unit);

// ---- check_declare.c -------------------------------------------------------------------------

// The --const for a name in this unit, or NULL.
const char *override_of(const struct unit *unit, const char *name);
void declare_consts(struct unit *unit, const struct ast_stmt *stmt);
void declare_params(struct unit *unit, const struct ast_stmt *stmt);
void declare_inputs(struct unit *unit, const struct ast_stmt *stmt);
void declare_maps(struct unit *unit, const struct ast_stmt *stmt);
// An index's type, of inputs; a range 0 .. n, of maps. False after an error.
bool input_index(struct unit *unit, const struct ast *node, struct pattern_index *out_index);
bool map_extent(struct unit *unit, const struct ast *node, struct pattern_index *out_index);
void declare_lets(struct place *place, const struct ast_decl *decls, const char *what);
// Binds a name to an expression of another place. The type must fit unless any does (-1).
struct binding *bind_expression(const struct place *place, struct scope *scope, const char *what,
                                struct ast_name name, const struct ast *ast,
                                const struct place *home, int type);

// ---- check_stage.c ---------------------------------------------------------------------------

// The indices of a stage or selection, and the place where its expressions stand.
struct stage_scope {
    struct pattern_input input;
    struct pattern_derived derived;
    struct place place;
    // Coordinates that name an index: k.i. The value at names[n] is of index n.
    struct {
        int side, axis; // side -1: no coordinate; axis -1: the token
        const struct expr *value;
        bool unsized; // its extent follows from the value
    } names[MAX_INDICES];
    bool logit; // the value has a product with bare k: it is causal
};
// Reads the indices. False after an error.
bool stage_open(struct unit *unit, const struct ast_derived *decl, struct stage_scope *out_scope);
// Adds the array to the pattern and declares its name. False after an error.
bool stage_close(struct unit *unit, struct stage_scope *scope, const char *what,
                 struct ast_name name);
// A condition or a number that must be no row; NULL after an error.
const struct expr *stage_value(const struct place *place, const struct ast *node, enum type type,
                               const char *what);
// The number of keys.
const struct expr *stage_token_count(const struct place *place, struct span span);
void declare_stage(struct unit *unit, const struct ast_stmt *stmt);
// What only stages and selections may hold.
struct operand lower_reduce(const struct place *place, const struct ast *node);
struct operand lower_reduce_of(const struct place *place, const struct ast *node);
struct operand lower_pooled(const struct place *place, const struct ast *node);
bool stage_name(const struct place *place, const struct ast *node, struct operand *out);
bool stage_member(const struct place *place, int side, int axis, struct operand *out);
bool stage_call(const struct place *place, const struct ast *node, struct operand *out);
struct operand stage_row(const struct place *place, const struct ast *node);
struct operand read_derived(const struct place *place, const struct ast *node, uint16_t index);

// ---- check_select.c --------------------------------------------------------------------------

void declare_select(struct unit *unit, const struct ast_stmt *stmt);
struct operand lower_children(const struct place *place, const struct ast *node);

// ---- check_use.c -----------------------------------------------------------------------------

struct operand lower_use(const struct place *place, const struct ast *node);
const struct ast_item *find_argument(const struct ast_list *args, const char *name);

// ---- check_files.c ---------------------------------------------------------------------------

// Reads the file on the command line and everything it imports. text NULL: from `path`.
enum heddle_status load_files(struct checker *checker, const char *path, const char *text,
                              size_t length_bytes);
// Outside of any pattern.
struct place file_place(const struct checker *checker, const struct file *file);

// ---- check.c ---------------------------------------------------------------------------------

struct root *root_new(struct checker *checker, struct expr_graph *graph);

// ---- load.c ----------------------------------------------------------------------------------

enum load_result { LOAD_OK, LOAD_MISSING, LOAD_NOT_A_FILE, LOAD_TOO_LARGE, LOAD_FAILED };
struct loaded {
    char *text;
    size_t length_bytes;
    uint64_t device, inode;
};
enum load_result load_file(struct arena *arena, const char *path, struct loaded *out);
// The device and inode of a file, if there is one.
bool load_identity(const char *path, struct loaded *out);
// Is a registered source UTF-8 without NUL? If not, an error says where.
bool source_is_text(struct diags *diags, uint32_t source);

#endif
