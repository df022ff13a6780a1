// Readers of bundles on hostile ones: no crash, no hang, no byte read past the end (under the
// address sanitizer), and what is taken for a pattern can be bound and evaluated like one.
//
//   fuzz_bundle ITERATIONS SEED IMPORTS FILE...      deterministic; patterns, the corpus
//
// Machine code of a bundle is trusted, so none is run here.

#include "compiler/bundle/bundle_make.h"
#include "compiler/cache/entry.h"
#include "dsl/pattern_codec.h"
#include "runtime/bind.h"
#include "runtime/ranges.h"
#include "runtime/sources.h"
#include "tests/fuzz/fuzz_random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_FILES = 256, MOST_INPUTS = 8, MOST_ELEMENTS = 1 << 14, MOST_SECONDS = 20 };

static struct corpus {
    struct strbuf pattern, bundle; // bytes
} corpus[MOST_FILES];
static int corpus_count;
static long good_patterns, bound, good_bundles; // a fuzzer whose bytes are never taken tests little

static void fail(const char *what, const char *detail) {
    fprintf(stderr, "fuzz_bundle: %s\n%s\n", what, detail ? detail : "");
    abort();
}

static void add_file(const char *path, const char *import_dir) {
    const struct check_options options = {.import_dirs = &import_dir, .import_dir_count = 1};
    struct program *program = NULL;
    struct error error = {0};
    const struct select_spec spec = {HEDDLE_F32, 16, true};
    struct corpus *c = &corpus[corpus_count];
    if (corpus_count == MOST_FILES ||
        program_create(path, NULL, 0, &options, &program, &error) != HEDDLE_OK)
        fail(path, error_text(&error));
    struct bundle_maker maker = {.program = program};
    if (!pattern_write(program->pattern, &c->pattern) ||
        bundle_add_planner(&maker, cpu_level(0), &error) != HEDDLE_OK ||
        bundle_add_maps(&maker, cpu_level(0), &error) != HEDDLE_OK ||
        bundle_add_select(&maker, &spec, cpu_level(0), &error) != HEDDLE_OK ||
        bundle_finish(&maker, &c->bundle, &error) != HEDDLE_OK)
        fail(path, error_text(&error));
    bundle_maker_finish(&maker);
    program_destroy(program);
    corpus_count++;
}

// A few changes of bytes, mostly small: numbers of the format are a byte or two.
static void mutate(struct strbuf *bytes) {
    for (uint32_t steps = random_below(5); steps > 0 && bytes->length > 1; steps--) {
        size_t at = random_below((uint32_t)bytes->length);
        switch (random_below(6)) {
        case 0:
            bytes->length = at;
            break;
        case 1:
            bytes->text[at] = (char)random_below(256);
            break;
        case 2:
            bytes->text[at] = (char)(bytes->text[at] + 1 - 2 * (int)random_below(2));
            break;
        case 3:
            memmove(bytes->text + at, bytes->text + at + 1, bytes->length - at - 1);
            bytes->length--;
            break;
        case 4:
            bytes->text[at] ^= (char)(1 << random_below(8));
            break;
        default:
            strbuf_add(bytes, &(char){(char)random_below(256)}, 1);
        }
    }
}

// ---- patterns -----------------------------------------------------------------------------------

// Inputs of zeros, where their shapes are simple; the others are missing, and binding says so.
static void give_inputs(const struct pattern *pattern, struct heddle_problem *problem,
                        struct heddle_input *out) {
    static const int64_t zeros[MOST_ELEMENTS];
    int64_t tokens = 1;
    for (int a = 0; a < pattern->axis_count; a++)
        tokens *= problem->sizes[a];
    problem->inputs = out;
    for (int i = 0; i < pattern->input_count && i < MOST_INPUTS; i++) {
        const struct pattern_input *input = &pattern->inputs[i];
        struct heddle_input *given = &out[problem->input_count];
        int64_t elements = 1;
        *given = (struct heddle_input){.name = input->name, .data = zeros};
        given->element = input->type == TYPE_REAL ? HEDDLE_FLOAT32 : HEDDLE_INT32;
        given->rank = input->index_count;
        for (int n = 0; n < input->index_count; n++) {
            const struct pattern_index *index = &input->indices[n];
            bool by_head = index->kind == INDEX_HEAD || index->kind == INDEX_KV_HEAD;
            given->shape[n] = index->kind == INDEX_TOKEN  ? tokens
                              : index->kind == INDEX_AXIS ? problem->sizes[index->axis]
                              : by_head                   ? 2
                                                          : 1;
            elements *= given->shape[n];
        }
        problem->input_count += elements <= MOST_ELEMENTS;
    }
}

