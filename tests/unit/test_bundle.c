// Bundles: what is read is what was written, for every pattern at hand; nothing that is cut off or
// changed is taken; images hold what the loader maps.
#include "compiler/bundle/bundle_make.h"
#include "compiler/cache/entry.h"
#include "compiler/pipeline.h"
#include "dsl/pattern_codec.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

static struct program *load(const char *path, const char *text, size_t length) {
    struct program *program;
    struct error error = {0};
    const char *const import_dirs[] = {HEDDLE_TEST_ROOT "/patterns"};
    const struct check_options options = {.import_dirs = import_dirs, .import_dir_count = 1};
    cr_assert_eq(program_create(path, text, length, &options, &program, &error), HEDDLE_OK,
                 "%s: %s", path, error_text(&error));
    return program;
}

// ---- patterns as bytes --------------------------------------------------------------------------

struct read_back {
    struct arena arena;
    struct diags diags;
    struct pattern *pattern;
    const char *fault;
};

static void read_back(struct read_back *r, const char *bytes, size_t length) {
    static jmp_buf escape;
    *r = (struct read_back){0};
    arena_init(&r->arena, 0);
    r->arena.escape = &escape;
    cr_assert_eq(setjmp(escape), 0, "no memory");
    diags_init(&r->diags, &r->arena);
    r->pattern = pattern_read(bytes, length, &r->arena, &r->diags, &r->fault);
}

static void check_same_text(const struct strbuf *a, const struct strbuf *b, const char *path) {
    cr_assert_eq(a->length, b->length, "%s", path);
    cr_assert_eq(memcmp(a->text, b->text, a->length), 0, "%s:\n%s\n%s", path, a->text, b->text);
}

static void check_pattern(const struct program *program, const char *path) {
    struct strbuf bytes = {0}, texts[2] = {{0}, {0}}, facts[2] = {{0}, {0}}, ids[2] = {{0}, {0}};
    struct read_back r;
    cr_assert(pattern_write(program->pattern, &bytes));
    read_back(&r, bytes.text, bytes.length);
    cr_assert_not_null(r.pattern, "%s: %s", path, r.fault);
    pattern_print(program->pattern, &texts[0]);
    pattern_print(r.pattern, &texts[1]);
    facts_print_sources(program->source_facts, program->pattern, &facts[0]);
    facts_print_sources(analyse_sources(&r.arena, r.pattern), r.pattern, &facts[1]);
    cr_assert(pattern_identity(program->pattern, &ids[0]) && pattern_identity(r.pattern, &ids[1]));
    check_same_text(&texts[0], &texts[1], path);
    check_same_text(&facts[0], &facts[1], path);
    check_same_text(&ids[0], &ids[1], path);
    // Every shorter text is none.
    for (size_t length = 0; length < bytes.length; length += 1 + length / 64) {
        struct read_back cut;
        read_back(&cut, bytes.text, length);
        cr_assert_null(cut.pattern, "%s: %zu of %zu bytes", path, length, bytes.length);
        cr_assert_not_null(cut.fault);
        arena_finish(&cut.arena);
    }
    for (int i = 0; i < 2; i++) {
        strbuf_finish(&texts[i]);
        strbuf_finish(&facts[i]);
        strbuf_finish(&ids[i]);
    }
    strbuf_finish(&bytes);
    arena_finish(&r.arena);
}

Test(bundle, patterns_as_bytes) {
    glob_t found;
    cr_assert_eq(glob(HEDDLE_TEST_ROOT "/patterns/*.heddle", 0, NULL, &found), 0);
    cr_assert_eq(glob(HEDDLE_TEST_ROOT "/tests/golden/stages/*.heddle", GLOB_APPEND, NULL, &found),
                 0);
    cr_assert_gt(found.gl_pathc, 20);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct program *program = load(found.gl_pathv[i], NULL, 0);
        check_pattern(program, found.gl_pathv[i]);
        program_destroy(program);
    }
    globfree(&found);
}

// ---- bundles ------------------------------------------------------------------------------------

static const char text[] =
    "pattern band { axes i; param int before = 4; require before > 0 : \"a band is that wide\";\n"
    "    keep q.i - k.i <= before and causal; }";

static void make_bundle(struct strbuf *out) {
    struct program *program = load("band.heddle", text, strlen(text));
    struct bundle_maker maker = {.program = program};
    struct error error = {0};
    const struct kernel_spec spec = {HEDDLE_F32, 16, true};
    for (int level = 0; level < 2; level++) {
        cr_assert_eq(bundle_add_planner(&maker, cpu_level(level), &error), HEDDLE_OK, "%s",
                     error_text(&error));
        for (int twice = 0; twice < 2; twice++)
            cr_assert_eq(bundle_add_kernel(&maker, &spec, cpu_level(level), &error), HEDDLE_OK,
                         "%s", error_text(&error));
    }
    cr_assert_eq(maker.count, 4, "a piece was added twice");
    cr_assert_eq(bundle_finish(&maker, out, &error), HEDDLE_OK, "%s", error_text(&error));
    bundle_maker_finish(&maker);
    program_destroy(program);
}

static enum heddle_status refused(const char *bytes, size_t length, const char *words) {
    struct program *program;
    struct error error = {0};
    const struct check_options options = {0};
    enum heddle_status status =
        program_create("x.hbundle", bytes, length, &options, &program, &error);
    cr_assert_null(program);
    cr_assert_not_null(strstr(error_text(&error), words), "%s", error_text(&error));
    error_finish(&error);
    return status;
}

