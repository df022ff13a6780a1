// NumPy's .npy files, versions 1 to 3: C order, little endian, the few types heddle takes.
#ifndef HEDDLE_CLI_NPY_H
#define HEDDLE_CLI_NPY_H

#include "compiler/base/status.h"

#include <stdint.h>

enum npy_type { NPY_FLOAT16, NPY_FLOAT32, NPY_INT32, NPY_INT64 };
enum { NPY_MAX_RANK = 8 };

struct npy {
    enum npy_type type;
    int rank;
    int64_t shape[NPY_MAX_RANK];
    int64_t count; // product of the shape
    void *data;    // owned
};

// HEDDLE_IO_ERROR for anything wrong with the file; the message names it and says what would do.
enum heddle_status npy_read(const char *path, struct npy *out, struct error *error);
void npy_finish(struct npy *npy); // zeroed is fine
const char *npy_type_name(enum npy_type type);
// "[2, 8, 4096, 64]"; needs room for 24 bytes an axis.
void npy_shape_text(const int64_t *shape, int rank, char *out, size_t room);

// Writes float32. On failure the file is removed.
enum heddle_status npy_write(const char *path, const float *data, const int64_t *shape, int rank,
                             struct error *error);
// The same of int32.
enum heddle_status npy_write_ints(const char *path, const int32_t *data, const int64_t *shape,
                                  int rank, struct error *error);

#endif
