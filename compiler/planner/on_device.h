// What the planner's code needs of a GPU, where it is compiled for one. Private to
// compiler/planner.
#ifndef HEDDLE_COMPILER_PLANNER_ON_DEVICE_H
#define HEDDLE_COMPILER_PLANNER_ON_DEVICE_H

#include <stdint.h>

#ifdef HEDDLE_ON_DEVICE
static inline uint32_t device_thread(void) { // of the block
    return (uint32_t)__nvvm_read_ptx_sreg_tid_x();
}
static inline uint32_t device_threads(void) {
    return (uint32_t)__nvvm_read_ptx_sreg_ntid_x();
}
static inline uint32_t device_block(void) {
    return (uint32_t)__nvvm_read_ptx_sreg_ctaid_x();
}
static inline uint32_t device_blocks(void) {
    return (uint32_t)__nvvm_read_ptx_sreg_nctaid_x();
}
static inline void device_sync(void) { // all threads of the block, and what they wrote
    __syncthreads();
}
#endif

#endif
