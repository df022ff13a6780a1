// What a kernel's work costs, by kind of device: the schedule compares boxes with it, `heddle
// explain` predicts time with it. All measured constants stand in one table in cost.c, with how to
// measure them again.
#ifndef HEDDLE_RUNTIME_COST_H
#define HEDDLE_RUNTIME_COST_H

#include "runtime/mask_ops.h"
#include "runtime/plan.h"

struct cost {             // in milliseconds of one worker: a multiprocessor, or a thread
    double full, partial; // a tile of the plan's key box
    double item;          // what an item costs besides its tiles
    // Of dense attention without a score, in the widest tiles of usual items, and of tall ones
    // where there are any: a full tile, its keys, and an item's rows and what they cost besides.
    struct cost_dense {
        double tile, keys, rows, item;
    } dense[2];
    int dense_count;
};

// For the plan's target, dtype, head dim and boxes.
struct cost cost_of(const struct plan *plan, const struct mask_ops *ops);

struct cost_device {  // where the constants of a target were measured
    const char *name; // "H100"; NULL for CPUs, whose rates are by what this one offers
    int workers;      // of that device; 0 for CPUs
    double launch_ms; // of all workers, once
};
struct cost_device cost_device_of(enum heddle_target target);

// How long a launch of `ms` really takes: long ones meet the device's power limit.
double cost_sustained(const struct plan *plan, double ms);

#endif
