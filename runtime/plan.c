// Stage `plan`. See plan.h; the parts are bind.c, ranges.c, schedule.c and lists.c, in this order.

#include "runtime/plan.h"

#include "compiler/base/log.h"
#include "compiler/cpu/cpu_kernel.h"
#include "compiler/pipeline.h"
#include "runtime/bind.h"
#include "runtime/bundle_boxes.h"
#include "runtime/cuda/cuda_spec.h"
#include "runtime/lists.h"
#include "runtime/ranges.h"
#include "runtime/schedule.h"
#include "runtime/sources.h"
#include "runtime/tuned.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static enum heddle_status bind(struct plan *plan, const struct heddle_problem *problem,
                               struct error *error) {
    enum heddle_status status = bind_shapes(plan, problem, error);
    if (status == HEDDLE_OK)
        status = bind_params(plan, problem, error);
    if (status == HEDDLE_OK)
        status = bind_requires(plan, problem, error);
    if (status == HEDDLE_OK)
        status = bind_arrays(plan, problem, error);
    if (status == HEDDLE_OK)
        status = ranges_check(plan, error);
    if (status == HEDDLE_OK)
        status = sources_bind(plan, error);
    return status;
}

static enum heddle_status choose(struct plan *plan, struct error *error) {
    const struct plan_options *options = &plan->options;
    struct plan_boxes remembered;
    if (bundle_boxes_decide(plan))
        return bundle_boxes_choose(plan, error);
    bool known = options->tuned_on && !options->key_major && !schedule_is_forced(options) &&
                 tuned_find(plan, &remembered);
    return schedule_choose(plan, known ? &remembered : NULL, error);
}

static enum heddle_status make_lists(struct plan *plan, struct error *error) {
    enum side side = plan->options.key_major ? SIDE_KEY : SIDE_QUERY;
    enum heddle_status status = program_planner(plan->program, side, &plan->planner, error);
    if (status == HEDDLE_OK)
        status = lists_classes(plan, error);
    if (status == HEDDLE_OK)
        status = choose(plan, error);
    if (status == HEDDLE_OK)
        status = lists_boxes(plan, error);
    if (status == HEDDLE_OK && plan->options.on_device)
        return schedule_limits(plan, error);
    return status == HEDDLE_OK ? lists_fill(plan, error) : status;
}

static int64_t gpu_wide_key_rows(struct plan *plan) {
    return sm90_wide_key_rows(plan->program->pattern, (int)plan->dim, &plan->arena);
}

static int64_t gpu_tall_rows(struct plan *plan) {
    return sm90_tall_rows(plan->program->pattern, (int)plan->dim, &plan->arena);
}

static int64_t gpu_key_rows(struct plan *plan) {
    return sm90_key_rows(plan->program->pattern, (int)plan->dim, &plan->arena);
}

// What the target's kernel can take.
static void set_limits(struct plan *plan) {
    bool gpu = plan->options.target == HEDDLE_TARGET_CUDA;
    plan->row_unit = gpu ? 8 : 4;
    plan->half_tiles = gpu && plan->dim <= 128;
    plan->query_rows = gpu ? SM90_QUERY_ROWS : CPU_QUERY_ROWS;
    plan->key_rows = gpu ? gpu_key_rows(plan) : CPU_KEY_ROWS;
    plan->wide_rows = gpu ? gpu_wide_key_rows(plan) : 0;
    plan->tall_rows = gpu ? gpu_tall_rows(plan) : 0;
}

static enum heddle_status get_ptx(struct plan *plan, struct error *error) {
    struct sm90_spec spec;
    double begin = now_ms();
    if (pattern_selects(plan->program->pattern))
        return error_set(error, HEDDLE_LIMIT,
                         "pattern '%s' selects from q and k: this version does so on the CPU only "
                         "(HEDDLE_TARGET_CPU, --target cpu)",
                         plan->program->pattern->name);
    cuda_spec(plan, &spec);
    enum heddle_status status = program_ptx(plan->program, &spec, &plan->ptx, error);
    plan->compile_ms = now_ms() - begin;
    return status;
}

