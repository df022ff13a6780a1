#include "runtime/dump.h"

#include "compiler/analyse/facts.h"
#include "compiler/llvm/llvm_unit.h"
#include "compiler/pipeline.h"
#include "runtime/schedule.h"

#include <string.h>

static enum heddle_status dump_code(struct program *program, const struct plan *plan, bool assembly,
                                    struct strbuf *out, struct error *error) {
    const struct kernel_spec spec = {plan->dtype, (int)plan->dim, true};
    struct llvm_unit *unit;
    if (program->bundle)
        return error_set(error, HEDDLE_NO_COMPILER,
                         "a bundle holds machine code, and no stage '%s'",
                         assembly ? "asm" : "llvm");
    enum heddle_status status = program_listing(program, &spec, &unit, error);
    if (status == HEDDLE_OK && assembly)
        status = llvm_unit_assembly(unit, out, error);
    else if (status == HEDDLE_OK)
        llvm_unit_print(unit, out);
    llvm_unit_destroy(unit);
    return status;
}

static enum heddle_status dump_ptx(const struct plan *plan, struct strbuf *out,
                                   struct error *error) {
    if (!plan->ptx)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "stage 'ptx' is of plans for a GPU: --target cuda");
    strbuf_add(out, plan->ptx->ptx.text, plan->ptx->ptx.length);
    return HEDDLE_OK;
}

static enum heddle_status dump_planner(struct program *program, const struct plan *plan,
                                       struct strbuf *out, struct error *error) {
    const struct ptx_planner *planner;
    enum heddle_status status = program_ptx_planner(program, plan->basis, &planner, error);
    if (status == HEDDLE_OK)
        strbuf_add(out, planner->ptx.text, planner->ptx.length);
    return status;
}

enum heddle_status program_dump(struct program *program, const struct plan *plan, const char *stage,
                                struct strbuf *out, struct error *error) {
    if (strcmp(stage, "pattern") == 0) {
        pattern_print(program->pattern, out);
        return HEDDLE_OK;
    }
    if (strcmp(stage, "facts") == 0) {
        facts_print_sources(program->source_facts, program->pattern, out);
        return HEDDLE_OK;
    }
    if (!plan)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "stage '%s' needs a problem", stage);
    if (strcmp(stage, "schedule") == 0)
        schedule_print(plan, out);
    else if (strcmp(stage, "ptx") == 0)
        return dump_ptx(plan, out, error);
    else if (strcmp(stage, "plan-ptx") == 0)
        return dump_planner(program, plan, out, error);
    else if (strcmp(stage, "plan") == 0)
        plan_print(plan, out);
    else if (strcmp(stage, "llvm") == 0 || strcmp(stage, "asm") == 0)
        return dump_code(program, plan, strcmp(stage, "asm") == 0, out, error);
    else
        return error_set(error, HEDDLE_BAD_ARGUMENT, "there is no stage '%s'", stage);
    return HEDDLE_OK;
}
