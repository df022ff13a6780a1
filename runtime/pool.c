#include "runtime/pool.h"

#include "compiler/pool/pool_rows.h"
#include "runtime/reference.h"
#include "runtime/threads.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)POOL_LEVELS >= (int)MAX_FACTORS, "a pool's factors are pooled in one pass");

enum { ALIGNMENT = 64 };

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

int64_t pool_bytes(const struct plan *plan) {
    const struct pattern *pattern = plan->program->pattern;
    int64_t bytes = 0;
    for (int p = 0; p < pattern->pool_count; p++)
        for (int f = 0; f < pattern->pools[p].factor_count; f++)
            if (is_read(pattern, p, pattern->pools[p].factors[f]))
                bytes += 2 * copy_bytes(plan, pattern->pools[p].factors[f]);
    return bytes;
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

// K's and V's pyramids of one pool, without memory yet.
static void set_jobs(const struct plan *plan, const struct abi_launch *launch, int pool,
                     struct pool_job *jobs) {
    const struct pattern *pattern = plan->program->pattern;
    for (int i = 0; i < 2; i++) {
        jobs[i] = (struct pool_job){.from = i ? launch->v : launch->k,
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

static enum heddle_status pool_all(const struct plan *plan, const struct abi_launch *launch,
                                   int threads, struct pooled *pooled, struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    enum heddle_status status = HEDDLE_OK;
    char *at = pooled->memory;
    for (int p = 0; p < pattern->pool_count && status == HEDDLE_OK; p++) {
        struct pool_job jobs[2];
        set_jobs(plan, launch, p, jobs);
        at = place_copies(plan, p, jobs, pooled->sources, at);
        for (int i = 0; i < 2 && jobs[i].level_count && status == HEDDLE_OK; i++)
            status = threads_each(threads, pool_units(&jobs[i], plan->batch), 1, 0, pool_units_of,
                                  &jobs[i], error);
    }
    return status;
}

// ---- a launch
// -------------------------------------------------------------------------------------

enum heddle_status pool_begin(const struct plan *plan, struct abi_launch *launch, int threads,
                              struct pooled *out, struct error *error) {
    int count = plan->program->pattern->source_count;
    *out = (struct pooled){0};
    if (!count)
        return HEDDLE_OK;
    out->sources = malloc((size_t)count * sizeof *out->sources);
    out->memory = aligned_alloc(ALIGNMENT, (size_t)pool_bytes(plan) + ALIGNMENT);
    if (!out->sources || !out->memory) {
        pool_finish(out);
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for pooled copies of K and V");
    }
    memcpy(out->sources, launch->sources, (size_t)count * sizeof *out->sources);
    for (int s = 0; s < count; s++) {
        out->sources[s].k = launch->k;
        out->sources[s].v = launch->v;
    }
    launch->sources = out->sources;
    enum heddle_status status = pool_all(plan, launch, threads, out, error);
    if (status != HEDDLE_OK)
        pool_finish(out);
    return status;
}

void pool_finish(struct pooled *pooled) {
    free(pooled->sources);
    free(pooled->memory);
    *pooled = (struct pooled){0};
}
