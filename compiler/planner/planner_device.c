// The planner's kernels, compiled by clang for NVIDIA GPUs when heddle is built (see meson.build)
// and linked with a pattern's own functions when a plan asks for them (planner_unit.c). The planner
// is the same source as on the host, here as one unit.

#include "compiler/planner/planner_device.h"

#include "compiler/planner/on_device.h"

#include "compiler/planner/array_change.c"
#include "compiler/planner/array_range.c"
#include "compiler/planner/list_job.c"
#include "compiler/planner/pieces.c"
#include "compiler/planner/regions.c"
#include "compiler/planner/shape.c"
#include "compiler/planner/tiles.c"
#include "compiler/planner/work_order.c"

#define KERNEL __attribute__((nvptx_kernel)) void
#define SHARED static __attribute__((address_space(3)))

static inline int64_t thread_of_all(void) {
    return (int64_t)device_block() * device_threads() + device_thread();
}
static inline int64_t all_threads(void) {
    return (int64_t)device_threads() * device_blocks();
}

KERNEL heddle_plan_clear(uint32_t *word) {
    *word = 0;
}

KERNEL heddle_plan_change(const struct array_change change) {
    array_change(&change, thread_of_all(), all_threads());
}

KERNEL heddle_plan_zero(void *table, int64_t bytes) {
    array_clear(table, bytes, thread_of_all(), all_threads());
}

KERNEL heddle_plan_levels(const struct abi_array *array, int64_t element, int64_t level) {
    int64_t groups = array_groups(array, (int)level);
    struct abi_pair *out = (struct abi_pair *)(uintptr_t)array->levels[level];
    for (int64_t i = thread_of_all(); i < groups; i += all_threads())
        array_build_group(array, element, (int)level, i, out);
}

KERNEL heddle_plan_lists(const struct list_job *job, char *memory, int64_t space_bytes,
                         int64_t spread) {
    int64_t thread = thread_of_all(), worker = thread / spread;
    if (thread % spread == 0)
        list_work(job, memory + worker * space_bytes, worker, all_threads() / spread);
}

KERNEL heddle_plan_order(const struct order_job *job) {
    SHARED struct order_scratch scratch;
    for (uint32_t section = device_block(); section < order_sections(job);
         section += device_blocks())
        order_section(job, section, (struct order_scratch *)&scratch);
}
