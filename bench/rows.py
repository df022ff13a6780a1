"""The benchmark's rows, as data: what is computed, by which mask, and what others reached.

A row names a pattern file and a problem, and its mask once more as a Python expression over query and
key positions, which FlexAttention compiles and bench/check.py counts. The expressions use only
operators and .clip(), so that torch tensors and NumPy arrays both go through them.

`published` are milliseconds from shared/targets.md, measured once on an H100 by the projects named:
reference columns, never results of a run. `goal_ms` is what this project aims at, on the same card.
"""
from dataclasses import dataclass, field, replace
from math import prod, sqrt

K = 1024


@dataclass(frozen=True)
class Row:
    name: str
    group: str                  # main, natten, length, shape, sweep, smoke
    pattern: str                # file, from the project's root
    axes: dict                  # sizes, outermost first
    mask: object = None         # mask(b, h, q, k) -> keep; None: every pair
    kind: str = "mask"          # dense, causal, window: what other programs have kernels for; or mask
    params: dict = field(default_factory=dict)
    heads: int = 24
    kv_heads: int = 0           # 0: as many as heads
    dim: int = 128
    batch: int = 1
    dtype: str = "bf16"
    window: tuple = ()          # of kind window: keys to the left and right of the query's own
    natten: dict = field(default_factory=dict)  # NATTEN's arguments, where its rule is the mask
    per_head: bool = False      # the mask depends on the head
    goal_ms: float = 0.0        # 0: none
    published: dict = field(default_factory=dict)
    quick: bool = False

    @property
    def tokens(self):
        return prod(self.axes.values())

    @property
    def key_heads(self):
        return self.kv_heads or self.heads


# ---- masks --------------------------------------------------------------------------------------

def causal_mask(b, h, q, k):
    return q >= k


def window_mask(before, after):
    """Keys from `before - 1` ones before the query's own to `after` ones behind it."""
    def mask(b, h, q, k):
        return (q - k < before) & (k - q <= after)
    return mask


def causal_window_mask(before):
    def mask(b, h, q, k):
        return (q >= k) & (q - k < before)
    return mask


def sink_window_mask(sink, before):
    def mask(b, h, q, k):
        return (q >= k) & ((k < sink) | (q - k < before))
    return mask


def neighborhood_mask(axes, windows, strides, dilations=None, causal=None):
    """NATTEN's rule, an axis at a time."""
    sizes = list(axes.values())
    rules = list(zip(sizes, windows, strides, dilations or [1] * len(sizes),
                     causal or [False] * len(sizes)))

    def mask(b, h, q, k):
        kept = True
        for axis, rule in enumerate(rules):
            kept = kept & near(coordinate(q, sizes, axis), coordinate(k, sizes, axis), *rule)
        return kept
    return mask


