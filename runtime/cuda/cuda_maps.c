// A tensor as the copy engine sees it: (d, x, y, t, head), the basis axes in use, one map per
// residue and batch. A split axis is a tensor of its own: its base is the residue's first position
// and its stride the dilation's. Queries may be the trailing slices of the grid only, or begin
// before it: their map begins at the first query.
#include "runtime/cuda/cuda_maps.h"

#include <inttypes.h>
#include <string.h>

_Static_assert((int)RUN_TENSORS == (int)SM90_TENSOR_MAPS, "a map a tensor, in the same order");

enum {
    ELEMENT_BYTES = 2,
    ENGINE_BYTES = 16,       // what the engine's strides are multiples of
    ENGINE_STRIDE_BITS = 40, // and how long they are
    COLUMNS = 64,            // of a box: 128 bytes, the swizzle's span
    SET_BYTES = SM90_TENSOR_MAPS * SM90_MAP_BYTES,
    PLACED_SETS = 7, // by one launch: a kernel's parameters hold 4096 bytes
    PLACED_BYTES = PLACED_SETS * SET_BYTES,
    MOST_SETS = 1 << 20,
    QUEUE_BYTES = 128, // of a workspace, before the maps, which are aligned to that
};

// PLACED_BYTES and the number of threads are literals in it. The fence makes what was written here
// visible to the copy engine, which reads maps by a path of its own.
static const char PLACE_PTX[] =
    ".version 8.3\n"
    ".target sm_90a\n"
    ".address_size 64\n"
    ".visible .entry heddle_place_maps(\n"
    "  .param .align 64 .b8 maps[3584], .param .u64 to, .param .u32 words)\n"
    "{\n"
    "  .reg .pred past;\n"
    "  .reg .b32 i, count, word;\n"
    "  .reg .b64 from, at, offset;\n"
    "  mov.u32 i, %tid.x;\n"
    "  ld.param.u32 count, [words];\n"
    "  setp.ge.u32 past, i, count;\n"
    "  @past ret;\n"
    "  mul.wide.u32 offset, i, 4;\n"
    "  mov.b64 from, maps;\n"
    "  add.s64 from, from, offset;\n"
    "  ld.param.b32 word, [from];\n"
    "  ld.param.u64 at, [to];\n"
    "  add.s64 at, at, offset;\n"
    "  st.global.b32 [at], word;\n"
    "  fence.proxy.tensormap::generic.release.gpu;\n"
    "  ret;\n"
    "}\n";
_Static_assert(PLACED_BYTES == 3584 && PLACED_BYTES / 4 <= 1024, "what the PTX says");

static int64_t set_count(const struct cuda_plan *c) {
    return c->residue_sets * c->plan->batch;
}

// ---- room ---------------------------------------------------------------------------------------

int64_t cuda_workspace_bytes(const struct cuda_plan *c) {
    return QUEUE_BYTES + (set_count(c) > 1 ? set_count(c) * SET_BYTES : 0);
}

enum heddle_status cuda_maps_create(struct cuda_plan *c, struct error *error) {
    const struct cuda_api *api = c->device->api;
    const int64_t *d = c->plan->launch.dilation;
    int64_t sets = set_count(c);
    size_t bytes = (size_t)sets * SET_BYTES;
    if (d[0] > MOST_SETS || d[1] > MOST_SETS || d[2] > MOST_SETS || sets > MOST_SETS)
        return error_set(error, HEDDLE_LIMIT, "dilations and batches make too many tensor maps");
    c->host_maps = ARENA_ARRAY(&c->arena, unsigned char, bytes);
    if (sets == 1)
        return HEDDLE_OK;
    enum heddle_status status =
        cuda_kernel_load(c->device, NULL, PLACE_PTX, "heddle_place_maps", 0, &c->place_maps, error);
    if (status == HEDDLE_OK)
        status = cuda_status(api, api->MemAlloc(&c->maps, bytes), "tensor maps on the GPU", error);
    return status;
}

void cuda_maps_destroy(struct cuda_plan *c) {
    if (c->maps)
        c->device->api->MemFree(c->maps);
    c->maps = 0;
    cuda_kernel_unload(c->device, &c->place_maps);
}

// ---- encoding -----------------------------------------------------------------------------------

struct shape { // of a map, as cuTensorMapEncodeTiled takes it
    int rank;
    cuuint64_t size[5], stride[4]; // strides in bytes, of the dimensions after the first
    cuuint32_t box[5];
};

static enum heddle_status refuse(const struct run_view *view, struct error *error) {
    const struct abi_tensor *t = &view->tensor;
    return error_set(error, HEDDLE_BAD_ARGUMENT,
                     "tensor %s has strides (%" PRId64 ", %" PRId64 ", %" PRId64
                     ") over batch, head and token, which the GPU's copy engine cannot take: copy "
                     "it to a compact layout",
                     view->name, t->batch_stride, t->head_stride, t->token_stride);
}

