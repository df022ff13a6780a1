// What the checker guarantees and later stages rely on, tested on a pattern that was read from
// bytes: every reference is to something there is, of the right type, that has its value by then.

#include "dsl/checker.h"
#include "dsl/pattern_codec.h"

#include <string.h>

struct validity {
    const struct pattern *pattern;
    // By node: 1 + the number of the latest parameter, and of the latest map, that it reads.
    uint16_t *latest_param, *latest_map;
    bool *marks;           // by node
    uint16_t *param_of[2]; // scalars and tables by their index: 1 + the parameter's number
    const char *fault;
};

static bool expect(struct validity *v, bool holds, const char *otherwise) {
    if (!holds && !v->fault)
        v->fault = otherwise;
    return holds;
}

// ---- nodes --------------------------------------------------------------------------------------

static void check_param(struct validity *v, const struct expr *node, bool per_head) {
    const struct pattern *pattern = v->pattern;
    unsigned index = node->payload.ref.index;
    int count = per_head ? pattern->table_count : pattern->scalar_count;
    if (!expect(v, (int)index < count, "a parameter is not there"))
        return;
    unsigned number = v->param_of[per_head][index];
    v->latest_param[node->id] = (uint16_t)number;
    expect(v, pattern->params[number - 1].type == node->type, "a parameter is of another type");
}

static void check_input(struct validity *v, const struct expr *node) {
    const struct pattern *pattern = v->pattern;
    unsigned index = node->payload.ref.index;
    if (!expect(v, (int)index < pattern->input_count, "an input is not there"))
        return;
    const struct pattern_input *input = &pattern->inputs[index];
    expect(v, pattern_is_set(input) == (node->op == OP_MEMBER), "a set is read as an array");
    expect(v, input->type == node->type && input->index_count == node->arity,
           "an input is read as what it is not");
}

static void check_map(struct validity *v, const struct expr *node) {
    unsigned index = node->payload.ref.index;
    if (!expect(v, (int)index < v->pattern->map_count, "a map is not there"))
        return;
    v->latest_map[node->id] = (uint16_t)(index + 1);
    expect(v, v->pattern->maps[index].index_count == node->arity, "a map has other indices");
}

static void check_leaf(struct validity *v, const struct expr *node) {
    unsigned index = node->payload.ref.index;
    switch (node->op) {
    case OP_BOOL:
        expect(v, node->payload.i == 0 || node->payload.i == 1, "a boolean is neither");
        break;
    case OP_COORD:
    case OP_SIZE:
        expect(v, (int)index < v->pattern->axis_count, "an axis is not there");
        break;
    case OP_PARAM:
    case OP_TABLE:
        check_param(v, node, node->op == OP_TABLE);
        break;
    case OP_INPUT:
    case OP_MEMBER:
        check_input(v, node);
        break;
    case OP_MAP:
        check_map(v, node);
        break;
    case OP_VAR:
    case OP_ANY:
    case OP_ALL:
    case OP_COUNT:
    case OP_INT:
    case OP_REAL:
    case OP_TOKEN:
    case OP_HEAD:
    case OP_HEADS:
    case OP_KV_HEAD:
    case OP_BATCH:
    case OP_SCORE:
        break;
    default: // among them the planner's own leaves
        expect(v, op_table[node->op].eval != NULL, "an operation is no pattern's");
    }
}

static uint16_t later(uint16_t a, uint16_t b) {
    return a > b ? a : b;
}

static void check_nodes(struct validity *v) {
    const struct expr_graph *graph = v->pattern->graph;
    for (uint32_t id = 0; id < graph->count && !v->fault; id++) {
        const struct expr *node = graph->nodes[id];
        check_leaf(v, node);
        expect(v, node->depth <= EXPR_DEPTH_LIMIT && node->weight <= EXPR_WEIGHT_LIMIT,
               "an expression is too large");
        for (int i = 0; i < node->arity; i++) {
            uint32_t arg = node->args[i]->id;
            v->latest_param[id] = later(v->latest_param[id], v->latest_param[arg]);
            v->latest_map[id] = later(v->latest_map[id], v->latest_map[arg]);
        }
    }
}

// ---- what refers to them ------------------------------------------------------------------------

// An expression of a type, that depends on nothing but `allowed` (bits of expr.deps) and the first
// `vars` variables.
static bool check_root(struct validity *v, const struct expr *root, enum type type, int allowed,
                       int vars) {
    return expect(v, root != NULL, "an expression is missing") &&
           expect(v, root->type == type, "an expression is of the wrong type") &&
           expect(v, !(root->deps & ~allowed), "an expression depends on what it may not") &&
           expect(v, !(root->vars >> vars), "a variable has no quantifier");
}

