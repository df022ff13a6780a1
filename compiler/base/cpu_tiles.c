#include "compiler/base/cpu_tiles.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

// A thread's tiles are large, so Linux keeps room for them only in processes that asked. Who may
// not gets a signal at the first tile.
static bool tiles_allowed;
static void request_tiles(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    tiles_allowed = !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
#endif
}

bool cpu_may_use_tiles(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, request_tiles);
    return tiles_allowed;
}
