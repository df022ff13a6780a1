#include "runtime/shipped.h"

#include "heddle_config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool put(char *out, size_t room_bytes, const char *folder, const char *below) {
    int length = snprintf(out, room_bytes, "%s%s", folder, below);
    return length >= 0 && (size_t)length < room_bytes;
}

bool shipped_patterns_dir(char *out, size_t room_bytes) {
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        size_t build = strlen(HEDDLE_BUILD_DIR);
        if (strncmp(program, HEDDLE_BUILD_DIR, build) == 0 && program[build] == '/')
            return put(out, room_bytes, HEDDLE_SOURCE_PATTERNS, "");
        char *name = strrchr(program, '/');
        if (name)
            *name = '\0';
        if (put(out, room_bytes, program, "/../share/heddle/patterns") && access(out, R_OK) == 0)
            return true;
    }
    return put(out, room_bytes, HEDDLE_INSTALLED_PATTERNS, "");
}
