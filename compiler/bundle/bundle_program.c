// A program whose code comes out of a bundle. See bundle.h.

#include "compiler/base/files.h"
#include "compiler/bundle/bundle.h"
#include "compiler/bundle/cpu_level.h"
#include "compiler/cache/entry.h"
#include "compiler/maps.h"
#include "compiler/pipeline.h"
#include "compiler/select/select_code.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MOST_BYTES = (size_t)1 << 30; // of a file

struct bundle_image {
    const struct piece *piece;
    struct image image;
    struct bundle_image *next;
};

// ---- pieces -------------------------------------------------------------------------------------

static int level_of(const struct piece *piece) {
    return cpu_level_named(piece->target);
}

static bool is_of(const struct piece *piece, enum piece_kind kind, const int *spec, int count) {
    return piece->kind == kind && piece->spec_count == count &&
           (!count || memcmp(piece->spec, spec, (size_t)count * sizeof *spec) == 0);
}

// Of machine code: the piece that makes the most of this CPU; NULL: none runs here.
static const struct piece *find_on_cpu(const struct bundle *bundle, enum piece_kind kind,
                                       const int *spec, int count) {
    const struct piece *best = NULL;
    for (int i = 0; i < bundle->piece_count; i++) {
        const struct piece *piece = &bundle->pieces[i];
        if (is_of(piece, kind, spec, count) && cpu_level_runs(level_of(piece)) &&
            (!best || level_of(piece) > level_of(best)))
            best = piece;
    }
    return best;
}

static enum heddle_status not_there(const struct program *program, const char *what,
                                    struct error *error) {
    struct strbuf text = {0};
    bundle_contents(program->bundle, &text);
    enum heddle_status status =
        error_set(error, HEDDLE_NO_COMPILER, "the bundle of pattern '%s' has no %s; it has\n%s",
                  program->pattern->name, what, text.text ? text.text : "");
    strbuf_finish(&text);
    return status;
}

static enum heddle_status no_piece(const struct program *program, const struct piece *wanted,
                                   const char *where, struct error *error) {
    struct strbuf text = {0};
    strbuf_puts(&text, "code for ");
    piece_about(wanted, &text);
    strbuf_puts(&text, where);
    enum heddle_status status = not_there(program, text.text ? text.text : "code for this", error);
    strbuf_finish(&text);
    return status;
}

// ---- machine code -------------------------------------------------------------------------------

// Maps a piece once. Under the program's mutex.
static enum heddle_status load(struct program *program, const struct piece *piece,
                               const struct image **out, struct error *error) {
    struct bundle *bundle = program->bundle;
    for (const struct bundle_image *at = bundle->images; at; at = at->next)
        if (at->piece == piece) {
            *out = &at->image;
            return HEDDLE_OK;
        }
    struct bundle_image *made = calloc(1, sizeof *made);
    if (!made)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle's code");
    enum heddle_status status = image_load(piece->code, piece->code_bytes, &made->image, error);
    if (status != HEDDLE_OK) {
        free(made);
        return status;
    }
    *made = (struct bundle_image){piece, made->image, bundle->images};
    bundle->images = made;
    *out = &made->image;
    return HEDDLE_OK;
}

struct loaded {
    const struct piece *piece;
    const struct image *image;
};

static enum heddle_status find_function(void *context, const char *name, void **out_address,
                                        struct error *error) {
    const struct loaded *loaded = context;
    for (int i = 0; i < loaded->piece->symbol_count; i++)
        if (strcmp(loaded->piece->symbols[i].name, name) == 0) {
            *out_address = (char *)loaded->image->code + loaded->piece->symbols[i].offset;
            return HEDDLE_OK;
        }
    return error_set(error, HEDDLE_IO_ERROR, "the bundle is damaged: its code lacks '%s'", name);
}

static enum heddle_status make_planner(struct program *program, enum side side,
                                       struct planner_code *out, struct error *error) {
    int spec[PIECE_MOST_SPEC], count = piece_of_planner(side, spec);
    struct loaded loaded = {find_on_cpu(program->bundle, PIECE_PLANNER, spec, count), NULL};
    if (!loaded.piece)
        return not_there(program, "planner for this CPU", error);
    enum heddle_status status = load(program, loaded.piece, &loaded.image, error);
    return status == HEDDLE_OK ? planner_code_find(out, program->pattern, program->source_facts,
                                                   side, find_function, &loaded, error)
                               : status;
}

static enum heddle_status make_maps(struct program *program, struct map_code *out,
                                    struct error *error) {
    struct loaded loaded = {find_on_cpu(program->bundle, PIECE_MAPS, NULL, 0), NULL};
    if (!loaded.piece)
        return not_there(program, "maps for this CPU", error);
    enum heddle_status status = load(program, loaded.piece, &loaded.image, error);
    return status == HEDDLE_OK ? map_code_find(out, program->pattern, find_function, &loaded, error)
                               : status;
}

