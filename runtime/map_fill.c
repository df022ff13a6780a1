#include "runtime/map_fill.h"

#include "compiler/maps.h"
#include "runtime/bind.h"
#include "runtime/ranges.h"
#include "runtime/threads.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

// Operations below which compiling takes longer than evaluating.
static const int64_t FEW_OPERATIONS = INT64_C(1) << 20;
// Of the loops of compiled maps, all lanes of a vector at once: some seconds.
static const int64_t MOST_TURNS = INT64_C(1) << 28;

enum { PIECE = 4096 }; // elements of a row, at most, that one call fills

static enum heddle_status too_many_turns(struct plan *plan, const struct pattern_map *map,
                                         struct error *error) {
    return error_set(error, HEDDLE_PATTERN_ERROR,
                     "%serror: map '%s' takes too many turns of quantifiers",
                     bind_place(plan, map->span), map->name);
}

// ---- by compiled code ---------------------------------------------------------------------------

struct filling {
    abi_map_fn *fill;
    const struct abi_env *env;
    const struct abi_array *array;
    int64_t row_length, pieces; // of a row
    uint8_t *data;
    atomic_llong turns_left;
};

// The indices of a row: all but the last.
static void row_index(const struct abi_array *array, int64_t row, int64_t *index) {
    for (int i = (int)array->index_count - 2; i >= 0; i--) {
        index[i] = row % array->extent[i];
        row /= array->extent[i];
    }
}

static void fill_pieces(void *context, int64_t begin, int64_t end, void *scratch) {
    struct filling *f = context;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t index[ABI_INDICES] = {0}, row = piece / f->pieces;
        int64_t first = piece % f->pieces * PIECE, past = first + PIECE;
        past = past < f->row_length ? past : f->row_length;
        long long before = atomic_load_explicit(&f->turns_left, memory_order_relaxed);
        int64_t left = before;
        if (left < 0)
            return;
        row_index(f->array, row, index);
        f->fill(f->env, index, first, past, scratch, &left);
        atomic_fetch_sub_explicit(&f->turns_left, before - left, memory_order_relaxed);
        memcpy(f->data + row * f->row_length + first, scratch, (size_t)(past - first));
    }
}

static enum heddle_status fill_compiled(struct plan *plan, int number,
                                        const struct abi_array *array, int64_t elements,
                                        uint8_t *data, struct error *error) {
    const struct map_code *code;
    enum heddle_status status = program_maps(plan->program, &code, error);
    if (status != HEDDLE_OK)
        return status;
    struct filling f = {.fill = code->fills[number],
                        .env = &plan->launch.env,
                        .array = array,
                        .row_length = array->extent[array->index_count - 1],
                        .data = data};
    f.pieces = (f.row_length + PIECE - 1) / PIECE;
    atomic_init(&f.turns_left, MOST_TURNS);
    int64_t pieces = elements / f.row_length * f.pieces;
    status = threads_each(0, pieces, 16, PIECE + MAP_SLACK, fill_pieces, &f, error);
    if (status == HEDDLE_OK && atomic_load(&f.turns_left) < 0)
        return too_many_turns(plan, &plan->program->pattern->maps[number], error);
    return status;
}

// ---- element by element -------------------------------------------------------------------------

static enum heddle_status fill_evaluated(struct plan *plan, int number,
                                         const struct abi_array *array, int64_t elements,
                                         uint8_t *data, struct error *error) {
    const struct pattern_map *map = &plan->program->pattern->maps[number];
    struct eval_env env;
    bind_eval_env(plan, &env);
    for (int64_t at = 0; at < elements; at++) {
        int64_t last = map->index_count - 1;
        struct eval_failure failure = {0};
        row_index(array, at / array->extent[last], env.vars);
        env.vars[last] = at % array->extent[last];
        data[at] = expr_eval(map->written, &env, &failure).b;
        if (failure.fault == EVAL_WORK)
            return too_many_turns(plan, map, error);
        if (failure.fault != EVAL_OK)
            return error_set(error, HEDDLE_PATTERN_ERROR,
                             "%serror: map '%s' has no value at element %" PRId64,
                             bind_place(plan, failure.at->span), map->name, at);
    }
    return HEDDLE_OK;
}

static bool has_quantifier(const struct expr *e, uint8_t *seen) {
    bool found = e->op == OP_ANY || e->op == OP_ALL || e->op == OP_COUNT;
    if (seen[e->id])
        return false;
    seen[e->id] = 1;
    for (int i = 0; i < e->arity && !found; i++)
        found = has_quantifier(e->args[i], seen);
    return found;
}

static bool is_much_work(struct plan *plan, const struct pattern_map *map, int64_t elements) {
    uint8_t *seen = ARENA_ARRAY(&plan->arena, uint8_t, (size_t)map->written->id + 1);
    int64_t operations = map->written->weight;
    if (has_quantifier(map->written, seen)) // of some turns
        operations *= 64;
    return elements > FEW_OPERATIONS / operations;
}

enum heddle_status map_fill(struct plan *plan, int number, const struct abi_array *array,
                            int64_t elements, uint8_t *data, struct error *error) {
    const struct pattern_map *map = &plan->program->pattern->maps[number];
    if (elements == 0)
        return HEDDLE_OK;
    bool compiled = is_much_work(plan, map, elements) && ranges_of_map(plan, map, array);
    return compiled ? fill_compiled(plan, number, array, elements, data, error)
                    : fill_evaluated(plan, number, array, elements, data, error);
}
