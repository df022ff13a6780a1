// The constants, and how they add up.
//
// H100: fitted to the medians of bench/h100.csv, 2026-11-28. To fit them again after a change of
// the kernel: `bench/predictions.py --measure` on an H100 runs those problems and says how far each
// prediction is off. Adjust in this order, since each line takes those above it as known:
//
//   tflops, item   full at 8K and 16K: two lengths, two unknowns; then the other head dims
//   sustained      full at 16K and 32K, then what of the lines below runs for long
//   tall, wide     head dim 64, dense and causal, and its window
//   intervals      windows and neighborhood2d: the more of their tiles are partial, the better
//   tile_ends      radial
//   operation      no row any more: radial, on the day that its band was tested pair by pair, seven
//                  operations a pair
//   scoring        alibi
//   narrow         strided, whose tiles are of half the keys
//
// With the two lengths in cost_sustained that is sixteen numbers for nineteen rows: full at 8K,
// alibi and the head dims are met because they set a number each. The others show what the model
// leaves over, up to 9 % (causal and radial at their warmest), and so do problems that were
// measured the same day and set nothing (docs/performance.md). Below 0.1 ms predictions are
// extrapolated.
//
// launch_ms is assumed, not measured: an empty launch between two events.
//
// CPU, to measure again: `heddle bench full`, `causal` and `window` with --threads 1.
#include "runtime/cost.h"

struct constants {
    struct cost_device device;
    double item;      // in full tiles of key_rows keys
    double intervals; // what a mask by intervals adds to a tile, in full ones
    double tile_ends; // and what more, where the intervals change from tile to tile
    double operation; // what an operation a pair of the predicate's adds, in full ones
    double scoring;   // and one of the score's
    double wide;      // a wide tile (plan.h) over its share by keys
    double tall;      // a tile of a tall item (plan.h) over one of the usual rows
    double narrow;    // share of a tile's time that does not shrink with its keys
    double sustained; // a long launch over a short one
};

// 2026-11-23, AMD EPYC with AVX-512. A mask adds the same whatever it computes, as far as measured.
static const struct constants cpu = {
    .item = 1.5, .intervals = 0.35, .tall = 1.0, .wide = 1.0, .narrow = 0.15, .sustained = 1.0};

// 2026-11-28, H100 80GB HBM3 (SXM, 700 W), bf16, head dim 128 and 24 heads where nothing is said.
static const struct constants h100 = {
    .device = {"H100", 132, 0.004},
    .item = 1.3,
    .intervals = 0.17,
    .tile_ends = 0.2,
    .operation = 0.135,
    .scoring = 0.1,
    .wide = 0.985,
    .tall = 1.28,
    .narrow = 0.3,
    .sustained = 1.12,
};
// TFLOP/s of all workers on full tiles of key_rows keys and query_rows queries, by head dim. At 96,
// tiles travel in columns for 128.
static const struct rate {
    double dim, tflops;
} h100_rates[] = {{32, 276}, {64, 508}, {96, 596}, {128, 768}, {256, 850}};
enum { RATES = sizeof h100_rates / sizeof *h100_rates, MASK_DIM = 128 };

// GFLOP/s of one thread on full tiles, by what the processor offers and by dtype (fp32, fp16,
// bf16). Measured on an AMD EPYC with AVX-512 (and held to AVX2) at dim 64, 2026-11-23; SSE is a
// guess of half the AVX2 rate. AMX, two to five times faster for bf16, has no row yet.
static const double wide[] = {205, 214, 373}, wide_without_bf16[] = {205, 214, 214},
                    middle[] = {96, 96, 96}, narrow[] = {48, 48, 48};

static double thread_gflops(enum heddle_dtype dtype) {
    if (__builtin_cpu_supports("avx512f"))
        return (__builtin_cpu_supports("avx512bf16") ? wide : wide_without_bf16)[dtype];
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return middle[dtype];
    return narrow[dtype];
}

static bool on_gpu(const struct plan *plan) {
    return plan->options.target == HEDDLE_TARGET_CUDA;
}

static const struct constants *constants_of(enum heddle_target target) {
    return target == HEDDLE_TARGET_CUDA ? &h100 : &cpu;
}

struct cost_device cost_device_of(enum heddle_target target) {
    return constants_of(target)->device;
}

// ---- rates --------------------------------------------------------------------------------------

static double rate_ms(const struct rate *rate) { // of a pair of all heads' products
    return 4.0 * rate->dim / (rate->tflops * 1e9) * h100.device.workers;
}

