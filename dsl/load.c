// Stage parse: the bytes of files. What passes here is text the lexer can take: UTF-8 without NUL.

#include "dsl/checker.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool load_identity(const char *path, struct loaded *out) {
    struct stat info;
    if (stat(path, &info) != 0)
        return false;
    out->device = (uint64_t)info.st_dev;
    out->inode = (uint64_t)info.st_ino;
    return true;
}

// Reads up to `room` bytes; nothing here allocates, so the descriptor cannot be left open.
static bool read_all(const char *path, char *text, size_t room, size_t *out_length) {
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return false;
    size_t length = 0;
    ssize_t got = 1;
    while (length < room && got > 0) {
        got = read(file, text + length, room - length);
        if (got > 0)
            length += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    int reason = errno;
    close(file);
    errno = reason;
    *out_length = length;
    return got >= 0;
}

enum load_result load_file(struct arena *arena, const char *path, struct loaded *out) {
    struct stat info;
    if (stat(path, &info) != 0)
        return errno == ENOENT || errno == ENOTDIR ? LOAD_MISSING : LOAD_FAILED;
    if (!S_ISREG(info.st_mode))
        return LOAD_NOT_A_FILE;
    out->device = (uint64_t)info.st_dev;
    out->inode = (uint64_t)info.st_ino;
    out->length_bytes = (size_t)info.st_size;
    if (info.st_size > MAX_FILE_BYTES)
        return LOAD_TOO_LARGE;
    out->text = arena_alloc(arena, out->length_bytes + 1);
    return read_all(path, out->text, out->length_bytes, &out->length_bytes) ? LOAD_OK : LOAD_FAILED;
}

// Length of the UTF-8 sequence that starts here, 0 if none does (Unicode 15, table 3-7).
static size_t sequence_length(const unsigned char *at, size_t room) {
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (length == 0 || at[0] > 0xf4 || length > room)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] > 0x9f;
    bool beyond = at[0] == 0xf4 && at[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

// Offset of the first NUL or byte that is not UTF-8; length_bytes: none.
static size_t first_bad_byte(const char *text, size_t length_bytes) {
    size_t at = 0;
    while (at < length_bytes) {
        size_t length = sequence_length((const unsigned char *)text + at, length_bytes - at);
        if (length == 0 || text[at] == '\0')
            return at;
        at += length;
    }
    return length_bytes;
}

static struct span span_at(const struct diags *diags, uint32_t source, size_t offset) {
    const char *text = diags->sources[source].text;
    struct span span = {source, (uint32_t)offset, (uint32_t)offset + 1, 1, 1};
    for (size_t i = 0; i < offset; i++) {
        span.column += ((unsigned char)text[i] & 0xc0) != 0x80;
        if (text[i] == '\n') {
            span.line++;
            span.column = 1;
        }
    }
    return span;
}

bool source_is_text(struct diags *diags, uint32_t source) {
    const struct source *text = &diags->sources[source];
    size_t bad = first_bad_byte(text->text, text->length_bytes);
    if (bad == text->length_bytes)
        return true;
    struct span span = span_at(diags, source, bad);
    if (text->text[bad])
        diag_error(diags, span, "this is not UTF-8");
    else
        diag_error(diags, span, "a NUL byte has no place in a pattern");
    return false;
}
