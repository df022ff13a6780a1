// The GPU planner's own code on this machine: workers over lists of fixed room, in odd orders and
// numbers, against the lists that plans hold, bit for bit; and the work order against a sort.
// Random patterns, every basis, with room for all runs and with too little; and inputs that change
// after the room was chosen.
//
// HEDDLE_TEST_SEED and HEDDLE_TEST_CASES change the run; the seed is printed.

#include "compiler/analyse/facts.h"
#include "compiler/planner/array_change.h"
#include "compiler/planner/list_job.h"
#include "compiler/program.h"
#include "runtime/cuda/cuda_lists.h"
#include "runtime/lists.h"
#include "tests/support/plan_check.h"
#include "tests/support/random_problem.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *room(int64_t count, size_t size_bytes) {
    void *memory = malloc((size_t)count * size_bytes + 1);
    cr_assert(memory);
    memset(memory, 0xa5, (size_t)count * size_bytes + 1);
    return memory;
}

// ---- workers ----------------------------------------------------------------------------------

static struct list_job make_job(const struct plan *plan) {
    struct list_job job;
    lists_job(plan, &job);
    int64_t *members = room(plan->row_count, sizeof *members);
    for (int64_t row = 0; row < plan->row_count; row++) {
        int64_t batch, head;
        lists_member(plan, row, &batch, &head);
        members[row] = batch * plan->heads + head;
    }
    job.members = members;
    job.boxes = plan->launch.boxes;
    job.box_count = plan->launch.box_count;
    int64_t lists = list_count(&job);
    job.runs = room(lists * job.limits.runs, sizeof *job.runs);
    job.run_begin = room(lists, sizeof *job.run_begin);
    job.run_end = room(lists, sizeof *job.run_end);
    job.tiles = room(lists, sizeof *job.tiles);
    job.merged = room(lists, sizeof *job.merged);
    return job;
}

static void free_job(struct list_job *job) {
    free((void *)(uintptr_t)job->members);
    free(job->runs);
    free(job->run_begin);
    free(job->run_end);
    free(job->tiles);
    free(job->merged);
}

// All workers, the last first, one memory after the other: each dirties what the next one gets.
static void work(const struct list_job *job, int64_t workers) {
    void *memory = room(piece_space_bytes(&job->limits), 1);
    for (int64_t w = workers; w-- > 0;)
        list_work(job, memory, w, workers);
    free(memory);
}

// What lies between the end of a list and the next one's room is as room() left it.
static bool untouched(const struct list_job *job, int64_t list) {
    const unsigned char *at = (const void *)&job->runs[job->run_end[list]];
    const unsigned char *end = (const void *)&job->runs[(list + 1) * job->limits.runs];
    while (at < end && *at == 0xa5)
        at++;
    return at == end;
}

static void compare(const struct plan *plan, const struct list_job *job, const char *text) {
    int64_t lists = list_count(job), merged = 0;
    struct sm90_run *records = room(plan->launch.run_begin[lists], sizeof *records);
    uint32_t *tiles = room(lists, sizeof *tiles);
    cuda_list_records(plan, records);
    cuda_list_tiles(plan, tiles);
    for (int64_t list = 0; list < lists; list++) {
        int64_t begin = plan->launch.run_begin[list], end = plan->launch.run_begin[list + 1];
        int64_t at = list * job->limits.runs;
        cr_assert(job->run_begin[list] == at && job->run_end[list] == at + end - begin,
                  "list %" PRId64 "\n%s", list, text);
        cr_assert(
            memcmp(&job->runs[at], &records[begin], (size_t)(end - begin) * sizeof *records) == 0,
            "list %" PRId64 "\n%s", list, text);
        cr_assert(end - begin <= job->limits.runs && untouched(job, list),
                  "list %" PRId64 " left its room\n%s", list, text);
        cr_assert(job->tiles[list] == tiles[list], "list %" PRId64 "\n%s", list, text);
        merged += job->merged[list];
    }
    cr_assert(merged == plan->counts.merged_lists, "%s", text);
    free(records);
    free(tiles);
}

