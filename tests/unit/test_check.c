// The check stage: what golden files cannot show. Options, limits, memory, meanings.
#include "dsl/check.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static struct arena arena;
static struct diags diags;
static struct error error;
static struct strbuf messages;
static struct pattern *pattern;

static void setup(void) {
    arena_init(&arena, 0);
    diags_init(&diags, &arena);
    memset(&error, 0, sizeof error);
    memset(&messages, 0, sizeof messages);
    pattern = NULL;
}

static void teardown(void) {
    strbuf_finish(&messages);
    error_finish(&error);
    arena_finish(&arena);
}

// May be called several times in a test; starts afresh each time.
static enum heddle_status check(const char *text, size_t length, const char *path,
                                const struct check_options *options) {
    teardown();
    setup();
    enum heddle_status status =
        check_text(&arena, &diags, path, text, length, options, &pattern, &error);
    diags_print(&diags, &messages);
    return status;
}

static enum heddle_status check_plain(const char *text) {
    return check(text, strlen(text), "test.heddle", NULL);
}

static bool says(const char *text) {
    return messages.text && strstr(messages.text, text);
}

TestSuite(check, .init = setup, .fini = teardown);

// ---- options ---------------------------------------------------------------------------------

static const char tiled[] =
    "pattern tiled { axes i; const int block = 64; const real c = 0.5;\n"
    "  require block >= 2 : \"too small\";\n"
    "  keep q.i / block == k.i / block and c < 1.0; }";

static enum heddle_status check_const(const char *name, const char *value) {
    struct const_override override = {name, value};
    struct check_options options = {.consts = &override, .const_count = 1};
    return check(tiled, strlen(tiled), "tiled.heddle", &options);
}

Test(check, constants_are_overridden) {
    cr_assert_eq(check_const("block", "32"), HEDDLE_OK);
    cr_assert_eq(pattern->consts[0].value.i, 32);
    struct strbuf dump = {0};
    pattern_print(pattern, &dump);
    cr_assert(strstr(dump.text, "q.i / 32 == k.i / 32"), "%s", dump.text);
    strbuf_finish(&dump);
    cr_assert_eq(check_const("c", "0.25"), HEDDLE_OK);
    cr_assert_eq(pattern->consts[1].value.r, 0.25);
    cr_assert_eq(check_const("c", "2"), HEDDLE_OK);
}

Test(check, wrong_constants_are_wrong_arguments) {
    cr_assert_eq(check_const("blok", "32"), HEDDLE_BAD_ARGUMENT);
    cr_assert(strstr(error.message, "did you mean 'block'"), "%s", error.message);
    const char *values[] = {"", "x", "1.5", "12x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        cr_assert_eq(check_const("block", values[i]), HEDDLE_BAD_ARGUMENT, "'%s'", values[i]);
    cr_assert_eq(check_const("c", "inf"), HEDDLE_BAD_ARGUMENT);
    cr_assert_eq(check_const("block", "1"), HEDDLE_PATTERN_ERROR);
    cr_assert(says("too small"), "%s", messages.text);
    cr_assert(says("block = 1 (given)"), "%s", messages.text);
}

Test(check, the_pattern_is_chosen_by_name_file_or_place) {
    const char text[] =
        "pattern a { axes i; keep true; } pattern b { axes i; keep true; }\n"
        "pattern c { axes i; keep true; }";
    struct check_options named = {.pattern = "a"}, unknown = {.pattern = "d"};
    cr_assert_eq(check(text, strlen(text), "dir/b.heddle", NULL), HEDDLE_OK);
    cr_assert_str_eq(pattern->name, "b");
    cr_assert_eq(check(text, strlen(text), "other.heddle", NULL), HEDDLE_OK);
    cr_assert_str_eq(pattern->name, "c");
    cr_assert_eq(check(text, strlen(text), "b.heddle", &named), HEDDLE_OK);
    cr_assert_str_eq(pattern->name, "a");
    cr_assert_eq(check(text, strlen(text), "b.heddle", &unknown), HEDDLE_BAD_ARGUMENT);
}

Test(check, every_pattern_of_the_file_is_checked) {
    cr_assert_eq(
        check_plain("pattern a { axes i; keep nothing; } pattern b { axes i; keep true; }"),
        HEDDLE_PATTERN_ERROR);
    cr_assert(says("'nothing'"), "%s", messages.text);
}

// ---- files -----------------------------------------------------------------------------------

static char folder[SCRATCH_ROOM];

static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    cr_assert(file);
    fputs(text, file);
    fclose(file);
}

