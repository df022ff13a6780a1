#include "compiler/cache/folder.h"

#include "compiler/base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MOST_FILE_BYTES = INT_MAX, // more is no entry
    OLD_SECONDS = 60,          // a use is not noted more often
    LEFT_SECONDS = 3600,       // nobody writes an entry for so long
};

static bool path_of(const char *folder, const char *name, char path[PATH_MAX]) {
    return (size_t)snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX;
}

// ---- listing ------------------------------------------------------------------------------------

// A name of an entry, a dot and six characters of mkostemp's.
static bool is_temporary(const char *name) {
    char start[ENTRY_NAME_ROOM];
    if (strlen(name) != ENTRY_NAME_ROOM + 6 || name[ENTRY_NAME_ROOM - 1] != '.')
        return false;
    memcpy(start, name, sizeof start);
    start[sizeof start - 1] = '\0';
    return entry_is_name(start);
}

static bool add(struct folder_files *files, const struct folder_file *file) {
    if (files->count == files->room) {
        int room = files->room ? 2 * files->room : 64;
        struct folder_file *grown = realloc(files->files, (size_t)room * sizeof *grown);
        if (!grown)
            return false;
        files->files = grown;
        files->room = room;
    }
    files->files[files->count++] = *file;
    files->bytes += file->bytes;
    return true;
}

static bool add_named(struct folder_files *files, int folder, const char *name) {
    struct folder_file file = {.temporary = is_temporary(name)};
    struct stat found;
    if (!file.temporary && !entry_is_name(name))
        return true;
    if (fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(found.st_mode))
        return true; // gone meanwhile, or none of ours
    snprintf(file.name, sizeof file.name, "%s", name);
    file.bytes = found.st_size;
    file.used = found.st_mtim;
    return add(files, &file);
}

static int newest_first(const void *a, const void *b) {
    const struct timespec *x = &((const struct folder_file *)a)->used,
                          *y = &((const struct folder_file *)b)->used;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? 1 : -1;
    if (x->tv_nsec != y->tv_nsec)
        return x->tv_nsec < y->tv_nsec ? 1 : -1;
    return strcmp(((const struct folder_file *)a)->name, ((const struct folder_file *)b)->name);
}

bool folder_list(const char *folder, struct folder_files *out) {
    *out = (struct folder_files){0};
    DIR *listing = opendir(folder);
    bool fits = listing != NULL;
    for (struct dirent *one; fits && (one = readdir(listing));)
        fits = add_named(out, dirfd(listing), one->d_name);
    if (listing)
        closedir(listing);
    if (out->count)
        qsort(out->files, (size_t)out->count, sizeof *out->files, newest_first);
    return fits;
}

void folder_files_finish(struct folder_files *files) {
    free(files->files);
    *files = (struct folder_files){0};
}

// ---- one file -----------------------------------------------------------------------------------

// Opening waits for nothing, whatever stands there.
bool folder_read(const char *folder, const char *name, struct strbuf *out, bool *out_old) {
    char path[PATH_MAX];
    struct stat found;
    struct timespec now;
    if (!path_of(folder, name, path))
        return false;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0)
        return false;
    bool ours = fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode) &&
                found.st_uid == geteuid() && !(found.st_mode & (S_IWGRP | S_IWOTH)) &&
                found.st_size <= MOST_FILE_BYTES;
    bool whole = ours && files_read(descriptor, MOST_FILE_BYTES, out);
    close(descriptor);
    clock_gettime(CLOCK_REALTIME, &now);
    *out_old = whole && now.tv_sec - found.st_mtim.tv_sec > OLD_SECONDS;
    return whole;
}

void folder_touch(const char *folder, const char *name) {
    char path[PATH_MAX];
    if (path_of(folder, name, path))
        utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW); // a folder for reading stays as it is
}

bool folder_remove(const char *folder, const char *name) {
    char path[PATH_MAX];
    return path_of(folder, name, path) && unlink(path) == 0;
}

// ---- eviction -----------------------------------------------------------------------------------

void folder_evict(const char *folder, int64_t limit_bytes) {
    struct folder_files files;
    struct timespec now;
    folder_list(folder, &files); // what of it was listed is enough
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t kept_bytes = files.bytes;
    for (int i = files.count - 1; i >= 0; i--) {
        const struct folder_file *file = &files.files[i];
        bool left = file->temporary && now.tv_sec - file->used.tv_sec > LEFT_SECONDS;
        bool beyond = !file->temporary && kept_bytes > limit_bytes;
        if ((left || beyond) && folder_remove(folder, file->name))
            kept_bytes -= file->bytes;
    }
    folder_files_finish(&files);
}
