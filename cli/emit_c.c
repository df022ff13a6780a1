// heddle compile --emit=c: a bundle as a C source and its header, with one call that runs it.
#include "cli/bundle.h"
#include "compiler/base/dtype.h"

#include <inttypes.h>
#include <string.h>

static const char HEADER[] =
    "// Made by heddle %s from pattern %s. Compile the source beside it, and link libheddle-rt:\n"
    "//   cc host.c made.c $(pkg-config --cflags --libs heddle-rt)\n"
    "//\n"
    "// It runs on\n"
    "%s"
    "#ifndef HEDDLE_MADE_%s_H\n"
    "#define HEDDLE_MADE_%s_H\n"
    "\n"
    "#include <heddle.h>\n"
    "\n"
    "#ifdef __cplusplus\n"
    "extern \"C\" {\n"
    "#endif\n"
    "\n"
    "// Zeroed before the first call; then the first call's. `target` may be chosen before it.\n"
    "struct %s {\n"
    "    enum heddle_target target; // AUTO (0): a GPU where there is one, else the CPU\n"
    "    struct heddle_context *context;\n"
    "    struct heddle_pattern *pattern;\n"
    "    struct heddle_plan *plan;\n"
    "};\n"
    "\n"
    "// The problem that it was compiled for, without inputs; others may differ in all but dtype "
    "and\n"
    "// dim.\n"
    "struct heddle_problem %s_problem(void);\n"
    "\n"
    "// Computes tensors->o. The first call with a struct makes its plan, for `problem` (NULL: the "
    "one\n"
    "// above); later calls only run, and do not look at the problem. As heddle_run: tensors are "
    "in the\n"
    "// memory of heddle_context_target(state->context), `stream` is NULL on the CPU, and one "
    "thread at\n"
    "// a time uses a struct. The message of a failure is heddle_last_error's.\n"
    "enum heddle_status %s_run(struct %s *state, const struct heddle_problem *problem,\n"
    "                          const struct heddle_tensors *tensors, void *stream);\n"
    "\n"
    "// Frees what the calls made, and leaves the struct as it was before. On a GPU no run may be "
    "under\n"
    "// way.\n"
    "void %s_close(struct %s *state);\n"
    "\n"
    "#ifdef __cplusplus\n"
    "}\n"
    "#endif\n"
    "\n"
    "#endif\n";

static const char FUNCTIONS[] =
    "struct heddle_problem %s_problem(void) {\n"
    "    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;\n"
    "%s"
    "    return problem;\n"
    "}\n"
    "\n"
    "static enum heddle_status open_context(struct %s *state) {\n"
    "    struct heddle_context_options options;\n"
    "    memset(&options, 0, sizeof options);\n"
    "    options.struct_bytes = sizeof options;\n"
    "    options.target = state->target;\n"
    "    return heddle_context_create(&options, &state->context);\n"
    "}\n"
    "\n"
    "enum heddle_status %s_run(struct %s *state, const struct heddle_problem *problem,\n"
    "                          const struct heddle_tensors *tensors, void *stream) {\n"
    "    const struct heddle_problem usual = %s_problem();\n"
    "    enum heddle_status status = HEDDLE_OK;\n"
    "    if (!state->context)\n"
    "        status = open_context(state);\n"
    "    if (status == HEDDLE_OK && !state->pattern)\n"
    "        status = heddle_pattern_parse(state->context, \"%s\", (const char *)bundle, sizeof "
    "bundle,\n"
    "                                      NULL, &state->pattern);\n"
    "    if (status == HEDDLE_OK && !state->plan)\n"
    "        status = heddle_plan_create(state->context, state->pattern, problem ? problem : "
    "&usual,\n"
    "                                    &state->plan);\n"
    "    return status == HEDDLE_OK ? heddle_run(state->plan, tensors, stream) : status;\n"
    "}\n"
    "\n"
    "void %s_close(struct %s *state) {\n"
    "    heddle_plan_destroy(state->plan);\n"
    "    heddle_pattern_destroy(state->pattern);\n"
    "    heddle_context_destroy(state->context);\n"
    "    state->plan = NULL;\n"
    "    state->pattern = NULL;\n"
    "    state->context = NULL;\n"
    "}\n";

static void add_bytes(const struct strbuf *bundle, struct strbuf *out) {
    enum { A_LINE = 24 };
    strbuf_printf(out, "static const unsigned char bundle[%zu] = {", bundle->length);
    for (size_t i = 0; i < bundle->length; i++)
        strbuf_printf(out, "%s%u,", i % A_LINE ? "" : "\n    ", (unsigned char)bundle->text[i]);
    strbuf_puts(out, "\n};\n\n");
}

