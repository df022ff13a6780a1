#include "compiler/bundle/bundle_make.h"

#include "compiler/code.h"
#include "compiler/maps.h"
#include "compiler/pipeline.h"
#include "compiler/select/select_code.h"

#include <stdlib.h>
#include <string.h>

struct made_piece {
    struct piece piece;
    int spec[PIECE_MOST_SPEC];
    struct image_symbol symbols[IMAGE_MOST_SYMBOLS];
    struct strbuf object; // symbols' names lie in it
    struct strbuf code, cubin;
};

static void free_piece(struct made_piece *made) {
    strbuf_finish(&made->object);
    strbuf_finish(&made->code);
    strbuf_finish(&made->cubin);
    free(made);
}

// Bound to its buffers once they do not move any more.
static void settle(struct made_piece *made) {
    made->piece.spec = made->spec;
    made->piece.symbols = made->symbols;
    made->piece.code = made->code.text;
    made->piece.code_bytes = made->code.length;
    made->piece.cubin = made->cubin.text;
    made->piece.cubin_bytes = made->cubin.length;
}

static bool has(const struct bundle_maker *maker, const struct made_piece *wanted) {
    for (int i = 0; i < maker->count; i++) {
        const struct piece *piece = &maker->pieces[i]->piece;
        if (piece->kind == wanted->piece.kind && strcmp(piece->target, wanted->piece.target) == 0 &&
            piece->spec_count == wanted->piece.spec_count &&
            memcmp(piece->spec, wanted->spec, (size_t)piece->spec_count * sizeof(int)) == 0)
            return true;
    }
    return false;
}

// Takes the piece, or frees it.
static enum heddle_status keep(struct bundle_maker *maker, struct made_piece *made,
                               struct error *error) {
    if (maker->count == maker->room) {
        int room = maker->room ? 2 * maker->room : 16;
        struct made_piece **grown = realloc(maker->pieces, (size_t)room * sizeof *grown);
        if (!grown) {
            free_piece(made);
            return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle");
        }
        maker->pieces = grown;
        maker->room = room;
    }
    settle(made);
    maker->pieces[maker->count++] = made;
    return HEDDLE_OK;
}

typedef enum heddle_status make_fn(struct bundle_maker *maker, struct made_piece *made,
                                   const void *context, struct error *error);

// Adds a piece of which kind, target and spec are known, unless there is one.
static enum heddle_status add(struct bundle_maker *maker, const struct made_piece *wanted,
                              make_fn *make, const void *context, struct error *error) {
    if (has(maker, wanted))
        return HEDDLE_OK;
    struct made_piece *made = malloc(sizeof *made);
    if (!made)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle");
    *made = *wanted;
    enum heddle_status status = make(maker, made, context, error);
    if (status != HEDDLE_OK) {
        free_piece(made);
        return status;
    }
    return keep(maker, made, error);
}

// ---- CPUs ---------------------------------------------------------------------------------------

static enum heddle_status link_object(struct made_piece *made, struct error *error) {
    return image_link(made->object.text, made->object.length, &made->code, made->symbols,
                      &made->piece.symbol_count, error);
}

static enum heddle_status make_planner(struct bundle_maker *maker, struct made_piece *made,
                                       const void *context, struct error *error) {
    const struct cpu_level *level = context;
    enum heddle_status status = compile_planner_object(maker->program, SIDE_QUERY, level->cpu,
                                                       level->features, &made->object, error);
    return status == HEDDLE_OK ? link_object(made, error) : status;
}

enum heddle_status bundle_add_planner(struct bundle_maker *maker, const struct cpu_level *level,
                                      struct error *error) {
    struct made_piece wanted = {.piece = {.kind = PIECE_PLANNER, .target = level->name}};
    wanted.piece.spec_count = piece_of_planner(SIDE_QUERY, wanted.spec);
    return add(maker, &wanted, make_planner, level, error);
}

static enum heddle_status make_maps(struct bundle_maker *maker, struct made_piece *made,
                                    const void *context, struct error *error) {
    const struct cpu_level *level = context;
    enum heddle_status status =
        compile_maps_object(maker->program, level->cpu, level->features, &made->object, error);
    return status == HEDDLE_OK ? link_object(made, error) : status;
}

enum heddle_status bundle_add_maps(struct bundle_maker *maker, const struct cpu_level *level,
                                   struct error *error) {
    const struct made_piece wanted = {.piece = {.kind = PIECE_MAPS, .target = level->name}};
    if (!maker->program->pattern->map_count)
        return HEDDLE_OK;
    return add(maker, &wanted, make_maps, level, error);
}

struct kernel_job {
    const struct kernel_spec *spec;
    const struct cpu_level *level;
};

static enum heddle_status make_kernel(struct bundle_maker *maker, struct made_piece *made,
                                      const void *context, struct error *error) {
    const struct kernel_job *job = context;
    enum heddle_status status =
        compile_kernel_object(maker->program, job->spec, job->level->cpu, job->level->features,
                              &made->object, &made->piece.number, error);
    return status == HEDDLE_OK ? link_object(made, error) : status;
}

