// Part of stage `plan`: ranges. See ranges.h.
//
// The rows' own box meanings are used, over the concrete algebra, which notes what goes wrong. A
// quantifier's variable is an interval here, not a loop. Where intervals decide a condition, only
// the arm that is taken is walked, so that `n > 1 ? a / (n - 1) : 0` is fine with n = 1.

#include "runtime/ranges.h"

#include "compiler/planner/array_range.h"
#include "runtime/bind.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// Integers this small leave room for what a mask computes on the way (x - q * d, negations).
static const int64_t NARROW = INT64_C(1) << 30;

struct ranges {
    struct plan *plan;
    struct error *error;
    struct alg_concrete alg;
    struct box *boxes;
    // When each box was computed and each variable set, by a clock that every setting moves: a box
    // holds while no variable in it was set later.
    uint32_t *known, set_at[MAX_VARS], clock;
    struct box vars[MAX_VARS];
    int64_t keys;   // of the source in hand
    int64_t turns;  // of the quantifiers around the node in hand, multiplied
    bool any_turns; // are allowed: of a map
    bool wide, failed;
    int sized;        // 1 + the input set that ranges_set_width asks about, or 0
    int64_t greatest; // of what is looked for in it
};

// A pair may take so many turns of quantifiers, nested ones multiplied.
static const int64_t MOST_TURNS = 65536;

static struct box interval(int64_t lo, int64_t hi) {
    return (struct box){{.i = lo}, {.i = hi}, lo == hi ? 0 : 1, lo == hi ? lo : 0};
}
static struct box undecided(void) {
    struct box box = {.mod = 1};
    box.hi.b = true;
    return box;
}

static enum heddle_status refuse_as(struct ranges *r, const struct expr *at, const char *what,
                                    const char *whose, const struct box *seen) {
    if (r->failed)
        return HEDDLE_PATTERN_ERROR;
    r->failed = true;
    struct strbuf text = {0};
    struct expr_names names = pattern_names(r->plan->program->pattern, &r->plan->arena);
    expr_print(at, &names, &text);
    if (text.length > 200)
        strcpy(text.text + 196, "...");
    char values[96] = "";
    if (seen)
        snprintf(values, sizeof values, ": %s may be %" PRId64 " .. %" PRId64, whose, seen->lo.i,
                 seen->hi.i);
    error_set(r->error, HEDDLE_PATTERN_ERROR, "%serror: %s in '%s' for this problem%s",
              bind_place(r->plan, at->span), what, text.text, values);
    bind_excerpt(r->plan, at->span, r->error);
    strbuf_finish(&text);
    return HEDDLE_PATTERN_ERROR;
}

static enum heddle_status refuse(struct ranges *r, const struct expr *at, const char *what,
                                 const struct box *seen) {
    return refuse_as(r, at, what, "it", seen);
}

static struct box visit(struct ranges *r, const struct expr *node);

// ---- leaves -----------------------------------------------------------------------------------

static struct box position_box(const struct ranges *r, const struct expr *node) {
    const struct plan *plan = r->plan;
    bool query = node->payload.ref.side == SIDE_QUERY;
    int64_t slice = plan->keys / plan->size[0];
    if (!query && plan->program->pattern->axis_count == 1)
        return interval(0, r->keys - 1);
    if (node->op == OP_TOKEN)
        return interval(query ? plan->query_offset : 0, plan->keys - 1);
    int axis = node->payload.ref.index;
    int64_t first = query && axis == 0 ? plan->query_offset / slice : 0;
    return interval(first, plan->size[axis] - 1);
}

