// Stage check: the elements of an input set, one by one, for quantifiers that run over it.
//
// A set is kept as a table of bytes, which answers `in`. A pattern that quantifies over it gets one
// more array, an input that nobody gives: the elements of each list in ascending order, each once,
// then -1. All lists have the room of the longest, a scalar that no parameter names. So
//
//   any e in S[h] : P(e)     any n in 0 .. room : elements[h, n] >= 0 and P(elements[h, n])
//
// and planner, masks and reference read an array as ever.

#include "dsl/checker.h"

static int find_elements(const struct pattern *pattern, uint16_t set) {
    for (int i = 0; i < pattern->input_count; i++)
        if (pattern->inputs[i].is_elements && pattern->inputs[i].set == set)
            return i;
    return -1;
}

static int add_elements(struct root *root, uint16_t set) {
    struct pattern *pattern = root->pattern;
    struct pattern_input input = pattern->inputs[set];
    input.name = arena_format(root->checker->arena, "elements(%s)", input.name);
    input.type = TYPE_INT;
    input.is_elements = true;
    input.set = set;
    input.room = (uint16_t)pattern->scalar_count++;
    input.indices[input.index_count - 1] = (struct pattern_index){INDEX_ROOM, 0, NULL};
    pattern->inputs = array_grow(root->checker->arena, pattern->inputs, pattern->input_count,
                                 &root->input_room, sizeof *pattern->inputs);
    pattern->inputs[pattern->input_count] = input;
    return pattern->input_count++;
}

const struct expr *set_element(const struct place *place, const struct set *set,
                               const struct expr *number, const struct expr **out_room) {
    struct root *root = place->root;
    const struct expr *args[MAX_INDICES];
    int input = find_elements(root->pattern, set->input);
    if (input < 0)
        input = add_elements(root, set->input);
    for (uint32_t i = 0; i < set->count; i++)
        args[i] = set->elements[i];
    args[set->count] = number;
    *out_room = expr_ref(root->graph, set->span, OP_PARAM, TYPE_INT,
                         root->pattern->inputs[input].room, 0, NULL, 0);
    return expr_ref(root->graph, set->span, OP_INPUT, TYPE_INT, (uint16_t)input, 0, args,
                    (uint8_t)(set->count + 1));
}
