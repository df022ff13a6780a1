// See choose.h. The ranking is sorted whole, by digits of the scores' bit patterns: linear in the
// candidates whatever the mode asks for, and stable, which is the rule for equal scores.

#include "compiler/select/choose.h"

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, PASSES = 3 };

struct ranked {
    uint32_t key; // rising with falling scores
    uint32_t place;
};

struct ranking {
    struct ranked *items, *spare;
    uint32_t *starts; // [DIGITS]
    int64_t count;
};

int64_t choose_scratch_bytes(int64_t count) {
    return 2 * count * (int64_t)sizeof(struct ranked) + DIGITS * (int64_t)sizeof(uint32_t);
}

// Floats by falling value as unsigned numbers by rising value.
static uint32_t key_of(float score) {
    union {
        float real;
        uint32_t bits;
    } x = {score + 0.0f}; // -0 becomes 0
    uint32_t rising = x.bits >> 31 ? ~x.bits : x.bits | 0x80000000u;
    return ~rising;
}

static void sort_digit(struct ranking *r, int shift) {
    for (int i = 0; i < DIGITS; i++)
        r->starts[i] = 0;
    for (int64_t i = 0; i < r->count; i++)
        r->starts[r->items[i].key >> shift & (DIGITS - 1)]++;
    uint32_t sum = 0;
    for (int i = 0; i < DIGITS; i++) {
        uint32_t here = r->starts[i];
        r->starts[i] = sum;
        sum += here;
    }
    for (int64_t i = 0; i < r->count; i++)
        r->spare[r->starts[r->items[i].key >> shift & (DIGITS - 1)]++] = r->items[i];
    struct ranked *sorted = r->spare;
    r->spare = r->items;
    r->items = sorted;
}

// A few, where counting digits would cost more than they do.
static void sort_few(struct ranking *r) {
    for (int64_t i = 1; i < r->count; i++) {
        struct ranked item = r->items[i];
        int64_t at = i;
        for (; at > 0 && r->items[at - 1].key > item.key; at--)
            r->items[at] = r->items[at - 1];
        r->items[at] = item;
    }
}

static void sort(struct ranking *r) {
    if (r->count <= 48) {
        sort_few(r);
        return;
    }
    for (int pass = 0; pass < PASSES; pass++)
        sort_digit(r, pass * DIGIT_BITS);
}

static void rank(const struct choose_job *job, struct ranking *r, void *scratch) {
    r->items = scratch;
    r->spare = r->items + job->count;
    r->starts = (uint32_t *)(void *)(r->spare + job->count);
    r->count = 0;
    for (int64_t i = 0; i < job->count; i++) {
        float score = job->scores[i];
        if (score != score || (job->mode == CHOOSE_TOP && job->forced[i]))
            continue;
        r->items[r->count++] = (struct ranked){key_of(score), (uint32_t)i};
    }
    sort(r);
}

static double weight(const struct choose_job *job, const struct ranking *r, int64_t at) {
    double score = (double)job->scores[r->items[at].place];
    return score > 0.0 ? score : 0.0;
}

static int64_t mass_count(const struct choose_job *job, const struct ranking *r) {
    double sum = 0.0, so_far = 0.0;
    int64_t count = 0;
    for (int64_t i = 0; i < r->count; i++)
        sum += weight(job, r, i);
    double limit = job->amounts.amount * sum;
    while (count < r->count && (so_far += weight(job, r, count)) <= limit)
        count++;
    return count + (job->inclusive ? 1 : 0);
}

static int64_t above_count(const struct choose_job *job, const struct ranking *r) {
    int64_t count = 0;
    while (count < r->count && (double)job->scores[r->items[count].place] > job->amounts.amount)
        count++;
    return count;
}

// A number that may be anything as a count of 0 .. most.
static int64_t as_count(double x, int64_t most) {
    return !(x > 0.0) ? 0 : x >= (double)most ? most : (int64_t)x;
}

static int64_t bounded(const struct choose_job *job, int64_t count, int64_t all) {
    if (job->amounts.least >= 0.0 && (double)count < job->amounts.least)
        count = as_count(job->amounts.least, all);
    if (job->amounts.most >= 0.0 && (double)count > job->amounts.most)
        count = as_count(job->amounts.most, all);
    return count > all ? all : count;
}

// How many are taken from the front of the ranking, of which `ahead` forced ones are no part.
static int64_t taken(const struct choose_job *job, const struct ranking *r, int64_t ahead) {
    int64_t all = r->count + ahead;
    int64_t count = job->mode == CHOOSE_TOP    ? as_count(job->amounts.amount, all)
                    : job->mode == CHOOSE_MASS ? mass_count(job, r)
                                               : above_count(job, r);
    count = bounded(job, count, all);
    return count > ahead ? count - ahead : 0;
}

// One more than the ranks that hold no more than this share of the sum; 0 where none does.
static int64_t mass_end(const struct ranking *r, const struct choose_job *job, double sum,
                        double share) {
    const double slack = 1e-6; // a share that is met exactly counts, whatever the sum's rounding
    double so_far = 0.0;
    int64_t count = 0;
    while (count < r->count && (so_far += weight(job, r, count)) <= (share + slack) * sum)
        count++;
    return count > 0 ? count + 1 : 0;
}

// The ranks of band b are begin[b] .. begin[b + 1].
static void find_bands(const struct choose_job *job, const struct ranking *r, int64_t *begin) {
    int64_t bands = job->band_count - 1, all = r->count;
    double sum = 0.0;
    for (int64_t i = 0; i < all; i++)
        sum += weight(job, r, i);
    begin[0] = 0;
    for (int64_t b = 0; b < bands; b++) {
        int64_t end = job->inclusive ? mass_end(r, job, sum, job->amounts.share[b])
                                     : as_count((double)all * job->amounts.share[b], all);
        int64_t step = as_count(job->amounts.step[b], all > 0 ? all : 1);
        end = b == 0 ? bounded(job, end, all) : end > all ? all : end;
        end = end < begin[b] ? begin[b] : end;
        if (step > 1 && end > begin[b]) {
            int64_t length = end - begin[b], up = (length + step - 1) / step * step;
            end = begin[b] + (begin[b] + up > all ? (all - begin[b]) / step * step : up);
        }
        begin[b + 1] = end;
    }
    begin[bands + 1] = all;
}

static void set_levels(const struct choose_job *job, const struct ranking *r) {
    int64_t begin[SELECT_BAND_ROOM + 1];
    find_bands(job, r, begin);
    for (int64_t i = 0; i < job->count; i++)
        job->levels[i] = (int32_t)job->band_level[job->band_count - 1];
    for (int64_t b = 0; b < job->band_count; b++)
        for (int64_t i = begin[b]; i < begin[b + 1]; i++)
            job->levels[r->items[i].place] = (int32_t)job->band_level[b];
    for (int64_t i = 0; i < job->count; i++)
        if (job->forced[i])
            job->levels[i] = (int32_t)job->band_level[0];
}

void choose(const struct choose_job *job, void *scratch) {
    struct ranking r;
    int64_t ahead = 0;
    rank(job, &r, scratch);
    if (job->mode == CHOOSE_BANDS) {
        set_levels(job, &r);
        return;
    }
    for (int64_t i = 0; i < job->count; i++) {
        job->chosen[i] = job->forced[i];
        ahead += job->mode == CHOOSE_TOP && job->forced[i];
    }
    int64_t count = taken(job, &r, ahead);
    for (int64_t i = 0; i < count; i++)
        job->chosen[r.items[i].place] = 1;
}
