// heddle: sparse attention from pattern files. The manual of two libraries: libheddle, and
// libheddle-rt, which has no compiler and runs bundles of compiled patterns by the same calls.
//
// A host program makes a context (one device, one thread pool), loads patterns, makes a plan for a
// problem (shapes, dtype, parameters) and runs it on tensors, as often as it likes:
//
//   struct heddle_context *ctx;   struct heddle_pattern *pat;   struct heddle_plan *plan;
//   heddle_context_create(NULL, &ctx);      // a GPU where there is one, else the CPU
//   heddle_pattern_load(ctx, "window", NULL, &pat);   // a shipped pattern, or a file
//   struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
//   problem.sizes[0] = 4096;  problem.heads = problem.kv_heads = 8;  problem.dtype = HEDDLE_BF16;
//   heddle_plan_create(ctx, pat, &problem, &plan);
//   heddle_run(plan, &tensors, stream);     // in the memory of heddle_context_target(ctx)
//   heddle_plan_destroy(plan);  heddle_pattern_destroy(pat);  heddle_context_destroy(ctx);
//
// Every function that can fail returns a status; heddle_last_error gives the message of the calling
// thread's last failure. A call that makes something sets it to NULL when it fails. The library
// never exits, and prints only where HEDDLE_DEBUG in the environment asks for it; what goes wrong
// in a call changes no other object. Where nothing else is said, a missing (NULL) pointer is a
// HEDDLE_BAD_ARGUMENT.
//
// Ownership: contexts, patterns and plans are destroyed by the caller, what was made from one
// before it. Everything else that is passed in is the caller's, read during the call only; tensors
// are also read and written while what a call queued on a stream runs.
//
// Threads: contexts and patterns may be used from many threads at a time; calls that compile for
// one pattern (loading it, the first plan of a dtype and head dim, on a GPU also of tile shapes)
// wait for each other. Runs of one plan may be called from many threads at a time: they take turns,
// unless they bring workspaces (heddle_run_with). Other calls with a plan are for one thread at a
// time. Destroying an object ends its use: no other thread may be in a call with it.
//
// On the CPU a context has threads that help with runs, those of all its plans: they are started
// when its first plan is made, wait without using a processor, block all signals, and end when it
// is destroyed. Results do not depend on how many there are. A child of fork may use what its
// parent made, and starts threads of its own in its first run; no thread may be in a call of heddle
// while the process forks. (CUDA itself cannot be used in a child when its parent did.)
//
// Structs that begin with struct_bytes, their size, get new members at their end in later versions;
// 0 is then what it was before. So programs built against an older heddle.h work as they did, and
// those built against a newer one work where they leave members 0 that this library does not know,
// and otherwise get a HEDDLE_BAD_ARGUMENT. Other structs and the values of enums do not change
// while the number in the library's name (libheddle.so.0) does not.
//
// Disk: what is compiled is kept in the folder `code` of $HEDDLE_CACHE_DIR, else of
// $XDG_CACHE_HOME/heddle, else of ~/.cache/heddle, and later processes find it there instead of
// compiling. No call fails for the state of that folder. HEDDLE_CACHE_LIMIT=0 in the environment:
// nothing is read or written there. docs/environment.md has the rest.
//
// CUDA: heddle holds the GPU's primary context, the one that the CUDA runtime (and so PyTorch and
// JAX) uses; memory and streams must be of that context. Each call leaves the thread's current
// context as it found it, NULL included. Of the host's work nothing is waited for.
#ifndef HEDDLE_H
#define HEDDLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum heddle_status {
    HEDDLE_OK = 0,
    HEDDLE_BAD_ARGUMENT,  // the caller's: a value out of range, a missing pointer, an unknown name
    HEDDLE_PATTERN_ERROR, // the pattern's text is wrong, or a `require` of it fails for the problem
    HEDDLE_LIMIT,         // right, but larger than this version handles
    HEDDLE_OUT_OF_MEMORY,
    HEDDLE_IO_ERROR,     // a file could not be read or written
    HEDDLE_DEVICE_ERROR, // no such device, or its driver failed
    HEDDLE_INTERNAL,     // a bug in heddle
    // What only the compiler makes, where there is none: a pattern's text in libheddle-rt; code
    // that a bundle does not hold (the message lists what it holds)
    HEDDLE_NO_COMPILER
};