static void make_folder(void) {
    setup();
    scratch_make("check", folder);
}

static void remove_folder(void) {
    scratch_remove(folder);
    teardown();
}

TestSuite(files, .init = make_folder, .fini = remove_folder);

Test(files, imports_are_beside_the_file_or_in_the_folders_given) {
    cr_assert_eq(mkdir(in_folder("lib"), 0700), 0);
    write_file("main.heddle",
               "import \"part.heddle\"; import \"other.heddle\";\n"
               "pattern main { axes i; keep use part() or use other(); }");
    write_file("part.heddle", "pattern part { axes i; keep q.i == 1; }");
    write_file("lib/part.heddle", "pattern part { axes i; keep q.i == 2; }");
    write_file("lib/other.heddle", "pattern other { axes i; keep q.i == 3; }");
    const char *dirs[] = {"/nowhere", strdup(in_folder("lib"))};
    struct check_options options = {.import_dirs = dirs, .import_dir_count = 2};
    enum heddle_status status =
        check_file(&arena, &diags, in_folder("main.heddle"), &options, &pattern, &error);
    free((char *)(uintptr_t)dirs[1]);
    cr_assert_eq(status, HEDDLE_OK);
    struct strbuf dump = {0};
    pattern_print(pattern, &dump);
    cr_assert(strstr(dump.text, "keep q.i == 1 or q.i == 3;"), "%s", dump.text);
    strbuf_finish(&dump);
}

Test(files, what_cannot_be_read_is_an_io_error) {
    enum heddle_status status =
        check_file(&arena, &diags, in_folder("none.heddle"), NULL, &pattern, &error);
    cr_assert_eq(status, HEDDLE_IO_ERROR);
    status = check_file(&arena, &diags, folder, NULL, &pattern, &error);
    cr_assert_eq(status, HEDDLE_IO_ERROR);
    status = check_file(&arena, &diags, "/dev/zero", NULL, &pattern, &error);
    cr_assert_eq(status, HEDDLE_IO_ERROR);
}

// ---- limits ----------------------------------------------------------------------------------

enum { MIB = 1 << 20 };

#ifdef __SANITIZE_ADDRESS__
static const double MOST_SECONDS = 10.0;
#else
static const double MOST_SECONDS = 1.0;
#endif

static void repeat(struct strbuf *out, const char *text, int times) {
    for (int i = 0; i < times; i++)
        strbuf_puts(out, text);
}

// `opening` + times x `piece` + `closing`, which must give this error (NULL: none) within a second.
static void limit(const char *opening, const char *piece, int times, const char *closing,
                  const char *expected) {
    struct strbuf text = {0};
    strbuf_puts(&text, opening);
    repeat(&text, piece, times);
    strbuf_puts(&text, closing);
    clock_t begin = clock(); // of this process: other work on the machine does not count
    enum heddle_status status = check(text.text, text.length, "limit.heddle", NULL);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_expect_lt(seconds, MOST_SECONDS, "%s x %d takes %.2f s", piece, times, seconds);
    cr_expect_eq(status, expected ? HEDDLE_PATTERN_ERROR : HEDDLE_OK, "%s x %d: %.300s", piece,
                 times, messages.text ? messages.text : "no error");
    cr_expect(!expected || says(expected), "%s x %d: %.300s", piece, times,
              messages.text ? messages.text : "");
    strbuf_finish(&text);
}

static void chain(const char *format, int count, struct strbuf *out) {
    for (int i = 0; i < count; i++)
        strbuf_printf(out, format, i + 1, i, i);
}

static void limit_of_chain(const char *opening, const char *format, int count, const char *closing,
                           const char *expected) {
    struct strbuf text = {0};
    strbuf_puts(&text, opening);
    chain(format, count, &text);
    limit(text.text, "", 0, closing, expected);
    strbuf_finish(&text);
}

#define BEFORE "pattern p { axes i; "

