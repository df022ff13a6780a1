// mkostemp is GNU's, not POSIX's.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "compiler/base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// ---- where --------------------------------------------------------------------------------------

static const char *set_variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

bool files_user_folder(const char *name, struct strbuf *out) {
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

// ---- reading ------------------------------------------------------------------------------------

bool files_read(int descriptor, size_t most_bytes, struct strbuf *out) {
    char block[1 << 14]; // a thread of a host may have a small stack
    size_t begin = out->length;
    for (;;) {
        ssize_t got = read(descriptor, block, sizeof block);
        if (got == 0)
            return !out->failed;
        if (got < 0 && errno != EINTR)
            return false;
        if (got > 0)
            strbuf_add(out, block, (size_t)got);
        if (out->failed || out->length - begin > most_bytes)
            return false;
    }
}

// ---- writing ------------------------------------------------------------------------------------

static enum heddle_status no_memory(struct error *error) {
    return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a file's name");
}

static enum heddle_status io_error(struct error *error, const char *path) {
    return error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(errno));
}

// `path` is cut at each separator for a moment.
static enum heddle_status make_each(char *path, struct error *error) {
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

// Most folders are there already, below others that this process may not even look into.
enum heddle_status files_make_folder(const char *path, struct error *error) {
    struct stat found;
    if (stat(path, &found) == 0 && S_ISDIR(found.st_mode))
        return HEDDLE_OK;
    struct strbuf copy = {0};
    strbuf_puts(&copy, path);
    enum heddle_status status =
        copy.failed || !copy.length ? no_memory(error) : make_each(copy.text, error);
    strbuf_finish(&copy);
    return status;
}

static bool write_bytes(int descriptor, const char *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t wrote = write(descriptor, bytes + done, length - done);
        if (wrote < 0 && errno != EINTR)
            return false;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return true;
}

// Past the process's limit on file sizes the kernel sends SIGXFSZ, which would end a host that did
// nothing wrong. It comes to the thread that writes, so it is held back and taken here.
static bool write_quietly(int descriptor, const char *bytes, size_t length) {
    static const struct timespec at_once = {0, 0};
    sigset_t signal, before, pending;
    sigemptyset(&signal);
    sigaddset(&signal, SIGXFSZ);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &signal, &before);
    bool wrote = write_bytes(descriptor, bytes, length);
    int reason = errno;
    if (!wrote && reason == EFBIG && !sigismember(&pending, SIGXFSZ))
        sigtimedwait(&signal, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = reason;
    return wrote;
}

void replacement_begin(struct replacement *r, const char *path, struct error *error) {
    *r = (struct replacement){.path = path, .descriptor = -1};
    strbuf_printf(&r->own_path, "%s.XXXXXX", path);
    if (r->own_path.failed)
        r->status = no_memory(error);
    else if ((r->descriptor = mkostemp(r->own_path.text, O_CLOEXEC)) < 0)
        r->status = io_error(error, path);
}

void replacement_add(struct replacement *r, const char *bytes, size_t length, struct error *error) {
    if (r->status == HEDDLE_OK && !write_quietly(r->descriptor, bytes, length))
        r->status = io_error(error, r->path);
}

enum heddle_status replacement_end(struct replacement *r, bool keep, struct error *error) {
    if (r->descriptor >= 0 && close(r->descriptor) != 0 && r->status == HEDDLE_OK)
        r->status = io_error(error, r->path);
    bool renamed = keep && r->status == HEDDLE_OK && rename(r->own_path.text, r->path) == 0;
    if (keep && r->status == HEDDLE_OK && !renamed)
        r->status = io_error(error, r->path);
    if (!renamed && r->descriptor >= 0)
        unlink(r->own_path.text);
    strbuf_finish(&r->own_path);
    return r->status;
}

enum heddle_status files_replace(const char *path, const char *bytes, size_t length,
                                 struct error *error) {
    struct replacement replacement;
    replacement_begin(&replacement, path, error);
    replacement_add(&replacement, bytes, length, error);
    return replacement_end(&replacement, true, error);
}
