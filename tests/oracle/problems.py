"""Random problems for the shipped patterns: legal sizes, parameters, inputs, and query counts."""
from math import prod

import numpy as np

from masks import Problem, axes_of

BY_QUERY = ("documents", "block_list", "seer")     # inputs that each query reads its own part of
REAL_LIMIT = 0.1     # of a random ALiBi slope: far keys must not vanish from the output


def random_problem(name, rng, tokens=300):
    """A problem of about `tokens` keys at most; now and then one that leaves defaults in place."""
    heads = int(rng.choice([1, 1, 2, 3, 4]))
    size = pick_sizes(name, rng, tokens)
    problem = Problem(size, heads=heads, head=int(rng.integers(heads)))
    PARAMS.get(name, no_params)(problem, rng)
    pick_queries(name, problem, rng)
    return problem


def one_of(rng, *values):
    return values[rng.integers(len(values))]


def upto(rng, low, high):
    return int(rng.integers(low, max(low, high) + 1))


def pick_sizes(name, rng, tokens):
    count = len(axes_of(name))
    if count == 1:
        return (one_of(rng, upto(rng, 1, 20), upto(rng, 1, tokens), upto(rng, tokens // 2, tokens),
                       tokens // 64 * 64 or tokens),)
    if name == "radial_code":               # its literal 128 shows only with frames of that order
        s = upto(rng, 1, 160)
        x = upto(rng, 1, min(s, 40))
        y = max(1, s // x)
        return (upto(rng, 1, max(2, 3 * tokens // (x * y))), y, x)
    if name == "radial_blocks":             # many blocks a frame, few frames, or the other way round
        s = upto(rng, 3, one_of(rng, 20, 160))
        x = upto(rng, 1, min(s, 40))
        return (upto(rng, 1, min(40, max(2, 3 * tokens // s))), max(1, s // x), x)
    while True:
        sizes = tuple(upto(rng, 1, one_of(rng, 5, 12, 24)) for _ in range(count))
        if prod(sizes) <= tokens:
            return sizes


def pick_queries(name, problem, rng):
    roll = rng.random()
    slices, rest = problem.sizes[0], prod(problem.sizes[1:])
    if roll < 0.3:
        problem.queries = upto(rng, 1, slices) * rest
    elif roll < 0.4 and len(problem.sizes) == 1 and name not in BY_QUERY:
        problem.queries = problem.keys + upto(rng, 1, 70)


def no_params(problem, rng):
    pass


def window(p, rng):
    n = p.keys
    p.params.update(before=one_of(rng, 0, 1, upto(rng, 0, 40), upto(rng, 0, n + 5)),
                    after=one_of(rng, 0, 0, upto(rng, 0, 20), upto(rng, 0, n + 5)))


def sink_window(p, rng):
    n = p.keys
    p.params.update(sink=one_of(rng, 0, 1, upto(rng, 0, 9), upto(rng, 0, n + 5)),
                    before=one_of(rng, 0, 1, upto(rng, 0, 40), upto(rng, 0, n + 5)))


def dilated(p, rng):
    sink_window(p, rng)
    p.params["dilation"] = one_of(rng, 1, 2, upto(rng, 1, 9), upto(rng, 1, 70))


def neighborhood(p, rng):
    for axis, L in zip({1: "x", 2: "yx", 3: "tyx"}[len(p.sizes)], p.sizes):
        dilation = one_of(rng, 1, 1, upto(rng, 1, min(L, 4)))
        win = one_of(rng, upto(rng, 1, L // dilation), min(upto(rng, 1, 9), L // dilation))
        p.params["win_" + axis] = win
        p.params["dilation_" + axis] = dilation
        p.params["stride_" + axis] = one_of(rng, 1, upto(rng, 1, win), win)
        p.params["causal_" + axis] = one_of(rng, 0, 0, 1)


def block(p, rng, *choices):
    p.params["block"] = int(one_of(rng, *choices))
    return p.params["block"], p.keys // p.params["block"] + 2


def strided(p, rng):
    _, blocks = block(p, rng, 1, 3, 4, 16, 64)
    p.params.update(local=upto(rng, 0, min(blocks, 5)), stride=upto(rng, 1, min(blocks, 9)))
    if rng.random() < 0.5:
        p.params["shift"] = [upto(rng, -9, 20) for _ in range(p.heads)]


def power(p, rng):
    _, blocks = block(p, rng, 1, 3, 4, 16, 64)
    p.params.update(sink=upto(rng, 0, min(blocks, 3)), local=upto(rng, 0, min(blocks, 4)))


def spans(p, rng):
    size, blocks = block(p, rng, 1, 4, 16, 64)
    sinks = [upto(rng, 0, min(blocks, 3)) for _ in range(p.heads)]
    p.params["sink"] = [sink * size for sink in sinks]
    p.params["span"] = [(sink + upto(rng, 0, min(blocks, 6))) * size for sink in sinks]


def radial(p, rng):
    p.params["sink"] = one_of(rng, 0, 0, 1, upto(rng, 0, p.sizes[0] + 1))


def radial_code(p, rng):
    radial(p, rng)
    p.params["block"] = int(one_of(rng, 1, 2, 4, 16, 128))
    p.params["decay"] = float(one_of(rng, 1.0, 0.2, 0.8, 0.95, 2.0, round(rng.random(), 3)))


def radial_blocks(p, rng):
    radial_code(p, rng)
    p.params["block"] = int(one_of(rng, 2, 4, 7, 16, 33, 64, 128))
    p.params["text"] = one_of(rng, 0, 0, upto(rng, 0, p.keys))


def documents(p, rng):
    n = p.keys
    lengths = rng.integers(1, max(2, one_of(rng, 5, 40, 150)), size=n)
    doc = np.repeat(rng.permutation(n), lengths)[:n]        # in one piece, numbered in any order
    if rng.random() < 0.3:
        doc = rng.integers(-2, 4, size=n)                   # all mixed up
    p.inputs["doc"] = doc.astype(one_of(rng, np.int32, np.int64))


def lists(p, rng):
    """One list of tokens a head, in rows as long as the longest: padded with -1, or empty."""
    rows = [rng.choice(p.keys, size=upto(rng, 0, min(p.keys, one_of(rng, 0, 3, 40, p.keys))),
                       replace=False) for _ in range(p.heads)]
    room = max(map(len, rows)) + one_of(rng, 0, 1, 5)
    table = np.full((p.heads, room), -1)
    for h, row in enumerate(rows):
        table[h, :len(row)] = np.sort(row)
    if rng.random() < 0.3 and room:         # in any order, some several times
        table = table[:, rng.integers(room, size=2 * room)]
    return np.ascontiguousarray(table.astype(one_of(rng, np.int32, np.int64)))


def vertical_slash(p, rng):
    p.inputs.update(columns=lists(p, rng), diagonals=lists(p, rng))


def token_list(p, rng):
    p.inputs.update(tokens=lists(p, rng))


def block_list(p, rng):
    """Some blocks for each block of queries, in any order; rows without any."""
    blocks = -(-p.keys // 64)
    room = one_of(rng, 0, 1, upto(rng, 1, blocks), blocks + 3)
    table = rng.integers(-1, blocks, size=(p.heads, blocks, room))
    p.inputs["blocks"] = table.astype(one_of(rng, np.int32, np.int64))
    p.params["is_causal"] = upto(rng, 0, 1)


def seer(p, rng):
    blocks = -(-p.keys // 64)
    gate = rng.random((p.heads, blocks, blocks)).astype(np.float32)
    p.params["threshold"] = one_of(rng, 0.25, 0.7, float(gate[0, 0, -1]), 1.5)
    p.inputs["gate"] = gate


def alibi(p, rng):
    p.params["slope"] = [round(rng.random() * REAL_LIMIT, 4) for _ in range(p.heads)]


def setrec(p, rng):
    n = p.keys
    begin, end = sorted((upto(rng, 0, n), upto(rng, 0, n)))
    p.params.update(begin=begin, end=end, group=one_of(rng, 1, 2, 3, upto(rng, 1, n + 3)))


PARAMS = dict(window=window, sink_window=sink_window, dilated=dilated, neighborhood1d=neighborhood,
              neighborhood2d=neighborhood, neighborhood3d=neighborhood, strided=strided, power=power,
              spans=spans, radial=radial, radial_code=radial_code, radial_blocks=radial_blocks,
              documents=documents,
              vertical_slash=vertical_slash, token_list=token_list, block_list=block_list,
              seer=seer, alibi=alibi, setrec=setrec)
