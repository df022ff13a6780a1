#include "cli/target.h"

#include "cli/command.h"

#include <stdio.h>

// args->target is 0 when not given, else the choice's number + 1.
int target_open(struct target *target, const struct problem_args *args) {
    bool given = args->target != 0;
    enum heddle_target wanted = given ? (enum heddle_target)(args->target - 1) : HEDDLE_TARGET_AUTO;
    bool fp32 = args->dtype == HEDDLE_F32 + 1;
    struct error error = {0};
    *target = (struct target){.kind = HEDDLE_TARGET_CPU};
    if (wanted == HEDDLE_TARGET_CPU || (fp32 && wanted == HEDDLE_TARGET_AUTO))
        return EXIT_DONE;
    if (cuda_device_open(&target->device, &error) == HEDDLE_OK) {
        target->kind = HEDDLE_TARGET_CUDA;
        return EXIT_DONE;
    }
    if (wanted == HEDDLE_TARGET_CUDA) {
        error_context(&error, "--target cuda");
        return fail(&error);
    }
    if (given)
        complain("running on the CPU: %s", error_text(&error));
    error_finish(&error);
    return EXIT_DONE;
}

void target_close(struct target *target) {
    cuda_device_close(&target->device);
}
