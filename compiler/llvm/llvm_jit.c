// Machine code in this process: the module is compiled to an object in memory, and ORC's LLJIT
// links that. Handing ORC an object instead of a module keeps context and module in our hands
// (ORC's calls for sharing a context differ between LLVM releases, those for objects do not), and
// the same object is what compiler/cache keeps.
#include "compiler/llvm/llvm_jit.h"

#include "compiler/base/log.h"

#include <llvm-c/LLJIT.h>
#include <stdlib.h>

struct llvm_jit {
    LLVMOrcLLJITRef lljit;
};

void llvm_jit_destroy(struct llvm_jit *jit) {
    if (!jit)
        return;
    if (jit->lljit) {
        LLVMErrorRef failure = LLVMOrcDisposeLLJIT(jit->lljit);
        if (failure)
            LLVMConsumeError(failure);
    }
    free(jit);
}

// What links in the background is looked up, and fails, in llvm_unit_symbol; here it would be
// printed.
static void keep_quiet(void *context, LLVMErrorRef failure) {
    (void)context;
    LLVMConsumeError(failure);
}

static enum heddle_status link_object(struct llvm_unit *unit, LLVMMemoryBufferRef object,
                                      struct error *error) {
    struct llvm_jit *jit = calloc(1, sizeof *jit);
    if (!jit) {
        LLVMDisposeMemoryBuffer(object);
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory");
    }
    unit->jit = jit;
    enum heddle_status status =
        llvm_status(unit, LLVMOrcCreateLLJIT(&jit->lljit, NULL), "making the JIT", error);
    if (status) {
        jit->lljit = NULL;
        LLVMDisposeMemoryBuffer(object);
        return status;
    }
    LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(jit->lljit), keep_quiet,
                                            NULL);
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit->lljit);
    return llvm_status(unit, LLVMOrcLLJITAddObjectFile(jit->lljit, library, object), "linking",
                       error); // the buffer is ORC's now
}

static enum heddle_status already(struct error *error) {
    return error_set(error, HEDDLE_INTERNAL, "the unit's module is compiled already");
}

enum heddle_status llvm_unit_object(struct llvm_unit *unit, struct strbuf *out,
                                    struct error *error) {
    LLVMMemoryBufferRef object = NULL;
    if (!unit->module || unit->jit)
        return already(error);
    enum heddle_status status =
        llvm_emit(unit, unit->module, LLVMObjectFile, "code generation", &object, error);
    if (status)
        return status;
    strbuf_add(out, LLVMGetBufferStart(object), LLVMGetBufferSize(object));
    LLVMDisposeMemoryBuffer(object);
    LLVMDisposeModule(unit->module);
    unit->module = NULL;
    return out->failed ? error_set(error, HEDDLE_OUT_OF_MEMORY, "out of memory") : HEDDLE_OK;
}

enum heddle_status llvm_unit_load(struct llvm_unit *unit, const char *object, size_t bytes,
                                  struct error *error) {
    if (unit->jit)
        return already(error);
    if (unit->module)
        LLVMDisposeModule(unit->module);
    unit->module = NULL;
    struct stage stage = stage_begin("link");
    enum heddle_status status = link_object(
        unit, LLVMCreateMemoryBufferWithMemoryRangeCopy(object, bytes, "heddle"), error);
    stage_end(&stage);
    return status;
}

enum heddle_status llvm_unit_jit(struct llvm_unit *unit, struct error *error) {
    struct strbuf object = {0};
    enum heddle_status status = llvm_unit_object(unit, &object, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_load(unit, object.text, object.length, error);
    strbuf_finish(&object);
    return status;
}

enum heddle_status llvm_unit_symbol(struct llvm_unit *unit, const char *name, void **out_address,
                                    struct error *error) {
    *out_address = NULL;
    if (!unit->jit)
        return error_set(error, HEDDLE_INTERNAL, "'%s' looked up before the code was made", name);
    LLVMOrcExecutorAddress address = 0;
    LLVMErrorRef failure = LLVMOrcLLJITLookup(unit->jit->lljit, &address, name);
    enum heddle_status status = llvm_status(unit, failure, name, error);
    if (!status)
        *out_address = (void *)(uintptr_t)address;
    return status;
}
