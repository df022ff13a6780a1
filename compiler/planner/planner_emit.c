// Stage `emit`, planner. See planner_emit.h; leaves are in leaves.c.
//
// A regions function is, for every rule: loops over its enumerated terms; inside, if the guards may
// hold, the bounds of each axis evaluated over the item's box; and a region stored when its outer
// set is not empty. Unsolved conditions are evaluated over item x outer box: they may still turn
// out true (and stop mattering) or false (and remove the region).

#include "compiler/planner/planner_emit.h"

#include "compiler/planner/leaves.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static aval val(LLVMValueRef v) {
    return (aval){.v = v};
}

static LLVMValueRef begin_function(struct llvm_unit *unit, const char *name, int pointers,
                                   bool with_room) {
    LLVMTypeRef params[4] = {unit->ptr, unit->ptr, unit->ptr, unit->i64};
    int count = pointers + with_room;
    LLVMTypeRef type = LLVMFunctionType(unit->i64, params, (unsigned)count, 0);
    LLVMValueRef function = LLVMAddFunction(unit->module, name, type);
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(unit->context, function, "entry");
    LLVMPositionBuilderAtEnd(unit->builder, entry);
    return function;
}

// ---- regions ----------------------------------------------------------------------------------

struct region_emitter {
    struct leaves leaves;
    struct expr_walk walk;
    const struct rule *rule;
    LLVMValueRef out, room; // struct abi_region[room]
    LLVMValueRef count;     // alloca: regions found so far
    LLVMTypeRef region_type;
};

static struct alg *algebra(struct region_emitter *e) {
    return &e->leaves.alg.alg;
}

struct axis_values { // one axis of the region being made
    aval outer_begin, outer_end, inner_begin, inner_end;
    aval period, outer_phase, outer_width, inner_phase, inner_width;
};

// A bound over the item: outer ends take its kind side, inner ends the other.
static void apply_bounds(struct region_emitter *e, int axis, struct axis_values *v) {
    struct alg *alg = algebra(e);
    aval one = a_int(alg, 1);
    const struct expr_list *lower = &e->rule->lower[axis], *upper = &e->rule->upper[axis];
    for (int i = 0; i < lower->count; i++) {
        struct box bound = expr_walk_box(&e->walk, lower->items[i]);
        v->outer_begin = a2(alg, ALG_I_MAX, v->outer_begin, bound.lo);
        v->inner_begin = a2(alg, ALG_I_MAX, v->inner_begin, bound.hi);
    }
    for (int i = 0; i < upper->count; i++) {
        struct box bound = expr_walk_box(&e->walk, upper->items[i]);
        v->outer_end = a2(alg, ALG_I_MIN, v->outer_end, a2(alg, ALG_I_ADD, bound.hi, one));
        v->inner_end = a2(alg, ALG_I_MIN, v->inner_end, a2(alg, ALG_I_ADD, bound.lo, one));
    }
}

// A phase that varies over the item widens the outer set and narrows the inner one.
static void apply_period(struct region_emitter *e, int axis, struct axis_values *v) {
    struct alg *alg = algebra(e);
    const struct rule_period *rule = &e->rule->period[axis];
    if (!rule->period)
        return;
    struct box period = expr_walk_box(&e->walk, rule->period);
    struct box phase = expr_walk_box(&e->walk, rule->phase);
    struct box width = expr_walk_box(&e->walk, rule->width);
    aval spread = a2(alg, ALG_I_SUB, phase.hi, phase.lo);
    aval zero = a_int(alg, 0);
    v->period = period.lo;
    v->outer_phase = phase.lo;
    v->outer_width = a2(alg, ALG_I_MIN, period.lo, a2(alg, ALG_I_ADD, width.hi, spread));
    v->inner_phase = phase.hi;
    v->inner_width = a2(alg, ALG_I_MAX, zero, a2(alg, ALG_I_SUB, width.lo, spread));
}

