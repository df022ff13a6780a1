#include "runtime/reference_rank.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// A score in single precision, of sums of up to some thousand terms, relative to the largest of its
// ranking.
static const double TOLERANCE = 1e-4;

struct sorted {
    const struct rank_rule *rule;
    int64_t *order; // places of candidates by rank
    int64_t count, forced;
    double tolerance;
};

static _Thread_local const struct rank_item *items_sorted;

static int by_rank(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    double left = items_sorted[x].score, right = items_sorted[y].score;
    if (left != right)
        return left > right ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool sort(const struct rank_rule *rule, struct sorted *out) {
    double most = 0.0;
    *out = (struct sorted){.rule = rule};
    out->order = calloc((size_t)rule->count + 1, sizeof *out->order);
    if (!out->order)
        return false;
    for (int64_t i = 0; i < rule->count; i++) {
        bool ahead = rule->mode == SELECT_TOP && rule->items[i].forced;
        out->forced += ahead;
        if (isnan(rule->items[i].score) || ahead)
            continue;
        out->order[out->count++] = i;
        if (isfinite(rule->items[i].score))
            most = fmax(most, fabs(rule->items[i].score));
    }
    items_sorted = rule->items;
    qsort(out->order, (size_t)out->count, sizeof *out->order, by_rank);
    out->tolerance = TOLERANCE * most;
    return true;
}

static double score_at(const struct sorted *s, int64_t rank) {
    return s->rule->items[s->order[rank]].score;
}

static int64_t bounded(const struct sorted *s, double count) {
    const struct rank_rule *rule = s->rule;
    if (rule->least >= 0 && count < rule->least)
        count = rule->least;
    if (rule->most >= 0 && count > rule->most)
        count = rule->most;
    count -= (double)s->forced; // of top: they stand in front
    return count <= 0 ? 0 : count >= (double)s->count ? s->count : (int64_t)count;
}

// How many ranks hold no more than this share of the sum, and, inclusive, one more.
static double mass_count(const struct sorted *s, double share) {
    double sum = 0.0, so_far = 0.0;
    int64_t count = 0;
    for (int64_t i = 0; i < s->count; i++)
        sum += fmax(score_at(s, i), 0.0);
    while (count < s->count && (so_far += fmax(score_at(s, count), 0.0)) <= share * sum)
        count++;
    return (double)(count + s->rule->inclusive);
}

static double above_count(const struct sorted *s, double threshold) {
    int64_t count = 0;
    while (count < s->count && score_at(s, count) > threshold)
        count++;
    return (double)count;
}

// The least and the most that rounding lets a run take.
static void count_range(const struct sorted *s, int64_t *least, int64_t *most) {
    const struct rank_rule *rule = s->rule;
    double low = rule->amount, high = rule->amount;
    if (rule->mode == SELECT_MASS) {
        low = mass_count(s, rule->amount * (1 - TOLERANCE));
        high = mass_count(s, rule->amount * (1 + TOLERANCE) + 1e-7);
    } else if (rule->mode == SELECT_ABOVE) {
        double apart = fmax(s->tolerance, TOLERANCE * fabs(rule->amount));
        low = above_count(s, rule->amount + apart);
        high = above_count(s, rule->amount - apart);
    }
    *least = bounded(s, low);
    *most = bounded(s, high);
}

// A score behind a cut that is within rounding of the last before it, and the other way round.
static bool near_before(const struct sorted *s, double score, int64_t cut) {
    return cut > 0 && fabs(score - score_at(s, cut - 1)) <= s->tolerance;
}
static bool near_after(const struct sorted *s, double score, int64_t cut) {
    return cut < s->count && fabs(score - score_at(s, cut)) <= s->tolerance;
}

static bool sets_agree(const struct sorted *s, int64_t *differences, char *why, size_t room) {
    const struct rank_rule *rule = s->rule;
    int64_t least, most, taken = 0;
    count_range(s, &least, &most);
    for (int64_t rank = 0; rank < s->count; rank++) {
        const struct rank_item *item = &rule->items[s->order[rank]];
        bool chosen = item->chosen != 0;
        if (item->forced) { // beside the ranking; whether it stands in front is not seen
            taken += rank < least;
            continue;
        }
        taken += chosen;
        bool must = rank < least, may = rank < most;
        if (chosen ? may : !must)
            continue;
        ++*differences;
        if (chosen ? near_before(s, item->score, most) : near_after(s, item->score, least))
            continue;
        snprintf(why, room,
                 "element %" PRId64 " of score %.9g and rank %" PRId64 " is %s, of %" PRId64
                 " to %" PRId64 " to take",
                 s->order[rank], item->score, rank, chosen ? "chosen" : "left", least, most);
        return false;
    }
    bool beside = rule->mode != SELECT_TOP;
    if (beside || (taken >= least && taken <= most))
        return true;
    snprintf(why, room, "%" PRId64 " are chosen, of %" PRId64 " to %" PRId64, taken, least, most);
    return false;
}

// ---- bands ------------------------------------------------------------------------------------

static double band_end(const struct sorted *s, int band, double factor) {
    const struct rank_rule *rule = s->rule;
    if (!rule->inclusive)
        return floor(rule->share[band] * (double)s->count);
    double end = mass_count(s, (rule->share[band] + 1e-6) * factor); // the next one, too
    return end > 1 ? end : 0;
}

static double first_bounded(const struct rank_rule *rule, double count) {
    if (rule->least >= 0 && count < rule->least)
        count = rule->least;
    return rule->most >= 0 && count > rule->most ? rule->most : count;
}

// Of shares of the sum, `factor` is how far rounding may move them.
static void band_ends(const struct sorted *s, double factor, int64_t *end) {
    const struct rank_rule *rule = s->rule;
    int64_t begin = 0;
    for (int b = 0; b + 1 < rule->band_count; b++) {
        double reach = band_end(s, b, factor);
        if (b == 0)
            reach = floor(first_bounded(rule, reach));
        end[b] = reach <= (double)begin      ? begin
                 : reach >= (double)s->count ? s->count
                                             : (int64_t)reach;
        int64_t step = rule->step[b] >= 1 ? (int64_t)fmin(rule->step[b], (double)s->count) : 1;
        if (step > 1 && end[b] > begin) {
            int64_t length = (end[b] - begin + step - 1) / step * step;
            end[b] =
                begin + (begin + length > s->count ? (s->count - begin) / step * step : length);
        }
        begin = end[b];
    }
    end[rule->band_count - 1] = s->count;
}

static int band_of(const int64_t *end, int64_t rank) {
    int band = 0;
    while (rank >= end[band])
        band++;
    return band;
}

static bool levels_agree(const struct sorted *s, int64_t *differences, char *why, size_t room) {
    const struct rank_rule *rule = s->rule;
    int64_t end[MAX_BANDS], low[MAX_BANDS], high[MAX_BANDS];
    band_ends(s, 1, end);
    band_ends(s, 1 - TOLERANCE, low);
    band_ends(s, 1 + TOLERANCE, high);
    for (int64_t rank = 0; rank < s->count; rank++) {
        const struct rank_item *item = &rule->items[s->order[rank]];
        int band = band_of(end, rank);
        if (item->forced || item->chosen == rule->level[band])
            continue;
        ++*differences;
        bool near = near_after(s, item->score, end[band]) ||
                    (band > 0 && near_before(s, item->score, end[band - 1])) ||
                    item->chosen == rule->level[band_of(low, rank)] ||
                    item->chosen == rule->level[band_of(high, rank)];
        if (near)
            continue;
        snprintf(why, room, "element %" PRId64 " of rank %" PRId64 " has level %d, not %" PRId64,
                 s->order[rank], rank, item->chosen, rule->level[band]);
        return false;
    }
    return true;
}

// What is forced, and what is no candidate.
static bool others_agree(const struct rank_rule *rule, char *why, size_t room) {
    bool bands = rule->mode == SELECT_BANDS;
    int64_t forced = bands ? rule->level[0] : 1;
    int64_t nothing = bands ? rule->level[rule->band_count - 1] : 0;
    for (int64_t i = 0; i < rule->count; i++) {
        const struct rank_item *item = &rule->items[i];
        if (!item->forced && !isnan(item->score))
            continue;
        if (item->chosen == (item->forced ? forced : nothing))
            continue;
        snprintf(why, room, "element %" PRId64 " is %s, and %s", i,
                 item->forced ? "forced" : "no candidate", item->forced ? "left" : "chosen");
        return false;
    }
    return true;
}

bool rank_agrees(const struct rank_rule *rule, int64_t *differences, char *why, size_t room) {
    struct sorted s;
    if (!sort(rule, &s)) {
        snprintf(why, room, "no memory to compare it");
        return false;
    }
    bool agrees = others_agree(rule, why, room) &&
                  (rule->mode == SELECT_BANDS ? levels_agree(&s, differences, why, room)
                                              : sets_agree(&s, differences, why, room));
    free(s.order);
    return agrees;
}
