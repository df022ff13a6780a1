// Locks of an open file, not of a process (F_OFD_SETLK): two threads that opened the file exclude
// each other, and closing some other descriptor of it lets nothing go.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "compiler/cache/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

bool lock_open(struct lock *lock, const char *folder, int64_t place) {
    char path[PATH_MAX];
    *lock = (struct lock){-1, place};
    if ((size_t)snprintf(path, sizeof path, "%s/lock", folder) >= sizeof path)
        return false;
    lock->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return lock->descriptor >= 0;
}

static int set_lock(const struct lock *lock, short type) {
    struct flock range = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)lock->place, .l_len = 1};
    return fcntl(lock->descriptor, F_OFD_SETLK, &range);
}

enum lock_outcome lock_try(struct lock *lock) {
    if (set_lock(lock, F_WRLCK) == 0)
        return LOCK_HELD;
    return errno == EAGAIN || errno == EACCES || errno == EINTR ? LOCK_BUSY : LOCK_NEVER;
}

// A child that was forked meanwhile has the same open file: closing alone would leave it the lock.
void lock_close(struct lock *lock) {
    if (lock->descriptor < 0)
        return;
    set_lock(lock, F_UNLCK);
    close(lock->descriptor);
    lock->descriptor = -1;
}
