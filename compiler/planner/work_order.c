// Part of the planner: the order of work. See work_order.h.

#include "compiler/planner/work_order.h"

#include "compiler/planner/on_device.h"

// What all workers do before any goes on. On a GPU each of the block's threads is one worker.
#ifdef HEDDLE_ON_DEVICE
#define EACH_WORKER(w) for (uint32_t w = device_thread(), turn = 0; turn < 1; turn++, device_sync())
#else
#define EACH_WORKER(w) for (uint32_t w = 0; w < ORDER_WORKERS; w++)
#endif

struct part { // consecutive items
    uint32_t begin, end;
};

// A worker's part of a section.
static struct part part_of(struct part section, uint32_t worker) {
    uint32_t each = (section.end - section.begin + ORDER_WORKERS - 1) / ORDER_WORKERS;
    uint32_t room = section.end - section.begin, begin = worker * each;
    begin = begin < room ? begin : room;
    uint32_t end = room - begin < each ? room : begin + each;
    return (struct part){section.begin + begin, section.begin + end};
}

static uint32_t item_tiles(const struct order_job *job, uint32_t item) {
    uint32_t head = item / job->box_count, box = item % job->box_count;
    return job->tiles[(uint32_t)job->heads[head].list_row * job->box_count + box];
}

static void find_limits(const struct order_job *job, struct part part, uint32_t *least,
                        uint32_t *most) {
    *least = UINT32_MAX;
    *most = 0;
    for (uint32_t i = part.begin; i < part.end; i++) {
        uint32_t tiles = item_tiles(job, i);
        *least = tiles < *least ? tiles : *least;
        *most = tiles > *most ? tiles : *most;
    }
}

// Longest first: digits of what an item lacks to the longest.
static uint32_t digit_of(const struct order_job *job, uint32_t item, uint32_t most, int shift) {
    return (most - item_tiles(job, item)) >> shift & (ORDER_DIGITS - 1);
}

static void count_digits(const struct order_job *job, const uint32_t *from, struct part part,
                         uint32_t most, int shift, uint32_t worker, uint32_t *counts) {
    for (int digit = 0; digit < ORDER_DIGITS; digit++)
        counts[digit * ORDER_WORKERS + worker] = 0;
    for (uint32_t i = part.begin; i < part.end; i++)
        counts[digit_of(job, from[i], most, shift) * ORDER_WORKERS + worker]++;
}

// Counts lie by digit, then worker: the sum of those before one is where its first item goes. Each
// worker adds up ORDER_DIGITS neighbours; the first worker adds up the sums.
static uint32_t sum_counts(const uint32_t *counts) {
    uint32_t sum = 0;
    for (int i = 0; i < ORDER_DIGITS; i++)
        sum += counts[i];
    return sum;
}

static void sum_before(uint32_t *values, uint32_t count, uint32_t sum) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t here = values[i];
        values[i] = sum;
        sum += here;
    }
}

static void place_items(const struct order_job *job, const uint32_t *from, uint32_t *to,
                        struct part part, uint32_t most, int shift, uint32_t worker,
                        uint32_t *counts) {
    for (uint32_t i = part.begin; i < part.end; i++)
        to[counts[digit_of(job, from[i], most, shift) * ORDER_WORKERS + worker]++] = from[i];
}

static void sort_pass(const struct order_job *job, struct order_scratch *s, const uint32_t *from,
                      uint32_t *to, struct part section, uint32_t most, int shift) {
    EACH_WORKER(w)
    count_digits(job, from, part_of(section, w), most, shift, w, s->counts);
    EACH_WORKER(w)
    s->sums[w] = sum_counts(s->counts + w * ORDER_DIGITS);
    EACH_WORKER(w)
    if (w == 0)
        sum_before(s->sums, ORDER_WORKERS, section.begin);
    EACH_WORKER(w)
    sum_before(s->counts + w * ORDER_DIGITS, ORDER_DIGITS, s->sums[w]);
    EACH_WORKER(w)
    place_items(job, from, to, part_of(section, w), most, shift, w, s->counts);
}

void order_section(const struct order_job *job, uint32_t number, struct order_scratch *s) {
    uint32_t first = number * job->section_heads, heads = job->head_count - first;
    heads = heads < job->section_heads ? heads : job->section_heads;
    struct part section = {first * job->box_count, (first + heads) * job->box_count};
    EACH_WORKER(w)
    find_limits(job, part_of(section, w), &s->least[w], &s->most[w]);
    uint32_t least = UINT32_MAX, most = 0;
    for (int w = 0; w < ORDER_WORKERS; w++) {
        least = s->least[w] < least ? s->least[w] : least;
        most = s->most[w] > most ? s->most[w] : most;
    }
    int passes = 0;
    while (passes * ORDER_DIGIT_BITS < 32 && (most - least) >> (passes * ORDER_DIGIT_BITS))
        passes++;
    // The last pass writes into `order`.
    uint32_t *from = passes % 2 ? job->spare : job->order;
    uint32_t *to = passes % 2 ? job->order : job->spare;
    EACH_WORKER(w) {
        struct part part = part_of(section, w);
        for (uint32_t i = part.begin; i < part.end; i++)
            from[i] = i;
    }
    for (int pass = 0; pass < passes; pass++) {
        sort_pass(job, s, from, to, section, most, pass * ORDER_DIGIT_BITS);
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
}
