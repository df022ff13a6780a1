#include "runtime/struct_take.h"

#include <string.h>

// No struct of heddle.h comes near: a larger size was never set.
enum { MOST_BYTES = 4096 };

bool struct_take(void *out, size_t known_bytes, const void *given, size_t first_bytes) {
    size_t bytes;
    memcpy(&bytes, given, sizeof bytes);
    if (bytes < first_bytes || bytes > MOST_BYTES)
        return false;
    for (size_t i = known_bytes; i < bytes; i++)
        if (((const unsigned char *)given)[i])
            return false;
    memset(out, 0, known_bytes);
    memcpy(out, given, bytes < known_bytes ? bytes : known_bytes);
    memcpy(out, &known_bytes, sizeof known_bytes);
    return true;
}

bool struct_give(void *out, const void *from, size_t known_bytes, size_t first_bytes) {
    size_t bytes;
    memcpy(&bytes, out, sizeof bytes);
    if (bytes < first_bytes || bytes > MOST_BYTES)
        return false;
    memset(out, 0, bytes);
    memcpy(out, from, bytes < known_bytes ? bytes : known_bytes);
    memcpy(out, &bytes, sizeof bytes);
    return true;
}
