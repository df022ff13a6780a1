// A file:
//
//   heddle record 1
//   checksum 89f0c3ab5d21e764        of everything below this line
//   key 1234                         its bytes, then the key itself
//   ...
//   text                             then the text, to the end of the file
//   ...
#include "runtime/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_TEXT_BYTES = 1 << 16 }; // a longer file is no record

static uint64_t fnv1a(const char *bytes, size_t length) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

// ---- where --------------------------------------------------------------------------------------

static const char *set_variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

bool record_folder(const char *name, struct strbuf *out) {
    const char *own = set_variable("HEDDLE_CACHE_DIR"), *cache = set_variable("XDG_CACHE_HOME"),
               *home = set_variable("HOME");
    if (own)
        strbuf_printf(out, "%s/%s", own, name);
    else if (cache && *cache == '/') // the XDG specification ignores relative ones
        strbuf_printf(out, "%s/heddle/%s", cache, name);
    else if (home)
        strbuf_printf(out, "%s/.cache/heddle/%s", home, name);
    return out->length > 0 && !out->failed;
}

bool record_path(const char *folder, const char *key, struct strbuf *out) {
    strbuf_printf(out, "%s/%016" PRIx64, folder, fnv1a(key, strlen(key)));
    return out->length > 0 && !out->failed;
}

// ---- contents -----------------------------------------------------------------------------------

static void add_head(struct strbuf *out, const char *body, size_t length) {
    strbuf_printf(out, "heddle record 1\nchecksum %016" PRIx64 "\n", fnv1a(body, length));
}

// All of the body but the text.
static void add_key(struct strbuf *out, const char *key) {
    strbuf_printf(out, "key %zu\n", strlen(key));
    strbuf_puts(out, key);
    strbuf_puts(out, "\ntext\n");
}

static bool starts_with(const struct strbuf *file, size_t at, const struct strbuf *part) {
    return file->length >= at + part->length &&
           memcmp(file->text + at, part->text, part->length) == 0;
}

// What a whole and undamaged file of this key has after the key; NULL: it is none.
static const char *text_of(const struct strbuf *file, const char *key) {
    struct strbuf head = {0}, before = {0};
    const char *text = NULL;
    add_key(&before, key);
    add_head(&head, "", 0); // for its length, which is always the same
    size_t body = head.length;
    if (!head.failed && !before.failed && starts_with(file, body, &before)) {
        head.length = 0;
        add_head(&head, file->text + body, file->length - body);
        bool whole = !head.failed && starts_with(file, 0, &head);
        text = whole ? file->text + body + before.length : NULL;
    }
    strbuf_finish(&head);
    strbuf_finish(&before);
    return text;
}

// ---- reading ------------------------------------------------------------------------------------

static bool read_file(const char *path, size_t most_bytes, struct strbuf *out) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    char block[4096];
    for (size_t got; out->length <= most_bytes && (got = fread(block, 1, sizeof block, file)) > 0;)
        strbuf_add(out, block, got);
    bool whole = feof(file) && !ferror(file) && !out->failed;
    fclose(file);
    return whole && out->length > 0;
}

bool record_read(const char *folder, const char *key, struct strbuf *out) {
    struct strbuf path = {0}, file = {0};
    const char *text = NULL;
    if (record_path(folder, key, &path) &&
        read_file(path.text, strlen(key) + MOST_TEXT_BYTES, &file))
        text = text_of(&file, key);
    if (text)
        strbuf_add(out, text, (size_t)(file.text + file.length - text));
    strbuf_finish(&path);
    strbuf_finish(&file);
    return text && !out->failed;
}

// ---- writing ------------------------------------------------------------------------------------

static enum heddle_status no_memory(struct error *error) {
    return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a record");
}

static enum heddle_status io_error(struct error *error, const char *path) {
    return error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(errno));
}

// With those above it. `path` is cut at each separator for a moment.
static enum heddle_status make_folder(char *path, struct error *error) {
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at)
            continue;
        char separator = *at;
        *at = '\0';
        enum heddle_status status =
            mkdir(path, 0700) == 0 || errno == EEXIST ? HEDDLE_OK : io_error(error, path);
        *at = separator;
        if (!separator || status != HEDDLE_OK)
            return status;
    }
}

static enum heddle_status write_all(int descriptor, const char *path, const struct strbuf *from,
                                    struct error *error) {
    for (size_t done = 0; done < from->length;) {
        ssize_t wrote = write(descriptor, from->text + done, from->length - done);
        if (wrote < 0 && errno != EINTR)
            return io_error(error, path);
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return HEDDLE_OK;
}

static enum heddle_status write_renamed(const char *path, const struct strbuf *from,
                                        struct error *error) {
    struct strbuf own = {0};
    strbuf_printf(&own, "%s.XXXXXX", path);
    if (own.failed)
        return no_memory(error);
    int descriptor = mkstemp(own.text);
    enum heddle_status status =
        descriptor < 0 ? io_error(error, path) : write_all(descriptor, path, from, error);
    if (descriptor >= 0 && close(descriptor) != 0 && status == HEDDLE_OK)
        status = io_error(error, path);
    if (status == HEDDLE_OK && rename(own.text, path) != 0)
        status = io_error(error, path);
    if (status != HEDDLE_OK && descriptor >= 0)
        unlink(own.text);
    strbuf_finish(&own);
    return status;
}

enum heddle_status record_write(const char *folder, const char *key, const char *text,
                                struct error *error) {
    struct strbuf made = {0}, path = {0}, body = {0}, file = {0};
    strbuf_puts(&made, folder);
    add_key(&body, key);
    strbuf_puts(&body, text);
    enum heddle_status status = HEDDLE_OK;
    if (made.failed || body.failed || !record_path(folder, key, &path))
        status = no_memory(error);
    if (status == HEDDLE_OK) {
        add_head(&file, body.text, body.length);
        strbuf_add(&file, body.text, body.length);
        status = file.failed ? no_memory(error) : make_folder(made.text, error);
    }
    if (status == HEDDLE_OK)
        status = write_renamed(path.text, &file, error);
    strbuf_finish(&made);
    strbuf_finish(&path);
    strbuf_finish(&body);
    strbuf_finish(&file);
    return status;
}
