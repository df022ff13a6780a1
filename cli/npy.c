// The format: "\x93NUMPY", two version bytes, the header's length (2 bytes in version 1, else 4),
// then a Python dict such as {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, then
// data.
#include "cli/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_HEADER_BYTES = 1 << 20, ALIGN_BYTES = 64 };

static const struct {
    const char *descr, *name;
    int bytes;
} types[] = {
    [NPY_FLOAT16] = {"<f2", "float16", 2},
    [NPY_FLOAT32] = {"<f4", "float32", 4},
    [NPY_INT32] = {"<i4", "int32", 4},
    [NPY_INT64] = {"<i8", "int64", 8},
};
enum { TYPE_TOTAL = sizeof types / sizeof *types };

const char *npy_type_name(enum npy_type type) {
    return types[type].name;
}

void npy_finish(struct npy *npy) {
    free(npy->data);
    *npy = (struct npy){0};
}

void npy_shape_text(const int64_t *shape, int rank, char *out, size_t room) {
    size_t used = (size_t)snprintf(out, room, "[");
    for (int i = 0; i < rank && used < room; i++) {
        used += (size_t)snprintf(out + used, room - used, "%s", i ? ", " : "");
        if (used < room && shape[i] < 0)
            used += (size_t)snprintf(out + used, room - used, "any");
        else if (used < room)
            used += (size_t)snprintf(out + used, room - used, "%" PRId64, shape[i]);
    }
    if (used < room)
        snprintf(out + used, room - used, "]");
}

// ---- the header ----------------------------------------------------------------------------

struct cursor {
    const char *at; // in a NUL-terminated text
};

static void skip_spaces(struct cursor *cursor) {
    while (*cursor->at == ' ' || *cursor->at == '\n' || *cursor->at == '\t')
        cursor->at++;
}

