// Makes a bundle: pieces are compiled one by one, then written together.
#ifndef HEDDLE_BUNDLE_BUNDLE_MAKE_H
#define HEDDLE_BUNDLE_BUNDLE_MAKE_H

#include "compiler/bundle/bundle.h"
#include "compiler/bundle/cpu_level.h"

struct made_piece; // with what it owns

struct bundle_maker {
    struct program *program; // compiled here; borrowed
    struct made_piece **pieces;
    int count, room;
    // Assembles PTX, or NULL: no cubins. Appends to *out; appending nothing is no failure.
    enum heddle_status (*assemble)(void *context, const char *ptx, struct strbuf *out,
                                   struct error *error);
    void *context; // of assemble
};

// Each adds what is not there yet, compiled or out of the cache. HEDDLE_LIMIT,
// HEDDLE_OUT_OF_MEMORY, HEDDLE_DEVICE_ERROR (built without a planner for GPUs), HEDDLE_INTERNAL.
enum heddle_status bundle_add_planner(struct bundle_maker *maker, const struct cpu_level *level,
                                      struct error *error);
// Nothing for a pattern without maps.
enum heddle_status bundle_add_maps(struct bundle_maker *maker, const struct cpu_level *level,
                                   struct error *error);
enum heddle_status bundle_add_kernel(struct bundle_maker *maker, const struct kernel_spec *spec,
                                     const struct cpu_level *level, struct error *error);
// Nothing for a pattern that selects nothing.
enum heddle_status bundle_add_select(struct bundle_maker *maker, const struct select_spec *spec,
                                     const struct cpu_level *level, struct error *error);
enum heddle_status bundle_add_gpu_kernel(struct bundle_maker *maker, const struct sm90_spec *spec,
                                         struct error *error);
enum heddle_status bundle_add_gpu_planner(struct bundle_maker *maker, int basis,
                                          struct error *error);

// Appends the bundle.
enum heddle_status bundle_finish(struct bundle_maker *maker, struct strbuf *out,
                                 struct error *error);
// What it holds, as bundle_contents says it.
void bundle_made_contents(const struct bundle_maker *maker, struct strbuf *out);
void bundle_maker_finish(struct bundle_maker *maker); // zeroed is fine

#endif
