// What a piece is of, as numbers.

#include "compiler/base/dtype.h"
#include "compiler/bundle/bundle.h"
#include "compiler/pipeline.h"

#include <string.h>

enum { SPEC_INTS = sizeof(struct sm90_spec) / sizeof(int) };
_Static_assert(sizeof(struct sm90_spec) % sizeof(int) == 0 &&
                   (int)SPEC_INTS <= (int)PIECE_MOST_SPEC,
               "made of ints");

int piece_of_planner(enum side side, int *out) {
    out[0] = (int)side;
    return 1;
}

int piece_of_kernel(const struct kernel_spec *spec, int *out) {
    out[0] = (int)spec->dtype;
    out[1] = spec->dim;
    out[2] = spec->dim_contiguous;
    return 3;
}

int piece_of_select(const struct select_spec *spec, int *out) {
    out[0] = (int)spec->dtype;
    out[1] = spec->dim;
    out[2] = spec->contiguous;
    return 3;
}

int piece_of_gpu_kernel(const struct sm90_spec *spec, int *out) {
    memcpy(out, spec, sizeof *spec);
    return SPEC_INTS;
}

int piece_of_gpu_planner(int basis, int *out) {
    out[0] = basis;
    return 1;
}

bool piece_kernel_spec(const struct piece *piece, struct kernel_spec *out) {
    if (piece->kind != PIECE_KERNEL || piece->spec_count != 3)
        return false;
    *out = (struct kernel_spec){(enum heddle_dtype)piece->spec[0], piece->spec[1],
                                piece->spec[2] != 0};
    return true;
}

bool piece_select_spec(const struct piece *piece, struct select_spec *out) {
    if (piece->kind != PIECE_SELECT || piece->spec_count != 3)
        return false;
    *out = (struct select_spec){(enum heddle_dtype)piece->spec[0], piece->spec[1],
                                piece->spec[2] != 0};
    return true;
}

bool piece_gpu_spec(const struct piece *piece, struct sm90_spec *out) {
    if (piece->kind != PIECE_GPU_KERNEL || piece->spec_count != SPEC_INTS)
        return false;
    memcpy(out, piece->spec, sizeof *out);
    return true;
}

static void add_tile(const int *tile, struct strbuf *out) {
    const char *between = "";
    for (int a = 0; a < ABI_AXES; a++)
        if (tile[a] > 1 || a == ABI_AXES - 1) {
            strbuf_printf(out, "%s%d", between, tile[a]);
            between = "x";
        }
}

void piece_about(const struct piece *piece, struct strbuf *out) {
    struct kernel_spec cpu;
    struct select_spec select;
    struct sm90_spec gpu;
    if (piece_kernel_spec(piece, &cpu)) {
        strbuf_printf(out, "%s dim %d%s", dtype_name(cpu.dtype), cpu.dim,
                      cpu.dim_contiguous ? "" : " with any dim stride");
    } else if (piece_select_spec(piece, &select)) {
        strbuf_printf(out, "what it selects from %s dim %d%s", dtype_name(select.dtype), select.dim,
                      select.contiguous ? "" : " with any dim stride");
    } else if (piece_gpu_spec(piece, &gpu)) {
        strbuf_printf(out, "%s dim %d in boxes of ", dtype_name((enum heddle_dtype)gpu.dtype),
                      gpu.dim);
        add_tile(gpu.query_tile, out);
        strbuf_puts(out, " queries by ");
        add_tile(gpu.key_tile, out);
        strbuf_puts(out, " keys");
    } else {
        strbuf_puts(out, piece->kind == PIECE_PLANNER ? "its planner"
                         : piece->kind == PIECE_MAPS  ? "its maps"
                                                      : "its planner of lists");
    }
    strbuf_puts(out, piece->cubin_bytes ? " (assembled)" : "");
}