// Time of a pair on one multiprocessor: a straight line between the head dims measured, and on
// from the last two beyond. The kernel works in steps of 16.
static double h100_pair_ms(int64_t dim) {
    double padded = (double)((dim + 15) / 16 * 16);
    int i = 1;
    while (i < RATES - 1 && padded > h100_rates[i].dim)
        i++;
    const struct rate *below = &h100_rates[i - 1], *above = &h100_rates[i];
    double share = (padded - below->dim) / (above->dim - below->dim);
    return rate_ms(below) + share * (rate_ms(above) - rate_ms(below));
}

static double cpu_pair_ms(const struct plan *plan) {
    return 4.0 * (double)plan->dim / (thread_gflops(plan->dtype) * 1e6);
}

// ---- costs --------------------------------------------------------------------------------------

// What a tile costs against one of key_rows keys: half of them cost a little more than half.
static double size_share(const struct plan *plan, const struct constants *c, double keys) {
    double share = keys / (double)plan->key_rows;
    return share > 1.0 ? share * c->wide : share + c->narrow * (1.0 - share);
}

// What a mask adds to a tile of key_rows keys, in full ones. Its instructions do not depend on the
// head dim; the H100's were measured at one.
static double mask_cost(const struct plan *plan, const struct constants *c,
                        const struct mask_ops *ops) {
    if (!on_gpu(plan))
        return c->intervals;
    double pinned = mask_ops_per_pair(ops->pinned, plan), per_pair = 0.0;
    double by_interval = ops->intervals ? c->intervals : 0.0;
    per_pair += mask_ops_per_pair(ops->keep, plan);
    if (mask_ops_one_row(plan))
        by_interval += pinned > 0.0 ? c->tile_ends : 0.0;
    else
        per_pair += pinned;
    double added = by_interval + c->operation * per_pair;
    return added * h100_pair_ms(MASK_DIM) / h100_pair_ms(plan->dim);
}

// The same of a score, which every tile takes: the kernel scales the logit before and after.
static double score_cost(const struct plan *plan, const struct constants *c,
                         const struct mask_ops *ops) {
    enum { SCALINGS = 2 };
    if (!on_gpu(plan) || !ops->scored)
        return 0.0;
    double by_pair = c->scoring * (SCALINGS + mask_ops_per_pair(ops->score, plan));
    return by_pair * h100_pair_ms(MASK_DIM) / h100_pair_ms(plan->dim);
}

static double volume(const int64_t *box) {
    return (double)(box[0] * box[1] * box[2]);
}

// A full tile of key_rows keys.
static double tile_cost(const struct plan *plan, const struct constants *c, bool tall) {
    double pair = on_gpu(plan) ? h100_pair_ms(plan->dim) : cpu_pair_ms(plan);
    double tile = pair * (double)(plan->query_rows * plan->key_rows);
    return tall ? tile * c->tall : tile;
}

static struct cost_dense dense_cost(const struct plan *plan, const struct constants *c, bool tall) {
    double tile = tile_cost(plan, c, tall);
    double keys = (double)(!tall && plan->wide_rows ? plan->wide_rows : plan->key_rows);
    return (struct cost_dense){.tile = tile * size_share(plan, c, keys),
                               .keys = keys,
                               .rows = (double)(tall ? plan->tall_rows : plan->query_rows),
                               .item = tile * c->item};
}

struct cost cost_of(const struct plan *plan, const struct mask_ops *ops) {
    const struct constants *c = constants_of(plan->options.target);
    double tile = tile_cost(plan, c, volume(plan->query_tile) > (double)plan->query_rows);
    double size = tile * size_share(plan, c, volume(plan->launch.tile));
    double scored = 1.0 + score_cost(plan, c, ops);
    return (struct cost){.full = size * scored,
                         .partial = size * (scored + mask_cost(plan, c, ops)),
                         .item = tile * c->item,
                         .dense = {dense_cost(plan, c, false), dense_cost(plan, c, true)},
                         .dense_count = plan->tall_rows ? 2 : 1};
}

// Not at all up to causal at 16K, fully from full at 16K on: between them lies no measurement.
double cost_sustained(const struct plan *plan, double ms) {
    const double short_ms = 2.5, long_ms = 5;
    double share = (ms - short_ms) / (long_ms - short_ms);
    share = share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share;
    return ms * (1.0 + (constants_of(plan->options.target)->sustained - 1.0) * share);
}
