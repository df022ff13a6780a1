// Compiled code of programs, in the cache: found by the next program of the same pattern, never by
// one that differs in anything that decides the code.
#include "compiler/cache/entry.h"
#include "compiler/cache/folder.h"
#include "compiler/code.h"
#include "compiler/pipeline.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <llvm/Config/llvm-config.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char text[] =
    "pattern p { axes i; const far = 8; param int before = 4;\n"
    "    keep q.i - k.i <= before or k.i < far; }";
static char base[SCRATCH_ROOM], folder[96];

static void setup(void) {
    scratch_cache("code", base);
    snprintf(folder, sizeof folder, "%s/code", base);
}

static void teardown(void) {
    scratch_remove(base);
}

TestSuite(code, .init = setup, .fini = teardown);

static struct program *program_of(const char *source, const char *far) {
    struct program *program;
    struct error error = {0};
    const struct const_override override = {"far", far};
    const struct check_options options = {.consts = &override, .const_count = far ? 1 : 0};
    cr_assert_eq(program_create("p.heddle", source, strlen(source), &options, &program, &error),
                 HEDDLE_OK, "%s", error_text(&error));
    return program;
}

static void check_counts(const struct program *program, int made, int found, const char *what) {
    cr_assert(program->cache.made == made && program->cache.found == found,
              "%s: made %d and found %d, not %d and %d", what, (int)program->cache.made,
              (int)program->cache.found, made, found);
}

static void check_program(const char *source, const char *far, int made, const char *what) {
    struct program *program = program_of(source, far);
    check_counts(program, made, 1 - made, what);
    program_destroy(program);
}

Test(code, planner) {
    check_program(text, NULL, 1, "the first");
    check_program(text, NULL, 0, "the same");
    check_program(text, "8", 0, "the same constant, given");
    check_program(text, "9", 1, "another constant");
    check_program(text, "9", 0, "the same other constant");
    check_program(
        "pattern other { axes t; const c = 8; param int b = 4;\n\n"
        "    keep q.t - k.t <= b or k.t < c; }",
        NULL, 0, "other names");
    check_program("pattern p { axes i; param int before = 4; keep q.i - k.i <= before; }", NULL, 1,
                  "another predicate");
    check_program("pattern p { axes i, j; param int before = 4; keep q.i - k.i <= before; }", NULL,
                  1, "another axis");
}

static void add_kernel(struct program *program, enum heddle_dtype dtype, int dim, bool contiguous) {
    const struct kernel_spec spec = {dtype, dim, contiguous};
    const struct kernel *kernel;
    struct error error = {0};
    cr_assert_eq(program_kernel(program, &spec, &kernel, &error), HEDDLE_OK, "%s",
                 error_text(&error));
    cr_assert(kernel->run && kernel->scratch_bytes > 0);
}

static void add_kernels(struct program *program) {
    add_kernel(program, HEDDLE_F32, 64, true);
    add_kernel(program, HEDDLE_F32, 72, true);
    add_kernel(program, HEDDLE_F16, 64, true);
    add_kernel(program, HEDDLE_F32, 64, false);
}

Test(code, kernels) {
    struct program *first = program_of(text, NULL), *second = program_of(text, NULL);
    add_kernels(first);
    check_counts(first, 5, 0, "the first");
    add_kernels(second);
    check_counts(second, 0, 5, "the second");
    add_kernels(second);
    check_counts(second, 0, 5, "kernels that the program has");
    cr_assert_eq(first->kernels->scratch_bytes, second->kernels->scratch_bytes);
    program_destroy(first);
    program_destroy(second);
}

static void add_ptx(struct program *program, const struct sm90_spec *spec, struct strbuf *out) {
    const struct ptx_kernel *kernel;
    struct error error = {0};
    cr_assert_eq(program_ptx(program, spec, &kernel, &error), HEDDLE_OK, "%s", error_text(&error));
    strbuf_printf(out, "%d\n%s", kernel->shared_bytes, kernel->ptx.text);
}

