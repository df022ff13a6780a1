// Where the shipped patterns are.
#ifndef HEDDLE_RUNTIME_SHIPPED_H
#define HEDDLE_RUNTIME_SHIPPED_H

#include <stdbool.h>
#include <stddef.h>

// The folder of the shipped patterns: of the source tree for what runs from the build tree, else
// beside the program, else beside the library (both also where the tree was moved after it was
// installed), else where it was to be installed. False where the path does not fit.
bool shipped_patterns_dir(char *out, size_t room_bytes);

enum { PATTERN_PATH_ROOM = 4096 };
// The file that `name` means: a path, or, where there is no such file and `name` holds no '/', the
// name of a shipped pattern with or without its suffix. `out` has room for PATTERN_PATH_ROOM bytes;
// a longer path is cut.
void shipped_find_pattern(const char *name, char *out);

#endif
