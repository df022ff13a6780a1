// Tensors of a run in memory: random orders of the dimensions, room between rows, heads and tokens,
// q, k and v packed together, keys shared by a stride of 0. All memory that is no element is filled
// with a NaN that must neither be read nor overwritten; bands of it lie around every tensor.
#ifndef HEDDLE_TESTS_GPU_LAYOUTS_H
#define HEDDLE_TESTS_GPU_LAYOUTS_H

#include "runtime/reference.h"
#include "tests/gpu/machine.h"
#include "tests/support/random_pattern.h"

enum { Q, K, V, O, TENSORS };

struct shapes { // of a problem's tensors
    int64_t batch, heads[TENSORS], tokens[TENSORS], dim;
    enum heddle_dtype dtype;
    bool shared_heads[TENSORS], shared_batches[TENSORS]; // the same numbers in all
};

// [batch, heads, tokens, dim] contiguous, in the dtype.
struct numbers {
    void *of[TENSORS]; // q, k, v; o stays NULL
};
void numbers_make(struct numbers *numbers, const struct shapes *shapes, double loudness,
                  struct random_source *random);
void numbers_free(struct numbers *numbers);
int64_t shapes_count(const struct shapes *shapes, int tensor); // elements

struct placed { // a tensor in a slab
    int slab;
    int64_t at, strides[4]; // elements; batch, head, token, dim
    bool unsaid;            // contiguous, and given without strides
};
struct layout {
    struct shapes shapes;
    struct placed of[TENSORS];
    struct slab slabs[TENSORS + 1]; // the last is lse's
    struct slab inputs[TENSORS];    // host: what was uploaded into slabs 0 .. 2
    int64_t lse_at;                 // floats
    bool with_lse;
};

// A layout that the machine can take, with memory on both sides.
void layout_random(struct layout *layout, const struct machine *machine,
                   const struct shapes *shapes, struct random_source *random);
void layout_free(struct layout *layout, const struct machine *machine);
// Uploads the numbers, and poison for o and lse.
void layout_fill(struct layout *layout, const struct machine *machine,
                 const struct numbers *numbers);
// The run's tensors: in the machine's memory, or in the host's copy of it.
struct heddle_tensors layout_tensors(const struct layout *layout, bool on_host);

// After a run: o and lse come back. What is wrong with the memory around them, or NULL.
const char *layout_fetch(struct layout *layout, const struct machine *machine);
// o (contiguous) and lse (left alone where the layout has none), as fetched.
void layout_results(const struct layout *layout, void *o, float *lse);
void layout_text(const struct layout *layout, char *out, size_t room);

#endif
