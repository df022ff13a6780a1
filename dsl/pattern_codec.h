// A checked pattern as bytes, for bundles: the expression graph and what refers to it. The
// pattern's text is not in it, places in that text are.
#ifndef HEDDLE_DSL_PATTERN_CODEC_H
#define HEDDLE_DSL_PATTERN_CODEC_H

#include "dsl/pattern.h"

// Appends the pattern. False: no memory.
bool pattern_write(const struct pattern *pattern, struct strbuf *out);

// Reads a pattern out of bytes that may hold anything. What is returned is as the checker would
// have left it: the same graph, by the same functions, within the same limits. NULL: it is not such
// a pattern, and *out_fault says why (a text that lives for ever). `diags` gets the names of the
// pattern's files, without their text; it is empty before and outlives the pattern, as does
// `arena`, whose escape is set.
struct pattern *pattern_read(const char *bytes, size_t length, struct arena *arena,
                             struct diags *diags, const char **out_fault);

// What is wrong with a pattern of which nothing is known but that its nodes' arguments come before
// them and fit their operation; NULL: nothing. Private to reading.
const char *pattern_fault(const struct pattern *pattern);

#endif