static struct axis_values axis_bounds(struct region_emitter *e, int axis) {
    struct alg *alg = algebra(e);
    aval zero = a_int(alg, 0);
    size_t at = (size_t)axis * sizeof(int64_t);
    aval begin = val(leaves_item_field(&e->leaves, offsetof(struct abi_item, list_begin) + at));
    aval end = val(leaves_item_field(&e->leaves, offsetof(struct abi_item, list_end) + at));
    struct axis_values v = {begin, end, begin, end, zero, zero, zero, zero, zero};
    apply_bounds(e, axis, &v);
    apply_period(e, axis, &v);
    return v;
}

static void store_axis(struct region_emitter *e, LLVMValueRef region, int axis,
                       const struct axis_values *v) {
    const aval fields[] = {v->outer_begin, v->outer_end,   v->inner_begin, v->inner_end,  v->period,
                           v->outer_phase, v->outer_width, v->inner_phase, v->inner_width};
    struct llvm_unit *unit = e->leaves.unit;
    _Static_assert(sizeof(struct abi_extent) == 9 * sizeof(int64_t), "nine fields in this order");
    for (size_t i = 0; i < 9; i++) {
        size_t offset = offsetof(struct abi_region, axis) +
                        (size_t)axis * sizeof(struct abi_extent) + i * sizeof(int64_t);
        LLVMValueRef to = llvm_byte_offset(unit, region, llvm_int(unit->i64, (int64_t)offset));
        LLVMBuildStore(unit->builder, fields[i].v, to);
    }
}

static void store_region(struct region_emitter *e, const struct axis_values *axes, aval solved,
                         aval decided) {
    struct llvm_unit *unit = e->leaves.unit;
    struct alg *alg = algebra(e);
    LLVMValueRef count = LLVMBuildLoad2(unit->builder, unit->i64, e->count, "count");
    struct llvm_if fits;
    llvm_if_begin(unit, &fits, a2(alg, ALG_I_LT, val(count), val(e->room)).v, "store");
    LLVMValueRef bytes =
        LLVMBuildMul(unit->builder, count, llvm_int(unit->i64, sizeof(struct abi_region)), "");
    LLVMValueRef region = llvm_byte_offset(unit, e->out, bytes);
    for (int a = 0; a < ABI_AXES; a++)
        store_axis(e, region, a, &axes[a]);
    aval none = a_int(alg, 0);
    aval flags = a2(alg, ALG_I_OR, a_select(alg, solved, none, a_int(alg, ABI_REGION_UNSOLVED)),
                    a_select(alg, decided, none, a_int(alg, ABI_REGION_UNDECIDED)));
    LLVMBuildStore(
        unit->builder, flags.v,
        llvm_byte_offset(unit, region, llvm_int(unit->i64, offsetof(struct abi_region, flags))));
    llvm_if_end(&fits);
    LLVMBuildStore(unit->builder, LLVMBuildAdd(unit->builder, count, llvm_int(unit->i64, 1), ""),
                   e->count);
}

// Unsolved conditions over item x outer box: their conjunction's box.
static struct box unsolved_box(struct region_emitter *e, const struct axis_values *axes) {
    struct alg *alg = algebra(e);
    aval yes = a_bool(alg, true);
    struct box all = {yes, yes, 1, 0};
    if (e->rule->unsolved.count == 0)
        return all;
    struct box whole[ABI_AXES];
    memcpy(whole, e->leaves.place[1], sizeof whole);
    for (int a = 0; a < ABI_AXES; a++) {
        e->leaves.place[1][a].lo = axes[a].outer_begin;
        e->leaves.place[1][a].hi = a2(alg, ALG_I_MAX, axes[a].outer_begin,
                                      a2(alg, ALG_I_SUB, axes[a].outer_end, a_int(alg, 1)));
    }
    for (int i = 0; i < e->rule->unsolved.count; i++) {
        struct box one = expr_walk_box(&e->walk, e->rule->unsolved.items[i]);
        all.lo = a2(alg, ALG_B_AND, all.lo, one.lo);
        all.hi = a2(alg, ALG_B_AND, all.hi, one.hi);
    }
    memcpy(e->leaves.place[1], whole, sizeof whole);
    return all;
}

