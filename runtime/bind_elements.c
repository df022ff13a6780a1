// Part of stage `plan`: the elements of input sets, for quantifiers over them
// (dsl/check_elements.c).

#include "runtime/bind.h"

static int64_t count_bytes(const uint8_t *bytes, int64_t width) {
    int64_t count = 0;
    for (int64_t i = 0; i < width; i++)
        count += bytes[i];
    return count;
}

static void list_elements(const uint8_t *bytes, int64_t width, int32_t *out, int64_t room) {
    int64_t count = 0;
    for (int64_t i = 0; i < width; i++)
        if (bytes[i])
            out[count++] = (int32_t)i;
    while (count < room)
        out[count++] = -1;
}

void bind_elements(struct plan *plan, const struct pattern_input *input, struct abi_array *array) {
    const struct abi_array *set = &plan->launch.env.arrays[input->set];
    int last = input->index_count - 1;
    int64_t width = set->extent[last], lists = 1, room = 1; // an extent is never 0
    const uint8_t *bytes = set->data;
    for (int i = 0; i < last; i++)
        lists *= set->extent[i];
    for (int64_t list = 0; list < lists; list++) {
        int64_t count = count_bytes(bytes + list * width, width);
        room = count > room ? count : room;
    }
    int32_t *data = ARENA_ARRAY(&plan->arena, int32_t, (size_t)(lists * room));
    for (int64_t list = 0; list < lists; list++)
        list_elements(bytes + list * width, width, data + list * room, room);
    *array = (struct abi_array){.data = data, .index_count = set->index_count};
    for (int i = 0; i < ABI_INDICES; i++)
        array->extent[i] = i == last ? room : set->extent[i];
    union abi_slot *scalars = (void *)(uintptr_t)plan->launch.env.params; // the plan's own
    scalars[input->room].i = room;
}
