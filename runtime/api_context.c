// The public functions of heddle.h that make contexts, and those that tell what failed.

#include "heddle.h"

#include "heddle_config.h"
#include "runtime/api_check.h"
#include "runtime/api_objects.h"
#include "runtime/cpu_device.h"
#include "runtime/shipped.h"
#include "runtime/struct_take.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- errors -----------------------------------------------------------------------------------

// The message of each thread's last failure: the one thing that outlives a call.
static _Thread_local char last_error[16384] = "no error";

enum heddle_status api_fail(struct error *error, enum heddle_status status) {
    if (status != HEDDLE_OK)
        snprintf(last_error, sizeof last_error, "%s", error_text(error));
    error_finish(error);
    return status;
}

enum heddle_status api_bad_argument(const char *what) {
    snprintf(last_error, sizeof last_error, "%s", what);
    return HEDDLE_BAD_ARGUMENT;
}

enum heddle_status api_no_memory(void) {
    snprintf(last_error, sizeof last_error, "out of memory");
    return HEDDLE_OUT_OF_MEMORY;
}

const char *heddle_last_error(void) {
    return last_error;
}

const char *heddle_status_name(enum heddle_status status) {
    static const char *const names[] = {
        "ok",        "bad argument", "pattern error",  "limit exceeded", "out of memory",
        "I/O error", "device error", "internal error", "no compiler"};
    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown status";
}

const char *heddle_version(void) {
    return HEDDLE_VERSION;
}

// ---- context ----------------------------------------------------------------------------------

// The caller's folders, then that of the shipped patterns.
static bool set_import_dirs(struct heddle_context *context,
                            const struct heddle_context_options *options) {
    char shipped[4096];
    bool found = shipped_patterns_dir(shipped, sizeof shipped);
    int count = options->import_dir_count + found;
    context->import_dirs = calloc((size_t)count + 1, sizeof(char *));
    for (int i = 0; context->import_dirs && i < count; i++) {
        const char *dir = i < options->import_dir_count ? options->import_dirs[i] : shipped;
        context->import_dirs[i] = strdup(dir);
        if (!context->import_dirs[i])
            return false;
        context->import_dir_count++;
    }
    return context->import_dirs != NULL;
}

// AUTO: a GPU that cannot be had is no failure.
static enum heddle_status open_target(struct heddle_context *context, enum heddle_target wanted,
                                      struct error *error) {
    struct cpu_device cpu;
    enum heddle_status status = HEDDLE_OK;
    context->target = HEDDLE_TARGET_CPU;
    if (wanted != HEDDLE_TARGET_CPU)
        status = cuda_device_open(&context->gpu, error);
    if (wanted != HEDDLE_TARGET_CPU && status == HEDDLE_OK)
        context->target = HEDDLE_TARGET_CUDA;
    if (context->target == HEDDLE_TARGET_CPU)
        cpu_device_query(&cpu);
    snprintf(context->device_name, sizeof context->device_name, "%s",
             context->target == HEDDLE_TARGET_CUDA ? context->gpu.name : cpu.name);
    return wanted == HEDDLE_TARGET_CUDA ? status : HEDDLE_OK;
}

static enum heddle_status fill_context(struct heddle_context *context,
                                       const struct heddle_context_options *options,
                                       struct error *error) {
    enum heddle_status status = open_target(context, options->target, error);
    if (status != HEDDLE_OK)
        return status;
    error_finish(error); // of a GPU that AUTO did without
    bool on_gpu = context->target == HEDDLE_TARGET_CUDA;
    context->threads = options->threads;
    context->machine = tuned_machine(on_gpu ? &context->gpu : NULL, context->threads);
    if (!set_import_dirs(context, options))
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory");
    if (!on_gpu)
        status = thread_pool_create(options->threads, &context->pool, error);
    log_line(HEDDLE_LOG_INFO, "context on %s", context->device_name);
    return status;
}

enum heddle_status heddle_context_create(const struct heddle_context_options *given,
                                         struct heddle_context **out_context) {
    static const size_t first_bytes = offsetof(struct heddle_context_options, log);
    struct heddle_context_options taken = {.struct_bytes = sizeof taken}, *options = &taken;
    if (!out_context)
        return api_bad_argument("heddle_context_create: no place for the context");
    *out_context = NULL;
    if (given && !struct_take(options, sizeof taken, given, first_bytes))
        return api_bad_argument("heddle_context_create: struct_bytes is of no version known here");
    if (api_context_fault(options))
        return api_bad_argument(api_context_fault(options));
    struct heddle_context *context = calloc(1, sizeof *context);
    if (!context)
        return api_no_memory();
    struct error error = {0};
    log_open(&context->log, options);
    struct log_scope outer = log_enter(&context->log);
    struct stage stage = stage_begin("heddle_context_create");
    enum heddle_status status = fill_context(context, options, &error);
    stage_end(&stage);
    log_leave(outer);
    if (status == HEDDLE_OK)
        *out_context = context;
    else
        heddle_context_destroy(context);
    return api_fail(&error, status);
}

void heddle_context_destroy(struct heddle_context *context) {
    if (!context)
        return;
    for (int i = 0; context->import_dirs && i < context->import_dir_count; i++)
        free(context->import_dirs[i]);
    free(context->import_dirs);
    thread_pool_destroy(context->pool);
    cuda_device_close(&context->gpu);
    free(context);
}

enum heddle_target heddle_context_target(const struct heddle_context *context) {
    return context->target;
}

const char *heddle_context_device_name(const struct heddle_context *context) {
    return context->device_name;
}
