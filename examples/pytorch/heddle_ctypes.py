"""libheddle.so from Python: contexts, patterns, plans and runs, over ctypes.

    heddle = Heddle("build/libheddle.so")
    context = heddle.context(CUDA)
    pattern = context.load("patterns/window.heddle")
    plan = context.plan(pattern, Problem(sizes=(4096,), heads=8, dim=64, dtype=BF16,
                                         params={"before": 256}))
    plan.run(q, k, v, out=o, lse=lse, stream=torch.cuda.current_stream().cuda_stream)

Tensors are torch tensors or NumPy arrays [batch, heads, tokens, dim] of any strides: nothing is
copied. A call that fails raises HeddleError with the library's message. The structs below are those
of runtime/include/heddle.h, field by field; the library refuses structs of another size.
"""
import ctypes
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_void_p,
                    sizeof)
from dataclasses import dataclass, field

CPU, CUDA = 1, 2                # enum heddle_target
F32, F16, BF16 = 0, 1, 2        # enum heddle_dtype
DTYPES = {"fp32": F32, "fp16": F16, "bf16": BF16}
INT32, INT64, FLOAT32 = 0, 1, 2  # enum heddle_element
WARNING, INFO, TRACE = 1, 2, 3  # enum heddle_log_level


class HeddleError(Exception):
    pass


# ---- the header's structs -----------------------------------------------------------------------

LogFunction = CFUNCTYPE(None, c_void_p, c_int, c_char_p)


class ContextOptions(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("target", c_int), ("threads", c_int),
                ("import_dirs", POINTER(c_char_p)), ("import_dir_count", c_int), ("log", LogFunction),
                ("log_context", c_void_p), ("log_level", c_int)]


class Assignment(Structure):
    _fields_ = [("name", c_char_p), ("value", c_char_p)]


class PatternOptions(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("name", c_char_p), ("consts", POINTER(Assignment)),
                ("const_count", c_int)]


class Param(Structure):
    _fields_ = [("name", c_char_p), ("count", c_int), ("ints", POINTER(c_int64)),
                ("reals", POINTER(c_double))]


class Input(Structure):
    _fields_ = [("name", c_char_p), ("data", c_void_p), ("element", c_int), ("rank", c_int),
                ("shape", c_int64 * 4), ("on_device", c_int), ("range", POINTER(c_double))]


class ProblemStruct(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("sizes", c_int64 * 3), ("queries", c_int64),
                ("batch", c_int64), ("heads", c_int64), ("kv_heads", c_int64), ("dim", c_int64),
                ("dtype", c_int), ("scale", c_double), ("params", POINTER(Param)),
                ("param_count", c_int), ("inputs", POINTER(Input)), ("input_count", c_int),
                ("planner", c_int), ("tuned", c_int)]


class PlanInfo(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("queries", c_int64), ("keys", c_int64),
                ("computed_pairs", c_int64), ("plan_bytes", c_int64), ("plan_ms", c_double),
                ("compile_ms", c_double), ("tuned", c_int), ("workspace_bytes", c_int64),
                ("cached", c_int)]


class Lists(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("lists", c_int64), ("merged", c_int64),
                ("computed_pairs", c_int64), ("clamped_inputs", c_int64)]


class RunOptions(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("workspace", c_void_p), ("workspace_bytes", c_int64)]


class TensorStruct(Structure):
    _fields_ = [("data", c_void_p), ("strides", c_int64 * 4)]


class Tensors(Structure):
    _fields_ = [("q", TensorStruct), ("k", TensorStruct), ("v", TensorStruct), ("o", TensorStruct),
                ("lse", c_void_p)]


# ---- tensors of torch and NumPy -----------------------------------------------------------------

def address(array):
    return array.data_ptr() if hasattr(array, "data_ptr") else array.ctypes.data


