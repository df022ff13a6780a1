// The working state of sm90_words.c and sm90_word_bits.c. Private to them.
#ifndef HEDDLE_COMPILER_SM90_WORDS_H
#define HEDDLE_COMPILER_SM90_WORDS_H

#include "compiler/sm90/sm90_mask.h"

enum { SM90_WORDS = 8, SM90_MOST_WORDS = 16 };

enum sm90_form { SM90_PAIR, SM90_ROW, SM90_KEY, SM90_DIAGONAL, SM90_BLOCK, SM90_EDGE, SM90_JOINED };

struct sm90_words {
    // KEY and DIAGONAL conditions, in the order of their words.
    const struct expr *nodes[SM90_MOST_WORDS];
    int count;
    bool chosen[MAX_INTERVAL_PARTS];
};

enum sm90_form sm90_form_of(const struct sm90_emit *e, const struct expr *node);
// Whether `node` reads the key through one k / B at most: *out, NULL at first.
bool sm90_by_quotient(const struct sm90_emit *e, const struct expr *node, const struct expr **out);
int sm90_words_number(const struct sm90_words *words, const struct expr *node);
// Where the words of condition `number` are, in shared memory; as a pointer.
LLVMValueRef sm90_words_at(struct sm90_emit *e, int number, LLVMValueRef copy);
LLVMValueRef sm90_words_pointer(struct sm90_emit *e, LLVMValueRef at);

#endif
