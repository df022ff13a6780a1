// Inside of stage `check`: what check_row.c, check_pooled.c, check_stage.c and check_select.c
// share.
#ifndef HEDDLE_DSL_CHECK_ROW_H
#define HEDDLE_DSL_CHECK_ROW_H

#include "dsl/checker.h"

static inline const struct expr *node_int(const struct place *place, struct span span,
                                          int64_t value) {
    return expr_int(place->root->graph, span, value);
}

static inline const struct expr *node1(const struct place *place, struct span span, enum op op,
                                       const struct expr *a) {
    return expr_make(place->root->graph, span, op, &a);
}

static inline const struct expr *node2(const struct place *place, struct span span, enum op op,
                                       const struct expr *a, const struct expr *b) {
    return expr_make(place->root->graph, span, op, (const struct expr *[]){a, b});
}

static inline const struct expr *node_leaf(const struct place *place, struct span span, enum op op,
                                           enum type type, int index) {
    return expr_ref(place->root->graph, span, op, type, (uint16_t)index, 0, NULL, 0);
}

static inline bool is_row(const struct expr *node) {
    return node->deps & DEP_ROW;
}

// The first query's token; 0 where there are more queries than keys.
const struct expr *stage_first_query(const struct place *place, struct span span);
// Is this place inside of a stage or selection? If not, an error says that `what` stands there.
bool stage_only(const struct place *place, struct span span, const char *what);

// A row of q or k. `head` as a key/value head is that head's own.
const struct expr *tensor_row(const struct place *place, struct span span, int side,
                              const struct expr *head, const struct expr *token);
// A head and a token, as written. False after an error.
bool two_indices(const struct place *place, const struct ast *node, const struct expr **out);
// `op` (AST_SUM ...) of `body` over begin .. end; step NULL: 1.
const struct expr *make_reduction(const struct place *place, struct span span, enum ast_op op,
                                  int variable, const struct expr *begin, const struct expr *end,
                                  const struct expr *step, const struct expr *body);
// The extent of an index as an expression; NULL for those that have none.
const struct expr *extent_of(const struct place *place, struct span span,
                             const struct pattern_index *index);
// Appends an array to the pattern's; -1 after an error.
int stage_add_array(const struct place *place, const struct pattern_input *input);

#endif
