// The functions of stages and selections for an NVIDIA GPU: they become PTX in every dtype, and
// call nothing that is not in it.
#include "compiler/llvm/llvm_nvptx.h"
#include "compiler/select/select_emit.h"
#include "dsl/check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char PATTERN[] =
    "pattern p { axes i; param real t[head] = 0.5; input set given[head];"
    "stage A[head, r, k.i] = softmax(dot(last(q, 64), k));"
    "stage d[head, x] = sum along diagonals of A;"
    "stage rows[head, b in blocks(i, 16)] = mean(q, 16)[head, b] where b > 2;"
    "stage f[head] = sqrt(max(0.0, sum x in 0 .. size(i) : exp(d[head, x]) * log(d[head, x])));"
    "select c[head, blocks(i, 16)] as (h, b) = mass(t[h]) of x in children(given[h], 4)"
    "  where x <= b over (b) ranked by sum(max(mean(q, 16)[h, b] * max(k, 16)[h, x],"
    "  rows[h, b] * min(k, 16)[h, x])) always {0, b} least 1 most 7;"
    "select l[head] = bands(1: 0.5, 2: 0.7 step 2, rest: 0) of x in 0 .. 8 ranked by f[head];"
    "keep k.i / 16 in c[head, q.i / 16] and l[head, 0] > 0; }";

static void emit_ptx(enum heddle_dtype dtype, int dim, bool contiguous) {
    struct arena arena;
    struct diags diags;
    struct error error = {0};
    struct pattern *pattern = NULL;
    struct llvm_unit *unit = NULL;
    struct strbuf text = {0};
    arena_init(&arena, 0);
    diags_init(&diags, &arena);
    cr_assert_eq(check_text(&arena, &diags, "p", PATTERN, strlen(PATTERN), NULL, &pattern, &error),
                 HEDDLE_OK, "%s", error_text(&error));
    enum heddle_status made = llvm_unit_create_nvptx("sm_90a", "+ptx83", &unit, &error);
    if (made == HEDDLE_DEVICE_ERROR) // LLVM before 22
        cr_skip_test("%s", error_text(&error));
    cr_assert_eq(made, HEDDLE_OK);
    const struct select_spec spec = {dtype, dim, contiguous};
    cr_assert_eq(select_emit(unit, pattern, &spec, &error), HEDDLE_OK, "%s", error_text(&error));
    cr_assert_eq(llvm_unit_optimize_nvptx(unit, &error), HEDDLE_OK);
    cr_assert_eq(llvm_unit_assembly(unit, &text, &error), HEDDLE_OK);
    cr_expect_not_null(strstr(text.text, "heddle_stage_"));
    cr_expect_not_null(strstr(text.text, "heddle_rank_"));
    cr_expect_null(strstr(text.text, ".extern"), "it calls what is not there");
    const char *dump = getenv("HEDDLE_TEST_PTX");
    FILE *file = dump ? fopen(dump, "w") : NULL;
    if (file) {
        fputs(text.text, file);
        fclose(file);
    }
    strbuf_finish(&text);
    llvm_unit_destroy(unit);
    arena_finish(&arena);
}

Test(select_ptx, half_precision) {
    emit_ptx(HEDDLE_F16, 64, true);
    emit_ptx(HEDDLE_BF16, 40, false);
}

Test(select_ptx, bfloat) {
    emit_ptx(HEDDLE_BF16, 128, true);
}
