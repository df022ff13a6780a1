// A bundle: a checked pattern and compiled code of it, for several problems and machines, in one
// file that is planned and run with no compiler present.
//
// The frame is an entry of the code cache (compiler/cache/entry.h): lengths, and a checksum over
// all of it. Its label says what it is, its key which format and which interface between code and
// runtime; its code is the pattern (dsl/pattern_codec.h), a digest of its facts, and pieces. Facts
// are not stored: they are analysed again from the pattern, and compared with the digest.
//
// A bundle's machine code is run as it is, like a shared library's. All else in it is checked when
// it is read.
#ifndef HEDDLE_BUNDLE_BUNDLE_H
#define HEDDLE_BUNDLE_BUNDLE_H

#include "compiler/base/status.h"
#include "compiler/base/strbuf.h"
#include "compiler/bundle/image.h"
#include "compiler/program.h"
#include "compiler/select/select_emit.h"
#include "compiler/sm90/sm90_kernel.h"

enum piece_kind {
    PIECE_PLANNER,    // of a side: machine code with planner_symbol's functions
    PIECE_KERNEL,     // of a kernel_spec: machine code with heddle_attention
    PIECE_MAPS,       // machine code with map_symbol's functions
    PIECE_SELECT,     // of a select_spec: machine code with select_symbol's functions
    PIECE_GPU_KERNEL, // of an sm90_spec: PTX, and perhaps a cubin
    PIECE_GPU_PLANNER // of a basis: the same
};
enum { PIECE_KINDS = 6, PIECE_MOST_SPEC = 64, BUNDLE_MOST_PIECES = 4096 };

struct piece {
    enum piece_kind kind;
    const char *target; // a level of cpu_level.h, or "sm_90a"
    int *spec;          // what it is of, as numbers (bundle_spec.c)
    int spec_count;
    int64_t number; // scratch bytes of a kernel, shared bytes of a GPU's
    struct image_symbol *symbols;
    int symbol_count;
    const char *code; // machine code, or PTX without a NUL
    size_t code_bytes;
    const char *cubin;
    size_t cubin_bytes; // 0: none
};

// The one GPU that there is code for. Pieces of other targets are another version's, and left
// alone.
#define PIECE_GPU_TARGET "sm_90a"

// Specs as numbers, and back: false where they are none.
int piece_of_planner(enum side side, int *out);
int piece_of_kernel(const struct kernel_spec *spec, int *out);
int piece_of_select(const struct select_spec *spec, int *out);
int piece_of_gpu_kernel(const struct sm90_spec *spec, int *out);
int piece_of_gpu_planner(int basis, int *out);
bool piece_kernel_spec(const struct piece *piece, struct kernel_spec *out);
bool piece_select_spec(const struct piece *piece, struct select_spec *out);
bool piece_gpu_spec(const struct piece *piece, struct sm90_spec *out);
// "bf16 dim 64, 128 x 1 x 1 by ..." for people.
void piece_about(const struct piece *piece, struct strbuf *out);

// ---- writing ------------------------------------------------------------------------------------

// Appends a bundle of these pieces; `facts` is what facts_print_sources prints.
// HEDDLE_OUT_OF_MEMORY, HEDDLE_LIMIT.
enum heddle_status bundle_write(const struct program *program, const struct strbuf *facts,
                                const struct piece *pieces, int count, struct strbuf *out,
                                struct error *error);

// ---- reading ------------------------------------------------------------------------------------

struct bundle {
    struct strbuf file;  // owns what pieces point to
    struct strbuf facts; // as text, for the digest
    struct piece *pieces;
    int piece_count;
    struct bundle_image *images; // made so far
};

// Is it one (of any version, damaged or not), by its first bytes? text NULL: a file, which has to
// be a regular one.
bool bundle_is(const char *path, const char *text, size_t length_bytes);

// Fills in a program that is empty, whose arena's escape is set; frees nothing when it fails, that
// is program_destroy's. HEDDLE_IO_ERROR: the file cannot be read, is damaged, or another version's.
// HEDDLE_BAD_ARGUMENT: options name another pattern, or constants. HEDDLE_DEVICE_ERROR: this
// machine's CPU runs none of it.
enum heddle_status bundle_program(struct program *program, const char *path, const char *text,
                                  size_t length_bytes, const struct check_options *options,
                                  struct error *error);
void bundle_close(struct bundle *bundle); // NULL is fine

// What the bundle holds, a line a target.
void bundle_contents(const struct bundle *bundle, struct strbuf *out);

// The boxes of GPU kernels that a program's bundle has for a dtype and head dim, one after another:
// false when there is no `number`-th. Only the members that boxes decide are to be looked at.
bool bundle_gpu_boxes(const struct bundle *bundle, int dtype, int dim, int number,
                      struct sm90_spec *out);

// Private to compiler/bundle: pieces of a bundle's body, and the functions of bundle programs.
enum heddle_status bundle_read(struct program *program, const char *path, struct error *error);
extern const struct code_source BUNDLE_SOURCE;

#endif