static enum heddle_status make_select(struct program *program, struct select_code *out,
                                      struct error *error) {
    int spec[PIECE_MOST_SPEC], count = piece_of_select(&out->spec, spec);
    struct loaded loaded = {find_on_cpu(program->bundle, PIECE_SELECT, spec, count), NULL};
    const struct piece wanted = {.kind = PIECE_SELECT, .spec = spec, .spec_count = count};
    if (!loaded.piece)
        return no_piece(program, &wanted, " on this CPU", error);
    enum heddle_status status = load(program, loaded.piece, &loaded.image, error);
    return status == HEDDLE_OK
               ? select_code_find(out, program->pattern, find_function, &loaded, error)
               : status;
}

static enum heddle_status make_kernel(struct program *program, struct kernel *kernel,
                                      struct error *error) {
    int spec[PIECE_MOST_SPEC], count = piece_of_kernel(&kernel->spec, spec);
    struct loaded loaded = {find_on_cpu(program->bundle, PIECE_KERNEL, spec, count), NULL};
    const struct piece wanted = {.kind = PIECE_KERNEL, .spec = spec, .spec_count = count};
    if (!loaded.piece)
        return no_piece(program, &wanted, " on this CPU", error);
    void *address = NULL;
    enum heddle_status status = load(program, loaded.piece, &loaded.image, error);
    if (status == HEDDLE_OK)
        status = find_function(&loaded, "heddle_attention", &address, error);
    memcpy(&kernel->run, &address, sizeof address);
    kernel->scratch_bytes = loaded.piece->number;
    return status;
}

// ---- GPUs ---------------------------------------------------------------------------------------

static bool is_of_gpus(const struct piece *piece) {
    return strcmp(piece->target, PIECE_GPU_TARGET) == 0;
}

// Does code for `have` compute what is asked of code for `want`? Wide integers hold narrow ones.
static bool serves(const struct sm90_spec *have, const struct sm90_spec *want) {
    struct sm90_spec alike = *want;
    if (have->narrow <= want->narrow)
        alike.narrow = have->narrow;
    return memcmp(have, &alike, sizeof alike) == 0;
}

static const struct piece *find_on_gpu(const struct bundle *bundle, const struct sm90_spec *want) {
    const struct piece *found = NULL;
    for (int i = 0; i < bundle->piece_count; i++) {
        struct sm90_spec have;
        if (!is_of_gpus(&bundle->pieces[i]) || !piece_gpu_spec(&bundle->pieces[i], &have) ||
            !serves(&have, want))
            continue;
        found = &bundle->pieces[i];
        if (have.narrow == want->narrow)
            break;
    }
    return found;
}

static enum heddle_status copy_gpu_code(const struct piece *piece, struct strbuf *ptx,
                                        struct strbuf *cubin, struct error *error) {
    strbuf_add(ptx, piece->code, piece->code_bytes); // and a NUL
    if (piece->cubin_bytes)
        strbuf_add(cubin, piece->cubin, piece->cubin_bytes);
    return ptx->failed || cubin->failed
               ? error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle's code")
               : HEDDLE_OK;
}

static enum heddle_status make_ptx(struct program *program, struct ptx_kernel *kernel,
                                   struct error *error) {
    const struct piece *piece = find_on_gpu(program->bundle, &kernel->spec);
    int spec[PIECE_MOST_SPEC], count = piece_of_gpu_kernel(&kernel->spec, spec);
    const struct piece wanted = {.kind = PIECE_GPU_KERNEL, .spec = spec, .spec_count = count};
    if (!piece)
        return no_piece(program, &wanted, " on a GPU", error);
    kernel->shared_bytes = (int)piece->number;
    return copy_gpu_code(piece, &kernel->ptx, &kernel->cubin, error);
}

static enum heddle_status make_ptx_planner(struct program *program, struct ptx_planner *planner,
                                           struct error *error) {
    const struct bundle *bundle = program->bundle;
    int spec[PIECE_MOST_SPEC], count = piece_of_gpu_planner(planner->basis, spec);
    for (int i = 0; i < bundle->piece_count; i++)
        if (is_of_gpus(&bundle->pieces[i]) &&
            is_of(&bundle->pieces[i], PIECE_GPU_PLANNER, spec, count))
            return copy_gpu_code(&bundle->pieces[i], &planner->ptx, &planner->cubin, error);
    return not_there(program, "planner for GPUs in this plan's basis", error);
}

