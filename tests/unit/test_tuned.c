// Remembered boxes: who finds them, and that a plan takes only what it could have tried.
#include "compiler/analyse/facts.h"
#include "compiler/base/files.h"
#include "runtime/record.h"
#include "runtime/tuned.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char source[] =
    "pattern near { axes y, x; param int reach = 5; param real slope[head] = 0.5; "
    "input int group[y, x]; "
    "keep abs(q.y - k.y) <= reach and abs(q.x - k.x) <= reach and "
    "group[q.y, q.x] == group[k.y, k.x]; score s + slope[head]; }";
static const char machine[] = "this machine";
static char base[SCRATCH_ROOM];
static struct program *program;
static int32_t group[1024];
static const int64_t reach = 6;
static const struct heddle_param param = {.name = "reach", .count = 1, .ints = &reach};
static struct heddle_input input = {
    .name = "group", .data = group, .element = HEDDLE_INT32, .rank = 2, .shape = {32, 32}};
static struct heddle_problem problem;

static void setup(void) {
    struct error error = {0};
    scratch_make("tuned", base);
    cr_assert_eq(setenv("HEDDLE_CACHE_DIR", base, 1), 0);
    cr_assert_eq(program_create("near.heddle", source, strlen(source), NULL, &program, &error),
                 HEDDLE_OK, "%s", error_text(&error));
    problem = (struct heddle_problem)HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = problem.sizes[1] = 32;
    problem.heads = problem.kv_heads = 2;
    problem.inputs = &input;
    problem.input_count = 1;
}

static void teardown(void) {
    program_destroy(program);
    scratch_remove(base);
}

TestSuite(tuned, .init = setup, .fini = teardown);

static struct plan *plan_with(struct plan_options options) {
    struct plan *plan;
    struct error error = {0};
    options.lists_only = true;
    options.target = HEDDLE_TARGET_CPU;
    cr_assert_eq(plan_create(program, &problem, &options, &plan, &error), HEDDLE_OK, "%s",
                 error_text(&error));
    return plan;
}

static struct plan *plan_tuned(void) {
    return plan_with((struct plan_options){.basis = -1, .tuned_on = machine});
}

static struct plan_boxes boxes_of(const struct plan *plan) {
    struct plan_boxes boxes = {.basis = plan->basis};
    memcpy(boxes.query_tile, plan->query_tile, sizeof boxes.query_tile);
    memcpy(boxes.key_tile, plan->launch.tile, sizeof boxes.key_tile);
    return boxes;
}

static bool same(struct plan_boxes a, struct plan_boxes b) {
    return a.basis == b.basis && memcmp(a.query_tile, b.query_tile, sizeof a.query_tile) == 0 &&
           memcmp(a.key_tile, b.key_tile, sizeof a.key_tile) == 0;
}

static struct plan *plan_in(const struct plan_boxes *boxes) {
    struct plan_options options = {.basis = boxes->basis};
    memcpy(options.query_tile, boxes->query_tile, sizeof options.query_tile);
    memcpy(options.key_tile, boxes->key_tile, sizeof options.key_tile);
    return plan_with(options);
}

static void store(const struct plan *plan) {
    struct error error = {0};
    cr_assert_eq(tuned_store(plan, machine, &error), HEDDLE_OK, "%s", error_text(&error));
}

// Remembers the candidate that costs most by the model.
static struct plan_boxes remember_worst(void) {
    struct plan *plan = plan_tuned();
    cr_assert(!plan->tuned && plan->candidate_count > 1);
    const struct plan_candidate *worst = plan->candidates;
    for (int i = 1; i < plan->candidate_count; i++)
        worst = plan->candidates[i].row_ms > worst->row_ms ? &plan->candidates[i] : worst;
    struct plan_boxes boxes = worst->boxes;
    cr_assert_not(same(boxes, boxes_of(plan)));
    struct plan *forced = plan_in(&boxes);
    store(forced);
    plan_destroy(forced);
    plan_destroy(plan);
    return boxes;
}

static void check_plan(struct plan *plan, const struct plan_boxes *remembered) {
    const struct plan_candidate *chosen = &plan->candidates[plan->chosen];
    cr_assert_eq(plan->tuned, remembered != NULL);
    cr_assert(same(boxes_of(plan), chosen->boxes));
    cr_assert_eq(plan->predicted == plan->chosen, remembered == NULL);
    if (remembered)
        cr_assert(same(chosen->boxes, *remembered));
    plan_destroy(plan);
}

