// The softmax of a stage's row, in place. Plain C without a library, for a GPU, too.
#ifndef HEDDLE_COMPILER_SELECT_SOFTMAX_H
#define HEDDLE_COMPILER_SELECT_SOFTMAX_H

#include <stdint.h>

// exp(x[i] - most) over their sum, 0 where x[i] is -inf; all 0 where every one is. A NaN or an
// infinity makes the row NaN.
void softmax_row(float *x, int64_t count);

#endif