def near(u, v, size, window, stride, dilation, causal):
    """`window` keys, chosen by the query in the middle of the stride group and moved inward at a border;
    with `causal` those up to the query itself of a window that ends at the last query of the group.
    Each residue class of a dilation is an axis of its own: all of one size here."""
    if dilation > 1:
        assert size % dilation == 0
        return (u % dilation == v % dilation) & \
            near(u // dilation, v // dilation, size // dilation, window, stride, 1, causal)
    if causal:
        leader = u if stride == 1 else (u // stride * stride + stride - 1).clip(0, size - 1)
        return (v > leader - window) & (v <= u)
    leader = u if stride == 1 else (u // stride * stride + stride // 2).clip(0, size - 1)
    start = (leader - window // 2).clip(0, size - window)
    return (v >= start) & (v < start + window)


def coordinate(token, sizes, axis):
    """Without the division or remainder that changes nothing: FlexAttention computes what it is given."""
    step = prod(sizes[axis + 1:])
    token = token // step if step > 1 else token
    return token % sizes[axis] if axis > 0 else token


def strided_mask(local=256, columns=64, period=512):
    def mask(b, h, q, k):
        return (q >= k) & ((q - k < local) | (k % period < columns))
    return mask


def radial_mask(frame=1024):
    def mask(b, h, q, k):
        distance = abs(q // frame - k // frame)
        # frame >> e, where e is the number of s in 1..7 with distance >= 2^s: each such s takes the
        # step from frame >> s - 1 to frame >> s.
        width = frame - sum((distance >= 1 << s) * ((frame >> s - 1) - (frame >> s))
                            for s in range(1, 8))
        return (abs(q % frame - k % frame) <= width) | (k < frame)
    return mask


def shards_mask(local, stride):
    """S2-Attention: blocks of 64; each head has a residue class of its own."""
    def mask(b, h, q, k):
        return (q >= k) & ((q // 64 - k // 64 < local) | ((k // 64 + h) % stride == 0))
    return mask


# ---- kinds of rows ------------------------------------------------------------------------------

def dense(name, tokens, group="main", **more):
    return Row(name, group, "patterns/full.heddle", {"i": tokens}, kind="dense", **more)


def causal(name, tokens, group="main", **more):
    return Row(name, group, "patterns/causal.heddle", {"i": tokens}, causal_mask, "causal", **more)


def causal_window(name, tokens, before, group="main", **more):
    return Row(name, group, "patterns/window.heddle", {"i": tokens}, causal_window_mask(before),
               "window", {"before": before, "after": 0}, window=(before - 1, 0), **more)


def two_sided(name, tokens, reach, group="main", **more):
    """Keys at most `reach` away, on both sides."""
    return Row(name, group, "patterns/window.heddle", {"i": tokens},
               window_mask(reach + 1, reach), "window", {"before": reach + 1, "after": reach},
               window=(reach, reach), **more)


def neighborhood(name, axes, windows, strides=None, dilations=None, causal=None, group="main",
                 **more):
    strides = strides or (1,) * len(axes)
    params, arguments = {}, {}
    for param, argument, values in (("win", "kernel_size", windows), ("stride", "stride", strides),
                                    ("dilation", "dilation", dilations),
                                    ("causal", "is_causal", causal)):
        if values:
            params |= {f"{param}_{axis}": int(value) for axis, value in zip(axes, values)}
            arguments[argument] = values
    return Row(name, group, f"patterns/neighborhood{len(axes)}d.heddle", axes,
               neighborhood_mask(axes, windows, strides, dilations, causal), params=params,
               natten=arguments, **more)


def strided(name, tokens, **more):
    return Row(name, "main", "bench/strided.heddle", {"i": tokens}, strided_mask(), **more)


def radial(name, frames, **more):
    return Row(name, "main", "bench/radial.heddle", {"t": frames, "x": 1024}, radial_mask(),
               **more)


def shards(name, tokens, **more):
    params = {"local": 32, "stride": 8}
    return Row(name, "shape", "patterns/strided.heddle", {"i": tokens}, shards_mask(32, 8),
               params=params, per_head=True, heads=32, **more)


def density_sweep(tokens, percents):
    """Windows on both sides, as wide as keeps the given share of all pairs: 2 r/n - (r/n)^2."""
    reaches = [(p, round(tokens * (1 - sqrt(1 - p / 100)))) for p in percents]
    return [two_sided(f"sweep-{p}", tokens, min(reach, tokens - 1), "sweep") for p, reach in reaches]


# ---- the rows -----------------------------------------------------------------------------------

IMAGE, PICTURE, VIDEO = {"y": 128, "x": 128}, {"y": 256, "x": 256}, {"t": 30, "y": 48, "x": 80}

MAIN = [
    dense("dense-8k", 8 * K, goal_ms=1.190, published={"cudnn": 1.362, "fa3": 1.190}),
    dense("dense-16k", 16 * K, goal_ms=4.64, quick=True,
          published={"cudnn": 5.280, "fa3": 4.64, "flex": 6.74}),
    dense("dense-32k", 32 * K, goal_ms=19.08, published={"cudnn": 21.26, "fa3": 19.08}),
    causal("causal-16k", 16 * K, goal_ms=2.5, quick=True,
           published={"cudnn": 2.906, "fa3": 2.537, "flex": 4.010}),
    dense("dense-d64-8k", 8 * K, batch=2, heads=16, dim=64, goal_ms=1.08, quick=True,
          published={"cudnn": 1.205, "fa3": 1.086}),
    causal_window("window-1024-32k", 32 * K, 1024, goal_ms=0.70, quick=True,
                  published={"fa3": 0.857, "fa3 sustained": 0.787, "flex": 1.287}),
    two_sided("window-pm1024-16k", 16 * K, 1024, goal_ms=0.62, quick=True,
              published={"fa3": 0.703, "fa3 sustained": 0.658}),
    neighborhood("na2d-128-w33", IMAGE, (33, 33), goal_ms=0.65, quick=True,
                 published={"natten": 0.922, "natten with permutation": 1.204, "flex": 3.294,
                            "cudnn dense": 5.28, "fa3 dense": 4.64}),
    neighborhood("na2d-256-w80", PICTURE, (80, 80), goal_ms=9.8,
                 published={"natten": 16.40, "natten with permutation": 17.55}),
    neighborhood("na3d-w18x24x24-h4", VIDEO, (18, 24, 24), heads=4, goal_ms=8.4,
                 published={"natten": 12.20, "natten with permutation": 12.57, "flex": 45.46}),
    neighborhood("na3d-w18x24x24-s16x8x8", VIDEO, (18, 24, 24), (16, 8, 8), goal_ms=23.5,
                 published={"natten": 24.58, "natten with permutation": 26.19}),
    strided("strided-32k", 32 * K, goal_ms=1.9, quick=True, published={"flex": 5.736}),
    radial("radial-32x1024", 32, goal_ms=10.0, quick=True, published={"flex": 23.76}),
]

NATTEN = [
    neighborhood("na1d-32k-w2048", {"x": 32 * K}, (2048,), group="natten",
                 published={"natten": 1.768, "natten with permutation": 2.272}),
    neighborhood("na2d-256-w33", PICTURE, (33, 33), group="natten",
                 published={"natten": 3.592, "natten with permutation": 4.550}),
    neighborhood("na2d-256-w80-s16", PICTURE, (80, 80), (16, 16), group="natten",
                 published={"natten": 8.538, "natten with permutation": 9.447}),
]

LENGTHS = [
    *[dense(f"dense-{n}k", n * K, "length") for n in (4, 64)],
    *[causal(f"causal-{n}k", n * K, "length") for n in (4, 8, 32, 64)],
    *[causal_window(f"window-1024-{n}k", n * K, 1024, "length") for n in (4, 8, 16, 64)],
]

SHAPES = [
    dense("dense-16k-fp16", 16 * K, "shape", dtype="fp16"),
    causal("causal-16k-fp16", 16 * K, "shape", dtype="fp16"),
    causal("causal-d64-16k", 16 * K, "shape", dim=64, heads=32),
    dense("dense-d256-8k", 8 * K, "shape", dim=256, heads=16),
    causal_window("window-1024-32k-d64", 32 * K, 1024, "shape", dim=64),
    dense("dense-16k-gqa", 16 * K, "shape", heads=32, kv_heads=8),
    causal("causal-16k-gqa", 16 * K, "shape", heads=32, kv_heads=8),
    causal_window("window-1024-32k-gqa", 32 * K, 1024, "shape", heads=32, kv_heads=8),
    Row("sink-window-32k", "shape", "patterns/sink_window.heddle", {"i": 32 * K},
        sink_window_mask(4, 1024), params={"sink": 4, "before": 1024}),
    shards("shards-8k", 8 * K, goal_ms=0.50, published={"dkernel": 0.744}),
    shards("shards-32k", 32 * K, goal_ms=3.5, published={"dkernel": 5.11}),
]

SWEEP = density_sweep(32 * K, (1, 2, 5, 10, 20, 35, 50, 75, 100))


def smoke(row, name, tokens=0):
    """A small row of the same kind: does this machine run the benchmark at all?"""
    axes = {"i": tokens} if tokens else row.axes
    return replace(row, name=name, group="smoke", axes=axes, heads=4, kv_heads=2, goal_ms=0.0,
                   published={}, quick=False)


SMALL = {"y": 24, "x": 32}
SMOKE = [
    smoke(dense("", K), "smoke-dense"),
    smoke(causal("", K), "smoke-causal"),
    smoke(causal_window("", K, 100), "smoke-window"),
    smoke(neighborhood("", SMALL, (7, 9)), "smoke-na2d"),
    smoke(neighborhood("", SMALL, (8, 12), (4, 4)), "smoke-na2d-stride"),
    smoke(neighborhood("", SMALL, (6, 5), (1, 2), (2, 4), (True, False)), "smoke-na2d-causal"),
    smoke(strided("", 2 * K), "smoke-strided"),
    smoke(shards("", 4 * K), "smoke-shards"),
    smoke(radial("", 3), "smoke-radial"),
]

ROWS = MAIN + NATTEN + LENGTHS + SHAPES + SWEEP + SMOKE


def pattern_path(root, row):
    return f"{root}/{row.pattern}"


def problem_flags(row):
    """The row's problem, as flags of `heddle`."""
    flags = ["--axes", ",".join(f"{axis}={size}" for axis, size in row.axes.items()),
             "--batch", row.batch, "--heads", row.heads, "--kv-heads", row.key_heads,
             "--dim", row.dim, "--dtype", row.dtype]
    for name, value in row.params.items():
        flags += ["--param", f"{name}={value}"]
    return [str(flag) for flag in flags]