def strides_in_elements(array):
    if hasattr(array, "data_ptr"):
        return array.stride()
    return tuple(bytes_ // array.itemsize for bytes_ in array.strides)


def tensor_struct(array):
    if array.ndim != 4:
        raise HeddleError(f"a tensor has 4 dimensions (batch, heads, tokens, dim), not {array.ndim}")
    return TensorStruct(address(array), (c_int64 * 4)(*strides_in_elements(array)))


# ---- objects ------------------------------------------------------------------------------------

@dataclass
class Problem:
    sizes: tuple                # of the pattern's axes, in the order of their declaration
    heads: int = 1
    kv_heads: int = 0           # 0: as many as heads
    dim: int = 64
    batch: int = 1
    queries: int = 0            # 0: as many as keys
    dtype: int = F32
    scale: float = 0.0          # 0: 1/sqrt(dim)
    params: dict = field(default_factory=dict)      # numbers, or lists with one for each head
    inputs: dict = field(default_factory=dict)      # arrays or tensors: int32, int64, float32
    ranges: dict = field(default_factory=dict)      # of inputs that Plan.replan brings: (least, greatest)
    tuned: bool = False         # in the boxes that `heddle run --tune` found, where it did


class Heddle:
    """The library. Loaded into a scope of its own, as ctypes does: torch and Triton bring LLVMs too."""

    FUNCTIONS = {
        "heddle_context_create": [POINTER(ContextOptions), POINTER(c_void_p)],
        "heddle_pattern_load": [c_void_p, c_char_p, POINTER(PatternOptions), POINTER(c_void_p)],
        "heddle_pattern_parse": [c_void_p, c_char_p, c_char_p, c_size_t, POINTER(PatternOptions),
                                 POINTER(c_void_p)],
        "heddle_plan_create": [c_void_p, c_void_p, POINTER(ProblemStruct), POINTER(c_void_p)],
        "heddle_run": [c_void_p, POINTER(Tensors), c_void_p],
        "heddle_run_with": [c_void_p, POINTER(Tensors), POINTER(RunOptions), c_void_p],
        "heddle_replan": [c_void_p, POINTER(Input), c_int, c_void_p],
        "heddle_plan_lists": [c_void_p, c_void_p, POINTER(Lists)],
    }

    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.heddle_last_error.restype = c_char_p
        self.lib.heddle_status_name.restype = c_char_p
        self.lib.heddle_version.restype = c_char_p
        for name, arguments in self.FUNCTIONS.items():
            getattr(self.lib, name).argtypes = arguments
        for name in ("context", "pattern", "plan"):
            function = getattr(self.lib, f"heddle_{name}_destroy")
            function.argtypes, function.restype = [c_void_p], None
        self.lib.heddle_plan_info.argtypes = [c_void_p, POINTER(PlanInfo)]
        self.lib.heddle_plan_info.restype = None

    def version(self):
        return self.lib.heddle_version().decode()

    def check(self, status):
        if status:
            name = self.lib.heddle_status_name(status).decode()
            message = self.lib.heddle_last_error().decode(errors="replace")
            raise HeddleError(f"{name}: {message}")

    def context(self, target, threads=0, log=None, log_level=INFO):
        """log: gets the level and the message of what calls have to tell; None: nobody does."""
        return Context(self, target, threads, log, log_level)


class Owned:
    """A handle of the library that is destroyed with the object. What it was made from lives on."""

    def __init__(self, heddle, kind, *made_from):
        self.heddle, self.made_from, self.handle = heddle, made_from, c_void_p()
        self.destroy = getattr(heddle.lib, f"heddle_{kind}_destroy")

    def __del__(self):
        if self.handle:
            self.destroy(self.handle)


class Context(Owned):
    def __init__(self, heddle, target, threads, log, log_level):
        super().__init__(heddle, "context")
        self.log = LogFunction(lambda _, level, message: log(level, message.decode(errors="replace"))) \
            if log else LogFunction()       # lives as long as the context, which calls it
        options = ContextOptions(sizeof(ContextOptions), target, threads, None, 0, self.log, None, log_level)
        heddle.check(heddle.lib.heddle_context_create(byref(options), byref(self.handle)))

    def load(self, path, name=None, consts=None):
        """A file, or a shipped pattern by its name."""
        pattern = Owned(self.heddle, "pattern", self)
        self.heddle.check(self.heddle.lib.heddle_pattern_load(
            self.handle, path.encode(), byref(pattern_options(name, consts)), byref(pattern.handle)))
        return pattern

    def parse(self, text, file_name="pattern.heddle", name=None, consts=None):
        pattern, code = Owned(self.heddle, "pattern", self), text.encode()
        self.heddle.check(self.heddle.lib.heddle_pattern_parse(
            self.handle, file_name.encode(), code, len(code), byref(pattern_options(name, consts)),
            byref(pattern.handle)))
        return pattern

    def plan(self, pattern, problem):
        return Plan(self, pattern, problem)


class Plan(Owned):
    def __init__(self, context, pattern, problem):
        super().__init__(context.heddle, "plan", context, pattern)
        self.heddle.check(self.heddle.lib.heddle_plan_create(
            context.handle, pattern.handle, byref(problem_struct(problem)), byref(self.handle)))

    def info(self):
        info = PlanInfo(sizeof(PlanInfo))
        self.heddle.lib.heddle_plan_info(self.handle, byref(info))
        return info

    def bind(self, q, k, v, out, lse=None, stream=None, workspace=None):
        """The run as a function without arguments, which only calls the library: for timing.

        workspace: a tensor or array of info().workspace_bytes, zeros at first, so that runs of the plan
        may be in flight at the same time; None: the plan's own.
        """
        arrays = Tensors(*map(tensor_struct, (q, k, v, out)), address(lse) if lse is not None else None)
        options = RunOptions(sizeof(RunOptions))
        if workspace is not None:
            options.workspace, options.workspace_bytes = address(workspace), workspace.nbytes
        pointer, more, check, handle = byref(arrays), byref(options), self.heddle.check, self.handle
        run = self.heddle.lib.heddle_run_with

        def call():
            check(run(handle, pointer, more, stream))
        call.keeps = (self, arrays, options, q, k, v, out, lse, workspace)  # alive while the function is
        return call

    def run(self, q, k, v, out, lse=None, stream=None, workspace=None):
        self.bind(q, k, v, out, lse, stream, workspace)()

    def replan(self, inputs, stream=None):
        """New contents of inputs, tensors in the GPU's memory, from which it makes the lists again."""
        given = [input_struct(name, array) for name, array in inputs.items()]
        self.heddle.check(self.heddle.lib.heddle_replan(self.handle, (Input * len(given))(*given), len(given),
                                                        stream))

    def lists(self, stream=None):
        """What became of the lists; waits for the stream."""
        lists = Lists(sizeof(Lists))
        self.heddle.check(self.heddle.lib.heddle_plan_lists(self.handle, stream, byref(lists)))
        return lists


# ---- arguments ----------------------------------------------------------------------------------

def pattern_options(name, consts):
    pairs = [Assignment(key.encode(), str(value).encode()) for key, value in (consts or {}).items()]
    return PatternOptions(sizeof(PatternOptions), name.encode() if name else None,
                          (Assignment * len(pairs))(*pairs), len(pairs))


def param_struct(name, value):
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(v, float) for v in values):
        return Param(name.encode(), len(values), None, (c_double * len(values))(*values))
    return Param(name.encode(), len(values), (c_int64 * len(values))(*values), None)