enum heddle_dtype { HEDDLE_F32 = 0, HEDDLE_F16, HEDDLE_BF16 };
enum heddle_target { HEDDLE_TARGET_AUTO = 0, HEDDLE_TARGET_CPU, HEDDLE_TARGET_CUDA };

// Who makes the work lists of a plan on a GPU; on the CPU all are the host's. Both make the same
// lists, bit for bit.
enum heddle_planner {
    HEDDLE_PLANNER_AUTO = 0, // DEVICE where an input is given in the GPU's memory, else HOST
    HEDDLE_PLANNER_HOST,     // the host, once, when the plan is made
    // The GPU, when the plan is made and again in each heddle_replan. The first plan of a pattern
    // waits some seconds for the driver to assemble the planner (later processes find it on disk,
    // see above), and holds up to 100 MB of the GPU's memory for a million tokens.
    HEDDLE_PLANNER_DEVICE
};

enum { HEDDLE_MAX_AXES = 3 };

struct heddle_context;
struct heddle_pattern;
struct heddle_plan;

// ---- context -------------------------------------------------------------------------------

enum heddle_log_level {
    HEDDLE_LOG_DEFAULT = 0, // in options: WARNING
    HEDDLE_LOG_WARNING,     // something is slower or was left out, and the call goes on
    HEDDLE_LOG_INFO,        // what was made: code, plans, dumps
    HEDDLE_LOG_TRACE        // each stage of each call, with its time
};
// Called in the thread that is in a call of heddle, from several at a time where several are. It
// calls no function of heddle. `message` is one line without an end, until it returns.
typedef void (*heddle_log_fn)(void *log_context, enum heddle_log_level level, const char *message);

struct heddle_context_options {
    size_t struct_bytes; // sizeof(struct heddle_context_options)
    // AUTO (default): a GPU where one can be used, else the CPU. CUDA: a GPU or a failure. The GPU
    // is the one whose context is current in the calling thread; where none is, the first that fits
    // (compute capability 9.0, a driver for CUDA 12.3 or later).
    enum heddle_target target;
    // Threads of a run on the CPU, the calling one among them, 0 (default): one per processor that
    // this process may use when the context is made.
    int threads;
    const char *const *import_dirs; // further folders that `import` searches; copied
    int import_dir_count;
    // Gets what calls with the context and with what was made from it have to tell, besides
    // failures, which are statuses; NULL (default): nobody. HEDDLE_DEBUG=trace in the environment
    // makes the level TRACE, and prints to standard error where there is no function.
    heddle_log_fn log;
    void *log_context;               // for `log`; borrowed until the context is destroyed
    enum heddle_log_level log_level; // up to which level
};

// options NULL: all defaults. On failure *out_context is NULL (and heddle_last_error has the
// message). HEDDLE_BAD_ARGUMENT, HEDDLE_DEVICE_ERROR (a CUDA target where there is none),
// HEDDLE_OUT_OF_MEMORY. It takes milliseconds; a first GPU context of the process takes what the
// driver takes.
enum heddle_status heddle_context_create(const struct heddle_context_options *options,
                                         struct heddle_context **out_context);
// NULL is fine. Everything made from the context must be destroyed before.
void heddle_context_destroy(struct heddle_context *context);

// Where plans of this context run, and so where their tensors must live: HEDDLE_TARGET_CPU (memory
// of the process) or HEDDLE_TARGET_CUDA (memory of the GPU). Never AUTO.
enum heddle_target heddle_context_target(const struct heddle_context *context);
// "NVIDIA H100 80GB HBM3", or the processor's name. Lives as long as the context.
const char *heddle_context_device_name(const struct heddle_context *context);

