// Machine code that needs no linker: one block that runs wherever it lies, once it is executable.
#ifndef HEDDLE_BUNDLE_IMAGE_H
#define HEDDLE_BUNDLE_IMAGE_H

#include "compiler/base/status.h"
#include "compiler/base/strbuf.h"

#include <stdint.h>

enum { IMAGE_MOST_SYMBOLS = 256 };

struct image_symbol {
    const char *name; // of a function
    int64_t offset;
};

// An object of our code (llvm_unit_object: ELF, x86-64, position-independent, no data that is
// written, nothing imported) as such a block, appended to *out. The symbols are its functions that
// are seen from outside; their names lie in `object`. HEDDLE_INTERNAL: the object is none of these.
// HEDDLE_LIMIT: it has more functions. HEDDLE_OUT_OF_MEMORY.
enum heddle_status image_link(const char *object, size_t bytes, struct strbuf *out,
                              struct image_symbol *out_symbols, int *out_symbol_count,
                              struct error *error);

// A copy of the block in memory of its own, first writable, then executable, never both.
struct image {
    void *code; // NULL: none
    size_t bytes;
};
enum heddle_status image_load(const char *bytes, size_t length, struct image *out,
                              struct error *error);
void image_unload(struct image *image); // zeroed is fine

#endif
