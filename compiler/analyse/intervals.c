// Part of stage `analyse`: rules -> intervals. See intervals.h.

#include "compiler/analyse/intervals.h"

#include "compiler/analyse/conjunction.h"

#include <string.h>

struct group { // rules of which at most one holds for any query
    const struct rule *rules[MAX_RULES];
    int count;
};

static bool is_simple(const struct rule *rule) {
    bool periodic = false;
    for (int a = 0; a < ABI_AXES; a++)
        periodic |= rule->period[a].period != NULL;
    return rule->loop_count == 0 && rule->unsolved.count == 0 && !periodic;
}

static bool denies(const struct expr *a, const struct expr *b) {
    return a->op == OP_NOT && a->args[0] == b;
}

static bool exclude_each_other(const struct rule *a, const struct rule *b) {
    for (int i = 0; i < a->guards.count; i++)
        for (int j = 0; j < b->guards.count; j++)
            if (denies(a->guards.items[i], b->guards.items[j]) ||
                denies(b->guards.items[j], a->guards.items[i]))
                return true;
    return false;
}

static bool fits_group(const struct group *group, const struct rule *rule) {
    for (int i = 0; i < group->count; i++)
        if (!exclude_each_other(group->rules[i], rule))
            return false;
    return true;
}

// ---- expressions ------------------------------------------------------------------------------

static const struct expr *number(struct expr_graph *graph, int64_t value) {
    return expr_int(graph, (struct span){0}, value);
}

// Greatest (least) of a rule's bounds.
static const struct expr *join_bounds(struct expr_graph *graph, const struct expr_list *list,
                                      enum op op, int64_t free) {
    const struct expr *all = NULL;
    for (int i = 0; i < list->count; i++)
        all = all ? expr_op2(graph, op, all, list->items[i]) : list->items[i];
    return all ? all : number(graph, free);
}

static const struct expr *holds(struct expr_graph *graph, const struct rule *rule) {
    const struct expr *all = expr_bool(graph, (struct span){0}, true);
    for (int i = 0; i < rule->guards.count; i++)
        all = expr_op2(graph, OP_AND, all, rule->guards.items[i]);
    return all;
}

static bool bounds_axis(const struct group *group, int axis) {
    for (int i = 0; i < group->count; i++)
        if (group->rules[i]->lower[axis].count || group->rules[i]->upper[axis].count)
            return true;
    return false;
}

static bool has_guards(const struct group *group) {
    for (int i = 0; i < group->count; i++)
        if (group->rules[i]->guards.count)
            return true;
    return false;
}

// The bounds of the one rule that holds; none: nothing is kept.
static void axis_interval(struct expr_graph *graph, const struct group *group, int axis,
                          struct interval_set *set) {
    const struct expr *lower = number(graph, INTERVAL_FAR);
    const struct expr *upper = number(graph, -INTERVAL_FAR);
    for (int i = group->count; i-- > 0;) {
        const struct rule *rule = group->rules[i];
        const struct expr *when = holds(graph, rule);
        lower = expr_op3(graph, OP_SELECT_I, when,
                         join_bounds(graph, &rule->lower[axis], OP_MAX, -INTERVAL_FAR), lower);
        upper = expr_op3(graph, OP_SELECT_I, when,
                         join_bounds(graph, &rule->upper[axis], OP_MIN, INTERVAL_FAR), upper);
    }
    set->lower[axis] = lower;
    set->upper[axis] = upper;
}

static void group_set(struct expr_graph *graph, const struct group *group,
                      struct interval_set *set) {
    bool bounded = false;
    memset(set, 0, sizeof *set);
    for (int a = 0; a < ABI_AXES; a++)
        if (bounds_axis(group, a)) {
            axis_interval(graph, group, a, set);
            bounded = true;
        }
    // A condition on the query alone still needs an axis to say that nothing is kept.
    if (!bounded && has_guards(group))
        axis_interval(graph, group, ABI_AXES - 1, set);
}

// ---- sets -------------------------------------------------------------------------------------

bool interval_sets(struct expr_graph *graph, const struct rules *rules,
                   struct interval_part *part) {
    struct group groups[MAX_INTERVAL_SETS];
    int count = 0;
    for (int i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->items[i];
        int g = 0;
        if (!is_simple(rule))
            return false;
        while (g < count && !fits_group(&groups[g], rule))
            g++;
        if (g == MAX_INTERVAL_SETS)
            return false;
        if (g == count)
            groups[count++].count = 0;
        groups[g].rules[groups[g].count++] = rule;
    }
    part->sets = ARENA_ARRAY(graph->arena, struct interval_set, (size_t)count + 1);
    part->set_count = count;
    part->solved = true;
    for (int g = 0; g < count; g++)
        group_set(graph, &groups[g], &part->sets[g]);
    return true;
}

// ---- dump -------------------------------------------------------------------------------------

static void print_end(const struct expr *end, const struct expr_names *names, struct strbuf *out) {
    if (expr_is_int(end, INTERVAL_FAR) || expr_is_int(end, -INTERVAL_FAR))
        strbuf_puts(out, end->payload.i < 0 ? "-inf" : "inf");
    else
        expr_print(end, names, out);
}

static void print_set(const struct interval_set *set, const struct expr_names *names,
                      struct strbuf *out) {
    const char *before = "";
    for (int a = 0; a < ABI_AXES; a++) {
        if (!set->lower[a])
            continue;
        strbuf_printf(out, "%slist%d in ", before, a);
        print_end(set->lower[a], names, out);
        strbuf_puts(out, " .. ");
        print_end(set->upper[a], names, out);
        before = ", ";
    }
    strbuf_puts(out, *before ? "\n" : "everything\n");
}

void intervals_print(const struct intervals *intervals, const struct expr_names *names,
                     struct strbuf *out) {
    for (int i = 0; i < intervals->count; i++) {
        const struct interval_part *part = &intervals->parts[i];
        if (!part->solved) {
            strbuf_puts(out, "  mask pair by pair ");
            expr_print(part->keep, names, out);
            strbuf_puts(out, "\n");
        }
        for (int s = 0; s < part->set_count; s++) {
            strbuf_puts(out, s ? "    or " : part->pinned ? "  mask of a tile " : "  mask ");
            print_set(&part->sets[s], names, out);
        }
    }
}
