#include "compiler/base/diag.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_COLUMNS = 160 };

void diags_init(struct diags *diags, struct arena *arena) {
    memset(diags, 0, sizeof *diags);
    diags->arena = arena;
}

uint32_t diags_add_source(struct diags *diags, const char *path, const char *text,
                          size_t length_bytes) {
    if (diags->source_count == diags->source_room) {
        uint32_t room = diags->source_room ? diags->source_room * 2 : 8;
        struct source *grown = ARENA_ARRAY(diags->arena, struct source, room);
        if (diags->source_count)
            memcpy(grown, diags->sources, diags->source_count * sizeof *grown);
        diags->sources = grown;
        diags->source_room = room;
    }
    diags->sources[diags->source_count] = (struct source){
        .path = arena_text(diags->arena, path, strlen(path)),
        .text = arena_text(diags->arena, text, length_bytes),
        .length_bytes = length_bytes,
    };
    return diags->source_count++;
}

static void append(struct diags *diags, enum diag_severity severity, struct span at,
                   const char *format, va_list args) {
    struct diag *diag = ARENA_NEW(diags->arena, struct diag);
    diag->severity = severity;
    diag->span = at;
    diag->text = arena_vformat(diags->arena, format, args);
    *(diags->last ? &diags->last->next : &diags->first) = diag;
    diags->last = diag;
}

void diag_error(struct diags *diags, struct span at, const char *format, ...) {
    diags->muted = diags->error_count++ >= DIAG_ERROR_LIMIT;
    if (diags->muted)
        return;
    va_list args;
    va_start(args, format);
    append(diags, DIAG_ERROR, at, format, args);
    va_end(args);
}

void diag_note(struct diags *diags, struct span at, const char *format, ...) {
    if (diags->muted)
        return;
    va_list args;
    va_start(args, format);
    append(diags, DIAG_NOTE, at, format, args);
    va_end(args);
}

// The source line that holds the span, tabs as spaces, with a caret under its first column.
static void print_line(const struct source *source, struct span at, struct strbuf *out) {
    size_t begin = at.begin <= source->length_bytes ? at.begin : source->length_bytes;
    while (begin > 0 && source->text[begin - 1] != '\n')
        begin--;
    size_t column = (at.begin <= source->length_bytes ? at.begin : source->length_bytes) - begin;
    size_t end = begin;
    while (end < source->length_bytes && source->text[end] != '\n')
        end++;
    size_t skip = column > SHOWN_COLUMNS - 40 ? column - 40 : 0;
    size_t shown = end - begin - skip < SHOWN_COLUMNS ? end - begin - skip : SHOWN_COLUMNS;
    strbuf_puts(out, "    ");
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)source->text[begin + skip + i];
        char shown_char = c < 0x20 || c == 0x7f ? ' ' : (char)c;
        strbuf_add(out, &shown_char, 1);
    }
    strbuf_puts(out, "\n    ");
    for (size_t i = skip; i < column; i++)
        // Continuation bytes of UTF-8 take no column of their own.
        if (((unsigned char)source->text[begin + i] & 0xc0) != 0x80)
            strbuf_puts(out, " ");
    strbuf_puts(out, "^\n");
}

void diags_excerpt(const struct diags *diags, struct span at, struct strbuf *out) {
    // A bundle has no text.
    if (at.line != 0 && at.source < diags->source_count && diags->sources[at.source].length_bytes)
        print_line(&diags->sources[at.source], at, out);
}

void diags_print(const struct diags *diags, struct strbuf *out) {
    static const char *const words[] = {"error", "warning", "note"};
    for (const struct diag *diag = diags->first; diag; diag = diag->next) {
        if (diag->span.line == 0 || diag->span.source >= diags->source_count) {
            strbuf_printf(out, "%s: %s\n", words[diag->severity], diag->text);
            continue;
        }
        const struct source *source = &diags->sources[diag->span.source];
        strbuf_printf(out, "%s:%u:%u: %s: %s\n", source->path, diag->span.line, diag->span.column,
                      words[diag->severity], diag->text);
        print_line(source, diag->span, out);
    }
    if (diags->error_count > DIAG_ERROR_LIMIT)
        strbuf_printf(out, "%u more errors\n", diags->error_count - DIAG_ERROR_LIMIT);
}
