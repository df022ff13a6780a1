// heddle.h on the CPU: structs of older and newer callers, shipped patterns by name, and arguments
// that are refused with a message that names what is wrong.
#include "heddle.h"

#include "runtime/struct_take.h"

#include <criterion/criterion.h>
#include <string.h>

static struct heddle_context *cpu_context(void) {
    const struct heddle_context_options options = {
        .struct_bytes = sizeof options, .target = HEDDLE_TARGET_CPU, .threads = 1};
    struct heddle_context *context = NULL;
    cr_assert_eq(heddle_context_create(&options, &context), HEDDLE_OK, "%s", heddle_last_error());
    return context;
}

static void refused(enum heddle_status status, const char *words) {
    cr_expect_eq(status, HEDDLE_BAD_ARGUMENT, "%s", heddle_status_name(status));
    cr_expect_not_null(strstr(heddle_last_error(), words), "no \"%s\" in \"%s\"", words,
                       heddle_last_error());
}

// ---- struct_bytes -------------------------------------------------------------------------------

struct first { // the first version of a struct
    size_t struct_bytes;
    int64_t a;
};
struct known { // as the library knows it
    size_t struct_bytes;
    int64_t a, b;
};
struct newer {
    size_t struct_bytes;
    int64_t a, b, c;
};

Test(struct_take, older_callers_get_zeros) {
    const struct first given = {sizeof given, 5};
    struct known out = {1, 2, 3};
    cr_assert(struct_take(&out, sizeof out, &given, sizeof given));
    cr_expect_eq(out.a, 5);
    cr_expect_eq(out.b, 0);
    cr_expect_eq(out.struct_bytes, sizeof out);
}

Test(struct_take, newer_callers_may_set_what_is_known) {
    struct newer given = {sizeof given, 5, 6, 0};
    struct known out;
    cr_assert(struct_take(&out, sizeof out, &given, sizeof(struct first)));
    cr_expect_eq(out.b, 6);
    given.c = 1;
    cr_expect_not(struct_take(&out, sizeof out, &given, sizeof(struct first)));
}

Test(struct_take, sizes_of_no_version) {
    struct known given = {0, 5, 6}, out;
    cr_expect_not(struct_take(&out, sizeof out, &given, sizeof(struct first)));
    given.struct_bytes = SIZE_MAX;
    cr_expect_not(struct_take(&out, sizeof out, &given, sizeof(struct first)));
}

Test(struct_take, gives_what_there_is_room_for) {
    const struct known from = {0, 5, 6};
    struct first narrow = {sizeof narrow, 0};
    struct newer wide = {sizeof wide, 1, 1, 1};
    cr_assert(struct_give(&narrow, &from, sizeof from, sizeof narrow));
    cr_expect_eq(narrow.a, 5);
    cr_expect_eq(narrow.struct_bytes, sizeof narrow);
    cr_assert(struct_give(&wide, &from, sizeof from, sizeof narrow));
    cr_expect(wide.a == 5 && wide.b == 6 && wide.c == 0 && wide.struct_bytes == sizeof wide);
    narrow.struct_bytes = 8;
    cr_expect_not(struct_give(&narrow, &from, sizeof from, sizeof narrow));
}

// ---- the calls ----------------------------------------------------------------------------------

Test(api, shipped_patterns_by_name) {
    struct heddle_context *context = cpu_context();
    static const char *const names[] = {"window", "neighborhood3d.heddle"};
    for (int i = 0; i < 2; i++) {
        struct heddle_pattern *pattern = NULL;
        cr_expect_eq(heddle_pattern_load(context, names[i], NULL, &pattern), HEDDLE_OK, "%s",
                     heddle_last_error());
        heddle_pattern_destroy(pattern);
    }
    struct heddle_pattern *pattern = NULL;
    cr_expect_eq(heddle_pattern_load(context, "no_such", NULL, &pattern), HEDDLE_IO_ERROR);
    cr_expect_null(pattern);
    heddle_context_destroy(context);
}

Test(api, context_options) {
    struct heddle_context *context = NULL;
    struct heddle_context_options options = {.struct_bytes = 1};
    refused(heddle_context_create(&options, &context), "struct_bytes");
    options.struct_bytes = sizeof options;
    options.import_dir_count = -1;
    refused(heddle_context_create(&options, &context), "import_dirs");
    options.import_dir_count = 1;
    refused(heddle_context_create(&options, &context), "import_dirs");
    const char *const dirs[] = {NULL};
    options.import_dirs = dirs;
    refused(heddle_context_create(&options, &context), "import_dirs");
    cr_expect_null(context);
}

Test(api, pattern_options) {
    struct heddle_context *context = cpu_context();
    struct heddle_pattern *pattern = NULL;
    const struct heddle_assignment nameless = {NULL, "1"};
    struct heddle_pattern_options options = {.struct_bytes = sizeof options, .const_count = 1};
    refused(heddle_pattern_load(context, "strided", &options, &pattern), "consts");
    options.consts = &nameless;
    refused(heddle_pattern_load(context, "strided", &options, &pattern), "without a name");
    options.const_count = -1;
    refused(heddle_pattern_load(context, "strided", &options, &pattern), "consts");
    refused(heddle_pattern_load(context, NULL, NULL, &pattern), "missing");
    heddle_context_destroy(context);
}

Test(api, problems_and_what_a_plan_tells) {
    struct heddle_context *context = cpu_context();
    struct heddle_pattern *pattern = NULL;
    struct heddle_plan *plan = NULL;
    cr_assert_eq(heddle_pattern_load(context, "causal", NULL, &pattern), HEDDLE_OK);
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = 64;
    problem.param_count = 1;
    refused(heddle_plan_create(context, pattern, &problem, &plan), "a count");
    problem.params = &(struct heddle_param){.count = 1};
    refused(heddle_plan_create(context, pattern, &problem, &plan), "without a name");
    problem.param_count = 0;
    const struct heddle_input unknown = {.name = "doc", .element = (enum heddle_element)7};
    problem.inputs = &unknown;
    problem.input_count = 1;
    refused(heddle_plan_create(context, pattern, &problem, &plan), "unknown elements");
    problem.input_count = -1;
    refused(heddle_plan_create(context, pattern, &problem, &plan), "a count");
    problem.input_count = 0;
    problem.struct_bytes -= 8;
    refused(heddle_plan_create(context, pattern, &problem, &plan), "struct_bytes");
    problem.struct_bytes += 8;
    cr_assert_eq(heddle_plan_create(context, pattern, &problem, &plan), HEDDLE_OK);
    struct heddle_plan_info info = {.struct_bytes = sizeof info};
    heddle_plan_info(plan, &info);
    cr_expect(info.queries == 64 && info.keys == 64 && info.struct_bytes == sizeof info);
    struct heddle_plan_info untouched = {.struct_bytes = 8, .keys = -1};
    heddle_plan_info(plan, &untouched);
    cr_expect_eq(untouched.keys, -1);
    heddle_plan_destroy(plan);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
}
