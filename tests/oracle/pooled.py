"""Patterns that read keys at several resolutions, each written straight from its formula.

A pooled oracle gives, for one head, a list of sources (factor, kept, weight): kept is a boolean array
[queries, groups] over aligned groups of `factor` keys, weight what a whole group weighs. The last
group is as ragged as the sequence makes it: the mean of the keys there are, weighing in proportion.

Nothing here is derived from the compiler's rewriting: a group is kept where the token rule holds for
every token of it that exists, which is looked up token by token.
"""
from dataclasses import dataclass
from typing import Callable

import numpy as np


def groups_of(mask, factor):
    """[queries, keys] -> [queries, groups]: what holds for all existing tokens of a group."""
    starts = np.arange(0, mask.shape[1], factor)
    return np.logical_and.reduceat(mask, starts, axis=1)


def spread(kept, factor, keys):
    """[queries, groups] -> [queries, keys]."""
    return np.repeat(kept, factor, axis=1)[:, :keys]


def levels(level, factors, weight=None):
    """One `keep P at F`: level is F where P holds, else 0, for every pair of tokens."""
    return [(f, groups_of(level == f, f), float(weight or f)) for f in factors]


def finest_wins(statements, factors, keys):
    """Several `keep P at F`: a group loses where a finer one keeps a token of it."""
    out, taken = [], None
    for f in factors:
        kept = np.logical_or.reduce([groups_of(level == f, f) for level in statements])
        if taken is not None:
            kept &= ~np.logical_or.reduceat(taken, np.arange(0, keys, f), axis=1)
        here = spread(kept, f, keys)
        taken = here if taken is None else taken | here
        out.append((f, kept, float(f)))
    return out


# ---- the arithmetic -----------------------------------------------------------------------------

def means(rows, factor, round_to):
    """Means of the existing rows of each group, rounded to the dtype; and how many there are."""
    starts = np.arange(0, len(rows), factor)
    counts = np.minimum(starts + factor, len(rows)) - starts
    if factor == 1:
        return rows.astype(np.float64), counts
    pooled = np.add.reduceat(rows.astype(np.float64), starts, axis=0) / counts[:, None]
    return round_to(pooled.astype(np.float32)).astype(np.float64), counts


def attention(q, k, v, sources, scale, round_to, score=lambda s: s):
    """One head: out and lse, in double precision, one softmax over all sources."""
    logits, values = [], []
    for factor, kept, weight in sources:
        keys, counts = means(k, factor, round_to)
        s = score(q.astype(np.float64) @ keys.T * scale) + np.log(weight * counts / factor)
        logits.append(np.where(kept, s, -np.inf))
        values.append(means(v, factor, round_to)[0])
    logits, values = np.concatenate(logits, axis=1), np.concatenate(values)
    top = logits.max(axis=1, initial=-np.inf)
    weights = np.exp(logits - np.where(np.isinf(top), 0, top)[:, None])
    total = weights.sum(axis=1)
    some = total > 0
    out = weights @ values / np.where(some, total, 1)[:, None]
    with np.errstate(divide="ignore"):
        lse = np.where(some, np.log(total) + np.where(some, top, 0), -np.inf)
    return out, lse


def gated(q, k, v, branches, scale, round_to):
    """The sum of gate times result; the log-sum-exp of all branches together."""
    total, lse = 0, -np.inf
    for gate, sources in branches:
        out, one = attention(q, k, v, sources, scale, round_to)
        total = total + gate[:, None] * out
        lse = np.logaddexp(lse, one)
    return total, lse


def letter(factor):
    if factor < 10:
        return str(factor)
    log = factor.bit_length() - 1
    return chr(ord("a") + log - 4) if factor & (factor - 1) == 0 else chr(ord("A") + log - 3)


def picture(sources, keys):
    """As `heddle draw` writes it: the factor of each pair, the finest where sources overlap."""
    finest = np.full((len(sources[0][1]), keys), 1 << 40)
    for factor, kept, _ in sources:
        here = spread(kept, factor, keys)
        finest = np.where(here & (factor < finest), factor, finest)
    letters = {int(f): letter(int(f)) for f in np.unique(finest) if f < 1 << 40}
    return "".join("".join(letters.get(int(f), "0") for f in row) + "\n" for row in finest)


# ---- the shipped ones ---------------------------------------------------------------------------

