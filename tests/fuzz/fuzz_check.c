// Fuzzing of the front end: mutated pattern files through parse, check and the dumps.
//
//   fuzz_check ITERATIONS SEED FILE...      deterministic; the files are the corpus
//
// What must hold for any bytes:
//   - no crash, no hang, and errors exactly when the status says so
//   - what parses prints as text that parses to the same text
//   - what checks prints as a pattern that checks to the same fingerprint
// A case that fails is written to fuzz_failure.heddle. Built with -DLIBFUZZER, libFuzzer drives it.

#include "dsl/check.h"
#include "tests/fuzz/fuzz_random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_BYTES = 1 << 16, MAX_CORPUS = 512, MOST_SECONDS = 5 };

static const uint8_t *current;
static size_t current_length;
static long good_patterns; // a fuzzer that never gets past the parser tests little

static void fail(const char *what, const char *detail) {
    FILE *file = fopen("fuzz_failure.heddle", "wb");
    if (file) {
        fwrite(current, 1, current_length, file);
        fclose(file);
    }
    fprintf(stderr, "fuzz_check: %s (see fuzz_failure.heddle)\n%s\n", what, detail ? detail : "");
    abort();
}

// One check with everything it owns.
struct session {
    struct arena arena;
    struct diags diags;
    struct error error;
    struct strbuf messages;
    struct pattern *pattern;
    enum heddle_status status;
};

static void session_open(struct session *session) {
    memset(session, 0, sizeof *session);
    arena_init(&session->arena, 0);
    diags_init(&session->diags, &session->arena);
}

static void session_close(struct session *session) {
    strbuf_finish(&session->messages);
    error_finish(&session->error);
    arena_finish(&session->arena);
}

static void session_check(struct session *session, const char *path, const char *text,
                          size_t length) {
    session_open(session);
    session->status = check_text(&session->arena, &session->diags, path, text, length, NULL,
                                 &session->pattern, &session->error);
    diags_print(&session->diags, &session->messages);
    if ((session->status == HEDDLE_PATTERN_ERROR) != (session->diags.error_count > 0))
        fail("status and errors disagree", session->messages.text);
    if (session->status != HEDDLE_OK && session->status != HEDDLE_PATTERN_ERROR)
        fail("an unexpected status", error_text(&session->error));
}

static enum heddle_status print_tree(const char *path, const char *text, size_t length,
                                     struct strbuf *out) {
    struct session session;
    session_open(&session);
    enum heddle_status status =
        parse_dump(&session.arena, &session.diags, path, text, length, out, &session.error);
    session_close(&session);
    return status;
}

static void tree_prints_back(const char *path, const char *text, size_t length) {
    struct strbuf first = {0}, second = {0};
    if (print_tree(path, text, length, &first) == HEDDLE_OK && first.length > 0) {
        if (print_tree(path, first.text, first.length, &second) != HEDDLE_OK)
            fail("the printed tree does not parse", first.text);
        if (strcmp(first.text, second.text) != 0)
            fail("the printed tree parses to another", first.text);
    }
    strbuf_finish(&first);
    strbuf_finish(&second);
}

// Does a name of the pattern hide one of the language's? The dump then reads differently.
static bool hides_a_name(const struct pattern *pattern) {
    static const char hidden[] =
        " q k s head heads kv_head batch causal size min max abs ceildiv "
        "log2 bits clamp exp exp2 log sqrt tanh real pow2 "
        "dim queries scale dot sum mean last sample children softmax ";
    bool hides = false;
    for (int i = 0; i < pattern->param_count + pattern->input_count + pattern->map_count; i++) {
        int input = i - pattern->param_count, map = input - pattern->input_count;
        const char *name = map >= 0     ? pattern->maps[map].name
                           : input >= 0 ? pattern->inputs[input].name
                                        : pattern->params[i].name;
        char word[300];
        snprintf(word, sizeof word, " %s ", name);
        hides = hides || strstr(hidden, word) || name[0] == 'e';
    }
    for (int i = 0; i < pattern->const_count; i++) {
        char word[300];
        snprintf(word, sizeof word, " %s ", pattern->consts[i].name);
        hides = hides || strstr(hidden, word) || pattern->consts[i].name[0] == 'e';
    }
    return hides;
}

static void pattern_prints_back(const char *path, const struct pattern *pattern) {
    struct strbuf dump = {0};
    pattern_print(pattern, &dump);
    if (dump.failed || !dump.text)
        fail("the pattern does not print", NULL);
    if (!hides_a_name(pattern) && !pattern_is_pooled(pattern)) {
        struct session again;
        session_check(&again, path, dump.text, dump.length);
        if (again.status != HEDDLE_OK) {
            strbuf_puts(&dump, again.messages.text ? again.messages.text : "");
            fail("the printed pattern has errors", dump.text);
        }
        if (pattern_fingerprint(again.pattern) != pattern_fingerprint(pattern))
            fail("the printed pattern is another", dump.text);
        session_close(&again);
    }
    strbuf_finish(&dump);
}

static void try(const char *path, const uint8_t *bytes, size_t length) {
    current = bytes;
    current_length = length;
    clock_t begin = clock();
    struct session session;
    session_check(&session, path, (const char *)bytes, length);
    if (session.status == HEDDLE_OK) {
        good_patterns++;
        pattern_prints_back(path, session.pattern);
    }
    session_close(&session);
    tree_prints_back(path, (const char *)bytes, length);
    if (clock() - begin > (clock_t)MOST_SECONDS * CLOCKS_PER_SEC)
        fail("too slow", NULL);
}

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    try("patterns/fuzz.heddle", bytes, length);
    return 0;
}

#else