static struct box slots_box(enum type type, const union abi_slot *slots, int64_t begin,
                            int64_t end) {
    struct box box = {{.i = slots[begin].i}, {.i = slots[begin].i}, 1, 0};
    for (int64_t i = begin; i < end; i++) {
        if (type == TYPE_REAL) {
            box.lo.r = fmin(box.lo.r, slots[i].r);
            box.hi.r = fmax(box.hi.r, slots[i].r);
        } else {
            box.lo.i = slots[i].i < box.lo.i ? slots[i].i : box.lo.i;
            box.hi.i = slots[i].i > box.hi.i ? slots[i].i : box.hi.i;
        }
    }
    if (type == TYPE_INT)
        box = interval(box.lo.i, box.hi.i);
    return box;
}

static struct box table_box(struct ranges *r, const struct expr *node, const struct box *index) {
    if (index->lo.i < 0 || index->hi.i >= r->plan->heads) {
        refuse(r, node, "an index out of 0 .. heads", index);
        return interval(0, 0);
    }
    return slots_box(node->type, r->plan->launch.env.tables[node->payload.ref.index], index->lo.i,
                     index->hi.i + 1);
}

// How many of an input's indices are not written.
static int implicit_indices(const struct ranges *r, int input) {
    const struct pattern_derived *derived = r->plan->program->pattern->inputs[input].derived;
    return derived && derived->implicit_batch;
}

static struct box array_box(struct ranges *r, const struct expr *node, const struct box *args) {
    int64_t lo[ABI_INDICES] = {0}, hi[ABI_INDICES] = {0};
    int n = node->payload.ref.index;
    if (node->op == OP_MAP)
        n += r->plan->program->pattern->input_count;
    const struct abi_array *array = &r->plan->launch.env.arrays[n];
    if (node->op == OP_STAGE) // outside of it: 0
        return (struct box){{.r = -INFINITY}, {.r = INFINITY}, 1, 0};
    int checked =
        node->arity - (node->op == OP_MEMBER); // what is outside of a set's table is no element
    if (node->op == OP_MEMBER && n == r->sized - 1 && args[checked].hi.i > r->greatest)
        r->greatest = args[checked].hi.i;
    if (r->sized && node->type == TYPE_BOOL) // maps and sets have no extents yet
        return undecided();
    for (int i = 0; i < checked; i++) {
        lo[i] = args[i].lo.i;
        hi[i] = args[i].hi.i;
        if (lo[i] < 0 || hi[i] >= array->extent[i]) {
            char what[96];
            static const char *const words[] = {"first", "second", "third", "fourth"};
            int written = node->op == OP_MAP ? i : i - implicit_indices(r, n);
            snprintf(what, sizeof what, "a %s index that may leave 0 .. %" PRId64, words[written],
                     array->extent[i]);
            refuse(r, node, what, &args[i]);
            return node->type == TYPE_BOOL ? undecided() : interval(0, 0);
        }
    }
    if (node->type == TYPE_BOOL)
        return undecided();
    const struct abi_pair *ever = r->plan->input_ranges ? &r->plan->input_ranges[n] : NULL;
    if (ever && node->type == TYPE_REAL)
        return (struct box){{.r = ever->least}, {.r = ever->greatest}, 1, 0};
    if (ever)
        return interval((int64_t)ever->least, (int64_t)ever->greatest);
    struct abi_range range;
    array_range(array, node->type == TYPE_REAL ? ABI_FLOAT32 : ABI_INT32, lo, hi, &range);
    if (node->type == TYPE_REAL)
        return (struct box){{.r = range.least.r}, {.r = range.greatest.r}, 1, 0};
    return interval(range.least.i, range.greatest.i);
}

