// What expressions of stages and selections read beside a pair's own environment: rows of q and k
// and earlier stages, in double. For expr_eval (the reference).
#ifndef HEDDLE_DSL_EVAL_ROWS_H
#define HEDDLE_DSL_EVAL_ROWS_H

#include "dsl/expr.h"

enum { EVAL_MOST_DIMS = 256 };

struct eval_stage { // row-major; of rows: dim numbers an element
    const double *data;
    int64_t extent[MAX_INDICES]; // of its indices, the dims left out
};

struct eval_rows {
    int64_t dim, queries;
    double scale;
    const struct eval_stage *stages; // by input; data NULL where that is no stage
    // The row of a head and token, or zeros where there is none. side: enum side.
    void (*read)(void *context, int side, int64_t batch, int64_t head, int64_t token, double *out);
    void *context;
};

// The value of a row (an expression with DEP_ROW, or what is the same for all dims): dim numbers.
void expr_eval_row(const struct expr *root, struct eval_env *env, struct eval_failure *failure,
                   double *out);

#endif
