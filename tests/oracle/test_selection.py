"""Patterns that select: the sets that `heddle run --dump-sets` writes against selections.py, and the
attention over them against double precision. Random problems of every such pattern.

Usage: test_selection.py HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N]
"""
import inspect
import os
import sys
import tempfile

import numpy as np

import masks
import selections
from problems import one_of, upto
from runner import Runner, announce, call, case_parser, pattern_file, problem_flags
from test_attention import DTYPES, attention, compare, rounded

CONSTS = ("block", "page")
DIMS = (8, 16, 40, 64, 128)
# The head that a set is of.
KV_SETS = ("best",)


def params_of(name, rng, n):
    few = lambda most: upto(rng, 1, max(1, most))
    if name == "vertical_slash_select":
        return dict(columns=one_of(rng, 1, few(n), 40, n + 5),
                    diagonals=one_of(rng, 1, few(n), 120, n + 5))
    if name == "block_topk":
        block = one_of(rng, 8, 16, 64, 64)
        return dict(block=block, budget=one_of(rng, 1, 2, few(-(-n // block)), 99))
    if name == "quest":
        page = one_of(rng, 4, 16, 16)
        return dict(page=page, budget=one_of(rng, 1, 3, few(-(-n // page)), 999))
    if name == "key_topk":
        return dict(budget=one_of(rng, 1, few(n), n, n + 3))
    if name == "two_level_topk":
        return dict(block=one_of(rng, 4, 16), top1=one_of(rng, 1, 3, 8), top2=one_of(rng, 1, 2, 8))
    if name == "sparsed":
        return dict(block=one_of(rng, 16, 32, 128), prompt=upto(rng, 0, n + 3),
                    ratio=float(one_of(rng, 0.3, 0.5, 0.0, 1.0)))
    block = one_of(rng, 16, 32, 128)
    return dict(block=block, gamma=float(one_of(rng, 0.9, 0.5, 0.97)),
                tau=float(one_of(rng, 0.0, 0.1, 0.3, 2.0)),
                min_budget=one_of(rng, 0, block, 3 * block, 512))


def make_case(name, index, seed):
    rng = np.random.default_rng([seed, index, list(selections.SELECTIONS).index(name), 5])
    n = one_of(rng, upto(rng, 1, 40), upto(rng, 41, 300), upto(rng, 200, 420), 256)
    heads = one_of(rng, 1, 2, 4)
    queries = upto(rng, 1, n) if rng.random() < 0.3 else n
    problem = masks.Problem((n,), queries=queries, heads=heads, params=params_of(name, rng, n))
    kv_heads = int(one_of(rng, *[h for h in (1, 2, 4) if heads % h == 0]))
    if name == "key_topk":
        problem.inputs["bias"] = rng.standard_normal((kv_heads, n)).astype(np.float32)
    shape = (upto(rng, 1, 2), kv_heads, DIMS[index % len(DIMS)], DTYPES[index % len(DTYPES)],
             int(rng.integers(1 << 30)), float(one_of(rng, 1.0, 1.0, 3.0)), one_of(rng, 0, 0, 0.2))
    return problem, shape


def run(heddle, name, flags, q, k, v, folder, dtype):
    files = {}
    for tensor, array in (("q", q), ("k", k), ("v", v)):
        files[tensor] = os.path.join(folder, tensor + ".npy")
        np.save(files[tensor], array)
    out, lse, sets = (os.path.join(folder, what) for what in ("out.npy", "lse.npy", "sets"))
    call([heddle, "run", pattern_file(name), *flags, "--batch", str(q.shape[0]), "--heads",
          str(q.shape[1]), "--kv-heads", str(k.shape[1]), "--dim", str(q.shape[3]), "--dtype", dtype,
          "--q", files["q"], "--k", files["k"], "--v", files["v"], "--out", out, "--lse", lse,
          "--target", "cpu", "--dump-sets", sets])
    return np.load(out), np.load(lse), {f[:-4]: np.load(os.path.join(sets, f))
                                        for f in os.listdir(sets)}


def lists_of(table, batch, b, head):
    """The lists of one batch entry and head, -1 dropped: a list, or one for each index."""
    one = table[b, head] if batch > 1 else table[head]
    assert table.dtype == np.int32, table.dtype
    drop = lambda row: [int(x) for x in row if x >= 0]
    for row in one.reshape(-1, one.shape[-1]):
        kept = drop(row)
        assert list(row[len(kept):]) == [-1] * (len(row) - len(kept)), f"padding inside of {row}"
    return drop(one) if one.ndim == 1 else [drop(row) for row in one]


def judge(rule, chosen, sets):
    if "sets" in inspect.signature(rule).parameters:
        rule(chosen, sets)
    else:
        rule(chosen)


def check_head(name, case, sets, where):
    for set_name, index, rule in selections.SELECTIONS[name](case):
        lists = sets[set_name]
        chosen = lists if index in ((), "whole") else lists[index[0]]
        try:
            judge(rule, chosen, sets)
        except AssertionError as failure:
            raise AssertionError(f"{where}{set_name}{index}: {failure}") from None


def check(heddle, name, problem, shape):
    batch, kv_heads, dim, dtype, seed, loud, scale = shape
    rng = np.random.default_rng(seed)
    normal = lambda heads, tokens: rounded(
        rng.standard_normal((batch, heads, tokens, dim), np.float32), dtype)
    q = rounded(normal(problem.heads, problem.query_count) * np.float32(loud), dtype)
    k, v = normal(kv_heads, problem.keys), normal(kv_heads, problem.keys)
    with tempfile.TemporaryDirectory() as folder:
        flags = problem_flags(problem, "i", CONSTS, folder)
        flags += ["--queries", str(problem.query_count)] + (["--scale", repr(scale)] if scale else [])
        out, lse, tables = run(heddle, name, flags, q, k, v, folder, dtype)
    for b in range(batch):
        for head in range(problem.heads):
            kv = head // (problem.heads // kv_heads)
            bias = problem.inputs["bias"][kv].astype(float) if problem.inputs else None
            case = selections.Case(q[b, head].astype(float), k[b, kv].astype(float),
                                   scale or 1 / np.sqrt(dim), problem.params, bias)
            sets = {set_name: lists_of(table, batch, b, kv if set_name in KV_SETS else head)
                    for set_name, table in tables.items()}
            where = f"batch {b} head {head}: "
            check_head(name, case, sets, where)
            mask = selections.MASKS[name](case, sets)
            score = (lambda logits: logits + bias) if bias is not None else (lambda logits: logits)
            expected = attention(q[b, head], k[b, kv], v[b, kv], mask, score, case.scale)
            compare(where, out[b, head], lse[b, head], *expected, dtype)


def main():
    args = case_parser(cases=10, names=selections.SELECTIONS).parse_args()
    announce(args)
    tests, cases = Runner(), []
    for name in [args.pattern] if args.pattern else selections.SELECTIONS:
        for index in [args.case] if args.case is not None else range(args.cases):
            problem, shape = make_case(name, index, args.seed)
            title = f"--pattern {name} --case {index} --seed {args.seed}: {problem} {shape}"
            cases.append((title, lambda of=(name, problem, shape): check(args.heddle, *of)))
    tests.parallel(cases, args.jobs)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