// Item axes that an enumerated term reads (bits).
static unsigned scanned_axes(const struct expr *node, uint8_t *seen) {
    if (seen[node->id])
        return 0;
    seen[node->id] = 1;
    if (node->op == OP_PLACE)
        return node->payload.ref.side == 0 ? 1u << node->payload.ref.index : 0;
    unsigned axes = 0;
    for (int i = 0; i < node->arity; i++)
        axes |= scanned_axes(node->args[i], seen);
    return axes;
}

// False where one turn of a rule's loops may hold for some of the item's positions and another turn
// for the rest: where an enumerated term (log2 of a frame distance) may differ over the item, or,
// for other loops, where no key is kept by all positions in this turn.
static aval turns_agree(struct region_emitter *e, const struct axis_values *values) {
    struct alg *alg = algebra(e);
    aval agree = a_bool(alg, true);
    for (int n = 0; n < e->rule->loop_count; n++) {
        const struct expr *scan = e->rule->loops[n].scan;
        unsigned axes =
            scan ? scanned_axes(scan, ARENA_ARRAY(e->walk.arena, uint8_t, (size_t)scan->id + 1))
                 : 0;
        for (int a = 0; a < ABI_AXES; a++) {
            const struct box *place = &e->leaves.place[0][a];
            if (axes >> a & 1)
                agree = a2(alg, ALG_B_AND, agree, a2(alg, ALG_I_EQ, place->lo, place->hi));
            if (!scan)
                agree = a2(alg, ALG_B_AND, agree,
                           a2(alg, ALG_I_LT, values[a].inner_begin, values[a].inner_end));
        }
    }
    return agree;
}

// Inside the guards: bounds, emptiness, unsolved conditions, and the store.
static void emit_bounds(struct region_emitter *e, aval guard_always) {
    struct llvm_unit *unit = e->leaves.unit;
    struct alg *alg = algebra(e);
    struct axis_values axes[ABI_AXES];
    aval some = a_bool(alg, true);
    for (int a = 0; a < ABI_AXES; a++) {
        axes[a] = axis_bounds(e, a);
        some = a2(alg, ALG_B_AND, some, a2(alg, ALG_I_LT, axes[a].outer_begin, axes[a].outer_end));
        if (e->rule->period[a].period)
            some = a2(alg, ALG_B_AND, some, a2(alg, ALG_I_LT, a_int(alg, 0), axes[a].outer_width));
    }
    struct llvm_if inside;
    llvm_if_begin(unit, &inside, some.v, "region");
    struct box unsolved = unsolved_box(e, axes);
    struct llvm_if possible;
    llvm_if_begin(unit, &possible, unsolved.hi.v, "possible");
    aval sure = a2(alg, ALG_B_AND, guard_always, unsolved.lo);
    axes[0].inner_end = a_select(alg, sure, axes[0].inner_end, axes[0].inner_begin);
    aval decided = a2(alg, ALG_B_AND, guard_always, turns_agree(e, axes));
    store_region(e, axes, unsolved.lo, decided);
    llvm_if_end(&possible);
    llvm_if_end(&inside);
}

static void emit_guarded(struct region_emitter *e) {
    struct alg *alg = algebra(e);
    aval always = a_bool(alg, true), maybe = a_bool(alg, true);
    for (int i = 0; i < e->rule->guards.count; i++) {
        struct box guard = expr_walk_box(&e->walk, e->rule->guards.items[i]);
        always = a2(alg, ALG_B_AND, always, guard.lo);
        maybe = a2(alg, ALG_B_AND, maybe, guard.hi);
    }
    for (int i = 0; i < e->rule->feasible.count; i++)
        maybe = a2(alg, ALG_B_AND, maybe, expr_walk_box(&e->walk, e->rule->feasible.items[i]).hi);
    struct llvm_if guarded;
    llvm_if_begin(e->leaves.unit, &guarded, maybe.v, "guarded");
    emit_bounds(e, always);
    llvm_if_end(&guarded);
}

