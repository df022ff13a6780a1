#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE // MAP_ANONYMOUS
#endif
#include "tests/kernel/kernel_problem.h"
#include "compiler/cpu/cpu_kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int64_t problem_random(struct problem *p, int64_t below) {
    return rand_r(&p->seed) % below;
}

double problem_uniform(struct problem *p, double low, double high) {
    return low + (high - low) * rand_r(&p->seed) / ((double)RAND_MAX + 1);
}

// ---- memory -----------------------------------------------------------------------------------

static size_t pages(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

void *guarded_alloc(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = pages(bytes);
    char *base =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + room, page, PROT_NONE))
        abort();
    return base + room - bytes;
}

void guarded_free(void *data, size_t bytes) {
    size_t room = pages(bytes);
    if (data)
        munmap((char *)data + bytes - room, room + (size_t)sysconf(_SC_PAGESIZE));
}

// ---- halves -----------------------------------------------------------------------------------

float half_to_float(uint16_t half, enum heddle_dtype dtype) {
    float x;
    uint32_t bits = (uint32_t)half << 16;
    if (dtype == HEDDLE_BF16) {
        memcpy(&x, &bits, 4);
        return x;
    }
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    float sign = half >> 15 ? -1.0f : 1.0f;
    if (exponent == 31)
        return mantissa ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexpf((float)(1024 + mantissa), exponent - 25)
                            : ldexpf((float)mantissa, -24));
}

uint16_t float_to_half(float x, enum heddle_dtype dtype) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (dtype == HEDDLE_BF16)
        return isnan(x) ? 0x7fff : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (isnan(x))
        return sign | 0x7e00;
    float size = fabsf(x);
    if (size >= 65520)
        return sign | 0x7c00;
    int exponent;
    frexpf(size, &exponent);
    if (size == 0 || exponent < -13) // subnormal: multiples of 2^-24
        return sign | (uint16_t)nearbyintf(ldexpf(size, 24));
    uint32_t mantissa = (uint32_t)nearbyintf(ldexpf(size, 11 - exponent)); // 1024 .. 2048
    return sign | (uint16_t)(((uint32_t)(exponent + 13) << 10) + mantissa);
}

double problem_element(const struct problem *p, const struct tensor_buffer *t, int64_t at) {
    if (p->dtype == HEDDLE_F32)
        return (double)((const float *)t->data)[at];
    return (double)half_to_float(((const uint16_t *)t->data)[at], p->dtype);
}

static void set_element(const struct problem *p, struct tensor_buffer *t, int64_t at, float x) {
    if (p->dtype == HEDDLE_F32)
        ((float *)t->data)[at] = x;
    else
        ((uint16_t *)t->data)[at] = float_to_half(x, p->dtype);
}

size_t problem_element_bytes(const struct problem *p) {
    return p->dtype == HEDDLE_F32 ? 4 : 2;
}

// ---- tensors ----------------------------------------------------------------------------------

// Strides for one of the usual orders of [batch, head, token, dim], with gaps now and then.
static void make_tensor(struct problem *p, struct tensor_buffer *t, int64_t heads, int64_t tokens) {
    int64_t inner = 1, gap = problem_random(p, 3);
    if (!p->contiguous && problem_random(p, 2)) { // [batch, head, dim, token]
        t->token_stride = 1;
        t->dim_stride = tokens + gap;
        inner = t->dim_stride * p->dim;
    } else {
        t->dim_stride = p->contiguous ? 1 : 2 + problem_random(p, 2);
        inner = t->dim_stride * p->dim + gap;
    }
    bool tokens_outside = t->token_stride == 0 && problem_random(p, 2); // [batch, token, head, dim]
    if (tokens_outside) {
        t->head_stride = inner;
        t->token_stride = inner * heads;
        inner = t->token_stride * tokens;
    } else {
        if (t->token_stride == 0) {
            t->token_stride = inner;
            inner *= tokens;
        }
        t->head_stride = inner;
        inner *= heads;
    }
    t->batch_stride = inner;
    int64_t last = (p->batches - 1) * t->batch_stride + (heads - 1) * t->head_stride +
                   (tokens - 1) * t->token_stride + (p->dim - 1) * t->dim_stride;
    t->elements = last + 1;
    t->data = guarded_alloc((size_t)t->elements * problem_element_bytes(p));
    memset(t->data, 0xff, (size_t)t->elements * problem_element_bytes(p)); // gaps are NaN
}

