// One JSON object, written key by key. No key appears twice; order is the writer's.
#ifndef HEDDLE_CLI_JSON_H
#define HEDDLE_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
    FILE *file; // borrowed
    bool any;   // of the innermost object or array: something was written
    int depth;  // of json_begin
};

void json_open(struct json *json, FILE *file);
void json_close(struct json *json);
void json_text(struct json *json, const char *key, const char *value);
void json_int(struct json *json, const char *key, int64_t value);
void json_real(struct json *json, const char *key, double value); // null unless finite
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
void json_ints(struct json *json, const char *key, const int64_t *values, int count);
void json_reals(struct json *json, const char *key, const double *values, int count);

// An object ('{') or an array ('[') as a value; in an array, keys are NULL.
void json_begin(struct json *json, const char *key, char bracket);
void json_end(struct json *json, char bracket); // with what it began with

#endif
