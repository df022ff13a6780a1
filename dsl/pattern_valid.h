// Private to the test of a pattern that was read from bytes: between nodes and what refers to them
// (pattern_valid.c), and sources, stages and selections (pattern_valid_parts.c).
#ifndef HEDDLE_DSL_PATTERN_VALID_H
#define HEDDLE_DSL_PATTERN_VALID_H

#include "dsl/pattern.h"

enum { NO_PARAM_YET = UINT16_MAX }; // in latest_param and param_of: the room of a set's elements

struct validity {
    const struct pattern *pattern;
    // By node: 1 + the number of the latest parameter, of the latest map, and of the latest stage
    // or selection, that it reads.
    uint16_t *latest_param, *latest_map, *latest_derived;
    bool *of_stages;       // by node: has an operation that stands in stages and selections only
    bool *marks;           // by node
    uint16_t *param_of[2]; // scalars and tables by their index: 1 + the parameter's number
    const char *fault;
};

static inline bool expect(struct validity *v, bool holds, const char *otherwise) {
    if (!holds && !v->fault)
        v->fault = otherwise;
    return holds;
}

// An expression of a type, that depends on nothing but `allowed` (bits of expr.deps) and the first
// `vars` variables, for stages and selections, or for what runs pair by pair.
bool valid_root(struct validity *v, const struct expr *root, enum type type, int allowed, int vars,
                bool in_stage);
// The same of a condition whose quantifiers are counted by runs: no text of it was ever short.
bool valid_counted(struct validity *v, const struct expr *root, int allowed, int vars);
// What is compiled is bounded in its different operations too.
void valid_operations(struct validity *v, const struct expr *root);

// Pools, sources, branches and levels; a stage or selection, input number `number`.
void valid_sources(struct validity *v);
void valid_derived(struct validity *v, int number);

#endif
