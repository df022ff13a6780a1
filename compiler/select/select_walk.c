#include "compiler/select/select_walk.h"

#include <math.h>
#include <stddef.h>

static aval val(LLVMValueRef v) {
    return (aval){.v = v};
}

LLVMValueRef select_walk_keep(struct select_walk *w, LLVMValueRef *place, LLVMValueRef value) {
    if (!*place)
        w->known[w->known_count++] = place;
    return *place = value;
}

// ---- setting up ------------------------------------------------------------------------------

static int row_lanes(const struct llvm_unit *unit, const struct select_spec *spec) {
    int lanes = spec->contiguous ? unit->vector_bits / 32 : 1;
    while (lanes > 1 && spec->dim % lanes)
        lanes /= 2;
    return lanes > 1 ? lanes : 1;
}

// A row of zeros, which stands for rows that do not exist.
static LLVMValueRef zero_row(struct llvm_unit *unit, int dim) {
    static const char name[] = "heddle_zero_row";
    LLVMValueRef found = LLVMGetNamedGlobal(unit->module, name);
    if (found)
        return found;
    LLVMTypeRef type = LLVMArrayType2(unit->f32, (uint64_t)dim);
    LLVMValueRef row = LLVMAddGlobal(unit->module, type, name);
    LLVMSetInitializer(row, LLVMConstNull(type));
    LLVMSetGlobalConstant(row, true);
    LLVMSetLinkage(row, LLVMInternalLinkage);
    LLVMSetAlignment(row, 64);
    return row;
}

void select_walk_init(struct select_walk *w, struct llvm_unit *unit, const struct pattern *pattern,
                      const struct select_spec *spec, LLVMValueRef args) {
    struct arena *arena = pattern->graph->arena;
    size_t nodes = pattern->graph->count;
    *w = (struct select_walk){.unit = unit,
                              .pattern = pattern,
                              .spec = spec,
                              .args = args,
                              .lanes = row_lanes(unit, spec)};
    LLVMTypeRef item = LLVMArrayType2(unit->i64, sizeof(struct abi_item) / sizeof(int64_t));
    w->item = LLVMBuildAlloca(unit->builder, item, "item");
    LLVMBuildStore(unit->builder, LLVMConstNull(item), w->item);
    leaves_init(&w->leaves, unit, pattern, args, w->item);
    leaves_walk(&w->leaves, &w->leaf_walk);
    llvm_alg_init(&w->values, unit, 1, 64, 64, false);
    llvm_alg_init(&w->rows, unit, w->lanes, 64, 32, false);
    w->zero_row = zero_row(unit, spec->dim);
    w->value = ARENA_ARRAY(arena, LLVMValueRef, nodes);
    w->row = ARENA_ARRAY(arena, LLVMValueRef, nodes);
    w->base = ARENA_ARRAY(arena, LLVMValueRef, nodes);
    w->stride = ARENA_ARRAY(arena, LLVMValueRef, nodes);
    w->known = ARENA_ARRAY(arena, LLVMValueRef *, nodes * 4);
}

void select_walk_place(struct select_walk *w, LLVMValueRef batch, LLVMValueRef head) {
    LLVMBuilderRef b = w->unit->builder;
    LLVMTypeRef i64 = w->unit->i64;
    LLVMBuildStore(
        b, head,
        llvm_byte_offset(w->unit, w->item, llvm_int(i64, offsetof(struct abi_item, head))));
    LLVMBuildStore(
        b, batch,
        llvm_byte_offset(w->unit, w->item, llvm_int(i64, offsetof(struct abi_item, batch))));
}

struct select_scope select_walk_open(struct select_walk *w, int variable, LLVMValueRef value) {
    struct select_scope scope = {w->known_count, w->open, NULL, variable};
    if (variable >= 0) {
        scope.outer = w->vars[variable];
        w->vars[variable] = value;
        w->open |= (uint16_t)(1u << variable);
    }
    return scope;
}

void select_walk_close(struct select_walk *w, const struct select_scope *scope) {
    while (w->known_count > scope->known_count)
        *w->known[--w->known_count] = NULL;
    w->open = scope->open;
    if (scope->variable >= 0)
        w->vars[scope->variable] = scope->outer;
}

// ---- loops -----------------------------------------------------------------------------------

static bool is_loop(const struct expr *node) {
    return node->op == OP_ANY || node->op == OP_ALL || node->op == OP_COUNT ||
           node->op == OP_SUM_OVER || node->op == OP_MAX_OVER || node->op == OP_MIN_OVER;
}