// Appends a dimension whose neighbours are `steps` * `elements` apart; false: further than the
// engine reaches. The stride of a dimension of one means nothing and is made a legal one.
static bool add_dimension(struct shape *shape, int64_t size, int64_t steps, int64_t elements,
                          int64_t box) {
    int64_t bytes = ENGINE_BYTES;
    if (size > 1 && (__builtin_mul_overflow(steps, elements, &bytes) ||
                     __builtin_mul_overflow(bytes, ELEMENT_BYTES, &bytes) ||
                     bytes >= INT64_C(1) << ENGINE_STRIDE_BITS))
        return false;
    shape->size[shape->rank] = size > 1 ? (cuuint64_t)size : 1;
    shape->stride[shape->rank - 1] = (cuuint64_t)bytes;
    shape->box[shape->rank++] = (cuuint32_t)box;
    return true;
}

// The map's dimensions; *out_base in elements from the tensor's address.
static bool describe(const struct plan *plan, const struct run_view *view,
                     const struct cuda_residue *at, struct shape *out, int64_t *out_base) {
    const struct abi_launch *launch = &plan->launch;
    const struct abi_tensor *t = &view->tensor;
    int outer = ABI_AXES - plan->basis_axes;
    int64_t base = view->of_queries ? -plan->query_offset * t->token_stride : 0;
    *out = (struct shape){.rank = 1, .size = {(cuuint64_t)plan->dim}, .box = {COLUMNS}};
    for (int a = ABI_AXES - 1; a >= outer; a--) {
        int64_t first = view->of_queries && a == outer ? at->query_first : 0;
        int64_t box = view->of_queries ? plan->query_tile[a] : launch->tile[a];
        int64_t tokens = launch->token_stride[a];
        base += (at->residue[a] + launch->dilation[a] * first) * tokens * t->token_stride;
        if (!add_dimension(out, at->extent[a] - first, launch->dilation[a] * tokens,
                           t->token_stride, box))
            return false;
    }
    *out_base = base;
    return add_dimension(out, view->heads, 1, t->head_stride, 1);
}