static enum heddle_status get_kernel(struct plan *plan, struct error *error) {
    if (plan->options.target == HEDDLE_TARGET_CUDA)
        return get_ptx(plan, error);
    const struct kernel_spec spec = {plan->dtype, (int)plan->dim, true};
    const struct kernel *kernel;
    double begin = now_ms();
    enum heddle_status status = program_kernel(plan->program, &spec, &kernel, error);
    plan->compile_ms = now_ms() - begin;
    if (status == HEDDLE_OK)
        plan->kernel = kernel;
    return status;
}

// What is not made of patterns with sources.
static enum heddle_status refuse_sources(const struct plan *plan, struct error *error) {
    const struct plan_options *options = &plan->options;
    const struct pattern *pattern = plan->program->pattern;
    if (!pattern_is_pooled(pattern))
        return HEDDLE_OK;
    if (options->on_device)
        return error_set(error, HEDDLE_LIMIT,
                         "pattern '%s' reads keys at several resolutions, so its lists are made on "
                         "the host: take HEDDLE_PLANNER_HOST",
                         pattern->name);
    if (options->target == HEDDLE_TARGET_CUDA && pattern_is_gated(pattern) && !options->lists_only)
        return error_set(error, HEDDLE_LIMIT,
                         "pattern '%s' merges branches by gates, which is computed on CPUs only",
                         pattern->name);
    if (options->key_major)
        return error_set(error, HEDDLE_LIMIT,
                         "pattern '%s' reads keys at several resolutions, which is not planned "
                         "from the keys' side",
                         pattern->name);
    return HEDDLE_OK;
}

static enum heddle_status fill(struct plan *plan, const struct heddle_problem *problem,
                               struct error *error) {
    jmp_buf escape;
    if (setjmp(escape)) {
        plan->arena.escape = NULL;
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the plan");
    }
    plan->arena.escape = &escape;
    double begin = now_ms();
    struct stage stage = stage_begin("bind");
    enum heddle_status status = refuse_sources(plan, error);
    if (status == HEDDLE_OK)
        status = bind(plan, problem, error);
    stage_end(&stage);
    set_limits(plan);
    stage = stage_begin("choose boxes, make lists");
    if (status == HEDDLE_OK)
        status = make_lists(plan, error);
    stage_end(&stage);
    plan->plan_ms = now_ms() - begin;
    if (status == HEDDLE_OK && !plan->options.lists_only && !plan->options.key_major)
        status = get_kernel(plan, error);
    plan->arena.escape = NULL;
    return status;
}

enum heddle_status plan_create(struct program *program, const struct heddle_problem *problem,
                               const struct plan_options *options, struct plan **out_plan,
                               struct error *error) {
    struct plan *plan = calloc(1, sizeof *plan);
    *out_plan = NULL;
    if (!plan)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the plan");
    arena_init(&plan->arena, (size_t)1 << 40);
    plan->program = program;
    plan->turns = 1;
    plan->options.basis = -1;
    if (options)
        plan->options = *options;
    plan->limits = PIECE_LIMITS_LARGE;
    if (plan->options.run_room > 0 && plan->options.run_room < plan->limits.runs)
        plan->limits.runs = (int32_t)plan->options.run_room;
    enum heddle_status status = fill(plan, problem, error);
    if (status != HEDDLE_OK) {
        plan_destroy(plan);
        return status;
    }
    plan->launch.scale = plan->scale;
    *out_plan = plan;
    return HEDDLE_OK;
}

enum heddle_status plan_make_lists(struct plan *plan, struct error *error) {
    return plan->launch.run_begin ? HEDDLE_OK : lists_fill(plan, error);
}

