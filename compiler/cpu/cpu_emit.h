// Inside compiler/cpu/: the state of one kernel's emission, and the tile primitives.
//
// Layout of a tile. Queries lie across vector lanes, keys run down: a column of 64 queries is
// `query_vectors` vectors, and every step of the softmax is a plain vertical operation.
//
//            queries ->                                         dim ->
//   keys   [ S[0][0..63]  ]   S[k][q] = K[k] . Q^T[.][q]      [ V[0][0..d] ]
//    |     [ S[1][0..63]  ]                                   [ V[1][0..d] ]   O[q] += P[k][q] V[k]
//    v     [     ...      ]                                   [    ...     ]
//
// In both products one operand is a broadcast scalar and the other a vector, and nothing is
// transposed per tile: Q is, once per item. (With AMX both are tiles, and P is transposed.) K and V
// are copied to packed float rows (which converts dtypes, gathers strides and keeps cache sets
// apart).
//
// The kernel is several internal functions of (launch, scratch), which share the thread's scratch;
// scalars of the item at hand live in scratch too (`at.item_*`).
#ifndef HEDDLE_COMPILER_CPU_EMIT_H
#define HEDDLE_COMPILER_CPU_EMIT_H

#include "compiler/base/arena.h"
#include "compiler/cpu/cpu_kernel.h"
#include "compiler/llvm/llvm_build.h"

struct cpu_emit;

// The products of one instruction set. Packed operands are made of 32-bit cells: a float, or a pair
// of bf16 along the direction that is summed over. Everything else about the packing and the
// softmax follows from `group`.
struct cpu_multiply {
    const char *name;
    int group;             // elements that a cell holds
    bool reads_keys_apart; // rows of K may lie anywhere: those that are cells stay in memory
    // Around all else in the compiled function; NULL: nothing to do.
    void (*begin)(struct cpu_emit *), (*end)(struct cpu_emit *);
    LLVMValueRef (*logits)(struct cpu_emit *); // (): S = K Q^T
    LLVMValueRef (*values)(struct cpu_emit *); // (): O = O * alpha + P^T V
    // Of those in cpu_multiply.c: accumulator (floats) + cell (a scalar, for all lanes) * cells
    LLVMValueRef (*add)(struct cpu_emit *, LLVMValueRef sum, LLVMValueRef cell, LLVMValueRef cells);
};
extern const struct cpu_multiply cpu_multiply_float, cpu_multiply_dot; // cpu_multiply.c
extern const struct cpu_multiply cpu_multiply_amx;                     // cpu_amx.c

// Byte offsets into the thread's scratch. [rows] arrays have 64 entries.
struct cpu_layout {
    // Of the call: position of the tile's key j relative to its corner, by axis, and as a token.
    int64_t tile_offset[ABI_AXES], tile_token; // i32[64]
    // Of the item.
    int64_t item_head, item_batch, item_rows, item_vectors, item_keys, item_values, item_queries,
        item_output;
    int64_t item_residue[ABI_AXES], item_extent[ABI_AXES];
    int64_t query_position[ABI_AXES]; // i32[64]: residue + dilation * coordinate
    int64_t query_axis[ABI_AXES];     // i32[64]: coordinate on a pattern axis
    int64_t query_token;              // i32[64]
    int64_t queries;                  // packed Q^T
    int64_t output;                   // float[64][dim_padded], blocked like V
    int64_t maximum, sum, alpha;      // float[64]: softmax state, base 2
    // Of the tile.
    int64_t key_position[ABI_AXES], key_axis[ABI_AXES], key_token; // i32[64]
    int64_t key_valid;                                             // i8[64]
    int64_t keys, values;                                          // packed
    int64_t logits, weights;     // S [64][64] floats; P (the same place where it fits)
    int64_t kept;                // i8 or i16 per (key, vector of queries): lanes kept
    int64_t bad_count, bad_keys; // i64; i64[64]: keys whose V row is not finite
    int64_t bad_flag;            // i8[64]
    // Of the source in use (cpu_sources.c), where the pattern has sources.
    int64_t key_stride, value_stride, key_dim_stride, value_dim_stride; // i64, in elements
    int64_t key_last;                                                   // i64: its last group
    int64_t whole_bias, ragged_bias;                                    // floats, base 2
    int64_t key_bias;                                                   // float[64]
    // Of an item of branches that a gate merges (cpu_gates.c): like output, maximum and sum.
    int64_t total, total_maximum, total_sum;
    // AMX only: the tiles' configuration; P as tiles with queries down.
    int64_t amx_config, amx_weights;
    int64_t bytes;
};

struct mask_program;

