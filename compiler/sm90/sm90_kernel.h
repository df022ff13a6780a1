// The Hopper attention kernel: PTX for sm_90a, emitted for one pattern, dtype, head dim and pair of
// tile shapes; lengths, strides, parameters and lists are arguments (sm90_args.h).
#ifndef HEDDLE_COMPILER_SM90_KERNEL_H
#define HEDDLE_COMPILER_SM90_KERNEL_H

#include "compiler/analyse/facts.h"
#include "compiler/base/status.h"
#include "compiler/llvm/llvm_unit.h"
#include "compiler/sm90/sm90_args.h"
#include "dsl/pattern.h"

#include <stdbool.h>

enum {
    SM90_WARPGROUP = 128,     // threads
    SM90_WARPGROUP_ROWS = 64, // of a consumer warpgroup
    SM90_QUERY_ROWS = 128,    // of an item: two of them
    SM90_SHARED_LIMIT = 232448,
};

// Everything the code is specialised for, besides the pattern. Compared byte by byte: clear it
// before filling it in.
struct sm90_spec {
    int dtype; // HEDDLE_F16 or HEDDLE_BF16
    int dim;   // 8 .. 256
    int basis; // of the facts
    int axes;  // basis axes in use: the last ones
    int query_tile[ABI_AXES], key_tile[ABI_AXES];
    int axis_basis[ABI_AXES]; // of each pattern axis
    int fused[ABI_AXES];      // that pattern axis needs its divisor and modulus
    int dilated[ABI_AXES];    // that basis axis is split by residue
    int narrow;               // 32-bit integers in the predicate
    int scale_first; // logits are scaled before the maximum is taken (a score, or scale < 0)
};

// How a head dim is laid out in shared memory.
struct sm90_shape {
    int query_rows, consumers; // of an item, and the warpgroups that share them
    int key_rows;              // keys of a tile
    int chunks;                // of 64 columns, 128 bytes a row
    int dim_steps;             // k16 steps of Q.K
    int output_dim;            // columns of P.V, a multiple of 8
    int stages;                // of K and of V, a power of two
    int query_buffers;         // 1 or 2
    int staged;                // output leaves through the item's query buffer, by the copy engine
    int query_bytes, tile_bytes;
    // Offsets into shared memory.
    int query_at, key_at, value_at, barrier_at, tile_record_at, item_record_at, lse_at;
    int shared_bytes;                           // in all
    int producer_registers, consumer_registers; // of a thread: they share 65,536
};
struct sm90_shape sm90_shape(int dim, int query_rows, int key_rows);
// Threads of a block: the producers' warpgroup and the consumers'.
int sm90_threads(int query_rows);

// Keys of a tile: the schedule's limit. `arena` is scratch.
int sm90_key_rows(const struct pattern *pattern, int dim, struct arena *arena);
// More keys that a tile may have where its basis is one axis, or 0.
int sm90_wide_key_rows(const struct pattern *pattern, int dim, struct arena *arena);
// More rows that an item may have, with tiles of at most sm90_key_rows(); or 0.
int sm90_tall_rows(const struct pattern *pattern, int dim, struct arena *arena);

// Bytes of the kernel's parameter for this pattern.
int64_t sm90_args_bytes(const struct pattern *pattern);
enum { SM90_PARAM = sizeof(struct sm90_args) }; // offset of params[]
int64_t sm90_tables_at(const struct pattern *pattern);
int64_t sm90_arrays_at(const struct pattern *pattern);

// Adds the kernel `heddle_attention` to a unit made by llvm_unit_create_nvptx. *out_shared_bytes is
// the dynamic shared memory of a launch. `facts` are those of each source.
enum heddle_status sm90_kernel_emit(struct llvm_unit *unit, const struct pattern *pattern,
                                    struct facts *const *facts, const struct sm90_spec *spec,
                                    int *out_shared_bytes, struct error *error);

#endif
