#include "tests/support/scratch.h"

#include <stdio.h>
#include <stdlib.h>

void scratch_make(const char *name, char out[SCRATCH_ROOM]) {
    snprintf(out, SCRATCH_ROOM, "/tmp/heddle-%s-XXXXXX", name);
    if (!mkdtemp(out))
        abort();
}

void scratch_cache(const char *name, char out[SCRATCH_ROOM]) {
    scratch_make(name, out);
    setenv("HEDDLE_CACHE_DIR", out, 1);
    unsetenv("HEDDLE_CACHE_LIMIT");
    unsetenv("HEDDLE_DEBUG");
}

void scratch_remove(const char *folder) {
    char command[64 + 2 * SCRATCH_ROOM];
    snprintf(command, sizeof command, "chmod -R u+rwx '%s' && rm -r '%s'", folder, folder);
    if (system(command) != 0)
        abort();
}