Test(tuned, a_plan_takes_remembered_boxes) {
    struct plan_boxes boxes = remember_worst();
    check_plan(plan_tuned(), &boxes);
    // The same lists as those of a plan that was forced into them.
    struct plan *plan = plan_tuned(), *forced = plan_in(&boxes);
    cr_assert_eq(plan->basis_axes, forced->basis_axes);
    cr_assert_eq(memcmp(&plan->counts, &forced->counts, sizeof plan->counts), 0);
    cr_assert_eq(plan->launch.box_count, forced->launch.box_count);
    cr_assert_eq(memcmp(plan->launch.token_stride, forced->launch.token_stride,
                        sizeof plan->launch.token_stride),
                 0);
    plan_destroy(plan);
    plan_destroy(forced);
}

Test(tuned, only_when_asked_and_not_forced) {
    struct plan_boxes boxes = remember_worst();
    check_plan(plan_with((struct plan_options){.basis = -1}), NULL);
    check_plan(plan_with((struct plan_options){.basis = -1, .tuned_on = "another machine"}), NULL);
    check_plan(plan_with((struct plan_options){.basis = boxes.basis, .tuned_on = machine}), NULL);
    struct plan_options tile = {.basis = -1, .tuned_on = machine, .key_tile = {1, 8, 8}};
    check_plan(plan_with(tile), NULL);
}

static void check_key_differs(void) {
    check_plan(plan_tuned(), NULL);
}

Test(tuned, another_problem_finds_nothing) {
    struct plan_boxes boxes = remember_worst();
    const struct heddle_problem first = problem;
    problem.batch = 2;
    check_key_differs();
    problem = first;
    problem.heads = problem.kv_heads = 4;
    check_key_differs();
    problem = first;
    problem.kv_heads = 1;
    check_key_differs();
    problem = first;
    problem.queries = 512;
    check_key_differs();
    problem = first;
    problem.dim = 32;
    check_key_differs();
    problem = first;
    problem.dtype = HEDDLE_BF16;
    check_key_differs();
    problem = first;
    problem.params = &param;
    problem.param_count = 1;
    check_key_differs();
    problem = first;
    problem.sizes[0] = input.shape[0] = 16;
    check_key_differs();
    problem = first;
    input.shape[0] = 32;
    problem.scale = 3; // costs no time
    check_plan(plan_tuned(), &boxes);
}

Test(tuned, values_of_inputs_are_not_in_the_key) {
    struct plan_boxes boxes = remember_worst();
    for (int i = 0; i < 1024; i++)
        group[i] = i / 64;
    check_plan(plan_tuned(), &boxes);
}

// A record may say anything: only boxes of the schedule's own are taken.
Test(tuned, boxes_that_no_plan_has_are_ignored) {
    struct plan *plan = plan_tuned();
    struct strbuf key = {0}, folder = {0};
    struct error error = {0};
    cr_assert(tuned_key(plan, machine, &key) && files_user_folder("tuned", &folder));
    static const char *const texts[] = {"",
                                        "basis y|x\n",
                                        "basis y|x",
                                        "nonsense",
                                        "basis z\nquery_tile 1 8 8\nkey_tile 1 8 8\n",
                                        "basis y|x\nquery_tile 1 7 9\nkey_tile 1 8 8\n",
                                        "basis y|x\nquery_tile 1 8 8\nkey_tile 1 4096 4096\n",
                                        "basis y|x\nquery_tile 1 8 8\nkey_tile 1 -8 -8\n",
                                        "basis y|x\nquery_tile 0 0 0\nkey_tile 0 0 0\n",
                                        "basis y|x\nquery_tile 1 8 8\nkey_tile 1 8"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_assert_eq(record_write(folder.text, key.text, texts[i], &error), HEDDLE_OK);
        check_plan(plan_tuned(), NULL);
    }
    strbuf_finish(&key);
    strbuf_finish(&folder);
    plan_destroy(plan);
}

Test(tuned, a_folder_that_cannot_be_written) {
    struct plan *plan = plan_tuned();
    struct error error = {0};
    setenv("HEDDLE_CACHE_DIR", "/dev/null", 1);
    cr_assert_eq(tuned_store(plan, machine, &error), HEDDLE_IO_ERROR);
    check_plan(plan_tuned(), NULL);
    plan_destroy(plan);
    error_finish(&error);
}

Test(tuned, machines) {
    struct cuda_device gpu = {.name = "A GPU", .processors = 7, .driver = 12040};
    cr_assert_str_eq(tuned_machine(&gpu, 3).text, "A GPU, 7 multiprocessors, driver 12040");
    cr_assert_str_neq(tuned_machine(NULL, 1).text, tuned_machine(NULL, 2).text);
}