enum heddle_status bundle_add_kernel(struct bundle_maker *maker, const struct kernel_spec *spec,
                                     const struct cpu_level *level, struct error *error) {
    const struct kernel_job job = {spec, level};
    struct made_piece wanted = {.piece = {.kind = PIECE_KERNEL, .target = level->name}};
    wanted.piece.spec_count = piece_of_kernel(spec, wanted.spec);
    return add(maker, &wanted, make_kernel, &job, error);
}

struct select_job {
    const struct select_spec *spec;
    const struct cpu_level *level;
};

static enum heddle_status make_select(struct bundle_maker *maker, struct made_piece *made,
                                      const void *context, struct error *error) {
    const struct select_job *job = context;
    enum heddle_status status = compile_select_object(maker->program, job->spec, job->level->cpu,
                                                      job->level->features, &made->object, error);
    return status == HEDDLE_OK ? link_object(made, error) : status;
}

enum heddle_status bundle_add_select(struct bundle_maker *maker, const struct select_spec *spec,
                                     const struct cpu_level *level, struct error *error) {
    const struct select_job job = {spec, level};
    struct made_piece wanted = {.piece = {.kind = PIECE_SELECT, .target = level->name}};
    if (!pattern_selects(maker->program->pattern))
        return HEDDLE_OK;
    wanted.piece.spec_count = piece_of_select(spec, wanted.spec);
    return add(maker, &wanted, make_select, &job, error);
}

// ---- GPUs ---------------------------------------------------------------------------------------

static enum heddle_status take_ptx(struct bundle_maker *maker, struct made_piece *made,
                                   const struct strbuf *ptx, struct error *error) {
    strbuf_add(&made->code, ptx->text, ptx->length);
    if (made->code.failed)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle");
    return maker->assemble ? maker->assemble(maker->context, ptx->text, &made->cubin, error)
                           : HEDDLE_OK;
}

static enum heddle_status make_gpu_kernel(struct bundle_maker *maker, struct made_piece *made,
                                          const void *context, struct error *error) {
    const struct ptx_kernel *kernel;
    enum heddle_status status = program_ptx(maker->program, context, &kernel, error);
    if (status != HEDDLE_OK)
        return status;
    made->piece.number = kernel->shared_bytes;
    return take_ptx(maker, made, &kernel->ptx, error);
}

enum heddle_status bundle_add_gpu_kernel(struct bundle_maker *maker, const struct sm90_spec *spec,
                                         struct error *error) {
    struct made_piece wanted = {.piece = {.kind = PIECE_GPU_KERNEL, .target = PIECE_GPU_TARGET}};
    wanted.piece.spec_count = piece_of_gpu_kernel(spec, wanted.spec);
    return add(maker, &wanted, make_gpu_kernel, spec, error);
}

static enum heddle_status make_gpu_planner(struct bundle_maker *maker, struct made_piece *made,
                                           const void *context, struct error *error) {
    const struct ptx_planner *planner;
    enum heddle_status status =
        program_ptx_planner(maker->program, *(const int *)context, &planner, error);
    return status == HEDDLE_OK ? take_ptx(maker, made, &planner->ptx, error) : status;
}

enum heddle_status bundle_add_gpu_planner(struct bundle_maker *maker, int basis,
                                          struct error *error) {
    struct made_piece wanted = {.piece = {.kind = PIECE_GPU_PLANNER, .target = PIECE_GPU_TARGET}};
    wanted.piece.spec_count = piece_of_gpu_planner(basis, wanted.spec);
    return add(maker, &wanted, make_gpu_planner, &basis, error);
}

// ---- the whole ----------------------------------------------------------------------------------

// The pieces side by side, as they are written; NULL: no memory.
static struct piece *gather(const struct bundle_maker *maker) {
    struct piece *all = calloc((size_t)maker->count + 1, sizeof *all);
    for (int i = 0; all && i < maker->count; i++)
        all[i] = maker->pieces[i]->piece;
    return all;
}

// Printing takes memory of the program's.
static enum heddle_status facts_step(struct program *program, void *out, struct error *error) {
    (void)error;
    facts_print_sources(program->source_facts, program->pattern, out);
    return HEDDLE_OK;
}

static enum heddle_status print_facts(struct program *program, struct strbuf *out,
                                      struct error *error) {
    pthread_mutex_lock(&program->mutex);
    enum heddle_status status = program_step(program, facts_step, out, error);
    pthread_mutex_unlock(&program->mutex);
    return status;
}

enum heddle_status bundle_finish(struct bundle_maker *maker, struct strbuf *out,
                                 struct error *error) {
    struct strbuf facts = {0};
    struct piece *pieces = gather(maker);
    enum heddle_status status =
        pieces ? print_facts(maker->program, &facts, error)
               : error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle");
    if (status == HEDDLE_OK)
        status = bundle_write(maker->program, &facts, pieces, maker->count, out, error);
    strbuf_finish(&facts);
    free(pieces);
    return status;
}

void bundle_made_contents(const struct bundle_maker *maker, struct strbuf *out) {
    struct bundle bundle = {.pieces = gather(maker), .piece_count = maker->count};
    if (bundle.pieces)
        bundle_contents(&bundle, out);
    free(bundle.pieces);
}

void bundle_maker_finish(struct bundle_maker *maker) {
    for (int i = 0; i < maker->count; i++)
        free_piece(maker->pieces[i]);
    free(maker->pieces);
    *maker = (struct bundle_maker){0};
}
