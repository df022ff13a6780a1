// The readers of cache entries and archives on mutated ones: no crash, no read past the end (under
// the address sanitizer), and nothing is taken for an entry whose bytes were changed.
//
// Usage: fuzz_entry ITERATIONS SEED
#include "compiler/cache/archive.h"
#include "compiler/cache/entry.h"
#include "compiler/cache/folder.h"
#include "tests/fuzz/fuzz_random.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BYTES = 4096, ARCHIVE_EVERY = 32 };

static void fail(const char *what) {
    fprintf(stderr, "fuzz_entry: %s\n", what);
    abort();
}

static void random_text(struct strbuf *out, uint32_t most) {
    for (uint32_t length = random_below(most); length > 0; length--)
        strbuf_add(out, &(char){(char)random_below(256)}, 1);
}

static void random_entry(struct strbuf *out) {
    struct strbuf texts[3] = {{0}, {0}, {0}};
    for (int i = 0; i < 3; i++) {
        strbuf_puts(&texts[i], "x");
        random_text(&texts[i], 300);
    }
    const struct entry entry = {.label = {texts[0].text, texts[0].length},
                                .key = {texts[1].text, texts[1].length},
                                .code = {texts[2].text, texts[2].length},
                                .number = (int64_t)fuzz_state};
    entry_write(&entry, out);
    for (int i = 0; i < 3; i++)
        strbuf_finish(&texts[i]);
}

// Changes that keep the bytes different from what they were, but for chance.
static void mutate(char *bytes, size_t *length) {
    size_t at = random_below((uint32_t)*length);
    switch (random_below(5)) {
    case 0:
        *length = at;
        break;
    case 1:
        bytes[at] = (char)random_below(256);
        break;
    case 2: // a length of the head
        at = 8 + random_below(40);
        if (at < *length)
            bytes[at] = random_below(2) ? (char)0xff : (char)random_below(4);
        break;
    case 3:
        memmove(bytes + at, bytes + at + 1, *length - at - 1);
        --*length;
        break;
    default:
        bytes[*length] = (char)random_below(256);
        ++*length;
    }
}

static bool is_inside(const struct entry_text *text, const char *bytes, size_t length) {
    return text->bytes >= bytes && text->length <= length &&
           text->bytes - bytes <= (ptrdiff_t)(length - text->length);
}

// In memory of exactly that length, so that a sanitizer sees a byte past it.
static void read_exactly(const char *bytes, size_t length, bool changed) {
    char *copy = malloc(length ? length : 1);
    struct entry entry;
    memcpy(copy, bytes, length);
    bool is = entry_read(copy, length, &entry);
    if (is && changed)
        fail("changed bytes were taken for an entry");
    if (!is && !changed)
        fail("an entry was not taken for one");
    if (is && (!is_inside(&entry.label, copy, length) || !is_inside(&entry.key, copy, length) ||
               !is_inside(&entry.code, copy, length)))
        fail("a text lies outside of its entry");
    free(copy);
}

// ---- archives -----------------------------------------------------------------------------------

static char base[64], archive[96];

static void write_file(const struct strbuf *bytes) {
    FILE *file = fopen(archive, "wb");
    if (!file || fwrite(bytes->text, 1, bytes->length, file) != bytes->length || fclose(file) != 0)
        fail("cannot write the archive");
}

// All that an import leaves in the folder is whole, whatever it was given.
static void check_folder(const struct cache *cache) {
    struct folder_files files;
    folder_list(cache->folder, &files);
    for (int i = 0; i < files.count; i++) {
        struct strbuf bytes = {0};
        struct entry entry;
        char name[ENTRY_NAME_ROOM];
        bool old;
        if (!folder_read(cache->folder, files.files[i].name, &bytes, &old) ||
            !entry_read(bytes.text, bytes.length, &entry))
            fail("an import kept a damaged entry");
        entry_name(entry.key.bytes, entry.key.length, name);
        if (strcmp(name, files.files[i].name) != 0 || !folder_remove(cache->folder, name))
            fail("an import kept an entry under another name");
        strbuf_finish(&bytes);
    }
    folder_files_finish(&files);
}

static void try_archive(const struct cache *cache) {
    struct strbuf bytes = {0};
    struct archive_counts counts;
    struct error error = {0};
    uint32_t entries = random_below(4), steps = random_below(4);
    strbuf_puts(&bytes, "heddle archive\r\n");
    for (uint32_t i = 0; i < entries; i++)
        random_entry(&bytes);
    strbuf_puts(&bytes, "heddle the end\r\n");
    strbuf_add(&bytes, "room for growing", 16);
    bytes.length -= 16;
    for (uint32_t i = 0; i < steps && bytes.length > 1; i++)
        mutate(bytes.text, &bytes.length);
    write_file(&bytes);
    enum heddle_status status = archive_import(cache, archive, &counts, &error);
    if (status != HEDDLE_OK && status != HEDDLE_IO_ERROR)
        fail(error_text(&error));
    if (!steps && (status != HEDDLE_OK || counts.entries + counts.present != entries))
        fail("an archive was not taken");
    check_folder(cache);
    error_finish(&error);
    strbuf_finish(&bytes);
}

static void try_entry(void) {
    static char bytes[MOST_BYTES];
    struct strbuf whole = {0};
    random_entry(&whole);
    size_t length = whole.length;
    memcpy(bytes, whole.text, length);
    read_exactly(bytes, length, false);
    for (uint32_t steps = 1 + random_below(4); steps > 0 && length > 1; steps--)
        mutate(bytes, &length);
    read_exactly(bytes, length, length != whole.length || memcmp(bytes, whole.text, length) != 0);
    strbuf_finish(&whole);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: fuzz_entry ITERATIONS SEED\n");
        return 2;
    }
    long iterations = strtol(argv[1], NULL, 10);
    fuzz_seed(argv[2]);
    snprintf(base, sizeof base, "/tmp/heddle-fuzz-XXXXXX");
    if (!mkdtemp(base) || setenv("HEDDLE_CACHE_DIR", base, 1) != 0)
        fail("no folder");
    snprintf(archive, sizeof archive, "%s/archive", base);
    struct cache cache;
    cache_open(&cache);
    for (long i = 0; i < iterations; i++) {
        try_entry();
        if (i % ARCHIVE_EVERY == 0)
            try_archive(&cache);
    }
    unlink(archive);
    rmdir(cache.folder);
    rmdir(base);
    cache_close(&cache);
    printf("%ld entries and %ld archives\n", iterations,
           (iterations + ARCHIVE_EVERY - 1) / ARCHIVE_EVERY);
    return 0;
}