Test(check, nesting_is_limited) {
    limit(BEFORE "keep ", "(", 250, "true" /* not closed */, "expected");
    limit(BEFORE "keep ", "(", 100000, "true; }", "nests deeper than 256");
    limit(BEFORE "keep ", "not ", 100000, "true; }", "nests deeper than 256");
    limit(BEFORE "keep q.i > ", "-", 1000000, "1; }", "nests deeper than 256");
    limit(BEFORE "keep ", "q.i > 1 ? true : ", 100000, "true; }", "nests deeper than 256");
    limit(BEFORE "keep ", "{[(", 100000, "true; }", "nests deeper than 256");
    limit(BEFORE "keep ", "any e in 0 .. 2 : ", 16, "e == q.i; }", NULL);
    limit(BEFORE "keep ", "any e in 0 .. 2 : ", 17, "e == q.i; }", "at most 16 deep");
    limit(BEFORE "keep ", "any e in 0 .. 2 : ", 300, "e == q.i; }", "nests deeper than 256");
}

Test(check, long_chains_are_fine) {
    limit(BEFORE "keep false", " or q.i == k.i", 10000, "; }", NULL);
    limit(BEFORE "keep 0", " + q.i", 100000, " > 3; }", NULL);
    limit(BEFORE "keep 0", " - q.i", 2900, " > 3; }", NULL);
    limit(BEFORE "keep 0", " - q.i", 100000, " > 3; }", "operations inside each other");
    limit(BEFORE "keep q.i in {0", ", 3", 65000, "}; }", NULL);
    limit(BEFORE "keep q.i in {0", ", 3", 70000, "}; }", "at most 65536 elements");
    limit(BEFORE "keep q.i in {0}", " | {1}", 255, "; }", NULL);
    limit(BEFORE "keep q.i in {0}", " | {1}", 100000, "; }", "joined from at most 256");
    limit(BEFORE, "keep q.i == 3; ", 10000, "}", NULL);
    limit_of_chain(BEFORE "keep false", " or q.i == %d + %d * k.i + %d", 10000, "; }",
                   "different operations");
    limit_of_chain(BEFORE, "require size(i) > %d; #%d %d\n", 100000, "keep true; }",
                   "at most 1024 'require'");
}

Test(check, sixteen_mebibytes_of_anything) {
    limit(BEFORE "keep true; #", "c", 16 * MIB - 100, "\n}", NULL);
    limit("", "\n", 16 * MIB, "", "no pattern");
    limit("", "\n", 16 * MIB + 1, "", "over 16 MiB");
    limit("", ";", 16 * MIB, "", "expected a statement");
    limit("", "a ", 8 * MIB, "", "starts no statement");
    limit("", "{", 16 * MIB, "", "expected a statement");
    limit("", "\xff", 16 * MIB, "", "not UTF-8");
    limit("", "\"", 16 * MIB, "", "expected a statement");
    limit("", "..", 8 * MIB, "", "expected a statement");
    limit("", "1.", 8 * MIB, "", "digit on both sides");
    limit(BEFORE "keep q.i < ", "9", 16 * MIB - 100, "; }", "does not fit 64 bits");
    limit(BEFORE "keep q.i < 1.", "9", 16 * MIB - 100, "; }", "digits");
    limit(BEFORE "keep q.i < ", "a", 16 * MIB - 100, "; }", "at most 255 bytes");
    limit(BEFORE "keep true", " or true", 2 * MIB - 10, "; }", "too long");
    limit(BEFORE, "keep x y; ", MIB, "}", "expected ';'");
    limit(BEFORE, "layer ", 2 * MIB, "}", "not in this version");
    limit("", "pattern p { axes i; keep true; } ", 100000, "", "declared twice");
}

Test(check, exponential_texts_are_bounded) {
    const char *wide = "expands to too much", *again = "fn f0(x) = x; ";
    limit_of_chain(BEFORE "let a0 = q.i; ", "let a%d = a%d + a%d; ", 18, "keep a18 > 0; }", NULL);
    limit_of_chain(BEFORE "let a0 = q.i; ", "let a%d = a%d + a%d; ", 60, "keep a60 > 0; }", wide);
    limit_of_chain(again, "fn f%d(x) = f%d(x) * f%d(x); ", 60, BEFORE "keep f60(q.i) > 0; }", wide);
    limit_of_chain(again, "fn f%d(x) = f%d(x * 2) * f%d(x * 3 + q.token); ", 60,
                   BEFORE "keep f60(q.i) > 0; }", wide);
    limit_of_chain(BEFORE "let a0 = q.i; ", "let a%d = count e in 0 .. 9 : e < a%d * a%d; ", 12,
                   "keep any e in 0 .. 4 : any f in 0 .. 4 : a12 == e * f; }", NULL);
    limit_of_chain("pattern p0 { axes i; param int a = 1; keep a == q.i; } ",
                   "pattern p%d { axes i; param int a = 1; keep use p%d(a = a * 2) or use p%d(a = "
                   "a + 3); } ",
                   60, "", wide);
    limit_of_chain(again, "fn f%d(x) = f%d(x) + 1; ", 5000, BEFORE "keep f5000(q.i) > 0; }",
                   "nest too deep");
    limit_of_chain("pattern p0 { axes i; keep true; } ",
                   "pattern p%d { axes i; keep use p%d(); } #%d\n", 5000, "", "nest too deep");
}

