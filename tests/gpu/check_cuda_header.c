// heddle's own declarations of the CUDA driver against the real header: compiled where one is
// installed, and that is the whole test.
#include <cuda.h>

#define CUDA_FUNCTION(member, symbol, name, parameters)                                            \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&name), CUresult(*) parameters),        \
                   symbol " is declared otherwise");
#define CUDA_CONSTANT(name, value) _Static_assert((int)(name) == (value), #name " has changed");
#include "runtime/cuda/cuda_api.def"
#undef CUDA_FUNCTION
#undef CUDA_CONSTANT

// The same with heddle's table: cuda_api.h takes cuda.h's types when that was included.
#include "runtime/cuda/cuda_api.h"

_Static_assert(sizeof(CUtensorMap) == 128, "tensor maps are 128 bytes");
