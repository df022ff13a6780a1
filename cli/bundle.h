// heddle compile --emit=bundle and --emit=c: compiled code to take along.
#ifndef HEDDLE_CLI_BUNDLE_H
#define HEDDLE_CLI_BUNDLE_H

#include "cli/problem.h"
#include "compiler/bundle/bundle_make.h"

struct bundle_args {
    struct text_list sweeps; // as bench --sweep
    const char *cpus;        // levels, with commas; NULL: those of most machines
    const char *ptxas;       // a program, or "none"; NULL: the one in PATH, if any
};

// Compiles one pattern file for every problem of the sweeps and appends a bundle to *out. *contents
// says what is in it. Exit status. `problem` is loaded, and bound to the first problem.
int bundle_make(struct problem *problem, const struct bundle_args *args,
                const struct problem_args *problem_args, const char *file, struct strbuf *out,
                struct strbuf *contents);

// bundle_maker.assemble: ptxas, of which `context` is the path (assemble.c). HEDDLE_IO_ERROR: it
// could not be run; HEDDLE_INTERNAL: it refused the code.
enum heddle_status assemble(void *context, const char *ptx, struct strbuf *out,
                            struct error *error);
// The program: as given, or found in PATH. False: none.
bool assemble_find(const char *given, struct strbuf *out);

// The bundle as C: a source with all of its bytes, and its header (emit_c.c). The source includes
// `header`; NULL: the header stands before it.
void emit_c_source(const struct problem *problem, const char *header, const struct strbuf *bundle,
                   struct strbuf *out);
void emit_c_header(const struct problem *problem, const struct strbuf *contents,
                   struct strbuf *out);

#endif
