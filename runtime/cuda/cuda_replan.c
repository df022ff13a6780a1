#include "runtime/cuda/cuda_replan.h"

#include "runtime/bind.h"
#include "runtime/cuda/cuda_planner.h"
#include "runtime/lists.h"

#include <stdlib.h>
#include <string.h>

// ---- inputs of a new plan -----------------------------------------------------------------------

static enum heddle_status input_bytes(const struct heddle_input *input, size_t *out,
                                      struct error *error) {
    *out = input->element == HEDDLE_INT64 ? 8 : 4;
    bool sound = input->data && input->rank >= 0 && input->rank <= 4;
    for (int i = 0; sound && i < input->rank; i++)
        sound = input->shape[i] >= 0 && !__builtin_mul_overflow(*out, (size_t)input->shape[i], out);
    if (!sound)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "input '%s' has no data, or a shape that is none", input->name);
    return HEDDLE_OK;
}

static enum heddle_status fetch(const struct cuda_device *device, struct heddle_input *input,
                                void **out, struct error *error) {
    size_t bytes;
    enum heddle_status status = input_bytes(input, &bytes, error);
    if (status != HEDDLE_OK)
        return status;
    *out = malloc(bytes + 1);
    if (!*out)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for input '%s'", input->name);
    CUresult result = device->api->MemcpyDtoH(*out, (CUdeviceptr)(uintptr_t)input->data, bytes);
    input->data = *out;
    input->on_device = 0;
    return cuda_status(device->api, result, "reading an input", error);
}

enum heddle_status cuda_problem_fetch(const struct cuda_device *device,
                                      const struct heddle_problem *problem,
                                      struct cuda_problem *out, struct error *error) {
    size_t count = (size_t)problem->input_count;
    *out = (struct cuda_problem){.problem = *problem};
    out->inputs = calloc(count + 1, sizeof *out->inputs);
    out->fetched = calloc(count + 1, sizeof *out->fetched);
    if (!out->inputs || !out->fetched)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for the problem's inputs");
    out->problem.inputs = out->inputs;
    enum heddle_status status = cuda_device_enter(device, error);
    if (status != HEDDLE_OK)
        return status;
    for (size_t i = 0; i < count && status == HEDDLE_OK; i++) {
        out->inputs[i] = problem->inputs[i];
        if (problem->inputs[i].on_device)
            status = fetch(device, &out->inputs[i], &out->fetched[i], error);
    }
    cuda_device_leave(device);
    return status;
}

void cuda_problem_finish(struct cuda_problem *problem) {
    for (int i = 0; problem->fetched && i < problem->problem.input_count; i++)
        free(problem->fetched[i]);
    free(problem->fetched);
    free(problem->inputs);
    *problem = (struct cuda_problem){.inputs = NULL};
}

// ---- new contents -------------------------------------------------------------------------------

static enum heddle_status find_input(const struct plan *plan, const struct heddle_input *given,
                                     int *out, struct error *error) {
    const struct pattern *pattern = plan->program->pattern;
    int n = 0;
    while (n < pattern->input_count && (!pattern_is_given(&pattern->inputs[n]) ||
                                        strcmp(pattern->inputs[n].name, given->name) != 0))
        n++;
    if (n == pattern->input_count)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "pattern '%s' has no input '%s'",
                         pattern->name, given->name);
    for (int i = 0; i < pattern->input_count; i++)
        if (pattern->inputs[i].is_elements && pattern->inputs[i].set == n)
            return error_set(
                error, HEDDLE_BAD_ARGUMENT,
                "a quantifier runs over input set '%s', so it is fixed when the plan is "
                "made: make another plan",
                given->name);
    if (!given->on_device)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "input '%s' is in the host's memory: plans are made again from the GPU's "
                         "(on_device)",
                         given->name);
    *out = n;
    return bind_check_input(plan, &pattern->inputs[n], given, &plan->launch.env.arrays[n], error);
}

static enum heddle_status change(struct cuda_planner *p, int input,
                                 const struct heddle_input *given, CUstream stream,
                                 struct error *error) {
    const struct plan *plan = p->c->plan;
    const struct abi_array *array = &plan->launch.env.arrays[input];
    bool is_set = pattern_is_set(&plan->program->pattern->inputs[input]);
    struct array_change change = {.from = given->data,
                                  .to = (void *)(uintptr_t)p->arrays[input].data,
                                  .count = 1,
                                  .element = cuda_planner_element(plan->program->pattern, input),
                                  .wide = given->element == HEDDLE_INT64,
                                  .room = is_set ? given->shape[given->rank - 1] : 1,
                                  .width = array->extent[array->index_count - 1],
                                  .tokens = plan->keys,
                                  .range = plan->input_ranges[input]};
    for (int i = 0; i < given->rank; i++)
        change.count *= given->shape[i];
    change.outside = (uint32_t *)(uintptr_t)p->outside_at + input;
    enum heddle_status status = cuda_planner_clear(p, input, stream, error);
    if (status == HEDDLE_OK && is_set)
        status = cuda_planner_zero(p, input, stream, error);
    if (status == HEDDLE_OK)
        status = cuda_planner_change(p, &change, stream, error);
    return status == HEDDLE_OK ? cuda_planner_levels(p, input, stream, error) : status;
}

