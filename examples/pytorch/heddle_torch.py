"""heddle as a PyTorch operator: sparse attention by a pattern, on torch's tensors and stream.

    import heddle_torch
    out = heddle_torch.attention(q, k, v, "window", axes={"i": 4096}, params={"before": 256})

q, k, v: [batch, heads, tokens, dim], bf16, fp16 or (on the CPU) fp32, on one device, of any strides
that heddle.h allows there; nothing is copied. The work goes to torch's current stream. The operator is
torch.ops.heddle.attention; torch.compile keeps it as it is. It computes the forward pass: asking for
gradients is an error. A failure raises heddle_ctypes.HeddleError with the library's message.

libheddle.so is $HEDDLE_LIBRARY, else build/libheddle.so of the source tree, else the installed one.
"""
import functools
import math
import os
import threading
from typing import NamedTuple

import torch

from heddle_ctypes import BF16, CPU, CUDA, F16, F32, Heddle, HeddleError, Problem

DTYPES = {torch.float32: F32, torch.float16: F16, torch.bfloat16: BF16}
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@functools.cache
def library():
    built = os.path.join(ROOT, "build", "libheddle.so")
    return Heddle(os.environ.get("HEDDLE_LIBRARY") or (built if os.path.exists(built) else "libheddle.so.0"))


# A context is of the GPU that is current in the thread that makes it.
@functools.cache
def context(device_type, index):
    if device_type == "cpu":
        return library().context(CPU, torch.get_num_threads())
    with torch.cuda.device(index):
        torch.cuda.current_stream().synchronize()      # torch's context exists from here on
        return library().context(CUDA)


@functools.cache
def load(device_type, index, pattern, consts):
    named = dict(item.split("=") for item in consts.split())
    return context(device_type, index).load(pattern, consts=named)


# ---- plans --------------------------------------------------------------------------------------

class Plans(threading.local):
    """Plans of this thread, by what they are made for, with the contents of the inputs that they were
    made from. One run of a plan may be in flight at a time, so the stream belongs to the key. They stay
    until clear()."""

    def __init__(self):
        self.made = {}


PLANS = Plans()


def clear():
    """Destroys this thread's plans; nothing that uses one may run any more, graphs included."""
    PLANS.made.clear()


def stream_of(tensor):
    return torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else None


class Spec(NamedTuple):
    """What the operator gets besides tensors, in the types that operators may have."""
    pattern: str
    sizes: tuple
    params: str         # "before=256 slope=0.5,0.25", as `values` writes and reads it
    consts: str         # the same
    input_names: str    # "doc other"
    scale: float


def values(named):
    return " ".join([f"{name}={','.join([str(v) for v in value])}" if isinstance(value, (list, tuple))
                     else f"{name}={value}" for name, value in sorted((named or {}).items())])


def number(text):
    try:
        return int(text)
    except ValueError:
        return float(text)


def params_of(text):
    return {name: [number(value) for value in said.split(",")]
            for name, said in (item.split("=") for item in text.split())}


def refuse_capturing(q):
    if q.is_cuda and torch.cuda.is_current_stream_capturing():
        raise HeddleError("no plan for the capturing stream yet: attend once on it before capturing, "
                          "and capture by torch.cuda.graph(graph, stream=it)")


def make_plan(q, k, spec, inputs, ranges):
    device = q.device.type, q.device.index
    batch, heads, queries, dim = q.shape
    refuse_capturing(q)
    if q.is_cuda and inputs:        # the plan reads them in no stream
        torch.cuda.current_stream(q.device).synchronize()
    return context(*device).plan(load(*device, spec.pattern, spec.consts), Problem(
        sizes=spec.sizes, heads=heads, kv_heads=k.shape[1], dim=dim, batch=batch,
        queries=queries, dtype=DTYPES[q.dtype], scale=spec.scale,
        params=params_of(spec.params), inputs=inputs, ranges=ranges))


def widest(tensor):
    """Every value that an input may ever hold."""
    limits = torch.finfo(torch.float32) if tensor.is_floating_point() else torch.iinfo(torch.int32)
    return limits.min, limits.max


