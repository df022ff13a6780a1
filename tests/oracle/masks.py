"""The masks of the shipped patterns, each written straight from its formula.

MASKS[name](problem) is a boolean array [queries, keys] for one head. A problem has the sizes of the
axes, the number of queries, the head and the number of heads, and the parameters, constants and
inputs by name. The queries are the last positions of the sequence; with more queries than keys the
first positions are negative.

Nothing here is derived from the pattern files: formulas come from the published systems, and where
there is a choice the slow, literal way is taken.
"""
from dataclasses import dataclass, field
from math import prod

import numpy as np


@dataclass
class Problem:
    sizes: tuple                 # of the axes, outermost first
    queries: int = 0             # 0: as many as keys
    head: int = 0
    heads: int = 1
    params: dict = field(default_factory=dict)   # parameters and constants; a list is a per-head table
    inputs: dict = field(default_factory=dict)   # name -> array

    @property
    def keys(self):
        return prod(self.sizes)

    @property
    def query_count(self):
        return self.queries or self.keys

    def param(self, name, default):
        value = self.params.get(name, default)
        return value[self.head] if isinstance(value, (list, tuple)) else value

    def line(self):
        """Query positions as a column, key positions as a row."""
        q = np.arange(self.keys - self.query_count, self.keys)
        return q[:, None], np.arange(self.keys)[None, :]


def last_rows(problem, mask):
    return mask[len(mask) - problem.query_count:]


# ---- one sequence -------------------------------------------------------------------------------

def full(p):
    return np.ones((p.query_count, p.keys), bool)


def causal(p):
    i, j = p.line()
    return j <= i


def window(p):
    i, j = p.line()
    return (j <= i + p.param("after", 0)) & (j > i - p.param("before", 1024))


def sink_window(p):
    i, j = p.line()
    local = j > i - p.param("before", 1024)
    return (j <= i) & ((j < p.param("sink", 4)) | local)


def dilated(p):
    i, j = p.line()
    mask = j < p.param("sink", 0) + 0 * i
    for back in range(0, p.param("before", 1024), p.param("dilation", 2)):
        mask = mask | (j == i - back)
    return mask & (j <= i)


def strided(p):
    # zoo-llm 6: J <= I and (I - J < L or (J + h t + o) mod v == 0), token-causal on the diagonal
    block = p.param("block", 64)
    i, j = p.line()
    I, J = np.floor_divide(i, block), j // block
    shift = p.param("shift", list(range(p.heads)))
    mine = np.mod(J + shift, p.param("stride", 8)) == 0
    return (j <= i) & ((I - J < p.param("local", 16)) | mine)


def power(p):
    block = p.param("block", 64)
    i, j = p.line()
    I, J = np.floor_divide(i, block), j // block
    mask = (J < p.param("sink", 1)) | (I - J < p.param("local", 1))
    x = I - J
    mask = mask | ((x > 0) & (np.bitwise_and(x, x - 1) == 0))
    return mask & (j <= i)


