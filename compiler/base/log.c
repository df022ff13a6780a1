#include "compiler/base/log.h"

#include "compiler/base/debug.h"
#include "compiler/base/nvtx.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static _Thread_local struct log_scope current; // the log of the call that this thread is in

static void write_error(void *context, enum heddle_log_level level, const char *message) {
    (void)level;
    fprintf(context, "heddle: %s\n", message);
}

void log_open(struct log *out, const struct heddle_context_options *options) {
    bool traced = debug_words() & DEBUG_TRACE;
    *out = (struct log){.write = options->log,
                        .context = options->log_context,
                        .most = options->log_level ? options->log_level : HEDDLE_LOG_WARNING,
                        .ranges = nvtx_open()};
    if (traced)
        out->most = HEDDLE_LOG_TRACE;
    if (traced && !out->write) {
        out->write = write_error;
        out->context = stderr;
    }
}

bool log_is_heard(const struct log *log) {
    return log->write || log->ranges;
}

struct log_scope log_enter(const struct log *log) {
    struct log_scope before = current;
    current.log = log && log_is_heard(log) ? log : NULL;
    return before;
}

void log_leave(struct log_scope before) {
    for (; current.depth > before.depth; current.depth--)
        nvtx_pop();
    current = before;
}

static bool is_wanted(enum heddle_log_level level) {
    return current.log && current.log->write && level <= current.log->most;
}

void log_line(enum heddle_log_level level, const char *format, ...) {
    char text[1024];
    va_list args;
    if (!is_wanted(level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    current.log->write(current.log->context, level, text);
}

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

struct stage stage_begin(const char *name) {
    struct stage stage = {.name = name};
    if (!current.log)
        return stage;
    if (current.log->ranges) {
        nvtx_push(name);
        current.depth++;
    }
    stage.begin_ms = is_wanted(HEDDLE_LOG_TRACE) ? now_ms() : 0;
    return stage;
}

void stage_end(const struct stage *stage) {
    if (current.log && current.log->ranges && current.depth > 0) {
        nvtx_pop();
        current.depth--;
    }
    if (stage->begin_ms > 0)
        log_line(HEDDLE_LOG_TRACE, "%s %.3f ms", stage->name, now_ms() - stage->begin_ms);
}
