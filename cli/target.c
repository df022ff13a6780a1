#include "cli/target.h"

#include "cli/command.h"
#include "runtime/cost.h"

#include <stdio.h>

// args->target is 0 when not given, else the choice's number + 1. A GPU takes no fp32.
static enum heddle_target wanted_target(const struct problem_args *args) {
    enum heddle_target wanted =
        args->target ? (enum heddle_target)(args->target - 1) : HEDDLE_TARGET_AUTO;
    bool fp32 = args->dtype == HEDDLE_F32 + 1;
    return wanted == HEDDLE_TARGET_AUTO && fp32 ? HEDDLE_TARGET_CPU : wanted;
}

int target_open(struct target *target, const struct problem_args *args) {
    enum heddle_target wanted = wanted_target(args);
    struct error error = {0};
    *target = (struct target){.kind = HEDDLE_TARGET_CPU};
    if (wanted == HEDDLE_TARGET_CPU)
        return EXIT_DONE;
    if (cuda_device_open(&target->device, &error) == HEDDLE_OK) {
        target->kind = HEDDLE_TARGET_CUDA;
        return EXIT_DONE;
    }
    if (wanted == HEDDLE_TARGET_CUDA) {
        error_context(&error, "--target cuda");
        return fail(&error);
    }
    if (args->target)
        complain("running on the CPU: %s", error_text(&error));
    error_finish(&error);
    return EXIT_DONE;
}

static bool find_gpu(struct cuda_device *out) {
    struct error error = {0};
    int count = cuda_device_count(&error);
    bool found = false;
    for (int i = 0; i < count && !found; i++)
        found = cuda_device_query(i, out, &error) == HEDDLE_OK &&
                cuda_device_check(out, &error) == HEDDLE_OK;
    error_finish(&error);
    return found;
}

static void assume_gpu(struct target *target) {
    struct cost_device measured = cost_device_of(HEDDLE_TARGET_CUDA);
    struct cuda_device *device = &target->device;
    *device = (struct cuda_device){.processors = measured.workers};
    snprintf(device->name, sizeof device->name, "%s", measured.name);
    target->assumed = true;
}

void target_look(struct target *target, const struct problem_args *args) {
    enum heddle_target wanted = wanted_target(args);
    *target = (struct target){.kind = HEDDLE_TARGET_CPU};
    if (wanted == HEDDLE_TARGET_CPU)
        return;
    bool found = find_gpu(&target->device);
    if (found || wanted == HEDDLE_TARGET_CUDA)
        target->kind = HEDDLE_TARGET_CUDA;
    if (!found && wanted == HEDDLE_TARGET_CUDA)
        assume_gpu(target);
}

void target_close(struct target *target) {
    cuda_device_close(&target->device);
}
