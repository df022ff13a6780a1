"""Patterns that choose at what resolution keys are read: the levels and sets that `heddle run
--dump-sets` writes against the systems' rules, the attention over them against double precision, and the
published rankings that can be worked out by hand.

Usage: test_pooled_selection.py HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N]
"""
import os
import sys
import tempfile

import numpy as np

import masks
import pooled
import selections
import test_selection
from problems import one_of, upto
from runner import Runner, case_parser, draw, problem_flags
from test_attention import DTYPES, compare, rounded

# Of PSA at blocks of 128: level, the share up to which it goes, what its count is a multiple of.
LEVELS = ((1, "hi1", 0.10, 1), (2, "hi2", 0.15, 1), (4, "hi4", 0.15, 1), (8, "hi8", 0.35, 2))


def band_counts(n, bands):
    """How many ranks each level gets (zoo, PSA, mode topk): (level, share, multiple) in order."""
    start, counts = 0, []
    for _, share, multiple in bands:
        end = min(n, int(n * share))
        length = max(0, end - start)
        if multiple > 1 and length:
            up = -(-length // multiple) * multiple
            length = up if start + up <= n else length // multiple * multiple
        counts.append(length)
        start += length
    return counts


def sum_counts(importance, bands):
    """The same in mode thresholdbound: levels end one rank after those that hold no more than a share."""
    held = np.cumsum(np.sort(importance)[::-1]) / importance.sum()
    start, counts, n = 0, [], len(held)
    for level, share, multiple in bands:
        below = int((held <= share + 1e-6).sum())
        end = min(below + 1 if below else start, n)
        if level == 1:
            end = max(end, min(6 * n // 100 + 1, n))
        length = max(0, end - start)
        if multiple > 1 and length:
            up = -(-length // multiple) * multiple
            length = up if start + up <= n else (n - start) // multiple * multiple
        counts.append(length)
        start += length
    return counts


def judge_levels(scores, chosen, bands, counts):
    """Each level has its count of blocks, and none is scored above one of a level before it."""
    before, near = [], selections.near(np.asarray(scores, float))
    for (level, *_), count in zip(bands, counts):
        here = scores[chosen == level]
        assert len(here) == count, f"level {level}: {len(here)} blocks, expected {count}"
        assert not len(here) or not len(before) or here.max() <= np.min(before) + near, f"level {level}"
        before = np.append(before, here)
    rest = scores[chosen == 0]
    assert not len(rest) or not len(before) or rest.max() <= np.min(before) + near, "skipped"
    assert len(rest) + sum(counts) == len(scores), "a level that is none of the bands'"


def pyramid_select(c, tables):
    bands = [(level, c.param(name, share), multiple) for level, name, share, multiple in LEVELS]
    q, k = c.means(c.q, 128), c.means(c.k, 128)
    level = tables["sums" if c.param("threshold_bound", 0) else "ranks"]
    for I in range(c.first // 128, len(q)):
        scores = selections.softmax(k @ q[I] * c.scale)
        judge_levels(scores, tables["ranks"][I], bands, band_counts(len(scores), bands))
        judge_levels(scores, tables["sums"][I], bands, sum_counts(scores, bands))
    i, j = selections.positions(c)
    return pooled.levels(level[i // 128, j // 128], (1, 2, 4, 8))


def within(lists, i, j, size):
    table = np.array([np.isin(np.arange(j.max() // size + 1), row) for row in lists])
    return table[i // size, j // size]


def llsa(c, tables):
    test_selection.check_head("two_level_topk", c, tables, "")
    i, j = selections.positions(c)
    fine, coarse = within(tables["fine"], i, j, 16), within(tables["coarse"], i, j, 256)
    return (pooled.levels(np.where(fine, 1, 0), (1,), 1) + pooled.levels(np.where(coarse, 16, 0), (16,), 16)
            + pooled.levels(np.full(fine.shape, 256), (256,), 256))


def pooled_branch(c, tables):
    gap = c.param("gap", 30)
    scores = c.means(c.q, 128) @ c.means(c.k, 128).T
    for I in range(c.first // 128, len(scores)):
        selections.top(c.param("budget", 32), scores[I])(tables["chosen"][I])
    i, j = selections.positions(c)
    kept = within(tables["chosen"], i, j, 128)
    return (pooled.levels(np.where(kept, 1, 0), (1,))
            + pooled.levels(np.full(kept.shape, gap), (gap,), gap))


ALL = {"pyramid_select": pyramid_select, "llsa": llsa, "pooled_branch": pooled_branch}


def params_of(name, rng):
    if name == "pyramid_select":
        ends = np.sort(rng.uniform(0, 1, 4)).round(2)
        return {"threshold_bound": upto(rng, 0, 1),
                **{f"hi{level}": float(end) for (level, *_), end in zip(LEVELS, ends)}}
    if name == "llsa":
        return dict(top1=upto(rng, 1, 9), top2=upto(rng, 1, 4))
    return dict(gap=one_of(rng, 30, 15, 7), budget=upto(rng, 1, 6))


def make_case(name, index, seed):
    rng = np.random.default_rng([seed, index, list(ALL).index(name), 13])
    n = one_of(rng, upto(rng, 1, 150), upto(rng, 300, 1500), 1024)
    heads = one_of(rng, 1, 2)
    problem = masks.Problem((n,), heads=heads, params=params_of(name, rng),
                            queries=upto(rng, 1, n) if rng.random() < 0.3 else n)
    kv_heads = int(one_of(rng, *[h for h in (1, 2) if heads % h == 0]))
    return problem, (upto(rng, 1, 2), kv_heads, one_of(rng, 8, 32, 64), DTYPES[index % len(DTYPES)],
                     int(rng.integers(1 << 30)))


def tables_of(name, raw, batch, b, head):
    """Lists of elements; levels as they are."""
    return {key: (table[b, head] if batch > 1 else table[head]) if key in ("ranks", "sums")
            else test_selection.lists_of(table, batch, b, head) for key, table in raw.items()}


def check(heddle, name, problem, shape):
    batch, kv_heads, dim, dtype, seed = shape
    rng = np.random.default_rng(seed)
    q, k, v = (rounded(rng.standard_normal((batch, heads, tokens, dim), np.float32), dtype)
               for heads, tokens in ((problem.heads, problem.query_count), (kv_heads, problem.keys),
                                     (kv_heads, problem.keys)))
    with tempfile.TemporaryDirectory() as folder:
        flags = problem_flags(problem, "i", ("gap",), folder) + ["--queries", str(problem.query_count)]
        out, lse, raw = test_selection.run(heddle, name, flags, q, k, v, folder, dtype)
    for b in range(batch):
        for head in range(problem.heads):
            kv = head // (problem.heads // kv_heads)
            case = selections.Case(q[b, head].astype(float), k[b, kv].astype(float), 1 / np.sqrt(dim),
                                   problem.params)
            sources = ALL[name](case, tables_of(name, raw, batch, b, head))
            expected = pooled.attention(q[b, head], k[b, kv], v[b, kv], sources, case.scale,
                                        lambda x: rounded(x, dtype))
            compare(f"batch {b} head {head}: ", out[b, head], lse[b, head], *expected, dtype)


# ---- by hand ------------------------------------------------------------------------------------

HAND = """pattern hand {{
    axes   i;
    pool   8 by 1, 2, 4, 8;
    input  real importance[blocks(i, 8)];
    select level[head, blocks(i, 8)] as (h, b) =
        {bands}, rest: 0) of kb in 0 .. ceildiv(size(i), 8) ranked by importance[kb];
    keep   at level[head, q.i / 8, k.i / 8];
}}
"""
IMPORTANCE = [.02, .30, .05, .01, .20, .03, .15, .04, .08, .12]
BY_HAND = {
    "P1 at blocks of 128": ("bands(1: 0.10, 2: 0.15, 4: 0.15, 8: 0.35 step 2", "0100808000"),
    "P1 at blocks of 64": ("bands(1: 0.10, 2: 0.15, 4: 0.15, 8: 0.35 step 4", "0100808088"),
    "P2": ("mass_bands(1: 0.4, 2: 0.5, 4: 0.6, 8: 0.8 step 2", "0100102088"),
    "P3 at blocks of 32": ("bands(1: 0.05, 2: 0.15 step 2, 4: 0.25 step 4, 8: 0.5 step 8", "8288288888"),
}


def by_hand(heddle, bands, levels):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "hand.heddle")
        with open(path, "w", encoding="utf-8") as file:
            file.write(HAND.format(bands=bands))
        problem = masks.Problem((80,), queries=1,
                                inputs={"importance": np.array(IMPORTANCE, np.float32)})
        drawn = draw(heddle, path, problem, "i")
    assert drawn == "".join(level * 8 for level in levels) + "\n", f"{drawn[::8]}, expected {levels}"


def main():
    args = case_parser(cases=6, names=ALL).parse_args()
    tests, cases = Runner(), []
    if args.case is None and not args.pattern:
        for name, hand in BY_HAND.items():
            tests.case(name, lambda h=hand: by_hand(args.heddle, *h))
    for name in [args.pattern] if args.pattern else ALL:
        for index in [args.case] if args.case is not None else range(args.cases):
            problem, shape = make_case(name, index, args.seed)
            title = f"--pattern {name} --case {index} --seed {args.seed}: {problem} {shape}"
            cases.append((title, lambda of=(name, problem, shape): check(args.heddle, *of)))
    tests.parallel(cases, args.jobs)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
