#include "cli/predict.h"

#include "cli/device.h"
#include "compiler/cpu/cpu_kernel.h"

// GFLOP/s of one thread on full tiles, by what the processor offers and by dtype (fp32, fp16,
// bf16). Measured on a Zen 4 EPYC at dim 64 and 128; halved where the vectors are half as wide,
// quartered for SSE.
static const double wide[] = {130, 165, 280}, wide_without_bf16[] = {130, 165, 165},
                    middle[] = {65, 80, 80}, narrow[] = {30, 15, 15};

static double thread_gflops(enum heddle_dtype dtype) {
    if (__builtin_cpu_supports("avx512f"))
        return (__builtin_cpu_supports("avx512bf16") ? wide : wide_without_bf16)[dtype];
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return middle[dtype];
    return narrow[dtype];
}

struct prediction predict(const struct plan *plan) {
    // In full tiles: a partial one also has its mask to compute, an item its rows to pack and
    // store.
    const double partial_cost = 1.35, item_cost = 1.5;
    const struct plan_counts *counts = &plan->counts;
    struct cpu_device device;
    cpu_device_query(&device);
    double tile_flop = 4.0 * CPU_QUERY_ROWS * CPU_KEY_ROWS * (double)plan->dim;
    double tile_ms = tile_flop / (thread_gflops(plan->dtype) * 1e6 * device.threads);
    double items = (double)counts->items;
    double tiles = (double)counts->full_tiles + partial_cost * (double)counts->partial_tiles;
    double dense_rows = (double)plan->batch * (double)plan->heads * (double)plan->queries;
    double dense = dense_rows / CPU_QUERY_ROWS * ((double)plan->keys / CPU_KEY_ROWS + item_cost);
    return (struct prediction){(tiles + item_cost * items) * tile_ms, dense * tile_ms};
}
