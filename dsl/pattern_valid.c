// What the checker guarantees and later stages rely on, tested on a pattern that was read from
// bytes: every reference is to something there is, of the right type, that has its value by then.

#include "dsl/pattern_valid.h"
#include "dsl/checker.h"
#include "dsl/pattern_codec.h"

#include <string.h>

// ---- nodes --------------------------------------------------------------------------------------

static void check_param(struct validity *v, const struct expr *node, bool per_head) {
    const struct pattern *pattern = v->pattern;
    unsigned index = node->payload.ref.index;
    int count = per_head ? pattern->table_count : pattern->scalar_count;
    if (!expect(v, (int)index < count, "a parameter is not there"))
        return;
    unsigned number = v->param_of[per_head][index];
    v->latest_param[node->id] = (uint16_t)number;
    if (number == NO_PARAM_YET)
        expect(v, node->type == TYPE_INT, "the room of a set is a number");
    else
        expect(v, pattern->params[number - 1].type == node->type, "a parameter is of another type");
}

static void check_input(struct validity *v, const struct expr *node) {
    const struct pattern *pattern = v->pattern;
    unsigned index = node->payload.ref.index;
    if (!expect(v, (int)index < pattern->input_count, "an input is not there"))
        return;
    const struct pattern_input *input = &pattern->inputs[index];
    expect(v, pattern_is_set(input) == (node->op == OP_MEMBER), "a set is read as an array");
    expect(v,
           input->type == node->type && input->index_count == node->arity &&
               !(input->derived && input->derived->rows),
           "an input is read as what it is not");
    v->latest_derived[node->id] = input->derived ? (uint16_t)(index + 1) : 0;
}

static void check_stage(struct validity *v, const struct expr *node) {
    const struct pattern *pattern = v->pattern;
    unsigned index = node->payload.ref.index;
    const struct pattern_derived *stage =
        (int)index < pattern->input_count ? pattern->inputs[index].derived : NULL;
    if (!expect(v, stage && !stage->is_select, "a stage is not there"))
        return;
    expect(v,
           stage->index_count == node->arity && stage->rows == node->payload.ref.side &&
               node->type == TYPE_REAL,
           "a stage is read as what it is not");
    v->latest_derived[node->id] = (uint16_t)(index + 1);
}

static void check_map(struct validity *v, const struct expr *node) {
    unsigned index = node->payload.ref.index;
    if (!expect(v, (int)index < v->pattern->map_count, "a map is not there"))
        return;
    v->latest_map[node->id] = (uint16_t)(index + 1);
    expect(v, v->pattern->maps[index].index_count == node->arity, "a map has other indices");
}

static bool is_of_stages(enum op op) {
    switch (op) {
    case OP_TENSOR:
    case OP_STAGE:
    case OP_DIM_SUM:
    case OP_DIM:
    case OP_QUERIES:
    case OP_SCALE:
    case OP_SUM_OVER:
    case OP_MAX_OVER:
    case OP_MIN_OVER:
        return true;
    default:
        return false;
    }
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
    case OP_STAGE:
        check_stage(v, node);
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
        expect(v, op_table[node->op].eval != NULL || is_of_stages(node->op),
               "an operation is no pattern's");
    }
}

// May argument `i` be a row? Operations work on the elements of rows; what is counted, and where
// something is read, is one number.
static bool takes_row(enum op op, int i) {
    bool reduces = op == OP_SUM_OVER || op == OP_MAX_OVER || op == OP_MIN_OVER;
    return op_table[op].eval || op == OP_DIM_SUM || (reduces && i == 3);
}

static uint16_t later(uint16_t a, uint16_t b) {
    return a > b ? a : b;
}

static void check_nodes(struct validity *v) {
    const struct expr_graph *graph = v->pattern->graph;
    for (uint32_t id = 0; id < graph->count && !v->fault; id++) {
        const struct expr *node = graph->nodes[id];
        check_leaf(v, node);
        expect(v, node->depth <= 2 * EXPR_DEPTH_LIMIT, "an expression is too deep"); // counted too
        v->of_stages[id] = is_of_stages(node->op);
        for (int i = 0; i < node->arity; i++) {
            uint32_t arg = node->args[i]->id;
            expect(v, !(node->args[i]->deps & DEP_ROW) || takes_row(node->op, i),
                   "a row stands where one number does");
            v->of_stages[id] |= v->of_stages[arg];
            v->latest_derived[id] = later(v->latest_derived[id], v->latest_derived[arg]);
            v->latest_param[id] = later(v->latest_param[id], v->latest_param[arg]);
            v->latest_map[id] = later(v->latest_map[id], v->latest_map[arg]);
        }
    }
}

// ---- what refers to them ------------------------------------------------------------------------

static bool check_use(struct validity *v, const struct expr *root, enum type type, int allowed,
                      int vars) {
    return expect(v, root != NULL, "an expression is missing") &&
           expect(v, root->type == type, "an expression is of the wrong type") &&
           expect(v, !(root->deps & ~allowed), "an expression depends on what it may not") &&
           expect(v, !(root->vars >> vars), "a variable has no quantifier");
}

