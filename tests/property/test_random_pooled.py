"""Random conditions over groups of keys against brute force: the patterns of test_random.py on one axis,
each of their `keep`s at a random factor of a random pool; drawings and numbers.

Usage: test_random_pooled.py HEDDLE [PATTERNS] [--seed N] [--only N]
"""
import argparse
import os
import sys
import tempfile

import numpy as np

from test_random import HERE, constants, environment, grid_flags, oracle_problem

sys.path.insert(0, os.path.join(os.path.dirname(HERE), "oracle"))

import pooled
from expr import value
from generate import random_case, random_pattern
from runner import Runner, draw, first_difference, problem_flags, run
from test_attention import compare

# (seed, pattern) that once failed: 64 rules took minutes to compile; parts of two nested quantifiers
# that a third one shares outlived their loops.
FOUND = [(9, 1), (9, 27), (4, 20)]
POOLS = ((8, (1, 2, 4)), (4, (1, 4)), (16, (1, 4, 16)), (6, (1, 3, 6)), (12, (1, 2, 6)), (5, (1, 5)),
         (32, (1, 8, 32)), (2, (1, 2)))


def pooled_text(pattern, block, factors, at):
    """The pattern with `keep P at F` for its keeps, in order."""
    lines, number = [], 0
    body = pattern.text().splitlines()
    begin = next(n for n, line in enumerate(body) if line.startswith("pattern random {"))
    for n, line in enumerate(body):
        if n > begin and line.startswith("    keep "):
            line = line[:-1] + f" at {at[number]};"
            number += 1
        lines.append(line)
        if n > begin and line.startswith("    axes "):
            lines.append(f"    pool {block} by {', '.join(map(str, factors))};")
    return "\n".join(lines) + "\n"


def sources_of(pattern, case, head, batch, factors, at):
    env = environment(pattern, case, head, batch)
    keys = case.sizes[0]
    masks = [np.broadcast_to(value(keep, env), (case.queries, keys)) for keep in pattern.keeps]
    return pooled.finest_wins([np.where(m, f, 0) for m, f in zip(masks, at)], factors, keys)


def make(seed, index):
    rng = np.random.default_rng([seed, index, 11])
    while True:
        pattern = random_pattern(rng)
        if len(pattern.axes) != 1 or pattern.score:
            continue
        case = random_case(pattern, rng, int(rng.choice([80, 300])))
        block, factors = POOLS[rng.integers(len(POOLS))]
        at = [int(rng.choice(factors)) for _ in pattern.keeps]
        kept = any(k.any() for _, k, _ in sources_of(pattern, case, 0, 0, factors, at))
        if kept and max(at) > 1 or rng.random() < 0.05:
            return pattern, case, block, factors, at, rng


def check(heddle, seed, index):
    pattern, case, block, factors, at, rng = make(seed, index)
    text = pooled_text(pattern, block, factors, at)
    head = int(rng.integers(case.heads))
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "random.heddle")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            drawn = draw(heddle, path, oracle_problem(pattern, case, head), pattern.axes,
                         constants(pattern), grid_flags(case))
            expected = pooled.picture(sources_of(pattern, case, head, 0, factors, at), case.sizes[0])
            assert drawn == expected, first_difference(drawn, expected)
            check_numbers(heddle, path, folder, pattern, case, factors, at, rng)
    except Exception as failure:
        raise AssertionError(f"{text}{case}\nhead {head}: {failure}") from failure


def check_numbers(heddle, path, folder, pattern, case, factors, at, rng):
    keys = case.sizes[0]
    q = rng.standard_normal((case.batches, case.heads, case.queries, 16), np.float32)
    k, v = (rng.standard_normal((case.batches, case.kv_heads, keys, 16), np.float32) for _ in range(2))
    flags = problem_flags(oracle_problem(pattern, case), pattern.axes, constants(pattern), folder)
    out, lse = run(heddle, path, flags, q, k, v, folder)
    for batch in range(case.batches):
        for head in range(case.heads):
            kv = head // (case.heads // case.kv_heads)
            sources = sources_of(pattern, case, head, batch, factors, at)
            expected = pooled.attention(q[batch, head], k[batch, kv], v[batch, kv], sources, 1 / 4,
                                        lambda x: x)
            compare(f"batch {batch} head {head}: ", out[batch, head], lse[batch, head], *expected,
                    "fp32")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("heddle")
    parser.add_argument("patterns", nargs="?", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    args = parser.parse_args()
    print(f"test_random_pooled: {args.patterns} patterns, seed {args.seed}")
    tests = Runner(show=5)
    drawn = [(args.seed, args.only)] if args.only is not None else \
        FOUND + [(args.seed, i) for i in range(args.patterns)]
    tests.parallel([(f"--only {i} --seed {seed}", lambda of=(seed, i): check(args.heddle, *of))
                    for seed, i in drawn])
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
