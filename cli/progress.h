// A bar on standard error for anything that takes over a second, when that is a terminal.
#ifndef HEDDLE_CLI_PROGRESS_H
#define HEDDLE_CLI_PROGRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *label; // borrowed
    int64_t total;     // 0: unknown, only the time is shown
    _Atomic int64_t done;
    // Private.
    bool shown, stop;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

// Starts a watcher thread if standard error is a terminal. It draws nothing in the first second.
void progress_begin(struct progress *progress, const char *label, int64_t total);
void progress_step(struct progress *progress, int64_t done); // sets how much is done
void progress_end(struct progress *progress);                // clears the line

#endif