struct cpu_emit {
    struct llvm_unit *unit;
    const struct cpu_kernel_spec *spec;
    const struct cpu_multiply *multiply;
    struct arena *arena;
    int lanes;          // floats in a vector
    int query_vectors;  // vectors in a column of 64 queries
    bool keys_in_place; // K's rows are cells as they are in memory: nothing to pack
    int block_vectors;  // of V and O in one register block
    int dim, dim_vectors, dim_padded;
    LLVMTypeRef element; // of tensors in memory: float, or i16 for halves
    int64_t element_bytes;
    LLVMTypeRef floats, ints; // `lanes` of f32, of i32
    LLVMTypeRef cell, cells;  // of packed operands: f32 or i32, and `lanes` of it
    struct cpu_layout at;
    LLVMTypeRef
        function_type; // of the internal functions: void (launch, scratch, i64, i64, i64, i64)
    LLVMValueRef launch, scratch, args[4];           // of the function being emitted
    struct mask_program *keeps[MAX_SOURCES], *score; // by source; score may be NULL
    struct mask_program *gates[MAX_SOURCES];         // by branch; NULL without gates
    bool pooled;                                     // pattern_is_pooled
};

// ---- small steps (cpu_emit.c) -----------------------------------------------------------------

void cpu_layout_init(struct cpu_emit *e);
int64_t cpu_reserve(struct cpu_emit *e, int64_t bytes); // 64-byte aligned

// Opens an internal function; its parameters are in e->launch, e->scratch, e->args.
LLVMValueRef cpu_function_begin(struct cpu_emit *e, const char *name);
void cpu_function_end(struct cpu_emit *e);
// Calls one with this function's launch and scratch, and up to four i64 (NULL: 0).
void cpu_call(struct cpu_emit *e, LLVMValueRef function, LLVMValueRef a, LLVMValueRef b,
              LLVMValueRef c, LLVMValueRef d);

