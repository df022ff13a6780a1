#include "tests/gpu/layouts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Elements of poison on both sides; a multiple of what any machine aligns to.
enum { BAND = 256, POISON = 0x7fa5 }; // a NaN in fp16 and bf16, twice one in fp32

static int64_t pick(struct random_source *random, int64_t low, int64_t high) {
    return random_in(random, low, high);
}

int64_t shapes_count(const struct shapes *s, int tensor) {
    return s->batch * s->heads[tensor] * s->tokens[tensor] * s->dim;
}

// ---- numbers ------------------------------------------------------------------------------------

static double bell(struct random_source *random) { // about N(0, 1)
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (double)(random_next(random) >> 11) * 0x1p-53 - 0.5;
    return sum * 1.7320508;
}

// Makes heads, or batches, equal to the first.
static void repeat(unsigned char *data, int64_t groups, int64_t copies, size_t bytes) {
    for (int64_t g = 0; g < groups; g++)
        for (int64_t c = 1; c < copies; c++)
            memcpy(data + ((size_t)(g * copies + c)) * bytes, data + (size_t)(g * copies) * bytes,
                   bytes);
}

void numbers_make(struct numbers *numbers, const struct shapes *s, double loudness,
                  struct random_source *random) {
    size_t element = (size_t)dtype_bytes(s->dtype);
    for (int t = Q; t < O; t++) {
        int64_t count = shapes_count(s, t);
        numbers->of[t] = malloc((size_t)count * element);
        assert(numbers->of[t]);
        for (int64_t i = 0; i < count; i++)
            dtype_store(s->dtype, numbers->of[t], i, bell(random) * (t == Q ? loudness : 1));
        size_t head_bytes = (size_t)(s->tokens[t] * s->dim) * element;
        if (s->shared_heads[t])
            repeat(numbers->of[t], s->batch, s->heads[t], head_bytes);
        if (s->shared_batches[t])
            repeat(numbers->of[t], 1, s->batch, (size_t)s->heads[t] * head_bytes);
    }
    numbers->of[O] = NULL;
}

void numbers_free(struct numbers *numbers) {
    for (int t = Q; t < O; t++)
        free(numbers->of[t]);
}

// ---- choosing -----------------------------------------------------------------------------------

enum { BATCH, HEAD, TOKEN, DIM };

// Strides of a tensor whose outer dimensions come in some order, with room; gives its reach.
static int64_t pick_strides(const int64_t *size, int64_t unit, struct random_source *random,
                            struct placed *out) {
    static const int orders[][3] = {
        // outermost first
        {BATCH, HEAD, TOKEN}, {BATCH, HEAD, TOKEN}, {BATCH, TOKEN, HEAD}, {BATCH, TOKEN, HEAD},
        {TOKEN, BATCH, HEAD}, {HEAD, BATCH, TOKEN}, {HEAD, TOKEN, BATCH}};
    const int *order = orders[pick(random, 0, 6)];
    bool tight = pick(random, 0, 2) == 0;
    int64_t row = (size[DIM] + unit - 1) / unit * unit;
    int64_t step = tight ? row : row + unit * pick(random, 0, 3), reach = size[DIM];
    out->strides[DIM] = 1;
    for (int i = 2; i >= 0; i--) {
        int64_t room = tight ? 0 : pick(random, 0, 2);
        out->strides[order[i]] = step;
        reach += (size[order[i]] - 1) * step;
        step *= size[order[i]] + room;
    }
    out->unsaid = tight && row == size[DIM] && order == orders[0];
    return reach;
}

// A dimension of one has a stride that nobody should look at.
static void spoil_unused(const int64_t *size, struct random_source *random, struct placed *out) {
    for (int i = BATCH; i < DIM; i++)
        if (size[i] == 1 && pick(random, 0, 1))
            out->strides[i] = pick(random, -99, 1000001);
}

static int64_t unit_of(const struct machine *machine, int tensor) {
    return !machine->on_gpu ? 1 : tensor == O ? 2 : 8;
}

static void make_slab(struct layout *l, const struct machine *machine, int slab, int64_t elements) {
    slab_make(machine, &l->slabs[slab],
              (size_t)((elements + 1) / 2 * 2 * dtype_bytes(l->shapes.dtype)));
}

