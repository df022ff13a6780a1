#include "cli/predict.h"

#include "runtime/schedule.h"

#include "compiler/cpu/cpu_kernel.h"
#include "runtime/cpu_device.h"

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

struct prediction predict(const struct plan *plan) {
    // In full tiles: a partial one also has its mask to compute, an item its rows to pack and
    // store.
    const struct plan_counts *counts = &plan->counts;
    struct cpu_device device;
    cpu_device_query(&device);
    double tile_flop = 4.0 * CPU_QUERY_ROWS * CPU_KEY_ROWS * (double)plan->dim;
    double tile_ms = tile_flop / (thread_gflops(plan->dtype) * 1e6 * device.threads);
    double items = (double)counts->items;
    double tiles =
        (double)counts->full_tiles + SCHEDULE_PARTIAL_COST * (double)counts->partial_tiles;
    double dense_rows = (double)plan->batch * (double)plan->heads * (double)plan->queries;
    double dense =
        dense_rows / CPU_QUERY_ROWS * ((double)plan->keys / CPU_KEY_ROWS + SCHEDULE_ITEM_COST);
    return (struct prediction){(tiles + SCHEDULE_ITEM_COST * items) * tile_ms, dense * tile_ms};
}