static CUresult encode_shape(const struct cuda_plan *c, const struct shape *shape, uint64_t address,
                             CUtensorMap *out) {
    static const cuuint32_t step[5] = {1, 1, 1, 1, 1};
    return c->device->api->TensorMapEncodeTiled(
        out,
        c->plan->dtype == HEDDLE_BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                      : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        (cuuint32_t)shape->rank, (void *)(uintptr_t)address, shape->size, shape->stride, shape->box,
        step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

enum heddle_status cuda_maps_copy(const struct cuda_plan *c, CUdeviceptr copy, int64_t groups,
                                  int64_t row_elems, unsigned char *out, struct error *error) {
    const struct plan *plan = c->plan;
    struct shape shape = {.rank = 1, .size = {(cuuint64_t)plan->dim}, .box = {COLUMNS}};
    CUtensorMap map = {{0}};
    if (!add_dimension(&shape, groups, 1, row_elems, plan->launch.tile[ABI_AXES - 1]) ||
        !add_dimension(&shape, plan->batch * plan->kv_heads, groups, row_elems, 1))
        return error_set(error, HEDDLE_LIMIT, "pooled keys reach further than the copy engine");
    CUresult result = encode_shape(c, &shape, copy, &map);
    memcpy(out, &map, SM90_MAP_BYTES);
    return cuda_status(c->device->api, result, "describing pooled keys to the GPU", error);
}

static enum heddle_status encode(const struct cuda_plan *c, const struct run_view *view,
                                 int64_t batch, const struct cuda_residue *at, CUtensorMap *out,
                                 struct error *error) {
    const struct abi_tensor *t = &view->tensor;
    const struct cuda_api *api = c->device->api;
    struct shape shape;
    int64_t base;
    if (!describe(c->plan, view, at, &shape, &base))
        return refuse(view, error);
    base += batch * t->batch_stride;
    uint64_t address = (uint64_t)(uintptr_t)t->data + (uint64_t)(base * ELEMENT_BYTES);
    CUresult result = encode_shape(c, &shape, address, out);
    if (result == CUDA_ERROR_INVALID_VALUE)
        return refuse(view, error);
    return cuda_status(api, result, "describing a tensor to the GPU", error);
}

static bool is_within_reach(int64_t stride) {
    return stride >= 0 && stride * ELEMENT_BYTES % ENGINE_BYTES == 0 &&
           stride < (INT64_C(1) << ENGINE_STRIDE_BITS) / ELEMENT_BYTES;
}

// Can the engine store the output? Every batch has maps of its own, so only where it begins counts.
static bool can_store(const struct cuda_plan *c, const struct run_view *view) {
    struct shape shape;
    struct cuda_residue at = cuda_residue_of(c->plan, 0);
    const struct abi_tensor *t = &view->tensor;
    int64_t base;
    return (uintptr_t)t->data % ENGINE_BYTES == 0 &&
           t->batch_stride * ELEMENT_BYTES % ENGINE_BYTES == 0 &&
           is_within_reach(t->token_stride) && is_within_reach(t->head_stride) &&
           describe(c->plan, view, &at, &shape, &base);
}

// `count` maps of each set; what is left out is zeros.
static enum heddle_status encode_all(struct cuda_plan *c, const struct run_view *views, int count,
                                     struct error *error) {
    unsigned char *to = c->host_maps;
    for (int64_t batch = 0; batch < c->plan->batch; batch++)
        for (int64_t set = 0; set < c->residue_sets; set++) {
            struct cuda_residue at = cuda_residue_of(c->plan, set);
            for (int i = 0; i < SM90_TENSOR_MAPS; i++, to += SM90_MAP_BYTES) {
                CUtensorMap map = {{0}};
                enum heddle_status status =
                    i < count ? encode(c, &views[i], batch, &at, &map, error) : HEDDLE_OK;
                if (status != HEDDLE_OK)
                    return status;
                memcpy(to, &map, sizeof map);
            }
        }
    return HEDDLE_OK;
}

// Tensors come again and again: what was encoded for the run before is then used as it is.
static bool is_encoded(const struct cuda_plan *c, const struct run_view *views) {
    bool same = c->encoded;
    for (int i = 0; i < RUN_TENSORS && same; i++) {
        const struct abi_tensor *a = &c->encoded_of[i], *b = &views[i].tensor;
        same = a->data == b->data && a->batch_stride == b->batch_stride &&
               a->head_stride == b->head_stride && a->token_stride == b->token_stride;
    }
    return same; // dim strides are 1
}

static enum heddle_status find_maps(struct cuda_plan *c, const struct run_view *views,
                                    struct sm90_args *args, struct error *error) {
    if (is_encoded(c, views))
        return HEDDLE_OK;
    c->encoded = c->placed = false;
    args->o_mapped = can_store(c, &views[RUN_O]);
    enum heddle_status status = encode_all(c, views, args->o_mapped ? RUN_TENSORS : RUN_O, error);
    if (status != HEDDLE_OK)
        return status;
    memcpy(args->maps, c->host_maps, sizeof args->maps);
    for (int i = 0; i < RUN_TENSORS; i++)
        c->encoded_of[i] = views[i].tensor;
    c->encoded = true;
    return HEDDLE_OK;
}

// ---- placing ------------------------------------------------------------------------------------

static enum heddle_status launch_place(struct cuda_plan *c, CUdeviceptr all, int64_t first_set,
                                       CUstream stream, struct error *error) {
    const struct cuda_api *api = c->device->api;
    unsigned char maps[PLACED_BYTES] = {0};
    int64_t sets = set_count(c) - first_set;
    sets = sets < PLACED_SETS ? sets : PLACED_SETS;
    memcpy(maps, c->host_maps + first_set * SET_BYTES, (size_t)(sets * SET_BYTES));
    uint64_t to = all + (uint64_t)(first_set * SET_BYTES);
    uint32_t words = (uint32_t)(sets * SET_BYTES / 4);
    void *params[] = {maps, &to, &words};
    CUresult result = api->LaunchKernel(c->place_maps.function, 1, 1, 1, PLACED_BYTES / 4, 1, 1, 0,
                                        stream, params, NULL);
    return cuda_status(api, result, "placing tensor maps", error);
}

static enum heddle_status place_all(struct cuda_plan *c, CUdeviceptr to, CUstream stream,
                                    struct error *error) {
    enum heddle_status status = HEDDLE_OK;
    for (int64_t set = 0; set < set_count(c) && status == HEDDLE_OK; set += PLACED_SETS)
        status = launch_place(c, to, set, stream, error);
    return status;
}

// The plan's own memory holds these maps already when what is queued before has run, if they are of
// the run before. Nobody knows any more once a run was captured: the graph puts its own maps there
// whenever it is replayed.
static enum heddle_status place_own(struct cuda_plan *c, CUstream stream, struct error *error) {
    const struct cuda_api *api = c->device->api;
    CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult result = api->StreamIsCapturing(stream, &capture);
    enum heddle_status status = cuda_status(api, result, "asking about the stream", error);
    c->captured |= capture != CU_STREAM_CAPTURE_STATUS_NONE;
    if (status != HEDDLE_OK || (c->placed && !c->captured))
        return status;
    c->placed = false; // until all of them are
    status = place_all(c, c->maps, stream, error);
    c->placed = status == HEDDLE_OK;
    return status;
}

enum heddle_status cuda_maps_place(struct cuda_plan *c, const struct run_view *views,
                                   CUdeviceptr workspace, CUstream stream, struct error *error) {
    struct sm90_args *args = (struct sm90_args *)(void *)c->args;
    enum heddle_status status = find_maps(c, views, args, error);
    if (status != HEDDLE_OK || !c->maps)
        return status;
    args->more_maps = workspace ? workspace + QUEUE_BYTES : c->maps;
    return workspace ? place_all(c, args->more_maps, stream, error) : place_own(c, stream, error);
}