static bool take(struct cursor *cursor, const char *word) {
    skip_spaces(cursor);
    size_t length = strlen(word);
    if (strncmp(cursor->at, word, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

static bool take_string(struct cursor *cursor, char *out, size_t room) {
    skip_spaces(cursor);
    char quote = *cursor->at;
    if (quote != '\'' && quote != '"')
        return false;
    const char *end = strchr(cursor->at + 1, quote);
    size_t length = end ? (size_t)(end - cursor->at - 1) : room;
    if (length >= room)
        return false;
    memcpy(out, cursor->at + 1, length);
    out[length] = '\0';
    cursor->at = end + 1;
    return true;
}

static bool take_shape(struct cursor *cursor, struct npy *out) {
    if (!take(cursor, "("))
        return false;
    for (out->rank = 0; !take(cursor, ")"); out->rank++) {
        char *end;
        skip_spaces(cursor);
        errno = 0;
        long long extent = strtoll(cursor->at, &end, 10);
        if (end == cursor->at || errno || extent < 0 || out->rank == NPY_MAX_RANK)
            return false;
        out->shape[out->rank] = extent;
        cursor->at = end;
        if (!take(cursor, ",") && *cursor->at != ')')
            return false;
    }
    return true;
}

struct header {
    char descr[64];
    bool fortran, has_descr, has_order, has_shape;
};

static bool parse_header(const char *text, struct header *header, struct npy *out) {
    struct cursor cursor = {text};
    char key[32];
    if (!take(&cursor, "{"))
        return false;
    while (!take(&cursor, "}")) {
        if (!take_string(&cursor, key, sizeof key) || !take(&cursor, ":"))
            return false;
        if (strcmp(key, "descr") == 0) {
            header->has_descr = take_string(&cursor, header->descr, sizeof header->descr);
        } else if (strcmp(key, "fortran_order") == 0) {
            header->fortran = take(&cursor, "True");
            header->has_order = header->fortran || take(&cursor, "False");
        } else if (strcmp(key, "shape") == 0) {
            header->has_shape = take_shape(&cursor, out);
        } else {
            return false;
        }
        if (!take(&cursor, ",") && *cursor.at != '}')
            return false;
    }
    return header->has_descr && header->has_order && header->has_shape;
}

static enum heddle_status accept_header(const char *path, const struct header *header,
                                        struct npy *out, struct error *error) {
    int type = 0;
    while (type < TYPE_TOTAL && strcmp(types[type].descr, header->descr) != 0)
        type++;
    if (type == TYPE_TOTAL)
        return error_set(error, HEDDLE_IO_ERROR,
                         "%s: elements are '%s'; little-endian float32 '<f4', float16 '<f2', int32 "
                         "'<i4' and int64 '<i8' can be read (in NumPy: x.astype('<f4'))",
                         path, header->descr);
    out->type = (enum npy_type)type;
    out->count = 1;
    for (int i = 0; i < out->rank; i++)
        if (__builtin_mul_overflow(out->count, out->shape[i], &out->count) ||
            out->count > INT64_MAX / 16)
            return error_set(error, HEDDLE_IO_ERROR, "%s: its shape overflows", path);
    if (header->fortran && out->rank > 1)
        return error_set(error, HEDDLE_IO_ERROR,
                         "%s: is in Fortran order; save it in C order (in NumPy: "
                         "np.ascontiguousarray(x))",
                         path);
    return HEDDLE_OK;
}

static enum heddle_status read_header(const char *path, FILE *file, struct npy *out,
                                      struct error *error) {
    unsigned char start[12];
    if (fread(start, 1, 8, file) != 8 || memcmp(start, "\x93NUMPY", 6) != 0)
        return error_set(error, HEDDLE_IO_ERROR, "%s: is not a .npy file", path);
    size_t length_bytes = start[6] == 1 ? 2 : 4;
    if (start[6] < 1 || start[6] > 3)
        return error_set(error, HEDDLE_IO_ERROR, "%s: .npy version %d is not 1, 2 or 3", path,
                         start[6]);
    if (fread(start + 8, 1, length_bytes, file) != length_bytes)
        return error_set(error, HEDDLE_IO_ERROR, "%s: ends inside its header", path);
    size_t length = (size_t)start[8] | (size_t)start[9] << 8;
    if (length_bytes == 4)
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    char *text = length <= MAX_HEADER_BYTES ? calloc(1, length + 1) : NULL;
    struct header header = {0};
    enum heddle_status status = HEDDLE_OK;
    if (!text || fread(text, 1, length, file) != length)
        status = error_set(error, HEDDLE_IO_ERROR, "%s: ends inside its header", path);
    else if (!parse_header(text, &header, out))
        status =
            error_set(error, HEDDLE_IO_ERROR, "%s: has a .npy header that makes no sense", path);
    else
        status = accept_header(path, &header, out, error);
    free(text);
    return status;
}

static enum heddle_status read_data(const char *path, FILE *file, struct npy *out,
                                    struct error *error) {
    // The size is checked before memory is asked for: a header may lie.
    long data_at = ftell(file);
    if (data_at < 0 || fseek(file, 0, SEEK_END) != 0)
        return error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(errno));
    int64_t there = ftell(file) - data_at, bytes = out->count * types[out->type].bytes;
    fseek(file, data_at, SEEK_SET);
    if (there != bytes)
        return error_set(error, HEDDLE_IO_ERROR,
                         "%s: holds %" PRId64 " bytes of data, its shape needs %" PRId64, path,
                         there, bytes);
    out->data = malloc((size_t)bytes + 1);
    if (!out->data)
        return error_set(error, HEDDLE_OUT_OF_MEMORY, "%s: no memory for %" PRId64 " bytes", path,
                         bytes);
    if (fread(out->data, 1, (size_t)bytes, file) != (size_t)bytes)
        return error_set(error, HEDDLE_IO_ERROR, "%s: cannot be read", path);
    return HEDDLE_OK;
}

enum heddle_status npy_read(const char *path, struct npy *out, struct error *error) {
    *out = (struct npy){0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(errno));
    enum heddle_status status = read_header(path, file, out, error);
    if (status == HEDDLE_OK)
        status = read_data(path, file, out, error);
    fclose(file);
    if (status != HEDDLE_OK)
        npy_finish(out);
    return status;
}

// ---- writing -------------------------------------------------------------------------------

static bool write_header(FILE *file, const char *type, const int64_t *shape, int rank) {
    char text[512], extents[NPY_MAX_RANK * 24] = "";
    size_t used = 0;
    for (int i = 0; i < rank; i++)
        used += (size_t)snprintf(extents + used, sizeof extents - used, "%" PRId64 "%s", shape[i],
                                 i + 1 < rank ? ", "
                                 : rank == 1  ? ","
                                              : "");
    int length =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                 type, extents);
    int whole = (10 + length + 1 + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    int header = whole - 10;
    fwrite("\x93NUMPY\x01\x00", 1, 8, file);
    fputc(header & 0xff, file);
    fputc(header >> 8, file);
    fprintf(file, "%-*s\n", header - 1, text);
    return !ferror(file);
}

// Half a file helps nobody; a device is not ours to remove.
static void remove_file(const char *path) {
    struct stat about;
    if (stat(path, &about) == 0 && S_ISREG(about.st_mode))
        remove(path);
}

// Elements of 4 bytes.
static enum heddle_status write_file(const char *path, const char *type, const void *data,
                                     const int64_t *shape, int rank, struct error *error) {
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= (size_t)shape[i];
    FILE *file = fopen(path, "wb");
    if (!file)
        return error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(errno));
    bool written = write_header(file, type, shape, rank) && fwrite(data, 4, count, file) == count;
    if (fclose(file) != 0 || !written) {
        int reason = errno;
        remove_file(path);
        return error_set(error, HEDDLE_IO_ERROR, "%s: %s", path, strerror(reason));
    }
    return HEDDLE_OK;
}

enum heddle_status npy_write(const char *path, const float *data, const int64_t *shape, int rank,
                             struct error *error) {
    return write_file(path, "<f4", data, shape, rank, error);
}

enum heddle_status npy_write_ints(const char *path, const int32_t *data, const int64_t *shape,
                                  int rank, struct error *error) {
    return write_file(path, "<i4", data, shape, rank, error);
}
