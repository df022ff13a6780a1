#include "runtime/pool.h"

#include "compiler/pool/pool_rows.h"
#include "runtime/reference.h"
#include "runtime/threads.h"

#include <string.h>

_Static_assert((int)POOL_LEVELS >= (int)MAX_FACTORS, "a pool's factors are pooled in one pass");

enum { ALIGNMENT = 128 };

static int64_t copy_bytes(const struct plan *plan, int64_t factor) {
    int64_t rows = plan->batch * plan->kv_heads * ((plan->keys + factor - 1) / factor);
    int64_t bytes = rows * plan->dim * dtype_bytes(plan->dtype);
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// Does a source read this factor of this pool?
static bool is_read(const struct pattern *pattern, int pool, int64_t factor) {
    for (int s = 0; s < pattern->source_count; s++)
        if (pattern->sources[s].pool == pool && pattern->sources[s].factor == factor)
            return true;
    return false;
}

// ---- jobs
// -----------------------------------------------------------------------------------------

// Many keys, so that what is worked out for a unit costs little, but no more than a cache holds:
// its columns are read one after the other.
static int64_t unit_keys(const struct pool_job *job) {
    int64_t coarsest = job->level_count ? job->factor[job->level_count - 1] : 1;
    int64_t groups = (INT64_C(1) << 13) / (coarsest * job->dim);
    return coarsest * (groups > 1 ? groups : 1);
}

void pool_jobs(const struct plan *plan, const struct abi_tensor *k, const struct abi_tensor *v,
               int pool, struct pool_job jobs[2]) {
    const struct pattern *pattern = plan->program->pattern;
    for (int i = 0; i < 2; i++) {
        jobs[i] = (struct pool_job){.from = i ? *v : *k,
                                    .row_elems = plan->dim,
                                    .batch = plan->batch,
                                    .kv_heads = plan->kv_heads,
                                    .keys = plan->keys,
                                    .dim = plan->dim,
                                    .dtype = plan->dtype};
        for (int f = 0; f < pattern->pools[pool].factor_count; f++) {
            int64_t factor = pattern->pools[pool].factors[f];
            if (is_read(pattern, pool, factor))
                jobs[i].factor[jobs[i].level_count++] = factor;
        }
        jobs[i].unit_keys = unit_keys(&jobs[i]);
    }
}

static struct abi_tensor copy_of(const struct plan *plan, void *data, int64_t groups) {
    return (struct abi_tensor){data, plan->kv_heads * groups * plan->dim, groups * plan->dim,
                               plan->dim, 1};
}

// Gives the jobs of a pool their part of the memory, and their copies to the sources.
static char *place_copies(const struct plan *plan, int pool, struct pool_job *jobs,
                          struct abi_source *sources, char *at) {
    const struct pattern *pattern = plan->program->pattern;
    for (int64_t level = 0; level < jobs[0].level_count; level++) {
        int64_t factor = jobs[0].factor[level], bytes = copy_bytes(plan, factor);
        jobs[0].to[level] = at;
        jobs[1].to[level] = at + bytes;
        at += 2 * bytes;
        for (int s = 0; s < pattern->source_count; s++) {
            if (pattern->sources[s].pool != pool || pattern->sources[s].factor != factor)
                continue;
            sources[s].k = copy_of(plan, jobs[0].to[level], sources[s].keys);
            sources[s].v = copy_of(plan, jobs[1].to[level], sources[s].keys);
        }
    }
    return at;
}

static void pool_units_of(void *context, int64_t begin, int64_t end, void *scratch) {
    const struct pool_job *job = context;
    (void)scratch;
    for (int64_t unit = begin; unit < end; unit++)
        for (int64_t d = 0; d < job->dim; d += POOL_COLUMNS)
            pool_columns(job, unit, d);
}

// ---- a launch -----------------------------------------------------------------------------------

static int64_t sources_bytes(const struct plan *plan) {
    int64_t bytes = (int64_t)sizeof(struct abi_source) * plan->program->pattern->source_count;
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

int64_t pool_bytes(const struct plan *plan) {
    const struct pattern *pattern = plan->program->pattern;
    int64_t bytes = sources_bytes(plan);
    for (int p = 0; p < pattern->pool_count; p++)
        for (int f = 0; f < pattern->pools[p].factor_count; f++)
            if (is_read(pattern, p, pattern->pools[p].factors[f]))
                bytes += 2 * copy_bytes(plan, pattern->pools[p].factors[f]);
    return bytes;
}

void pool_run(const struct plan *plan, struct abi_launch *launch, struct thread_pool *threads,
              void *memory) {
    const struct pattern *pattern = plan->program->pattern;
    struct abi_source *sources = memory;
    char *at = (char *)memory + sources_bytes(plan);
    if (!pattern->source_count)
        return;
    memcpy(sources, launch->sources, (size_t)pattern->source_count * sizeof *sources);
    for (int s = 0; s < pattern->source_count; s++) {
        sources[s].k = launch->k;
        sources[s].v = launch->v;
    }
    launch->sources = sources;
    for (int p = 0; p < pattern->pool_count; p++) {
        struct pool_job jobs[2];
        pool_jobs(plan, &launch->k, &launch->v, p, jobs);
        at = place_copies(plan, p, jobs, sources, at);
        for (int i = 0; i < 2 && jobs[i].level_count; i++) {
            const struct thread_loop loop = {.count = pool_units(&jobs[i], plan->batch),
                                             .chunk = 1,
                                             .body = pool_units_of,
                                             .context = &jobs[i],
                                             .threads = thread_pool_threads(threads)};
            thread_pool_each(threads, &loop);
        }
    }
}
