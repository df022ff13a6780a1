// A unit's life: create (context, machine, empty module) -> emitters fill the module -> verify ->
// optimize -> jit (module becomes machine code, llvm_jit.c) -> destroy.
//
// What LLVM reports arrives through the context's diagnostic handler and is kept in
// unit->messages, so that a failure's status carries LLVM's own words. Nothing is global but the
// one-time registration of the target.
#include "compiler/llvm/llvm_unit.h"

#include "compiler/base/cpu_tiles.h"
#include "compiler/base/debug.h"
#include "compiler/base/log.h"
#include "compiler/llvm/llvm_jit.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void init_target(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
}

static void keep_diagnostic(LLVMDiagnosticInfoRef info, void *context) {
    struct llvm_unit *unit = context;
    LLVMDiagnosticSeverity severity = LLVMGetDiagInfoSeverity(info);
    if (severity != LLVMDSError && severity != LLVMDSWarning)
        return;
    char *text = LLVMGetDiagInfoDescription(info);
    strbuf_printf(&unit->messages, "%s\n", text);
    LLVMDisposeMessage(text);
    if (severity == LLVMDSError)
        unit->failed = true;
}

// Whether "+name" stands in a comma-separated feature list.
static bool has_feature(const char *features, const char *name) {
    size_t length = strlen(name);
    for (const char *at = strstr(features, name); at; at = strstr(at + 1, name)) {
        bool starts = at > features && at[-1] == '+';
        bool ends = at[length] == '\0' || at[length] == ',';
        if (starts && ends)
            return true;
    }
    return false;
}

// The x86-64-vN names imply features that their list does not spell out.
static void read_features(struct llvm_unit *unit, const char *cpu, const char *features) {
    bool v4 = !strcmp(cpu, "x86-64-v4"), v3 = v4 || !strcmp(cpu, "x86-64-v3");
    unit->has_avx512 =
        v4 || (has_feature(features, "avx512f") && has_feature(features, "avx512bw") &&
               has_feature(features, "avx512dq") && has_feature(features, "avx512vl"));
    unit->has_fma = v3 || has_feature(features, "fma");
    unit->has_f16c = v3 || has_feature(features, "f16c");
    unit->has_avx512_bf16 = unit->has_avx512 && has_feature(features, "avx512bf16");
    unit->has_amx_bf16 = has_feature(features, "amx-bf16") && has_feature(features, "amx-tile");
    bool avx2 = v3 || has_feature(features, "avx2");
    unit->vector_bits = unit->has_avx512 ? 512 : avx2 ? 256 : 128;
}

static void name_types(struct llvm_unit *unit) {
    LLVMContextRef c = unit->context;
    unit->i1 = LLVMInt1TypeInContext(c);
    unit->i8 = LLVMInt8TypeInContext(c);
    unit->i16 = LLVMInt16TypeInContext(c);
    unit->i32 = LLVMInt32TypeInContext(c);
    unit->i64 = LLVMInt64TypeInContext(c);
    unit->f32 = LLVMFloatTypeInContext(c);
    unit->f64 = LLVMDoubleTypeInContext(c);
    unit->ptr = LLVMPointerTypeInContext(c, 0);
    unit->void_type = LLVMVoidTypeInContext(c);
}

static enum heddle_status make_machine(struct llvm_unit *unit, const char *cpu,
                                       const char *features, struct error *error) {
    char *triple = LLVMGetDefaultTargetTriple();
    LLVMTargetRef target = NULL;
    char *message = NULL;
    enum heddle_status status = HEDDLE_OK;
    if (strncmp(triple, "x86_64", 6)) {
        status = error_set(error, HEDDLE_DEVICE_ERROR, "no CPU target for '%s'", triple);
    } else if (LLVMGetTargetFromTriple(triple, &target, &message)) {
        status = error_set(error, HEDDLE_INTERNAL, "LLVM: %s", message);
        LLVMDisposeMessage(message);
    } else {
        unit->machine =
            LLVMCreateTargetMachine(target, triple, cpu, features, LLVMCodeGenLevelDefault,
                                    LLVMRelocPIC, LLVMCodeModelSmall);
        if (!unit->machine)
            status = error_set(error, HEDDLE_INTERNAL, "LLVM makes no target machine for %s", cpu);
        else
            LLVMSetTarget(unit->module, triple);
    }
    LLVMDisposeMessage(triple);
    return status;
}

