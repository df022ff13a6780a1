// Part of stage `emit`, planner: the unit for a GPU. See planner_ptx.h.

#include "compiler/planner/planner_ptx.h"

#include "compiler/llvm/llvm_nvptx.h"
#include "compiler/planner/planner_device.h"
#include "compiler/planner/planner_emit.h"

#include <string.h>

// Registers for so many workers a multiprocessor; what does not fit goes to the stack.
static void limit_registers(struct llvm_unit *unit) {
    static const char *const limits[][2] = {{"nvvm.maxntid", "32"}, {"nvvm.maxnreg", "128"}};
    LLVMValueRef kernel = LLVMGetNamedFunction(unit->module, DEVICE_KERNEL_LISTS);
    for (int i = 0; i < 2; i++) {
        LLVMAttributeRef limit =
            LLVMCreateStringAttribute(unit->context, limits[i][0], (unsigned)strlen(limits[i][0]),
                                      limits[i][1], (unsigned)strlen(limits[i][1]));
        LLVMAddAttributeAtIndex(kernel, (unsigned)LLVMAttributeFunctionIndex, limit);
    }
}

static enum heddle_status fill(struct llvm_unit *unit, const struct pattern *pattern,
                               const struct facts *facts, int basis, struct strbuf *out,
                               struct error *error) {
    enum heddle_status status = planner_emit_device(unit, pattern, facts, basis, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_link(unit, planner_device_bitcode, planner_device_bitcode_bytes, error);
    if (status != HEDDLE_OK)
        return status;
    limit_registers(unit);
    status = llvm_unit_verify(unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_optimize_linked(unit, error);
    if (status == HEDDLE_OK)
        status = llvm_unit_assembly(unit, out, error);
    return status;
}

enum heddle_status planner_ptx(const struct pattern *pattern, const struct facts *facts, int basis,
                               struct strbuf *out, struct error *error) {
    struct llvm_unit *unit;
    if (!planner_ptx_possible())
        return error_set(error, HEDDLE_DEVICE_ERROR,
                         "this heddle was built without a planner for GPUs: building one takes "
                         "clang of LLVM's version (clang-22 beside llvm-22-dev)");
    enum heddle_status status =
        llvm_unit_create_nvptx(PLANNER_PTX_CPU, PLANNER_PTX_FEATURES, &unit, error);
    if (status == HEDDLE_OK)
        status = fill(unit, pattern, facts, basis, out, error);
    llvm_unit_destroy(unit);
    return status;
}