def input_struct(name, array, least_and_greatest=None):
    elements = {"int32": INT32, "int64": INT64, "float32": FLOAT32}
    kind = str(array.dtype).removeprefix("torch.")
    if kind not in elements:
        raise HeddleError(f"input {name}: elements are int32, int64 or float32, not {kind}")
    contiguous = array.is_contiguous() if hasattr(array, "data_ptr") else array.flags.c_contiguous
    if not contiguous or array.ndim > 4:
        raise HeddleError(f"input {name}: a contiguous array of at most 4 dimensions")
    return Input(name.encode(), address(array), elements[kind], array.ndim, (c_int64 * 4)(*array.shape),
                 getattr(array, "is_cuda", False),
                 (c_double * 2)(*least_and_greatest) if least_and_greatest else None)


def problem_struct(problem):
    params = [param_struct(name, value) for name, value in problem.params.items()]
    inputs = [input_struct(name, array, problem.ranges.get(name)) for name, array in problem.inputs.items()]
    return ProblemStruct(
        struct_bytes=sizeof(ProblemStruct), sizes=(c_int64 * 3)(*problem.sizes),
        queries=problem.queries, batch=problem.batch, heads=problem.heads,
        kv_heads=problem.kv_heads or problem.heads, dim=problem.dim, dtype=problem.dtype,
        scale=problem.scale, params=(Param * len(params))(*params), param_count=len(params),
        inputs=(Input * len(inputs))(*inputs), input_count=len(inputs), tuned=problem.tuned)