// ---- the problem as it was typed ----------------------------------------------------------------

static void add_values(const struct heddle_param *param, const struct pattern_param *declared,
                       struct strbuf *out) {
    bool ints = declared->type == TYPE_INT;
    strbuf_printf(out, "static const %s param_%s[] = {", ints ? "int64_t" : "double", param->name);
    for (int i = 0; i < param->count; i++) {
        if (!ints)
            strbuf_printf(out, "%s%.17g", i ? ", " : "", param->reals[i]);
        else if (param->ints[i] == INT64_MIN) // the literal is a negation of one too large
            strbuf_printf(out, "%sINT64_MIN", i ? ", " : "");
        else
            strbuf_printf(out, "%sINT64_C(%" PRId64 ")", i ? ", " : "", param->ints[i]);
    }
    strbuf_puts(out, "};\n");
}

static const struct pattern_param *declared(const struct pattern *pattern, const char *name) {
    for (int i = 0; i < pattern->param_count; i++)
        if (strcmp(pattern->params[i].name, name) == 0)
            return &pattern->params[i];
    return NULL;
}

static void add_params(const struct problem *problem, struct strbuf *out) {
    const struct heddle_problem *spec = &problem->spec;
    const struct pattern *pattern = problem->program->pattern;
    if (!spec->param_count)
        return;
    for (int i = 0; i < spec->param_count; i++)
        add_values(&spec->params[i], declared(pattern, spec->params[i].name), out);
    strbuf_puts(out, "static const struct heddle_param params[] = {\n");
    for (int i = 0; i < spec->param_count; i++) {
        const struct heddle_param *param = &spec->params[i];
        bool ints = declared(pattern, param->name)->type == TYPE_INT;
        strbuf_printf(out, "    {\"%s\", %d, %s%s, %s%s},\n", param->name, param->count,
                      ints ? "param_" : "NULL", ints ? param->name : "", ints ? "NULL" : "param_",
                      ints ? "" : param->name);
    }
    strbuf_puts(out, "};\n\n");
}

static void add_problem(const struct problem *problem, struct strbuf *out) {
    static const char *const dtypes[] = {"HEDDLE_F32", "HEDDLE_F16", "HEDDLE_BF16"};
    const struct heddle_problem *spec = &problem->spec;
    const struct pattern *pattern = problem->program->pattern;
    for (int i = 0; i < pattern->axis_count; i++)
        strbuf_printf(out, "    problem.sizes[%d] = %" PRId64 "; // %s\n", i, spec->sizes[i],
                      pattern->axes[i]);
    strbuf_printf(out,
                  "    problem.queries = %" PRId64 ";\n    problem.batch = %" PRId64
                  ";\n    problem.heads = %" PRId64 ";\n    problem.kv_heads = %" PRId64
                  ";\n    problem.dim = %" PRId64
                  ";\n    problem.dtype = %s;\n    problem.scale = %.17g;\n",
                  spec->queries, spec->batch, spec->heads, spec->kv_heads, spec->dim,
                  dtypes[spec->dtype], spec->scale);
    if (spec->param_count)
        strbuf_printf(out, "    problem.params = params;\n    problem.param_count = %d;\n",
                      spec->param_count);
}

// ---- the two files ------------------------------------------------------------------------------

void emit_c_source(const struct problem *problem, const char *header, const struct strbuf *bundle,
                   struct strbuf *out) {
    const char *name = problem->program->pattern->name;
    struct strbuf members = {0};
    add_problem(problem, &members);
    if (header)
        strbuf_printf(out, "// Made by heddle %s. See %s.\n#include \"%s\"\n", heddle_version(),
                      header, header);
    strbuf_puts(out, "\n#include <string.h>\n\n");
    add_bytes(bundle, out);
    add_params(problem, out);
    strbuf_printf(out, FUNCTIONS, name, members.text ? members.text : "", name, name, name, name,
                  name, name, name);
    out->failed |= members.failed;
    strbuf_finish(&members);
}

void emit_c_header(const struct problem *problem, const struct strbuf *contents,
                   struct strbuf *out) {
    const char *name = problem->program->pattern->name;
    struct strbuf lines = {0};
    for (const char *at = contents->text; at && *at;) {
        size_t length = strcspn(at, "\n");
        strbuf_printf(&lines, "//   %.*s\n", (int)length, at);
        at += length + (at[length] == '\n');
    }
    strbuf_printf(out, HEADER, heddle_version(), name, lines.text ? lines.text : "", name, name,
                  name, name, name, name, name, name);
    out->failed |= lines.failed;
    strbuf_finish(&lines);
}