// Message of this thread's last failed call. Never NULL; valid until the thread's next failure.
const char *heddle_last_error(void);
// "bad argument", ...; "unknown status" for what is none. Lives for ever, as does the version.
const char *heddle_status_name(enum heddle_status status);
const char *heddle_version(void); // "MAJOR.MINOR.PATCH", what `heddle --version` prints

// ---- patterns ------------------------------------------------------------------------------

struct heddle_assignment { // of a constant, as text: {"block", "128"}
    const char *name, *value;
};

struct heddle_pattern_options {
    size_t struct_bytes; // sizeof(struct heddle_pattern_options)
    const char *name; // which pattern of the file; NULL: the one named like the file, else the last
    const struct heddle_assignment *consts;
    int const_count;
};

// Reads, checks and analyses a pattern file; compiles its planner. Kernels are compiled when a
// plan first needs them. `path` is a file, or, where there is none and it holds no '/', the name of
// a shipped pattern ("window"). `import` in the file looks beside it, in the context's import_dirs,
// then among the shipped patterns. options NULL: all defaults.
//
// The file may be a bundle (`heddle compile --emit=bundle`): its pattern, with code for some
// dtypes, head dims, CPUs and GPUs, of which nothing is compiled any more. libheddle-rt takes only
// bundles. Constants of a bundle were set when it was made. Its machine code is run as it is: load
// none from where you would not load a library from.
//
// HEDDLE_PATTERN_ERROR: heddle_last_error holds all diagnostics, formatted. HEDDLE_IO_ERROR: there
// is no such file, it cannot be read, or is a bundle that is damaged or of another version.
// HEDDLE_BAD_ARGUMENT: also an option's pattern or constant that the file does not have.
// HEDDLE_LIMIT: larger than docs/language.md allows. HEDDLE_NO_COMPILER: a text, in libheddle-rt; a
// bundle without code for this CPU. HEDDLE_OUT_OF_MEMORY. HEDDLE_INTERNAL.
enum heddle_status heddle_pattern_load(struct heddle_context *context, const char *path,
                                       const struct heddle_pattern_options *options,
                                       struct heddle_pattern **out_pattern);
// The same for text already in memory: UTF-8, length_bytes of it, or a bundle; copied. `name`
// stands for the path in messages; imports are looked for beside it.
enum heddle_status heddle_pattern_parse(struct heddle_context *context, const char *name,
                                        const char *text, size_t length_bytes,
                                        const struct heddle_pattern_options *options,
                                        struct heddle_pattern **out_pattern);
void heddle_pattern_destroy(struct heddle_pattern *pattern); // NULL is fine; plans first

// ---- plans ---------------------------------------------------------------------------------

struct heddle_param { // a scalar (count 1) or a per-head table (count heads, or 1 for all)
    const char *name; // given twice: the last one counts, as with inputs
    int count;
    const int64_t *ints; // one of the two; reals are accepted for real parameters only
    const double *reals;
};

enum heddle_element { HEDDLE_INT32 = 0, HEDDLE_INT64, HEDDLE_FLOAT32 };

// An `input` array, row-major over its declared indices. An `input set` has lists of its elements:
// int32 or int64, [declared indices, room], each of any length up to the room, 0 too, in any order,
// repeated or not; -1 stands where there is none. Elements are 0 to tokens - 1, others are a
// HEDDLE_BAD_ARGUMENT.
struct heddle_input {
    const char *name;
    const void *data; // borrowed while the call lasts: the plan keeps a copy
    // INT32, or INT64 whose values fit 32 bits, for int and sets; FLOAT32 for real.
    enum heddle_element element;
    int rank;
    int64_t shape[4]; // of the declared indices; of an `input set`, the room after them
    int on_device; // 1: data is memory of the context's GPU, written before the call; 0: the host's
    // Of HEDDLE_PLANNER_DEVICE: the least and the greatest value, [2], that heddle_replan may bring
    // later, besides what data holds now; NULL: none besides. Indices, divisors and overflow are
    // checked for all of it. Ignored for sets, which may bring any token.
    const double *range;
};

