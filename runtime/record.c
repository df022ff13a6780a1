// A file:
//
//   heddle record 1
//   checksum 89f0c3ab5d21e764        of everything below this line
//   key 1234                         its bytes, then the key itself
//   ...
//   text                             then the text, to the end of the file
//   ...
#include "runtime/record.h"

#include "compiler/base/files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { MOST_TEXT_BYTES = 1 << 16 }; // a longer file is no record

static uint64_t fnv1a(const char *bytes, size_t length) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
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
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    bool whole = descriptor >= 0 && files_read(descriptor, most_bytes, out);
    if (descriptor >= 0)
        close(descriptor);
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

enum heddle_status record_write(const char *folder, const char *key, const char *text,
                                struct error *error) {
    struct strbuf path = {0}, body = {0}, file = {0};
    add_key(&body, key);
    strbuf_puts(&body, text);
    enum heddle_status status = HEDDLE_OK;
    if (body.failed || !record_path(folder, key, &path))
        status = no_memory(error);
    if (status == HEDDLE_OK) {
        add_head(&file, body.text, body.length);
        strbuf_add(&file, body.text, body.length);
        status = file.failed ? no_memory(error) : files_make_folder(folder, error);
    }
    if (status == HEDDLE_OK)
        status = files_replace(path.text, file.text, file.length, error);
    strbuf_finish(&path);
    strbuf_finish(&body);
    strbuf_finish(&file);
    return status;
}
