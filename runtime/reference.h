// The reference: attention pair by pair in double precision, straight from the checked expression
// by each operation's `eval`. Slow and obvious; shares nothing with the compiled path.
#ifndef HEDDLE_RUNTIME_REFERENCE_H
#define HEDDLE_RUNTIME_REFERENCE_H

#include "runtime/plan.h"

// One output row. Tensors are those of the run (plan's dtype, strides in elements).
//   out[dim]  the row of o;  *out_lse  natural-log sum of exponentials, -inf when nothing is kept
// HEDDLE_INTERNAL when the expression has no value for a pair (plan_create should have refused).
enum heddle_status reference_row(const struct plan *plan, const struct heddle_tensors *tensors,
                                 int64_t batch, int64_t head, int64_t query_row, double *out,
                                 double *out_lse, struct error *error);

struct verify_result {
    int64_t rows, rows_total; // compared, of all
    double error;             // see verify_tensors
    double tolerance;         // for the dtype
    double lse_error;         // largest absolute difference
    bool passed;
    int64_t worst_batch, worst_head, worst_row; // where `error` was seen
};

// Compares o and lse with the reference: all rows when batch * heads * queries * keys * dim <=
// budget_products, else a random sample of rows (seeded) within the budget, at least one.
// error = max over rows of |o - ref|_2 / max(|ref|_2, 1e-3 * rms of all ref rows); exact rows with
// no key must be 0 and -inf. lse may be NULL.
enum heddle_status verify_tensors(const struct plan *plan, const struct heddle_tensors *tensors,
                                  int64_t budget_products, uint64_t seed,
                                  struct verify_result *out_result, struct error *error);

// dtype conversions shared by the command line, the reference and the tests.
double dtype_load(enum heddle_dtype dtype, const void *data, int64_t index);
void dtype_store(enum heddle_dtype dtype, void *data, int64_t index, double value);
int64_t dtype_bytes(enum heddle_dtype dtype);

#endif
