// One piece of compiled code as bytes: its key, what it is for people, and the code.
//
//   bytes    0 ..  8   "heddle\r\n"; damaged by whoever takes the file for a text
//            8 .. 12   version of this format
//           12 .. 16   bytes of the label
//           16 .. 24   of the key
//           24 .. 32   of the code
//           32 .. 40   a number that belongs to the code (see struct entry)
//           40 .. 48   microseconds that making the code took
//           48 .. 64   XXH3 (128 bits, canonical) of bytes 0 .. 48 and all that follows here
//           64 ..      label, key, code, and nothing more
//
// Numbers are little-endian. Reading looks at no byte past `length` and trusts none before it.
#ifndef HEDDLE_COMPILER_CACHE_ENTRY_H
#define HEDDLE_COMPILER_CACHE_ENTRY_H

#include "compiler/base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENTRY_HEAD_BYTES = 64, ENTRY_NAME_ROOM = 33, ENTRY_MOST_LABEL = 4096 };

struct entry_text { // not NUL-terminated
    const char *bytes;
    size_t length;
};

struct entry {
    struct entry_text label, key, code;
    int64_t number; // scratch bytes of a CPU kernel, shared bytes of a GPU's, else 0
    uint64_t made_us;
};

// Appends the entry. out->failed: no memory.
void entry_write(const struct entry *entry, struct strbuf *out);
// False: not a whole, undamaged entry of this format. The texts point into `bytes`.
bool entry_read(const char *bytes, size_t length, struct entry *out);
// Do these bytes begin as an entry of any version does?
bool entry_begins(const char *bytes, size_t length);
// The length that an entry which begins with these ENTRY_HEAD_BYTES claims to have; 0: none begins
// so. For who reads entries out of a stream.
uint64_t entry_length(const char *head);

// The file name of a key's entry: 32 hexadecimal digits, and the NUL.
void entry_name(const char *key, size_t length, char name[ENTRY_NAME_ROOM]);
// Is it one?
bool entry_is_name(const char *name);
// A place among 2^62 for a key, for locks.
int64_t entry_place(const char *key, size_t length);

#endif
