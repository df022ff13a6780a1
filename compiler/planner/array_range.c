// Range queries over arrays by a pyramid of minima and maxima along the last index. See
// array_range.h and struct abi_array.

#include "compiler/planner/array_range.h"

#include <stdbool.h>

enum { MOST_ROWS = 64 };

static const double INFINITE = __builtin_inf();

// Elements as doubles: int32, float and bytes are exact in them.
static struct abi_pair element_at(const struct abi_array *array, enum abi_element element,
                                  int64_t at) {
    double x = element == ABI_FLOAT32 ? (double)((const float *)array->data)[at]
               : element == ABI_BYTE  ? (double)((const uint8_t *)array->data)[at]
                                      : (double)((const int32_t *)array->data)[at];
    if (x != x)
        return (struct abi_pair){-INFINITE, INFINITE};
    return (struct abi_pair){x, x};
}

static void include(struct abi_pair *sum, struct abi_pair x) {
    if (x.least < sum->least)
        sum->least = x.least;
    if (x.greatest > sum->greatest)
        sum->greatest = x.greatest;
}

static int64_t level_length(int64_t length, int level) {
    for (int i = 0; i < level; i++)
        length = (length + ABI_PYRAMID - 1) / ABI_PYRAMID;
    return length;
}

static struct abi_pair level_at(const struct abi_array *array, enum abi_element element, int level,
                                int64_t row, int64_t at) {
    int64_t length = array->extent[array->index_count - 1];
    if (level == 0)
        return element_at(array, element, row * length + at);
    return array->levels[level][row * level_length(length, level) + at];
}

// Nothing more to learn: of bytes, 0 and 1 were both seen.
static bool is_settled(enum abi_element element, const struct abi_pair *sum) {
    return element == ABI_BYTE && sum->least < sum->greatest;
}

static void include_bytes(const uint8_t *bytes, int64_t count, struct abi_pair *sum) { // 0 and 1
    uint8_t some = 0, all = 1;
    for (int64_t i = 0; i < count; i++) {
        some |= bytes[i];
        all &= bytes[i];
    }
    if (count > 0)
        include(sum, (struct abi_pair){all, some});
}

// Elements or pairs [begin, end) of one level of a row of so many.
static void include_level(const struct abi_array *array, enum abi_element element, int level,
                          int64_t row, int64_t length, int64_t begin, int64_t end,
                          struct abi_pair *sum) {
    if (level == 0 && element == ABI_BYTE)
        include_bytes((const uint8_t *)array->data + row * length + begin, end - begin, sum);
    else if (level == 0)
        for (int64_t at = row * length + begin; at < row * length + end; at++)
            include(sum, element_at(array, element, at));
    else
        for (int64_t at = row * length + begin; at < row * length + end; at++)
            include(sum, array->levels[level][at]);
}

// [begin, end) of one row: the ragged ends at this level, whole groups at the next.
static void include_row(const struct abi_array *array, enum abi_element element, int64_t row,
                        int64_t begin, int64_t end, struct abi_pair *sum) {
    int64_t length = array->extent[array->index_count - 1];
    for (int level = 0; begin < end && !is_settled(element, sum); level++) {
        bool top = level + 1 == ABI_PYRAMID_LEVELS || !array->levels[level + 1];
        int64_t first = (begin + ABI_PYRAMID - 1) / ABI_PYRAMID, last = end / ABI_PYRAMID;
        if (top || first >= last) {
            include_level(array, element, level, row, length, begin, end, sum);
            return;
        }
        include_level(array, element, level, row, length, begin, first * ABI_PYRAMID, sum);
        include_level(array, element, level, row, length, last * ABI_PYRAMID, end, sum);
        begin = first;
        end = last;
        length = (length + ABI_PYRAMID - 1) / ABI_PYRAMID;
    }
}

static int64_t clipped(int64_t x, int64_t extent) {
    return x < 0 ? 0 : x >= extent ? extent - 1 : x;
}

static void everything(enum abi_element element, struct abi_pair *out) {
    if (element == ABI_FLOAT32)
        *out = (struct abi_pair){-INFINITE, INFINITE};
    else
        *out = (struct abi_pair){element == ABI_BYTE ? 0 : INT32_MIN,
                                 element == ABI_BYTE ? 1 : INT32_MAX};
}

void array_range(const struct abi_array *array, int64_t element, const int64_t *lo,
                 const int64_t *hi, struct abi_range *out) {
    int last = (int)array->index_count - 1;
    int64_t first[ABI_INDICES], count[ABI_INDICES], rows = 1;
    for (int i = 0; i <= last; i++) {
        first[i] = clipped(lo[i], array->extent[i]);
        count[i] = clipped(hi[i], array->extent[i]) - first[i] + 1;
        if (i < last && rows <= MOST_ROWS)
            rows *= count[i];
    }
    struct abi_pair sum = {INFINITE, -INFINITE};
    if (rows > MOST_ROWS)
        everything((enum abi_element)element, &sum);
    for (int64_t r = 0; r < rows && rows <= MOST_ROWS; r++) {
        if (is_settled((enum abi_element)element, &sum))
            break;
        int64_t row = 0, digits = r, place[ABI_INDICES];
        for (int i = last - 1; i >= 0; i--) {
            place[i] = first[i] + digits % count[i];
            digits /= count[i];
        }
        for (int i = 0; i < last; i++)
            row = row * array->extent[i] + place[i];
        include_row(array, (enum abi_element)element, row, first[last], first[last] + count[last],
                    &sum);
    }
    if (element == ABI_FLOAT32) {
        out->least.r = sum.least;
        out->greatest.r = sum.greatest;
    } else {
        out->least.i = (int64_t)sum.least;
        out->greatest.i = (int64_t)sum.greatest;
    }
}

int64_t array_groups(const struct abi_array *array, int level) {
    int64_t rows = 1;
    for (int i = 0; i < array->index_count - 1; i++)
        rows *= array->extent[i];
    return rows * level_length(array->extent[array->index_count - 1], level);
}

bool array_has_level(const struct abi_array *array, int level) {
    return level < ABI_PYRAMID_LEVELS &&
           level_length(array->extent[array->index_count - 1], level - 1) > ABI_PYRAMID;
}

void array_build_group(const struct abi_array *array, int64_t element, int level, int64_t group,
                       struct abi_pair *out) {
    int64_t length = level_length(array->extent[array->index_count - 1], level - 1);
    int64_t groups = (length + ABI_PYRAMID - 1) / ABI_PYRAMID;
    int64_t row = group / groups, begin = group % groups * ABI_PYRAMID;
    int64_t end = begin + ABI_PYRAMID < length ? begin + ABI_PYRAMID : length;
    struct abi_pair sum = {INFINITE, -INFINITE};
    for (int64_t i = begin; i < end; i++)
        include(&sum, level_at(array, (enum abi_element)element, level - 1, row, i));
    out[group] = sum;
}