enum heddle_status llvm_unit_create(const char *cpu, const char *features,
                                    struct llvm_unit **out_unit, struct error *error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_target);
    *out_unit = NULL;
    struct llvm_unit *unit = calloc(1, sizeof *unit);
    if (!unit)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory");
    unit->context = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(unit->context, keep_diagnostic, unit);
    LLVMContextSetDiscardValueNames(unit->context, false);
    unit->module = LLVMModuleCreateWithNameInContext("heddle", unit->context);
    unit->builder = LLVMCreateBuilderInContext(unit->context);
    name_types(unit);

    char *host_cpu = LLVMGetHostCPUName(), *host_features = LLVMGetHostCPUFeatures();
    const char *use_cpu = cpu ? cpu : host_cpu;
    const char *use_features = features ? features : cpu ? "" : host_features;
    read_features(unit, use_cpu, use_features);
    if (!cpu && !features && unit->has_amx_bf16)
        unit->has_amx_bf16 = cpu_may_use_tiles();
    enum heddle_status status = make_machine(unit, use_cpu, use_features, error);
    LLVMDisposeMessage(host_cpu);
    LLVMDisposeMessage(host_features);
    if (status) {
        llvm_unit_destroy(unit);
        return status;
    }
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(unit->machine);
    LLVMSetModuleDataLayout(unit->module, layout);
    LLVMDisposeTargetData(layout);
    *out_unit = unit;
    return HEDDLE_OK;
}

void llvm_unit_destroy(struct llvm_unit *unit) {
    if (!unit)
        return;
    llvm_jit_destroy(unit->jit);
    if (unit->builder)
        LLVMDisposeBuilder(unit->builder);
    if (unit->module)
        LLVMDisposeModule(unit->module);
    if (unit->machine)
        LLVMDisposeTargetMachine(unit->machine);
    LLVMContextDispose(unit->context);
    strbuf_finish(&unit->messages);
    free(unit);
}

void llvm_unit_target(const struct llvm_unit *unit, struct strbuf *out) {
    char *triple = LLVMGetTargetMachineTriple(unit->machine);
    char *cpu = LLVMGetTargetMachineCPU(unit->machine);
    char *features = LLVMGetTargetMachineFeatureString(unit->machine);
    strbuf_printf(out, "%s %s %s vector_bits=%d tiles=%d\n", triple, cpu, features,
                  unit->vector_bits, unit->has_amx_bf16);
    LLVMDisposeMessage(triple);
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(features);
}

static void dump(struct llvm_unit *unit, const char *end) {
    if (!(debug_words() & DEBUG_DUMP_LLVM))
        return;
    char *text = LLVMPrintModuleToString(unit->module);
    debug_dump(end, text, strlen(text));
    LLVMDisposeMessage(text);
}

enum heddle_status llvm_unit_verify(struct llvm_unit *unit, struct error *error) {
    char *message = NULL;
    bool broken = LLVMVerifyModule(unit->module, LLVMReturnStatusAction, &message);
    enum heddle_status status = HEDDLE_OK;
    if (broken)
        status = error_set(error, HEDDLE_INTERNAL, "malformed LLVM IR: %s", message);
    LLVMDisposeMessage(message);
    return status;
}

// Our IR comes in SSA form, vectorised and unrolled as it should be. What is left to do is tidying:
// fold, share, hoist what loops repeat, drop what is dead. default<O2> gives code no faster and
// takes several times as long.
static const char PIPELINE[] =
    "function(early-cse<memssa>,instcombine<max-iterations=1;no-verify-"
    "fixpoint>,simplifycfg,loop-mssa(loop-simplifycfg,licm),gvn,"
    "instcombine<max-iterations=1;no-verify-fixpoint>,simplifycfg,"
    "adce)";

