// Between llvm_unit.c and llvm_jit.c: machine code in this process, and how LLVM's failures become
// statuses. Emitters use llvm_unit.h only.
#ifndef HEDDLE_COMPILER_LLVM_JIT_H
#define HEDDLE_COMPILER_LLVM_JIT_H

#include "compiler/llvm/llvm_unit.h"

#include <llvm-c/Error.h>

// A status from an LLVM error (consumed; NULL is success) or from what the diagnostic handler saw.
enum heddle_status llvm_status(struct llvm_unit *unit, struct LLVMOpaqueError *failure,
                               const char *what, struct error *error);
// Runs the code generator over `module` (and spoils it). The caller disposes the buffer.
enum heddle_status llvm_emit(struct llvm_unit *unit, LLVMModuleRef module, LLVMCodeGenFileType type,
                             const char *what, LLVMMemoryBufferRef *out_buffer,
                             struct error *error);
// Dumps the IR, and with HEDDLE_DEBUG=verify looks whether it is still sound.
enum heddle_status llvm_run_passes(struct llvm_unit *unit, const char *passes, struct error *error);
// Whether the usual passes would take minutes over a function of the module.
bool llvm_has_large_function(LLVMModuleRef module);
void llvm_jit_destroy(struct llvm_jit *jit); // NULL is fine

#endif
