// The CUDA driver as a table of functions, opened at run time: neither building nor starting
// heddle needs CUDA. Types and constants are cuda.h's by name, so that a test can hold this header
// against the real one.
#ifndef HEDDLE_RUNTIME_CUDA_API_H
#define HEDDLE_RUNTIME_CUDA_API_H

#include "compiler/base/status.h"

#include <stddef.h>
#include <stdint.h>

#ifndef __cuda_cuda_h__ // cuda.h's own guard
typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef int CUdevice_attribute, CUfunction_attribute, CUjit_option;
typedef int CUstreamCaptureStatus;
typedef void (*CUhostFn)(void *);
typedef uint32_t cuuint32_t;
typedef uint64_t cuuint64_t;
typedef int CUtensorMapDataType, CUtensorMapInterleave, CUtensorMapSwizzle;
typedef int CUtensorMapL2promotion, CUtensorMapFloatOOBfill;
typedef struct {
    _Alignas(64) uint64_t opaque[16];
} CUtensorMap;
enum {
#define CUDA_FUNCTION(...)
#define CUDA_CONSTANT(name, value) name = value,
#include "runtime/cuda/cuda_api.def"
#undef CUDA_FUNCTION
#undef CUDA_CONSTANT
};
#endif

struct cuda_api {
#define CUDA_FUNCTION(member, symbol, name, parameters) CUresult(*member) parameters;
#define CUDA_CONSTANT(name, value)
#include "runtime/cuda/cuda_api.def"
#undef CUDA_FUNCTION
#undef CUDA_CONSTANT
    void *library;
};

// The driver, opened and initialised once per process; never closed. `library` NULL: libcuda.so.1.
// HEDDLE_DEVICE_ERROR: there is none, or it is older than what is needed.
enum heddle_status cuda_api_open(const char *library, const struct cuda_api **out_api,
                                 struct error *error);
// A status from a driver's result: "WHAT: the driver's words".
enum heddle_status cuda_status(const struct cuda_api *api, CUresult result, const char *what,
                               struct error *error);

#endif