// What a plan does with a pattern before it calls compiled code.
static void bind_all(struct program *program) {
    struct plan plan = {.program = program, .turns = 1};
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    struct error error = {0};
    jmp_buf escape;
    struct heddle_input inputs[MOST_INPUTS];
    for (int a = 0; a < HEDDLE_MAX_AXES; a++)
        problem.sizes[a] = 1 + (int64_t)random_below(4);
    problem.heads = problem.kv_heads = 2;
    give_inputs(program->pattern, &problem, inputs);
    arena_init(&plan.arena, (size_t)1 << 28);
    plan.arena.escape = &escape;
    if (!setjmp(escape)) {
        enum heddle_status status = bind_shapes(&plan, &problem, &error);
        if (status == HEDDLE_OK)
            status = bind_params(&plan, &problem, &error);
        if (status == HEDDLE_OK)
            status = bind_requires(&plan, &problem, &error);
        if (status == HEDDLE_OK)
            status = bind_arrays(&plan, &problem, &error);
        if (status == HEDDLE_OK)
            status = ranges_check(&plan, &error);
        if (status == HEDDLE_OK)
            status = sources_bind(&plan, &error);
        bound += status == HEDDLE_OK;
        for (int64_t key = 0; status == HEDDLE_OK && key < plan.keys; key++)
            plan_keeps(&plan, 0, 1, 0, key);
    }
    error_finish(&error);
    arena_finish(&plan.arena);
}

static void use_pattern(struct program *program, struct strbuf *text) {
    pattern_print(program->pattern, text);
    program->source_facts = analyse_sources(&program->arena, program->pattern);
    program->facts = program->source_facts[0];
    facts_print_sources(program->source_facts, program->pattern, text);
    bind_all(program);
}

// Bytes in memory of exactly their length, so that a sanitizer sees a byte past it.
static char *exactly(const struct strbuf *bytes) {
    char *copy = malloc(bytes->length ? bytes->length : 1);
    memcpy(copy, bytes->text, bytes->length);
    return copy;
}

// Maps of many elements are filled by compiled code, and of mutated patterns there is none.
static enum heddle_status no_maps(struct program *program, struct map_code *out,
                                  struct error *error) {
    (void)program;
    (void)out;
    return error_set(error, HEDDLE_NO_COMPILER, "no code of maps");
}
static const struct code_source NO_CODE = {.make_maps = no_maps};

static void try_pattern(const struct corpus *c) {
    struct strbuf bytes = {0}, text = {0};
    struct program program = {.source = &NO_CODE};
    const char *fault = NULL;
    jmp_buf escape;
    strbuf_add(&bytes, c->pattern.text, c->pattern.length);
    mutate(&bytes);
    char *copy = exactly(&bytes);
    // Now and then there is little memory.
    arena_init(&program.arena, (size_t)1 << (random_below(8) ? 28 : 12 + random_below(10)));
    program.arena.escape = &escape;
    if (!setjmp(escape)) {
        diags_init(&program.diags, &program.arena);
        program.pattern = pattern_read(copy, bytes.length, &program.arena, &program.diags, &fault);
        if (!program.pattern == !fault)
            fail("a fault without a word, or a word without one", fault);
        if (program.pattern) {
            good_patterns++;
            use_pattern(&program, &text);
        }
    }
    arena_finish(&program.arena);
    free(copy);
    strbuf_finish(&text);
    strbuf_finish(&bytes);
}

// ---- bundles ------------------------------------------------------------------------------------

// The body is changed, the frame around it is right.
static void try_bundle(const struct corpus *c) {
    struct entry entry;
    struct strbuf body = {0}, whole = {0};
    struct program *program;
    struct error error = {0};
    const struct check_options options = {0};
    if (!entry_read(c->bundle.text, c->bundle.length, &entry))
        fail("the corpus is damaged", NULL);
    strbuf_add(&body, entry.code.bytes, entry.code.length);
    mutate(&body);
    entry.code = (struct entry_text){body.text, body.length};
    entry_write(&entry, &whole);
    char *copy = exactly(&whole);
    enum heddle_status status =
        program_create("fuzz.hbundle", copy, whole.length, &options, &program, &error);
    if (status != HEDDLE_OK && status != HEDDLE_IO_ERROR && status != HEDDLE_NO_COMPILER)
        fail(heddle_status_name(status), error_text(&error));
    good_bundles += status == HEDDLE_OK;
    program_destroy(program);
    error_finish(&error);
    free(copy);
    strbuf_finish(&whole);
    strbuf_finish(&body);
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: fuzz_bundle ITERATIONS SEED IMPORTS FILE...\n");
        return 2;
    }
    long iterations = strtol(argv[1], NULL, 10);
    fuzz_seed(argv[2]);
    for (int i = 4; i < argc; i++)
        add_file(argv[i], argv[3]);
    for (long i = 0; i < iterations; i++) {
        double begin = now_s();
        const struct corpus *c = &corpus[random_below((uint32_t)corpus_count)];
        if (i % 4)
            try_pattern(c);
        else
            try_bundle(c);
        if (now_s() - begin > MOST_SECONDS)
            fail("a case takes too long", NULL);
    }
    printf("%ld cases; %ld patterns (%ld bound) and %ld bundles were taken\n", iterations,
           good_patterns, bound, good_bundles);
    for (int i = 0; i < corpus_count; i++) {
        strbuf_finish(&corpus[i].pattern);
        strbuf_finish(&corpus[i].bundle);
    }
    return good_patterns && bound && good_bundles ? 0 : 1;
}
