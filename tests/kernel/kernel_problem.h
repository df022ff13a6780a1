// A random problem for an attention kernel: tensors with guard pages behind them, a basis, query
// boxes, work lists made by brute force from the pattern's `eval`, and the plain double loop that
// says what must come out.
#ifndef HEDDLE_TESTS_KERNEL_PROBLEM_H
#define HEDDLE_TESTS_KERNEL_PROBLEM_H

#include "compiler/abi.h"
#include "dsl/pattern.h"
#include "heddle.h"

enum list_mode {
    LISTS_EXACT,   // empty tiles left out, full ones marked
    LISTS_PARTIAL, // every tile of the lattice, all partial, one run
    LISTS_OWNED,   // two lattices that overlap, each owning one side of a cut; all partial
    LIST_MODES
};

struct tensor_buffer {
    void *data; // ends at a page that may not be touched
    int64_t elements;
    int64_t batch_stride, head_stride, token_stride, dim_stride;
};

struct problem {
    struct arena *arena;
    const struct pattern *pattern;
    enum heddle_dtype dtype;
    int dim;
    int64_t batches, heads, kv_heads;
    int64_t size[MAX_AXES]; // by pattern axis
    int64_t queries, keys;  // tokens
    bool contiguous;        // dim_stride 1
    bool fused;             // all axes in one basis axis
    int64_t dilation;       // of the last basis axis
    enum list_mode lists;
    bool narrow, with_lse;
    double scale;
    unsigned seed;

    struct tensor_buffer q, k, v, o;
    float *lse;
    union value *params;
    union value **tables;
    struct eval_array *arrays; // inputs, then maps
    int array_count;
    uint8_t *bad; // [batch][kv_head][key]: K and V hold NaN or infinity there

    struct abi_launch launch;
    int64_t items;
    struct abi_array *abi_arrays;
};

// A number in [0, below).
int64_t problem_random(struct problem *p, int64_t below);
double problem_uniform(struct problem *p, double low, double high);

// Fills tensors (after sizes, dtype and flags are set), geometry and lists. Parameters, tables and
// inputs must be there already. Needs `dim_contiguous` of the kernel to equal p->contiguous.
void problem_build(struct problem *p, bool with_bad_values);
void problem_finish(struct problem *p);

struct problem_result {
    double worst; // |o - expected| / (1 + |expected|)
    double worst_lse;
    double relative_rms; // of all outputs
    int64_t row, rows_empty, rows_checked;
    const char *wrong; // a fault that is no matter of precision, or NULL
};
struct problem_result problem_check(struct problem *p);

// Between kernel_problem.c and kernel_expected.c.
double problem_element(const struct problem *p, const struct tensor_buffer *t, int64_t at);
size_t problem_element_bytes(const struct problem *p);
int64_t problem_offset(const struct tensor_buffer *t, int64_t batch, int64_t head, int64_t token);
struct eval_env problem_environment(const struct problem *p, int64_t batch, int64_t head);

float half_to_float(uint16_t half, enum heddle_dtype dtype);
uint16_t float_to_half(float x, enum heddle_dtype dtype);
// A copy of `bytes` bytes that ends where memory ends.
void *guarded_alloc(size_t bytes);
void guarded_free(void *data, size_t bytes);

#endif
