#include "compiler/bundle/cpu_level.h"

#include "compiler/base/cpu_tiles.h"

#include <cpuid.h>
#include <stddef.h>
#include <string.h>

// The names of the x86-64 psABI, and two of ours. Our code says itself how wide its vectors are.
static const struct cpu_level LEVELS[] = {
    {"x86-64-v3", "x86-64-v3", ""},
    {"x86-64-v4", "x86-64-v4", "-prefer-256-bit"},
    {"x86-64-v4-bf16", "x86-64-v4", "-prefer-256-bit,+avx512bf16"},
    {"x86-64-v4-amx", "x86-64-v4", "-prefer-256-bit,+avx512bf16,+amx-tile,+amx-bf16"},
};
enum { LEVEL_COUNT = sizeof LEVELS / sizeof *LEVELS };

const struct cpu_level *cpu_level(int number) {
    return number >= 0 && number < LEVEL_COUNT ? &LEVELS[number] : NULL;
}

int cpu_level_named(const char *name) {
    for (int i = 0; i < LEVEL_COUNT; i++)
        if (strcmp(LEVELS[i].name, name) == 0)
            return i;
    return -1;
}

static bool has_tiles(void) {
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 }; // leaf 7, edx
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
           cpu_may_use_tiles();
}

// Of level 3, what older compilers' builtins have no names for.
static bool has_small_ones(void) {
    enum { MOVBE = 1 << 22, F16C = 1 << 29 }; // leaf 1, ecx
    enum { LZCNT = 1 << 5 };                  // leaf 0x80000001, ecx
    unsigned a, b, c, d, more;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & MOVBE) && (c & F16C) &&
           __get_cpuid(0x80000001, &a, &b, &more, &d) && (more & LZCNT);
}

bool cpu_level_runs(int number) {
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && has_small_ones();
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    switch (number) {
    case 0:
        return v3;
    case 1:
        return v4;
    case 2:
        return v4 && __builtin_cpu_supports("avx512bf16");
    case 3:
        return v4 && __builtin_cpu_supports("avx512bf16") && has_tiles();
    default:
        return false;
    }
}
