"""The selections of the shipped patterns, each written straight from its formula, in double precision.

SELECTIONS[name](case) yields (set name, list, rule) for one batch entry and head, where `list` is the
index of the list in the set's array (() for a set of the head alone) and the rule judges the list that
the program wrote; and MASKS[name](case, sets) is the mask that follows from the lists.

Scores are compared, not element numbers: an element on the wrong side of the cut must be within
rounding of it. Nothing here is derived from the pattern files.
"""
from dataclasses import dataclass

import numpy as np

NEAR = 1e-5       # of the largest score of a list


@dataclass
class Case:
    q: np.ndarray            # [queries, dim] of one head
    k: np.ndarray            # [keys, dim]
    scale: float
    params: dict
    bias: np.ndarray = None  # [keys]

    @property
    def n(self):
        return len(self.k)

    @property
    def first(self):
        """The position of the first query."""
        return self.n - len(self.q)

    def param(self, name, default):
        return self.params.get(name, default)

    def rows(self, x, begin, end):
        """Positions begin .. end of q (x is self.q, from `first` on) or k, those that exist."""
        offset = self.n - len(x)
        return x[max(begin - offset, 0):max(end - offset, 0)]

    def means(self, x, size):
        """The mean of each block of positions, of those that exist; zeros where there is none."""
        return np.array([block.mean(axis=0) if len(block) else np.zeros(x.shape[1]) for block in
                         (self.rows(x, b, min(b + size, self.n)) for b in range(0, self.n, size))])

    def strip(self, rows):
        """Attention weights [rows, keys] of the last positions; a row that is no query is 0."""
        weights = np.zeros((rows, self.n))
        for r in range(rows):
            i = self.n - rows + r
            if i < self.first or i < 0:
                continue
            logits = self.k[:i + 1] @ self.q[i - self.first] * self.scale
            weights[r, :i + 1] = softmax(logits)
        return weights


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


# ---- rules ----------------------------------------------------------------------------------------

def split(chosen, scores, forced):
    """Scores of the candidates that are chosen and of those that are left; forced ones are neither."""
    inside = np.zeros(len(scores), bool)
    assert all(0 <= x < len(scores) for x in chosen), f"{chosen} leaves 0 .. {len(scores)}"
    inside[chosen] = True
    assert len(set(chosen)) == len(chosen) and sorted(chosen) == list(chosen), "not ascending"
    missing = sorted(set(np.flatnonzero(forced)) - set(chosen))
    assert not missing, f"{missing} are forced, and left"
    candidate = ~np.isnan(scores)
    stray = np.flatnonzero(inside & ~candidate & ~forced)
    assert not len(stray), f"{stray} are no candidates"
    return scores[inside & candidate & ~forced], scores[~inside & candidate & ~forced]


def near(scores):
    known = np.abs(scores[np.isfinite(scores)])
    return NEAR * known.max() if len(known) else 0.0


def in_order(taken, left, scores):
    if len(taken) and len(left):
        assert taken.min() >= left.max() - near(scores), \
            f"chosen at {taken.min():.9g}, left at {left.max():.9g}"


def top(n, scores, forced=()):
    """The n best, the forced ones counted; n may be several numbers, any of which will do."""
    scores = np.asarray(scores, float)
    is_forced = np.zeros(len(scores), bool)
    is_forced[[x for x in forced if x < len(scores)]] = True

    def judge(chosen):
        taken, left = split(chosen, scores, is_forced)
        some, all_of = is_forced.sum(), len(taken) + len(left)
        wanted = {min(max(int(one) - some, 0), all_of) for one in np.atleast_1d(n)}
        assert len(taken) in wanted, f"{len(taken)} chosen beside {some} forced, not {wanted}"
        in_order(taken, left, scores)
    return judge


def mass(share, scores, exclusive=False):
    """A prefix of the ranking: while the sum does not pass the share, and the one that passes it."""
    scores = np.asarray(scores, float)

    def judge(chosen):
        taken, left = split(chosen, scores, np.zeros(len(scores), bool))
        in_order(taken, left, scores)
        total = np.nansum(scores)
        limit, slack = share * total, 1e-6 * total
        below = taken.sum() if exclusive or not len(taken) else taken.sum() - taken.min()
        assert below <= limit + slack, f"{below} passes {limit}"
        if len(left):
            over = taken.sum() + (left.max() if exclusive else 0.0)
            assert over > limit - slack, f"{over} does not reach {limit}"
    return judge


