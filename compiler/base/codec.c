#include "compiler/base/codec.h"

#include <string.h>

struct codec codec_writer(struct strbuf *out) {
    return (struct codec){.out = out};
}

struct codec codec_reader(const char *bytes, size_t length, struct arena *arena) {
    return (struct codec){.bytes = bytes, .length = length, .arena = arena};
}

void codec_fail(struct codec *c, const char *what) {
    if (!c->fault)
        c->fault = what;
}

// ---- numbers ------------------------------------------------------------------------------------

static void write_bits(struct strbuf *out, uint64_t value) {
    char bytes[10];
    size_t count = 0;
    do {
        bytes[count++] = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value);
    strbuf_add(out, bytes, count);
}

static uint64_t read_bits(struct codec *c) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !c->fault; shift += 7) {
        if (c->at == c->length)
            break;
        uint64_t byte = (unsigned char)c->bytes[c->at++];
        if (shift == 63 && byte > 1)
            break;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    codec_fail(c, "it ends within a number");
    return 0;
}

uint64_t codec_bits(struct codec *c, uint64_t value) {
    if (codec_reads(c))
        return read_bits(c);
    write_bits(c->out, value);
    return value;
}

// Small negative numbers are small ones too.
int64_t codec_int64(struct codec *c, int64_t value, int64_t least, int64_t most) {
    uint64_t bits = codec_bits(c, (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0));
    int64_t number = (int64_t)(bits >> 1 ^ (bits & 1 ? UINT64_MAX : 0));
    if (number >= least && number <= most)
        return number;
    codec_fail(c, "a number is out of its range");
    return least;
}

int codec_count(struct codec *c, int value, int most) {
    int count = codec_int(c, value, 0, most);
    if (!codec_reads(c) || (size_t)count <= c->length - c->at)
        return count;
    codec_fail(c, "it ends too early");
    return 0;
}

// ---- texts --------------------------------------------------------------------------------------

const char *codec_block(struct codec *c, const char *bytes, size_t *length) {
    uint64_t count = codec_bits(c, *length);
    if (!codec_reads(c)) {
        if (*length)
            strbuf_add(c->out, bytes, *length);
        return bytes;
    }
    size_t room = c->length - c->at;
    if (count > room)
        codec_fail(c, "it ends too early");
    *length = count > room ? 0 : (size_t)count;
    bytes = c->bytes + c->at;
    c->at += *length;
    return bytes;
}

const char *codec_text(struct codec *c, const char *text) {
    size_t length = text ? strlen(text) : 0;
    if (!codec_bool(c, text != NULL))
        return NULL;
    text = codec_block(c, text, &length);
    if (!codec_reads(c))
        return text;
    if (memchr(text, '\0', length))
        codec_fail(c, "a text has a NUL");
    return arena_text(c->arena, text, length);
}