static void begin_loop(struct region_emitter *e, const struct rule_loop *rule,
                       struct llvm_loop *out_loop) {
    struct alg *alg = algebra(e);
    aval begin, end, step = a_int(alg, 1);
    if (rule->scan) {
        struct box values = expr_walk_box(&e->walk, rule->scan);
        begin = values.lo;
        end = a2(alg, ALG_I_ADD, values.hi, step);
    } else {
        begin = expr_walk_box(&e->walk, rule->begin).lo;
        end = expr_walk_box(&e->walk, rule->end).hi;
        step = a2(alg, ALG_I_MAX, expr_walk_box(&e->walk, rule->step).lo, step);
    }
    llvm_loop_begin(e->leaves.unit, out_loop, begin.v, end.v, step.v, "n");
    const struct expr *n = expr_ref(e->leaves.pattern->graph, (struct span){0}, OP_ENUM, TYPE_INT,
                                    rule->index, 0, NULL, 0);
    expr_walk_preset_box(&e->walk, n,
                         (struct box){val(out_loop->index), val(out_loop->index), 1, 0});
}

// The rule's loops, each inside the one before, around what its guards let through.
static void emit_loops(struct region_emitter *e) {
    struct llvm_loop loops[MAX_RULE_LOOPS];
    for (int n = 0; n < e->rule->loop_count; n++)
        begin_loop(e, &e->rule->loops[n], &loops[n]);
    emit_guarded(e);
    for (int n = e->rule->loop_count - 1; n >= 0; n--)
        llvm_loop_end(&loops[n]);
}

static void emit_regions(struct llvm_unit *unit, const struct pattern *pattern,
                         const struct basis_facts *facts, const char *name) {
    LLVMValueRef function = begin_function(unit, name, 3, true);
    struct region_emitter e = {.out = LLVMGetParam(function, 2), .room = LLVMGetParam(function, 3)};
    e.count = LLVMBuildAlloca(unit->builder, unit->i64, "count");
    LLVMBuildStore(unit->builder, llvm_int(unit->i64, 0), e.count);
    leaves_init(&e.leaves, unit, pattern, LLVMGetParam(function, 0), LLVMGetParam(function, 1));
    leaves_walk(&e.leaves, &e.walk);
    for (int i = 0; i < facts->rules.count; i++) {
        e.rule = &facts->rules.items[i];
        expr_walk_reset(&e.walk);
        emit_loops(&e);
    }
    LLVMBuildRet(unit->builder, LLVMBuildLoad2(unit->builder, unit->i64, e.count, ""));
}

// ---- classify ---------------------------------------------------------------------------------

// The list's box from an abi_box instead of the whole.
static void place_list(struct leaves *leaves, LLVMValueRef list) {
    struct llvm_unit *unit = leaves->unit;
    for (size_t a = 0; a < ABI_AXES; a++) {
        size_t at = a * sizeof(int64_t);
        aval end =
            val(llvm_load_field(unit, list, offsetof(struct abi_box, end) + at, unit->i64, ""));
        leaves->place[1][a].lo =
            val(llvm_load_field(unit, list, offsetof(struct abi_box, begin) + at, unit->i64, ""));
        leaves->place[1][a].hi = a2(&leaves->alg.alg, ALG_I_SUB, end, a_int(&leaves->alg.alg, 1));
    }
}

static void emit_classify(struct llvm_unit *unit, const struct pattern *pattern,
                          const struct basis_facts *facts, const char *name) {
    LLVMValueRef function = begin_function(unit, name, 3, false);
    struct leaves leaves;
    struct expr_walk walk;
    leaves_init(&leaves, unit, pattern, LLVMGetParam(function, 0), LLVMGetParam(function, 1));
    place_list(&leaves, LLVMGetParam(function, 2));
    leaves_walk(&leaves, &walk);
    struct box kept = expr_walk_box(&walk, facts->keep);
    LLVMValueRef some = LLVMBuildZExt(unit->builder, kept.hi.v, unit->i64, "some");
    LLVMValueRef all = LLVMBuildZExt(unit->builder, kept.lo.v, unit->i64, "all");
    LLVMValueRef twice = LLVMBuildShl(unit->builder, all, llvm_int(unit->i64, 1), "");
    LLVMBuildRet(unit->builder, LLVMBuildOr(unit->builder, some, twice, ""));
}

