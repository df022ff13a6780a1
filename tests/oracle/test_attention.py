"""Whole runs: `heddle run` on random tensors against attention in double precision under the
oracle's mask. All patterns, dtypes, head dimensions, grouped heads, batches, scores, empty rows.

Usage: test_attention.py HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N]
       CASES per pattern (default 6); --case runs that one alone, to look at a failure
"""
import sys
import tempfile
from dataclasses import replace

import numpy as np

import masks
from problems import one_of, random_problem, upto
from runner import (Runner, all_patterns, announce, case_parser, drawn_cases, pattern_file,
                    problem_flags, run)

DTYPES = ("fp32", "fp16", "bf16")
DIMS = (8, 40, 64, 128, 256)
TOLERANCE = {"fp32": 2e-5, "fp16": 2e-3, "bf16": 1.6e-2}    # of an output row, relative
LSE_TOLERANCE = 2e-4


def rounded(array, dtype):
    """The values that `dtype` can hold nearest to these, as float32."""
    if dtype == "fp16":
        return array.astype(np.float16).astype(np.float32)
    if dtype == "bf16":
        bits = array.view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000      # to nearest, ties to even
        return bits.astype(np.uint32).view(np.float32)
    return array


def attention(q, k, v, mask, score, scale):
    """One head: out [queries, dim] and lse [queries], in double precision."""
    logits = score(q.astype(np.float64) @ k.astype(np.float64).T * scale)
    logits = np.where(mask, logits, -np.inf)
    top = logits.max(axis=1, initial=-np.inf)
    weights = np.exp(logits - np.where(np.isinf(top), 0, top)[:, None])
    total = weights.sum(axis=1)
    kept = total > 0
    out = weights @ v.astype(np.float64) / np.where(kept, total, 1)[:, None]
    with np.errstate(divide="ignore"):
        lse = np.where(kept, np.log(total) + np.where(kept, top, 0), -np.inf)
    return out, lse


def plain_score(logits):
    return logits


def score_of(name, problem):
    if name != "alibi":
        return plain_score
    i, j = problem.line()
    slope = problem.param("slope", masks.alibi_slopes(problem.heads))
    return lambda logits: logits - slope * (i - j)


def check(heddle, name, problem, shape):
    batch, kv_heads, dim, dtype, seed, loud, scale = shape
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((batch, problem.heads, problem.query_count, dim), np.float32) * loud
    k = rng.standard_normal((batch, kv_heads, problem.keys, dim), np.float32)
    v = rng.standard_normal((batch, kv_heads, problem.keys, dim), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        flags = problem_flags(problem, masks.axes_of(name), ("block",), folder)
        if scale:
            flags += ["--scale", repr(scale)]
        store = np.float16 if dtype == "fp16" and seed % 2 else np.float32
        out, lse = run(heddle, pattern_file(name), flags, q.astype(store), k.astype(store),
                       v.astype(store), folder, dtype)
    assert out.shape == q.shape and out.dtype == np.float32, f"out is {out.shape} {out.dtype}"
    assert lse.shape == q.shape[:3] and lse.dtype == np.float32, f"lse is {lse.shape} {lse.dtype}"
    q, k, v = (rounded(a, dtype) for a in (q, k, v))
    for head in range(problem.heads):
        one = replace(problem, head=head)
        mask, score = masks.MASKS[name](one), score_of(name, one)
        for b in range(batch):
            kv = head // (problem.heads // kv_heads)
            expected = attention(q[b, head], k[b, kv], v[b, kv], mask, score,
                                 scale or 1 / np.sqrt(dim))
            compare(f"batch {b} head {head}: ", out[b, head], lse[b, head], *expected, dtype)


def compare(where, out, lse, expected, expected_lse, dtype):
    assert not np.isnan(out).any() and not np.isnan(lse).any(), f"{where}NaN"
    empty = np.isinf(expected_lse)
    assert (out[empty] == 0).all(), f"{where}a row that keeps nothing is not 0"
    assert (lse[empty] == -np.inf).all(), f"{where}the lse of a row that keeps nothing is not -inf"
    norms = np.linalg.norm(expected, axis=1)
    usual = np.sqrt(np.mean(norms ** 2)) if len(norms) else 0
    error = np.linalg.norm(out - expected, axis=1) / np.maximum(norms, 0.1 * usual + 1e-30)
    if len(error):
        row = int(error.argmax())
        assert error[row] <= TOLERANCE[dtype], f"{where}row {row} is off by {error[row]:.2e}"
    off = np.abs(lse[~empty] - expected_lse[~empty]) / np.maximum(1, np.abs(expected_lse[~empty]))
    assert (off <= LSE_TOLERANCE).all(), f"{where}lse is off by {off.max():.2e}"


def make_case(name, index, seed):
    rng = np.random.default_rng([seed, index, list(masks.MASKS).index(name), 2])
    problem = random_problem(name, rng, int(rng.choice([60, 150, 400])))
    if name == "alibi":
        problem.params.clear()      # the paper's slopes
    kv_heads = int(one_of(rng, *[n for n in (1, 2, 3, 4) if problem.heads % n == 0]))
    shape = (upto(rng, 1, 2), kv_heads, DIMS[index % len(DIMS)], DTYPES[index % len(DTYPES)],
             int(rng.integers(1 << 30)), float(one_of(rng, 1.0, 1.0, 6.0)),
             one_of(rng, 0, 0, 0.3))
    return problem, shape


def empty_rows():
    """Problems in which some or all queries keep nothing."""
    P = masks.Problem
    yield "window", P((70,), params=dict(before=0, after=0))
    yield "window", P((70,), queries=90, params=dict(before=5, after=0))
    yield "causal", P((10,), queries=80)
    yield "strided", P((90,), heads=2, params=dict(block=16, local=0, stride=4))
    yield "spans", P((130,), params=dict(block=64, sink=0, span=0))
    yield "neighborhood1d", P((20,), queries=30, params=dict(win_x=3, causal_x=1))


def cases(args, make_case, empty_dtype):
    """Whole runs as (name, function): the random problems, and those with empty rows."""
    problems = [(f"{again}: {problem} {shape}", name, problem, shape)
                for name, again, (problem, shape) in drawn_cases(args, make_case)]
    if all_patterns(args):
        shape = (1, 1, 64, empty_dtype, 5, 1.0, 0)
        problems += [(f"empty rows: {name} {problem}", name, problem, shape)
                     for name, problem in empty_rows()]
    return [(title, lambda of=problem: check(args.heddle, *of)) for title, *problem in problems]


def main():
    args = case_parser(cases=6).parse_args()
    announce(args)
    tests = Runner()
    tests.parallel(cases(args, make_case, "fp32"), args.jobs)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