Test(code, ptx) {
    if (LLVM_VERSION_MAJOR < 22)
        return; // no kernels for GPUs
    struct program *first = program_of(text, NULL), *second = program_of(text, NULL);
    struct strbuf made = {0}, found = {0}, other = {0};
    struct sm90_spec spec = {.dtype = HEDDLE_BF16,
                             .dim = 64,
                             .axes = 1,
                             .narrow = 1,
                             .query_tile = {1, 1, 128},
                             .key_tile = {1, 1, 128}};
    spec.axis_basis[0] = 2;
    add_ptx(first, &spec, &made);
    add_ptx(second, &spec, &found);
    check_counts(first, 2, 0, "the first");
    check_counts(second, 0, 2, "the second");
    cr_assert_str_eq(made.text, found.text);
    spec.narrow = 0;
    add_ptx(second, &spec, &other);
    spec.dtype = HEDDLE_F16;
    add_ptx(second, &spec, &other);
    check_counts(second, 2, 2, "other specs");
    program_destroy(first);
    program_destroy(second);
    strbuf_finish(&made);
    strbuf_finish(&found);
    strbuf_finish(&other);
}

enum { RACERS = 8 };

static void *race(void *out) {
    struct program *program = program_of(text, NULL);
    add_kernel(program, HEDDLE_F32, 64, true);
    *(int *)out = program->cache.made;
    program_destroy(program);
    return NULL;
}

Test(code, programs_of_many_threads) {
    pthread_t threads[RACERS];
    int made[RACERS], all = 0;
    for (int i = 0; i < RACERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, race, &made[i]), 0);
    for (int i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        all += made[i];
    }
    cr_assert_eq(all, 2); // a planner and a kernel
}

// ---- keys ---------------------------------------------------------------------------------------

static void add_key(const struct program *program, const char *cpu, struct cache_key *out) {
    struct llvm_unit *unit;
    struct error error = {0};
    struct strbuf target = {0};
    cr_assert_eq(llvm_unit_create(cpu, "", &unit, &error), HEDDLE_OK, "%s", error_text(&error));
    llvm_unit_target(unit, &target);
    code_key(out, "cpu-kernel", program->pattern, target.text, "fp32 dim 64", NULL);
    strbuf_finish(&target);
    llvm_unit_destroy(unit);
}

Test(code, key_names_the_target) {
    struct program *program = program_of(text, NULL);
    struct cache_key old, new, same;
    add_key(program, "x86-64-v3", &old);
    add_key(program, "x86-64-v4", &new);
    add_key(program, "x86-64-v4", &same);
    cr_assert(new.bytes.length ==
              same.bytes.length &&memcmp(new.bytes.text, same.bytes.text, new.bytes.length) == 0);
    cr_assert(new.bytes.length != old.bytes.length ||
              memcmp(new.bytes.text, old.bytes.text, new.bytes.length) != 0);
    cr_assert(strstr(new.bytes.text, "x86-64-v4") && strstr(new.bytes.text, "sources "));
    cache_key_finish(&old);
    cache_key_finish(&new);
    cache_key_finish(&same);
    program_destroy(program);
}

// ---- entries that are whole, and no use ---------------------------------------------------------

// The one entry of the folder, with other code under its key.
static void spoil(const char *code, size_t length) {
    struct folder_files files;
    struct strbuf bytes = {0}, other = {0};
    struct entry entry;
    char path[160];
    bool old;
    cr_assert(folder_list(folder, &files) && files.count == 1);
    cr_assert(folder_read(folder, files.files[0].name, &bytes, &old) &&
              entry_read(bytes.text, bytes.length, &entry));
    entry.code.bytes = code;
    entry.code.length = length;
    entry_write(&entry, &other);
    snprintf(path, sizeof path, "%s/%s", folder, files.files[0].name);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(other.text, 1, other.length, file) == other.length);
    fclose(file);
    strbuf_finish(&bytes);
    strbuf_finish(&other);
    folder_files_finish(&files);
}

Test(code, code_that_does_not_link) {
    static const char nonsense[] = "this is no object";
    check_program(text, NULL, 1, "the first");
    spoil(nonsense, sizeof nonsense);
    check_program(text, NULL, 1, "code that does not link"); // and says nothing
    check_program(text, NULL, 0, "what was kept instead");
    spoil("", 0);
    check_program(text, NULL, 1, "no code at all");
    check_program(text, NULL, 0, "what was kept instead");
}