def spans(p):
    # zoo-llm 4: J <= I and (J < sink/64 or J > I - local/64), local = span - sink
    block = p.param("block", 64)
    i, j = p.line()
    I, J = np.floor_divide(i, block), j // block
    sink = p.param("sink", 64)
    local = p.param("span", 1024) - sink
    return (j <= i) & ((J < sink // block) | (J > I - local // block))


def documents(p):
    i, j = p.line()
    doc = np.asarray(p.inputs["doc"])
    return (j <= i) & (doc[i] == doc[j])


def vertical_slash(p):
    # zoo-llm 1, the ideal mask
    i, j = p.line()
    columns, diagonals = (np.asarray(p.inputs[name])[p.head] for name in ("columns", "diagonals"))
    return (j <= i) & (np.isin(j, columns[columns >= 0]) |
                       np.isin(i - j, diagonals[diagonals >= 0]))


def token_list(p):
    _, j = p.line()
    tokens = np.asarray(p.inputs["tokens"])[p.head]
    return np.broadcast_to(np.isin(j, tokens[tokens >= 0]), (p.query_count, p.keys))


def block_list(p):
    # row by row: which blocks this block of queries names
    lists, causal_too = np.asarray(p.inputs["blocks"])[p.head], p.param("is_causal", 0)
    mask = np.zeros((p.query_count, p.keys), bool)
    for row, i in enumerate(range(p.keys - p.query_count, p.keys)):
        for block in set(lists[i // 64]) - {-1}:
            mask[row, 64 * block:64 * block + 64] = True
        if causal_too:
            mask[row, i + 1:] = False
    return mask


def seer(p):
    # zoo-llm 11 with a threshold, and the query's own block
    i, j = p.line()
    gate = np.asarray(p.inputs["gate"])[p.head].astype(float)[i // 64, j // 64]
    return (j <= i) & ((gate > p.param("threshold", 0.005)) | (i // 64 == j // 64))


def alibi(p):
    return causal(p)


def alibi_slopes(heads):
    return [2.0 ** (-8.0 * (h + 1) / heads) for h in range(heads)]


def setrec(p):
    # zoo-llm 27, one pair after the other
    hs, he, u = p.param("begin", 0), p.param("end", 0), p.param("group", 2)
    n = p.keys
    mask = np.zeros((p.query_count, n), bool)
    for row, i in enumerate(range(n - p.query_count, n)):
        for j in range(min(i + 1, n)):
            history = hs <= i < he and hs <= j < he and (i - hs) // u == (j - hs) // u
            asking = i >= n - u and j >= n - u
            mask[row, j] = i == j or not (history or asking)
    return mask


# ---- neighbourhoods (zoo-vision 1) --------------------------------------------------------------

def near(positions, L, K, S=1, D=1, is_causal=False):
    """Mask [positions, L] of one axis: dilation groups are listed, and a window is a slice of one."""
    mask = np.zeros((len(positions), L), bool)
    for row, x in enumerate(positions):
        group = list(range(x % D, L, D))        # the keys of x's dilation group
        u, last = x // D, len(group) - 1
        first_of_stride = (u // S) * S
        if is_causal:
            leader = min(first_of_stride + S - 1, last)
            chosen = range(max(leader - K + 1, 0), u + 1)
        else:
            leader = min(first_of_stride + S // 2, last)
            start = leader - K // 2
            start = min(max(start, 0), len(group) - K)
            chosen = range(start, start + K)
        for v in chosen:
            mask[row, group[v]] = True
    return mask


def neighborhood(p, axes):
    """The axes are independent: the grid's mask is the outer product of the axes' masks."""
    mask = np.ones((1, 1), bool)
    for axis, L in zip(axes, p.sizes):
        positions = range(L)
        if len(axes) == 1:
            positions = range(L - p.query_count, L)
        one = near(positions, L, p.param("win_" + axis, 13), p.param("stride_" + axis, 1),
                   p.param("dilation_" + axis, 1), p.param("causal_" + axis, 0) == 1)
        mask = np.kron(mask, one)
    return last_rows(p, mask.astype(bool))


def neighborhood1d(p):
    return neighborhood(p, "x")


def neighborhood2d(p):
    return neighborhood(p, "yx")


def neighborhood3d(p):
    return neighborhood(p, "tyx")


# ---- radial (zoo-vision 2) ----------------------------------------------------------------------

def frame_pairs(p, rule):
    """Puts together a video mask from rule(distance) -> in-frame mask [s, s]."""
    f, s = p.sizes[0], p.sizes[1] * p.sizes[2]
    by_distance = [rule(d, s) for d in range(f)]
    mask = np.zeros((f * s, f * s), bool)
    for i in range(f):
        for j in range(f):
            mask[i * s:(i + 1) * s, j * s:(j + 1) * s] = by_distance[abs(i - j)]
    mask[:, :p.param("sink", 0) * s] = True
    return last_rows(p, mask)


def radial_rule(d, s):
    """2a: keep iff (p <= s and |k-l|+1 <= s/p), or (d mod ceil(p/s) = 0 and k = l)."""
    power = 1
    while 2 * power <= d:
        power *= 2
    k, l = np.arange(s)[:, None], np.arange(s)[None, :]
    mask = np.zeros((s, s), bool)
    if power <= s:
        mask = (np.abs(k - l) + 1) * power <= s
    if d % ((power + s - 1) // s) == 0:
        mask = mask | (k == l)
    return mask


def radial(p):
    return frame_pairs(p, radial_rule)


def code_half_width(d, s, decay, block):
    """2b: the half-width in tokens, a float."""
    if d <= 1:
        return float(s)
    return max(2.0 ** s.bit_length() / 2.0 ** d.bit_length() * decay, float(block))


def code_keeps_frame(d, s, threshold=128):
    """2b: decimation of frames; the threshold is the literal 128 in the authors' program."""
    e = 2.0 ** s.bit_length() / 2.0 ** d.bit_length()
    return e >= threshold or d % int(threshold / e) == 0


def code_rule(d, s, decay, block, threshold=128):
    k, l = np.arange(s)[:, None], np.arange(s)[None, :]
    if not code_keeps_frame(d, s, threshold):
        return np.zeros((s, s), bool)
    return np.abs(k - l) <= code_half_width(d, s, decay, block)


def radial_code(p):
    decay, block = p.param("decay", 1.0), p.param("block", 128)
    return frame_pairs(p, lambda d, s: code_rule(d, s, decay, block))


def code_block_map(f, s, block, threshold, decay=1.0, sink=0, tokens=None):
    """2b's rounding to blocks. Of `tokens`, those that follow the f frames are text."""
    n = -(-(tokens or f * s) // block)
    out = np.zeros((n, n), bool)
    side = -(-s // block)
    for i in range(f):
        for j in range(f):
            token = np.ones((s, s), bool) if j < sink else code_rule(abs(i - j), s, decay, block,
                                                                       threshold)
            canvas = np.zeros((side * block, side * block), bool)
            a, b = i * s % block, j * s % block
            part = token[:side * block - a, :side * block - b]
            canvas[a:a + part.shape[0], b:b + part.shape[1]] = part
            density = canvas.reshape(side, block, side, block).sum(axis=1) / block
            used, high = (density > 0).sum(axis=2), (density > 1 / 3).sum(axis=2)
            keep = (used > 0) & (high / np.maximum(used, 1) > 0.6)
            y, x = i * s // block, j * s // block
            out[y:y + side, x:x + side] |= keep[:n - y, :n - x]
    out[f * s // block:] = True         # what is not a whole block of video counts as text
    out[:, f * s // block:] = True
    return out


def radial_blocks(p):
    block, text, s = p.param("block", 128), p.param("text", 0), p.sizes[1] * p.sizes[2]
    kept = code_block_map((p.keys - text) // s, s, block, 128, p.param("decay", 1.0),
                          p.param("sink", 0), p.keys)
    of = np.arange(p.keys) // block
    return last_rows(p, kept[of[:, None], of[None, :]])


MASKS = {name: globals()[name] for name in (
    "full causal window sink_window dilated neighborhood1d neighborhood2d neighborhood3d strided "
    "power spans radial radial_code radial_blocks documents vertical_slash block_list token_list "
    "seer alibi setrec").split()}

AXES = {"neighborhood1d": "x", "neighborhood2d": "yx", "neighborhood3d": "tyx",
        "radial": "tyx", "radial_code": "tyx", "radial_blocks": "tyx"}


def axes_of(name):
    return AXES.get(name, "i")


def picture(mask):
    return "".join("".join("1" if kept else "0" for kept in row) + "\n" for row in mask)