# ---- the systems ----------------------------------------------------------------------------------

def diagonal_sums(weights, n):
    rows = len(weights)
    sums = np.zeros(n)
    for r in range(rows):
        for j in range(n):
            if 0 <= n - rows + r - j < n:
                sums[n - rows + r - j] += weights[r, j]
    return sums


def vertical_slash_select(c):
    weights = c.strip(64)
    yield "vertical", (), top(c.param("columns", 1000), weights.sum(axis=0), range(30))
    yield "slash", (), top(c.param("diagonals", 6096), diagonal_sums(weights, c.n), range(100))


def block_topk(c):
    size, budget = c.param("block", 64), c.param("budget", 32)
    scores = c.means(c.q, size) @ c.means(c.k, size).T
    for I in range(len(scores)):
        yield "chosen", (I,), top(budget, scores[I, :I + 1], {0, I})


def quest(c):
    size, budget = c.param("page", 16), c.param("budget", 64)
    q = c.means(c.q, size)
    pages = [c.k[b:b + size] for b in range(0, c.n, size)]
    for I in range(len(q)):
        scores = [np.maximum(q[I] * page.min(axis=0), q[I] * page.max(axis=0)).sum()
                  for page in pages[:I + 1]]
        yield "pages", (I,), top(budget, scores, {I})


def key_topk(c):
    yield "best", (), top(c.param("budget", 2048), c.bias)


