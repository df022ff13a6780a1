// The planner on a GPU: its kernels' names and arguments. Shared by planner_device.c, which is
// compiled for the GPU, and runtime/cuda, which launches.
#ifndef HEDDLE_COMPILER_PLANNER_DEVICE_H
#define HEDDLE_COMPILER_PLANNER_DEVICE_H

#include "compiler/planner/array_change.h"
#include "compiler/planner/list_job.h"
#include "compiler/planner/work_order.h"

// heddle_plan_clear(word): sets a uint32_t to 0. heddle_plan_change(change): an input's new
// contents; the struct travels with the launch. heddle_plan_zero(table, bytes): before it, where
// the input is a set. heddle_plan_levels(array, element, level): one level of an array's pyramid.
// heddle_plan_lists(job, memory, space_bytes, spread): one worker every `spread` threads; worker
// n's memory begins at n * space_bytes. heddle_plan_order(job): a block of ORDER_WORKERS threads
// per section, as many as there are blocks at a time.
#define DEVICE_KERNEL_CLEAR "heddle_plan_clear"
#define DEVICE_KERNEL_CHANGE "heddle_plan_change"
#define DEVICE_KERNEL_ZERO "heddle_plan_zero"
#define DEVICE_KERNEL_LEVELS "heddle_plan_levels"
#define DEVICE_KERNEL_LISTS "heddle_plan_lists"
#define DEVICE_KERNEL_ORDER "heddle_plan_order"

#endif
