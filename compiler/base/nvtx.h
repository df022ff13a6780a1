// Ranges in the timelines of NVIDIA's profilers, by libnvToolsExt where it is.
#ifndef HEDDLE_BASE_NVTX_H
#define HEDDLE_BASE_NVTX_H

#include <stdbool.h>

// Looks for it once per process: the one that the host has loaded, or, where a profiler runs
// (NVTX_INJECTION64_PATH is set), the system's. False: there is none, and nothing else is called.
bool nvtx_open(void);
void nvtx_push(const char *name); // of this thread; ranges nest
void nvtx_pop(void);

#endif
