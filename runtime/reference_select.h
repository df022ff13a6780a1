// The reference of stages and selections: every expression by the rows' `eval`, in double, from q
// and k as they are in memory. Slow and obvious; shares nothing with the compiled path.
//
// A selection is judged on the sets that the run before it chose: what the reference would have
// chosen otherwise may follow from one rounding. So each ranking is held against the scores that
// the reference computes, given the chosen sets that come before it.
#ifndef HEDDLE_RUNTIME_REFERENCE_SELECT_H
#define HEDDLE_RUNTIME_REFERENCE_SELECT_H

#include "runtime/plan.h"

struct verify_select_result {
    int64_t rankings;    // compared
    int64_t differences; // elements that are chosen one way only, all within rounding
    double stage_error; // largest difference of a stage's value, relative to the largest of its row
    bool passed;
    char message[512]; // what is wrong
};

// Compares the plan's arrays, after a run with these tensors, with the reference: all of them. It
// takes about a microsecond a product of two rows.
enum heddle_status verify_select(const struct plan *plan, const struct heddle_tensors *tensors,
                                 struct verify_select_result *out, struct error *error);

#endif