static struct box leaf_box(struct ranges *r, const struct expr *node, const struct box *args) {
    const struct abi_env *env = &r->plan->launch.env;
    int index = node->payload.ref.index;
    struct box box = {.mod = 1};
    switch (node->op) {
    case OP_INT:
        return interval(node->payload.i, node->payload.i);
    case OP_BOOL:
        box.lo.b = box.hi.b = node->payload.i != 0;
        return box;
    case OP_REAL:
        return (struct box){{.r = node->payload.r}, {.r = node->payload.r}, 1, 0};
    case OP_COORD:
    case OP_TOKEN:
        return position_box(r, node);
    case OP_SIZE:
        return interval(env->size[index], env->size[index]);
    case OP_HEAD:
        return interval(0, env->heads - 1);
    case OP_HEADS:
        return interval(env->heads, env->heads);
    case OP_KV_HEAD:
        return interval(0, env->kv_heads - 1);
    case OP_BATCH:
        return interval(0, env->batches - 1);
    case OP_PARAM:
        return slots_box(node->type, env->params, index, index + 1);
    case OP_SCORE:
        return (struct box){{.r = -INFINITY}, {.r = INFINITY}, 1, 0};
    case OP_VAR:
        return r->vars[index];
    case OP_TABLE:
        return table_box(r, node, args);
    case OP_DIM:
        return interval(r->plan->dim, r->plan->dim);
    case OP_QUERIES:
        return interval(r->plan->queries, r->plan->queries);
    case OP_SCALE:
        return (struct box){{.r = r->plan->scale}, {.r = r->plan->scale}, 1, 0};
    case OP_TENSOR:
    case OP_DIM_SUM:
        return (struct box){{.r = -INFINITY}, {.r = INFINITY}, 1, 0};
    default:
        return array_box(r, node, args);
    }
}

// ---- operations -------------------------------------------------------------------------------

static void check_operands(struct ranges *r, const struct expr *node, const struct box *args) {
    if ((node->op == OP_DIV || node->op == OP_MOD || node->op == OP_CEILDIV) && args[1].lo.i <= 0 &&
        args[1].hi.i >= 0)
        refuse(r, node, "a divisor that may be zero", &args[1]);
    if ((node->op == OP_SHL || node->op == OP_SHR) && (args[1].lo.i < 0 || args[1].hi.i > 63))
        refuse(r, node, "a shift count out of 0 .. 63", &args[1]);
    if (node->op == OP_SHL && args[1].hi.i == 63 && (args[0].lo.i != 0 || args[0].hi.i != 0))
        r->alg.overflow = true;
}

static struct box apply(struct ranges *r, const struct expr *node, const struct box *args) {
    struct box out;
    r->alg.overflow = false;
    check_operands(r, node, args);
    op_table[node->op].box(&r->alg.alg, args, &out);
    if (r->alg.overflow && node->op != OP_TO_REAL)
        refuse_as(r, node, "an integer that may leave 64 bits", "its first operand", &args[0]);
    return out;
}

// A condition that is decided walks one arm; `and`, `or` likewise stop early.
static struct box visit_lazily(struct ranges *r, const struct expr *node) {
    struct box args[3] = {visit(r, node->args[0])};
    if (node->op == OP_AND && !args[0].hi.b)
        return args[0];
    if (node->op == OP_OR && args[0].lo.b)
        return args[0];
    if (op_table[node->op].form == FORM_TERNARY) {
        if (args[0].lo.b)
            return visit(r, node->args[1]);
        if (!args[0].hi.b)
            return visit(r, node->args[2]);
        args[2] = visit(r, node->args[2]);
    }
    args[1] = visit(r, node->args[1]);
    return apply(r, node, args);
}

static void set_variable(struct ranges *r, int variable, struct box box) {
    r->vars[variable] = box;
    r->set_at[variable] = ++r->clock;
}

static bool is_known(const struct ranges *r, const struct expr *node) {
    bool known = r->known[node->id] != 0;
    for (int i = 0; known && node->vars >> i; i++)
        known = !(node->vars >> i & 1) || r->set_at[i] <= r->known[node->id];
    return known;
}

static bool is_reduction(const struct expr *node) {
    return node->op == OP_SUM_OVER || node->op == OP_MAX_OVER || node->op == OP_MIN_OVER;
}

