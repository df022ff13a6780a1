// Locks between threads and processes that die with whoever holds them: one byte of a file each.
#ifndef HEDDLE_COMPILER_CACHE_LOCK_H
#define HEDDLE_COMPILER_CACHE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct lock {
    int descriptor; // -1: none
    int64_t place;
};

enum lock_outcome {
    LOCK_HELD,  // by us
    LOCK_BUSY,  // by another
    LOCK_NEVER, // locks do not work here
};

// The file in `folder`, made if missing. False: it cannot be had; there is nothing to close then.
bool lock_open(struct lock *lock, const char *folder, int64_t place);
enum lock_outcome lock_try(struct lock *lock);
void lock_close(struct lock *lock); // lets go too

#endif
