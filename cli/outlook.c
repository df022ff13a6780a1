#include "cli/outlook.h"

#include "cli/boxes.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "runtime/cost.h"
#include "runtime/cpu_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// ---- dense attention ----------------------------------------------------------------------------

static int workers_of(const struct problem *problem) {
    struct cpu_device cpu;
    if (problem->target->kind == HEDDLE_TARGET_CUDA)
        return problem->target->device.processors;
    cpu_device_query(&cpu);
    return cpu.threads;
}

// A gain of less is lost in what predictions are off by.
static bool is_faster(const struct prediction *prediction) {
    return prediction->ms < 0.98 * prediction->dense_ms;
}

// With another size of the first axis. False where the pattern has no such problem: a `require`
// fails, or an input has the old size.
static bool beats_at(const struct problem *problem, const struct plan *plan, int64_t size,
                     bool *out_beats) {
    struct heddle_problem spec = problem->spec;
    struct plan_options options = plan->options;
    struct plan *other;
    struct prediction prediction;
    struct error error = {0};
    spec.sizes[0] = size;
    options.on_device = false; // the lists are counted here
    bool made = plan_create(problem->program, &spec, &options, &other, &error) == HEDDLE_OK &&
                predict(other, workers_of(problem), &prediction);
    *out_beats = made && is_faster(&prediction);
    plan_destroy(other);
    error_finish(&error);
    return made;
}

// Down to where dense attention is as fast.
static void halve(const struct problem *problem, const struct plan *plan, struct outlook *out) {
    bool beats = true;
    while (beats && out->least > 1 && beats_at(problem, plan, out->least / 2, &beats)) {
        out->least /= 2;
        out->from = beats ? out->least : out->from;
    }
}

// Up to where dense attention no longer is as fast; planning takes longer at each step.
static void twice(const struct problem *problem, const struct plan *plan, struct outlook *out) {
    enum { MOST_STEPS = 4, MOST_TOKENS = 1 << 20 };
    bool beats = false;
    for (int i = 1; !beats && i <= MOST_STEPS && plan->keys << i <= MOST_TOKENS; i++) {
        if (!beats_at(problem, plan, 2 * out->most, &beats))
            return;
        out->most *= 2;
        out->from = beats ? out->most : 0;
    }
}

int outlook_of(const struct problem *problem, const struct plan *plan, struct outlook *out) {
    *out = (struct outlook){.axis = problem->program->pattern->axes[0]};
    if (!predict(plan, workers_of(problem), &out->now)) {
        complain("no memory to predict a time");
        return EXIT_DEVICE;
    }
    int64_t size = problem->spec.sizes[0];
    out->least = out->most = size;
    out->from = is_faster(&out->now) ? size : 0;
    struct progress progress;
    progress_begin(&progress, "comparing with dense attention", 0);
    if (is_faster(&out->now))
        halve(problem, plan, out);
    else
        twice(problem, plan, out);
    progress_end(&progress);
    return EXIT_DONE;
}

static const char *device_text(const struct plan *plan) {
    const char *name = cost_device_of(plan->options.target).name;
    return name ? name : "this CPU";
}

static void dense_text(const struct outlook *outlook, const struct plan *plan) {
    const struct prediction *now = &outlook->now;
    printf("predicted    about %.3g ms on %s, against %.3g ms dense (%.3g times as fast)\n",
           now->ms, device_text(plan), now->dense_ms, now->dense_ms / now->ms);
    if (outlook->from == 0)
        printf("dense        will not be beaten up to %s = %" PRId64 "\n", outlook->axis,
               outlook->most);
    else if (outlook->from == outlook->least)
        printf("dense        beaten from %s = %" PRId64 " on, or less\n", outlook->axis,
               outlook->from);
    else
        printf("dense        will not be beaten below about %s = %" PRId64 "\n", outlook->axis,
               outlook->from);
}

// ---- boxes --------------------------------------------------------------------------------------

static const char *mark_of(const struct plan *plan, const struct plan_candidate *one) {
    if (one == plan->candidates + plan->chosen)
        return plan->tuned ? "  chosen, tuned" : "  chosen";
    return one == plan->candidates + plan->predicted ? "  predicted best" : "";
}

static void candidate_text(const struct plan *plan, const struct plan_candidate *one) {
    boxes_text(plan->program, &one->boxes);
    printf(" %9.1f %9.1f %9.4f%s\n", one->full, one->partial, 1e3 * one->row_ms,
           mark_of(plan, one));
}

static void candidates_text(const struct plan *plan) {
    enum { SHOWN = 8 };
    const struct plan_candidate **ranks = boxes_ranked(plan);
    if (!ranks)
        return;
    boxes_heading("boxes");
    printf(" %9s %9s %9s\n", "full", "partial", "us a row");
    int shown = 0; // one that is marked may cost more than the best
    for (int i = 0; i < plan->candidate_count; i++)
        if (i < SHOWN || *mark_of(plan, ranks[i])) {
            candidate_text(plan, ranks[i]);
            shown++;
        }
    if (plan->candidate_count > shown)
        printf("             and %d more\n", plan->candidate_count - shown);
    free(ranks);
}

void outlook_text(const struct outlook *outlook, const struct plan *plan) {
    candidates_text(plan);
    dense_text(outlook, plan);
}

static void candidates_json(struct json *json, const struct plan *plan) {
    json_begin(json, "candidates", '[');
    for (int i = 0; i < plan->candidate_count; i++) {
        const struct plan_candidate *one = &plan->candidates[i];
        json_begin(json, NULL, '{');
        boxes_json(json, plan->program, &one->boxes);
        json_real(json, "full_tiles", one->full);
        json_real(json, "partial_tiles", one->partial);
        json_real(json, "row_ms", one->row_ms);
        json_bool(json, "predicted", i == plan->predicted);
        json_bool(json, "chosen", i == plan->chosen);
        json_end(json, '{');
    }
    json_end(json, '[');
}

void outlook_json(struct json *json, const struct outlook *outlook, const struct plan *plan) {
    candidates_json(json, plan);
    json_real(json, "predicted_ms", outlook->now.ms);
    json_real(json, "predicted_dense_ms", outlook->now.dense_ms);
    if (outlook->from)
        json_int(json, "beats_dense_from", outlook->from);
    else
        json_null(json, "beats_dense_from");
}
