// HEDDLE_DEBUG: words, separated by commas, of people who look inside; docs/environment.md explains
// them. Others than these are ignored.
#ifndef HEDDLE_BASE_DEBUG_H
#define HEDDLE_BASE_DEBUG_H

#include <stddef.h>

enum debug_word {
    DEBUG_NO_CACHE = 1,
    DEBUG_DUMP_LLVM = 2,
    DEBUG_VERIFY = 4,
    DEBUG_TRACE = 8,
};

// A bit for each word that is set. Reads the environment: not in heddle_run.
unsigned debug_words(void);

// What the code that this thread makes is for ("cpu-kernel window fp32 dim 64"); NULL: nothing.
// Borrowed until the next call. Returns the one before.
const char *debug_subject(const char *subject);

// With dump-llvm: writes a file into the folder of dumps, named by a number, the subject and `end`
// ("ir.ll"). What cannot be written is a warning of the log.
void debug_dump(const char *end, const char *text, size_t length_bytes);

#endif
