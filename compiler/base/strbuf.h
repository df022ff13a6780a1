// A growing text on the heap, for dumps and messages. Zero-initialise to start; text is never NULL
// after the first append. Out of memory aborts the append and sets `failed`.
#ifndef HEDDLE_BASE_STRBUF_H
#define HEDDLE_BASE_STRBUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct strbuf {
    char *text; // NUL-terminated, owned
    size_t length, room;
    bool failed;
};

void strbuf_finish(struct strbuf *buf);
void strbuf_add(struct strbuf *buf, const char *bytes, size_t length);
void strbuf_puts(struct strbuf *buf, const char *text);
void strbuf_printf(struct strbuf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(struct strbuf *buf, const char *format, va_list args);

#endif
