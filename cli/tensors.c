// Seeded inputs: element e of tensor t (0 q, 1 k, 2 v) is a standard normal number that depends on
// (seed, t, e) alone. Elements 2p and 2p + 1 are the Box-Muller pair of the uniform numbers
//   u1 = (x + 1) / 2^53, u2 = y / 2^53,
//   x, y = the upper 53 bits of splitmix64 outputs 2p and 2p + 1 of the stream that starts at
//          splitmix64(seed * 4 + t),
// computed in double and then rounded to the dtype: the same values in every dtype and shape order.
#include "cli/tensors.h"

#include "cli/command.h"
#include "cli/progress.h"
#include "runtime/reference.h"
#include "runtime/threads.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double two_pi = 6.283185307179586476925;

// ---- files ---------------------------------------------------------------------------------

static int read_tensor(const char *path, struct npy *out) {
    struct error error = {0};
    if (npy_read(path, out, &error) != HEDDLE_OK)
        return fail(&error);
    if (out->type != NPY_FLOAT32 && out->type != NPY_FLOAT16) {
        complain("%s: is %s; tensors are float32 or float16", path, npy_type_name(out->type));
        return EXIT_INPUT;
    }
    if (out->rank == 4 && out->count > 0)
        return EXIT_DONE;
    char shape[NPY_MAX_RANK * 24];
    npy_shape_text(out->shape, out->rank, shape, sizeof shape);
    complain("%s: has shape %s; tensors are [batch, heads, tokens, dim], none of them 0", path,
             shape);
    return EXIT_INPUT;
}

static int shapes_disagree(const char *a, const struct npy *x, const char *b, const struct npy *y) {
    char left[NPY_MAX_RANK * 24], right[NPY_MAX_RANK * 24];
    npy_shape_text(x->shape, x->rank, left, sizeof left);
    npy_shape_text(y->shape, y->rank, right, sizeof right);
    complain("%s with shape %s does not go with %s of shape %s", a, left, b, right);
    return EXIT_INPUT;
}

int tensor_files_read(struct tensor_files *files, const char *q, const char *k, const char *v,
                      struct problem_shape *out_shape) {
    *files = (struct tensor_files){0};
    *out_shape = (struct problem_shape){0};
    if (!q && !k && !v)
        return EXIT_DONE;
    if (!q || !k || !v)
        return usage_error("--q, --k and --v go together");
    int status = read_tensor(q, &files->q);
    if (status == EXIT_DONE)
        status = read_tensor(k, &files->k);
    if (status == EXIT_DONE)
        status = read_tensor(v, &files->v);
    if (status != EXIT_DONE)
        return status;
    const int64_t *qs = files->q.shape, *ks = files->k.shape;
    if (memcmp(ks, files->v.shape, 4 * sizeof *ks) != 0)
        return shapes_disagree("--v", &files->v, "--k", &files->k);
    if (qs[0] != ks[0] || qs[1] % ks[1] != 0 || qs[3] != ks[3])
        return shapes_disagree("--q", &files->q, "--k", &files->k);
    *out_shape = (struct problem_shape){.batch = qs[0],
                                        .heads = qs[1],
                                        .kv_heads = ks[1],
                                        .queries = qs[2],
                                        .keys = ks[2],
                                        .dim = qs[3]};
    return EXIT_DONE;
}

void tensor_files_finish(struct tensor_files *files) {
    npy_finish(&files->q);
    npy_finish(&files->k);
    npy_finish(&files->v);
}

// ---- values --------------------------------------------------------------------------------

static uint64_t splitmix64(uint64_t state) { // the output for this state
    state = (state ^ state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    state = (state ^ state >> 27) * UINT64_C(0x94d049bb133111eb);
    return state ^ state >> 31;
}

static uint64_t stream_at(uint64_t start, int64_t index) {
    return splitmix64(start + UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)index + 1));
}

struct filling { // one tensor, by pairs of elements on all processors
    enum heddle_dtype dtype;
    void *data;
    int64_t count;
    uint64_t start;
};

static void fill_pairs(void *context, int64_t begin, int64_t end, void *scratch) {
    const struct filling *fill = context;
    const double unit = 1.0 / 9007199254740992.0; // 2^-53
    (void)scratch;
    for (int64_t e = 2 * begin; e < 2 * end; e += 2) {
        double u1 = (double)((stream_at(fill->start, e) >> 11) + 1) * unit;
        double u2 = (double)(stream_at(fill->start, e + 1) >> 11) * unit;
        double radius = sqrt(-2 * log(u1));
        dtype_store(fill->dtype, fill->data, e, radius * cos(two_pi * u2));
        if (e + 1 < fill->count)
            dtype_store(fill->dtype, fill->data, e + 1, radius * sin(two_pi * u2));
    }
}