// What no turn at all gives.
static struct box no_turn(struct ranges *r, const struct expr *node) {
    if (node->op == OP_COUNT)
        return interval(0, 0);
    if (!is_reduction(node))
        return leaf_box(r, &(struct expr){.op = OP_BOOL, .payload.i = node->op == OP_ALL}, NULL);
    double nothing = node->op == OP_SUM_OVER ? 0 : node->op == OP_MAX_OVER ? -INFINITY : INFINITY;
    return (struct box){{.r = nothing}, {.r = nothing}, 1, 0};
}

// What some turns may give.
static struct box some_turns(const struct expr *node, int64_t most) {
    if (node->op == OP_COUNT)
        return interval(0, most);
    if (!is_reduction(node))
        return undecided();
    return (struct box){{.r = -INFINITY}, {.r = INFINITY}, 1, 0};
}

static struct box visit_quantifier(struct ranges *r, const struct expr *node) {
    struct box begin = visit(r, node->args[0]), end = visit(r, node->args[1]);
    struct box step = visit(r, node->args[2]);
    if (step.lo.i <= 0)
        refuse(r, node, "a step below 1", &step);
    int64_t outer_turns = r->turns, length = 0, turns;
    if (end.hi.i > begin.lo.i && __builtin_sub_overflow(end.hi.i, begin.lo.i, &length))
        length = INT64_MAX;
    turns = length / (step.lo.i > 0 ? step.lo.i : 1) + 1;
    if (!r->any_turns && length > 0 && turns > MOST_TURNS / outer_turns + 1) {
        refuse(r, node, "quantifiers of over 65536 turns, nested ones multiplied,", NULL);
        return node->op == OP_COUNT ? interval(0, 0) : undecided();
    }
    if (begin.lo.i >= end.hi.i) // no turn at all
        return no_turn(r, node);
    int variable = node->payload.ref.index;
    struct box outer = r->vars[variable];
    set_variable(r, variable, interval(begin.lo.i, end.hi.i - 1));
    r->turns = r->any_turns ? 1 : outer_turns * turns;
    if (r->turns > r->plan->turns)
        r->plan->turns = r->turns;
    visit(r, node->args[3]);
    r->turns = outer_turns;
    set_variable(r, variable, outer);
    return some_turns(node, end.hi.i - begin.lo.i);
}

static struct box visit(struct ranges *r, const struct expr *node) {
    if (is_known(r, node))
        return r->boxes[node->id];
    const struct op_info *info = &op_table[node->op];
    struct box out, args[MAX_EXPR_ARGS];
    if (node->op == OP_ANY || node->op == OP_ALL || node->op == OP_COUNT || is_reduction(node)) {
        out = visit_quantifier(r, node);
    } else if (node->op == OP_AND || node->op == OP_OR || info->form == FORM_TERNARY) {
        out = visit_lazily(r, node);
    } else {
        for (int i = 0; i < node->arity; i++)
            args[i] = visit(r, node->args[i]);
        out = info->box ? apply(r, node, args) : leaf_box(r, node, args);
    }
    if (node->type == TYPE_INT && (out.lo.i < -NARROW || out.hi.i > NARROW))
        r->wide = true;
    r->boxes[node->id] = out;
    r->known[node->id] = r->clock;
    return out;
}

static void ranges_init(struct ranges *r, struct plan *plan, struct error *error) {
    uint32_t count = plan->program->pattern->graph->count;
    *r = (struct ranges){.plan = plan, .error = error, .clock = 1, .turns = 1, .keys = plan->keys};
    alg_concrete_init(&r->alg);
    r->boxes = ARENA_ARRAY(&plan->arena, struct box, count);
    r->known = ARENA_ARRAY(&plan->arena, uint32_t, count);
}