struct heddle_problem {
    size_t struct_bytes; // sizeof(struct heddle_problem); start from HEDDLE_PROBLEM_INIT
    // Of the pattern's axes, in declaration order; the rest is not looked at. Keys cover the grid.
    int64_t sizes[HEDDLE_MAX_AXES];
    int64_t queries;                // 0: as many as keys; otherwise the last `queries` positions
    int64_t batch, heads, kv_heads; // kv_heads divides heads
    int64_t dim;                    // 8..256
    enum heddle_dtype dtype;        // of q, k, v and o; a GPU takes bf16 and fp16
    double scale;                   // 0: 1/sqrt(dim)
    const struct heddle_param *params;
    int param_count;
    const struct heddle_input *inputs;
    int input_count;
    enum heddle_planner planner;
    // 1: take the tile boxes that `heddle run --tune` measured to be the best for this problem on
    // this machine, where it did. 0 (default): those that a model of costs picks, always the same.
    // Other boxes add up in another order, so the last bits of o and lse may differ.
    int tuned;
};
// Every member in its order, since C++17 has no other way: batch, heads, kv_heads 1, dim 64, fp32.
// clang-format off
#define HEDDLE_PROBLEM_INIT                                                                        \
    {                                                                                              \
        sizeof(struct heddle_problem), {0, 0, 0}, 0, 1, 1, 1, 64, HEDDLE_F32, 0.0, NULL, 0, NULL,  \
        0, HEDDLE_PLANNER_AUTO, 0                                                                  \
    }
// clang-format on

// Checks the problem against the pattern (every `require`, table lengths, index ranges, integer
// overflow, divisors), makes the work lists, and compiles the kernel when this pattern has none yet
// for this dtype and dim. HEDDLE_PATTERN_ERROR: a `require` failed or an expression has no value
// for this problem; the message names file, line, column and values. HEDDLE_LIMIT: among others,
// fp32 on a GPU, and there patterns that select from q and k or merge by gates. HEDDLE_NO_COMPILER:
// the pattern is a bundle's, which has no code for the problem's dtype and dim, on a GPU in any
// tile shapes; the message lists what it has. HEDDLE_BAD_ARGUMENT, HEDDLE_OUT_OF_MEMORY,
// HEDDLE_DEVICE_ERROR, HEDDLE_INTERNAL. On a GPU the call loads the kernel, uploads or makes the
// lists, and waits for that. HEDDLE_PLANNER_DEVICE is a HEDDLE_BAD_ARGUMENT on the CPU, and a
// HEDDLE_DEVICE_ERROR where heddle was built without a planner for GPUs (AUTO then takes the
// host's).
//
// With `tuned`, the call reads one small file in the folder `tuned` of $HEDDLE_CACHE_DIR, else of
// $XDG_CACHE_HOME/heddle, else of ~/.cache/heddle. Pattern, sizes, dtype, parameters, shapes of
// inputs, device, threads (on the CPU) and heddle's version must be those that were measured. A
// missing or damaged file is no failure: the plan is then made as without `tuned`.
enum heddle_status heddle_plan_create(struct heddle_context *context,
                                      struct heddle_pattern *pattern,
                                      const struct heddle_problem *problem,
                                      struct heddle_plan **out_plan);
// NULL is fine. On a GPU no run of the plan may be under way, and graphs that captured one must not
// be launched any more.
void heddle_plan_destroy(struct heddle_plan *plan);

// In C++ write `struct` before it: the function below has the same name.
struct heddle_plan_info {
    size_t struct_bytes; // sizeof(struct heddle_plan_info), set by the caller
    int64_t queries, keys;
    int64_t computed_pairs; // pairs in the tiles of all batches and heads, when the plan was made
    int64_t plan_bytes;     // of the work lists
    double plan_ms, compile_ms; // making the lists; compiling the kernel, 0 where there was one
    int tuned;                  // 1: in boxes that were measured; see heddle_problem
    int64_t workspace_bytes;    // what a run takes that brings a workspace; see heddle_run_with
    // 1: nothing was compiled for the pattern since it was loaded; its code was found on disk.
    int cached;
};
// Neither pointer may be NULL. A size that is of no version known here: nothing is written.
void heddle_plan_info(const struct heddle_plan *plan, struct heddle_plan_info *out_info);

