// What a CPU must have to run code that was compiled for another machine.
#ifndef HEDDLE_BUNDLE_CPU_LEVEL_H
#define HEDDLE_BUNDLE_CPU_LEVEL_H

#include <stdbool.h>

struct cpu_level {
    const char *name;
    const char *cpu, *features; // as llvm_unit_create takes them
};

// From the least to the most, each needing all of those before; NULL past the last.
const struct cpu_level *cpu_level(int number);
// The number of a name, or -1.
int cpu_level_named(const char *name);
// Does this machine run code of the level?
bool cpu_level_runs(int number);

#endif
