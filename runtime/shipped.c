#define _GNU_SOURCE // dladdr
#include "runtime/shipped.h"

#include "heddle_config.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool put(char *out, size_t room_bytes, const char *folder, const char *below) {
    int length = snprintf(out, room_bytes, "%s%s", folder, below);
    return length >= 0 && (size_t)length < room_bytes;
}

// For an object file (a program or a library) at an absolute path: bin/heddle, lib/libheddle.so or,
// on Debian, lib/x86_64-linux-gnu/libheddle.so of a prefix. Cuts `object`.
static bool near_object(char *object, char *out, size_t room_bytes) {
    static const char *const below[] = {"/../share/heddle/patterns",
                                        "/../../share/heddle/patterns"};
    size_t build = strlen(HEDDLE_BUILD_DIR);
    if (strncmp(object, HEDDLE_BUILD_DIR, build) == 0 && object[build] == '/')
        return put(out, room_bytes, HEDDLE_SOURCE_PATTERNS, "");
    char *name = strrchr(object, '/');
    if (!name)
        return false;
    *name = '\0';
    for (size_t i = 0; i < sizeof below / sizeof *below; i++)
        if (put(out, room_bytes, object, below[i]) && access(out, R_OK) == 0)
            return true;
    return false;
}

bool shipped_patterns_dir(char *out, size_t room_bytes) {
    char object[PATH_MAX];
    Dl_info info;
    ssize_t length = readlink("/proc/self/exe", object, sizeof object - 1);
    if (length > 0) {
        object[length] = '\0';
        if (near_object(object, out, room_bytes))
            return true;
    }
    if (dladdr((void *)(size_t)shipped_patterns_dir, &info) && info.dli_fname &&
        realpath(info.dli_fname, object) && near_object(object, out, room_bytes))
        return true;
    return put(out, room_bytes, HEDDLE_INSTALLED_PATTERNS, "");
}

void shipped_find_pattern(const char *name, char *out) {
    char folder[PATTERN_PATH_ROOM - 300];
    snprintf(out, PATTERN_PATH_ROOM, "%s", name);
    if (access(name, F_OK) == 0 || strchr(name, '/') || strlen(name) > 255 ||
        !shipped_patterns_dir(folder, sizeof folder))
        return;
    size_t length = strlen(name);
    bool has_suffix = length > 7 && strcmp(name + length - 7, ".heddle") == 0;
    char shipped[PATTERN_PATH_ROOM];
    snprintf(shipped, sizeof shipped, "%s/%s%s", folder, name, has_suffix ? "" : ".heddle");
    if (access(shipped, R_OK) == 0)
        memcpy(out, shipped, sizeof shipped);
}
