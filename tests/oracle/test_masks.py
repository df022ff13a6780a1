"""Random problems for every shipped pattern: what `heddle draw` prints, and which keys the compiled
kernel really uses, against the oracle's mask.

How the kernel's mask is read off: with q = 0 every kept key weighs the same, and with one-hot values
the output names the keys; a batch entry shows `dim` of them.

Usage: test_masks.py HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N]
       CASES per pattern (default 8); --case runs that one alone, to look at a failure
"""
import os
import sys
import tempfile
from dataclasses import replace

import numpy as np

import masks
import pooled
from problems import random_problem
from runner import (PATTERNS, Runner, announce, case_parser, draw, drawn_cases, first_difference,
                    pattern_file, problem_flags, run)

DIMS = (64, 256)


def one_hot(keys):
    """Values [batch, 1, keys, dim] whose channel c of batch entry b marks key b * dim + c."""
    dim = DIMS[0] if keys <= DIMS[0] else DIMS[1]
    batch = -(-keys // dim)
    v = np.zeros((batch, 1, keys, dim), np.float32)
    key = np.arange(keys)
    v[key // dim, 0, key, key % dim] = 1
    return v


def kernel_weights(heddle, path, problem, axes, consts=("block",)):
    """The weight of every key for every query of every head [heads, queries, keys], and the lse."""
    v = one_hot(problem.keys)
    q = np.zeros((len(v), problem.heads, problem.query_count, v.shape[3]), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        flags = problem_flags(problem, axes, consts, folder)
        out, lse = run(heddle, path, flags, q, np.zeros_like(v), v, folder)
    weights = np.concatenate(list(out), axis=2)[:, :, :problem.keys]
    return weights, lse[0]


def check_drawing(heddle, name, problem):
    drawn = draw(heddle, pattern_file(name), problem, masks.axes_of(name))
    expected = masks.picture(masks.MASKS[name](problem))
    assert drawn == expected, f"{problem}\n{first_difference(drawn, expected)}"


def check_kernel(heddle, name, problem):
    weights, lse = kernel_weights(heddle, pattern_file(name), problem, masks.axes_of(name))
    for head in range(problem.heads):
        mask = masks.MASKS[name](replace(problem, head=head))
        compare_weights(f"{problem}\nhead {head}: ", weights[head], lse[head], mask,
                        even=name != "alibi")


def compare_weights(where, weights, lse, mask, even=True):
    assert not np.isnan(weights).any(), f"{where}the output has a NaN"
    got, expected = masks.picture(weights > 0), masks.picture(mask)
    assert got == expected, f"{where}{first_difference(got, expected)}"
    count = mask.sum(axis=1)
    if not even:
        return
    with np.errstate(divide="ignore"):
        assert np.allclose(lse, np.log(count), rtol=1e-5, atol=1e-5), f"{where}wrong lse"
    assert np.allclose(weights, mask / np.maximum(count, 1)[:, None], rtol=1e-4, atol=0), \
        f"{where}a key counts more or less than once"


def make_case(name, index, seed):
    rng = np.random.default_rng([seed, index, list(masks.MASKS).index(name)])
    tokens = int(rng.choice([60, 200, 400, 700], p=[0.4, 0.3, 0.2, 0.1]))
    return random_problem(name, rng, tokens)


def every_pattern_has_an_oracle():
    """A shipped pattern without an oracle here must be named, so that none is forgotten."""
    files = {f[:-7] for f in os.listdir(PATTERNS) if f.endswith(".heddle")}
    known = set(masks.MASKS) | set(pooled.SHIPPED)
    missing = sorted(known - files)
    assert not missing, f"no pattern file for: {', '.join(missing)}"
    without = sorted(files - known)
    if without:
        print(f"not tested here: {', '.join(without)}")


def main():
    args = case_parser(cases=8).parse_args()
    announce(args)
    cases = []
    for name, again, problem in drawn_cases(args, make_case):
        cases.append(("draw   " + again, lambda n=name, p=problem: check_drawing(args.heddle, n, p)))
        cases.append(("kernel " + again, lambda n=name, p=problem: check_kernel(args.heddle, n, p)))
    tests = Runner()
    tests.case("coverage", every_pattern_has_an_oracle)
    tests.parallel(cases, args.jobs)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