int64_t problem_offset(const struct tensor_buffer *t, int64_t batch, int64_t head, int64_t token) {
    return batch * t->batch_stride + head * t->head_stride + token * t->token_stride;
}

static void fill(struct problem *p, struct tensor_buffer *t, int64_t heads, int64_t tokens) {
    for (int64_t b = 0; b < p->batches; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < tokens; i++)
                for (int64_t d = 0; d < p->dim; d++)
                    set_element(p, t, problem_offset(t, b, h, i) + d * t->dim_stride,
                                (float)problem_uniform(p, -2, 2));
}

static void spoil(struct problem *p) {
    static const float values[] = {NAN, INFINITY, -INFINITY};
    for (int64_t b = 0; b < p->batches; b++)
        for (int64_t h = 0; h < p->kv_heads; h++)
            for (int64_t i = 0; i < p->keys; i++) {
                if (problem_random(p, 12))
                    continue;
                p->bad[(b * p->kv_heads + h) * p->keys + i] = 1;
                int64_t d = problem_random(p, p->dim);
                struct tensor_buffer *t = problem_random(p, 3) ? &p->v : &p->k;
                set_element(p, t, problem_offset(t, b, h, i) + d * t->dim_stride,
                            values[problem_random(p, 3)]);
            }
}

static struct abi_tensor abi_tensor_of(const struct tensor_buffer *t) {
    return (struct abi_tensor){t->data, t->batch_stride, t->head_stride, t->token_stride,
                               t->dim_stride};
}

static void make_tensors(struct problem *p, bool with_bad_values) {
    make_tensor(p, &p->q, p->heads, p->queries);
    make_tensor(p, &p->k, p->kv_heads, p->keys);
    make_tensor(p, &p->v, p->kv_heads, p->keys);
    make_tensor(p, &p->o, p->heads, p->queries);
    fill(p, &p->q, p->heads, p->queries);
    fill(p, &p->k, p->kv_heads, p->keys);
    fill(p, &p->v, p->kv_heads, p->keys);
    p->bad = calloc((size_t)(p->batches * p->kv_heads * p->keys), 1);
    if (with_bad_values)
        spoil(p);
    memset(p->o.data, 0x7b, (size_t)p->o.elements * problem_element_bytes(p));
    struct abi_launch *launch = &p->launch;
    launch->q = abi_tensor_of(&p->q);
    launch->k = abi_tensor_of(&p->k);
    launch->v = abi_tensor_of(&p->v);
    launch->o = abi_tensor_of(&p->o);
    launch->lse_token_stride = 1;
    launch->lse_head_stride = p->queries;
    launch->lse_batch_stride = p->queries * p->heads;
    if (p->with_lse)
        p->lse = guarded_alloc((size_t)(p->batches * launch->lse_batch_stride) * 4);
    launch->lse = p->lse;
}

// ---- geometry -----------------------------------------------------------------------------------

static void set_basis_axis(struct problem *p, int basis, int first, int last) {
    struct abi_launch *launch = &p->launch;
    int64_t extent = 1, stride = 1;
    for (int a = last; a >= first; a--) {
        launch->axis_basis[a] = basis;
        launch->axis_divisor[a] = extent;
        launch->axis_modulus[a] = a == first ? 0 : p->size[a];
        extent *= p->size[a];
    }
    for (int a = last + 1; a < p->pattern->axis_count; a++)
        stride *= p->size[a];
    launch->basis_extent[basis] = extent;
    launch->token_stride[basis] = stride;
}