enum heddle_status plan_choose_again(struct plan *plan, struct error *error) {
    jmp_buf escape;
    if (setjmp(escape)) {
        plan->arena.escape = NULL;
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the plan");
    }
    plan->arena.escape = &escape;
    lists_drop(plan);
    enum heddle_status status = choose(plan, error);
    if (status == HEDDLE_OK)
        status = lists_boxes(plan, error);
    if (status == HEDDLE_OK)
        status = lists_fill(plan, error);
    plan->arena.escape = NULL;
    return status;
}

void plan_destroy(struct plan *plan) {
    if (!plan)
        return;
    lists_drop(plan);
    arena_finish(&plan->arena);
    free(plan);
}

// ---- kept pairs -------------------------------------------------------------------------------

static int64_t box_rows(const struct abi_item *item) {
    int64_t rows = 1;
    for (int a = 0; a < ABI_AXES; a++)
        rows *= item->box.end[a] - item->box.begin[a];
    return rows;
}

// The keys of one tile that exist and are the tile's own; false when there are none.
static bool tile_box(const struct plan *plan, const struct abi_item *item,
                     const struct abi_run *run, const int64_t *at, struct abi_box *out) {
    const struct abi_box *own = &plan->launch.owns[run->own];
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t begin = run->origin[a] + at[a] * run->step[a];
        int64_t end = begin + plan->launch.tile[a];
        out->begin[a] = begin > own->begin[a] ? begin : own->begin[a];
        out->end[a] = end < own->end[a] ? end : own->end[a];
        if (out->begin[a] < item->list_begin[a])
            out->begin[a] = item->list_begin[a];
        if (out->end[a] > item->list_end[a])
            out->end[a] = item->list_end[a];
        if (out->begin[a] >= out->end[a])
            return false;
    }
    return true;
}

static int64_t run_kept(const struct plan *plan, const struct abi_item *item,
                        const struct abi_run *run) {
    const struct planner_source *code = &plan->planner->sources[abi_run_source(run)];
    int64_t at[ABI_AXES], kept = 0;
    struct abi_box box;
    for (at[0] = 0; at[0] < run->count[0]; at[0]++)
        for (at[1] = 0; at[1] < run->count[1]; at[1]++)
            for (at[2] = 0; at[2] < run->count[2]; at[2]++)
                if (tile_box(plan, item, run, at, &box))
                    kept += code->count[plan->basis](&plan->launch.env, item, &box);
    return kept;
}

// Pairs of an item's partial tiles: *out_tested of them, and how many are kept.
static int64_t item_partial_kept(const struct plan *plan, const struct abi_item *item,
                                 int64_t begin, int64_t end, int64_t *out_tested) {
    int64_t keys = plan->launch.tile[0] * plan->launch.tile[1] * plan->launch.tile[2], kept = 0;
    *out_tested = 0;
    for (int64_t i = begin; i < end; i++) {
        const struct abi_run *run = &plan->launch.runs[i];
        if (!(run->kind & ABI_RUN_PARTIAL))
            continue;
        struct abi_item here = *item;
        if (pattern_is_pooled(plan->program->pattern))
            here.list_end[ABI_AXES - 1] = plan_source_keys(plan, abi_run_source(run));
        kept += run_kept(plan, &here, run);
        *out_tested +=
            (int64_t)run->count[0] * run->count[1] * run->count[2] * keys * box_rows(item);
    }
    return kept;
}

