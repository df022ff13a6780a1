#include "tests/gpu/problems.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct maker {
    struct device_problem *p;
    struct random_source *random;
    int64_t keys, heads;
};

static int64_t upto(struct maker *m, int64_t low, int64_t high) {
    return random_in(m->random, low, high > low ? high : low);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// ---- parameters ---------------------------------------------------------------------------------

static struct heddle_param *add_param(struct device_problem *p, const char *name, int count) {
    int number = p->problem.param_count++;
    assert(number < MOST_PARAMS && count <= MOST_HEADS);
    p->params[number] = (struct heddle_param){.name = name, .count = count};
    return &p->params[number];
}

static int64_t *add_ints(struct device_problem *p, const char *name, int count) {
    struct heddle_param *param = add_param(p, name, count);
    param->ints = p->ints[param - p->params];
    return p->ints[param - p->params];
}

static double *add_reals(struct device_problem *p, const char *name, int count) {
    struct heddle_param *param = add_param(p, name, count);
    param->reals = p->reals[param - p->params];
    return p->reals[param - p->params];
}

void problem_set(struct device_problem *p, const char *name, int64_t value) {
    add_ints(p, name, 1)[0] = value;
}

static void set(struct maker *m, const char *name, int64_t value) {
    problem_set(m->p, name, value);
}

static int64_t set_block(struct maker *m, int64_t size) {
    struct device_problem *p = m->p;
    snprintf(p->block_text, sizeof p->block_text, "%" PRId64, size);
    p->block = (struct heddle_assignment){"block", p->block_text};
    p->options.consts = &p->block;
    p->options.const_count = 1;
    return size;
}

static void no_params(struct maker *m) {
    (void)m;
}

static void window(struct maker *m) {
    int64_t near = upto(m, 0, 40), far = upto(m, 0, m->keys + 5);
    set(m, "before", ONE_OF(m->random, 0, 1, near, far));
    near = upto(m, 0, 20), far = upto(m, 0, m->keys + 5);
    set(m, "after", ONE_OF(m->random, 0, 0, near, far));
}

static void sink_window(struct maker *m) {
    int64_t few = upto(m, 0, 9), near = upto(m, 0, 40), far = upto(m, 0, m->keys + 5);
    set(m, "sink", ONE_OF(m->random, 0, 1, few, far));
    far = upto(m, 0, m->keys + 5);
    set(m, "before", ONE_OF(m->random, 0, 1, near, far));
}

static void dilated(struct maker *m) {
    int64_t some = upto(m, 1, 9), many = upto(m, 1, 70);
    sink_window(m);
    set(m, "dilation", ONE_OF(m->random, 1, 2, some, many));
}

static void neighborhood(struct maker *m) {
    static const char *const names[][4] = {{"win_t", "dilation_t", "stride_t", "causal_t"},
                                           {"win_y", "dilation_y", "stride_y", "causal_y"},
                                           {"win_x", "dilation_x", "stride_x", "causal_x"}};
    for (int a = 0; a < m->p->axes; a++) {
        const char *const *name = names[3 - m->p->axes + a];
        int64_t size = m->p->problem.sizes[a], split = upto(m, 1, smaller(size, 4));
        int64_t dilation = ONE_OF(m->random, 1, 1, split);
        int64_t wide = upto(m, 1, size / dilation),
                narrow = smaller(upto(m, 1, 9), size / dilation);
        int64_t win = ONE_OF(m->random, wide, narrow), stride = upto(m, 1, win);
        set(m, name[0], win);
        set(m, name[1], dilation);
        set(m, name[2], ONE_OF(m->random, 1, stride, win));
        set(m, name[3], ONE_OF(m->random, 0, 0, 1));
    }
}

static void strided(struct maker *m) {
    int64_t size = set_block(m, ONE_OF(m->random, 1, 3, 4, 16, 64)), blocks = m->keys / size + 2;
    set(m, "local", upto(m, 0, smaller(blocks, 5)));
    set(m, "stride", upto(m, 1, smaller(blocks, 9)));
    if (upto(m, 0, 1))
        return;
    int64_t *shift = add_ints(m->p, "shift", (int)m->heads);
    for (int h = 0; h < m->heads; h++)
        shift[h] = upto(m, -9, 20);
}

static void power(struct maker *m) {
    int64_t size = set_block(m, ONE_OF(m->random, 1, 3, 4, 16, 64)), blocks = m->keys / size + 2;
    set(m, "sink", upto(m, 0, smaller(blocks, 3)));
    set(m, "local", upto(m, 0, smaller(blocks, 4)));
}

static void spans(struct maker *m) {
    int64_t size = set_block(m, ONE_OF(m->random, 1, 4, 16, 64)), blocks = m->keys / size + 2;
    int64_t *sink = add_ints(m->p, "sink", (int)m->heads);
    int64_t *span = add_ints(m->p, "span", (int)m->heads);
    for (int h = 0; h < m->heads; h++) {
        sink[h] = upto(m, 0, smaller(blocks, 3)) * size;
        span[h] = sink[h] + upto(m, 0, smaller(blocks, 6)) * size;
    }
}

static void radial(struct maker *m) {
    int64_t some = upto(m, 0, m->p->problem.sizes[0] + 1);
    set(m, "sink", ONE_OF(m->random, 0, 0, 1, some));
}

static void radial_code(struct maker *m) {
    static const double decays[] = {1.0, 0.2, 0.8, 0.95, 2.0};
    radial(m);
    set_block(m, ONE_OF(m->random, 1, 2, 4, 16, 128));
    add_reals(m->p, "decay", 1)[0] = decays[upto(m, 0, 4)];
}

static void radial_blocks(struct maker *m) {
    int64_t some = upto(m, 0, m->keys);
    radial_code(m);
    set_block(m, ONE_OF(m->random, 2, 7, 16, 33, 64, 128));
    set(m, "text", ONE_OF(m->random, 0, 0, some));
}

enum { MOST_RANK = 3 };

// The array for another input, of zeros.
static void *add_input(struct device_problem *p, const char *name, enum heddle_element element,
                       int rank, const int64_t *shape) {
    int number = p->problem.input_count++;
    struct heddle_input *input = &p->inputs[number];
    int64_t count = 1;
    *input = (struct heddle_input){.name = name, .element = element, .rank = rank};
    assert(rank <= MOST_RANK);
    for (int i = 0; i < rank; i++)
        count *= input->shape[i] = shape[i];
    input->data = p->input_data[number] = calloc((size_t)count + 1, sizeof(int64_t));
    assert(input->data);
    return p->input_data[number];
}

static enum heddle_element int_element(bool wide) {
    return wide ? HEDDLE_INT64 : HEDDLE_INT32;
}

static void put(void *data, bool wide, int64_t at, int64_t value) {
    if (wide)
        ((int64_t *)data)[at] = value;
    else
        ((int32_t *)data)[at] = (int32_t)value;
}

// In one piece, numbered in any order, or all mixed up.
static void documents(struct maker *m) {
    int64_t longest = ONE_OF(m->random, 5, 40, 150);
    bool mixed = upto(m, 0, 9) < 3, wide = upto(m, 0, 1);
    int64_t left = 0, document = 0;
    void *data = add_input(m->p, "doc", int_element(wide), 1, &m->keys);
    for (int64_t i = 0; i < m->keys; i++, left--) {
        if (left == 0) {
            left = upto(m, 1, longest);
            document = upto(m, -1000, 1000);
        }
        put(data, wide, i, mixed ? upto(m, -2, 3) : document);
    }
}

// Lists of tokens in any order, some several times, with gaps; each may be empty.
static void lists(struct maker *m, const char *name) {
    int64_t room = ONE_OF(m->random, 0, 1, 7, 60);
    bool wide = upto(m, 0, 1);
    const int64_t shape[] = {m->heads, room};
    void *data = add_input(m->p, name, int_element(wide), 2, shape);
    for (int64_t i = 0; i < m->heads * room; i++)
        put(data, wide, i, upto(m, 0, 3) == 0 ? -1 : upto(m, 0, m->keys - 1));
}

static void vertical_slash(struct maker *m) {
    lists(m, "columns");
    lists(m, "diagonals");
}

static void token_list(struct maker *m) {
    lists(m, "tokens");
}

enum { BLOCK = 64 };

static int64_t block_count(const struct maker *m) {
    return (m->keys + BLOCK - 1) / BLOCK;
}

static void block_list(struct maker *m) {
    int64_t blocks = block_count(m), room = ONE_OF(m->random, 0, 1, 3, 9);
    const int64_t shape[] = {m->heads, blocks, room};
    bool wide = upto(m, 0, 1);
    void *data = add_input(m->p, "blocks", int_element(wide), 3, shape);
    for (int64_t i = 0; i < m->heads * blocks * room; i++)
        put(data, wide, i, upto(m, -1, blocks - 1));
    add_ints(m->p, "is_causal", 1)[0] = upto(m, 0, 1);
}

static void seer(struct maker *m) {
    int64_t blocks = block_count(m);
    const int64_t shape[] = {m->heads, blocks, blocks};
    float *gate = add_input(m->p, "gate", HEDDLE_FLOAT32, 3, shape);
    for (int64_t i = 0; i < m->heads * blocks * blocks; i++)
        gate[i] = (float)upto(m, 0, 100) * 1e-4f;
}

static void pyramid(struct maker *m) {
    static const int32_t levels[] = {0, 1, 2, 4, 8};
    int64_t blocks = (m->keys + 127) / 128;
    const int64_t shape[] = {m->heads, blocks, blocks};
    int32_t *factor = add_input(m->p, "factor", HEDDLE_INT32, 3, shape);
    for (int64_t i = 0; i < m->heads * blocks * blocks; i++)
        factor[i] = levels[upto(m, 0, 4)];
}

static void pyramid_static(struct maker *m) {
    set(m, "near", upto(m, 0, 3));
}

// Small slopes: far keys must not vanish from the output.
static void alibi(struct maker *m) {
    double *slope = add_reals(m->p, "slope", (int)m->heads);
    for (int h = 0; h < m->heads; h++)
        slope[h] = (double)upto(m, 0, 1000) * 1e-4;
}

static void setrec(struct maker *m) {
    int64_t a = upto(m, 0, m->keys), b = upto(m, 0, m->keys), large = upto(m, 1, m->keys + 3);
    set(m, "begin", smaller(a, b));
    set(m, "end", a + b - smaller(a, b));
    set(m, "group", ONE_OF(m->random, 1, 2, 3, large));
}

// ---- patterns -----------------------------------------------------------------------------------

static const struct {
    const char *name;
    int axes;
    void (*params)(struct maker *);
} PATTERNS[] = {
    {"full", 1, no_params},
    {"causal", 1, no_params},
    {"window", 1, window},
    {"sink_window", 1, sink_window},
    {"dilated", 1, dilated},
    {"strided", 1, strided},
    {"power", 1, power},
    {"spans", 1, spans},
    {"documents", 1, documents},
    {"alibi", 1, alibi},
    {"setrec", 1, setrec},
    {"neighborhood1d", 1, neighborhood},
    {"neighborhood2d", 2, neighborhood},
    {"neighborhood3d", 3, neighborhood},
    {"radial", 3, radial},
    {"radial_code", 3, radial_code},
    {"radial_blocks", 3, radial_blocks},
    {"vertical_slash", 1, vertical_slash},
    {"block_list", 1, block_list},
    {"token_list", 1, token_list},
    {"seer", 1, seer},
    {"pyramid", 1, pyramid},
    {"pyramid_static", 1, pyramid_static},
};

int pattern_count(void) {
    return (int)(sizeof PATTERNS / sizeof *PATTERNS);
}

const char *pattern_name(int number) {
    return number < pattern_count() ? PATTERNS[number].name : NULL;
}

static int number_of(const char *name) {
    int number = 0;
    while (strcmp(PATTERNS[number].name, name) != 0)
        number++;
    return number;
}

// ---- shapes -------------------------------------------------------------------------------------

static void begin(struct device_problem *p, int number) {
    *p = (struct device_problem){.pattern = PATTERNS[number].name, .axes = PATTERNS[number].axes};
    p->options.struct_bytes = sizeof p->options;
    p->problem = (struct heddle_problem)HEDDLE_PROBLEM_INIT;
    p->problem.params = p->params;
    p->problem.inputs = p->inputs;
}

void problem_plain(struct device_problem *p, const char *pattern, const int64_t *sizes) {
    begin(p, number_of(pattern));
    memcpy(p->problem.sizes, sizes, (size_t)p->axes * sizeof *sizes);
    p->problem.dtype = HEDDLE_BF16;
}

int64_t problem_keys(const struct device_problem *p) {
    int64_t keys = 1;
    for (int a = 0; a < p->axes; a++)
        keys *= p->problem.sizes[a];
    return keys;
}

int64_t problem_queries(const struct device_problem *p) {
    return p->problem.queries ? p->problem.queries : problem_keys(p);
}

static void pick_sizes(struct maker *m, int64_t tokens) {
    int64_t *sizes = m->p->problem.sizes;
    if (m->p->axes == 1) {
        int64_t few = upto(m, 1, 20), some = upto(m, 1, tokens), many = upto(m, tokens / 2, tokens);
        sizes[0] = ONE_OF(m->random, 1, few, some, many, many, tokens / 64 * 64 + 64);
        return;
    }
    if (strncmp(m->p->pattern, "radial_", 7) == 0) { // its 128 shows only with frames of that order
        int64_t frame = upto(m, 1, 160);
        sizes[2] = upto(m, 1, smaller(frame, 40));
        sizes[1] = frame / sizes[2] > 0 ? frame / sizes[2] : 1;
        sizes[0] = upto(m, 1, 3 * tokens / (sizes[1] * sizes[2]));
        return;
    }
    do
        for (int a = 0; a < m->p->axes; a++)
            sizes[a] = upto(m, 1, ONE_OF(m->random, 5, 12, 24, 40));
    while (problem_keys(m->p) > tokens);
}

// Arrays that each query reads its own part of: there are none for queries before the first key.
static bool reads_by_query(const char *pattern) {
    return strcmp(pattern, "documents") == 0 || strcmp(pattern, "block_list") == 0 ||
           strcmp(pattern, "seer") == 0 || strcmp(pattern, "pyramid") == 0;
}

// The last slices of the outermost axis, or, on a line, more queries than keys.
static void pick_queries(struct maker *m) {
    const int64_t *sizes = m->p->problem.sizes;
    int64_t roll = upto(m, 0, 9), slice = m->keys / sizes[0];
    if (roll < 3)
        m->p->problem.queries = upto(m, 1, sizes[0]) * slice;
    else if (roll < 4 && m->p->axes == 1 && !reads_by_query(m->p->pattern))
        m->p->problem.queries = m->keys + upto(m, 1, 70);
}

static void pick_shape(struct maker *m, bool with_fp32) {
    static const double scales[] = {0, 0, 0, 0.3, -0.2};
    struct heddle_problem *problem = &m->p->problem;
    int64_t any = upto(m, 8, 256);
    problem->heads = ONE_OF(m->random, 1, 1, 2, 3, 4, 6);
    do
        problem->kv_heads = upto(m, 1, problem->heads);
    while (problem->heads % problem->kv_heads != 0);
    problem->batch = ONE_OF(m->random, 1, 1, 2, 3);
    problem->dim = ONE_OF(m->random, 64, 128, 8, 32, 96, 192, 256, 100, any, any);
    problem->dtype = (enum heddle_dtype)(with_fp32 ? upto(m, HEDDLE_F32, HEDDLE_BF16)
                                                   : upto(m, HEDDLE_F16, HEDDLE_BF16));
    problem->scale = scales[upto(m, 0, 4)];
}

void problem_random(struct device_problem *p, int number, int64_t tokens, bool with_fp32,
                    struct random_source *random) {
    struct maker m = {.p = p, .random = random};
    begin(p, number);
    pick_sizes(&m, tokens);
    pick_shape(&m, with_fp32);
    m.keys = problem_keys(p);
    m.heads = p->problem.heads;
    pick_queries(&m);
    PATTERNS[number].params(&m);
}

void problem_finish(struct device_problem *p) {
    for (int i = 0; i < 2; i++) {
        free(p->input_data[i]);
        p->input_data[i] = NULL;
    }
}

// ---- text ---------------------------------------------------------------------------------------

struct text {
    char *out;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(t->out + t->used, TEXT_ROOM - t->used, format, args);
    va_end(args);
    t->used += length > 0 ? (size_t)length : 0;
    t->used = t->used < TEXT_ROOM ? t->used : TEXT_ROOM - 1;
}

void problem_text(const struct device_problem *p, char out[TEXT_ROOM]) {
    static const char *const dtypes[] = {"fp32", "fp16", "bf16"};
    const struct heddle_problem *problem = &p->problem;
    struct text t = {out, 0};
    add(&t, "%s [%" PRId64, p->pattern, problem->sizes[0]);
    for (int a = 1; a < p->axes; a++)
        add(&t, " x %" PRId64, problem->sizes[a]);
    add(&t,
        "] --queries %" PRId64 " --batch %" PRId64 " --heads %" PRId64 " --kv-heads %" PRId64
        " --dim %" PRId64 " --dtype %s --scale %g",
        problem_queries(p), problem->batch, problem->heads, problem->kv_heads, problem->dim,
        dtypes[problem->dtype], problem->scale);
    if (p->options.const_count)
        add(&t, " --const block=%s", p->block_text);
    for (int i = 0; i < problem->param_count; i++) {
        add(&t, " --param %s=", p->params[i].name);
        for (int h = 0; h < p->params[i].count; h++)
            if (p->params[i].ints)
                add(&t, "%s%" PRId64, h ? "," : "", p->ints[i][h]);
            else
                add(&t, "%s%g", h ? "," : "", p->reals[i][h]);
    }
}
