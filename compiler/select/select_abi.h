// What the compiled functions of stages and selections share with the runtime. See compiler/abi.h.
#ifndef HEDDLE_COMPILER_SELECT_ABI_H
#define HEDDLE_COMPILER_SELECT_ABI_H

#include "compiler/abi.h"

struct select_args {
    struct abi_env env; // first: compiled code takes the arguments for an environment, too
    struct abi_tensor q, k;
    int64_t queries, keys, dim;
    double scale;
};

// `index` has the values of an array's indices, INDEX_DIM and INDEX_WIDTH left out.

// Elements begin .. end of a stage's last index, whatever index[] has there. Of a stage of values:
// out[x - begin]; of rows: dim floats each. An element where `where` does not hold is 0; under
// a softmax, -inf, and the values are what the softmax is of.
typedef void select_stage_fn(const struct select_args *, const int64_t *index, int64_t begin,
                             int64_t end, float *out);

// Of one list: scores[0 .. width), NaN where there is no candidate, and forced[0 .. width), 0 or 1.
typedef void select_rank_fn(const struct select_args *, const int64_t *index, int64_t width,
                            float *scores, uint8_t *forced);

// How much is taken of one ranking. Counts are exact in doubles.
enum { SELECT_BAND_ROOM = 16 };
struct select_amounts {
    double amount;                                          // n, p or t
    double least, most;                                     // -1: no bound
    double share[SELECT_BAND_ROOM], step[SELECT_BAND_ROOM]; // step 1: none
};
typedef void select_amounts_fn(const struct select_args *, const int64_t *index,
                               struct select_amounts *out);

#endif
