#include "runtime/cuda/cuda_spec.h"

#include <string.h>

void cuda_spec(const struct plan *plan, struct sm90_spec *out) {
    const struct abi_launch *launch = &plan->launch;
    memset(out, 0, sizeof *out);
    out->dtype = (int)plan->dtype;
    out->dim = (int)plan->dim;
    out->basis = plan->basis;
    out->axes = plan->basis_axes;
    for (int a = 0; a < ABI_AXES; a++) {
        out->query_tile[a] = (int)plan->query_tile[a];
        out->key_tile[a] = (int)launch->tile[a];
        out->dilated[a] = launch->dilation[a] != 1;
    }
    for (int p = 0; p < plan->program->pattern->axis_count; p++) {
        out->axis_basis[p] = (int)launch->axis_basis[p];
        out->fused[p] = launch->axis_divisor[p] != 1 || launch->axis_modulus[p] != 0;
    }
    out->narrow = launch->narrow != 0;
    out->scale_first = plan->program->pattern->score != NULL || plan->scale < 0.0;
}
