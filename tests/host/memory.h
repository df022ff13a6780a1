// Memory that runs out: every allocation of heddle's own code (not LLVM's, nor the C library's)
// goes through here, by the linker's --wrap. Those of arenas count too, one by one, though they
// seldom ask for memory of the system's.
#ifndef HEDDLE_TESTS_HOST_MEMORY_H
#define HEDDLE_TESTS_HOST_MEMORY_H

#include <stdbool.h>

// From now on the n-th allocation fails, and no other; 0: none.
void memory_fail(long n);
// Allocations since memory_fail, and whether the n-th was among them.
long memory_count(void);
bool memory_failed(void);
// Blocks that are allocated now.
long memory_held(void);
// Which allocation the newest of them was, as memory_fail counts.
long memory_newest(void);

#endif
