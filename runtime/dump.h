// Dumps of the pipeline's stages as text (`heddle compile --emit`).
#ifndef HEDDLE_RUNTIME_DUMP_H
#define HEDDLE_RUNTIME_DUMP_H

#include "runtime/plan.h"

// Appends the dump of `stage`, a name of pipeline_stage_names() other than "ast" (whose text comes
// from parse_dump). `schedule`, `plan`, `llvm` and `asm` need a plan; the others take NULL.
enum heddle_status program_dump(struct program *program, const struct plan *plan, const char *stage,
                                struct strbuf *out, struct error *error);

#endif