static void check_plan(struct random_source *random, struct program *program,
                       const struct heddle_problem *problem, const struct plan_options *options,
                       const char *text) {
    struct error error = {0};
    struct plan *plan;
    enum heddle_status status = plan_create(program, problem, options, &plan, &error);
    if (status == HEDDLE_PATTERN_ERROR) { // more queries than keys
        error_finish(&error);
        return;
    }
    cr_assert(status == HEDDLE_OK, "%s\n%s", error_text(&error), text);
    cr_assert(plan_make_lists(plan, &error) == HEDDLE_OK);
    struct list_job job = make_job(plan);
    static const int64_t workers[] = {1, 2, 3, 7, 64, 1000};
    work(&job, workers[random_in(random, 0, 5)]);
    compare(plan, &job, text);
    free_job(&job);
    plan_destroy(plan);
}

// ---- random patterns --------------------------------------------------------------------------

static void check_pattern(struct random_source *random) {
    static const int64_t most[] = {0, 2000, 50, 14};
    static struct random_problem s;
    int axes = (int)random_in(random, 1, 3);
    bool with_input = random_in(random, 0, 3) == 0;
    struct strbuf text = {0};
    struct program *program;
    struct error error = {0};
    struct check_options check = {0};
    random_pattern(random, axes, with_input, &text);
    cr_assert(program_create("random.heddle", text.text, text.length, &check, &program, &error) ==
                  HEDDLE_OK,
              "%s", text.text);
    for (int b = 0; b < program->facts->basis_count; b++) {
        if (!program->facts->sides[SIDE_QUERY][b].usable)
            continue;
        random_problem(random, axes, most, with_input, &s);
        struct plan_options options = {.lists_only = true, .basis = b};
        options.on_device = random_in(random, 0, 2) > 0; // limits from a sample
        options.run_room = random_in(random, 0, 2) ? 0 : random_in(random, 1, 3);
        check_plan(random, program, &s.problem, &options, text.text);
    }
    program_destroy(program);
    strbuf_finish(&text);
}

Test(device_planner, lists_are_the_plans, .timeout = 900) {
    struct random_source random = {random_seed(20261125)};
    int cases = random_cases(60);
    for (int i = 0; i < cases; i++)
        check_pattern(&random);
}

// ---- inputs that change -----------------------------------------------------------------------

static struct plan *documents_plan(struct program *program, const int32_t *doc, int64_t tokens,
                                   bool on_device) {
    const struct heddle_input input = {
        .name = "doc", .data = doc, .element = HEDDLE_INT32, .rank = 1, .shape = {tokens}};
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = tokens;
    problem.inputs = &input;
    problem.input_count = 1;
    // Shapes are forced, so that both plans have the same lists to make.
    const struct plan_options options = {.lists_only = true,
                                         .on_device = on_device,
                                         .query_tile = {1, 1, 64},
                                         .key_tile = {1, 1, 64}};
    struct error error = {0};
    struct plan *plan;
    cr_assert(plan_create(program, &problem, &options, &plan, &error) == HEDDLE_OK, "%s",
              error_text(&error));
    return plan;
}

// One long document, then ids at random: far more runs than the room that was chosen, which becomes
// hulls. They hold every kept pair, the host's planner makes the same, and no list leaves its room.
static void check_outgrown(struct random_source *random, struct program *program, bool random_ids) {
    enum { TOKENS = 900 };
    int32_t doc[TOKENS] = {0};
    struct error error = {0};
    struct plan *before = documents_plan(program, doc, TOKENS, true);
    for (int i = 0; i < TOKENS; i++)
        doc[i] = random_ids ? (int32_t)random_in(random, 0, 1 + i / 20) : i / 100;
    struct plan *after = documents_plan(program, doc, TOKENS, true);
    before->limits.runs = (int32_t)random_in(random, 1, 4);
    before->limits.raw_runs = (int32_t)random_in(random, 2, 6);
    after->limits = before->limits;
    cr_assert(plan_make_lists(after, &error) == HEDDLE_OK);
    struct list_job job = make_job(before);
    job.env.arrays = after->launch.env.arrays;
    work(&job, random_in(random, 1, 9));
    compare(after, &job, "documents");
    cr_assert(!random_ids || after->counts.merged_lists > 0, "nothing was outgrown");
    struct plan_faults faults = plan_check(after);
    cr_assert(!plan_unsound(&faults), "%s", faults.first);
    free_job(&job);
    plan_destroy(before);
    plan_destroy(after);
}