// ---- memory ----------------------------------------------------------------------------------

static const char everything[] =
    "fn f(a, b) = c * c where c = a - b;\n"
    "pattern base { axes i; param int w[head] = head; keep q.i - k.i < w[head]; }\n"
    "pattern p { axes i; const int block = 8; param real r = 0.5; input int doc[i];\n"
    "  map m[a in 0 .. block] = a % 2 == 0; let set = {1, 2, 3} | 8 .. 16;\n"
    "  require r > 0 : \"r\"; keep use base(w = 3) and doc[q.i] in set and m[q.i % 8];\n"
    "  keep f(q.i, k.i) < 9 and any e in set : e == q.i; score s * r; }";

static enum heddle_status check_within(size_t ceiling_bytes, const struct strbuf *text) {
    arena_finish(&arena);
    arena_init(&arena, ceiling_bytes);
    jmp_buf escape; // diags_init and the first allocations of a tiny arena
    arena.escape = &escape;
    if (setjmp(escape))
        return HEDDLE_OUT_OF_MEMORY;
    diags_init(&diags, &arena);
    arena.escape = NULL;
    enum heddle_status status =
        check_text(&arena, &diags, "p.heddle", text->text, text->length, NULL, &pattern, &error);
    cr_assert_null(arena.escape);
    return status;
}

// The text with a long comment, so that not everything fits the arena's first block.
static struct strbuf long_text(void) {
    struct strbuf text = {0};
    strbuf_puts(&text, everything);
    strbuf_puts(&text, "#");
    repeat(&text, "comment ", 20000);
    return text;
}

Test(check, a_small_arena_is_out_of_memory_and_nothing_worse) {
    struct strbuf text = long_text();
    enum heddle_status status = HEDDLE_OUT_OF_MEMORY;
    for (size_t ceiling = 1; status != HEDDLE_OK && ceiling < 64 * MIB; ceiling += 10000) {
        status = check_within(ceiling, &text);
        cr_assert(status == HEDDLE_OK || status == HEDDLE_OUT_OF_MEMORY, "status %d", (int)status);
    }
    cr_assert_eq(status, HEDDLE_OK);
    strbuf_finish(&text);
}

Test(check, the_callers_way_out_is_taken) {
    static struct strbuf text; // lives through the jump
    static jmp_buf escape;
    text = long_text();
    arena_finish(&arena);
    arena_init(&arena, 200000);
    diags_init(&diags, &arena);
    arena.escape = &escape;
    if (setjmp(escape) == 0) {
        check_text(&arena, &diags, "p.heddle", text.text, text.length, NULL, &pattern, &error);
        cr_assert_fail("200 kB are not enough");
    }
    cr_assert_eq(arena.escape, &escape);
    strbuf_finish(&text);
}

// ---- meanings --------------------------------------------------------------------------------

// Keys that query 0 keeps of 64, as characters.
static const char *row_of(const char *keep) {
    static char row[65];
    char text[512];
    snprintf(text, sizeof text, "pattern p { axes i; %s }", keep);
    cr_assert_eq(check_plain(text), HEDDLE_OK, "%s", messages.text ? messages.text : "");
    struct eval_env env = {.size = {64}, .axis_count = 1, .heads = 4, .kv_heads = 4, .batches = 1};
    for (int key = 0; key < 64; key++) {
        struct eval_failure failure = {0};
        env.key[0] = key;
        row[key] = expr_eval(pattern->keep, &env, &failure).b ? '1' : '.';
        cr_assert_eq(failure.fault, EVAL_OK);
    }
    return row;
}

static void same_row(const char *keep, const char *other) {
    char row[65];
    strcpy(row, row_of(keep));
    cr_expect_str_eq(row, row_of(other), "%s", keep);
}

