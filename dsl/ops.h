// The functions that rows of ops.def name. Private to the table (dsl/expr.c) and its tests.
#ifndef HEDDLE_DSL_OPS_H
#define HEDDLE_DSL_OPS_H

#include "dsl/expr.h"

#define EVAL(name) union value eval_##name(const union value *, enum eval_fault *);
#define POINT(name) aval point_##name(struct alg *, const aval *);
#define BOX(name) void box_##name(struct alg *, const struct box *, struct box *);
#define FOLD(name)                                                                                 \
    const struct expr *fold_##name(struct expr_graph *, struct span, const struct expr *const *);
#define MEANINGS(name) EVAL(name) POINT(name) BOX(name)

MEANINGS(not )
MEANINGS(and)
MEANINGS(or)
MEANINGS(iff)
MEANINGS(xor) EVAL(select) POINT(select) BOX(select_b) BOX(select_i) BOX(select_r) FOLD(not )
    FOLD(and) FOLD(or) FOLD(iff) FOLD(xor) FOLD(select)

        MEANINGS(neg) MEANINGS(add) MEANINGS(sub) MEANINGS(mul) MEANINGS(div) MEANINGS(mod)
            MEANINGS(ceildiv) MEANINGS(min) MEANINGS(max) MEANINGS(abs) MEANINGS(log2)
                MEANINGS(bits) MEANINGS(bitand) MEANINGS(bitxor) MEANINGS(bitor) MEANINGS(shl)
                    MEANINGS(shr) MEANINGS(lt) MEANINGS(le) MEANINGS(eq) MEANINGS(ne)
                        MEANINGS(in_pow2) FOLD(neg) FOLD(add) FOLD(sub) FOLD(mul) FOLD(div)
                            FOLD(mod) FOLD(min) FOLD(max) FOLD(lt) FOLD(le)

                                MEANINGS(to_real) MEANINGS(floor) MEANINGS(rneg) MEANINGS(radd)
                                    MEANINGS(rsub) MEANINGS(rmul) MEANINGS(rdiv) MEANINGS(rmin)
                                        MEANINGS(rmax) MEANINGS(rabs) MEANINGS(rexp) MEANINGS(rexp2)
                                            MEANINGS(rlog) MEANINGS(rlog2) MEANINGS(rsqrt)
                                                MEANINGS(rtanh) MEANINGS(rlt) MEANINGS(rle)
                                                    MEANINGS(req) MEANINGS(rne)

#undef EVAL
#undef POINT
#undef BOX
#undef FOLD
#undef MEANINGS

    // Helpers that box meanings share (ops_bool.c).
    bool box_single(const struct box *box); // lo and hi are the same value (or instruction)
struct box box_of(aval lo, aval hi);        // no congruence known
struct box box_join(struct alg *alg, enum type type, const struct box *a, const struct box *b);
int64_t congruence_gcd(int64_t a, int64_t b);

#endif
