#include "cli/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 30, FRAME_MS = 200, PATIENCE_MS = 1000 };

static void draw(struct progress *progress, int64_t elapsed_ms) {
    int64_t done = atomic_load(&progress->done);
    if (progress->total > 0) {
        int filled = (int)((double)done / (double)progress->total * BAR);
        fprintf(stderr, "\r%s [", progress->label);
        for (int i = 0; i < BAR; i++)
            fputc(i < filled ? '#' : '-', stderr);
        fprintf(stderr, "] %3d %%", (int)((double)done / (double)progress->total * 100));
    } else {
        fprintf(stderr, "\r%s ... %.1f s", progress->label, (double)elapsed_ms / 1000);
    }
    fflush(stderr);
}

static void *watch(void *context) {
    struct progress *progress = context;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t elapsed_ms = 0, wait_ms = PATIENCE_MS;
    pthread_mutex_lock(&progress->mutex);
    while (!progress->stop) {
        int64_t ns = until.tv_nsec + wait_ms * 1000000;
        until.tv_sec += ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        if (pthread_cond_timedwait(&progress->wake, &progress->mutex, &until) == 0)
            continue; // told to stop
        elapsed_ms += wait_ms;
        wait_ms = FRAME_MS;
        progress->shown = true;
        draw(progress, elapsed_ms);
    }
    pthread_mutex_unlock(&progress->mutex);
    return NULL;
}

void progress_begin(struct progress *progress, const char *label, int64_t total) {
    *progress = (struct progress){.label = label, .total = total, .stop = true};
    if (!isatty(STDERR_FILENO))
        return;
    pthread_mutex_init(&progress->mutex, NULL);
    pthread_cond_init(&progress->wake, NULL);
    progress->stop = false;
    // Without a thread there is simply no bar.
    if (pthread_create(&progress->thread, NULL, watch, progress) != 0)
        progress->stop = true;
}

void progress_step(struct progress *progress, int64_t done) {
    atomic_store(&progress->done, done);
}

void progress_end(struct progress *progress) {
    if (progress->stop)
        return;
    pthread_mutex_lock(&progress->mutex);
    progress->stop = true;
    pthread_cond_signal(&progress->wake);
    pthread_mutex_unlock(&progress->mutex);
    pthread_join(progress->thread, NULL);
    pthread_cond_destroy(&progress->wake);
    pthread_mutex_destroy(&progress->mutex);
    if (progress->shown)
        fputs("\r\033[K", stderr);
}