static enum heddle_status fill_normal(enum heddle_dtype dtype, void *data, int64_t count,
                                      uint64_t seed, int tensor, struct error *error) {
    struct filling fill = {dtype, data, count, stream_at(seed * 4 + (uint64_t)tensor, 0)};
    return threads_each((count + 1) / 2, 1 << 16, fill_pairs, &fill, error);
}

static void fill_from(enum heddle_dtype dtype, void *data, const struct npy *npy) {
    enum heddle_dtype from = npy->type == NPY_FLOAT32 ? HEDDLE_F32 : HEDDLE_F16;
    for (int64_t e = 0; e < npy->count; e++)
        dtype_store(dtype, data, e, dtype_load(from, npy->data, e));
}

static enum heddle_status fill_inputs(struct tensors *tensors, const struct plan *plan,
                                      const struct tensor_files *files, uint64_t seed,
                                      struct error *error) {
    const struct npy *from[] = {&files->q, &files->k, &files->v};
    struct progress progress;
    enum heddle_status status = HEDDLE_OK;
    progress_begin(&progress, "inputs", tensors->count[0] + tensors->count[1] + tensors->count[2]);
    int64_t done = 0;
    for (int t = 0; t < 3 && status == HEDDLE_OK; t++) {
        if (from[t]->data)
            fill_from(plan->dtype, tensors->memory[t], from[t]);
        else
            status =
                fill_normal(plan->dtype, tensors->memory[t], tensors->count[t], seed, t, error);
        done += tensors->count[t];
        progress_step(&progress, done);
    }
    progress_end(&progress);
    return status;
}

static bool element_count(int64_t a, int64_t b, int64_t c, int64_t d, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out) && !__builtin_mul_overflow(*out, c, out) &&
           !__builtin_mul_overflow(*out, d, out) && *out <= INT64_MAX / 8;
}

void tensors_clear_results(struct tensors *tensors, const struct plan *plan) {
    for (int64_t e = 0; e < tensors->count[3]; e++)
        dtype_store(plan->dtype, tensors->memory[3], e, NAN);
    for (int64_t e = 0; e < tensors->rows; e++)
        tensors->run.lse[e] = NAN;
}

int tensors_create(struct tensors *tensors, const struct plan *plan,
                   const struct tensor_files *files, uint64_t seed) {
    *tensors = (struct tensors){.rows = plan->batch * plan->heads * plan->queries};
    bool fits = true;
    for (int t = 0; t < 4 && fits; t++) {
        bool of_keys = t == 1 || t == 2;
        fits = element_count(plan->batch, of_keys ? plan->kv_heads : plan->heads,
                             of_keys ? plan->keys : plan->queries, plan->dim, &tensors->count[t]);
        if (fits)
            tensors->memory[t] =
                malloc((size_t)tensors->count[t] * (size_t)dtype_bytes(plan->dtype));
        fits = fits && tensors->memory[t];
    }
    float *lse = fits ? malloc((size_t)tensors->rows * sizeof *lse) : NULL;
    tensors->run.lse = lse;
    if (!lse) {
        complain("no memory for the tensors of this problem");
        return EXIT_DEVICE;
    }
    struct error error = {0};
    if (fill_inputs(tensors, plan, files, seed, &error) != HEDDLE_OK)
        return fail(&error);
    tensors_clear_results(tensors, plan);
    tensors->run.q.data = tensors->memory[0];
    tensors->run.k.data = tensors->memory[1];
    tensors->run.v.data = tensors->memory[2];
    tensors->run.o.data = tensors->memory[3];
    return EXIT_DONE;
}

void tensors_destroy(struct tensors *tensors) {
    for (int t = 0; t < 4; t++)
        free(tensors->memory[t]);
    free(tensors->run.lse);
    *tensors = (struct tensors){0};
}

// ---- results -------------------------------------------------------------------------------

int tensors_write_output(const struct tensors *tensors, const struct plan *plan, const char *path) {
    const int64_t shape[] = {plan->batch, plan->heads, plan->queries, plan->dim};
    struct error error = {0};
    if (plan->dtype == HEDDLE_F32)
        return npy_write(path, tensors->memory[3], shape, 4, &error) == HEDDLE_OK ? EXIT_DONE
                                                                                  : fail(&error);
    float *wide = malloc((size_t)tensors->count[3] * sizeof *wide);
    if (!wide) {
        complain("no memory to widen the output");
        return EXIT_DEVICE;
    }
    for (int64_t e = 0; e < tensors->count[3]; e++)
        wide[e] = (float)dtype_load(plan->dtype, tensors->memory[3], e);
    enum heddle_status status = npy_write(path, wide, shape, 4, &error);
    free(wide);
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}

int tensors_write_lse(const struct tensors *tensors, const struct plan *plan, const char *path) {
    const int64_t shape[] = {plan->batch, plan->heads, plan->queries};
    struct error error = {0};
    return npy_write(path, tensors->run.lse, shape, 3, &error) == HEDDLE_OK ? EXIT_DONE
                                                                            : fail(&error);
}