Test(device_planner, lists_stay_in_their_room) {
    static const char text[] =
        "pattern documents { axes i; input int doc[i];\n"
        "keep causal and doc[q.i] == doc[k.i]; }";
    struct random_source random = {random_seed(7)};
    struct program *program;
    struct error error = {0};
    struct check_options check = {0};
    cr_assert(program_create("documents.heddle", text, sizeof text - 1, &check, &program, &error) ==
              HEDDLE_OK);
    for (int i = 0; i < random_cases(12); i++)
        check_outgrown(&random, program, i % 4 != 0);
    program_destroy(program);
}

// A plan is checked for all that its inputs may hold later, not only for what they hold.
Test(device_planner, ranges_are_checked) {
    static const char text[] =
        "pattern periods { axes i; input int every[i]; keep causal and k.i % every[q.i] == 0; }";
    const int32_t every[] = {1, 2, 3, 4};
    static const double fine[] = {1, 100}, zero[] = {0, 4};
    struct program *program;
    struct error error = {0};
    struct check_options check = {0};
    cr_assert(program_create("periods.heddle", text, sizeof text - 1, &check, &program, &error) ==
              HEDDLE_OK);
    struct heddle_input input = {
        .name = "every", .data = every, .element = HEDDLE_INT32, .rank = 1, .shape = {4}};
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = 4;
    problem.inputs = &input;
    problem.input_count = 1;
    const struct plan_options options = {.lists_only = true, .on_device = true, .basis = -1};
    for (int i = 0; i < 3; i++) {
        struct plan *plan;
        input.range = i == 0 ? NULL : i == 1 ? fine : zero;
        enum heddle_status status = plan_create(program, &problem, &options, &plan, &error);
        cr_assert(status == (i == 2 ? HEDDLE_PATTERN_ERROR : HEDDLE_OK), "%s", error_text(&error));
        cr_assert(i == 2 || plan->input_ranges[0].greatest == (i ? 100 : 4));
        plan_destroy(plan);
    }
    cr_assert(strstr(error_text(&error), "divisor that may be zero"), "%s", error_text(&error));
    error_finish(&error);
    program_destroy(program);
}

static void change(struct array_change *change, const void *from, void *to, int64_t count,
                   uint32_t *outside) {
    change->from = from;
    change->to = to;
    change->count = count;
    change->outside = outside;
    for (int64_t worker = 3; worker-- > 0;)
        array_change(change, worker, 3);
}

Test(device_planner, values_stay_in_their_range) {
    struct array_change ints = {.element = ABI_INT32, .range = {-5, 1000}};
    const int64_t wide[] = {-5, 0, 1000, 1001, -6, INT64_MAX, INT64_MIN};
    int32_t narrow[] = {7, -5, 1000}, to[8] = {0};
    uint32_t outside = 0;
    change(&ints, narrow, to, 3, &outside);
    cr_assert(!outside && memcmp(to, narrow, sizeof narrow) == 0);
    ints.wide = 1;
    change(&ints, wide, to, 3, &outside);
    cr_assert(!outside && to[0] == -5 && to[1] == 0 && to[2] == 1000);
    change(&ints, wide, to, 7, &outside);
    cr_assert(outside && to[3] == 1000 && to[4] == -5 && to[5] == 1000 && to[6] == -5);
    cr_assert(to[7] == 0);
}

