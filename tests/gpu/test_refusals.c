// Layouts that a GPU cannot take are refused before anything is queued, and the message says which
// tensor, which stride, and what would work; layouts that it can take are taken.
#include "tests/gpu/fake_host.h"

#include <criterion/criterion.h>
#include <string.h>

enum { Q, K, V, O, TENSORS };
enum { BATCH, HEAD, TOKEN, DIM, ADDRESS }; // what is changed: a stride, or the address

static struct heddle_tensor *tensor_of(struct heddle_tensors *tensors, int number) {
    struct heddle_tensor *const all[] = {&tensors->q, &tensors->k, &tensors->v, &tensors->o};
    return all[number];
}

// Contiguous tensors, with their strides said.
static struct heddle_tensors spelled_out(const struct heddle_problem *p) {
    struct heddle_tensors tensors = fake_tensors(0);
    for (int t = 0; t < TENSORS; t++) {
        int64_t *strides = tensor_of(&tensors, t)->strides;
        int64_t heads = t == K || t == V ? p->kv_heads : p->heads;
        strides[DIM] = 1;
        strides[TOKEN] = p->dim;
        strides[HEAD] = p->sizes[0] * p->dim;
        strides[BATCH] = heads * strides[HEAD];
    }
    return tensors;
}

// Adds to the address, or replaces a stride.
static void change(struct heddle_tensors *tensors, int tensor, int at, int64_t value) {
    struct heddle_tensor *changed = tensor_of(tensors, tensor);
    if (at == ADDRESS)
        changed->data = (char *)changed->data + value;
    else
        changed->strides[at] = value;
}

// The message names the tensor, says `words`, and what would work.
static void refuse(struct fake_host *host, const struct heddle_tensors *tensors, const char *name,
                   const char *words, const char *remedy) {
    int64_t launched = fake_cuda_launches()->attention, placed = fake_cuda_launches()->place;
    enum heddle_status status = heddle_run(host->plan, tensors, NULL);
    const char *said = heddle_last_error();
    cr_expect_eq(status, HEDDLE_BAD_ARGUMENT, "%s: %s is taken, not refused with \"%s\"",
                 heddle_status_name(status), name, words);
    cr_expect_not_null(strstr(said, name), "no \"%s\" in \"%s\"", name, said);
    cr_expect_not_null(strstr(said, words), "no \"%s\" in \"%s\"", words, said);
    cr_expect_not_null(strstr(said, remedy), "no \"%s\" in \"%s\"", remedy, said);
    cr_expect_eq(fake_cuda_launches()->attention, launched);
    cr_expect_eq(fake_cuda_launches()->place, placed);
    cr_expect_eq(fake_cuda_held().pushes, 0);
}

static void take(struct fake_host *host, const struct heddle_tensors *tensors) {
    cr_expect_eq(heddle_run(host->plan, tensors, NULL), HEDDLE_OK, "%s", heddle_last_error());
}

struct refusal {
    int at;
    int64_t value;
    const char *words, *remedy;
};

static void refuse_each(int first, int end, const struct refusal *refusals, size_t count) {
    static const char *const names[] = {"tensor q ", "tensor k ", "tensor v ", "tensor o "};
    struct fake_host host;
    fake_host_open(&host, FAKE_BATCHES);
    fake_host_plan(&host);
    const struct heddle_tensors good = spelled_out(&host.problem);
    for (int t = first; t < end; t++)
        for (size_t i = 0; i < count; i++) {
            struct heddle_tensors bad = good;
            change(&bad, t, refusals[i].at, refusals[i].value);
            refuse(&host, &bad, names[t], refusals[i].words, refusals[i].remedy);
        }
    take(&host, &good);
    fake_host_close(&host);
}
#define REFUSE_EACH(first, end, ...)                                                               \
    refuse_each(first, end, (const struct refusal[]){__VA_ARGS__},                                 \
                sizeof((const struct refusal[]){__VA_ARGS__}) / sizeof(struct refusal))

