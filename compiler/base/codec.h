// Numbers and texts as bytes. One function describes a structure, and both writes and reads it:
//
//   pattern->axis_count = codec_int(c, pattern->axis_count, 1, MAX_AXES);
//
// writes the number, or gives back the one that is read. What is read is trusted in nothing: a
// number outside of its bounds, a text that does not end or too few bytes fail the codec; from then
// on it reads the least that bounds allow, so that no caller has to look in between.
//
// Numbers are 7 bits a byte, the low ones first.
#ifndef HEDDLE_BASE_CODEC_H
#define HEDDLE_BASE_CODEC_H

#include "compiler/base/arena.h"
#include "compiler/base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct codec {
    struct strbuf *out;  // writing: where to; NULL: reading
    const char *bytes;   // reading
    size_t length, at;   // of them
    struct arena *arena; // reading: texts and arrays live there
    const char *fault;   // reading: what is wrong with the bytes; NULL: nothing so far
};

struct codec codec_writer(struct strbuf *out);
struct codec codec_reader(const char *bytes, size_t length, struct arena *arena);
static inline bool codec_reads(const struct codec *c) {
    return !c->out;
}
// Fails a reader, which keeps its first fault. `what` lives for ever.
void codec_fail(struct codec *c, const char *what);

uint64_t codec_bits(struct codec *c, uint64_t value);
int64_t codec_int64(struct codec *c, int64_t value, int64_t least, int64_t most);
static inline int codec_int(struct codec *c, int value, int least, int most) {
    return (int)codec_int64(c, value, least, most);
}
static inline bool codec_bool(struct codec *c, bool value) {
    return codec_int64(c, value, 0, 1) != 0;
}

// How many things follow, each of one byte at least; a reader's never exceeds the bytes left.
int codec_count(struct codec *c, int value, int most);
// An array's count and the array: a reader gets a new one, zeroed, in its arena.
#define CODEC_ARRAY(c, array, count, most)                                                         \
    ((count) = codec_count(c, count, most),                                                        \
     (array) =                                                                                     \
         codec_reads(c) ? arena_array((c)->arena, (size_t)(count) + 1, sizeof *(array)) : (array))

// A NUL-terminated text, or NULL.
const char *codec_text(struct codec *c, const char *text);
// Bytes of any kind: a reader points to them where they are.
const char *codec_block(struct codec *c, const char *bytes, size_t *length);

#endif
