// Private to the codec of patterns: between the graph (pattern_codec.c) and what refers to it
// (pattern_parts.c).
#ifndef HEDDLE_DSL_PATTERN_PARTS_H
#define HEDDLE_DSL_PATTERN_PARTS_H

#include "compiler/base/codec.h"
#include "dsl/pattern.h"

struct pattern_codec {
    struct codec *c;
    struct expr_graph *graph;
    // Writing: 1 + the number of each node that is written, by id. The first of two passes only
    // marks what is referred to.
    uint32_t *numbers;
    bool marking;
    enum op *ops; // by number in the bytes
    int op_count;
};

// A node of the graph, or NULL.
const struct expr *pattern_ref(struct pattern_codec *p, const struct expr *node);
struct span pattern_span(struct pattern_codec *p, struct span span);

// All of the pattern but its graph.
void pattern_parts(struct pattern_codec *p, struct pattern *pattern);

#endif
