// Where the shipped patterns are.
#ifndef HEDDLE_RUNTIME_SHIPPED_H
#define HEDDLE_RUNTIME_SHIPPED_H

#include <stdbool.h>
#include <stddef.h>

// The folder to search for `import` and for patterns by name: the source tree's when the running
// program lies in the build folder, else share/heddle/patterns beside the program's bin folder,
// else the folder that was configured at build time. False when the path does not fit.
bool shipped_patterns_dir(char *out, size_t room_bytes);

#endif