Test(device_planner, reals_stay_in_their_range) {
    struct array_change reals = {.element = ABI_FLOAT32, .range = {-1, 2}};
    const float from[] = {-1.0f, 2.0f, 0.5f, 3.0f, -INFINITY, NAN};
    float to[6];
    uint32_t outside = 0;
    change(&reals, from, to, 3, &outside);
    cr_assert(!outside && memcmp(to, from, 3 * sizeof *to) == 0);
    change(&reals, from, to, 6, &outside);
    cr_assert(outside && to[3] == 2.0f && to[4] == -1.0f && to[5] == -1.0f);
    reals.range = (struct abi_pair){-INFINITY, INFINITY};
    outside = 0;
    change(&reals, from, to, 6, &outside);
    cr_assert(!outside && isnan(to[5]) && isinf(to[4]));
}

Test(device_planner, elements_stay_in_their_table) {
    enum { ROOM = 4, WIDTH = 10, TOKENS = 30 };
    const int64_t lists[3 * ROOM] = {9, -1, 0, 9, -1, -1, -1, -1, 12, 5, -1, 29};
    struct array_change set = {
        .element = ABI_BYTE, .wide = 1, .room = ROOM, .width = WIDTH, .tokens = TOKENS};
    uint8_t table[3 * WIDTH + 1], expected[3 * WIDTH + 1] = {[0] = 1, [9] = 1, [25] = 1, [30] = 77};
    uint32_t outside = 0;
    memset(table, 77, sizeof table);
    for (int64_t worker = 3; worker-- > 0;)
        array_clear(table, 3 * WIDTH, worker, 3);
    change(&set, lists, table, 3 * ROOM, &outside);
    cr_assert(!outside && memcmp(table, expected, sizeof table) == 0);
    const int32_t strangers[] = {-2, 1, 2, TOKENS};
    set.wide = 0;
    change(&set, strangers, table, 1, &outside);
    cr_assert(outside && table[0] == 1 && table[1] == 0);
    outside = 0;
    change(&set, strangers + 1, table, 3, &outside);
    cr_assert(outside && table[1] == 1 && table[2] == 1);
}

// ---- the order of work ------------------------------------------------------------------------

struct work {
    uint32_t item, section, tiles;
};

static int by_section_and_length(const void *a, const void *b) {
    const struct work *x = a, *y = b;
    if (x->section != y->section)
        return x->section < y->section ? -1 : 1;
    if (x->tiles != y->tiles)
        return x->tiles > y->tiles ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static void check_order(struct random_source *random) {
    static struct order_scratch scratch;
    static struct sm90_head heads[12];
    struct order_job job = {.head_count = (uint32_t)random_in(random, 1, 12),
                            .section_heads = (uint32_t)random_in(random, 1, 5),
                            .box_count = (uint32_t)random_in(random, 1, 900),
                            .heads = heads};
    static const int64_t most[] = {1, 3, 20, 1000, 70000, UINT32_MAX};
    int64_t largest = most[random_in(random, 0, 5)], items = job.head_count * job.box_count;
    uint32_t *tiles = room(items, sizeof *tiles);
    struct work *expected = room(items, sizeof *expected);
    for (int64_t i = 0; i < items; i++)
        tiles[i] = (uint32_t)random_in(random, 0, largest);
    for (uint32_t h = 0; h < job.head_count; h++)
        heads[h].list_row = (int32_t)random_in(random, 0, job.head_count - 1);
    job.tiles = tiles;
    job.order = room(items, sizeof *job.order);
    job.spare = room(items, sizeof *job.spare);
    for (uint32_t i = 0; i < items; i++) {
        uint32_t head = i / job.box_count, row = (uint32_t)heads[head].list_row;
        expected[i] = (struct work){i, head / job.section_heads,
                                    tiles[row * job.box_count + i % job.box_count]};
    }
    qsort(expected, (size_t)items, sizeof *expected, by_section_and_length);
    for (uint32_t section = 0; section < order_sections(&job); section++)
        order_section(&job, section, &scratch);
    for (int64_t i = 0; i < items; i++)
        cr_assert(job.order[i] == expected[i].item, "work %" PRId64 " of %" PRId64, i, items);
    free(tiles);
    free(expected);
    free(job.order);
    free(job.spare);
}

Test(device_planner, work_is_in_order) {
    struct random_source random = {random_seed(5)};
    for (int i = 0; i < random_cases(200); i++)
        check_order(&random);
}
