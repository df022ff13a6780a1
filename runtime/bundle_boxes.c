#include "runtime/bundle_boxes.h"

#include "compiler/bundle/bundle.h"
#include "runtime/schedule.h"

#include <math.h>

static bool boxes_at(const struct plan *plan, int number, struct sm90_spec *out) {
    return plan->program->bundle &&
           bundle_gpu_boxes(plan->program->bundle, (int)plan->dtype, (int)plan->dim, number, out);
}

bool bundle_boxes_decide(const struct plan *plan) {
    struct sm90_spec spec;
    return plan->options.target == HEDDLE_TARGET_CUDA && !plan->options.key_major &&
           !schedule_is_forced(&plan->options) && boxes_at(plan, 0, &spec);
}

static enum heddle_status choose_in(struct plan *plan, const struct sm90_spec *spec,
                                    struct error *error) {
    struct plan_options free_to_choose = plan->options;
    plan->options.basis = spec->basis;
    for (int a = 0; a < ABI_AXES; a++) {
        plan->options.query_tile[a] = spec->query_tile[a];
        plan->options.key_tile[a] = spec->key_tile[a];
    }
    enum heddle_status status = schedule_choose(plan, NULL, error);
    plan->options = free_to_choose;
    return status;
}

// Boxes that this problem cannot be planned in are left out; with none left, that is the failure.
enum heddle_status bundle_boxes_choose(struct plan *plan, struct error *error) {
    struct sm90_spec spec, best = {0};
    double least_ms = INFINITY;
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; boxes_at(plan, i, &spec); i++) {
        status = choose_in(plan, &spec, error);
        double ms = status == HEDDLE_OK ? plan->candidates[plan->chosen].row_ms : INFINITY;
        if (ms < least_ms) {
            best = spec;
            least_ms = ms;
        }
    }
    if (least_ms == INFINITY)
        return status;
    error_finish(error);
    return choose_in(plan, &best, error);
}
