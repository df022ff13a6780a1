// Arena: one owner for everything a compilation allocates.
//
// Memory handed out is zeroed, aligned for any object, and freed all at once by arena_destroy.
// There is no per-object free. An arena has a ceiling; asking for more than that, or an exhausted
// heap, leaves through `escape` (longjmp) when one is set and aborts otherwise: every public entry
// that owns an arena sets one and turns the jump into HEDDLE_OUT_OF_MEMORY, so that no caller in
// between has to test for NULL.
#ifndef HEDDLE_BASE_ARENA_H
#define HEDDLE_BASE_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; // newest first
    char *next, *limit;         // free part of the newest block
    size_t used_bytes, ceiling_bytes;
    jmp_buf *escape; // borrowed from the entry function that owns the arena
};

// Prepares an empty arena; ceiling_bytes 0 means 1 GiB. Allocates nothing yet.
void arena_init(struct arena *arena, size_t ceiling_bytes);
// Frees every block. Safe on a zeroed arena and twice in a row.
void arena_finish(struct arena *arena);

// Zeroed memory that lives as long as the arena. Never NULL.
void *arena_alloc(struct arena *arena, size_t bytes);
// The same for count * size bytes, with the multiplication checked.
void *arena_array(struct arena *arena, size_t count, size_t size_bytes);
// Copies `length` bytes of text and a terminating NUL.
char *arena_text(struct arena *arena, const char *text, size_t length);
char *arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
char *arena_vformat(struct arena *arena, const char *format, va_list args);

#define ARENA_NEW(arena, type) ((type *)arena_alloc(arena, sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_array(arena, count, sizeof(type)))

#endif
