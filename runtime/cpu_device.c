// sched_getaffinity is Linux's, not POSIX's.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "runtime/cpu_device.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

static void read_name(char *out, size_t room) {
    snprintf(out, room, "x86-64");
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[512];
    while (file && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value)
            continue;
        value += 1 + (value[1] == ' ');
        snprintf(out, room, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    if (file)
        fclose(file);
}

static void add_feature(char *out, size_t room, const char *name, int present) {
    size_t used = strlen(out);
    if (present && used < room)
        snprintf(out + used, room - used, "%s%s", used ? " " : "", name);
}

void cpu_device_query(struct cpu_device *out) {
    *out = (struct cpu_device){.threads = 1};
    read_name(out->name, sizeof out->name);
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        out->threads = CPU_COUNT(&set);
#define FEATURE(name)                                                                              \
    add_feature(out->features, sizeof out->features, name, __builtin_cpu_supports(name))
    FEATURE("sse4.2");
    FEATURE("avx2");
    FEATURE("fma");
    FEATURE("avx512f");
    FEATURE("avx512vl");
    FEATURE("avx512bf16");
#undef FEATURE
}
