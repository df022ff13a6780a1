// Ranges in the timelines of NVIDIA's profilers. A profiler names a library of its own in
// NVTX_INJECTION64_PATH; it is given a table of places for functions, as NVTX 3 has it, and puts
// its own there. No library of NVTX's is needed.
#ifndef HEDDLE_BASE_NVTX_H
#define HEDDLE_BASE_NVTX_H

#include <stdbool.h>

// Looks for a profiler, once per process. False: there is none, and nothing else is called.
bool nvtx_open(void);
void nvtx_push(const char *name); // of this thread; ranges nest
void nvtx_pop(void);

#endif
