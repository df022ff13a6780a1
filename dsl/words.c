// Words: interning and spelling distance.

#include "dsl/words.h"

#include <string.h>

enum { FIRST_ROOM = 512, LONGEST_CLOSE = 64, MOST_CANDIDATES = 1000 };

void words_init(struct words *words, struct arena *arena) {
    words->arena = arena;
    words->count = 0;
    words->room = FIRST_ROOM;
    words->table = ARENA_ARRAY(arena, struct word *, FIRST_ROOM);
}

static uint32_t hash_text(const char *text, size_t length_bytes) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length_bytes; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash ^ (hash >> 15);
}

static void grow(struct words *words) {
    uint32_t room = words->room * 2;
    struct word **table = ARENA_ARRAY(words->arena, struct word *, room);
    for (uint32_t i = 0; i < words->room; i++) {
        if (!words->table[i])
            continue;
        uint32_t at = words->table[i]->hash & (room - 1);
        while (table[at])
            at = (at + 1) & (room - 1);
        table[at] = words->table[i];
    }
    words->table = table;
    words->room = room;
}

struct word *words_get(struct words *words, const char *text, size_t length_bytes) {
    uint32_t hash = hash_text(text, length_bytes);
    uint32_t at = hash & (words->room - 1);
    for (; words->table[at]; at = (at + 1) & (words->room - 1)) {
        struct word *found = words->table[at];
        if (found->hash == hash && found->length_bytes == length_bytes &&
            memcmp(found->text, text, length_bytes) == 0)
            return found;
    }
    struct word *word = arena_alloc(words->arena, sizeof *word + length_bytes + 1);
    word->hash = hash;
    word->length_bytes = (uint32_t)length_bytes;
    memcpy(word->text, text, length_bytes);
    words->table[at] = word;
    if (++words->count * 2 > words->room)
        grow(words);
    return word;
}

const char *words_text(struct words *words, const char *text) {
    return words_get(words, text, strlen(text))->text;
}

static int smallest(int a, int b, int c) {
    int least = a < b ? a : b;
    return least < c ? least : c;
}

// Optimal string alignment distance, three rows of the usual table.
int words_distance(const char *a, const char *b, int limit) {
    int a_length = (int)strnlen(a, LONGEST_CLOSE + 1);
    int b_length = (int)strnlen(b, LONGEST_CLOSE + 1);
    int difference = a_length > b_length ? a_length - b_length : b_length - a_length;
    if (a_length > LONGEST_CLOSE || b_length > LONGEST_CLOSE || difference > limit)
        return limit + 1;
    int rows[3][LONGEST_CLOSE + 1];
    for (int j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (int i = 1; i <= a_length; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= b_length; j++) {
            int replace = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, replace);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    int distance = rows[a_length % 3][b_length];
    return distance <= limit ? distance : limit + 1;
}

void nearest_init(struct nearest *nearest, const char *text) {
    size_t length = strnlen(text, LONGEST_CLOSE + 1);
    nearest->text = text;
    nearest->best = NULL;
    nearest->best_distance = length < 3 ? 2 : length < 8 ? 3 : 4; // exclusive
    nearest->candidates = 0;
}

void nearest_offer(struct nearest *nearest, const char *candidate) {
    if (++nearest->candidates > MOST_CANDIDATES)
        return;
    int limit = nearest->best_distance - 1;
    int distance = words_distance(nearest->text, candidate, limit);
    bool nothing_left = (size_t)distance >= strlen(candidate); // `x` is not a misspelt `i`
    if (distance > limit || nothing_left)
        return;
    nearest->best = candidate;
    nearest->best_distance = distance;
}