static LLVMValueRef loop_start(struct select_walk *w, const struct expr *node, bool rows) {
    struct llvm_unit *unit = w->unit;
    LLVMTypeRef real = rows ? unit->f32 : unit->f64;
    double start = node->op == OP_MAX_OVER ? -INFINITY : node->op == OP_MIN_OVER ? INFINITY : 0;
    switch (node->op) {
    case OP_ANY:
    case OP_ALL:
        return llvm_int(unit->i1, node->op == OP_ALL);
    case OP_COUNT:
        return llvm_int(unit->i64, 0);
    default:
        return llvm_splat(unit, LLVMConstReal(real, start), rows ? w->lanes : 1);
    }
}

static LLVMValueRef loop_combine(struct select_walk *w, const struct expr *node, bool rows,
                                 LLVMValueRef sum, LLVMValueRef term) {
    struct alg *alg = rows ? &w->rows.alg : &w->values.alg;
    switch (node->op) {
    case OP_ANY:
        return a2(alg, ALG_B_OR, val(sum), val(term)).v;
    case OP_ALL:
        return a2(alg, ALG_B_AND, val(sum), val(term)).v;
    case OP_COUNT:
        return a2(alg, ALG_I_ADD, val(sum), a_select(alg, val(term), a_int(alg, 1), a_int(alg, 0)))
            .v;
    case OP_MAX_OVER:
        return a2(alg, ALG_R_MAX, val(sum), val(term)).v;
    case OP_MIN_OVER:
        return a2(alg, ALG_R_MIN, val(sum), val(term)).v;
    default:
        return a2(alg, ALG_R_ADD, val(sum), val(term)).v;
    }
}

static LLVMValueRef loop_value(struct select_walk *w, const struct expr *node, bool rows) {
    struct llvm_unit *unit = w->unit;
    int variable = node->payload.ref.index;
    select_walk_hoist(w, node->args[3], variable);
    LLVMValueRef begin = select_walk_value(w, node->args[0]);
    LLVMValueRef end = select_walk_value(w, node->args[1]);
    LLVMValueRef step = select_walk_value(w, node->args[2]);
    struct alg *alg = &w->values.alg;
    step = a2(alg, ALG_I_MAX, val(step), a_int(alg, 1)).v;
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, begin, end, step, "over");
    LLVMValueRef sum = llvm_loop_carry(&loop, loop_start(w, node, rows));
    struct select_scope scope = select_walk_open(w, variable, loop.index);
    LLVMValueRef term =
        rows ? select_walk_row(w, node->args[3]) : select_walk_value(w, node->args[3]);
    if (rows)
        term = llvm_splat(unit, term, w->lanes);
    llvm_loop_next(&loop, 0, loop_combine(w, node, rows, sum, term));
    select_walk_close(w, &scope);
    llvm_loop_end(&loop);
    return loop.carried[0];
}

// ---- sums over the dims ----------------------------------------------------------------------

enum { MOST_UNROLLED = 8, MOST_SUMS = 4 };

static LLVMValueRef add_product(struct select_walk *w, LLVMValueRef sum, const struct expr *term) {
    LLVMBuilderRef b = w->unit->builder;
    bool product = term->op == OP_RMUL && (w->unit->has_fma || w->unit->on_gpu);
    if (!product)
        return LLVMBuildFAdd(b, sum, llvm_splat(w->unit, select_walk_row(w, term), w->lanes), "");
    LLVMValueRef x = llvm_splat(w->unit, select_walk_row(w, term->args[0]), w->lanes);
    LLVMValueRef y = llvm_splat(w->unit, select_walk_row(w, term->args[1]), w->lanes);
    return llvm_intrinsic3(w->unit, "llvm.fma", x, y, sum);
}

// The lanes' sum, by halves.
static LLVMValueRef across(struct select_walk *w, LLVMValueRef sum) {
    struct llvm_unit *unit = w->unit;
    if (w->lanes == 1)
        return sum;
    for (int half = w->lanes / 2; half > 0; half /= 2) {
        LLVMValueRef order[64];
        for (int i = 0; i < w->lanes; i++)
            order[i] = llvm_int(unit->i32, (i + half) % w->lanes);
        LLVMValueRef mask = LLVMConstVector(order, (unsigned)w->lanes);
        LLVMValueRef other = LLVMBuildShuffleVector(unit->builder, sum, sum, mask, "");
        sum = LLVMBuildFAdd(unit->builder, sum, other, "");
    }
    return LLVMBuildExtractElement(unit->builder, sum, llvm_int(unit->i32, 0), "");
}

