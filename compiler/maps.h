// Stage `emit`, maps: a map's condition -> code that fills its table, a run of a row at a time.
//
// The last index runs through a vector's lanes; what does not depend on it is computed once per
// call. Quantifiers that count_runs.h could not close are loops, whose turns are counted.
#ifndef HEDDLE_COMPILER_MAPS_H
#define HEDDLE_COMPILER_MAPS_H

#include "compiler/abi.h"
#include "compiler/base/strbuf.h"
#include "compiler/program.h"

enum { MAP_SLACK = 64 }; // elements past `end` that a fill may write

// out[i - begin] = the map at index[0], index[1], ... and i as the last index, for begin <= i <
// end; what follows in out[] has MAP_SLACK bytes of room. Every operation has a value for these
// indices (the caller's proof: ranges_of_map). *turns_left counts turns of loops down, those of all
// lanes of a vector at once as one; below 0 loops end at once and the values are of no use.
typedef void abi_map_fn(const struct abi_env *env, const int64_t *index, int64_t begin, int64_t end,
                        uint8_t *out, int64_t *turns_left);

struct map_code {
    struct llvm_unit *unit; // owns the code; NULL: a bundle's
    abi_map_fn **fills;     // by map
};

// "heddle_map_3": of map 3. `text` has room for 64 bytes.
const char *map_symbol(int number, char *text);
// Fills in the functions, which `find` knows by map_symbol's names; fills[] has room for them.
enum heddle_status map_code_find(struct map_code *code, const struct pattern *pattern,
                                 code_find_fn *find, void *context, struct error *error);

// For struct code_source, and an object for a CPU that llvm_unit_create knows.
enum heddle_status compile_maps(struct program *program, struct map_code *out, struct error *error);
enum heddle_status compile_maps_object(struct program *program, const char *cpu,
                                       const char *features, struct strbuf *out,
                                       struct error *error);

// The code of all maps of a program, compiled at most once. Thread-safe. *out_code lives as long as
// the program.
enum heddle_status program_maps(struct program *program, const struct map_code **out_code,
                                struct error *error);

#endif