// ---- running -------------------------------------------------------------------------------

// [batch, heads, tokens, dim] in whatever order: [b, h, n, d] and [b, n, h, d], one of q, k and v
// packed together, some heads of a larger tensor, rows with room at their end.
struct heddle_tensor {
    void *data;         // of element 0, 0, 0, 0; aligned to its element
    int64_t strides[4]; // batch, head, token, dim, in elements; all 0: contiguous in that order
};

struct heddle_tensors {
    struct heddle_tensor q, k, v, o; // k, v have kv_heads heads; o is shaped like q
    float *lse; // or NULL; [batch, heads, queries], natural logarithm, contiguous
};

// Computes o (and lse), and writes nothing else: room between rows stays as it was. A query that
// keeps nothing gets 0 and -infinity. The same plan on the same numbers gives the same bits,
// whatever the layout, the stream and what else runs.
//
// Layouts. The stride of a dimension of size 1 means nothing. Strides of q, k and v may be 0 (all
// heads or batches read the same keys, say). On the CPU any stride does; where the dim stride of a
// tensor is not 1 the first run compiles a kernel for that. On a GPU:
//   q, k, v  address a multiple of 16 bytes, dim stride 1, the others multiples of 8 elements,
//            over heads and tokens not negative, along an axis under 2^40 bytes
//   o        address a multiple of 4 bytes, dim stride 1, the others even
// A head dim that is no multiple of 8 therefore needs rows with room for one that is.
//
// Aliasing. q, k and v may share memory. o and lse share none with each other or with an input, and
// no two rows of o may share any (a stride of 0 is refused, other overlaps are not seen).
//
// Dropped keys. What k and v hold at keys that a query drops, and what q holds of other queries,
// changes no bit of the query's rows of o and lse, NaN and infinities included. With one exception:
// a GPU multiplies v in whole tiles, by 0 where a key is dropped. So a NaN or an infinity in v may
// make NaN of the row of o (not of lse) of a query that drops the key, if it lies in a tile of keys
// that is computed for the query's tile. `heddle draw --tiles --target cuda` shows those; no other
// tiles are read.
//
// Selections. A pattern with `stage` or `select` computes them from q and k in this call, before
// its attention, and makes the work lists again; so heddle_plan_info tells of the lists of the last
// run. A NaN in q or k makes NaN of the scores it goes into: such a candidate is not selected,
// unless it is always. Equal inputs select the same whatever ran before, at every batch entry.
// On the CPU only: heddle_plan_create gives HEDDLE_LIMIT for such a pattern on a GPU.
//
// Streams. On the CPU `stream` must be NULL, and the call returns when the result is there. On a
// GPU `stream` is a CUstream (NULL: the default stream); the call queues the work, waits for
// nothing, and afterwards reads no memory of the host. It may be captured in a CUDA graph (by a
// stream that is not the default one): replays read and write the tensors of the captured call,
// whatever the plan ran on in between. One run of a plan may be in flight at a time, replays
// included: order runs by a stream or by events, or give each stream a workspace (heddle_run_with).
//
// Costs. The call allocates nothing and copies nothing but kernel parameters; on a GPU it takes a
// few microseconds of the host, fewest where tensors are those of the run before. The exception is
// the first run on the CPU with a dim stride that is not 1, which compiles, and runs that select,
// whose lists are made again.
//
// HEDDLE_BAD_ARGUMENT: a missing, misaligned or unfit tensor, a stream on the CPU.
// HEDDLE_DEVICE_ERROR: the driver refused the launch (also for a failure of earlier work).
// HEDDLE_OUT_OF_MEMORY. HEDDLE_INTERNAL.
enum heddle_status heddle_run(struct heddle_plan *plan, const struct heddle_tensors *tensors,
                              void *stream);

// What a run writes besides its results: queue and tensor maps on a GPU, the threads' scratch on
// the CPU, and there the means of k and v that a pattern with `pool` reads. A plan has one such
// memory of its own. A run that brings another may be in flight at the same time as others of its
// plan, and be called from another thread. (On the CPU, runs that select take turns. On a GPU, a
// plan of a pattern with `pool` takes no other: its means are the plan's.)
enum { HEDDLE_WORKSPACE_ALIGNMENT = 128 }; // bytes

