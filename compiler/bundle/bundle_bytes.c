// Bundle -> bytes and back. See bundle.h for the format; one function describes a piece for both.

#include "compiler/bundle/bundle.h"

#include "compiler/analyse/facts.h"
#include "compiler/base/codec.h"
#include "compiler/bundle/cpu_level.h"
#include "compiler/cache/entry.h"
#include "compiler/pipeline.h"
#include "dsl/pattern_codec.h"
#include "heddle_config.h"
#include "interface_id.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Raised when what follows is written differently.
#define FORMAT "2"
#define KEY_START "heddle bundle, format " FORMAT ", interface " HEDDLE_INTERFACE_ID "\n"
static const char LABEL_START[] = "heddle bundle of ";

static void describe_piece(struct codec *c, struct piece *piece) {
    piece->kind = (enum piece_kind)codec_int(c, (int)piece->kind, 0, PIECE_KINDS - 1);
    piece->target = codec_text(c, piece->target);
    CODEC_ARRAY(c, piece->spec, piece->spec_count, PIECE_MOST_SPEC);
    for (int i = 0; i < piece->spec_count; i++)
        piece->spec[i] = codec_int(c, piece->spec[i], INT32_MIN, INT32_MAX);
    piece->number = codec_int64(c, piece->number, 0, INT64_C(1) << 40);
    CODEC_ARRAY(c, piece->symbols, piece->symbol_count, IMAGE_MOST_SYMBOLS);
    for (int i = 0; i < piece->symbol_count; i++) {
        piece->symbols[i].name = codec_text(c, piece->symbols[i].name);
        piece->symbols[i].offset = codec_int64(c, piece->symbols[i].offset, 0, INT64_MAX);
    }
    piece->code = codec_block(c, piece->code, &piece->code_bytes);
    piece->cubin = codec_block(c, piece->cubin, &piece->cubin_bytes);
}

// Two programs of equal digests were planned by the same bases and rules. False: no memory.
static bool facts_digest(const struct strbuf *facts, char name[ENTRY_NAME_ROOM]) {
    if (facts->failed || !facts->text)
        return false;
    entry_name(facts->text, facts->length, name);
    return true;
}

// ---- writing ------------------------------------------------------------------------------------

static bool write_body(const struct program *program, const struct strbuf *facts,
                       const struct piece *pieces, int count, struct strbuf *out) {
    struct codec c = codec_writer(out);
    struct strbuf pattern = {0};
    char digest[ENTRY_NAME_ROOM];
    bool written = pattern_write(program->pattern, &pattern) && facts_digest(facts, digest);
    if (written) {
        codec_block(&c, pattern.text, &pattern.length);
        codec_text(&c, digest);
        codec_count(&c, count, BUNDLE_MOST_PIECES);
        for (int i = 0; i < count; i++) {
            struct piece piece = pieces[i]; // as it is: a writer changes nothing
            describe_piece(&c, &piece);
        }
    }
    strbuf_finish(&pattern);
    return written && !out->failed;
}

enum heddle_status bundle_write(const struct program *program, const struct strbuf *facts,
                                const struct piece *pieces, int count, struct strbuf *out,
                                struct error *error) {
    struct strbuf body = {0}, label = {0}, key = {0};
    enum heddle_status status = HEDDLE_OK;
    if (count > BUNDLE_MOST_PIECES)
        return error_set(error, HEDDLE_LIMIT, "a bundle holds at most %d pieces of code",
                         BUNDLE_MOST_PIECES);
    strbuf_printf(&label, "%s%.200s\n", LABEL_START, program->pattern->name);
    strbuf_puts(&key, KEY_START "heddle " HEDDLE_VERSION "\n");
    if (write_body(program, facts, pieces, count, &body) && !label.failed && !key.failed) {
        const struct entry entry = {.label = {label.text, label.length},
                                    .key = {key.text, key.length},
                                    .code = {body.text, body.length}};
        entry_write(&entry, out);
    } else {
        out->failed = true;
    }
    if (out->failed)
        status = error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a bundle");
    strbuf_finish(&body);
    strbuf_finish(&label);
    strbuf_finish(&key);
    return status;
}

// ---- reading ------------------------------------------------------------------------------------

static enum heddle_status damaged(const char *path, const char *what, struct error *error) {
    return error_set(error, HEDDLE_IO_ERROR, "%s: the bundle is damaged: %s", path, what);
}

