#include "compiler/planner/shape.h"

bool shape_empty(const struct shape *s) {
    for (int a = 0; a < ABI_AXES; a++)
        if (s->axis[a].begin >= s->axis[a].end)
            return true;
    return false;
}

int shape_comb_axis(const struct shape *s) {
    for (int a = 0; a < ABI_AXES; a++)
        if (s->axis[a].period)
            return a;
    return -1;
}

bool shape_is_comb(const struct shape *s) {
    return shape_comb_axis(s) >= 0;
}

bool shape_meet(const struct shape *a, const struct shape *b) {
    for (int i = 0; i < ABI_AXES; i++)
        if (a->axis[i].begin >= b->axis[i].end || b->axis[i].begin >= a->axis[i].end)
            return false;
    return true;
}

bool shape_inside(const struct shape *small, const struct shape *large) {
    for (int i = 0; i < ABI_AXES; i++)
        if (small->axis[i].begin < large->axis[i].begin || small->axis[i].end > large->axis[i].end)
            return false;
    return true;
}

int64_t extent_tooth_after(const struct extent *e, int64_t at) {
    return floor_div(at - e->phase - e->width, e->period) + 1;
}

int64_t extent_last_tooth(const struct extent *e) {
    return floor_div(e->end - 1 - e->phase, e->period);
}

struct extent extent_simplified(struct extent e) {
    if (e.period <= 0 || e.begin >= e.end)
        return extent_plain(e.begin, e.end);
    if (e.width <= 0)
        return extent_plain(0, 0);
    if (e.width >= e.period)
        return extent_plain(e.begin, e.end);
    int64_t first = extent_tooth_after(&e, e.begin);
    int64_t last = extent_last_tooth(&e);
    e.begin = greatest(e.begin, e.phase + first * e.period);
    e.end = least(e.end, e.phase + last * e.period + e.width);
    return first >= last ? extent_plain(e.begin, e.end) : e;
}

bool shape_join(struct shape *a, const struct shape *b) {
    int differing = -1;
    if (shape_is_comb(a) || shape_is_comb(b))
        return false;
    for (int i = 0; i < ABI_AXES; i++) {
        if (a->axis[i].begin == b->axis[i].begin && a->axis[i].end == b->axis[i].end)
            continue;
        if (differing >= 0)
            return false;
        differing = i;
    }
    if (differing < 0)
        return true;
    struct extent *x = &a->axis[differing];
    const struct extent *y = &b->axis[differing];
    if (x->begin > y->end || y->begin > x->end)
        return false;
    *x = extent_plain(least(x->begin, y->begin), greatest(x->end, y->end));
    return true;
}
