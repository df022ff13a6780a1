#include "compiler/maps.h"

#include "compiler/code.h"
#include "compiler/llvm/llvm_alg.h"
#include "dsl/expr_walk.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

// ---- emission -----------------------------------------------------------------------------------

typedef void loop_body(void *context, aval i, aval *state);

struct filler {
    struct llvm_alg alg; // first: the loop finds its filler by it
    struct llvm_unit *unit;
    const struct pattern_map *map;
    LLVMValueRef env, index, begin, end, out, turns_left;
    void (*plain_loop)(struct alg *, aval begin, aval end, aval step, int count, aval *state,
                       loop_body *body, void *context);
    struct expr_walk walk;
};

static aval val(LLVMValueRef v) {
    return (aval){.v = v};
}

// A loop whose turns count; once they are spent it ends before it begins. The step, at least 1, is
// not divided by: what is counted is no less than what is run.
static void counted_loop(struct alg *alg, aval begin, aval end, aval step, int count, aval *state,
                         loop_body *body, void *context) {
    struct filler *f = (struct filler *)alg;
    LLVMBuilderRef b = f->unit->builder;
    LLVMValueRef turns = a2(alg, ALG_I_SUB, a2(alg, ALG_I_MAX, begin, end), begin).v;
    if (llvm_is_vector(turns))
        turns = llvm_intrinsic1(f->unit, "llvm.vector.reduce.umax", turns);
    turns = llvm_intrinsic2(f->unit, "llvm.umin", turns, llvm_int(f->unit->i64, INT64_MAX));
    LLVMValueRef left = LLVMBuildLoad2(b, f->unit->i64, f->turns_left, "left");
    left = llvm_intrinsic2(f->unit, "llvm.ssub.sat", left, turns);
    LLVMBuildStore(b, left, f->turns_left);
    LLVMValueRef enough = LLVMBuildICmp(b, LLVMIntSGE, left, llvm_int(f->unit->i64, 0), "");
    f->plain_loop(alg, begin, a_select(alg, val(enough), end, begin), step, count, state, body,
                  context);
}

static aval leaf(struct expr_walk *walk, const struct expr *node, const aval *args) {
    struct filler *f = walk->context;
    size_t index = node->payload.ref.index;
    (void)args;
    if (node->op == OP_SIZE)
        return val(llvm_load_field(f->unit, f->env, offsetof(struct abi_env, size) + 8 * index,
                                   f->unit->i64, ""));
    if (node->op == OP_HEADS)
        return val(
            llvm_load_field(f->unit, f->env, offsetof(struct abi_env, heads), f->unit->i64, ""));
    LLVMValueRef slots = // OP_PARAM: a map has no other leaves
        llvm_load_field(f->unit, f->env, offsetof(struct abi_env, params), f->unit->ptr, "");
    return val(llvm_load_field(f->unit, slots, sizeof(union abi_slot) * index,
                               node->type == TYPE_REAL ? f->unit->f64 : f->unit->i64, ""));
}

// Computes what does not depend on the last index.
static void hoist(struct filler *f, const struct expr *node, uint8_t *seen) {
    uint16_t outer = (uint16_t)((1u << (f->map->index_count - 1)) - 1);
    if (seen[node->id])
        return;
    seen[node->id] = 1;
    if ((node->vars & ~outer) == 0) {
        expr_walk_point(&f->walk, node);
        return;
    }
    for (int i = 0; i < node->arity; i++)
        hoist(f, node->args[i], seen);
}

static LLVMValueRef lane_numbers(struct filler *f) {
    LLVMValueRef numbers[64];
    for (int i = 0; i < f->alg.lanes; i++)
        numbers[i] = llvm_int(f->unit->i64, i);
    return f->alg.lanes == 1 ? numbers[0] : LLVMConstVector(numbers, (unsigned)f->alg.lanes);
}