static bool plans_on_gpus(const struct program *program) {
    for (int i = 0; i < program->bundle->piece_count; i++)
        if (program->bundle->pieces[i].kind == PIECE_GPU_PLANNER &&
            is_of_gpus(&program->bundle->pieces[i]))
            return true;
    return false;
}

// Its code belongs to its images, which bundle_close unmaps.
const struct code_source BUNDLE_SOURCE = {.make_planner = make_planner,
                                          .make_maps = make_maps,
                                          .make_select = make_select,
                                          .make_kernel = make_kernel,
                                          .make_ptx = make_ptx,
                                          .make_ptx_planner = make_ptx_planner,
                                          .plans_on_gpus = plans_on_gpus};

bool bundle_gpu_boxes(const struct bundle *bundle, int dtype, int dim, int number,
                      struct sm90_spec *out) {
    for (int i = 0; i < bundle->piece_count; i++)
        if (is_of_gpus(&bundle->pieces[i]) && piece_gpu_spec(&bundle->pieces[i], out) &&
            out->dtype == dtype && out->dim == dim && number-- == 0)
            return true;
    return false;
}

// ---- opening ------------------------------------------------------------------------------------

static int open_regular(const char *path) {
    struct stat stat;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file >= 0 && (fstat(file, &stat) != 0 || !S_ISREG(stat.st_mode))) {
        close(file);
        return -1;
    }
    return file;
}

bool bundle_is(const char *path, const char *text, size_t length_bytes) {
    char head[8];
    if (text)
        return entry_begins(text, length_bytes);
    int file = open_regular(path);
    ssize_t length = file >= 0 ? read(file, head, sizeof head) : 0;
    if (file >= 0)
        close(file);
    return length > 0 && entry_begins(head, (size_t)length);
}

static enum heddle_status read_file(const char *path, struct strbuf *out, struct error *error) {
    int file = open_regular(path);
    bool whole = file >= 0 && files_read(file, MOST_BYTES, out);
    int why = errno;
    if (file >= 0)
        close(file);
    if (out->failed)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "%s: no memory to read it", path);
    return whole ? HEDDLE_OK : error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(why));
}

static enum heddle_status check_wanted(const struct program *program, const char *path,
                                       const struct check_options *options, struct error *error) {
    const char *name = program->pattern->name;
    if (options->pattern && strcmp(options->pattern, name) != 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT, "%s holds pattern '%s', not '%s'", path, name,
                         options->pattern);
    if (options->const_count > 0)
        return error_set(error, HEDDLE_BAD_ARGUMENT,
                         "%s: the constants of a bundle are set when it is made, '%s' too", path,
                         options->consts[0].name);
    return HEDDLE_OK;
}

enum heddle_status bundle_program(struct program *program, const char *path, const char *text,
                                  size_t length_bytes, const struct check_options *options,
                                  struct error *error) {
    const struct planner_code *planner;
    enum heddle_status status = HEDDLE_OK;
    struct bundle *bundle = program->bundle = calloc(1, sizeof *bundle);
    program->source = &BUNDLE_SOURCE;
    if (!bundle)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle");
    if (text)
        strbuf_add(&bundle->file, text, length_bytes);
    else
        status = read_file(path, &bundle->file, error);
    if (status == HEDDLE_OK && bundle->file.failed)
        status = error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle");
    if (status == HEDDLE_OK)
        status = bundle_read(program, path, error);
    if (status == HEDDLE_OK && options)
        status = check_wanted(program, path, options, error);
    if (status == HEDDLE_OK) // every plan needs it
        status = program_planner(program, SIDE_QUERY, &planner, error);
    return status;
}

void bundle_close(struct bundle *bundle) {
    if (!bundle)
        return;
    while (bundle->images) {
        struct bundle_image *next = bundle->images->next;
        image_unload(&bundle->images->image);
        free(bundle->images);
        bundle->images = next;
    }
    strbuf_finish(&bundle->file);
    strbuf_finish(&bundle->facts);
    free(bundle);
}

// ---- for people ---------------------------------------------------------------------------------

static bool is_first(const struct bundle *bundle, int number) {
    for (int i = 0; i < number; i++)
        if (strcmp(bundle->pieces[i].target, bundle->pieces[number].target) == 0)
            return false;
    return true;
}

void bundle_contents(const struct bundle *bundle, struct strbuf *out) {
    for (int t = 0; t < bundle->piece_count; t++) {
        if (!is_first(bundle, t))
            continue;
        strbuf_printf(out, "%s%s:", out->length ? "\n" : "", bundle->pieces[t].target);
        const char *between = " ";
        for (int i = t; i < bundle->piece_count; i++)
            if (strcmp(bundle->pieces[i].target, bundle->pieces[t].target) == 0) {
                strbuf_puts(out, between);
                piece_about(&bundle->pieces[i], out);
                between = ", ";
            }
    }
}
