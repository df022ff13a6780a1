// What stands behind the pointers of heddle.h, and how its functions fail.
#ifndef HEDDLE_RUNTIME_API_OBJECTS_H
#define HEDDLE_RUNTIME_API_OBJECTS_H

#include "compiler/base/log.h"
#include "runtime/cuda/cuda_plan.h"
#include "runtime/launch.h"
#include "runtime/tuned.h"

struct heddle_context {
    int threads;               // as asked for
    struct thread_pool *pool;  // NULL on a GPU
    enum heddle_target target; // CPU or CUDA
    struct cuda_device gpu;    // zeroed on the CPU
    char device_name[128];
    struct tuned_machine machine;
    struct log log;
    char **import_dirs;
    int import_dir_count;
};

struct heddle_pattern {
    struct program *program;
};

struct heddle_plan {
    const struct heddle_context *context; // borrowed
    struct plan *plan;
    struct cuda_plan *gpu; // NULL on the CPU
    // Of runs that bring no workspace: they take turns.
    pthread_mutex_t mutex;
    struct run_scratch scratch;
};

// Each gives the status that it records, with its message, as the thread's last failure. A status
// of HEDDLE_OK records nothing. The error is finished.
enum heddle_status api_fail(struct error *error, enum heddle_status status);
enum heddle_status api_bad_argument(const char *what);
enum heddle_status api_no_memory(void);

#endif
