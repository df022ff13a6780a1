#include "cli/selected.h"

#include "cli/command.h"
#include "runtime/selection.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MEMBER(name) offsetof(struct selected_args, name)
const struct option_row selected_options[SELECTED_OPTIONS] = {
    {"seed", 0, OPTION_INT, MEMBER(seed), "N", "of the normal q and k that are selected from (1)",
     NULL},
    {"q", 0, OPTION_TEXT, MEMBER(q), "FILE", NULL, NULL},
    {"k", 0, OPTION_TEXT, MEMBER(k), "FILE", "or these, .npy, [batch, heads, tokens, dim]", NULL},
    {"dump-sets", 0, OPTION_TEXT, MEMBER(dump), "DIR", "write each set as DIR/NAME.npy", NULL},
};

int selected_read(struct selected_args *args, struct problem_shape *out_shape) {
    if (!args->q != !args->k)
        return usage_error("--q and --k go together");
    return tensor_files_read(&args->files, args->q, args->k, args->k, out_shape);
}

static enum heddle_status select_once(struct plan *plan, const struct tensors *tensors,
                                      struct error *error) {
    struct thread_pool *threads;
    enum heddle_status status = thread_pool_create(0, &threads, error);
    if (status == HEDDLE_OK)
        status = selection_run(plan, &tensors->run, threads, error);
    thread_pool_destroy(threads);
    return status;
}

int selected_run(const struct selected_args *args, struct plan *plan) {
    struct tensors tensors = {0};
    struct error error = {0};
    int status = EXIT_DONE;
    if (pattern_selects(plan->program->pattern)) {
        status = tensors_create(&tensors, plan, &args->files, (uint64_t)args->seed);
        if (status == EXIT_DONE && select_once(plan, &tensors, &error) != HEDDLE_OK)
            status = fail(&error);
        tensors_destroy(&tensors);
    }
    if (status == EXIT_DONE && args->dump)
        status = selected_dump(plan, args->dump);
    return status;
}

void selected_finish(struct selected_args *args) {
    tensor_files_finish(&args->files);
}

// ---- lists -----------------------------------------------------------------------------------

// A set's table, or a selection's levels, as lists.
struct lists {
    const struct pattern_input *input;
    const struct abi_array *array;
    int64_t count, width;
};

static bool find_lists(const struct plan *plan, int number, struct lists *out) {
    const struct pattern_input *input = &plan->program->pattern->inputs[number];
    *out = (struct lists){input, &plan->launch.env.arrays[number], 1, 0};
    if (!pattern_is_set(input) && !(input->derived && input->derived->is_select))
        return false;
    for (int i = 0; i + 1 < out->array->index_count; i++)
        out->count *= out->array->extent[i];
    out->width = out->array->extent[out->array->index_count - 1];
    return true;
}

static int64_t length_of(const struct lists *lists, int64_t list) {
    int64_t length = 0;
    for (int64_t x = 0; x < lists->width; x++)
        length += pattern_is_set(lists->input)
                      ? ((const uint8_t *)lists->array->data)[list * lists->width + x] != 0
                      : ((const int32_t *)lists->array->data)[list * lists->width + x] != 0;
    return length;
}

struct lengths {
    int64_t least, most, sum;
};

static struct lengths lengths_of(const struct lists *lists) {
    struct lengths lengths = {.least = lists->count ? INT64_MAX : 0};
    for (int64_t i = 0; i < lists->count; i++) {
        int64_t length = length_of(lists, i);
        lengths.least = length < lengths.least ? length : lengths.least;
        lengths.most = length > lengths.most ? length : lengths.most;
        lengths.sum += length;
    }
    return lengths;
}

void selected_text(const struct plan *plan) {
    for (int i = 0; i < plan->program->pattern->input_count; i++) {
        struct lists lists;
        if (!find_lists(plan, i, &lists) || !lists.input->derived)
            continue;
        struct lengths lengths = lengths_of(&lists);
        printf("selected     %s: %.4g %s a list, %" PRId64 " to %" PRId64 ", of %" PRId64
               " lists\n",
               lists.input->name, lists.count ? (double)lengths.sum / (double)lists.count : 0.0,
               pattern_is_set(lists.input) ? "elements" : "levels above 0", lengths.least,
               lengths.most, lists.count);
    }
}

void selected_json(struct json *json, const struct plan *plan) {
    if (!pattern_selects(plan->program->pattern))
        return;
    json_begin(json, "selected", '{');
    for (int i = 0; i < plan->program->pattern->input_count; i++) {
        struct lists lists;
        if (!find_lists(plan, i, &lists) || !lists.input->derived)
            continue;
        struct lengths lengths = lengths_of(&lists);
        int64_t numbers[] = {lists.count, lengths.sum, lengths.least, lengths.most};
        json_ints(json, lists.input->name, numbers, 4);
    }
    json_end(json, '{');
}

// ---- files -----------------------------------------------------------------------------------

// The elements in ascending order, -1 after them; levels as they are.
static void fill_list(const struct lists *lists, int64_t list, int64_t room, int32_t *out) {
    if (!pattern_is_set(lists->input)) {
        memcpy(out, (const int32_t *)lists->array->data + list * room, (size_t)room * sizeof *out);
        return;
    }
    const uint8_t *table = (const uint8_t *)lists->array->data + list * lists->width;
    int64_t at = 0;
    for (int64_t x = 0; x < lists->width; x++)
        if (table[x])
            out[at++] = (int32_t)x;
    while (at < room)
        out[at++] = -1;
}

static int write_lists(const struct lists *lists, const char *path) {
    int64_t room = lists->width, shape[ABI_INDICES];
    struct error error = {0};
    if (pattern_is_set(lists->input))
        room = lengths_of(lists).most;
    room = room > 0 ? room : 1;
    int32_t *numbers = malloc((size_t)(lists->count * room + 1) * sizeof *numbers);
    if (!numbers) {
        complain("no memory for the lists of '%s'", lists->input->name);
        return EXIT_DEVICE;
    }
    for (int64_t i = 0; i < lists->count; i++)
        fill_list(lists, i, room, numbers + i * room);
    int rank = 0;
    const struct pattern_derived *derived = lists->input->derived;
    for (int i = 0; i + 1 < lists->array->index_count; i++)
        if (i > 0 || !derived || !derived->implicit_batch || lists->array->extent[0] > 1)
            shape[rank++] = lists->array->extent[i];
    shape[rank++] = room;
    enum heddle_status status = npy_write_ints(path, numbers, shape, rank, &error);
    free(numbers);
    return status == HEDDLE_OK ? EXIT_DONE : fail(&error);
}

int selected_dump(const struct plan *plan, const char *dir) {
    int status = EXIT_DONE;
    char path[4096];
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        complain("%s: %s", dir, strerror(errno));
        return EXIT_INPUT;
    }
    for (int i = 0; i < plan->program->pattern->input_count && status == EXIT_DONE; i++) {
        struct lists lists;
        if (!find_lists(plan, i, &lists))
            continue;
        int length = snprintf(path, sizeof path, "%s/%s.npy", dir, lists.input->name);
        if (length < 0 || (size_t)length >= sizeof path) {
            complain("%s: the path is too long", dir);
            return EXIT_INPUT;
        }
        status = write_lists(&lists, path);
    }
    return status;
}
