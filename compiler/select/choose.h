// One step of a selection: the scores of one ranking -> what is chosen. Plain C over memory that
// the caller gives, so that a GPU can run it, too.
//
// A ranking has the candidates by falling score, equal ones by rising place; a NaN is no candidate,
// and -0 equals 0. A mode says how many are taken from its front:
//
//   top(n)    n; what is forced stands at the front, and counts
//   mass(p)   as many as do not pass p of the candidates' sum (scores below 0 count as 0), and,
//             inclusive, the one that does
//   above(t)  those with a score over t
//   bands     end[b] = share[b] of the candidates, rounded down; or (inclusive) one more than hold
//   no
//             more than share[b] of their sum, and a millionth of it, if any do; the length of a
//             band is rounded up to a multiple of its step, or down where up would pass the end
//
// `least` and `most` bound that number (of bands: the length of the first), `most` last. What is
// forced is always chosen, a candidate or not; under bands it has the first level.
#ifndef HEDDLE_COMPILER_CHOOSE_H
#define HEDDLE_COMPILER_CHOOSE_H

#include "compiler/select/select_abi.h"

enum choose_mode { CHOOSE_TOP, CHOOSE_MASS, CHOOSE_ABOVE, CHOOSE_BANDS }; // as select_mode

struct choose_job {
    enum choose_mode mode;
    int64_t inclusive;
    int64_t band_count; // the last is the rest
    int64_t band_level[SELECT_BAND_ROOM];
    struct select_amounts amounts;
    int64_t count; // of scores
    const float *scores;
    const uint8_t *forced;
    uint8_t *chosen; // 0 or 1; or, of bands:
    int32_t *levels; // the rest's level where there is no candidate
};

// Bytes of scratch for so many scores; 8-byte aligned.
int64_t choose_scratch_bytes(int64_t count);
void choose(const struct choose_job *job, void *scratch);

#endif
