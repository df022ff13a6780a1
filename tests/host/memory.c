#include "tests/host/memory.h"

#include "compiler/base/arena.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 1 << 18 }; // many more than there ever are blocks

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long count, fail_at, held;
static bool failed;
static long made_by[PLACES];     // which allocation, since memory_fail
static uintptr_t blocks[PLACES]; // an open hash table; 0: never used, 1: gone

void memory_fail(long n) {
    memset(made_by, 0, sizeof made_by);
    count = 0;
    fail_at = n;
    failed = false;
}

long memory_count(void) {
    return count;
}

bool memory_failed(void) {
    return failed;
}

long memory_held(void) {
    return held;
}

long memory_newest(void) {
    long newest = 0;
    for (size_t i = 0; i < PLACES; i++)
        if (blocks[i] > 1 && made_by[i] > newest)
            newest = made_by[i];
    return newest;
}

// ---- counting -----------------------------------------------------------------------------------

static bool fails(void) {
    pthread_mutex_lock(&mutex);
    bool now = ++count == fail_at;
    failed |= now;
    pthread_mutex_unlock(&mutex);
    return now;
}

static void *hold(void *block) {
    if (!block)
        return NULL;
    pthread_mutex_lock(&mutex);
    size_t place = (uintptr_t)block / 16 % PLACES;
    while (blocks[place] > 1)
        place = (place + 1) % PLACES;
    blocks[place] = (uintptr_t)block;
    made_by[place] = count;
    held++;
    pthread_mutex_unlock(&mutex);
    return block;
}

// What was not allocated here is not counted: LLVM's, or the C library's.
static void let_go(const void *block) {
    if (!block)
        return;
    pthread_mutex_lock(&mutex);
    size_t place = (uintptr_t)block / 16 % PLACES;
    while (blocks[place] && blocks[place] != (uintptr_t)block)
        place = (place + 1) % PLACES;
    held -= blocks[place] != 0;
    if (blocks[place]) // the search for others ends at a place that was never used
        blocks[place] = blocks[(place + 1) % PLACES] ? 1 : 0;
    pthread_mutex_unlock(&mutex);
}

// ---- the C library's ----------------------------------------------------------------------------

#define WRAP(type, name, parameters)                                                               \
    type __real_##name parameters; /* NOLINT: the linker's names */                                \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

WRAP(void *, malloc, (size_t bytes)) {
    return fails() ? NULL : hold(__real_malloc(bytes));
}
WRAP(void *, calloc, (size_t number, size_t bytes)) {
    return fails() ? NULL : hold(__real_calloc(number, bytes));
}
WRAP(void *, aligned_alloc, (size_t alignment, size_t bytes)) {
    return fails() ? NULL : hold(__real_aligned_alloc(alignment, bytes));
}
WRAP(char *, strdup, (const char *text)) {
    return fails() ? NULL : hold(__real_strdup(text));
}
WRAP(void *, realloc, (void *block, size_t bytes)) {
    if (fails())
        return NULL;
    void *moved = __real_realloc(block, bytes);
    if (moved)
        let_go(block);
    return hold(moved);
}
WRAP(void, free, (void *block)) {
    let_go(block);
    __real_free(block);
}

// ---- arenas -------------------------------------------------------------------------------------

WRAP(void *, arena_alloc, (struct arena * arena, size_t bytes)) {
    return __real_arena_alloc(arena, fails() ? SIZE_MAX : bytes);
}
WRAP(void *, arena_array, (struct arena * arena, size_t number, size_t bytes)) {
    return __real_arena_array(arena, number, fails() ? SIZE_MAX : bytes);
}
WRAP(char *, arena_text, (struct arena * arena, const char *text, size_t length)) {
    if (fails())
        __real_arena_alloc(arena, SIZE_MAX);
    return __real_arena_text(arena, text, length);
}