Test(check, an_element_of_several_sets_counts_once) {
    same_row("keep (count e in 0 .. 10 | 5 .. 15 : true) == k.i;", "keep k.i == 15;");
    same_row("keep (count e in {1, 1, 2, k.i} : true) == 2;", "keep k.i in {1, 2};");
    same_row("keep (count e in {k.i, 5, k.i + 1} : true) == 2;", "keep k.i in {4, 5};");
    same_row("keep (count e in 0 .. 10 & 5 .. 15 : e < k.i) == 3;", "keep k.i == 8;");
    same_row("keep (count e in (0 .. 10 | {20}) - {3, 20} : true) == k.i;", "keep k.i == 9;");
    same_row("keep (count e in pow2(0 .. 5) | {16, 3} : e <= k.i) == 6;", "keep k.i >= 16;");
}

Test(check, sets_mean_what_they_say) {
    same_row("keep k.i in 3 .. 20 step 4;", "keep k.i in {3, 7, 11, 15, 19};");
    same_row("keep any e in 3 .. 20 step 4 : e == k.i;", "keep k.i in {3, 7, 11, 15, 19};");
    same_row("keep k.i in pow2(1 .. 5) - {4};", "keep k.i in {2, 8, 16};");
    same_row("keep any e in pow2(1 .. 5) - {4} : e == k.i;", "keep k.i in {2, 8, 16};");
    same_row("keep all e in 0 .. 4 : k.i % (e + 1) == 0;", "keep k.i % 12 == 0;");
    same_row("keep all e in {} : e > 3;", "keep true;");
    same_row("keep all e in 2 .. 8 - 2 | {1, 9} - {9} : e != k.i;", "keep not k.i in 1 .. 6;");
}

Test(check, values_keep_their_meaning_under_quantifiers) {
    same_row("let n = count e in 0 .. 8 : e < k.i; keep any e in 3 .. 5 : e == n;",
             "keep k.i in {3, 4};");
    same_row(
        "fn f(x, y) = any e in 0 .. 10 : (e == x and e < y); "
        "keep any e in 2 .. 4 : f(e * 3, (count f in 0 .. 8 : f < k.i) + 1);",
        "keep k.i >= 6;");
    same_row("let few = 0 .. (count e in 0 .. 3 : e < k.i); keep any f in 0 .. 4 : f + 1 in few;",
             "keep k.i >= 2;");
}

Test(check, precedence) {
    same_row("keep k.i & (k.i - 1) == 0;", "keep (k.i & (k.i - 1)) == 0;");
    same_row("keep -1 / 2 == -1 and -1 % 4 == 3 and k.i == 5 | 2;", "keep k.i == 7;");
    same_row("keep not k.i == 3 and k.i < 5;", "keep k.i in {0, 1, 2, 4};");
    same_row("keep any e in 0 .. 3 : e == k.i or k.i == 7;", "keep k.i in {0, 1, 2, 7};");
    same_row("keep k.i < 2 ? true : k.i < 4 ? false : k.i < 6;", "keep k.i in {0, 1, 4, 5};");
    same_row("keep k.i == 1 << 2 + 1;", "keep k.i == 8;");
}

Test(check, a_use_replaces_parameters) {
    const char text[] =
        "pattern band { axes i; param int w[head] = head + 1, d[head] = w[head] * 2;\n"
        "  keep k.i - q.i in d[head] .. d[head] + w[3]; }\n"
        "pattern p { axes i; param int t[head] = 5; keep use band(w = t[head] + head); }";
    cr_assert_eq(check(text, strlen(text), "p.heddle", NULL), HEDDLE_OK);
    struct strbuf dump = {0};
    pattern_print(pattern, &dump);
    cr_assert(strstr(dump.text, "t[3] + 3"), "%s", dump.text); // w at head 3
    cr_assert(strstr(dump.text, "(t[head] + head) * 2"), "%s", dump.text);
    strbuf_finish(&dump);
}

Test(check, fingerprints_ignore_names_and_layout) {
    cr_assert_eq(check_plain("pattern a { axes i; param int w = 3; keep q.i - k.i < w; }"),
                 HEDDLE_OK);
    uint64_t first = pattern_fingerprint(pattern);
    cr_assert_eq(check_plain("pattern b { axes x; # other names\n param int v = 3;\n"
                             "let d = q.x - k.x; let unused = d * d; keep d < v; }"),
                 HEDDLE_OK);
    cr_assert_eq(pattern_fingerprint(pattern), first);
    cr_assert_eq(check_plain("pattern a { axes i; param int w = 3; keep q.i - k.i <= w; }"),
                 HEDDLE_OK);
    cr_assert_neq(pattern_fingerprint(pattern), first);
}
