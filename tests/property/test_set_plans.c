// Plans of patterns that test and count elements of input sets, against the reference pair by pair:
// in every basis, for queries and for keys, with lists merged at times. What intervals say of sets
// whose list or element varies over a box must hold for each of its pairs.

#include "compiler/analyse/facts.h"
#include "tests/support/plan_check.h"
#include "tests/support/random_problem.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

static const char *const CONDITIONS[] = {
    "k.token in (a[head] | b[head]) - a[0]",
    "q.token - k.token in a[head] & (b[head] | 0 .. 70) or k.token in b[0] - a[head]",
    "k.y in rows[q.y] - {2} or not k.x in rows[k.y]",
    "k.token / 16 in (a[head] | {0, 3}) and q.token / 16 in 0 .. 90 - k.token / 16",
    "any e in a[head] : k.token in e .. e + 5",
    "any e in a[head] - b[head] : abs(k.token - e) <= abs(q.token - e)",
    "all e in rows[q.y] : abs(e - k.y) != 1",
    "(count e in a[head] | b[head] : e <= k.token) >= (count e in a[head] : e <= q.token)",
    "any e in rows[k.y] : (all f in rows[q.y] - {e} : abs(e - f) > 1) and causal",
    "any h in 0 .. heads : (count e in a[h] : e % 3 == k.x % 3) == 1",
};

enum { MOST_ROOM = 6, HEADS = 2 };

struct bed {
    struct heddle_problem problem;
    struct heddle_input inputs[3];
    int32_t lists[3][64 * MOST_ROOM];
};

static void set_input(struct random_source *random, struct bed *bed, int number, const char *name,
                      int64_t lists, int64_t elements) {
    int64_t room = random_in(random, 0, MOST_ROOM);
    for (int64_t i = 0; i < lists * room; i++)
        bed->lists[number][i] = (int32_t)random_in(random, -1, elements - 1);
    bed->inputs[number] = (struct heddle_input){.name = name,
                                                .data = bed->lists[number],
                                                .element = HEDDLE_INT32,
                                                .rank = 2,
                                                .shape = {lists, room}};
}

static void set_problem(struct random_source *random, struct bed *bed) {
    int64_t y = random_in(random, 1, 24), x = random_in(random, 1, 24);
    bed->problem = (struct heddle_problem){.sizes = {y, x},
                                           .batch = 1,
                                           .heads = HEADS,
                                           .kv_heads = 1,
                                           .dim = 64,
                                           .dtype = HEDDLE_F32,
                                           .inputs = bed->inputs,
                                           .input_count = 3};
    if (random_in(random, 0, 3) == 0)
        bed->problem.queries = random_in(random, 1, y) * x;
    set_input(random, bed, 0, "a", HEADS, y * x);
    set_input(random, bed, 1, "b", HEADS, y * x);
    set_input(random, bed, 2, "rows", y, y);
}

static void check_plan(struct random_source *random, struct program *program, struct bed *bed,
                       bool key_major, int basis, const char *condition) {
    struct plan_options options = {.lists_only = true, .key_major = key_major, .basis = basis};
    struct plan *plan;
    struct error error = {0};
    if (random_in(random, 0, 7) == 0)
        options.run_room = random_in(random, 1, 3);
    enum heddle_status status = plan_create(program, &bed->problem, &options, &plan, &error);
    cr_assert_eq(status, HEDDLE_OK, "%s\n%s", error_text(&error), condition);
    struct plan_faults faults = plan_check(plan);
    cr_assert(!plan_unsound(&faults), "%s\nside %d basis %d sizes %" PRId64 " %" PRId64 ": %s",
              condition, key_major, basis, bed->problem.sizes[0], bed->problem.sizes[1],
              faults.first);
    plan_destroy(plan);
}

Test(set_plans, hold_what_the_reference_keeps, .timeout = 900) {
    struct random_source random = {random_seed(20261128)};
    int rounds = random_cases(16);
    for (size_t c = 0; c < sizeof CONDITIONS / sizeof *CONDITIONS; c++) {
        static struct bed bed;
        struct strbuf text = {0};
        struct program *program;
        struct error error = {0};
        struct check_options check = {0};
        strbuf_printf(&text,
                      "pattern sets {\n    axes y, x;\n    input set a[head], b[head], rows[y];\n"
                      "    keep %s;\n}\n",
                      CONDITIONS[c]);
        enum heddle_status status =
            program_create("sets.heddle", text.text, text.length, &check, &program, &error);
        cr_assert_eq(status, HEDDLE_OK, "%s", error_text(&error));
        for (int round = 0; round < rounds; round++) {
            set_problem(&random, &bed);
            for (int side = 0; side < SIDE_COUNT; side++)
                for (int b = 0; b < program->facts->basis_count; b++)
                    if (program->facts->sides[side][b].usable)
                        check_plan(&random, program, &bed, side == SIDE_KEY, b, CONDITIONS[c]);
        }
        program_destroy(program);
        strbuf_finish(&text);
    }
}