struct heddle_run_options {
    size_t struct_bytes; // sizeof(struct heddle_run_options)
    // Memory where the tensors are (heddle_context_target), aligned to HEDDLE_WORKSPACE_ALIGNMENT,
    // of heddle_plan_info.workspace_bytes at least; NULL (default), with 0 bytes: the plan's own.
    // On a GPU all of it is zeros when it is first used, and afterwards only runs write to it. It
    // may serve several plans, and belongs to one run in flight: replays of a graph that captured
    // a run use that run's.
    void *workspace;
    int64_t workspace_bytes;
};

// heddle_run with options; NULL: all defaults. On the CPU a smaller workspace makes the run use
// fewer threads, down to one; where the dim stride of a tensor is not 1 each thread takes more than
// workspace_bytes counts with. HEDDLE_BAD_ARGUMENT: also a workspace that is misaligned or too
// small (the message says what is needed).
enum heddle_status heddle_run_with(struct heddle_plan *plan, const struct heddle_tensors *tensors,
                                   const struct heddle_run_options *options, void *stream);

// ---- planning again ------------------------------------------------------------------------

// Makes the lists of a plan with HEDDLE_PLANNER_DEVICE again, on the GPU, for new contents of its
// inputs; runs that are queued after it use them. Inputs that are not named keep what they hold;
// with none at all the lists are made again as they are. Parameters and sizes are the plan's.
//
// Inputs. As in the problem of heddle_plan_create: the same shape (of a set, the room may be
// another), and int32 or int64 for int and sets, float32 for real; on_device must be 1 (range is
// ignored). The plan copies them when the queued
// work runs, so `data` must stay valid and unchanged until then; other fields are read during the
// call only.
//
// Streams. As heddle_run: the call queues work on `stream`, waits for nothing, and afterwards reads
// no memory of the host. It may be captured in a CUDA graph, together with runs: a replay reads
// what `data` holds by then. The lists are the plan's, and every run reads them: no other replan
// and no run of the plan, with a workspace or not, may be in flight at the same time. Two chains of
// replans and runs side by side take two plans.
//
// Two things cannot be known before the GPU has seen the contents, and are no failures of the call;
// heddle_plan_lists tells. A list that needs more runs than it has room for (twice what lists took
// when the plan was made, from a sample) becomes one run of masked tiles: results are the same,
// only slower. A value outside of what the plan was made for (heddle_input.range) is taken as the
// nearest one inside; an element of a set that is no token, and not -1, is left out.
//
// HEDDLE_BAD_ARGUMENT: a plan of the host's lists, an unknown input, another shape or element,
// memory of the host, or a set that a quantifier of the pattern runs over: its elements are the
// plan's. HEDDLE_DEVICE_ERROR: the driver refused (also for a failure of earlier work).
enum heddle_status heddle_replan(struct heddle_plan *plan, const struct heddle_input *inputs,
                                 int input_count, void *stream);

struct heddle_lists {
    size_t struct_bytes;    // sizeof(struct heddle_lists)
    int64_t lists;          // each shared by heads of equal parameters
    int64_t merged;         // of these: had more runs than fit and are masked tiles throughout
    int64_t computed_pairs; // as in heddle_plan_info, but of the lists as they are now
    int64_t clamped_inputs; // inputs with a value outside of their range, sets with no token
};
// The lists as they are when all that was queued on `stream` has run; waits for it. Not while the
// stream is captured. When it fails, the numbers are 0. HEDDLE_BAD_ARGUMENT: a plan of the host's
// lists, an unknown struct_bytes. HEDDLE_DEVICE_ERROR, HEDDLE_OUT_OF_MEMORY.
enum heddle_status heddle_plan_lists(struct heddle_plan *plan, void *stream,
                                     struct heddle_lists *out_lists);

#ifdef __cplusplus
}
#endif

#endif