static enum heddle_status queue(struct cuda_planner *p, const struct heddle_input *inputs,
                                int count, CUstream stream, struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    for (int i = 0; i < count && status == HEDDLE_OK; i++) {
        int input = 0;
        status = find_input(p->c->plan, &inputs[i], &input, error);
        if (status == HEDDLE_OK)
            status = change(p, input, &inputs[i], stream, error);
    }
    return status == HEDDLE_OK ? cuda_planner_make(p, stream, error) : status;
}

static enum heddle_status need_planner(const struct cuda_plan *c, struct error *error) {
    if (c->planner)
        return HEDDLE_OK;
    return error_set(error, HEDDLE_BAD_ARGUMENT,
                     "the plan's lists are the host's: make it with HEDDLE_PLANNER_DEVICE");
}

// All inputs are looked at before anything is queued: a call that fails changes nothing.
enum heddle_status cuda_replan(struct cuda_plan *c, const struct heddle_input *inputs, int count,
                               CUstream stream, struct error *error) {
    int ignored;
    enum heddle_status status = need_planner(c, error);
    for (int i = 0; i < count && status == HEDDLE_OK; i++)
        status = find_input(c->plan, &inputs[i], &ignored, error);
    if (status == HEDDLE_OK)
        status = cuda_device_enter(c->device, error);
    if (status != HEDDLE_OK)
        return status;
    status = queue(c->planner, inputs, count, stream, error);
    cuda_device_leave(c->device);
    return status;
}

// ---- what became of the lists -------------------------------------------------------------------

static int64_t box_pairs(const struct plan *plan, int64_t box) { // of one tile
    const struct abi_query_box *at = &plan->launch.boxes[box];
    int64_t pairs = 1;
    for (int a = 0; a < ABI_AXES; a++)
        pairs *= (at->end[a] - at->begin[a]) * plan->launch.tile[a];
    return pairs;
}

static void count_lists(const struct plan *plan, const uint32_t *tiles, const uint32_t *merged,
                        struct heddle_lists *out) {
    int64_t boxes = plan->launch.box_count;
    out->lists = plan->row_count * boxes;
    out->merged = out->computed_pairs = 0;
    for (int64_t row = 0; row < plan->row_count; row++) {
        int64_t members = lists_members(plan, row);
        for (int64_t box = 0; box < boxes; box++) {
            out->merged += merged[row * boxes + box];
            out->computed_pairs += members * tiles[row * boxes + box] * box_pairs(plan, box);
        }
    }
}

static enum heddle_status copy(const struct cuda_device *device, void *to, const void *from,
                               int64_t count, struct error *error) {
    CUresult result =
        device->api->MemcpyDtoH(to, (CUdeviceptr)(uintptr_t)from, (size_t)count * sizeof(uint32_t));
    return cuda_status(device->api, result, "fetching what became of lists", error);
}

enum heddle_status cuda_planner_lists(const struct cuda_planner *p, CUstream stream,
                                      struct heddle_lists *out, struct error *error) {
    const struct plan *plan = p->c->plan;
    const struct cuda_device *device = p->c->device;
    int64_t lists = list_count(&p->list_job), inputs = plan->program->pattern->input_count;
    uint32_t *words = calloc((size_t)(2 * lists + inputs), sizeof *words);
    if (!words)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory to look at lists");
    enum heddle_status status =
        cuda_status(device->api, device->api->StreamSynchronize(stream), "planning", error);
    if (status == HEDDLE_OK)
        status = copy(device, words, p->list_job.tiles, lists, error);
    if (status == HEDDLE_OK)
        status = copy(device, words + lists, p->list_job.merged, lists, error);
    if (status == HEDDLE_OK && inputs)
        status =
            copy(device, words + 2 * lists, (const void *)(uintptr_t)p->outside_at, inputs, error);
    if (status == HEDDLE_OK)
        count_lists(plan, words, words + lists, out);
    out->clamped_inputs = 0;
    for (int64_t i = 0; i < inputs; i++)
        out->clamped_inputs += words[2 * lists + i];
    free(words);
    return status;
}

enum heddle_status cuda_plan_lists(struct cuda_plan *c, CUstream stream, struct heddle_lists *out,
                                   struct error *error) {
    enum heddle_status status = need_planner(c, error);
    if (status == HEDDLE_OK)
        status = cuda_device_enter(c->device, error);
    if (status != HEDDLE_OK)
        return status;
    status = cuda_planner_lists(c->planner, stream, out, error);
    cuda_device_leave(c->device);
    return status;
}