LLVMValueRef cpu_const(struct cpu_emit *e, int64_t value); // i64
LLVMValueRef cpu_add(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef cpu_mul(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef cpu_min(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b); // signed integers
LLVMValueRef cpu_max(struct cpu_emit *e, LLVMValueRef a, LLVMValueRef b);

// Scratch at a byte offset, or at element `index` of type `type` from there.
LLVMValueRef cpu_at(struct cpu_emit *e, int64_t offset);
LLVMValueRef cpu_cell(struct cpu_emit *e, int64_t offset, LLVMTypeRef type, LLVMValueRef index);
LLVMValueRef cpu_get(struct cpu_emit *e, int64_t offset, LLVMTypeRef type);
void cpu_put(struct cpu_emit *e, int64_t offset, LLVMValueRef value);
// Vector load and store of scratch, aligned to `align` bytes.
LLVMValueRef cpu_load(struct cpu_emit *e, LLVMTypeRef type, LLVMValueRef at, unsigned align);
void cpu_store(struct cpu_emit *e, LLVMValueRef value, LLVMValueRef at, unsigned align);
// A field of the launch.
#define CPU_FIELD(e, field, type)                                                                  \
    llvm_load_field((e)->unit, (e)->launch, offsetof(struct abi_launch, field), type, #field)
#define CPU_FIELD_AT(e, field, number, type)                                                       \
    llvm_load_field((e)->unit, (e)->launch,                                                        \
                    offsetof(struct abi_launch, field) + 8 * (size_t)(number), type, #field)

// ---- sources (cpu_sources.c) --------------------------------------------------------------------

// (): the rows, extent and bias of a source, of the item at hand, into scratch.
LLVMValueRef cpu_emit_use_source(struct cpu_emit *e, int source);
LLVMValueRef cpu_emit_add_bias(struct cpu_emit *e); // (): S += what the tile's keys weigh

// ---- gates (cpu_gates.c) ------------------------------------------------------------------------

LLVMValueRef cpu_emit_begin_gates(struct cpu_emit *e);             // (): totals of the item
LLVMValueRef cpu_emit_fold_branch(struct cpu_emit *e, int branch); // (): adds gate times result
LLVMValueRef cpu_emit_end_gates(struct cpu_emit *e); // (): totals as finish_item's softmax state

// ---- geometry (cpu_geometry.c) ----------------------------------------------------------------

LLVMValueRef cpu_emit_tile_offsets(struct cpu_emit *e);  // (): fills at.tile_*
LLVMValueRef cpu_emit_place_queries(struct cpu_emit *e); // (item): its heads, rows, tokens
LLVMValueRef cpu_emit_place_full(struct cpu_emit *e);    // (corner x 3): key_token
LLVMValueRef cpu_emit_place_partial(struct cpu_emit *e); // (corner x 3, own): all of the tile's
// (offset of positions, offset of axes): coordinates on the pattern's axes. Patterns of one axis
// need none: there an axis is the last basis position (cpu_layout_init).
LLVMValueRef cpu_emit_axes(struct cpu_emit *e);
// data + batch * batch_stride + head * head_stride of a struct abi_tensor.
LLVMValueRef cpu_tensor_base(struct cpu_emit *e, LLVMValueRef record, LLVMValueRef batch,
                             LLVMValueRef head);
LLVMValueRef cpu_kv_head(struct cpu_emit *e, LLVMValueRef head);

// ---- rows of tensors (cpu_rows.c) -------------------------------------------------------------

// One of q, k, v, o at a head: what it takes to address rows.
struct cpu_tensor {
    LLVMValueRef base, token_stride;
    LLVMValueRef dim_stride; // NULL: contiguous
};
struct cpu_tensor cpu_queries(struct cpu_emit *e);
struct cpu_tensor cpu_keys(struct cpu_emit *e);
struct cpu_tensor cpu_values(struct cpu_emit *e);
struct cpu_tensor cpu_output(struct cpu_emit *e);

// Addresses: of query row / key number `index` (through its token), of element `d` of a row.
LLVMValueRef cpu_query_row(struct cpu_emit *e, const struct cpu_tensor *tensor, LLVMValueRef index);
LLVMValueRef cpu_key_row(struct cpu_emit *e, const struct cpu_tensor *tensor, LLVMValueRef index);
LLVMValueRef cpu_row_at(struct cpu_emit *e, const struct cpu_tensor *tensor, LLVMValueRef row,
                        int d);

// Elements d .. d + lanes of a row as they are in memory; those past dim are 0 and are not read.
LLVMValueRef cpu_load_raw(struct cpu_emit *e, const struct cpu_tensor *tensor, LLVMValueRef row,
                          int d, int lanes);
LLVMValueRef cpu_load_floats(struct cpu_emit *e, const struct cpu_tensor *tensor, LLVMValueRef row,
                             int d);
// Stores what of the vector lies below dim, rounded to nearest even.
void cpu_store_floats(struct cpu_emit *e, const struct cpu_tensor *tensor, LLVMValueRef row, int d,
                      LLVMValueRef floats);
// Transposes `lanes` vectors of `lanes` 32-bit elements in place.
void cpu_transpose(struct cpu_emit *e, LLVMValueRef *rows);
// even[0], odd[0], even[1], odd[1], ... of two vectors of `lanes`.
LLVMValueRef cpu_interleave(struct cpu_emit *e, LLVMValueRef even, LLVMValueRef odd, int lanes);
// Lists the keys whose V row holds NaN or infinity (bad_*).
void cpu_find_bad(struct cpu_emit *e, const struct cpu_tensor *values);
LLVMValueRef cpu_is_bad(struct cpu_emit *e, LLVMValueRef key); // i1, after cpu_find_bad

// V and O are split into blocks of at most e->block_vectors vectors: block b is [row][its vectors],
// contiguous, so that a register block walks memory in a line whatever dim is.
struct cpu_block {
    int first, count; // vectors
};
int cpu_block_count(struct cpu_emit *e);
struct cpu_block cpu_block(struct cpu_emit *e, int number);
// Vector `vector` of row `row` in a blocked array of `rows` rows.
LLVMValueRef cpu_blocked(struct cpu_emit *e, int64_t array, LLVMValueRef row, int rows, int vector);

// ---- packing (cpu_pack.c): () each --------------------------------------------------------------

LLVMValueRef cpu_emit_pack_queries(struct cpu_emit *e); // Q^T [cell of dim][64]
LLVMValueRef cpu_emit_pack_keys(struct cpu_emit *e);    // K [64][cells of dim]
// V [cell of keys][dim], blocked; check: lists the rows that are not finite, and packs zeros there
LLVMValueRef cpu_emit_pack_values(struct cpu_emit *e, bool check);
LLVMValueRef cpu_packed_key(struct cpu_emit *e, LLVMValueRef key); // address of a packed row of K
// P [cell of keys][64]: the weights of keys key .. key + group - 1 for one vector of queries.
void cpu_store_weights(struct cpu_emit *e, LLVMValueRef key, LLVMValueRef vector,
                       const LLVMValueRef *weights);
LLVMValueRef cpu_load_weight(struct cpu_emit *e, LLVMValueRef key, LLVMValueRef query); // float
// What the logits still lack after the product (cells of pairs hold Q unscaled), or NULL.
LLVMValueRef cpu_scale_after(struct cpu_emit *e);

// ---- softmax (cpu_softmax.c) -------------------------------------------------------------------

LLVMValueRef cpu_emit_begin_softmax(struct cpu_emit *e);
LLVMValueRef cpu_emit_softmax(struct cpu_emit *e);     // S -> P, state
LLVMValueRef cpu_emit_add_bad(struct cpu_emit *e);     // the rows that P^T V left out
LLVMValueRef cpu_emit_finish_item(struct cpu_emit *e); // O and lse to the tensors

// ---- masks and scores (cpu_mask.c, cpu_leaf.c) --------------------------------------------------

// Phases of a predicate, from rare to frequent: see cpu_mask.c.
struct cpu_mask_functions {
    LLVMValueRef item;    // (): what is uniform, and what depends on the query
    LLVMValueRef keys;    // (): what depends on the key
    LLVMValueRef partial; // (): S = keep ? score(S) : -inf, and `kept`
    LLVMValueRef full;    // (): S = score(S); NULL without a score
};
void cpu_plan_masks(struct cpu_emit *e);
// A real of the query, of a program that is no pair's: for `lanes` queries from one on.
LLVMValueRef cpu_query_values(struct cpu_emit *e, const struct mask_program *program,
                              LLVMValueRef query);
// Of a source; `full` of any but the first is NULL: it is the first's.
struct cpu_mask_functions cpu_emit_masks(struct cpu_emit *e, int index_bits, int source);

#endif