Test(bundle, read_back) {
    struct strbuf bytes = {0}, contents = {0};
    make_bundle(&bytes);
    struct program *program = load("x.hbundle", bytes.text, bytes.length);
    const struct kernel *kernel;
    struct error error = {0};
    const struct kernel_spec there = {HEDDLE_F32, 16, true}, other = {HEDDLE_F32, 24, true};
    cr_assert_str_eq(program->pattern->name, "band");
    bundle_contents(program->bundle, &contents);
    cr_assert_str_eq(contents.text,
                     "x86-64-v3: its planner, fp32 dim 16\n"
                     "x86-64-v4: its planner, fp32 dim 16");
    cr_assert_eq(program_kernel(program, &there, &kernel, &error), HEDDLE_OK);
    cr_assert(kernel->run && kernel->scratch_bytes > 0);
    cr_assert_eq(program_kernel(program, &other, &kernel, &error), HEDDLE_NO_COMPILER);
    cr_assert_not_null(strstr(error_text(&error), "no code for fp32 dim 24 on this CPU"), "%s",
                       error_text(&error));
    cr_assert_not_null(strstr(error_text(&error), contents.text), "%s", error_text(&error));
    error_finish(&error);
    program_destroy(program);
    strbuf_finish(&contents);
    strbuf_finish(&bytes);
}

Test(bundle, damaged) {
    struct strbuf bytes = {0};
    make_bundle(&bytes);
    for (size_t length = 8; length < bytes.length; length += 1 + length / 32)
        cr_assert_eq(refused(bytes.text, length, "damaged"), HEDDLE_IO_ERROR);
    for (size_t at = 8; at < bytes.length; at += 1 + at / 32) {
        bytes.text[at] ^= (char)(1 << at % 8);
        cr_assert_eq(refused(bytes.text, bytes.length, "damaged"), HEDDLE_IO_ERROR);
        bytes.text[at] ^= (char)(1 << at % 8);
    }
    strbuf_finish(&bytes);
}

// With a right checksum, around another key or label.
static void reframe(const struct strbuf *bytes, const char *label, const char *key,
                    struct strbuf *out) {
    struct entry entry;
    cr_assert(entry_read(bytes->text, bytes->length, &entry));
    if (label)
        entry.label = (struct entry_text){label, strlen(label)};
    if (key)
        entry.key = (struct entry_text){key, strlen(key)};
    entry_write(&entry, out);
}

Test(bundle, other_versions) {
    struct strbuf bytes = {0}, other = {0};
    make_bundle(&bytes);
    reframe(&bytes, NULL, "heddle bundle, format 0, interface 00\nheddle 9.8.7\n", &other);
    cr_assert_eq(refused(other.text, other.length, "another build of heddle (heddle 9.8.7)"),
                 HEDDLE_IO_ERROR);
    other.length = 0;
    reframe(&bytes, NULL, "", &other);
    cr_assert_eq(
        refused(other.text, other.length, "another build of heddle (it does not say which)"),
        HEDDLE_IO_ERROR);
    other.length = 0;
    reframe(&bytes, "cpu-kernel window", NULL, &other);
    cr_assert_eq(refused(other.text, other.length, "not a bundle"), HEDDLE_IO_ERROR);
    strbuf_finish(&other);
    strbuf_finish(&bytes);
}

Test(bundle, options) {
    struct strbuf bytes = {0};
    struct program *program;
    struct error error = {0};
    const struct const_override constant = {"far", "8"};
    const struct check_options options[] = {{.pattern = "other"},
                                            {.consts = &constant, .const_count = 1}};
    make_bundle(&bytes);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(
            program_create("x.hbundle", bytes.text, bytes.length, &options[i], &program, &error),
            HEDDLE_BAD_ARGUMENT);
        error_finish(&error);
    }
    strbuf_finish(&bytes);
}

// Code that is not for this CPU is never run.
Test(bundle, other_cpus) {
    struct program *program = load("band.heddle", text, strlen(text));
    struct bundle_maker maker = {.program = program};
    struct strbuf bytes = {0};
    struct error error = {0};
    const struct cpu_level none = {"x86-64-v9", "x86-64-v3", ""};
    cr_assert_eq(bundle_add_planner(&maker, &none, &error), HEDDLE_OK);
    cr_assert_eq(bundle_finish(&maker, &bytes, &error), HEDDLE_OK);
    cr_assert_eq(refused(bytes.text, bytes.length, "no planner for this CPU"), HEDDLE_NO_COMPILER);
    bundle_maker_finish(&maker);
    program_destroy(program);
    strbuf_finish(&bytes);
}

// ---- images -------------------------------------------------------------------------------------

Test(bundle, images) {
    static const char code[] = "\xb8\x2a\x00\x00\x00\xc3"; // mov eax, 42; ret
    struct image image;
    struct error error = {0};
    int (*function)(void);
    cr_assert_eq(image_load(code, sizeof code - 1, &image, &error), HEDDLE_OK);
    memcpy(&function, &image.code, sizeof function);
    cr_assert_eq(function(), 42);
    image_unload(&image);
    cr_assert_null(image.code);
}

Test(bundle, objects_that_are_none) {
    struct strbuf out = {0};
    struct image_symbol symbols[IMAGE_MOST_SYMBOLS];
    int count;
    struct error error = {0};
    static const char head[64] = "\177ELF\2\1\1";
    cr_assert_eq(image_link("", 0, &out, symbols, &count, &error), HEDDLE_INTERNAL);
    cr_assert_eq(image_link(head, sizeof head, &out, symbols, &count, &error), HEDDLE_INTERNAL);
    error_finish(&error);
    strbuf_finish(&out);
}
