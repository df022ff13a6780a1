// What the kernel's shape is before any of it is emitted: rows and keys that fit, the layout of
// shared memory, the size of the parameter. The runtime asks too, also where there is no compiler:
// no LLVM here.
#include "compiler/sm90/sm90_emit.h"

enum { CHUNK_BYTES = 128 };

// ---- what costs something -----------------------------------------------------------------------

static bool is_dear(enum op op) {
    switch (op) {
    case OP_DIV:
    case OP_MOD:
    case OP_CEILDIV:
    case OP_ANY:
    case OP_ALL:
    case OP_COUNT:
    case OP_INPUT:
    case OP_MAP:
    case OP_MEMBER:
    case OP_TABLE:
    case OP_LOG2:
    case OP_BITS:
    case OP_IN_POW2:
        return true;
    default:
        return false;
    }
}

bool sm90_is_costly(const struct expr *node, uint8_t *cost, const struct sm90_spec *spec) {
    if (cost[node->id])
        return cost[node->id] == 2;
    // A coordinate of a fused axis is a quotient and a remainder.
    bool fused = spec && node->op == OP_COORD && spec->fused[node->payload.ref.index];
    bool dear = fused || is_dear(node->op) || (node->type == TYPE_REAL && node->arity > 0);
    for (int i = 0; i < node->arity; i++)
        dear |= sm90_is_costly(node->args[i], cost, spec);
    cost[node->id] = dear ? 2 : 1;
    return dear;
}

static bool predicate_is_costly(const struct pattern *pattern, struct arena *arena) {
    uint8_t *cost = ARENA_ARRAY(arena, uint8_t, pattern->graph->count);
    bool costly = pattern->score && sm90_is_costly(pattern->score, cost, NULL);
    for (int s = 0; s < pattern_source_count(pattern); s++)
        costly |= sm90_is_costly(pattern_source(pattern, s).view->keep, cost, NULL);
    return costly;
}

// ---- shapes -----------------------------------------------------------------------------------

// Wide heads leave little room and few registers for a costly predicate.
int sm90_key_rows(const struct pattern *pattern, int dim, struct arena *arena) {
    if (dim <= 128)
        return 128;
    if (predicate_is_costly(pattern, arena) || pattern->axis_count > 1)
        return 64;
    return dim <= 192 ? 112 : 80;
}

// Narrow heads have registers left, but for what is computed pair by pair.
static bool leaves_registers(const struct pattern *pattern, int dim, struct arena *arena) {
    return dim <= 64 && pattern->score == NULL && !pattern_is_pooled(pattern) &&
           !predicate_is_costly(pattern, arena);
}

// A wider tile spreads what is done once per tile and row.
int sm90_wide_key_rows(const struct pattern *pattern, int dim, struct arena *arena) {
    return leaves_registers(pattern, dim, arena) ? 192 : 0;
}

// Narrow heads spend as long on the softmax as on products. Two warpgroups that share their tiles
// tend to do the same at the same time; with a third one of them always has products to run.
int sm90_tall_rows(const struct pattern *pattern, int dim, struct arena *arena) {
    return leaves_registers(pattern, dim, arena) ? 3 * SM90_WARPGROUP_ROWS : 0;
}

static int round_up(int value, int to) {
    return (value + to - 1) / to * to;
}

int sm90_threads(int query_rows) {
    return SM90_WARPGROUP * (1 + query_rows / SM90_WARPGROUP_ROWS);
}

struct sm90_shape sm90_shape(int dim, int query_rows, int key_rows) {
    struct sm90_shape shape = {.query_rows = query_rows, .key_rows = key_rows};
    bool tall = query_rows > SM90_QUERY_ROWS;
    shape.consumers = query_rows / SM90_WARPGROUP_ROWS;
    shape.producer_registers = tall ? 32 : 40;
    shape.consumer_registers = tall ? 160 : 232;
    shape.chunks = round_up(dim, 64) / 64;
    shape.dim_steps = round_up(dim, 16) / 16;
    shape.output_dim = round_up(dim, 8);
    shape.query_bytes = shape.chunks * query_rows * CHUNK_BYTES;
    shape.tile_bytes = shape.chunks * key_rows * CHUNK_BYTES;
    shape.stages = tall ? 4 : 2; // three warpgroups drift further apart
    shape.query_buffers = 2;
    int records = 1024 + 1280 + 8 * query_rows; // barriers and records, aligning the base
    while (shape.query_buffers > 1 &&
           shape.query_buffers * shape.query_bytes + 2 * shape.stages * shape.tile_bytes + records >
               SM90_SHARED_LIMIT)
        shape.query_buffers--;
    // With one buffer the next item's queries are there already. The engine stores whole units of
    // 16 bytes, also past the end of a row.
    shape.staged = shape.query_buffers > 1 && dim % 8 == 0;
    shape.query_at = 0;
    shape.key_at = shape.query_buffers * shape.query_bytes;
    shape.value_at = shape.key_at + shape.stages * shape.tile_bytes;
    shape.tile_record_at = shape.value_at + shape.stages * shape.tile_bytes;
    shape.item_record_at = shape.tile_record_at + shape.stages * SM90_TILE_RECORD_BYTES;
    shape.lse_at = shape.item_record_at + SM90_ITEM_RECORDS * SM90_RECORD_BYTES;
    shape.barrier_at = shape.lse_at + (shape.staged ? shape.query_buffers * 4 * query_rows : 0);
    shape.shared_bytes =
        shape.barrier_at + 8 * (4 * shape.query_buffers + 4 * shape.stages + SM90_ITEM_RECORDS + 1);
    return shape;
}

int64_t sm90_tables_at(const struct pattern *pattern) {
    return SM90_PARAM + 8 * (int64_t)pattern->scalar_count;
}

int64_t sm90_arrays_at(const struct pattern *pattern) {
    return sm90_tables_at(pattern) + 8 * (int64_t)pattern->table_count;
}

int64_t sm90_args_bytes(const struct pattern *pattern) {
    int64_t arrays = (int64_t)pattern->input_count + pattern->map_count;
    int64_t bytes = sm90_arrays_at(pattern) + arrays * (int64_t)sizeof(struct sm90_array);
    return (bytes + 63) / 64 * 64;
}
