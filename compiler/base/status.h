// Failures of the world (not of the user's pattern, not of ours): a status and a message.
//
// Every internal function that can fail this way returns enum heddle_status and takes a
// `struct error *`, which it fills before it returns anything but HEDDLE_OK. Callers add context
// with error_context.
#ifndef HEDDLE_BASE_STATUS_H
#define HEDDLE_BASE_STATUS_H

#include "heddle.h"

struct error {
    enum heddle_status status;
    char *message; // owned, may be NULL (out of memory)
};

// Records a failure (replacing an earlier one) and returns `status`, so that
// `return error_set(err, ...)` reads as one step.
enum heddle_status error_set(struct error *error, enum heddle_status status, const char *format,
                             ...) __attribute__((format(printf, 3, 4)));
// Puts "context: " before the message already there.
void error_context(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const char *error_text(const struct error *error);
void error_finish(struct error *error);

#endif
