#include "runtime/tuned.h"

#include "compiler/analyse/facts.h"
#include "compiler/base/files.h"
#include "heddle_config.h"
#include "runtime/cpu_device.h"
#include "runtime/record.h"
#include "runtime/threads.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// To be raised when kernels change so much that what was measured with older ones says nothing.
enum { KERNELS = 2 };

static const char folder_name[] = "tuned";

struct tuned_machine tuned_machine(const struct cuda_device *gpu, int threads) {
    struct tuned_machine machine;
    struct cpu_device cpu;
    if (gpu) {
        snprintf(machine.text, sizeof machine.text, "%s, %d multiprocessors, driver %d", gpu->name,
                 gpu->processors, gpu->driver);
        return machine;
    }
    cpu_device_query(&cpu);
    snprintf(machine.text, sizeof machine.text, "%s, %s, %d threads", cpu.name, cpu.features,
             threads > 0 ? threads : threads_available());
    return machine;
}

// ---- the key ------------------------------------------------------------------------------------

static void add_sizes(const struct plan *plan, struct strbuf *out) {
    strbuf_puts(out, "sizes");
    for (int a = 0; a < plan->program->pattern->axis_count; a++)
        strbuf_printf(out, " %" PRId64, plan->size[a]);
    strbuf_printf(out,
                  "\nqueries %" PRId64 "\nbatch %" PRId64 "\nheads %" PRId64 "\nkv_heads %" PRId64
                  "\ndim %" PRId64 "\ndtype %d\n",
                  plan->queries, plan->batch, plan->heads, plan->kv_heads, plan->dim, plan->dtype);
}

static void add_param(const struct plan *plan, const struct pattern_param *param,
                      struct strbuf *out) {
    const struct abi_env *env = &plan->launch.env;
    const union abi_slot *values =
        param->per_head ? env->tables[param->index] : &env->params[param->index];
    int64_t count = param->per_head ? plan->heads : 1;
    strbuf_printf(out, "param %s", param->name);
    for (int64_t i = 0; i < count; i++) {
        strbuf_puts(out, " ");
        if (param->type == TYPE_REAL)
            expr_print_real(values[i].r, out);
        else
            strbuf_printf(out, "%" PRId64, values[i].i);
    }
    strbuf_puts(out, "\n");
}

static void add_input(const struct pattern_input *input, const struct abi_array *array,
                      struct strbuf *out) {
    strbuf_printf(out, "input %s", input->name);
    for (int64_t i = 0; i < array->index_count; i++)
        strbuf_printf(out, " %" PRId64, array->extent[i]);
    strbuf_puts(out, "\n");
}

bool tuned_key(const struct plan *plan, const char *machine, struct strbuf *out) {
    const struct pattern *pattern = plan->program->pattern;
    bool gpu = plan->options.target == HEDDLE_TARGET_CUDA;
    strbuf_printf(out, "heddle %s, kernels %d\ntarget %s: %s\n", HEDDLE_VERSION, KERNELS,
                  gpu ? "cuda" : "cpu", machine);
    add_sizes(plan, out);
    for (int i = 0; i < pattern->param_count; i++)
        add_param(plan, &pattern->params[i], out);
    for (int i = 0; i < pattern->input_count; i++)
        add_input(&pattern->inputs[i], &plan->launch.env.arrays[i], out);
    // The printer cuts very long expressions; the fingerprint sees all of them.
    strbuf_printf(out, "fingerprint %016" PRIx64 "\n", pattern_fingerprint(pattern));
    pattern_print(pattern, out);
    return !out->failed;
}

// ---- the boxes ----------------------------------------------------------------------------------

static void add_boxes(const struct plan *plan, struct strbuf *out) {
    const int64_t *query = plan->query_tile, *key = plan->launch.tile;
    strbuf_printf(out,
                  "basis %s\nquery_tile %" PRId64 " %" PRId64 " %" PRId64 "\nkey_tile %" PRId64
                  " %" PRId64 " %" PRId64 "\n",
                  plan->program->facts->bases[plan->basis].name, query[0], query[1], query[2],
                  key[0], key[1], key[2]);
}

static int basis_named(const struct facts *facts, const char *name) {
    for (int b = 0; b < facts->basis_count; b++)
        if (strcmp(facts->bases[b].name, name) == 0)
            return b;
    return -1;
}

static bool parse_boxes(const struct facts *facts, char *text, struct plan_boxes *out) {
    static const char start[] = "basis ";
    int64_t *query = out->query_tile, *key = out->key_tile;
    char *end = strchr(text, '\n');
    if (!end || strncmp(text, start, sizeof start - 1) != 0)
        return false;
    *end = '\0';
    out->basis = basis_named(facts, text + sizeof start - 1);
    int read = sscanf(end + 1,
                      "query_tile %" SCNd64 " %" SCNd64 " %" SCNd64 " key_tile %" SCNd64 " %" SCNd64
                      " %" SCNd64,
                      &query[0], &query[1], &query[2], &key[0], &key[1], &key[2]);
    return out->basis >= 0 && read == 2 * ABI_AXES;
}

// ---- the memory ---------------------------------------------------------------------------------

bool tuned_find(const struct plan *plan, struct plan_boxes *out) {
    struct strbuf folder = {0}, key = {0}, text = {0};
    bool found = files_user_folder(folder_name, &folder) &&
                 tuned_key(plan, plan->options.tuned_on, &key) &&
                 record_read(folder.text, key.text, &text) &&
                 parse_boxes(plan->program->facts, text.text, out);
    strbuf_finish(&folder);
    strbuf_finish(&key);
    strbuf_finish(&text);
    return found;
}

enum heddle_status tuned_store(const struct plan *plan, const char *machine, struct error *error) {
    struct strbuf folder = {0}, key = {0}, text = {0};
    enum heddle_status status = HEDDLE_OK;
    add_boxes(plan, &text);
    if (!files_user_folder(folder_name, &folder))
        status = error_set(error, HEDDLE_IO_ERROR,
                           "none of HEDDLE_CACHE_DIR, XDG_CACHE_HOME and HOME is set");
    else if (!tuned_key(plan, machine, &key) || text.failed)
        status = error_set(error, HEDDLE_OUT_OF_MEMORY, "no memory for a record");
    if (status == HEDDLE_OK)
        status = record_write(folder.text, key.text, text.text, error);
    strbuf_finish(&folder);
    strbuf_finish(&key);
    strbuf_finish(&text);
    return status;
}