static void visit_all(struct ranges *r) {
    const struct pattern *pattern = r->plan->program->pattern;
    for (int s = pattern_source_count(pattern) - 1; s >= 0; s--) {
        r->keys = plan_source_keys(r->plan, s);
        memset(r->known, 0, pattern->graph->count * sizeof *r->known);
        visit(r, pattern_source(pattern, s).view->keep);
    }
    for (int i = 0; pattern_is_gated(pattern) && i < pattern->branch_count; i++)
        visit(r, pattern->branches[i].gate);
    if (pattern->score) // of one that pools: no key in it
        visit(r, pattern->score);
}

int64_t ranges_set_width(struct plan *plan, int input) {
    const struct pattern *pattern = plan->program->pattern;
    struct error ignored = {0};
    struct ranges r;
    int64_t turns = plan->turns;
    for (int i = 0; i < pattern->input_count; i++)
        if (!pattern_is_given(&pattern->inputs[i])) // how many turns is not known yet
            return plan->keys;
    ranges_init(&r, plan, &ignored);
    r.sized = input + 1;
    r.greatest = -1;
    visit_all(&r);
    plan->turns = turns;
    error_finish(&ignored);
    if (r.failed || r.greatest >= plan->keys)
        return plan->keys;
    return r.greatest < 0 ? 1 : r.greatest + 1;
}

// ---- stages and selections --------------------------------------------------------------------

static void set_index_boxes(struct ranges *r, const struct pattern_derived *derived,
                            const struct abi_array *array) {
    r->any_turns = true; // computed once, not for every pair
    for (int i = 0; i < derived->index_count; i++)
        if (derived->index_var[i] >= 0)
            set_variable(r, derived->index_var[i], interval(0, array->extent[i] - 1));
    if (derived->is_select)
        set_variable(r, derived->variable, interval(0, array->extent[array->index_count - 1] - 1));
}

enum heddle_status ranges_reach(struct plan *plan, int input, int64_t *out_below,
                                struct error *error) {
    const struct pattern_derived *derived = plan->program->pattern->inputs[input].derived;
    struct ranges r;
    *out_below = plan->keys;
    if (!derived->reach)
        return HEDDLE_OK;
    ranges_init(&r, plan, error);
    set_index_boxes(&r, derived, &plan->launch.env.arrays[input]);
    *out_below = visit(&r, derived->reach).hi.i;
    return r.failed ? HEDDLE_PATTERN_ERROR : HEDDLE_OK;
}

static void check_derived(struct ranges *r) {
    const struct pattern *pattern = r->plan->program->pattern;
    const struct expr *const *part;
    for (int i = 0; i < pattern->input_count; i++) {
        if (!pattern->inputs[i].derived)
            continue;
        set_index_boxes(r, pattern->inputs[i].derived, &r->plan->launch.env.arrays[i]);
        for (int n = 0; (part = pattern_derived_part(&pattern->inputs[i], n)); n++)
            if (*part)
                visit(r, *part);
    }
}

enum heddle_status ranges_check(struct plan *plan, struct error *error) {
    struct ranges r;
    ranges_init(&r, plan, error);
    check_derived(&r);
    r.any_turns = r.wide = false;
    visit_all(&r);
    plan->launch.narrow = !r.wide;
    return r.failed ? HEDDLE_PATTERN_ERROR : HEDDLE_OK;
}

bool ranges_of_map(struct plan *plan, const struct pattern_map *map,
                   const struct abi_array *array) {
    struct error unheard = {0};
    uint32_t count = plan->program->pattern->graph->count;
    struct ranges r = {.plan = plan, .error = &unheard, .clock = 1, .turns = 1, .any_turns = true};
    alg_concrete_init(&r.alg);
    r.boxes = ARENA_ARRAY(&plan->arena, struct box, count);
    r.known = ARENA_ARRAY(&plan->arena, uint32_t, count);
    for (int i = 0; i < map->index_count; i++)
        set_variable(&r, i, interval(0, array->extent[i] - 1));
    visit(&r, map->body);
    error_finish(&unheard);
    return !r.failed;
}