// Scatters numbers, so that a sample does not beat in time with the pattern.
static int64_t scattered(int64_t number, int64_t room) {
    uint64_t z = ((uint64_t)number + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return (int64_t)((z ^ (z >> 27)) % (uint64_t)room);
}

// Of every `every` boxes of a row of lists one is tested, anywhere among them.
static void test_row(const struct plan *plan, int64_t row, int64_t every, double *kept,
                     double *tested) {
    int64_t boxes = plan->launch.box_count, members = lists_members(plan, row), batch, head;
    lists_member(plan, row, &batch, &head);
    for (int64_t first = 0; first < boxes; first += every) {
        int64_t room = boxes - first < every ? boxes - first : every;
        int64_t b = first + scattered(row * boxes + first, room), here;
        struct abi_item item = plan_item(plan, batch, head, b);
        int64_t begin = plan->launch.run_begin[row * boxes + b];
        int64_t end = plan->launch.run_begin[row * boxes + b + 1];
        *kept += (double)(item_partial_kept(plan, &item, begin, end, &here) * members);
        *tested += (double)(here * members);
    }
}

int64_t plan_kept_pairs(const struct plan *plan, int64_t budget_pairs, bool *out_exact) {
    assert(!plan->options.key_major && "pairs are counted by query-major code");
    int64_t lists = plan->launch.box_count * plan->row_count;
    int64_t partial_pairs = plan->counts.computed_pairs - plan->counts.full_pairs;
    double tests = 0.0; // of one member of each class
    if (plan->counts.items)
        tests = (double)partial_pairs * (double)lists / (double)plan->counts.items;
    double budget = (double)budget_pairs / (double)plan->turns;
    int64_t every = 1 + (int64_t)(tests / (budget > 1.0 ? budget : 1.0));
    double kept = 0.0, tested = 0.0;
    *out_exact = every == 1;
    for (int64_t row = 0; row < plan->row_count; row++)
        test_row(plan, row, every, &kept, &tested);
    if (!*out_exact && tested > 0.0)
        kept *= (double)partial_pairs / tested;
    return plan->counts.full_pairs + (int64_t)kept;
}

// ---- dump -------------------------------------------------------------------------------------

static void print_run(const struct plan *plan, const struct abi_run *run, struct strbuf *out) {
    strbuf_puts(out, run->kind & ABI_RUN_PARTIAL ? "    partial" : "    full   ");
    if (pattern_is_pooled(plan->program->pattern))
        strbuf_printf(out, "  by %-4" PRId64,
                      pattern_source(plan->program->pattern, abi_run_source(run)).factor);
    for (int a = ABI_AXES - plan->basis_axes; a < ABI_AXES; a++)
        strbuf_printf(out, "  %d + %d x %d", run->origin[a], run->count[a], run->step[a]);
    if (run->own) {
        const struct abi_box *own = &plan->launch.owns[run->own];
        strbuf_puts(out, "  own");
        for (int a = ABI_AXES - plan->basis_axes; a < ABI_AXES; a++)
            strbuf_printf(out, " %" PRId64 " .. %" PRId64, own->begin[a], own->end[a]);
    }
    strbuf_puts(out, "\n");
}

void plan_print(const struct plan *plan, struct strbuf *out) {
    enum { SHOWN_LISTS = 64 };
    const struct plan_counts *counts = &plan->counts;
    schedule_print(plan, out);
    strbuf_printf(out,
                  "%" PRId64 " lists, %" PRId64 " runs, %" PRId64 " full and %" PRId64
                  " partial tiles\n",
                  counts->lists, counts->runs, counts->full_tiles, counts->partial_tiles);
    int64_t lists = plan->row_count * plan->launch.box_count;
    for (int64_t list = 0; list < lists && list < SHOWN_LISTS; list++) {
        const struct abi_query_box *box = &plan->launch.boxes[list % plan->launch.box_count];
        strbuf_printf(out, "list %" PRId64 ", box", list);
        for (int a = ABI_AXES - plan->basis_axes; a < ABI_AXES; a++) {
            strbuf_printf(out, " %d .. %d", box->begin[a], box->end[a]);
            if (plan->launch.dilation[a] > 1)
                strbuf_printf(out, " (residue %d)", box->residue[a]);
        }
        strbuf_puts(out, "\n");
        for (int64_t i = plan->launch.run_begin[list]; i < plan->launch.run_begin[list + 1]; i++)
            print_run(plan, &plan->launch.runs[i], out);
    }
    if (lists > SHOWN_LISTS)
        strbuf_printf(out, "... %" PRId64 " more lists\n", lists - SHOWN_LISTS);
}
