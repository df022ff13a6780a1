// The order in which a GPU's blocks take items: sections of key/value heads whose K and V stay in
// the second-level cache, one after the other; inside, the longest items first, so that blocks end
// together; items of one length by number. Plain C, also compiled for a GPU.
#ifndef HEDDLE_COMPILER_PLANNER_WORK_ORDER_H
#define HEDDLE_COMPILER_PLANNER_WORK_ORDER_H

#include "compiler/sm90/sm90_args.h"

struct order_job {
    const uint32_t *tiles;         // by list: how long an item is
    const struct sm90_head *heads; // by batch * heads + head
    uint32_t head_count;           // batches * heads
    uint32_t section_heads;        // consecutive ones that are a section
    uint32_t box_count;
    // Items by work number, [head_count * box_count], and as much for scratch. The caller's.
    uint32_t *order, *spare;
};

// A stable counting sort by digits, the same on every machine: each worker counts and places its
// own consecutive part of a section.
enum { ORDER_WORKERS = 256, ORDER_DIGIT_BITS = 4, ORDER_DIGITS = 1 << ORDER_DIGIT_BITS };
struct order_scratch { // in a GPU's shared memory
    uint32_t counts[ORDER_DIGITS * ORDER_WORKERS];
    uint32_t sums[ORDER_WORKERS], least[ORDER_WORKERS], most[ORDER_WORKERS];
};

static inline uint32_t order_sections(const struct order_job *job) {
    return (job->head_count + job->section_heads - 1) / job->section_heads;
}

// Sorts one section. On a GPU the ORDER_WORKERS threads of a block call it together.
void order_section(const struct order_job *job, uint32_t section, struct order_scratch *scratch);

#endif
