// PTX -> cubin by a ptxas that is installed here. Whole-program code, as the driver makes it of
// PTX: what links (nvJitLink, cuLink) compiles relocatable code, which ignores setmaxnreg.
#include "cli/bundle.h"
#include "compiler/base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MOST_BYTES = 64 << 20, SHOWN_BYTES = 2000 };

struct work { // files of one call
    char folder[3900];
    char ptx[4000], cubin[4000], log[4000];
};

static bool begin(struct work *work, const char *ptx) {
    const char *folder = getenv("TMPDIR");
    int length = snprintf(work->folder, sizeof work->folder, "%s/heddle-ptxas-XXXXXX",
                          folder && *folder ? folder : "/tmp");
    if (length >= (int)sizeof work->folder || !mkdtemp(work->folder)) {
        work->folder[0] = '\0';
        return false;
    }
    snprintf(work->ptx, sizeof work->ptx, "%s/in.ptx", work->folder);
    snprintf(work->cubin, sizeof work->cubin, "%s/out.cubin", work->folder);
    snprintf(work->log, sizeof work->log, "%s/log", work->folder);
    FILE *file = fopen(work->ptx, "w");
    if (!file)
        return false;
    bool written = fputs(ptx, file) >= 0;
    return fclose(file) == 0 && written;
}

static void end(const struct work *work) {
    if (!work->folder[0])
        return;
    unlink(work->ptx);
    unlink(work->cubin);
    unlink(work->log);
    rmdir(work->folder);
}

// The exit status of the program; -1: it could not be run.
static int run(const char *program, struct work *work) {
    char *const argv[] = {(char *)program, "-arch=sm_90a", "-o", work->cubin, work->ptx, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    posix_spawn_file_actions_addopen(&actions, 1, work->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, work->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int failed = posix_spawn(&child, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return -1;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool read_file(const char *path, struct strbuf *out) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool whole = file >= 0 && files_read(file, MOST_BYTES, out);
    if (file >= 0)
        close(file);
    return whole;
}

enum heddle_status assemble(void *context, const char *ptx, struct strbuf *out,
                            struct error *error) {
    const char *program = context;
    struct work work;
    struct strbuf log = {0};
    enum heddle_status status = HEDDLE_OK;
    int result = begin(&work, ptx) ? run(program, &work) : -1;
    if (result < 0)
        status =
            error_set(error, HEDDLE_IO_ERROR, "%s: cannot be run: %s", program, strerror(errno));
    else if (result > 0 && read_file(work.log, &log))
        status = error_set(error, HEDDLE_INTERNAL, "%s: exit status %d: %.*s", program, result,
                           SHOWN_BYTES, log.text ? log.text : "");
    else if (result > 0 || !read_file(work.cubin, out))
        status = error_set(error, HEDDLE_IO_ERROR, "%s: left no cubin", program);
    strbuf_finish(&log);
    end(&work);
    return status;
}

bool assemble_find(const char *given, struct strbuf *out) {
    const char *path = getenv("PATH");
    if (given) {
        strbuf_puts(out, given);
        return true;
    }
    while (path && *path) {
        size_t length = strcspn(path, ":");
        out->length = 0;
        strbuf_printf(out, "%.*s/ptxas", (int)length, length ? path : ".");
        if (out->text && access(out->text, X_OK) == 0)
            return true;
        path += length + (path[length] == ':');
    }
    return false;
}
