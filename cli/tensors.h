// The tensors of a run on the CPU: made, read, written.
#ifndef HEDDLE_CLI_TENSORS_H
#define HEDDLE_CLI_TENSORS_H

#include "cli/npy.h"
#include "cli/problem.h"
#include "runtime/plan.h"

struct tensor_files { // q, k and v as read; data NULL: none
    struct npy q, k, v;
};

// Reads all three (or none, when all paths are NULL) and says what they tell about the problem.
// Exit status; failures are explained.
int tensor_files_read(struct tensor_files *files, const char *q, const char *k, const char *v,
                      struct problem_shape *out_shape);
void tensor_files_finish(struct tensor_files *files);

struct tensors {
    struct heddle_tensors run; // contiguous, [batch, heads, tokens, dim]
    void *memory[4];           // q, k, v, o
    int64_t count[4];          // their elements
    int64_t rows;              // of o: batch * heads * queries
};

// Memory for the plan's problem; q, k, v from the files or else seeded normal values; o and lse are
// filled with NaN, so that whatever a run leaves out shows. Exit status.
int tensors_create(struct tensors *tensors, const struct plan *plan,
                   const struct tensor_files *files, uint64_t seed);
// Fills o and lse with NaN again.
void tensors_clear_results(struct tensors *tensors, const struct plan *plan);
void tensors_destroy(struct tensors *tensors);
// Write o and lse as float32. Exit status.
int tensors_write_output(const struct tensors *tensors, const struct plan *plan, const char *path);
int tensors_write_lse(const struct tensors *tensors, const struct plan *plan, const char *path);

#endif