static LLVMValueRef dim_sum(struct select_walk *w, const struct expr *node) {
    struct llvm_unit *unit = w->unit;
    const struct expr *term = node->args[0];
    int steps = w->spec->dim / w->lanes, unrolled = MOST_UNROLLED;
    while (steps % unrolled)
        unrolled--;
    int sums = unrolled < MOST_SUMS ? unrolled : MOST_SUMS;
    LLVMValueRef outer = w->at, sum[MOST_SUMS];
    select_walk_hoist(w, term, -1);
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, llvm_int(unit->i64, 0), llvm_int(unit->i64, w->spec->dim),
                    llvm_int(unit->i64, (int64_t)unrolled * w->lanes), "dims");
    LLVMValueRef zero = LLVMConstNull(llvm_lanes_type(unit->f32, w->lanes));
    for (int i = 0; i < sums; i++)
        sum[i] = llvm_loop_carry(&loop, zero);
    for (int i = 0; i < unrolled; i++) {
        struct select_scope scope = select_walk_open(w, -1, NULL);
        w->at =
            LLVMBuildAdd(unit->builder, loop.index, llvm_int(unit->i64, (int64_t)i * w->lanes), "");
        sum[i % sums] = add_product(w, sum[i % sums], term);
        select_walk_close(w, &scope);
    }
    for (int i = 0; i < sums; i++)
        llvm_loop_next(&loop, i, sum[i]);
    llvm_loop_end(&loop);
    w->at = outer;
    for (int i = 1; i < sums; i++)
        loop.carried[0] = LLVMBuildFAdd(unit->builder, loop.carried[0], loop.carried[i], "");
    return LLVMBuildFPExt(unit->builder, across(w, loop.carried[0]), unit->f64, "");
}

// ---- values and rows -------------------------------------------------------------------------

static bool changes(const struct select_walk *w, const struct expr *node, int variable) {
    uint16_t bit = variable < 0 ? 0 : (uint16_t)(1u << variable);
    return node->vars & bit || node->vars & ~w->open;
}

void select_walk_hoist(struct select_walk *w, const struct expr *node, int variable) {
    if (w->value[node->id] || w->base[node->id])
        return;
    bool steady = !changes(w, node, variable);
    if (steady && !(node->deps & DEP_ROW)) {
        select_walk_value(w, node);
        return;
    }
    if (steady && select_is_row_leaf(node)) {
        select_row_base(w, node);
        return;
    }
    for (int i = 0; i < node->arity; i++)
        select_walk_hoist(w, node->args[i], variable);
}

static LLVMValueRef leaf_value(struct select_walk *w, const struct expr *node) {
    struct alg *alg = &w->values.alg;
    aval args[MAX_EXPR_ARGS];
    switch (node->op) {
    case OP_BOOL:
        return a_bool(alg, node->payload.i != 0).v;
    case OP_INT:
        return a_int(alg, node->payload.i).v;
    case OP_REAL:
        return a_real(alg, node->payload.r).v;
    case OP_VAR:
        return w->vars[node->payload.ref.index];
    case OP_DIM:
        return a_int(alg, w->spec->dim).v;
    case OP_QUERIES:
        return ARG(w, queries, w->unit->i64);
    case OP_SCALE:
        return ARG(w, scale, w->unit->f64);
    case OP_STAGE:
        return select_load_value(w, node);
    default:
        for (int i = 0; i < node->arity; i++)
            args[i] = val(select_walk_value(w, node->args[i]));
        return w->leaf_walk.point_leaf(&w->leaf_walk, node, args).v;
    }
}

LLVMValueRef select_walk_value(struct select_walk *w, const struct expr *node) {
    LLVMValueRef *place = &w->value[node->id], value;
    aval args[MAX_EXPR_ARGS];
    if (*place)
        return *place;
    if (is_loop(node)) {
        value = loop_value(w, node, false);
    } else if (node->op == OP_DIM_SUM) {
        value = dim_sum(w, node);
    } else if (!op_table[node->op].point) {
        value = leaf_value(w, node);
    } else {
        for (int i = 0; i < node->arity; i++)
            args[i] = val(select_walk_value(w, node->args[i]));
        value = op_table[node->op].point(&w->values.alg, args).v;
    }
    return select_walk_keep(w, place, value);
}

static LLVMValueRef same_for_all_dims(struct select_walk *w, const struct expr *node) {
    LLVMValueRef value = select_walk_value(w, node);
    if (node->type != TYPE_REAL)
        return value;
    return LLVMBuildFPTrunc(w->unit->builder, value, w->unit->f32, "");
}

LLVMValueRef select_walk_row(struct select_walk *w, const struct expr *node) {
    LLVMValueRef *place = &w->row[node->id], value;
    aval args[MAX_EXPR_ARGS];
    if (*place)
        return *place;
    if (!(node->deps & DEP_ROW)) {
        value = same_for_all_dims(w, node);
    } else if (select_is_row_leaf(node)) {
        value = select_load_row(w, node);
    } else if (is_loop(node)) {
        value = loop_value(w, node, true);
    } else {
        for (int i = 0; i < node->arity; i++)
            args[i] = val(select_walk_row(w, node->args[i]));
        value = op_table[node->op].point(&w->rows.alg, args).v;
    }
    return select_walk_keep(w, place, value);
}