static void place_alone(struct layout *l, const struct machine *machine, int t,
                        struct random_source *random) {
    const struct shapes *s = &l->shapes;
    int64_t unit = unit_of(machine, t);
    int64_t size[] = {s->batch, s->heads[t], s->tokens[t], s->dim};
    bool one_head = s->shared_heads[t] && pick(random, 0, 2);
    bool one_batch = s->shared_batches[t] && pick(random, 0, 2);
    struct placed *out = &l->of[t];
    size[HEAD] = one_head ? 1 : size[HEAD];
    size[BATCH] = one_batch ? 1 : size[BATCH];
    int64_t reach = pick_strides(size, unit, random, out);
    spoil_unused(size, random, out);
    if (one_head || one_batch)
        out->unsaid = false;
    if (one_head && s->heads[t] > 1)
        out->strides[HEAD] = 0;
    if (one_batch && s->batch > 1)
        out->strides[BATCH] = 0;
    out->slab = t;
    out->at = BAND + unit * pick(random, 0, 5);
    make_slab(l, machine, t, out->at + reach + BAND);
}

// q, k and v are heads of one tensor.
static void place_packed(struct layout *l, const struct machine *machine,
                         struct random_source *random) {
    const struct shapes *s = &l->shapes;
    const int64_t size[] = {s->batch, s->heads[Q] + s->heads[K] + s->heads[V], s->tokens[Q],
                            s->dim};
    struct placed all = {0};
    int64_t reach = pick_strides(size, unit_of(machine, Q), random, &all);
    int64_t at = BAND + unit_of(machine, Q) * pick(random, 0, 5);
    all.unsaid = false;
    for (int t = Q; t < O; t++) {
        l->of[t] = all;
        l->of[t].at = at;
        at += s->heads[t] * all.strides[HEAD];
    }
    make_slab(l, machine, 0, l->of[Q].at + reach + BAND);
}

static void place_results(struct layout *l, const struct machine *machine,
                          struct random_source *random) {
    const struct shapes *s = &l->shapes;
    place_alone(l, machine, O, random);
    l->with_lse = pick(random, 0, 3) != 0;
    l->lse_at = BAND + pick(random, 0, 3);
    int64_t rows = s->batch * s->heads[O] * s->tokens[O];
    slab_make(machine, &l->slabs[TENSORS], (size_t)(l->lse_at + rows + BAND) * sizeof(float));
}

void layout_random(struct layout *l, const struct machine *machine, const struct shapes *s,
                   struct random_source *random) {
    *l = (struct layout){.shapes = *s};
    if (s->tokens[Q] == s->tokens[K] && pick(random, 0, 3) == 0)
        place_packed(l, machine, random);
    else
        for (int t = Q; t < O; t++)
            place_alone(l, machine, t, random);
    place_results(l, machine, random);
}

void layout_free(struct layout *l, const struct machine *machine) {
    for (int i = 0; i <= TENSORS; i++)
        slab_free(machine, &l->slabs[i]);
    for (int t = Q; t < O; t++)
        free(l->inputs[t].host);
}

// ---- elements -----------------------------------------------------------------------------------

// Calls visit(element number in [b, h, n, d] order, element number in the slab) for each.
typedef void visit_fn(void *context, int64_t number, int64_t at);

static void each_element(const struct layout *l, int t, visit_fn *visit, void *context) {
    const struct shapes *s = &l->shapes;
    const int64_t *stride = l->of[t].strides;
    int64_t number = 0;
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t h = 0; h < s->heads[t]; h++)
            for (int64_t n = 0; n < s->tokens[t]; n++)
                for (int64_t d = 0; d < s->dim; d++, number++)
                    visit(context, number,
                          l->of[t].at + (s->batch > 1 ? b * stride[BATCH] : 0) +
                              (s->heads[t] > 1 ? h * stride[HEAD] : 0) +
                              (s->tokens[t] > 1 ? n * stride[TOKEN] : 0) + d * stride[DIM]);
}

struct copying {
    unsigned char *to;
    const unsigned char *from;
    size_t element;
};

static void scatter(void *context, int64_t number, int64_t at) {
    const struct copying *c = context;
    memcpy(c->to + (size_t)at * c->element, c->from + (size_t)number * c->element, c->element);
}

static void gather(void *context, int64_t number, int64_t at) {
    const struct copying *c = context;
    memcpy(c->to + (size_t)number * c->element, c->from + (size_t)at * c->element, c->element);
}

static void poison(void *data, size_t bytes) {
    const uint16_t word = POISON;
    for (size_t i = 0; i + sizeof word <= bytes; i += sizeof word)
        memcpy((unsigned char *)data + i, &word, sizeof word);
}

static bool is_poison(const unsigned char *data, size_t bytes) {
    const uint16_t word = POISON;
    for (size_t i = 0; i + sizeof word <= bytes; i += sizeof word)
        if (memcmp(data + i, &word, sizeof word) != 0)
            return false;
    return true;
}

