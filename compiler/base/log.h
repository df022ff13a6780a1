// What a host may watch: messages for its log callback, and the stages of a call with their times,
// as messages and as NVTX ranges.
//
// They belong to the thread: the calls of heddle.h say at their beginning where messages go, and
// everything below them only says what happens. Nothing is ever printed, but where HEDDLE_DEBUG
// asks for a trace and the host has no callback: to standard error.
#ifndef HEDDLE_BASE_LOG_H
#define HEDDLE_BASE_LOG_H

#include "heddle.h"

#include <stdbool.h>

struct log {
    heddle_log_fn write; // NULL: nobody listens
    void *context;
    enum heddle_log_level most; // further levels are not written
    bool ranges;                // NVTX is there
};

// From options of a context; reads HEDDLE_DEBUG and looks for NVTX.
void log_open(struct log *out, const struct heddle_context_options *options);
// Does anybody listen? Where not, a call need not say where messages go.
bool log_is_heard(const struct log *log);

// Around a call. What was begun and not ended in between, since memory ran out, ends too.
struct log_scope {
    const struct log *log;
    int depth;
};
struct log_scope log_enter(const struct log *log); // NULL is fine
void log_leave(struct log_scope before);

// Within a call.
void log_line(enum heddle_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct stage {
    const char *name;
    double begin_ms; // 0: nobody listens
};
// `name` lives as long as the program; stages nest.
struct stage stage_begin(const char *name);
// Says how long it took, for HEDDLE_LOG_TRACE.
void stage_end(const struct stage *stage);

#endif
