// Timing a plan, and the figures that run and bench report.
#ifndef HEDDLE_CLI_MEASURE_H
#define HEDDLE_CLI_MEASURE_H

#include "cli/json.h"
#include "cli/problem.h"
#include "cli/tensors.h"

struct timing { // of the timed runs, in milliseconds
    double median_ms, least_ms, most_ms;
    int64_t runs;
};

// Sorts the times of `runs` runs in place.
struct timing timing_of(double *ms, int64_t runs);

// What --threads N stands for: 0 for all processors, and held to what makes sense.
int thread_count(int64_t given);

// Runs `untimed` times, then `repeats` times against the clock. Exit status.
int measure(struct plan *plan, const struct tensors *tensors, int threads, int64_t untimed,
            int64_t repeats, struct timing *out);

struct figures {
    struct timing timing;
    int64_t pairs, kept_pairs, computed_pairs; // of all batches and heads
    bool kept_exact;
    double tflops_useful, tflops_computed; // 4 * dim * pairs / median time
};

struct figures figures_of(const struct plan *plan, const struct timing *timing);

// The lines and keys that every report starts with: what was run, where, how fast.
void report_text(const struct problem *problem, const struct plan *plan,
                 const struct figures *figures);
void report_json(struct json *json, const struct problem *problem, const struct plan *plan,
                 const struct figures *figures);
void report_target_text(const struct problem *problem); // the line that says where
void report_target_json(struct json *json, const struct problem *problem);
// The part of them that needs no run: pattern, axes, shape, parameters.
void report_problem_text(const struct problem *problem, const struct plan *plan);
void report_problem_json(struct json *json, const struct problem *problem, const struct plan *plan);
// How the plan was made: milliseconds, where it was made; a line without its end; keys.
double report_plan_ms(const struct plan *plan);
void report_plan_text(const struct plan *plan);
void report_tuned_text(const struct plan *plan); // a line, if boxes are measured ones
void report_plan_json(struct json *json, const struct plan *plan);
// "12.3 MiB"
struct bytes_text {
    char text[32];
};
struct bytes_text bytes_text(int64_t bytes);
// "16 x 8": of a box, along the last `axes` of ABI_AXES.
struct shape_text {
    char text[80];
};
struct shape_text shape_text(const int64_t *extents, int axes);

#endif
