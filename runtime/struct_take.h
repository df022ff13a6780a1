// Structs of heddle.h that begin with their size, from callers older or newer than this library.
#ifndef HEDDLE_RUNTIME_STRUCT_TAKE_H
#define HEDDLE_RUNTIME_STRUCT_TAKE_H

#include <stdbool.h>
#include <stddef.h>

// Copies *given, whose first member is its size in bytes, to *out of known_bytes, and sets the size
// there to known_bytes. Members that an older caller does not have become 0, which is their default
// (heddle.h adds members at the end only). False where the size is below first_bytes, that of the
// struct's first version, or where a newer caller sets a member that is not known here.
bool struct_take(void *out, size_t known_bytes, const void *given, size_t first_bytes);

// The other way: as much of *from as *out has room for, by the size that it begins with, which
// stays. False where that is below first_bytes. What a newer caller has besides becomes 0.
bool struct_give(void *out, const void *from, size_t known_bytes, size_t first_bytes);

#endif