def two_level_topk(c):
    b, top1, top2 = c.param("block", 16), c.param("top1", 8), c.param("top2", 8)
    q1, k1 = c.means(c.q, b), c.means(c.k, b)
    group = lambda x: np.array([x[i:i + b].mean(axis=0) for i in range(0, len(x), b)])
    q2, k2 = group(q1), group(k1)
    for I in range(len(q2)):
        yield "coarse", (I,), top(top2, k2 @ q2[I])
    for i in range(len(q1)):
        def judge(chosen, sets, i=i):
            scores = np.full(len(k1), np.nan)
            for parent in sets["coarse"][i // b]:
                children = range(parent * b, min(parent * b + b, len(k1)))
                scores[list(children)] = k1[list(children)] @ q1[i]
            top(top1, scores)(chosen)
        yield "fine", (i,), judge


def block_probabilities(c, size, begin):
    """Mean probability of each pair of blocks, with a softmax over the keys from `begin` on."""
    blocks = -(-c.n // size)
    P = np.full((blocks, blocks), 0.0)
    for I in range(blocks):
        rows = c.rows(c.q, I * size, min(I * size + size, c.n))
        if not len(rows) or begin >= c.n:
            continue
        p = np.array([softmax(c.k[begin:] @ row * c.scale) for row in rows])
        for J in range(begin // size, blocks):
            P[I, J] = p[:, J * size - begin:J * size + size - begin].mean()
    return P


def sparsed(c):
    size, ratio = c.param("block", 128), c.param("ratio", 0.3)
    blocks = -(-c.n // size)
    last = min(-(-c.param("prompt", 0) // size), blocks)
    everything = block_probabilities(c, size, 0)
    generated = block_probabilities(c, size, last * size)
    for I in range(c.first // size, blocks):
        yield "prompt_blocks", (I,), top(np.floor(last * ratio) + 1, everything[I, :last])
        scores = np.full(blocks, np.nan)
        scores[last:] = generated[I, last:]
        yield "tail_blocks", (I,), top(np.floor((blocks - last) * ratio) + 1, scores)


def flex_parts(c):
    B = c.param("block", 128)
    weights = c.strip(B)
    rows = min(B, len(c.q))                 # queries of the strip that there are
    vert, slash = weights.sum(axis=0) / rows, diagonal_sums(weights, c.n) / rows
    pool = lambda x: np.array([x[b:b + B].sum() for b in range(0, c.n, B)])
    strip = c.q[-rows:].mean(axis=0)
    estimate = softmax(c.means(c.k, B) @ strip * c.scale)
    measured = pool(vert)
    middle = (estimate + measured) / 2
    part = lambda p: np.sum(p[p > 0] * np.log(p[p > 0] / middle[p > 0]))
    distance = np.sqrt(max(0.0, part(estimate) / 2 + part(measured) / 2))
    return B, vert, slash, pool(vert), pool(slash), distance


def flex_prefill(c):
    gamma, tau = c.param("gamma", 0.9), c.param("tau", 0.1)
    B, vert, slash, vert_blocks, slash_blocks, distance = flex_parts(c)
    few = max(1, -(-c.param("min_budget", 512) // B))
    yield "column_tokens", (), mass(gamma, vert)
    yield "diagonal_tokens", (), mass(gamma, slash)
    for name, scores, blocks in (("columns", vert, vert_blocks), ("diagonals", slash, slash_blocks)):
        cover = 1 + (np.cumsum(np.sort(scores)[::-1]) <= gamma).sum()
        counts = [max(few, int(max(cover + near_by, 0)) // B + 1) for near_by in (-1, 0, 1)]
        yield name, (), top(few if distance < tau else counts, blocks, {0})
    # The whole map at once, by inclusive sums.
    q, k = c.means(c.q, B), c.means(c.k, B)
    first = c.first // B
    rows = [softmax(k[:I + 1] @ q[I] * c.scale) for I in range(first, len(q))]
    width = len(k)
    flat = np.full((len(q), width), np.nan)
    for I, row in enumerate(rows):
        flat[first + I, :len(row)] = row
    # What is left of the map before the first query has no weight.
    yield "pairs", "whole", lambda lists: mass(gamma, flat.ravel(), exclusive=True)(
        [I * width + J for I in range(first, len(q)) for J in lists[I]])


# ---- masks ----------------------------------------------------------------------------------------

def positions(c):
    return np.arange(c.first, c.n)[:, None], np.arange(c.n)[None, :]


def member(elements, x):
    return np.isin(x, np.asarray(elements, int))


def by_block(c, lists, size, causal):
    i, j = positions(c)
    mask = np.zeros((len(c.q), c.n), bool)
    for row in range(len(c.q)):
        mask[row] = member(lists[(c.first + row) // size], j[0] // size)
    return mask & (j <= i) if causal else mask


def vertical_slash_mask(c, sets):
    i, j = positions(c)
    return (j <= i) & (member(sets["vertical"], j) | member(sets["slash"], i - j))


def key_topk_mask(c, sets):
    i, j = positions(c)
    return (j <= i) & member(sets["best"], j)


def sparsed_mask(c, sets):
    size = c.param("block", 128)
    return by_block(c, sets["prompt_blocks"], size, False) | by_block(c, sets["tail_blocks"], size,
                                                                      False)


def flex_mask(c, sets):
    i, j = positions(c)
    B, *_, distance = flex_parts(c)
    few = max(1, -(-c.param("min_budget", 512) // B))
    if c.n <= max(2 * B, few * B):
        return j <= i
    kept = member(sets["columns"], j // B) | member(sets["diagonals"], i // B - j // B)
    if distance < c.param("tau", 0.1):
        kept = kept | by_block(c, sets["pairs"], B, True)
    return (j <= i) & kept


SELECTIONS = dict(vertical_slash_select=vertical_slash_select, block_topk=block_topk, quest=quest,
                  key_topk=key_topk, two_level_topk=two_level_topk, sparsed=sparsed,
                  flex_prefill=flex_prefill)
MASKS = dict(
    vertical_slash_select=vertical_slash_mask, key_topk=key_topk_mask, sparsed=sparsed_mask,
    flex_prefill=flex_mask,
    block_topk=lambda c, sets: by_block(c, sets["chosen"], c.param("block", 64), True),
    quest=lambda c, sets: by_block(c, sets["pages"], c.param("page", 16), True),
    two_level_topk=lambda c, sets: by_block(c, sets["fine"], c.param("block", 16), False))
