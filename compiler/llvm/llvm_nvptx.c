#include "compiler/llvm/llvm_nvptx.h"
#include "compiler/llvm/llvm_jit.h"

#include <llvm-c/BitReader.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <llvm/Config/llvm-config.h>
#include <pthread.h>

static const char TRIPLE[] = "nvptx64-nvidia-cuda";

static void init_target(void) {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
}

// The unit is made for the host and then turned over to the other machine: context, types and
// diagnostics are the same.
static enum heddle_status use_machine(struct llvm_unit *unit, const char *cpu, const char *features,
                                      struct error *error) {
    LLVMTargetRef target = NULL;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(TRIPLE, &target, &message)) {
        enum heddle_status status = error_set(
            error, HEDDLE_DEVICE_ERROR, "this LLVM has no back end for NVIDIA GPUs: %s", message);
        LLVMDisposeMessage(message);
        return status;
    }
    LLVMTargetMachineRef machine =
        LLVMCreateTargetMachine(target, TRIPLE, cpu, features, LLVMCodeGenLevelAggressive,
                                LLVMRelocDefault, LLVMCodeModelDefault);
    if (!machine)
        return error_set(error, HEDDLE_INTERNAL, "LLVM makes no target machine for %s", cpu);
    LLVMDisposeTargetMachine(unit->machine);
    unit->machine = machine;
    unit->on_gpu = true;
    LLVMSetTarget(unit->module, TRIPLE);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(unit->module, layout);
    LLVMDisposeTargetData(layout);
    return HEDDLE_OK;
}

enum heddle_status llvm_unit_create_nvptx(const char *cpu, const char *features,
                                          struct llvm_unit **out_unit, struct error *error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out_unit = NULL;
    if (LLVM_VERSION_MAJOR < 22)
        return error_set(error, HEDDLE_DEVICE_ERROR,
                         "kernels for NVIDIA GPUs need LLVM 22; this is LLVM %d",
                         LLVM_VERSION_MAJOR);
    pthread_once(&once, init_target);
    enum heddle_status status = llvm_unit_create(NULL, NULL, out_unit, error);
    if (status == HEDDLE_OK)
        status = use_machine(*out_unit, cpu, features, error);
    if (status != HEDDLE_OK) {
        llvm_unit_destroy(*out_unit);
        *out_unit = NULL;
    }
    return status;
}

static const char PIPELINE[] =
    "function(early-cse<memssa>,instcombine<max-iterations=1;no-verify-fixpoint>,simplifycfg,"
    "early-cse<memssa>,adce)";

static void hide_functions(LLVMModuleRef module) {
    enum { KERNEL = 71 }; // the calling convention of kernels
    for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f))
        if (!LLVMIsDeclaration(f) && LLVMGetFunctionCallConv(f) != KERNEL)
            LLVMSetLinkage(f, LLVMInternalLinkage);
}

enum heddle_status llvm_unit_link(struct llvm_unit *unit, const unsigned char *bitcode,
                                  size_t bytes, struct error *error) {
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRange((const char *)bitcode, bytes, "linked", false);
    LLVMModuleRef module = NULL;
    bool failed = LLVMParseBitcodeInContext2(unit->context, buffer, &module);
    LLVMDisposeMemoryBuffer(buffer);
    failed = failed || LLVMLinkModules2(unit->module, module); // takes the module in any case
    enum heddle_status status = llvm_status(unit, NULL, "linking", error);
    if (failed && status == HEDDLE_OK)
        status = error_set(error, HEDDLE_INTERNAL, "LLVM cannot link bitcode");
    if (status == HEDDLE_OK)
        hide_functions(unit->module);
    return status;
}

static const char LINKED_PIPELINE[] =
    "globaldce,function(sroa,early-cse<memssa>,"
    "instcombine<max-iterations=1;no-verify-fixpoint>,simplifycfg,"
    "loop-mssa(loop-simplifycfg,licm),gvn,"
    "instcombine<max-iterations=1;no-verify-fixpoint>,simplifycfg,adce)";
static const char LARGE_PIPELINE[] = "globaldce,function(sroa,adce)"; // see llvm_unit_optimize

enum heddle_status llvm_unit_optimize_nvptx(struct llvm_unit *unit, struct error *error) {
    return llvm_run_passes(unit, PIPELINE, error);
}

enum heddle_status llvm_unit_optimize_linked(struct llvm_unit *unit, struct error *error) {
    bool large = llvm_has_large_function(unit->module);
    return llvm_run_passes(unit, large ? LARGE_PIPELINE : LINKED_PIPELINE, error);
}
