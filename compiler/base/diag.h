// Diagnostics: what is wrong with the user's pattern, as values in a list.
//
// A compilation owns one `struct diags` in its arena. Stages append; nothing here prints. Every
// file that was read is registered as a source, and spans name it by index, so that one formatter
// can show the line with a caret:
//
//   patterns/mine.heddle:7:24: error: 'k.z' - this pattern has no axis 'z'
//       keep abs(q.y - k.z) <= r;
//                      ^
//   patterns/mine.heddle:2:5: note: axes declared here: y, x
#ifndef HEDDLE_BASE_DIAG_H
#define HEDDLE_BASE_DIAG_H

#include "compiler/base/arena.h"
#include "compiler/base/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

struct span {
    uint32_t source;       // index into diags.sources
    uint32_t begin, end;   // byte offsets, half open
    uint32_t line, column; // of `begin`, 1-based; line 0: no place (then only the message prints)
};

struct source {
    const char *path; // as shown to the user
    const char *text; // NUL-terminated copy in the arena
    size_t length_bytes;
};

enum diag_severity { DIAG_ERROR, DIAG_WARNING, DIAG_NOTE };

struct diag {
    enum diag_severity severity;
    struct span span;
    const char *text;
    struct diag *next; // in order of report; a note follows the error it belongs to
};

struct diags {
    struct arena *arena; // borrowed
    struct source *sources;
    uint32_t source_count, source_room;
    struct diag *first, *last;
    uint32_t error_count;
    bool muted; // the last error was past the limit: its notes are dropped too
};

enum { DIAG_ERROR_LIMIT = 50 }; // further errors are counted and not kept

void diags_init(struct diags *diags, struct arena *arena);
// Registers a file's text (copied) and returns its index.
uint32_t diags_add_source(struct diags *diags, const char *path, const char *text,
                          size_t length_bytes);
void diag_error(struct diags *diags, struct span at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// A note continues the error before it.
void diag_note(struct diags *diags, struct span at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// The source line of a span with a caret under its first column; nothing for a span without a
// place, or where the text is not there.
void diags_excerpt(const struct diags *diags, struct span at, struct strbuf *out);
// All diagnostics as text for people.
void diags_print(const struct diags *diags, struct strbuf *out);

#endif
