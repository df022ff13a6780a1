// Folders of tests, under /tmp.
#ifndef HEDDLE_TESTS_SUPPORT_SCRATCH_H
#define HEDDLE_TESTS_SUPPORT_SCRATCH_H

enum { SCRATCH_ROOM = 64 };

// Makes a new one, whose name begins with heddle-NAME, and aborts when that fails.
void scratch_make(const char *name, char out[SCRATCH_ROOM]);

// The same as HEDDLE_CACHE_DIR, with nothing else said that the cache listens to.
void scratch_cache(const char *name, char out[SCRATCH_ROOM]);

// Removes it with all it holds, also what the test has made unwritable.
void scratch_remove(const char *folder);

#endif