// What is compiled is bounded in its different operations too. Arguments have smaller ids.
static void check_operations(struct validity *v, const struct expr *root) {
    const struct expr_graph *graph = v->pattern->graph;
    int count = 0;
    memset(v->marks, 0, graph->count);
    v->marks[root->id] = true;
    for (uint32_t id = root->id + 1; id-- > 0;) {
        const struct expr *node = graph->nodes[id];
        count += v->marks[id];
        for (int i = 0; v->marks[id] && i < node->arity; i++)
            v->marks[node->args[i]->id] = true;
    }
    expect(v, count <= MAX_OPERATIONS, "an expression is too large");
}

static void check_params(struct validity *v) {
    for (int i = 0; i < v->pattern->param_count && !v->fault; i++) {
        const struct pattern_param *param = &v->pattern->params[i];
        if (check_root(v, param->fallback, param->type, param->per_head ? DEP_HEAD : 0, 0))
            expect(v, v->latest_param[param->fallback->id] <= i,
                   "a default is of a later parameter");
    }
}

static void check_indices(struct validity *v, const struct pattern_index *indices, int count) {
    for (int i = 0; i < count && !v->fault; i++) {
        bool sized = indices[i].kind == INDEX_BLOCKS || indices[i].kind == INDEX_RANGE;
        expect(v, indices[i].axis < v->pattern->axis_count, "an axis is not there");
        expect(v, sized == (indices[i].extent != NULL), "an index has the wrong extent");
        if (sized)
            check_root(v, indices[i].extent, TYPE_INT, 0, 0);
    }
}

static void check_arrays(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    for (int i = 0; i < pattern->input_count && !v->fault; i++) {
        const struct pattern_input *input = &pattern->inputs[i];
        int count = input->index_count;
        expect(v, input->name && count >= 1, "an input has no name or no index");
        check_indices(v, input->indices, count);
        if (pattern_is_set(input) && !v->fault)
            expect(v, input->indices[count - 1].kind == INDEX_TOKEN, "a set is not of tokens");
    }
    for (int i = 0; i < pattern->map_count && !v->fault; i++) {
        const struct pattern_map *map = &pattern->maps[i];
        expect(v, map->name && map->index_count >= 1, "a map has no name or no index");
        check_indices(v, map->indices, map->index_count);
        if (check_root(v, map->body, TYPE_BOOL, DEP_VAR | DEP_ARRAY, map->index_count))
            expect(v, v->latest_map[map->body->id] <= i, "a map is of a later map");
    }
}

static void check_roots(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    check_params(v);
    check_arrays(v);
    for (int i = 0; i < pattern->require_count && !v->fault; i++)
        check_root(v, pattern->requires[i].condition, TYPE_BOOL, DEP_HEAD, 0);
    if (check_root(v, pattern->keep, TYPE_BOOL, 0xff & ~DEP_SCORE, 0))
        check_operations(v, pattern->keep);
    if (pattern->score && check_root(v, pattern->score, TYPE_REAL, 0xff, 0))
        check_operations(v, pattern->score);
}

// ---- names and numbers --------------------------------------------------------------------------

// Each scalar and each table is one parameter's.
static void number_params(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    int counts[2] = {0, 0};
    for (int i = 0; i < pattern->param_count && !v->fault; i++) {
        const struct pattern_param *param = &pattern->params[i];
        int room = param->per_head ? pattern->table_count : pattern->scalar_count;
        expect(v, param->name && param->type != TYPE_BOOL, "a parameter has no name or type");
        if (expect(v, param->index < room && !v->param_of[param->per_head][param->index],
                   "a parameter has a wrong number"))
            v->param_of[param->per_head][param->index] = (uint16_t)(i + 1);
        counts[param->per_head]++;
    }
    expect(v, counts[0] == pattern->scalar_count && counts[1] == pattern->table_count,
           "parameters are missing");
}

static void check_names(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    expect(v, pattern->name && pattern->path, "the pattern has no name");
    for (int i = 0; i < pattern->axis_count; i++)
        expect(v, pattern->axes[i] && pattern->axes[i][0], "an axis has no name");
    for (int i = 0; i < pattern->const_count; i++)
        expect(v, pattern->consts[i].name != NULL, "a constant has no name");
}

const char *pattern_fault(const struct pattern *pattern) {
    struct arena *arena = pattern->graph->arena;
    size_t nodes = (size_t)pattern->graph->count + 1;
    struct validity v = {.pattern = pattern};
    v.latest_param = ARENA_ARRAY(arena, uint16_t, nodes);
    v.latest_map = ARENA_ARRAY(arena, uint16_t, nodes);
    v.marks = ARENA_ARRAY(arena, bool, nodes);
    v.param_of[0] = ARENA_ARRAY(arena, uint16_t, (size_t)pattern->scalar_count + 1);
    v.param_of[1] = ARENA_ARRAY(arena, uint16_t, (size_t)pattern->table_count + 1);
    check_names(&v);
    number_params(&v);
    if (!v.fault)
        check_nodes(&v);
    if (!v.fault)
        check_roots(&v);
    return v.fault;
}