static void make_basis(struct problem *p) {
    struct abi_launch *launch = &p->launch;
    int axes = p->pattern->axis_count;
    for (int a = 0; a < ABI_AXES; a++) {
        launch->basis_extent[a] = launch->dilation[a] = 1;
        launch->token_stride[a] = 0;
    }
    if (p->fused)
        set_basis_axis(p, ABI_AXES - 1, 0, axes - 1);
    else
        for (int a = 0; a < axes; a++)
            set_basis_axis(p, ABI_AXES - axes + a, a, a);
    launch->dilation[ABI_AXES - 1] = p->dilation;
    launch->axis_count = axes;
    launch->query_offset = p->keys - p->queries;
    int left = 64; // tile extents: random powers of two whose product is 64
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t t = 1;
        while (a < ABI_AXES - 1 && launch->basis_extent[a] > 1 && t * 2 <= left &&
               problem_random(p, 2))
            t *= 2;
        launch->tile[a] = a == ABI_AXES - 1 ? left : t;
        left /= (int)t;
    }
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

// First position of the queries on a basis axis: they are the last tokens.
static int64_t query_start(const struct problem *p, int axis) {
    int first_used = p->fused ? ABI_AXES - 1 : ABI_AXES - p->pattern->axis_count;
    if (axis != first_used)
        return 0;
    return floor_div(p->launch.query_offset, p->launch.token_stride[axis]);
}

// Basis coordinates of residue r on an axis: begin of queries, end of both.
static int64_t first_coordinate(const struct problem *p, int axis, int64_t r) {
    int64_t d = p->launch.dilation[axis];
    return floor_div(query_start(p, axis) - r + d - 1, d);
}

static int64_t end_coordinate(const struct problem *p, int axis, int64_t r) {
    int64_t d = p->launch.dilation[axis];
    return floor_div(p->launch.basis_extent[axis] - r + d - 1, d);
}

static void make_boxes(struct problem *p) {
    int64_t shape[ABI_AXES], left = CPU_QUERY_ROWS;
    for (int a = 0; a < ABI_AXES; a++) {
        int64_t most = p->launch.basis_extent[a] == 1 ? 1 : left;
        shape[a] = 1 + problem_random(p, most);
        if (a == ABI_AXES - 1 && problem_random(p, 2))
            shape[a] = most;
        left /= shape[a];
    }
    struct abi_query_box *boxes = malloc(sizeof *boxes * (size_t)(p->queries + 8));
    int64_t count = 0;
    for (int32_t r = 0; r < p->dilation; r++) {
        int64_t begin[ABI_AXES], end[ABI_AXES], c[ABI_AXES];
        for (int a = 0; a < ABI_AXES; a++) {
            begin[a] = first_coordinate(p, a, a == ABI_AXES - 1 ? r : 0);
            end[a] = end_coordinate(p, a, a == ABI_AXES - 1 ? r : 0);
        }
        for (c[0] = begin[0]; c[0] < end[0]; c[0] += shape[0])
            for (c[1] = begin[1]; c[1] < end[1]; c[1] += shape[1])
                for (c[2] = begin[2]; c[2] < end[2]; c[2] += shape[2]) {
                    struct abi_query_box *box = &boxes[count++];
                    for (int a = 0; a < ABI_AXES; a++) {
                        box->begin[a] = (int32_t)c[a];
                        box->end[a] =
                            (int32_t)(c[a] + shape[a] < end[a] ? c[a] + shape[a] : end[a]);
                        box->residue[a] = a == ABI_AXES - 1 ? r : 0;
                    }
                }
    }
    p->launch.boxes = boxes;
    p->launch.box_count = count;
}

// Pattern coordinates of a basis position.
static void to_axes(const struct problem *p, const int64_t *position, int64_t *out) {
    for (int a = 0; a < p->pattern->axis_count; a++) {
        int64_t x = position[p->launch.axis_basis[a]] / p->launch.axis_divisor[a];
        out[a] = p->launch.axis_modulus[a] ? x % p->launch.axis_modulus[a] : x;
    }
}

struct eval_env problem_environment(const struct problem *p, int64_t batch, int64_t head) {
    struct eval_env env = {.axis_count = p->pattern->axis_count,
                           .heads = p->heads,
                           .kv_heads = p->kv_heads,
                           .batches = p->batches,
                           .params = p->params,
                           .tables = (const union value *const *)p->tables,
                           .inputs = p->arrays,
                           .maps = p->arrays ? p->arrays + p->pattern->input_count : NULL,
                           .head = head,
                           .batch = batch};
    memcpy(env.size, p->size, sizeof env.size);
    return env;
}

// ---- lists --------------------------------------------------------------------------------------

