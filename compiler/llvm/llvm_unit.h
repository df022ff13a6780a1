// The one owner of LLVM objects: a context, a module being filled, and after jitting the code.
// No LLVM object lives outside a unit. Every failure is a status; LLVM's messages are kept.
#ifndef HEDDLE_COMPILER_LLVM_UNIT_H
#define HEDDLE_COMPILER_LLVM_UNIT_H

#include "compiler/base/status.h"
#include "compiler/base/strbuf.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <stdbool.h>

struct llvm_unit {
    LLVMContextRef context;
    LLVMModuleRef module; // gone once compiled
    LLVMBuilderRef builder;
    LLVMTargetMachineRef machine;
    // What the code is made for; decided when the unit is made.
    // has_avx512: F, BW, DQ and VL together.
    bool on_gpu;
    bool has_avx512, has_avx512_bf16, has_amx_bf16, has_f16c, has_fma;
    int vector_bits; // 512, 256 or 128
    // Common types, owned by the context.
    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr, void_type;
    struct llvm_jit *jit;   // NULL until llvm_unit_load
    struct strbuf messages; // what LLVM reported through the context's diagnostic handler
    bool failed;            // an error was among them; cleared when a status reports it
};

// A unit for this host's CPU (or for `cpu`/`features` when given, as llc spells them). The has_*
// flags are read from the feature list and the names x86-64-v3 and x86-64-v4; a feature that
// another CPU name implies must be listed too to be used. For this host has_amx_bf16 also says that
// the system lets this process use tiles, which is asked for when the first unit is made.
enum heddle_status llvm_unit_create(const char *cpu, const char *features,
                                    struct llvm_unit **out_unit, struct error *error);
void llvm_unit_destroy(struct llvm_unit *unit); // NULL is fine; frees jitted code too

// Verifier; HEDDLE_INTERNAL with LLVM's text when the IR is malformed.
enum heddle_status llvm_unit_verify(struct llvm_unit *unit, struct error *error);
// Standard optimisation pipeline (default<O2>-like, tuned for compile time).
enum heddle_status llvm_unit_optimize(struct llvm_unit *unit, struct error *error);
void llvm_unit_print(struct llvm_unit *unit, struct strbuf *out); // IR
enum heddle_status llvm_unit_assembly(struct llvm_unit *unit, struct strbuf *out,
                                      struct error *error);
// What the unit's code is made for, as one line: two units of one line make the same code of the
// same IR, by the same LLVM.
void llvm_unit_target(const struct llvm_unit *unit, struct strbuf *out);
// Compiles the module, which is gone then, to an object: code that any process of this machine can
// load.
enum heddle_status llvm_unit_object(struct llvm_unit *unit, struct strbuf *out,
                                    struct error *error);
// Links an object of llvm_unit_object, made by a unit of the same target, into this process through
// ORC; afterwards llvm_unit_symbol finds functions. Drops the unit's module.
enum heddle_status llvm_unit_load(struct llvm_unit *unit, const char *object, size_t bytes,
                                  struct error *error);
// Both: compiles the module into this process.
enum heddle_status llvm_unit_jit(struct llvm_unit *unit, struct error *error);
enum heddle_status llvm_unit_symbol(struct llvm_unit *unit, const char *name, void **out_address,
                                    struct error *error);

#endif
