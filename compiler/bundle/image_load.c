#include "compiler/bundle/image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum heddle_status image_load(const char *bytes, size_t length, struct image *out,
                              struct error *error) {
    *out = (struct image){0};
    void *code = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for %zu bytes of code", length);
    memcpy(code, bytes, length);
    if (mprotect(code, length, PROT_READ | PROT_EXEC) != 0) {
        int why = errno;
        munmap(code, length);
        return error_set(error, HEDDLE_DEVICE_ERROR,
                         "the system makes no memory executable for this process: %s",
                         strerror(why));
    }
    *out = (struct image){code, length};
    return HEDDLE_OK;
}

void image_unload(struct image *image) {
    if (image->code)
        munmap(image->code, image->bytes);
    *image = (struct image){0};
}
