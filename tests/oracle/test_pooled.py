"""Keys read at several resolutions: drawings and whole runs against the oracles of pooled.py, and the
numbers of the published systems that can be worked out by hand.

Usage: test_pooled.py HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N]
"""
import os
import sys
import tempfile

import numpy as np

import pooled
from masks import Problem
from problems import one_of, upto
from runner import (CallFailed, Runner, call, case_parser, draw, first_difference, pattern_file, problem_flags,
                    run)
from test_attention import DIMS, DTYPES, compare, rounded

ALL = {**pooled.SHIPPED, **pooled.MADE}


def file_of(name, folder):
    made = ALL[name]
    if made.text is None:
        return pattern_file(name)
    path = os.path.join(folder, name + ".heddle")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"pattern {name} {{{made.text}\n}}\n")
    return path


def random_problem(name, rng, tokens):
    heads = int(rng.choice([1, 2, 3]))
    problem = Problem((one_of(rng, upto(rng, 1, 20), upto(rng, 1, tokens), upto(rng, tokens // 2, tokens),
                              128 * upto(rng, 1, max(1, tokens // 128))),), heads=heads,
                      head=int(rng.integers(heads)))
    ALL[name].fill(problem, rng)
    roll = rng.random()
    if roll < 0.3:
        problem.queries = upto(rng, 1, problem.keys)
    elif roll < 0.4 and ALL[name].more_queries:
        problem.queries = problem.keys + upto(rng, 1, 70)
    return problem


def check_drawing(heddle, name, problem):
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw(heddle, file_of(name, folder), problem, "i")
    expected = pooled.picture(ALL[name].sources(problem), problem.keys)
    assert drawn == expected, first_difference(drawn, expected)


def check_run(heddle, name, problem, shape):
    batch, kv_heads, dim, dtype, seed = shape
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((batch, problem.heads, problem.query_count, dim), np.float32) * 2
    k = rng.standard_normal((batch, kv_heads, problem.keys, dim), np.float32)
    v = rng.standard_normal((batch, kv_heads, problem.keys, dim), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        flags = problem_flags(problem, "i", (), folder) + ["--verify"]
        out, lse = run(heddle, file_of(name, folder), flags, q, k, v, folder, dtype)
    q, k, v = (rounded(a, dtype) for a in (q, k, v))
    for head in range(problem.heads):
        problem.head = head
        sources = ALL[name].sources(problem)
        for b in range(batch):
            kv = head // (problem.heads // kv_heads)
            of = q[b, head], k[b, kv], v[b, kv]
            if ALL[name].branches:
                expected = pooled.gated(*of, ALL[name].branches(problem), 1 / np.sqrt(dim),
                                        lambda x: rounded(x, dtype))
            else:
                expected = pooled.attention(*of, sources, 1 / np.sqrt(dim),
                                            lambda x: rounded(x, dtype),
                                            ALL[name].score or (lambda s: s))
            compare(f"batch {b} head {head}: ", out[b, head], lse[b, head], *expected, dtype)


def random_cases(args):
    for name in [args.pattern] if args.pattern else ALL:
        for index in [args.case] if args.case is not None else range(args.cases):
            rng = np.random.default_rng([args.seed, index, list(ALL).index(name), 7])
            tokens = int(rng.choice([60, 300, 900]))
            problem = random_problem(name, rng, tokens)
            kv_heads = int(one_of(rng, *[n for n in (1, 2, 3) if problem.heads % n == 0]))
            shape = (upto(rng, 1, 2), kv_heads, DIMS[index % len(DIMS)], DTYPES[index % len(DTYPES)],
                     int(rng.integers(1 << 30)))
            again = f"--pattern {name} --case {index} --seed {args.seed}: {problem.sizes} " \
                    f"{problem.query_count} {problem.params}"
            yield "draw " + again, lambda n=name, p=problem: check_drawing(args.heddle, n, p)
            yield "run " + again, lambda n=name, p=problem, s=shape: check_run(args.heddle, n, p, s)


# ---- by hand ------------------------------------------------------------------------------------

HAND = """pattern hand {
    axes i;
    pool 4 by 1, 2, 4;
    input int level[blocks(i, 4)];
    keep at level[k.i / 4];
}
"""


def run_hand(heddle, level, keys, values):
    """One query (1, 0, ...) at scale 1 over scalar keys and values; its output and lse."""
    n = len(keys)
    q, k, v = (np.zeros((1, 1, rows, 8), np.float32) for rows in (1, n, n))
    q[..., 0], k[0, 0, :, 0], v[0, 0, :, 0] = 1, keys, values
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "hand.heddle")
        with open(path, "w", encoding="utf-8") as file:
            file.write(HAND)
        np.save(os.path.join(folder, "level.npy"), np.array(level, np.int32))
        flags = ["--axes", f"i={n}", "--queries", "1", "--scale", "1", "--input",
                 f"level={os.path.join(folder, 'level.npy')}"]
        out, lse = run(heddle, path, flags, q, k, v, folder)
    return float(out[0, 0, 0, 0]), float(lse[0, 0, 0])


def by_hand(heddle):
    """P4: block a has keys (0, 0, ln 3, ln 3) and values (1, 1, 5, 5), block b four keys and values 0."""
    a, b = [0, 0, np.log(3), np.log(3)], [0, 0, 0, 0]
    values = [1, 1, 5, 5, 0, 0, 0, 0]
    for level, total, weight in ((1, 32, 12), (2, 32, 12), (4, 12 * np.sqrt(3), 4 + 4 * np.sqrt(3))):
        out, lse = run_hand(heddle, [level, 1], a + b, values)
        assert abs(out - total / weight) < 1e-5, f"level {level}: {out}, expected {total / weight}"
        assert abs(lse - np.log(weight)) < 1e-5, f"level {level}: lse {lse}"
    # Block b at level 4 is one key that weighs 4; skipped, it is none.
    out, lse = run_hand(heddle, [1, 4], a + b, values)
    assert abs(out - 32 / 12) < 1e-5 and abs(lse - np.log(12)) < 1e-5
    out, lse = run_hand(heddle, [1, 0], a + b, values)
    assert abs(out - 32 / 8) < 1e-5 and abs(lse - np.log(8)) < 1e-5


def ragged_by_hand(heddle):
    """Seven keys: the last group of 4 is the mean of three and weighs 3; that of 2 is one key."""
    keys, values = [0] * 4 + [np.log(2)] * 3, [0] * 4 + [3, 6, 9]
    for level in (1, 2, 4):
        out, lse = run_hand(heddle, [level, level], keys, values)
        assert abs(out - 36 / 10) < 1e-5, f"level {level}: {out}"
        assert abs(lse - np.log(10)) < 1e-5, f"level {level}: lse {lse}"


def bad_levels(heddle):
    """A level that is no factor is named, and nothing runs."""
    try:
        run_hand(heddle, [1, 3], [0] * 8, [0] * 8)
    except CallFailed as failure:
        assert "input 'level' holds 3 as element 1: 'at' takes 0, 1, 2, 4" in str(failure), failure
        return
    raise AssertionError("a level of 3 was taken")


def a_million(heddle):
    """The static pyramid of a million tokens: lists as long as the levels are many, and hardly a key
    computed that is not kept."""
    text = call([heddle, "explain", pattern_file("pyramid_static"), "--axes", "i=1048576", "--json",
                 "--target", "cpu"])
    fields = dict(line.strip().rstrip(",").split(": ", 1) for line in text.splitlines() if ": " in line)
    assert int(fields['"runs"']) < 10 * int(fields['"lists"']), fields['"runs"']
    assert int(fields['"computed_pairs"']) < 1.002 * int(fields['"kept_pairs"']), fields


def main():
    args = case_parser(cases=6, names=ALL).parse_args()
    tests = Runner()
    if args.case is None and not args.pattern:
        for case in (by_hand, ragged_by_hand, bad_levels, a_million):
            tests.case(case.__name__, lambda c=case: c(args.heddle))
    tests.parallel(random_cases(args), args.jobs)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
