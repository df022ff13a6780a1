// Words: every name of a compilation once, so that names compare by pointer; and which of them are
// reserved.
#ifndef HEDDLE_DSL_WORDS_H
#define HEDDLE_DSL_WORDS_H

#include "compiler/base/arena.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAX_NAME_BYTES = 255 };

struct word {
    int token; // of a reserved word (parse.h); 0: a name
    uint32_t hash;
    uint32_t length_bytes;
    char text[]; // NUL-terminated
};

struct words {
    struct arena *arena; // borrowed
    struct word **table; // open hash, a power of two
    uint32_t count, room;
};

void words_init(struct words *words, struct arena *arena);
// The word with this text; its address stands for the text from now on.
struct word *words_get(struct words *words, const char *text, size_t length_bytes);
// The text of words_get, for words known to the compiler.
const char *words_text(struct words *words, const char *text);

// How many edits (insert, delete, replace, swap neighbours) turn one text into the other, or
// `limit` + 1 when more than `limit` do. Texts over 64 bytes are never close.
int words_distance(const char *a, const char *b, int limit);

// Collects the candidate nearest to a misspelt text.
struct nearest {
    const char *text; // what was written
    const char *best; // NULL: nothing is near
    int best_distance;
    int candidates; // looked at so far; stops at a bound so that hints stay cheap
};

void nearest_init(struct nearest *nearest, const char *text);
void nearest_offer(struct nearest *nearest, const char *candidate);

#endif
