#include "cli/json.h"

#include <inttypes.h>
#include <math.h>

static void write_text(FILE *file, const char *text) {
    fputc('"', file);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(file, "\\%c", *c);
        else if (*c < 0x20)
            fprintf(file, "\\u%04x", *c);
        else
            fputc(*c, file);
    }
    fputc('"', file);
}

// The object's own keys and the elements of an array get a line each.
static void key_of(struct json *json, const char *key) {
    bool line = json->depth == 0 || !key;
    fputs(json->any ? "," : "", json->file);
    if (line)
        fprintf(json->file, "\n%*s", 2 * (json->depth + 1), "");
    else if (json->any)
        fputc(' ', json->file);
    json->any = true;
    if (!key)
        return;
    write_text(json->file, key);
    fputs(": ", json->file);
}

void json_open(struct json *json, FILE *file) {
    *json = (struct json){.file = file};
    fputc('{', file);
}

void json_begin(struct json *json, const char *key, char bracket) {
    key_of(json, key);
    fputc(bracket, json->file);
    json->any = false;
    json->depth++;
}

void json_end(struct json *json, char bracket) {
    fputc(bracket == '{' ? '}' : ']', json->file);
    json->any = true;
    json->depth--;
}

void json_close(struct json *json) {
    fputs("\n}\n", json->file);
}

void json_text(struct json *json, const char *key, const char *value) {
    key_of(json, key);
    write_text(json->file, value);
}

void json_int(struct json *json, const char *key, int64_t value) {
    key_of(json, key);
    fprintf(json->file, "%" PRId64, value);
}

static void write_real(FILE *file, double value) {
    if (isfinite(value))
        fprintf(file, "%.9g", value);
    else
        fputs("null", file);
}

void json_real(struct json *json, const char *key, double value) {
    key_of(json, key);
    write_real(json->file, value);
}

void json_bool(struct json *json, const char *key, bool value) {
    key_of(json, key);
    fputs(value ? "true" : "false", json->file);
}

void json_null(struct json *json, const char *key) {
    key_of(json, key);
    fputs("null", json->file);
}

void json_ints(struct json *json, const char *key, const int64_t *values, int count) {
    key_of(json, key);
    for (int i = 0; i < count; i++)
        fprintf(json->file, "%s%" PRId64, i ? ", " : "[", values[i]);
    fputs(count ? "]" : "[]", json->file);
}

void json_reals(struct json *json, const char *key, const double *values, int count) {
    key_of(json, key);
    fputc('[', json->file);
    for (int i = 0; i < count; i++) {
        fputs(i ? ", " : "", json->file);
        write_real(json->file, values[i]);
    }
    fputc(']', json->file);
}
