// A loop over items on several threads.
#ifndef HEDDLE_RUNTIME_THREADS_H
#define HEDDLE_RUNTIME_THREADS_H

#include "compiler/base/status.h"

// Processors that this process may use, at least 1.
int threads_available(void);

// Calls body(context, begin, end, scratch) for every item of [0, count) exactly once, in chunks of
// at most `chunk` handed out in order. Every thread has scratch of its own, 64-byte aligned. The
// calling thread takes part; returns when all is done.
enum heddle_status threads_each(int threads, int64_t count, int64_t chunk, int64_t scratch_bytes,
                                void (*body)(void *context, int64_t begin, int64_t end,
                                             void *scratch),
                                void *context, struct error *error);

#endif