struct list_builder {
    struct problem *p;
    struct abi_run *runs;
    int64_t count, room;
    struct abi_box *owns;
    int64_t own_count;
};

static void add_run(struct list_builder *list, struct abi_run run) {
    if (list->count == list->room) {
        list->room = list->room * 2 + 64;
        list->runs = realloc(list->runs, sizeof *list->runs * (size_t)list->room);
    }
    list->runs[list->count++] = run;
}

// 0 no pair kept, 1 some, 3 every pair kept and every key there.
static int classify(struct problem *p, const struct abi_query_box *box, const int64_t *corner,
                    int64_t batch, int64_t head) {
    const struct abi_launch *launch = &p->launch;
    struct eval_env env = problem_environment(p, batch, head);
    struct eval_failure failure = {0};
    int any = 0, all = 1;
    int64_t j[ABI_AXES], i[ABI_AXES], position[ABI_AXES];
    for (j[0] = 0; j[0] < launch->tile[0]; j[0]++)
        for (j[1] = 0; j[1] < launch->tile[1]; j[1]++)
            for (j[2] = 0; j[2] < launch->tile[2]; j[2]++) {
                bool inside = true;
                for (int a = 0; a < ABI_AXES; a++) {
                    int64_t c = corner[a] + j[a];
                    inside = inside && c >= 0 && c < end_coordinate(p, a, box->residue[a]);
                    position[a] = box->residue[a] + launch->dilation[a] * c;
                }
                if (!inside) {
                    all = 0;
                    continue;
                }
                to_axes(p, position, env.key);
                for (i[0] = box->begin[0]; i[0] < box->end[0]; i[0]++)
                    for (i[1] = box->begin[1]; i[1] < box->end[1]; i[1]++)
                        for (i[2] = box->begin[2]; i[2] < box->end[2]; i[2]++) {
                            int64_t query[ABI_AXES];
                            for (int a = 0; a < ABI_AXES; a++)
                                query[a] = box->residue[a] + launch->dilation[a] * i[a];
                            to_axes(p, query, env.query);
                            bool keep = expr_eval(p->pattern->keep, &env, &failure).b;
                            any |= keep;
                            all &= keep;
                        }
            }
    return all ? 3 : any;
}

// The tiles of one lattice over [begin, end), one run a tile, neighbours on the last axis joined.
static void add_exact(struct list_builder *list, const struct abi_query_box *box, int64_t batch,
                      int64_t head, const int64_t *origin, const int64_t *end) {
    struct problem *p = list->p;
    const int64_t *tile = p->launch.tile;
    int64_t c[ABI_AXES];
    for (c[0] = origin[0]; c[0] < end[0]; c[0] += tile[0])
        for (c[1] = origin[1]; c[1] < end[1]; c[1] += tile[1]) {
            struct abi_run *open = NULL;
            for (c[2] = origin[2]; c[2] < end[2]; c[2] += tile[2]) {
                int kind = classify(p, box, c, batch, head);
                uint32_t flags = kind == 3 ? 0 : ABI_RUN_PARTIAL;
                if (open && kind && open->kind == flags) {
                    open->count[2]++;
                    continue;
                }
                open = NULL;
                if (kind == 0)
                    continue;
                struct abi_run run = {.count = {1, 1, 1}, .kind = flags};
                for (int a = 0; a < ABI_AXES; a++) {
                    run.origin[a] = (int32_t)c[a];
                    run.step[a] = (int32_t)tile[a];
                }
                add_run(list, run);
                open = &list->runs[list->count - 1];
            }
        }
}

// The whole lattice as one partial run that owns `own`.
static void add_lattice(struct list_builder *list, const int64_t *origin, const int64_t *end,
                        int32_t own) {
    const int64_t *tile = list->p->launch.tile;
    struct abi_run run = {.kind = ABI_RUN_PARTIAL, .own = own};
    for (int a = 0; a < ABI_AXES; a++) {
        run.origin[a] = (int32_t)origin[a];
        run.step[a] = (int32_t)tile[a];
        int64_t count = (end[a] - origin[a] + tile[a] - 1) / tile[a];
        run.count[a] = (int32_t)(count > 0 ? count : 0);
    }
    add_run(list, run);
}

