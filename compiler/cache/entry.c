#include "compiler/cache/entry.h"

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const char MAGIC[8] = {'h', 'e', 'd', 'd', 'l', 'e', '\r', '\n'};
enum { VERSION = 1, SUM_AT = 48, SUM_BYTES = 16 };
static const uint64_t MOST_BYTES = (uint64_t)1 << 30; // of a key, and of code

static void put(char *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++)
        to[i] = (char)(value >> 8 * i & 0xff);
}

static uint64_t get(const char *from, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)from[i] << 8 * i;
    return value;
}

// Of a whole entry, but for the sum itself.
static bool sum_of(const char *bytes, size_t length, char out[SUM_BYTES]) {
    XXH3_state_t state;
    XXH128_canonical_t canonical;
    XXH3_INITSTATE(&state);
    if (XXH3_128bits_reset(&state) != XXH_OK ||
        XXH3_128bits_update(&state, bytes, SUM_AT) != XXH_OK ||
        XXH3_128bits_update(&state, bytes + ENTRY_HEAD_BYTES, length - ENTRY_HEAD_BYTES) != XXH_OK)
        return false;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state));
    memcpy(out, canonical.digest, SUM_BYTES);
    return true;
}

void entry_write(const struct entry *entry, struct strbuf *out) {
    char head[ENTRY_HEAD_BYTES] = {0};
    size_t begin = out->length;
    memcpy(head, MAGIC, sizeof MAGIC);
    put(head + 8, VERSION, 4);
    put(head + 12, entry->label.length, 4);
    put(head + 16, entry->key.length, 8);
    put(head + 24, entry->code.length, 8);
    put(head + 32, (uint64_t)entry->number, 8);
    put(head + 40, entry->made_us, 8);
    strbuf_add(out, head, sizeof head);
    strbuf_add(out, entry->label.bytes, entry->label.length);
    strbuf_add(out, entry->key.bytes, entry->key.length);
    strbuf_add(out, entry->code.bytes, entry->code.length);
    if (!out->failed && !sum_of(out->text + begin, out->length - begin, out->text + begin + SUM_AT))
        out->failed = true;
}

bool entry_begins(const char *bytes, size_t length) {
    return length >= sizeof MAGIC && memcmp(bytes, MAGIC, sizeof MAGIC) == 0;
}

uint64_t entry_length(const char *head) {
    uint64_t label = get(head + 12, 4), key = get(head + 16, 8), code = get(head + 24, 8);
    if (memcmp(head, MAGIC, sizeof MAGIC) != 0 || get(head + 8, 4) != VERSION ||
        label > ENTRY_MOST_LABEL || key > MOST_BYTES || code > MOST_BYTES)
        return 0;
    return ENTRY_HEAD_BYTES + label + key + code;
}

bool entry_read(const char *bytes, size_t length, struct entry *out) {
    char sum[SUM_BYTES];
    if (length < ENTRY_HEAD_BYTES || entry_length(bytes) != length)
        return false;
    if (!sum_of(bytes, length, sum) || memcmp(sum, bytes + SUM_AT, SUM_BYTES) != 0)
        return false;
    out->label = (struct entry_text){bytes + ENTRY_HEAD_BYTES, get(bytes + 12, 4)};
    out->key = (struct entry_text){out->label.bytes + out->label.length, get(bytes + 16, 8)};
    out->code = (struct entry_text){out->key.bytes + out->key.length, get(bytes + 24, 8)};
    out->number = (int64_t)get(bytes + 32, 8);
    out->made_us = get(bytes + 40, 8);
    return true;
}

// ---- names --------------------------------------------------------------------------------------

void entry_name(const char *key, size_t length, char name[ENTRY_NAME_ROOM]) {
    XXH128_hash_t hash = XXH3_128bits(key, length);
    snprintf(name, ENTRY_NAME_ROOM, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

bool entry_is_name(const char *name) {
    return strlen(name) == ENTRY_NAME_ROOM - 1 &&
           strspn(name, "0123456789abcdef") == ENTRY_NAME_ROOM - 1;
}

int64_t entry_place(const char *key, size_t length) {
    return (int64_t)(XXH3_128bits(key, length).low64 >> 2);
}