// ---- mutation --------------------------------------------------------------------------------

struct sample {
    const char *path; // beside the file, so that its imports are found
    uint8_t *bytes;
    size_t length;
};

static struct sample corpus[MAX_CORPUS];
static int corpus_count;
static void splice(uint8_t *bytes, size_t *length, size_t at, size_t removed,
                   const uint8_t *inserted, size_t inserted_length) {
    if (*length - removed + inserted_length > MAX_BYTES)
        return;
    memmove(bytes + at + inserted_length, bytes + at + removed, *length - at - removed);
    if (inserted_length > 0)
        memcpy(bytes + at, inserted, inserted_length);
    *length += inserted_length - removed;
}

static const char *const dictionary[] = {
    "pattern ",
    "import ",
    "fn ",
    "axes ",
    "const ",
    "param ",
    "input ",
    "let ",
    "map ",
    "require ",
    "keep ",
    "score ",
    "select ",
    "stage ",
    " ranked by ",
    " of x in ",
    " always ",
    " over (",
    "top(",
    "bands(1: 0.5, rest: 0)",
    "mean(q, 4)[head, 0]",
    "dot(",
    "sum x in 0 .. 4 : ",
    "pool ",
    "segments ",
    "branch ",
    " at ",
    " where ",
    " step ",
    "use ",
    "true",
    "false",
    " and ",
    " or ",
    "not ",
    " in ",
    "any e in ",
    "all e in ",
    "count e in ",
    "q.i",
    "k.i",
    "q.token",
    "head",
    "heads",
    "kv_head",
    "batch",
    "causal",
    "size(i)",
    "pow2(0 .. 4)",
    "0 .. 8",
    "{1, 2}",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ";",
    ",",
    " : ",
    " ? ",
    " = ",
    " == ",
    " < ",
    " >= ",
    " << ",
    " >> ",
    " % ",
    " / ",
    " - ",
    " * ",
    " | ",
    " & ",
    " ^ ",
    "..",
    ".",
    "0",
    "64",
    "1.5",
    "1.0e300",
    "9223372036854775807",
    "9223372036854775808",
    "\"",
    "#",
    "\n",
    "s",
    "min(",
    "clamp(",
    "real(",
    "exp2(",
    "log2(",
    "bits(",
    "ceildiv(",
    "abs(",
    "int ",
    "real ",
    "[head]",
    "blocks(i, 64)",
    "\xff",
    "\xc3\xa9",
    "use window()",
    "-9223372036854775808",
    "1.0e-300",
    "int x[head] = head",
};

static void mutate(uint8_t *bytes, size_t *length) {
    size_t at = random_below((uint32_t)*length + 1), rest = *length - at;
    size_t some = rest ? random_below((uint32_t)(rest < 40 ? rest : 40)) : 0;
    const struct sample *other = &corpus[random_below((uint32_t)corpus_count)];
    const char *word = dictionary[random_below(sizeof dictionary / sizeof *dictionary)];
    uint8_t copy[64];
    switch (random_below(7)) {
    case 0: // drop some bytes
        splice(bytes, length, at, some, NULL, 0);
        break;
    case 1: // repeat some
        memcpy(copy, bytes + at, some);
        for (uint32_t times = 1 + random_below(20); times > 0; times--)
            splice(bytes, length, at, 0, copy, some);
        break;
    case 2: // another byte
        if (rest)
            bytes[at] = (uint8_t)random_below(256);
        break;
    case 3: { // a piece of another file
        size_t from = random_below((uint32_t)other->length + 1), left = other->length - from;
        size_t piece = left ? random_below((uint32_t)(left < 200 ? left : 200)) : 0;
        splice(bytes, length, at, some, other->bytes + from, piece);
        break;
    }
    default: // a word of the language, inserted or in place of something
        splice(bytes, length, at, random_below(2) ? some : 0, (const uint8_t *)word, strlen(word));
        break;
    }
}

static bool load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || corpus_count == MAX_CORPUS)
        return false;
    struct sample *sample = &corpus[corpus_count++];
    sample->bytes = malloc(MAX_BYTES);
    sample->length = fread(sample->bytes, 1, MAX_BYTES, file);
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    char *beside = malloc(folder + sizeof "fuzz.heddle");
    memcpy(beside, path, folder);
    memcpy(beside + folder, "fuzz.heddle", sizeof "fuzz.heddle");
    sample->path = beside;
    fclose(file);
    return true;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: fuzz_check ITERATIONS SEED FILE...\n");
        return 2;
    }
    long iterations = strtol(argv[1], NULL, 10);
    fuzz_seed(argv[2]);
    for (int i = 3; i < argc; i++)
        if (!load(argv[i]))
            fprintf(stderr, "fuzz_check: cannot read %s\n", argv[i]);
    static uint8_t bytes[MAX_BYTES];
    for (int i = 0; i < corpus_count; i++)
        try(corpus[i].path, corpus[i].bytes, corpus[i].length);
    for (long i = 0; corpus_count > 0 && i < iterations; i++) {
        const struct sample *sample = &corpus[random_below((uint32_t)corpus_count)];
        size_t length = sample->length;
        memcpy(bytes, sample->bytes, length);
        for (uint32_t steps = 1 + random_below(1 + random_below(6)); steps > 0; steps--)
            mutate(bytes, &length);
        try(sample->path, bytes, length);
    }
    printf("%ld cases from %d files, %ld of them patterns without errors\n", iterations,
           corpus_count, good_patterns);
    for (int i = 0; i < corpus_count; i++) {
        free(corpus[i].bytes);
        free((char *)(uintptr_t)corpus[i].path);
    }
    return 0;
}

#endif
