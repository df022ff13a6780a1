// Tables of maps, filled by compiled code on all threads, against their conditions as written,
// element by element.

#include "compiler/maps.h"
#include "runtime/bind.h"
#include "runtime/plan.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

struct bed {
    struct program *program;
    struct plan *plan;
    struct error error;
};

static enum heddle_status make(struct bed *bed, const char *maps) {
    struct strbuf text = {0};
    strbuf_printf(&text,
                  "pattern maps {\n    axes y, x;\n    param int p = 37, n = 1000, zero = 0;\n"
                  "    param real r = 0.3;\n%s    keep causal;\n}\n",
                  maps);
    struct check_options check = {0};
    const struct plan_options options = {.lists_only = true, .basis = -1};
    struct heddle_problem problem = {
        .sizes = {3, 50}, .batch = 1, .heads = 2, .kv_heads = 1, .dim = 64, .dtype = HEDDLE_F32};
    *bed = (struct bed){0};
    enum heddle_status status =
        program_create("maps.heddle", text.text, text.length, &check, &bed->program, &bed->error);
    cr_assert_eq(status, HEDDLE_OK, "%s\n%s", error_text(&bed->error), text.text);
    strbuf_finish(&text);
    return plan_create(bed->program, &problem, &options, &bed->plan, &bed->error);
}

static void finish(struct bed *bed) {
    plan_destroy(bed->plan);
    program_destroy(bed->program);
    error_finish(&bed->error);
}

// How many elements hold.
static int64_t compare(const struct bed *bed, int number) {
    const struct pattern_map *map = &bed->program->pattern->maps[number];
    const struct abi_array *array =
        &bed->plan->launch.env.arrays[bed->program->pattern->input_count + number];
    const uint8_t *data = array->data;
    int64_t elements = 1, held = 0;
    struct eval_env env;
    bind_eval_env(bed->plan, &env);
    for (int i = 0; i < map->index_count; i++)
        elements *= array->extent[i];
    for (int64_t at = 0; at < elements; at++) {
        struct eval_failure failure = {0};
        int64_t rest = at;
        env.turns_left = 0;
        for (int i = map->index_count - 1; i >= 0; i--) {
            env.vars[i] = rest % array->extent[i];
            rest /= array->extent[i];
        }
        bool holds = expr_eval(map->written, &env, &failure).b;
        cr_assert_eq(failure.fault, EVAL_OK);
        cr_assert_eq(data[at], holds, "map '%s' element %" PRId64, map->name, at);
        held += holds;
    }
    return held;
}

Test(maps, compiled_tables_are_what_is_written, .timeout = 300) {
    static const char *const maps[] = {
        "    map m[a in 0 .. 1500] = (count e in 0 .. a : (e * e) % 7 == 2) % 3 == 1;\n",
        "    map m[a in 0 .. 301, b in 0 .. 211] = any e in a / 2 .. b : e * e == a * b + e;\n",
        "    map m[a in 0 .. p, b in 0 .. 3 * n] = a > b ? a * b % p < 5 : (a ^ b) & 12 == 4;\n",
        "    map m[a in 0 .. p, b in 0 .. 7, c in 0 .. 9, d in 0 .. 33] =\n"
        "        (count e in 0 .. 20 step 3 : abs(a + e - b * c) <= d) * 3 > d / 2;\n",
        "    map m[a in 0 .. 300, b in 0 .. 300] = abs(a - b) <= r * size(x) + exp2(a % 4)\n"
        "        or (all e in 0 .. 4 : (a >> e) % 2 == (b >> e) % 2) and heads == 2;\n",
        "    map m[a in 0 .. 200, b in 0 .. 5000] = any e in pow2(0 .. 12) | {3, 5} : a + e == "
        "b;\n",
    };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        struct bed bed;
        cr_assert_eq(make(&bed, maps[i]), HEDDLE_OK, "%s\n%s", error_text(&bed.error), maps[i]);
        cr_assert(bed.program->maps, "not compiled: %s", maps[i]);
        int64_t held = compare(&bed, 0);
        cr_assert_gt(held, 0, "nothing holds: %s", maps[i]);
        finish(&bed);
    }
}

// What cannot be proved to have a value is evaluated, and compiled all the same where it can.
Test(maps, tables_with_divisors_that_are_zero_elsewhere, .timeout = 300) {
    struct bed bed;
    cr_assert_eq(make(&bed,
                      "    map m[a in 0 .. 2000, b in 0 .. 50] = a > b and b % (a - b) == 1;\n"
                      "    map e[a in 0 .. 0] = true;\n"),
                 HEDDLE_OK, "%s", error_text(&bed.error));
    cr_assert_gt(compare(&bed, 0), 0);
    finish(&bed);
}

static void refuses(const char *map, const char *wanted) {
    struct bed bed;
    cr_assert_eq(make(&bed, map), HEDDLE_PATTERN_ERROR, "%s", map);
    cr_assert(strstr(error_text(&bed.error), wanted), "%s\n%s", error_text(&bed.error), map);
    finish(&bed);
}

Test(maps, refuse_what_has_no_value_or_no_end, .timeout = 300) {
    refuses("    map m[a in 0 .. 5000, b in 0 .. 50] = b % (a - 1) == 1;\n",
            "has no value at element 50");
    refuses("    map m[a in 0 .. n] = any e in 0 .. 1 << n / 17 : e * e == a - 1;\n",
            "takes too many turns of quantifiers");
    refuses("    map m[a in 0 .. n, b in 0 .. n] = any e in 0 .. 1 << n / 50 : (e ^ a) * b == 1;\n",
            "takes too many turns of quantifiers");
    refuses("    map m[a in 0 .. n * n * n] = a == 1;\n", "elements for this problem, over");
}

// Turns are no matter where runs are counted.
Test(maps, count_many_values, .timeout = 300) {
    struct bed bed;
    cr_assert_eq(make(&bed,
                      "    map m[a in 0 .. 2000, b in 0 .. 1000] =\n"
                      "        (count e in 0 .. 1 << n / 20 : abs(e - a) <= b) > a + 1;\n"),
                 HEDDLE_OK, "%s", error_text(&bed.error));
    const uint8_t *data = bed.plan->launch.env.arrays[0].data;
    for (int64_t a = 0; a < 2000; a++)
        for (int64_t b = 0; b < 1000; b++)
            cr_assert_eq(data[a * 1000 + b], (a < b ? a : b) + 1 + b > a + 1);
    finish(&bed);
}
