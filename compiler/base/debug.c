#include "compiler/base/debug.h"

#include "compiler/base/files.h"
#include "compiler/base/log.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *text;
    enum debug_word word;
} WORDS[] = {{"no-cache", DEBUG_NO_CACHE},
             {"dump-llvm", DEBUG_DUMP_LLVM},
             {"verify", DEBUG_VERIFY},
             {"trace", DEBUG_TRACE}};

static _Thread_local const char *subject;

unsigned debug_words(void) {
    const char *at = getenv("HEDDLE_DEBUG");
    unsigned words = 0;
    while (at && *at) {
        size_t length = strcspn(at, ",");
        for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
            if (strlen(WORDS[i].text) == length && memcmp(at, WORDS[i].text, length) == 0)
                words |= WORDS[i].word;
        at += length + (at[length] == ',');
    }
    return words;
}

const char *debug_subject(const char *text) {
    const char *before = subject;
    subject = text;
    return before;
}

// ---- dumps --------------------------------------------------------------------------------------

// The highest number in the folder: a later process goes on from there.
static int last_number(const char *folder) {
    DIR *all = opendir(folder);
    int last = 0;
    for (struct dirent *file; all && (file = readdir(all));)
        if (isdigit((unsigned char)file->d_name[0]) && atoi(file->d_name) > last)
            last = atoi(file->d_name);
    if (all)
        closedir(all);
    return last;
}

// A file that was not there; -1: it cannot be made.
static int create(const char *folder, const char *end, struct strbuf *path) {
    int descriptor = -1;
    for (int number = last_number(folder) + 1; descriptor < 0; number++) {
        path->length = 0;
        strbuf_printf(path, "%s/%04d", folder, number);
        size_t name = path->length;
        strbuf_printf(path, " %s.%s", subject ? subject : "code", end);
        for (size_t i = name; !path->failed && i < path->length; i++)
            if (!isalnum((unsigned char)path->text[i]) && path->text[i] != '.')
                path->text[i] = '-';
        if (path->failed)
            return -1;
        descriptor = open(path->text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (descriptor < 0 && errno != EEXIST)
            return -1;
    }
    return descriptor;
}

// One at a time, so that numbers follow each other.
void debug_dump(const char *end, const char *text, size_t length_bytes) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    const char *folder = getenv("HEDDLE_DUMP_DIR");
    struct strbuf path = {0};
    struct error error = {0};
    folder = folder && *folder ? folder : "heddle-dump";
    pthread_mutex_lock(&mutex);
    int descriptor =
        files_make_folder(folder, &error) == HEDDLE_OK ? create(folder, end, &path) : -1;
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
    bool written = file && fwrite(text, 1, length_bytes, file) == length_bytes;
    if (file)
        written = fclose(file) == 0 && written;
    else if (descriptor >= 0)
        close(descriptor);
    pthread_mutex_unlock(&mutex);
    if (written)
        log_line(HEDDLE_LOG_INFO, "dumped %s", path.text);
    else
        log_line(HEDDLE_LOG_WARNING, "cannot write a dump to %s: %s", folder, strerror(errno));
    strbuf_finish(&path);
    error_finish(&error);
}