// The frame: whole, a bundle, and of this version.
static enum heddle_status open_frame(const struct strbuf *file, const char *path,
                                     struct entry *entry, struct error *error) {
    if (!entry_read(file->text, file->length, entry))
        return damaged(path, "it is cut off, or its checksum is another", error);
    if (entry->label.length < sizeof LABEL_START - 1 ||
        memcmp(entry->label.bytes, LABEL_START, sizeof LABEL_START - 1) != 0)
        return error_set(error, HEDDLE_IO_ERROR, "%s: an entry of heddle's cache, not a bundle",
                         path);
    if (entry->key.length >= sizeof KEY_START - 1 &&
        memcmp(entry->key.bytes, KEY_START, sizeof KEY_START - 1) == 0)
        return HEDDLE_OK;
    // The key's second line.
    const char *line = memchr(entry->key.bytes, '\n', entry->key.length);
    const char *end = entry->key.bytes + entry->key.length;
    struct strbuf made_by = {0};
    for (const char *at = line ? line + 1 : end; at < end && *at != '\n'; at++)
        strbuf_add(&made_by, at, 1);
    enum heddle_status status = error_set(
        error, HEDDLE_IO_ERROR,
        "%s: made by another build of heddle (%s), whose code this one (heddle %s) cannot "
        "run; make the bundle again with the program that belongs to this library",
        path, made_by.length ? made_by.text : "it does not say which", HEDDLE_VERSION);
    strbuf_finish(&made_by);
    return status;
}

// What a piece says of itself, as far as it can be told without running it.
static const char *piece_fault(const struct program *program, const struct piece *piece) {
    struct kernel_spec cpu;
    struct select_spec select;
    struct sm90_spec gpu;
    bool on_gpu = piece->kind == PIECE_GPU_KERNEL || piece->kind == PIECE_GPU_PLANNER;
    if (!piece->target || !piece->code_bytes)
        return "a piece of code is empty";
    for (int i = 0; i < piece->symbol_count; i++)
        if (!piece->symbols[i].name || piece->symbols[i].offset >= (int64_t)piece->code_bytes)
            return "a function lies outside of its code";
    switch (piece->kind) {
    case PIECE_PLANNER:
        if (piece->spec_count != 1 || piece->spec[0] < SIDE_QUERY || piece->spec[0] > SIDE_KEY)
            return "a planner is of no side";
        break;
    case PIECE_KERNEL:
        if (!piece_kernel_spec(piece, &cpu) || piece->spec[0] < HEDDLE_F32 ||
            piece->spec[0] > HEDDLE_BF16)
            return "a kernel is of no dtype";
        break;
    case PIECE_MAPS:
        if (piece->spec_count != 0)
            return "code of maps is of more than the pattern";
        break;
    case PIECE_SELECT:
        if (!piece_select_spec(piece, &select) || piece->spec[0] < HEDDLE_F32 ||
            piece->spec[0] > HEDDLE_BF16)
            return "a selection is of no dtype";
        break;
    case PIECE_GPU_KERNEL:
        if (!piece_gpu_spec(piece, &gpu) || gpu.dtype < HEDDLE_F16 || gpu.dtype > HEDDLE_BF16 ||
            piece->number > SM90_SHARED_LIMIT || gpu.basis < 0 ||
            gpu.basis >= program->facts->basis_count)
            return "a GPU's kernel is of no problem";
        for (int a = 0; a < ABI_AXES; a++)
            if (gpu.query_tile[a] < 1 || gpu.query_tile[a] > 1024 || gpu.key_tile[a] < 1 ||
                gpu.key_tile[a] > 1024)
                return "a GPU's kernel has no boxes";
        break;
    case PIECE_GPU_PLANNER:
        if (piece->spec_count != 1 || piece->spec[0] < 0 ||
            piece->spec[0] >= program->facts->basis_count)
            return "a planner is of no basis";
        break;
    }
    return !on_gpu || !memchr(piece->code, '\0', piece->code_bytes) ? NULL : "PTX has a NUL";
}

static const char *read_pieces(struct program *program, struct codec *c) {
    struct bundle *bundle = program->bundle;
    char digest[ENTRY_NAME_ROOM];
    const char *stored = codec_text(c, NULL);
    facts_print_sources(program->source_facts, program->pattern, &bundle->facts);
    if (!facts_digest(&bundle->facts, digest))
        arena_alloc(&program->arena, SIZE_MAX / 2); // leaves through the arena's escape
    if (!c->fault && (!stored || strcmp(stored, digest) != 0))
        return "this version analyses the pattern differently";
    CODEC_ARRAY(c, bundle->pieces, bundle->piece_count, BUNDLE_MOST_PIECES);
    for (int i = 0; i < bundle->piece_count && !c->fault; i++) {
        describe_piece(c, &bundle->pieces[i]);
        if (!c->fault)
            c->fault = piece_fault(program, &bundle->pieces[i]);
    }
    if (c->at != c->length)
        codec_fail(c, "more follows than its pieces");
    return c->fault;
}

enum heddle_status bundle_read(struct program *program, const char *path, struct error *error) {
    struct entry entry;
    enum heddle_status status = open_frame(&program->bundle->file, path, &entry, error);
    if (status != HEDDLE_OK)
        return status;
    struct codec c = codec_reader(entry.code.bytes, entry.code.length, &program->arena);
    size_t length = 0;
    const char *bytes = codec_block(&c, NULL, &length), *fault = c.fault;
    if (!fault)
        program->pattern = pattern_read(bytes, length, &program->arena, &program->diags, &fault);
    if (fault)
        return damaged(path, fault, error);
    program->source_facts = analyse_sources(&program->arena, program->pattern);
    program->facts = program->source_facts[0];
    fault = read_pieces(program, &c);
    return fault ? damaged(path, fault, error) : HEDDLE_OK;
}