def make_changing(q, k, spec, inputs):
    """A plan whose inputs the GPU may change later, or None: the pattern is not defined for every value
    (it takes an input for an index, say), or this heddle has no planner for GPUs."""
    refuse_capturing(q)
    try:
        plan = make_plan(q, k, spec, inputs, {name: widest(tensor) for name, tensor in inputs.items()})
        plan.replan(inputs, stream_of(q))
        return plan
    except HeddleError:
        return None


def plan_for(q, k, spec, inputs):
    """From the thread's plans, and whether it stays there: a plan that does not must not be destroyed
    before its run has ended. Other contents of inputs are planned by the GPU, in the stream; on the CPU,
    and where the GPU cannot, by a new plan. Making a plan waits for the GPU, so it cannot be captured in
    a graph."""
    inputs = {name: tensor.to(q.device).contiguous() for name, tensor in zip(spec.input_names.split(), inputs)}
    key = (spec, q.shape, k.shape[1], q.dtype, q.device, stream_of(q),
           tuple((tensor.shape, tensor.dtype) for tensor in inputs.values()))
    plan, contents = PLANS.made.get(key, (None, None))
    if not inputs or not q.is_cuda:
        if plan is None or any(not torch.equal(contents[name], inputs[name]) for name in inputs):
            plan = make_plan(q, k, spec, inputs, {})
            PLANS.made[key] = plan, {name: tensor.clone() for name, tensor in inputs.items()}
        return plan, True
    if plan:
        plan.replan(inputs, stream_of(q))
    elif key not in PLANS.made:
        plan = make_changing(q, k, spec, inputs)
        PLANS.made[key] = plan, None
    return (plan, True) if plan else (make_plan(q, k, spec, inputs, {}), False)


# ---- the operator -------------------------------------------------------------------------------

def check(q, k, v, spec):
    tokens = math.prod(spec.sizes)
    if q.ndim != 4 or k.ndim != 4 or v.shape != k.shape or q.shape[0] != k.shape[0] or \
            q.shape[3] != k.shape[3]:
        raise HeddleError("q, k and v are [batch, heads, tokens, dim]; k and v of one shape, batch and dim "
                          f"those of q: {list(q.shape)}, {list(k.shape)}, {list(v.shape)}")
    if k.shape[2] != tokens:
        raise HeddleError(f"the axes make {tokens} tokens, k and v have {k.shape[2]}")
    if len({(x.dtype, x.device) for x in (q, k, v)}) != 1 or q.dtype not in DTYPES:
        raise HeddleError("q, k and v are of one device and one dtype: bfloat16, float16 or float32")


@torch.library.custom_op("heddle::attention", mutates_args=())
def attention_op(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, inputs: list[torch.Tensor],
                 pattern: str, sizes: list[int], params: str, consts: str, input_names: str,
                 scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    spec = Spec(pattern, tuple(sizes), params, consts, input_names, scale)
    check(q, k, v, spec)
    out, lse = torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.float32)
    plan, stays = plan_for(q, k, spec, inputs)
    plan.run(q, k, v, out, lse, stream_of(q))
    if not stays:
        torch.cuda.current_stream(q.device).synchronize()
    return out, lse


@attention_op.register_fake
def attention_fake(q, k, v, inputs, pattern, sizes, params, consts, input_names, scale):
    return torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.float32)


def attention(q, k, v, pattern, axes, params=None, consts=None, inputs=None, scale=0.0,
              return_lse=False):
    """Attention of q [batch, heads, queries, dim] over k, v [batch, kv_heads, tokens, dim].

    pattern: a file, or a shipped pattern by name; axes: sizes in the order of their declaration, whose
    product is tokens; params: numbers, or lists with one for each head; inputs: tensors, int32, int64
    or float32; scale 0: 1/sqrt(dim). Fewer queries than tokens are the last positions. The output is
    laid out like q; with return_lse also the log-sum-exp, float32 [batch, heads, queries].
    """
    names = sorted(inputs or {})
    out, lse = torch.ops.heddle.attention(
        q, k, v, [inputs[name] for name in names], pattern, list(axes.values()), values(params),
        values(consts), " ".join(names), scale)
    return (out, lse) if return_lse else out
