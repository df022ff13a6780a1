#include "compiler/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024 };

struct arena_block {
    struct arena_block *older;
    _Alignas(max_align_t) char data[];
};

static _Noreturn void exhausted(struct arena *arena) {
    if (arena->escape)
        longjmp(*arena->escape, 1);
    abort();
}

void arena_init(struct arena *arena, size_t ceiling_bytes) {
    memset(arena, 0, sizeof *arena);
    arena->ceiling_bytes = ceiling_bytes ? ceiling_bytes : (size_t)1 << 30;
}

void arena_finish(struct arena *arena) {
    while (arena->blocks) {
        struct arena_block *older = arena->blocks->older;
        free(arena->blocks);
        arena->blocks = older;
    }
    arena->next = arena->limit = NULL;
    arena->used_bytes = 0;
}

void *arena_alloc(struct arena *arena, size_t bytes) {
    const size_t align = _Alignof(max_align_t);
    if (bytes > arena->ceiling_bytes)
        exhausted(arena);
    bytes = (bytes + align - 1) / align * align;
    if (bytes > (size_t)(arena->limit - arena->next)) {
        size_t room = bytes > BLOCK_BYTES / 4 ? bytes : BLOCK_BYTES;
        struct arena_block *block = NULL;
        if (room <= arena->ceiling_bytes - arena->used_bytes)
            block = malloc(sizeof *block + room);
        if (!block)
            exhausted(arena);
        arena->used_bytes += room;
        block->older = arena->blocks;
        arena->blocks = block;
        arena->next = block->data;
        arena->limit = block->data + room;
    }
    void *memory = arena->next;
    arena->next += bytes;
    return memset(memory, 0, bytes);
}

void *arena_array(struct arena *arena, size_t count, size_t size_bytes) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size_bytes, &bytes))
        exhausted(arena);
    return arena_alloc(arena, bytes);
}

char *arena_text(struct arena *arena, const char *text, size_t length) {
    char *copy = arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

char *arena_vformat(struct arena *arena, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

char *arena_format(struct arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = arena_vformat(arena, format, args);
    va_end(args);
    return text;
}
