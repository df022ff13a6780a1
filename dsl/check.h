// Stage `check`: pattern text -> checked pattern. The front door of dsl/.
#ifndef HEDDLE_DSL_CHECK_H
#define HEDDLE_DSL_CHECK_H

#include "compiler/base/status.h"
#include "dsl/pattern.h"

struct const_override { // --const name=value
    const char *name, *value;
};

struct check_options {
    const char *pattern; // which pattern of the file, or NULL: the one named like the file, else
                         // the last
    const struct const_override *consts;
    int const_count;
    // Where `import "x.heddle"` looks after the importing file's own folder. May be NULL.
    const char *const *import_dirs;
    int import_dir_count;
};

// Parses and checks `text` (shown as `path`). On success *out_pattern points into the arena. A
// pattern with errors gives HEDDLE_PATTERN_ERROR and at least one error in `diags`. Other statuses:
// HEDDLE_IO_ERROR (only through check_file), HEDDLE_BAD_ARGUMENT (a constant that the pattern does
// not declare, or a value that does not parse, or no pattern of that name).
enum heddle_status check_text(struct arena *arena, struct diags *diags, const char *path,
                              const char *text, size_t length_bytes,
                              const struct check_options *options, struct pattern **out_pattern,
                              struct error *error);
// The same for a file; at most 16 MiB.
enum heddle_status check_file(struct arena *arena, struct diags *diags, const char *path,
                              const struct check_options *options, struct pattern **out_pattern,
                              struct error *error);
// Stage `parse` alone, for --emit=ast: text whose parse gives the same tree.
enum heddle_status parse_dump(struct arena *arena, struct diags *diags, const char *path,
                              const char *text, size_t length_bytes, struct strbuf *out,
                              struct error *error);

#endif