// For functions of tens of thousands of instructions, where the passes above take minutes: chains
// of conditions cost them the square of their length.
static const char LARGE_PIPELINE[] = "function(adce)";
enum { LARGE_FUNCTION = 12000 }; // instructions

bool llvm_has_large_function(LLVMModuleRef module) {
    for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f)) {
        int count = 0;
        for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
            for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i))
                if (++count > LARGE_FUNCTION)
                    return true;
    }
    return false;
}

enum heddle_status llvm_run_passes(struct llvm_unit *unit, const char *passes,
                                   struct error *error) {
    dump(unit, "emitted.ll");
    struct stage stage = stage_begin("optimise");
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef failure = LLVMRunPasses(unit->module, passes, unit->machine, options);
    LLVMDisposePassBuilderOptions(options);
    enum heddle_status status = llvm_status(unit, failure, "optimisation", error);
    stage_end(&stage);
    dump(unit, "optimised.ll");
    return status == HEDDLE_OK && debug_words() & DEBUG_VERIFY ? llvm_unit_verify(unit, error)
                                                               : status;
}

enum heddle_status llvm_unit_optimize(struct llvm_unit *unit, struct error *error) {
    return llvm_run_passes(unit, llvm_has_large_function(unit->module) ? LARGE_PIPELINE : PIPELINE,
                           error);
}

enum heddle_status llvm_status(struct llvm_unit *unit, struct LLVMOpaqueError *failure,
                               const char *what, struct error *error) {
    if (failure) {
        char *message = LLVMGetErrorMessage(failure);
        enum heddle_status status =
            error_set(error, HEDDLE_INTERNAL, "LLVM, %s: %s", what, message);
        LLVMDisposeErrorMessage(message);
        return status;
    }
    if (unit->failed) {
        unit->failed = false;
        return error_set(error, HEDDLE_INTERNAL, "LLVM, %s: %s", what, unit->messages.text);
    }
    return HEDDLE_OK;
}

void llvm_unit_print(struct llvm_unit *unit, struct strbuf *out) {
    if (!unit->module)
        return;
    char *text = LLVMPrintModuleToString(unit->module);
    strbuf_puts(out, text);
    LLVMDisposeMessage(text);
}

// Code generation rewrites the module, so it works on a copy.
enum heddle_status llvm_unit_assembly(struct llvm_unit *unit, struct strbuf *out,
                                      struct error *error) {
    if (!unit->module)
        return error_set(error, HEDDLE_INTERNAL, "the unit's module is compiled already");
    LLVMModuleRef copy = LLVMCloneModule(unit->module);
    LLVMMemoryBufferRef buffer = NULL;
    enum heddle_status status = llvm_emit(unit, copy, LLVMAssemblyFile, "assembly", &buffer, error);
    LLVMDisposeModule(copy);
    if (!status) {
        strbuf_add(out, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
        if (debug_words() & DEBUG_DUMP_LLVM)
            debug_dump(unit->on_gpu ? "ptx" : "s", LLVMGetBufferStart(buffer),
                       LLVMGetBufferSize(buffer));
        LLVMDisposeMemoryBuffer(buffer);
    }
    return status;
}

enum heddle_status llvm_emit(struct llvm_unit *unit, LLVMModuleRef module, LLVMCodeGenFileType type,
                             const char *what, LLVMMemoryBufferRef *out_buffer,
                             struct error *error) {
    char *message = NULL;
    *out_buffer = NULL;
    struct stage stage = stage_begin("codegen");
    bool failed =
        LLVMTargetMachineEmitToMemoryBuffer(unit->machine, module, type, &message, out_buffer);
    stage_end(&stage);
    if (failed) {
        enum heddle_status status =
            error_set(error, HEDDLE_INTERNAL, "LLVM, %s: %s", what, message ? message : "failed");
        LLVMDisposeMessage(message);
        return status;
    }
    enum heddle_status status = llvm_status(unit, NULL, what, error);
    if (status) {
        LLVMDisposeMemoryBuffer(*out_buffer);
        *out_buffer = NULL;
    }
    return status;
}
