// How the language and the command line call the dtypes of heddle.h.
#ifndef HEDDLE_BASE_DTYPE_H
#define HEDDLE_BASE_DTYPE_H

#include "heddle.h"

static inline const char *dtype_name(enum heddle_dtype dtype) {
    return dtype == HEDDLE_F32 ? "fp32" : dtype == HEDDLE_F16 ? "fp16" : "bf16";
}

#endif
