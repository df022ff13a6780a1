// libheddle-rt: what the compiler does in libheddle.

#include "compiler/program.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum heddle_status program_compile(struct program *program, const char *path, const char *text,
                                   size_t length_bytes, const struct check_options *options,
                                   struct error *error) {
    (void)program;
    (void)length_bytes;
    (void)options;
    if (!text && access(path, R_OK) != 0)
        return error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(errno));
    return error_set(error, HEDDLE_NO_COMPILER,
                     "%s: this is no bundle, and libheddle-rt has no compiler; make a bundle with "
                     "`heddle compile --emit=bundle`, or link with libheddle",
                     path);
}
