#include "compiler/base/status.h"

#include "compiler/base/strbuf.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum heddle_status error_set(struct error *error, enum heddle_status status, const char *format,
                             ...) {
    struct strbuf text = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    free(error->message);
    error->message = text.text;
    error->status = status;
    return status;
}

void error_context(struct error *error, const char *format, ...) {
    struct strbuf text = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    strbuf_printf(&text, ": %s", error_text(error));
    free(error->message);
    error->message = text.text;
}

const char *error_text(const struct error *error) {
    return error->message ? error->message : "out of memory";
}

void error_finish(struct error *error) {
    free(error->message);
    memset(error, 0, sizeof *error);
}
