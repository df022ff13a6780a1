// Stage `launch`. See launch.h.

#include "runtime/launch.h"

#include "compiler/pipeline.h"
#include "runtime/pool.h"
#include "runtime/run_tensors.h"
#include "runtime/selection.h"

#include <inttypes.h>
#include <stdlib.h>

static enum heddle_status place_tensors(const struct plan *plan,
                                        const struct heddle_tensors *tensors,
                                        struct abi_launch *launch, struct error *error) {
    struct run_view views[RUN_TENSORS];
    enum heddle_status status = run_tensors_check(plan, tensors, views, error);
    if (status != HEDDLE_OK)
        return status;
    launch->q = views[RUN_Q].tensor;
    launch->k = views[RUN_K].tensor;
    launch->v = views[RUN_V].tensor;
    launch->o = views[RUN_O].tensor;
    launch->lse = tensors->lse;
    launch->lse_batch_stride = plan->heads * plan->queries;
    launch->lse_head_stride = plan->queries;
    launch->lse_token_stride = 1;
    return HEDDLE_OK;
}

struct attention {
    const struct abi_launch *launch;
    abi_attention_fn *run;
};

static void run_items(void *context, int64_t begin, int64_t end, void *scratch) {
    const struct attention *attention = context;
    attention->run(attention->launch, begin, end, scratch);
}

// The plan's kernel reads contiguous head dims; another is compiled for tensors that are not.
static enum heddle_status choose_kernel(struct plan *plan, const struct abi_launch *launch,
                                        const struct kernel **out_kernel, struct error *error) {
    bool contiguous = launch->q.dim_stride == 1 && launch->k.dim_stride == 1 &&
                      launch->v.dim_stride == 1 && launch->o.dim_stride == 1;
    *out_kernel = plan->kernel;
    if (contiguous && plan->kernel)
        return HEDDLE_OK;
    const struct kernel_spec spec = {plan->dtype, (int)plan->dim, contiguous};
    return program_kernel(plan->program, &spec, out_kernel, error);
}

// ---- scratch ------------------------------------------------------------------------------------

// Of one thread, in whole pages.
static int64_t place_bytes(const struct kernel *kernel) {
    return (kernel->scratch_bytes + 4095) / 4096 * 4096;
}

static int64_t item_count(const struct plan *plan) {
    return plan->batch * plan->heads * plan->launch.box_count;
}

// Threads that have something to do, at least 1. Waking one takes as long as a thread needs for
// about LONE_WORK products (measured: 16 us).
static int busy_threads(const struct plan *plan, int threads) {
    enum { LONE_WORK = 1 << 20 };
    int64_t items = item_count(plan);
    if (plan->counts.computed_pairs < LONE_WORK / plan->dim)
        return 1;
    return items > threads ? threads : items > 1 ? (int)items : 1;
}

int64_t run_scratch_bytes(const struct plan *plan, int threads) {
    return plan->kernel ? pool_bytes(plan) + busy_threads(plan, threads) * place_bytes(plan->kernel)
                        : 0;
}

enum heddle_status run_scratch_reserve(struct run_scratch *scratch, int64_t bytes,
                                       struct error *error) {
    if (scratch->bytes >= bytes)
        return HEDDLE_OK;
    run_scratch_finish(scratch);
    scratch->data = aligned_alloc(4096, (size_t)(bytes + 4095) / 4096 * 4096);
    if (!scratch->data)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the threads' scratch");
    scratch->bytes = bytes;
    scratch->grows = true;
    return HEDDLE_OK;
}

void run_scratch_finish(struct run_scratch *scratch) {
    free(scratch->data);
    *scratch = (struct run_scratch){.grows = true};
}

// Room for the threads, or threads for the room. Pooled copies come first.
static enum heddle_status share_out(const struct plan *plan, struct run_scratch *scratch,
                                    const struct kernel *kernel, struct thread_loop *loop,
                                    struct error *error) {
    int64_t bytes = place_bytes(kernel), first = pool_bytes(plan);
    enum heddle_status status = HEDDLE_OK;
    if (scratch->grows)
        status = run_scratch_reserve(scratch, first + loop->threads * bytes, error);
    else if (scratch->bytes < first + bytes)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "the workspace has %" PRId64 " bytes; these tensors need %" PRId64
                         " with one thread",
                         scratch->bytes, first + bytes);
    if (status != HEDDLE_OK)
        return status;
    if (loop->threads > (scratch->bytes - first) / bytes)
        loop->threads = (int)((scratch->bytes - first) / bytes);
    loop->scratch = (unsigned char *)scratch->data + first;
    loop->scratch_bytes = bytes;
    return status;
}

// ---- running ------------------------------------------------------------------------------------

static enum heddle_status attend(struct plan *plan, const struct heddle_tensors *tensors,
                                 struct thread_pool *pool, struct run_scratch *scratch,
                                 struct error *error) {
    struct abi_launch launch = plan->launch;
    const struct kernel *kernel = NULL;
    enum heddle_status status = place_tensors(plan, tensors, &launch, error);
    if (status == HEDDLE_OK)
        status = choose_kernel(plan, &launch, &kernel, error);
    if (status != HEDDLE_OK)
        return status;
    struct attention attention = {&launch, kernel->run};
    struct thread_loop loop = {.count = item_count(plan),
                               .chunk = 1,
                               .body = run_items,
                               .context = &attention,
                               .threads = busy_threads(plan, thread_pool_threads(pool))};
    status = share_out(plan, scratch, kernel, &loop, error);
    if (status != HEDDLE_OK)
        return status;
    pool_run(plan, &launch, pool, scratch->data);
    thread_pool_each(pool, &loop);
    return status;
}

enum heddle_status plan_run(struct plan *plan, const struct heddle_tensors *tensors,
                            struct thread_pool *pool, struct run_scratch *scratch,
                            struct error *error) {
    if (plan->options.key_major)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "a key-major plan has no kernel to run");
    enum heddle_status status = selection_run(plan, tensors, pool, error);
    return status == HEDDLE_OK ? attend(plan, tensors, pool, scratch, error) : status;
}

enum heddle_status plan_run_once(struct plan *plan, const struct heddle_tensors *tensors,
                                 int threads, struct error *error) {
    struct thread_pool *pool;
    struct run_scratch scratch = {.grows = true};
    enum heddle_status status = thread_pool_create(threads, &pool, error);
    if (status == HEDDLE_OK)
        status = plan_run(plan, tensors, pool, &scratch, error);
    run_scratch_finish(&scratch);
    thread_pool_destroy(pool);
    return status;
}
