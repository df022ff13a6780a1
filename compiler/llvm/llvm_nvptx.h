// Units whose code is PTX for an NVIDIA GPU instead of machine code for this process: made here,
// then filled, verified and printed like any other (llvm_unit_assembly gives the PTX).
#ifndef HEDDLE_COMPILER_LLVM_NVPTX_H
#define HEDDLE_COMPILER_LLVM_NVPTX_H

#include "compiler/llvm/llvm_unit.h"

// cpu "sm_90a", features "+ptx83" and the like. HEDDLE_DEVICE_ERROR: LLVM before 22, which marks
// kernels and their parameters in another way.
enum heddle_status llvm_unit_create_nvptx(const char *cpu, const char *features,
                                          struct llvm_unit **out_unit, struct error *error);
// Adds a module of LLVM bitcode, made for the same machine. Afterwards only kernels are visible
// from outside.
enum heddle_status llvm_unit_link(struct llvm_unit *unit, const unsigned char *bitcode,
                                  size_t bytes, struct error *error);
// For units linked with compiled C: memory becomes registers, and what nothing calls goes.
enum heddle_status llvm_unit_optimize_linked(struct llvm_unit *unit, struct error *error);
// Shares what the emitters repeat per pair, and little else: the driver's assembler schedules.
enum heddle_status llvm_unit_optimize_nvptx(struct llvm_unit *unit, struct error *error);

#endif
