#include "compiler/cache/archive.h"

#include "compiler/base/files.h"
#include "compiler/cache/entry.h"
#include "compiler/cache/folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MARK_BYTES = 16 };
static const char BEGIN[] = "heddle archive\r\n", END[] = "heddle the end\r\n";

// ---- export -------------------------------------------------------------------------------------

static void export_file(const struct cache *cache, const struct folder_file *file,
                        struct replacement *to, struct archive_counts *counts,
                        struct error *error) {
    struct strbuf bytes = {0};
    struct entry entry;
    bool old;
    bool whole = folder_read(cache->folder, file->name, &bytes, &old) &&
                 entry_read(bytes.text, bytes.length, &entry);
    if (whole) {
        replacement_add(to, bytes.text, bytes.length, error);
        counts->entries++;
        counts->bytes += (int64_t)bytes.length;
    }
    counts->damaged += !whole;
    strbuf_finish(&bytes);
}

enum heddle_status archive_export(const struct cache *cache, const char *path,
                                  struct archive_counts *out, struct error *error) {
    struct folder_files files = {0};
    struct replacement to;
    *out = (struct archive_counts){0};
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) // a device would be gone
        return error_set(error, HEDDLE_IO_ERROR, "%s: not a file", path);
    if (cache->folder)
        folder_list(cache->folder, &files); // no folder: an archive of nothing
    replacement_begin(&to, path, error);
    replacement_add(&to, BEGIN, MARK_BYTES, error);
    for (int i = files.count - 1; i >= 0 && to.status == HEDDLE_OK; i--)
        if (!files.files[i].temporary)
            export_file(cache, &files.files[i], &to, out, error);
    replacement_add(&to, END, MARK_BYTES, error);
    folder_files_finish(&files);
    return replacement_end(&to, true, error);
}

// ---- import -------------------------------------------------------------------------------------

struct import {
    const struct cache *cache;
    const char *path;
    FILE *file;
    struct strbuf bytes; // of the entry
    struct archive_counts *counts;
    struct error *error;
};

static enum heddle_status bad_file(struct import *import, const char *what) {
    return error_set(import->error, HEDDLE_IO_ERROR, "%s: %s", import->path,
                     ferror(import->file) ? strerror(errno) : what);
}

// Memory grows with what is read, not with what the file says of itself.
static enum heddle_status read_bytes(struct import *import, uint64_t length) {
    char block[1 << 14];
    while (length > 0) {
        size_t part = length < sizeof block ? (size_t)length : sizeof block;
        if (fread(block, 1, part, import->file) != part)
            return bad_file(import, "the archive ends early");
        strbuf_add(&import->bytes, block, part);
        if (import->bytes.failed)
            return error_set(import->error, HEDDLE_OUT_OF_MEMORY, "no memory for an entry");
        length -= part;
    }
    return HEDDLE_OK;
}

static bool is_there(const struct cache *cache, const char *name, const struct entry *entry) {
    struct strbuf bytes = {0};
    struct entry there;
    bool old;
    bool same = folder_read(cache->folder, name, &bytes, &old) &&
                entry_read(bytes.text, bytes.length, &there) &&
                there.key.length == entry->key.length &&
                memcmp(there.key.bytes, entry->key.bytes, entry->key.length) == 0;
    strbuf_finish(&bytes);
    return same;
}

static enum heddle_status take(struct import *import) {
    char name[ENTRY_NAME_ROOM];
    struct entry entry;
    if (!entry_read(import->bytes.text, import->bytes.length, &entry)) {
        import->counts->damaged++;
        return HEDDLE_OK;
    }
    entry_name(entry.key.bytes, entry.key.length, name);
    if (is_there(import->cache, name, &entry)) {
        import->counts->present++;
        return HEDDLE_OK;
    }
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/%s", import->cache->folder, name);
    enum heddle_status status =
        path.failed
            ? error_set(import->error, HEDDLE_OUT_OF_MEMORY, "no memory for a path")
            : files_replace(path.text, import->bytes.text, import->bytes.length, import->error);
    strbuf_finish(&path);
    import->counts->entries += status == HEDDLE_OK;
    import->counts->bytes += status == HEDDLE_OK ? (int64_t)import->bytes.length : 0;
    return status;
}

// One entry, or the end (*out_end).
static enum heddle_status import_next(struct import *import, bool *out_end) {
    import->bytes.length = 0;
    enum heddle_status status = read_bytes(import, MARK_BYTES);
    if (status != HEDDLE_OK)
        return status;
    *out_end = memcmp(import->bytes.text, END, MARK_BYTES) == 0;
    if (*out_end)
        return fgetc(import->file) == EOF ? HEDDLE_OK
                                          : bad_file(import, "the archive goes on after its end");
    status = read_bytes(import, ENTRY_HEAD_BYTES - MARK_BYTES);
    if (status != HEDDLE_OK)
        return status;
    uint64_t length = entry_length(import->bytes.text);
    if (!length)
        return bad_file(import, "the archive is damaged, or of another version of heddle");
    status = read_bytes(import, length - ENTRY_HEAD_BYTES);
    return status == HEDDLE_OK ? take(import) : status;
}

static enum heddle_status import_all(struct import *import) {
    bool end = false;
    enum heddle_status status = read_bytes(import, MARK_BYTES);
    if (status == HEDDLE_OK && memcmp(import->bytes.text, BEGIN, MARK_BYTES) != 0)
        status = bad_file(import, "not an archive of heddle's cache");
    while (status == HEDDLE_OK && !end)
        status = import_next(import, &end);
    return status;
}

enum heddle_status archive_import(const struct cache *cache, const char *path,
                                  struct archive_counts *out, struct error *error) {
    *out = (struct archive_counts){0};
    if (!cache->folder)
        return error_set(error, HEDDLE_IO_ERROR,
                         "there is no cache: see HEDDLE_CACHE_DIR and HEDDLE_CACHE_LIMIT");
    struct import import = {.cache = cache, .path = path, .counts = out, .error = error};
    import.file = fopen(path, "rbe");
    if (!import.file)
        return error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(errno));
    enum heddle_status status = files_make_folder(cache->folder, error);
    if (status == HEDDLE_OK)
        status = import_all(&import);
    fclose(import.file);
    strbuf_finish(&import.bytes);
    folder_evict(cache->folder, cache->limit_bytes);
    return status;
}