static void add_list(struct list_builder *list, const struct abi_query_box *box, int64_t batch,
                     int64_t head) {
    struct problem *p = list->p;
    int64_t origin[ABI_AXES], end[ABI_AXES];
    for (int a = 0; a < ABI_AXES; a++) {
        end[a] = end_coordinate(p, a, box->residue[a]);
        origin[a] = -problem_random(p, p->launch.tile[a]);
    }
    if (p->lists == LISTS_EXACT) {
        add_exact(list, box, batch, head, origin, end);
    } else if (p->lists == LISTS_PARTIAL) {
        add_lattice(list, origin, end, 0);
    } else {
        int64_t cut = problem_random(p, end[2] + 1), whole = end[2];
        struct abi_box *left = &list->owns[list->own_count], *right = left + 1;
        *left = *right = list->owns[0];
        left->end[2] = right->begin[2] = cut;
        end[2] = cut;
        add_lattice(list, origin, end, (int32_t)list->own_count);
        end[2] = whole;
        origin[2] = cut - problem_random(p, p->launch.tile[2]);
        add_lattice(list, origin, end, (int32_t)list->own_count + 1);
        list->own_count += 2;
    }
}

static void make_lists(struct problem *p) {
    int64_t rows = p->batches * p->heads, lists = rows * p->launch.box_count;
    int64_t *begins = malloc(sizeof *begins * (size_t)(lists + 1));
    int64_t *list_of = malloc(sizeof *list_of * (size_t)rows);
    struct list_builder list = {.p = p};
    list.owns = malloc(sizeof *list.owns * (size_t)(2 * lists + 1));
    for (int a = 0; a < ABI_AXES; a++) {
        list.owns[0].begin[a] = 0;
        list.owns[0].end[a] = INT64_MAX;
    }
    list.own_count = 1;
    for (int64_t row = 0; row < rows; row++) {
        list_of[row] = rows - 1 - row; // not the identity
        for (int64_t box = 0; box < p->launch.box_count; box++) {
            int64_t owner = rows - 1 - row;
            begins[row * p->launch.box_count + box] = list.count;
            add_list(&list, &p->launch.boxes[box], owner / p->heads, owner % p->heads);
        }
    }
    begins[lists] = list.count;
    p->launch.run_begin = begins;
    p->launch.list_of = list_of;
    p->launch.runs = list.runs;
    p->launch.owns = list.owns;
    p->items = lists;
}

static void make_environment(struct problem *p) {
    struct abi_env *env = &p->launch.env;
    memcpy(env->size, p->size, sizeof env->size);
    env->heads = p->heads;
    env->kv_heads = p->kv_heads;
    env->batches = p->batches;
    env->params = (const union abi_slot *)p->params;
    env->tables = (const union abi_slot *const *)p->tables;
    p->abi_arrays = calloc((size_t)p->array_count + 1, sizeof *p->abi_arrays);
    for (int i = 0; i < p->array_count; i++) {
        struct abi_array *array = &p->abi_arrays[i];
        array->data = p->arrays[i].data;
        array->index_count = p->arrays[i].index_count;
        for (int d = 0; d < ABI_INDICES; d++)
            array->extent[d] = d < p->arrays[i].index_count ? p->arrays[i].extent[d] : 1;
    }
    env->arrays = p->abi_arrays;
}

void problem_build(struct problem *p, bool with_bad_values) {
    make_environment(p);
    make_tensors(p, with_bad_values);
    make_basis(p);
    make_boxes(p);
    make_lists(p);
    p->launch.scale = p->scale;
    p->launch.narrow = p->narrow;
}

void problem_finish(struct problem *p) {
    struct tensor_buffer *tensors[] = {&p->q, &p->k, &p->v, &p->o};
    for (int i = 0; i < 4; i++)
        guarded_free(tensors[i]->data, (size_t)tensors[i]->elements * problem_element_bytes(p));
    guarded_free(p->lse, (size_t)(p->batches * p->queries * p->heads) * 4);
    free(p->bad);
    free(p->abi_arrays);
    free((void *)p->launch.boxes);
    free((void *)p->launch.run_begin);
    free((void *)p->launch.list_of);
    free((void *)p->launch.runs);
    free((void *)p->launch.owns);
}