def pyramid(p):
    """PSA: the level of each pair of blocks of 128, 0 skips."""
    i, j = p.line()
    return levels(p.inputs["factor"][p.head][i // 128, j // 128], (1, 2, 4, 8))


def pyramid_static(p):
    """Blocks up to `near` away at 1, one further at 2, two further at 4, the rest at 8."""
    i, j = p.line()
    beyond = np.maximum(0, abs(i // 128 - j // 128) - p.param("near", 1))
    level = np.select([beyond == 0, beyond == 1, beyond <= 3], [1, 2, 4], 8)
    return levels(level, (1, 2, 4, 8))


# ---- others, for what the shipped ones leave out ------------------------------------------------

@dataclass
class Made:
    """A pattern of this file: its text, its oracle, and what a random problem of it needs."""
    text: str
    sources: Callable
    fill: Callable = lambda p, rng: None
    score: Callable = None
    more_queries: bool = True      # q.i may be negative
    # Of branches that a gate merges: problem -> [(gate of each query, its sources)]
    branches: Callable = None


def blocks(p, size):
    return -(-p.keys // size)


def fill_levels(size, values, name="level"):
    def fill(p, rng):
        n = blocks(p, size)
        p.inputs[name] = rng.choice(values, (p.heads, n, n)).astype(np.int32)
    return fill


def causal_pyramid(p):
    """PSA's causal variant: group u of level r is visible iff (u + 1) * r - 1 <= i."""
    i, j = p.line()
    level = p.inputs["level"][p.head][np.maximum(i, 0) // 32, j // 32]
    return levels(np.where(j <= i, level, 0), (1, 2, 4, 8))


def three_keeps(p):
    i, j = p.line()
    w = p.param("near", 9)
    return finest_wins([np.where((j <= i) & (i - j < w), 1, 0), np.where((j <= i) & (i - j < 5 * w), 4, 0),
                        np.where(j <= i, 16, 0)], (1, 4, 16), p.keys)


def document_means(p):
    i, j = p.line()
    doc = p.inputs["doc"]
    same = doc[i] == doc[j]
    near = abs(i - j) <= 3
    return finest_wins([np.where(near, 1, 0), np.where(same, 4, 0)], (1, 2, 4), p.keys)


def llsa_sets(p):
    """LLSA's two-level attention for given selections: weights 1, 16 and 256, overlapping."""
    i, j = p.line()
    fine, coarse = p.inputs["fine"][p.head], p.inputs["coarse"][p.head]
    inside = np.array([[b in row for b in range(blocks(p, 4))] for row in fine])
    above = np.array([[b in row for b in range(blocks(p, 16))] for row in coarse])
    return (levels(np.where(inside[i // 4, j // 4], 1, 0), (1,), 1)
            + levels(np.where(above[i // 16, j // 16], 4, 0), (4,), 4)
            + levels(np.full((len(i), p.keys), 16), (16,), 16))


def fill_llsa(p, rng):
    for name, size in (("fine", 4), ("coarse", 16)):
        n = blocks(p, size)
        p.inputs[name] = rng.integers(-1, n, (p.heads, n, 3)).astype(np.int32)


def weighted(p):
    """A window, and the means of 6 keys of everything, at a weight of each head's own."""
    i, j = p.line()
    weight = p.param("heavy", [1.0] * p.heads)
    return (levels(np.where(abs(i - j) < p.param("near", 9), 1, 0), (1,))
            + levels(np.full((len(i), p.keys), 6), (6,), weight))


def periodic(p):
    """A rule that no first or last key decides: some residues, every token of a pair of them."""
    i, j = p.line()
    kept = (j * j + i) % 7 < 4
    coarse = ((i + j) % 5 != 0) & (j < p.param("end", 40))
    return finest_wins([np.where(kept & (i % 3 == 0), 2, 0), np.where(coarse, 4, 0)], (2, 4), p.keys)


def capped(p):
    i, j = p.line()
    return levels(np.where(j // 8 < i // 8, 8, 0), (8,))


def nothing(p):
    i, j = p.line()
    return levels(np.where(i // 16 > j // 16 + 1, 4, 0), (4,))


def blade(p):
    """BLADE: a sparse branch and one over means of 30 keys; out = (e^lse1 o1 + 30 e^lse2 o2) / ...:
    one softmax in which a mean weighs 30, the sparse branch's keys 1."""
    i, j = p.line()
    kept = np.array([[b in row for b in range(blocks(p, 32))] for row in p.inputs["blocks"][p.head]])
    return (levels(np.where(kept[i // 32, j // 32], 1, 0), (1,))
            + levels(np.full((len(i), p.keys), 30), (30,), 30))


def fill_blade(p, rng):
    n = blocks(p, 32)
    p.inputs["blocks"] = rng.integers(-1, n, (p.heads, n, 2)).astype(np.int32)


def three_branches(p):
    """Near keys, means of blocks of 16, and earlier means of 4: each normalised apart."""
    i, j = p.line()
    gates = p.inputs["g"][p.head][:, i[:, 0]] * [[1], [0.5], [-0.25]]
    return list(zip(gates, (
        levels(np.where(abs(i - j) < p.param("near", 9), 1, 0), (1,)),
        levels(np.full((len(i), p.keys), 16), (16,)),
        levels(np.where(j // 8 < i // 8 - 1, 4, 0), (4,)))))


def all_branches(p):
    return [source for _, sources in three_branches(p) for source in sources]


def fill_gates(p, rng):
    p.params["near"] = int(rng.integers(0, 30))
    p.inputs["g"] = rng.uniform(-1, 2, (p.heads, 3, p.keys)).astype(np.float32)


def choose(name, low, high):
    def fill(p, rng):
        p.params[name] = int(rng.integers(low, high + 1))
    return fill


def fill_weights(p, rng):
    p.params["near"] = int(rng.integers(0, 20))
    p.params["heavy"] = [round(float(w), 3) for w in rng.uniform(0.1, 9, p.heads)]


def fill_docs(p, rng):
    p.inputs["doc"] = np.sort(rng.integers(0, 1 + p.keys // 6, p.keys)).astype(np.int32)


MADE = {
    "causal_pyramid": Made("""
        axes i;
        pool 32 by 1, 2, 4, 8;
        input int level[head, blocks(i, 32), blocks(i, 32)];
        keep causal at level[head, max(q.i, 0) / 32, k.i / 32];""",
        causal_pyramid, fill_levels(32, [0, 1, 2, 4, 8])),
    "three_keeps": Made("""
        axes i;
        param int near = 9;
        pool 16 by 16, 1, 4;
        keep causal at 16;
        keep causal and q.i - k.i < 5 * near at 4;
        keep causal and q.i - k.i < near;""",
        three_keeps, choose("near", 0, 30)),
    "document_means": Made("""
        axes i;
        input int doc[i];
        pool 8 by 1, 2, 4;
        keep doc[q.i] == doc[k.i] at 4;
        keep abs(q.i - k.i) <= 3 at 1;""",
        document_means, fill_docs, more_queries=False),
    "llsa_sets": Made("""
        axes i;
        pool 16 by 1, 4, 16;
        input set fine[head, blocks(i, 4)], coarse[head, blocks(i, 16)];
        add k.i / 4 in fine[head, q.i / 4] at 1 weight 1;
        add k.i / 16 in coarse[head, q.i / 16] at 4 weight 4.0;
        add at 16;""",
        llsa_sets, fill_llsa, more_queries=False),
    "weighted": Made("""
        axes i;
        param int near = 9;
        param real heavy[head] = 1.0;
        pool 6 by 1, 6;
        keep abs(q.i - k.i) < near;
        add at 6 weight heavy[head];""",
        weighted, fill_weights),
    "periodic": Made("""
        axes i;
        param int end = 40;
        pool 4 by 2, 4;
        keep (k.i * k.i + q.i) % 7 < 4 and q.i % 3 == 0 at 2;
        keep (q.i + k.i) % 5 != 0 and k.i < end at 4;""",
        periodic, choose("end", 0, 200)),
    "capped": Made("""
        axes i;
        pool 8 by 8;
        keep k.i / 8 < q.i / 8 at 8;
        score 4.0 * tanh(s / 4.0);""",
        capped, score=lambda s: 4 * np.tanh(s / 4)),
    "nothing": Made("""
        axes i;
        pool 16 by 4;
        keep at q.i / 16 > k.i / 16 + 1 ? 4 : 0;""",
        nothing),
}

MADE["blade"] = Made("""
        axes i;
        input set blocks[head, blocks(i, 32)];
        branch sparse { keep k.i / 32 in blocks[head, q.i / 32]; }
        branch dense weight 30 {
            pool 30 by 30;
            add at 30 weight 1;
        }
        merge lse;""", blade, fill_blade, more_queries=False)
MADE["three_branches"] = Made("""
        axes i;
        param int near = 9;
        input real g[head, branch, token];
        branch close { let d = abs(q.i - k.i); keep d < near; }
        branch whole { pool 16 by 16; keep at 16; }
        branch before { pool 8 by 1, 4; keep k.i / 8 < q.i / 8 - 1 at 4; }
        merge gate g[head, branch, token] * (branch == 0 ? 1.0 : branch == 1 ? 0.5 : -0.25);""",
        all_branches, fill_gates, more_queries=False, branches=three_branches)

SHIPPED = {"pyramid": Made(None, pyramid, fill_levels(128, [0, 1, 2, 4, 8], "factor"),
                           more_queries=False),
           "pyramid_static": Made(None, pyramid_static, choose("near", 0, 3))}