// 4 query heads, 2 of keys, 300 tokens, a head dim of 64, 3 batches.
Test(refusals, inputs) {
    static const char pieces[] =
        "must be a multiple of 8 elements, because the GPU's copy engine reads pieces of 16 bytes";
    static const char forwards[] = "the GPU's copy engine only goes forwards";
    static const char cannot[] = "which the GPU's copy engine cannot take";
    static const int64_t far = INT64_C(1) << 39; // elements: 2^40 bytes
    REFUSE_EACH(
        Q, O,
        {ADDRESS, 8, "no multiple of 16 bytes, but the GPU's copy engine reads pieces of 16 bytes",
         "begin it elsewhere, or copy it"},
        {DIM, 2, "has stride 2 over the head dim; on a GPU it must be 1", "copy the tensor"},
        {DIM, -1, "has stride -1 over the head dim", "copy the tensor"},
        {TOKEN, 68, "has stride 68 over tokens", "make it 72, or copy the tensor"},
        {TOKEN, 68, pieces, "copy the tensor"},
        {HEAD, 19201, "has stride 19201 over heads", "make it 19208, or copy the tensor"},
        {HEAD, 19201, pieces, "copy the tensor"},
        {BATCH, -76804, "has stride -76804 over batches", "make it -76808, or copy"},
        {BATCH, 76804, pieces, "copy the tensor"},
        {TOKEN, -64, "has stride -64 over tokens", "copy the tensor"},
        {TOKEN, -64, forwards, "copy the tensor"},
        {HEAD, -19200, "has stride -19200 over heads", "copy the tensor"},
        {HEAD, -19200, forwards, "copy the tensor"},
        {TOKEN, far, cannot, "copy it to a compact layout"},
        {HEAD, far, cannot, "copy it to a compact layout"});
}

Test(refusals, output) {
    static const char words[] =
        "must be a multiple of 2 elements, because the GPU stores words of 4 bytes";
    REFUSE_EACH(
        O, TENSORS,
        {ADDRESS, 2, "no multiple of 4 bytes, but the GPU stores words of 4 bytes",
         "begin it elsewhere, or copy it"},
        {DIM, 2, "has stride 2 over the head dim; on a GPU it must be 1", "copy the tensor"},
        {TOKEN, 65, "has stride 65 over tokens", "make it 66, or copy the tensor"},
        {TOKEN, 65, words, "copy the tensor"},
        {HEAD, -19201, "has stride -19201 over heads", "make it -19202, or copy"},
        {HEAD, -19201, words, "copy the tensor"},
        {BATCH, 76801, "has stride 76801 over batches", "make it 76802, or copy"},
        {BATCH, 76801, words, "copy the tensor"});
}

// What no target takes, in runtime/run_tensors.c.
Test(refusals, all_targets) {
    static const char overwrite[] = "its results would overwrite each other";
    static const int64_t huge = INT64_C(1) << 60;
    REFUSE_EACH(Q, TENSORS, {ADDRESS, 1, "is not aligned to its elements of 2 bytes", ""},
                {BATCH, huge, "reach past all memory", "over batch, head, token and dim"},
                {HEAD, -huge, "reach past all memory", "over batch, head, token and dim"},
                {TOKEN, INT64_MIN, "reach past all memory", "over batch, head, token and dim"},
                {DIM, huge, "reach past all memory", "over batch, head, token and dim"});
    REFUSE_EACH(O, TENSORS, {BATCH, 0, "has stride 0 over batches", overwrite},
                {HEAD, 0, "has stride 0 over heads", overwrite},
                {TOKEN, 0, "has stride 0 over tokens", overwrite},
                {DIM, 0, "has stride 0 over the head dim", overwrite});
}

Test(refusals, missing_and_misaligned) {
    static const char *const names[] = {"tensor q ", "tensor k ", "tensor v ", "tensor o "};
    struct fake_host host;
    fake_host_open(&host, FAKE_ONE_SET);
    fake_host_plan(&host);
    for (int t = 0; t < TENSORS; t++) {
        struct heddle_tensors tensors = fake_tensors(0);
        tensor_of(&tensors, t)->data = NULL;
        refuse(&host, &tensors, names[t], "is missing", "");
    }
    struct heddle_tensors tensors = fake_tensors(0);
    tensors.lse = (float *)(void *)((char *)tensors.lse + 2);
    refuse(&host, &tensors, "lse", "is not aligned to its floats of 4 bytes", "");
    tensors.lse = NULL;
    take(&host, &tensors);
    fake_host_close(&host);
}

