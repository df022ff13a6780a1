#include "compiler/analyse/sum.h"

static void add_term(struct sum *sum, const struct expr *node, int64_t factor) {
    for (int i = 0; i < sum->count; i++)
        if (sum->terms[i].node == node) {
            sum->failed |=
                __builtin_add_overflow(sum->terms[i].factor, factor, &sum->terms[i].factor);
            if (sum->terms[i].factor == 0)
                sum->terms[i] = sum->terms[--sum->count];
            return;
        }
    if (sum->count == MAX_TERMS)
        sum->failed = true;
    else
        sum->terms[sum->count++] = (struct term){node, factor};
}

void sum_add_constant(struct sum *sum, int64_t value, int64_t factor) {
    int64_t product;
    sum->failed |= __builtin_mul_overflow(value, factor, &product) ||
                   __builtin_add_overflow(sum->constant, product, &sum->constant);
}

void sum_add(struct sum *sum, const struct expr *e, int64_t factor) {
    if (sum->failed)
        return;
    int64_t product;
    switch (e->op) {
    case OP_INT:
        sum_add_constant(sum, e->payload.i, factor);
        return;
    case OP_NEG:
        sum_add(sum, e->args[0], -factor);
        return;
    case OP_ADD:
    case OP_SUB:
        sum_add(sum, e->args[0], factor);
        sum_add(sum, e->args[1], e->op == OP_ADD ? factor : -factor);
        return;
    case OP_MUL:
        for (int i = 0; i < 2; i++)
            if (e->args[i]->op == OP_INT &&
                !__builtin_mul_overflow(factor, e->args[i]->payload.i, &product)) {
                sum_add(sum, e->args[1 - i], product);
                return;
            }
        break;
    default:
        break;
    }
    add_term(sum, e, factor);
}

static const struct expr *scaled(struct solver *solver, const struct expr *node, int64_t factor) {
    return solve_op2(solver, OP_MUL, node, solve_number(solver, factor));
}

const struct expr *sum_rest(struct solver *solver, const struct sum *sum, int64_t sign) {
    const struct expr *rest = solve_number(solver, 0);
    for (int i = 0; i < sum->count; i++) {
        if (on_list(sum->terms[i].node))
            continue;
        int64_t factor = sum->terms[i].factor * sign;
        if (factor == -1)
            rest = solve_op2(solver, OP_SUB, rest, sum->terms[i].node);
        else
            rest = solve_op2(solver, OP_ADD, rest, scaled(solver, sum->terms[i].node, factor));
    }
    return solve_op2(solver, OP_ADD, rest, solve_number(solver, sum->constant * sign));
}

const struct term *sum_list_term(const struct sum *sum) {
    const struct term *found = NULL;
    for (int i = 0; i < sum->count; i++)
        if (on_list(sum->terms[i].node)) {
            if (found)
                return NULL;
            found = &sum->terms[i];
        }
    return found;
}

int sum_list_terms(const struct sum *sum) {
    int count = 0;
    for (int i = 0; i < sum->count; i++)
        count += on_list(sum->terms[i].node);
    return count;
}