// ---- count ------------------------------------------------------------------------------------

struct counter {
    struct leaves leaves;
    struct expr_walk walk;
    const struct expr *keep;
};

static void count_turn(void *context, aval i, aval *state);

struct count_level { // one of six nested loops: the item's axes, then the list's
    struct counter *counter;
    int depth;
};

static void count_level(struct counter *counter, int depth, aval *sum) {
    struct alg *alg = &counter->leaves.alg.alg;
    if (depth == 2 * ABI_AXES) {
        expr_walk_reset(&counter->walk);
        aval kept = expr_walk_point(&counter->walk, counter->keep);
        *sum = a2(alg, ALG_I_ADD, *sum, a_select(alg, kept, a_int(alg, 1), a_int(alg, 0)));
        return;
    }
    struct count_level level = {counter, depth};
    const struct box *range = &counter->leaves.place[depth / ABI_AXES][depth % ABI_AXES];
    aval end = a2(alg, ALG_I_ADD, range->hi, a_int(alg, 1));
    alg->loop(alg, range->lo, end, a_int(alg, 1), 1, sum, count_turn, &level);
}

static void count_turn(void *context, aval i, aval *state) {
    struct count_level *level = context;
    level->counter->leaves.point[level->depth / ABI_AXES][level->depth % ABI_AXES] = i;
    count_level(level->counter, level->depth + 1, state);
}

static void emit_count(struct llvm_unit *unit, const struct pattern *pattern,
                       const struct basis_facts *facts, const char *name) {
    LLVMValueRef function = begin_function(unit, name, 3, false);
    struct counter counter = {.keep = facts->keep};
    leaves_init(&counter.leaves, unit, pattern, LLVMGetParam(function, 0),
                LLVMGetParam(function, 1));
    counter.leaves.alg.saturate = false; // values proved in range; wrapping sums vectorise
    place_list(&counter.leaves, LLVMGetParam(function, 2));
    leaves_walk(&counter.leaves, &counter.walk);
    aval sum = a_int(&counter.leaves.alg.alg, 0);
    count_level(&counter, 0, &sum);
    LLVMBuildRet(unit->builder, sum.v);
}

// ---- the stage --------------------------------------------------------------------------------

static void emit_source(struct llvm_unit *unit, const struct pattern *pattern,
                        const struct facts *facts, enum side side, int source) {
    char name[64];
    for (int b = 0; b < facts->basis_count; b++) {
        const struct basis_facts *basis = &facts->sides[side][b];
        if (!basis->usable)
            continue;
        emit_regions(unit, pattern, basis, planner_symbol("regions", side, source, b, name));
        emit_classify(unit, pattern, basis, planner_symbol("classify", side, source, b, name));
        if (side == SIDE_QUERY)
            emit_count(unit, pattern, basis, planner_symbol("count", side, source, b, name));
    }
}

enum heddle_status planner_emit(struct llvm_unit *unit, const struct pattern *pattern,
                                struct facts *const *facts, enum side side, struct error *error) {
    for (int s = 0; s < pattern_source_count(pattern); s++)
        emit_source(unit, pattern, facts[s], side, s);
    return llvm_unit_verify(unit, error);
}

enum heddle_status planner_emit_device(struct llvm_unit *unit, const struct pattern *pattern,
                                       const struct facts *facts, int basis, struct error *error) {
    const struct basis_facts *solved = &facts->sides[SIDE_QUERY][basis];
    emit_regions(unit, pattern, solved, "heddle_device_regions");
    emit_classify(unit, pattern, solved, "heddle_device_classify");
    return llvm_unit_verify(unit, error);
}