// Contiguous rows of such dims do not fit, and the message says how much room a row needs.
Test(refusals, dims) {
    static const struct {
        int64_t dim;
        const char *input, *output;
    } rows[] = {{100, "give each row of 100 room for 104, or copy the tensor", NULL},
                {12, "give each row of 12 room for 16, or copy the tensor", NULL},
                {33, "give each row of 33 room for 40, or copy the tensor",
                 "give each row of 33 room for 34, or copy the tensor"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fake_host host;
        fake_host_open(&host, FAKE_BATCHES);
        host.problem.dim = rows[i].dim;
        fake_host_plan(&host);
        struct heddle_tensors tensors = spelled_out(&host.problem);
        refuse(&host, &tensors, "tensor q ", "over tokens", rows[i].input);
        struct heddle_problem padded = host.problem;
        padded.dim = (rows[i].dim + 7) / 8 * 8;
        struct heddle_tensors roomy = spelled_out(&padded);
        take(&host, &roomy);
        roomy.o = tensors.o;
        if (rows[i].output)
            refuse(&host, &roomy, "tensor o ", "over tokens", rows[i].output);
        else
            take(&host, &roomy);
        fake_host_close(&host);
    }
}

Test(refusals, what_is_taken) {
    static const struct {
        int tensor, at;
        int64_t value;
    } fine[] = {
        {Q, ADDRESS, 16}, {O, ADDRESS, 4}, {Q, TOKEN, 72},     {O, TOKEN, 66},
        {Q, TOKEN, 0},    {K, TOKEN, 0},   {K, HEAD, 0},       {V, BATCH, 0},
        {Q, HEAD, 64},    {K, BATCH, 8},   {Q, BATCH, -76800}, {V, BATCH, -38400},
        {O, TOKEN, -64},  {O, HEAD, -64},  {O, BATCH, -76800}, {K, TOKEN, (INT64_C(1) << 39) - 8},
    };
    struct fake_host host;
    fake_host_open(&host, FAKE_BATCHES);
    fake_host_plan(&host);
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        struct heddle_tensors tensors = spelled_out(&host.problem);
        change(&tensors, fine[i].tensor, fine[i].at, fine[i].value);
        take(&host, &tensors);
    }
    fake_host_close(&host);
}

// The stride of a dimension of one means nothing.
Test(refusals, dimensions_of_one) {
    static const int64_t strides[] = {3, -5, 0, INT64_MAX, INT64_MIN};
    struct fake_host host;
    fake_host_open(&host, FAKE_ONE_SET);
    host.problem.heads = host.problem.kv_heads = 1;
    host.problem.sizes[0] = 1;
    fake_host_plan(&host);
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++)
        for (int t = 0; t < TENSORS; t++) {
            struct heddle_tensors tensors = spelled_out(&host.problem);
            for (int at = BATCH; at < DIM; at++)
                change(&tensors, t, at, strides[i]);
            take(&host, &tensors);
        }
    fake_host_close(&host);
}

// The copy engine stores the output where it can reach it; elsewhere the kernel is told to.
Test(refusals, who_stores) {
    static const struct {
        int at;
        int64_t value;
        bool mapped;
    } outputs[] = {
        {TOKEN, 64, true},     {TOKEN, 72, true},    {HEAD, 19208, true},
        {BATCH, -76800, true}, {ADDRESS, 16, true},  {TOKEN, 66, false},
        {TOKEN, -64, false},   {HEAD, 19202, false}, {HEAD, -19200, false},
        {BATCH, 76804, false}, {ADDRESS, 4, false},  {TOKEN, INT64_C(1) << 39, false},
    };
    static const unsigned char none[SM90_MAP_BYTES];
    struct fake_host host;
    fake_host_open(&host, FAKE_BATCHES);
    fake_host_plan(&host);
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        struct heddle_tensors tensors = spelled_out(&host.problem);
        change(&tensors, O, outputs[i].at, outputs[i].value);
        take(&host, &tensors);
        const struct sm90_args *args = &fake_cuda_launches()->parameter;
        cr_expect_eq(args->o_mapped, outputs[i].mapped, "output %d", (int)i);
        cr_expect_eq(memcmp(args->maps[3], none, sizeof none) != 0, outputs[i].mapped, "map %d",
                     (int)i);
    }
    fake_host_close(&host);
}

// Selections are made on the CPU: a plan for the GPU says so, and leaves nothing behind.
Test(refusals, patterns_that_select) {
    struct heddle_context *context;
    struct heddle_pattern *pattern;
    struct heddle_plan *plan;
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    problem.sizes[0] = 1024;
    problem.dtype = HEDDLE_BF16;
    cr_assert_eq(fake_context(HEDDLE_TARGET_CUDA, &context), HEDDLE_OK);
    cr_assert_eq(
        heddle_pattern_load(context, HEDDLE_TEST_PATTERNS "/block_topk.heddle", NULL, &pattern),
        HEDDLE_OK, "%s", heddle_last_error());
    cr_expect_eq(heddle_plan_create(context, pattern, &problem, &plan), HEDDLE_LIMIT);
    cr_expect_null(plan);
    cr_expect_not_null(strstr(heddle_last_error(), "selects from q and k"), "%s",
                       heddle_last_error());
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
}