// A vector of elements from `at` on: those past the end repeat the last one.
static void emit_vector(struct filler *f, LLVMValueRef at) {
    struct alg *alg = &f->alg.alg;
    LLVMBuilderRef b = f->unit->builder;
    aval last = a2(alg, ALG_I_SUB, val(f->end), a_int(alg, 1));
    aval here = a2(alg, ALG_I_ADD, val(at), val(lane_numbers(f)));
    f->walk.vars[f->map->index_count - 1] = a2(alg, ALG_I_MIN, here, last);
    LLVMValueRef holds = expr_walk_point(&f->walk, f->map->body).v;
    holds = llvm_alg_vector(&f->alg, holds);
    LLVMValueRef bytes = LLVMBuildZExt(b, holds, llvm_lanes_type(f->unit->i8, f->alg.lanes), "");
    LLVMValueRef to = llvm_byte_offset(f->unit, f->out, LLVMBuildSub(b, at, f->begin, ""));
    LLVMSetAlignment(LLVMBuildStore(b, bytes, to), 1);
}

static void emit_fill(struct program *program, struct llvm_unit *unit, int number) {
    const struct pattern *pattern = program->pattern;
    char name[64];
    LLVMTypeRef params[] = {unit->ptr, unit->ptr, unit->i64, unit->i64, unit->ptr, unit->ptr};
    LLVMTypeRef type = LLVMFunctionType(unit->void_type, params, 6, 0);
    LLVMValueRef function = LLVMAddFunction(unit->module, map_symbol(number, name), type);
    LLVMPositionBuilderAtEnd(unit->builder,
                             LLVMAppendBasicBlockInContext(unit->context, function, "entry"));
    struct filler f = {.unit = unit, .map = &pattern->maps[number]};
    LLVMValueRef *args[] = {&f.env, &f.index, &f.begin, &f.end, &f.out, &f.turns_left};
    for (unsigned i = 0; i < 6; i++)
        *args[i] = LLVMGetParam(function, i);
    llvm_alg_init(&f.alg, unit, unit->vector_bits / 64, 64, 64, false);
    f.plain_loop = f.alg.alg.loop;
    f.alg.alg.loop = counted_loop;
    expr_walk_init(&f.walk, pattern->graph->arena, pattern->graph, &f.alg.alg);
    f.walk.point_leaf = leaf;
    f.walk.context = &f;
    for (int i = 0; i < f.map->index_count - 1; i++)
        f.walk.vars[i] =
            val(llvm_load_field(unit, f.index, sizeof(int64_t) * (size_t)i, unit->i64, ""));
    hoist(&f, f.map->body, ARENA_ARRAY(pattern->graph->arena, uint8_t, pattern->graph->count));
    struct llvm_loop loop;
    llvm_loop_begin(unit, &loop, f.begin, f.end, llvm_int(unit->i64, f.alg.lanes), "elements");
    emit_vector(&f, loop.index);
    llvm_loop_end(&loop);
    LLVMBuildRetVoid(unit->builder);
}

static enum heddle_status emit_maps(struct program *program, struct llvm_unit *unit, void *context,
                                    int64_t *out_number, struct error *error) {
    (void)context;
    (void)error;
    *out_number = 0;
    for (int i = 0; i < program->pattern->map_count; i++)
        emit_fill(program, unit, i);
    return HEDDLE_OK;
}

// ---- one program's ------------------------------------------------------------------------------

static enum heddle_status find_symbol(void *unit, const char *name, void **out_address,
                                      struct error *error) {
    return llvm_unit_symbol(unit, name, out_address, error);
}

static enum heddle_status find_maps(struct program *program, struct llvm_unit *unit, void *context,
                                    int64_t number, struct error *error) {
    (void)number;
    return map_code_find(context, program->pattern, find_symbol, unit, error);
}

static struct code_request maps_request(struct map_code *code) {
    return (struct code_request){
        .kind = "cpu-maps", .spec = "", .emit = emit_maps, .find = find_maps, .context = code};
}

enum heddle_status compile_maps(struct program *program, struct map_code *out,
                                struct error *error) {
    const struct code_request request = maps_request(out);
    return code_get(program, &request, &out->unit, error);
}

enum heddle_status compile_maps_object(struct program *program, const char *cpu,
                                       const char *features, struct strbuf *out,
                                       struct error *error) {
    const struct code_request request = maps_request(NULL);
    int64_t number;
    return code_object(program, &request, cpu, features, out, &number, error);
}
