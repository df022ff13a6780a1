// Stage `plan`: a compiled pattern and a problem -> bound arguments and work lists.
//
// The library's own view of struct heddle_plan, for the command line, tests and launch: the public
// header gives hosts less. Read-only after plan_create.
#ifndef HEDDLE_RUNTIME_PLAN_H
#define HEDDLE_RUNTIME_PLAN_H

#include "compiler/abi.h"
#include "compiler/base/status.h"
#include "compiler/planner/pieces.h"
#include "compiler/program.h"

#include <stdbool.h>

struct plan_boxes { // the shape of a plan
    int basis;      // index into facts
    int64_t query_tile[ABI_AXES], key_tile[ABI_AXES];
};

struct plan_options {
    enum heddle_target target; // HEDDLE_TARGET_CUDA, else the CPU
    bool lists_only;           // no kernel: explain, draw, tests
    bool key_major; // lists of query boxes per key box (backward's side); implies lists_only
    int basis;      // force a basis (index into facts), -1: chosen by counting
    int64_t query_tile[ABI_AXES], key_tile[ABI_AXES]; // force tile shapes; all 0: chosen
    // Where nothing is forced: take the boxes that were measured best on this machine (tuned.h),
    // if any are remembered. Borrowed for the plan's life; NULL: always by counting.
    const char *tuned_on;
    int64_t run_room; // runs per list before merging to a hull; 0: default 4096
    // Lists are made on the GPU, of inputs that change: here only what they need (plan_make_lists).
    bool on_device;
};

struct plan_counts {
    int64_t lists, items; // lists are shared by heads of a class; items are not
    int64_t runs;
    int64_t full_tiles, partial_tiles; // of all items
    int64_t source_tiles[MAX_SOURCES]; // both kinds, by source
    int64_t computed_pairs;            // tiles x tile keys x rows of the item, all items
    int64_t full_pairs;                // of these, in full tiles
    int64_t merged_lists;              // lists that met run_room and were merged
    int64_t least_tiles, most_tiles;   // of an item
    int64_t plan_bytes;
};

struct plan_candidate { // boxes that the schedule tried
    struct plan_boxes boxes;
    double full, partial; // tiles of an item: means over a sample of items
    double row_ms;        // what a query row takes of one worker (runtime/cost.h), those that
                          // have nothing to do at the end counted in
};

struct plan {
    struct program *program;            // borrowed
    const struct planner_code *planner; // the program's, for the item side
    struct arena arena;                 // everything below that is small
    struct plan_options options;

    // The problem, checked.
    int64_t size[ABI_AXES], keys, queries, query_offset;
    int64_t batch, heads, kv_heads, dim;
    enum heddle_dtype dtype;
    double scale;

    // Bound arguments: env, geometry and lists, as the kernel takes them; tensors still NULL.
    struct abi_launch launch;
    const struct abi_pair *input_ranges; // with on_device: what each input may hold, ever
    int basis;                           // which of the facts' bases
    int basis_axes;                      // how many basis axes are in use
    // Of the target: rows of an item, keys of a tile, and what a tile's fastest extent is a
    // multiple of.
    int64_t query_rows, key_rows, row_unit;
    bool half_tiles;              // its kernels come for half the keys too
    int64_t wide_rows;            // and for so many keys where the basis is one axis; or 0
    int64_t tall_rows;            // and for items of so many rows, with key_rows or half; or 0
    int64_t query_tile[ABI_AXES]; // box extents of an item
    struct piece_limits limits;   // of a list, here and on a GPU
    int64_t row_count;            // rows of launch.list_of's values (classes x batches)
    const struct plan_candidate *candidates; // in the order tried; query_tile is of one of them
    int candidate_count;
    int predicted, chosen; // the best by the model, and the one taken
    bool tuned;            // taken because it was measured to be best
    struct plan_counts counts;

    // compiler/pipeline.h; of the plan's target, and NULL with lists_only.
    const struct kernel *kernel;
    const struct ptx_kernel *ptx;
    int64_t turns; // of quantifiers that one pair may take, at least 1
    double plan_ms, compile_ms;
    // Of a planner on the GPU, once somebody measured; bytes: lists and workspace, there.
    double device_plan_ms;
    int64_t device_plan_bytes;
};

enum heddle_status plan_create(struct program *program, const struct heddle_problem *problem,
                               const struct plan_options *options, struct plan **out_plan,
                               struct error *error);
void plan_destroy(struct plan *plan);

// Makes the lists of a plan with options.on_device here too, for reports and comparison. Without
// that option they are there.
enum heddle_status plan_make_lists(struct plan *plan, struct error *error);

// Keys of a source of the pattern: groups, the last one as ragged as it may be.
int64_t plan_source_keys(const struct plan *plan, int source);

// Chooses the boxes again by what the pattern's arrays hold now, and makes the lists again: for
// reports on selections, whose plan was made before they were.
enum heddle_status plan_choose_again(struct plan *plan, struct error *error);

// The item side's box `box` of head `head` in batch `batch`, as the compiled functions take it.
struct abi_item plan_item(const struct plan *plan, int64_t batch, int64_t head, int64_t box);
// The same with the keys of another source than the first on the list side.
struct abi_item plan_source_item(const struct plan *plan, int source, int64_t batch, int64_t head,
                                 int64_t box);
// Runs of one item: [*out_begin, *out_end) of plan->launch.runs.
void plan_item_runs(const struct plan *plan, int64_t batch, int64_t head, int64_t box,
                    int64_t *out_begin, int64_t *out_end);

// Does query `query_row` (0 .. queries) keep key `key_token`, at whatever resolution? By the
// reference meaning, one pair; false too when there is no memory for a pattern of many inputs.
bool plan_keeps(const struct plan *plan, int64_t batch, int64_t head, int64_t query_row,
                int64_t key_token);

// Kept pairs of all batches and heads, a group of keys that is read as one counted once: those of
// full tiles, which are known, and those of partial tiles: exact while these hold at most
// `budget_pairs` pairs to test (fewer where a pair takes many turns of quantifiers), else estimated
// from a scattered sample of items (*out_exact says which).
int64_t plan_kept_pairs(const struct plan *plan, int64_t budget_pairs, bool *out_exact);

// Stage dump `plan`: geometry, counts, and the runs of the first lists.
void plan_print(const struct plan *plan, struct strbuf *out);

#endif