bool valid_root(struct validity *v, const struct expr *root, enum type type, int allowed, int vars,
                bool in_stage) {
    return check_use(v, root, type, allowed, vars) &&
           expect(v, root->depth <= EXPR_DEPTH_LIMIT && root->weight <= EXPR_WEIGHT_LIMIT,
                  "an expression is too large") &&
           expect(v, in_stage || !v->of_stages[root->id], "a stage is computed outside of it");
}

bool valid_counted(struct validity *v, const struct expr *root, int allowed, int vars) {
    return check_use(v, root, TYPE_BOOL, allowed, vars) &&
           expect(v, !v->of_stages[root->id], "a stage is computed outside of it");
}

static bool check_root(struct validity *v, const struct expr *root, enum type type, int allowed,
                       int vars) {
    return valid_root(v, root, type, allowed, vars, false);
}

// Arguments have smaller ids.
void valid_operations(struct validity *v, const struct expr *root) {
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

// Is the kind one of the last index alone?
static bool is_last_kind(enum index_kind kind) {
    return kind == INDEX_ROOM || kind == INDEX_DIM || kind == INDEX_WIDTH;
}

static void check_indices(struct validity *v, const struct pattern_index *indices, int count,
                          bool last_of_its_own) {
    for (int i = 0; i < count && !v->fault; i++) {
        bool sized = indices[i].kind == INDEX_BLOCKS || indices[i].kind == INDEX_RANGE;
        expect(v, indices[i].axis < v->pattern->axis_count, "an axis is not there");
        expect(v, sized == (indices[i].extent != NULL), "an index has the wrong extent");
        expect(v, is_last_kind(indices[i].kind) == (last_of_its_own && i == count - 1),
               "an index is of no kind");
        if (sized)
            check_root(v, indices[i].extent, TYPE_INT, 0, 0);
    }
}

// The elements of a set, whose indices they have.
static void check_elements(struct validity *v, const struct pattern_input *input) {
    const struct pattern *pattern = v->pattern;
    const struct pattern_input *set = &pattern->inputs[input->set];
    int last = input->index_count - 1;
    expect(v,
           !input->derived && input->type == TYPE_INT && pattern_is_set(set) &&
               set->index_count == input->index_count && input->indices[last].kind == INDEX_ROOM,
           "elements are of no set");
    for (int i = 0; i < last && !v->fault; i++)
        expect(v,
               input->indices[i].kind == set->indices[i].kind &&
                   input->indices[i].axis == set->indices[i].axis &&
                   input->indices[i].extent == set->indices[i].extent,
               "elements have other indices than their set");
}

static void check_inputs(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    for (int i = 0; i < pattern->input_count && !v->fault; i++) {
        const struct pattern_input *input = &pattern->inputs[i];
        const struct pattern_derived *derived = input->derived;
        int count = input->index_count;
        bool own_last = input->is_elements || (derived && (derived->rows || derived->is_select));
        if (!expect(v, input->name && count >= 1, "an input has no name or no index"))
            return;
        check_indices(v, input->indices, count, own_last);
        if (derived && !v->fault)
            valid_derived(v, i);
        else if (input->is_elements && !v->fault)
            check_elements(v, input);
        else if (pattern_is_set(input) && !v->fault)
            expect(v, input->indices[count - 1].kind == INDEX_TOKEN, "a set is not of tokens");
    }
}

static void check_maps(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    for (int i = 0; i < pattern->map_count && !v->fault; i++) {
        const struct pattern_map *map = &pattern->maps[i];
        expect(v, map->name && map->index_count >= 1, "a map has no name or no index");
        check_indices(v, map->indices, map->index_count, false);
        if (check_root(v, map->written, TYPE_BOOL, DEP_VAR, map->index_count))
            valid_counted(v, map->body, DEP_VAR, map->index_count);
    }
}

static void check_roots(struct validity *v) {
    const struct pattern *pattern = v->pattern;
    check_params(v);
    check_inputs(v);
    check_maps(v);
    for (int i = 0; i < pattern->require_count && !v->fault; i++)
        check_root(v, pattern->requires[i].condition, TYPE_BOOL, DEP_HEAD, 0);
    const int of_pairs = DEP_QUERY | DEP_KEY | DEP_HEAD | DEP_BATCH | DEP_ARRAY;
    if (check_root(v, pattern->written, TYPE_BOOL, of_pairs, 0))
        valid_operations(v, pattern->written);
    valid_counted(v, pattern->keep, of_pairs, 0);
    if (pattern->score && check_root(v, pattern->score, TYPE_REAL, of_pairs | DEP_SCORE, 0))
        valid_operations(v, pattern->score);
    valid_sources(v);
}

// ---- names and numbers --------------------------------------------------------------------------

// Each scalar and each table is one parameter's, or a scalar the room of one set's elements.
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
    for (int i = 0; i < pattern->input_count && !v->fault; i++) {
        const struct pattern_input *input = &pattern->inputs[i];
        if (!input->is_elements)
            continue;
        if (expect(v,
                   input->room < pattern->scalar_count && !v->param_of[0][input->room] &&
                       input->set < pattern->input_count,
                   "the room of a set has a wrong number"))
            v->param_of[0][input->room] = NO_PARAM_YET;
        counts[0]++;
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
    v.latest_derived = ARENA_ARRAY(arena, uint16_t, nodes);
    v.of_stages = ARENA_ARRAY(arena, bool, nodes);
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
