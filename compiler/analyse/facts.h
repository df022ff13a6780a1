// Stage `analyse`: checked pattern -> facts. What the compiler knows before any size is given:
// per side and basis, the predicate over places and its region rules; which arguments decide the
// lists.
#ifndef HEDDLE_COMPILER_ANALYSE_FACTS_H
#define HEDDLE_COMPILER_ANALYSE_FACTS_H

#include "compiler/analyse/basis.h"
#include "compiler/analyse/intervals.h"
#include "compiler/analyse/solve.h"

enum { SIDE_COUNT = 2 };

struct basis_facts {
    const struct expr *keep; // over OP_PLACE leaves
    struct rules rules;
    int unsolved_rules;    // how many rules leave something to classification
    struct intervals mask; // what one query keeps, by conjunct (query side only)
    bool usable;           // worth planning in: solved, or no basis of this side is
};

struct facts {
    struct basis bases[MAX_BASES];
    int basis_count;
    struct basis_facts sides[SIDE_COUNT][MAX_BASES]; // [item side][basis]
    // What the lists of two heads (batches) may differ by.
    bool by_head;         // `head`, `kv_head` outside of tables, or an input indexed by them
    bool by_batch;        // `batch`, or an input indexed by it
    bool *tables_in_keep; // by table: read with [head], so equal values give equal lists
};

// Of a pattern with sources: of its first. `pattern` is one source's view for the others.
struct facts *analyse(struct arena *arena, const struct pattern *pattern);
// The facts of every source, [pattern_source_count]; what lists differ by is that of all of them.
struct facts **analyse_sources(struct arena *arena, const struct pattern *pattern);
void facts_print(const struct facts *facts, const struct pattern *pattern, struct strbuf *out);
// Of every source, one after another.
void facts_print_sources(struct facts *const *facts, const struct pattern *pattern,
                         struct strbuf *out);

#endif