void layout_fill(struct layout *l, const struct machine *machine, const struct numbers *numbers) {
    size_t element = (size_t)dtype_bytes(l->shapes.dtype);
    for (int i = 0; i <= TENSORS; i++)
        poison(l->slabs[i].host, l->slabs[i].bytes);
    for (int t = Q; t < O; t++)
        each_element(l, t, scatter,
                     &(struct copying){l->slabs[l->of[t].slab].host, numbers->of[t], element});
    for (int i = 0; i <= TENSORS; i++)
        if (l->slabs[i].bytes)
            slab_upload(machine, &l->slabs[i]);
    for (int t = Q; t < O; t++) {
        struct slab *from = &l->slabs[t], *to = &l->inputs[t];
        free(to->host);
        *to = (struct slab){.bytes = from->bytes, .host = malloc(from->bytes + 1)};
        assert(to->host);
        if (from->bytes)
            memcpy(to->host, from->host, from->bytes);
    }
}

struct heddle_tensors layout_tensors(const struct layout *l, bool on_host) {
    struct heddle_tensors tensors = {.lse = NULL};
    struct heddle_tensor *to[] = {&tensors.q, &tensors.k, &tensors.v, &tensors.o};
    int64_t element = dtype_bytes(l->shapes.dtype);
    for (int t = 0; t < TENSORS; t++) {
        const struct slab *slab = &l->slabs[l->of[t].slab];
        to[t]->data = (on_host ? slab->host : slab->there) + l->of[t].at * element;
        if (!l->of[t].unsaid)
            memcpy(to[t]->strides, l->of[t].strides, sizeof to[t]->strides);
    }
    const struct slab *lse = &l->slabs[TENSORS];
    if (l->with_lse)
        tensors.lse = (float *)(void *)(on_host ? lse->host : lse->there) + l->lse_at;
    return tensors;
}

// ---- results ------------------------------------------------------------------------------------

void layout_results(const struct layout *l, void *o, float *lse) {
    const struct shapes *s = &l->shapes;
    each_element(l, O, gather,
                 &(struct copying){o, l->slabs[O].host, (size_t)dtype_bytes(s->dtype)});
    if (l->with_lse)
        memcpy(lse, (const float *)(const void *)l->slabs[TENSORS].host + l->lse_at,
               (size_t)(s->batch * s->heads[O] * s->tokens[O]) * sizeof *lse);
}

// Turns o's elements to poison, so that what is left can be looked through in one go.
static bool gaps_are_whole(const struct layout *l) {
    const struct shapes *s = &l->shapes;
    const struct slab *slab = &l->slabs[O];
    size_t element = (size_t)dtype_bytes(s->dtype);
    unsigned char *copy = malloc(slab->bytes),
                  *blank = malloc((size_t)shapes_count(s, O) * element);
    assert(copy && blank);
    memcpy(copy, slab->host, slab->bytes);
    poison(blank, (size_t)shapes_count(s, O) * element);
    each_element(l, O, scatter, &(struct copying){copy, blank, element});
    bool whole = is_poison(copy, slab->bytes);
    free(copy);
    free(blank);
    return whole;
}

static bool lse_gaps_are_whole(const struct layout *l) {
    const struct shapes *s = &l->shapes;
    const struct slab *slab = &l->slabs[TENSORS];
    size_t begin = (size_t)l->lse_at * sizeof(float);
    size_t rows = l->with_lse ? (size_t)(s->batch * s->heads[O] * s->tokens[O]) : 0;
    size_t end = begin + rows * sizeof(float);
    return is_poison(slab->host, begin) && is_poison(slab->host + end, slab->bytes - end);
}

const char *layout_fetch(struct layout *l, const struct machine *machine) {
    for (int i = 0; i <= TENSORS; i++)
        if (l->slabs[i].bytes)
            slab_download(machine, &l->slabs[i]);
    for (int t = Q; t < O; t++)
        if (l->inputs[t].bytes &&
            memcmp(l->inputs[t].host, l->slabs[t].host, l->inputs[t].bytes) != 0)
            return "an input was written to";
    if (!gaps_are_whole(l))
        return "memory between or around the rows of o was written to";
    return lse_gaps_are_whole(l) ? NULL : "memory around lse was written to";
}

void layout_text(const struct layout *l, char *out, size_t room) {
    static const char names[] = "qkvo";
    size_t used = 0;
    for (int t = 0; t < TENSORS && used < room; t++) {
        const struct placed *p = &l->of[t];
        int length =
            snprintf(out + used, room - used,
                     "%s%c in slab %d at %" PRId64 " by (%" PRId64 ", %" PRId64 ", %" PRId64
                     ", %" PRId64 ")%s",
                     t ? "; " : "", names[t], p->slab, p->at, p->strides[BATCH], p->strides[HEAD],
                     p->strides[TOKEN], p->strides[DIM], p->unsaid ? " unsaid" : "");
        used += length > 0 ? (size_t)length : 0;
    }
}
