"""Random patterns against brute force: which keys the compiled kernel uses and how it weighs them,
and what `heddle draw` prints. A failure is shrunk before it is printed.

Usage: test_random.py HEDDLE [PATTERNS] [--seed N] [--only N]
       PATTERNS to make (default 100), each with two problems; --only makes that one, to look at it
"""
import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from math import prod

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "oracle"))

from masks import Problem, picture
from runner import (CallFailed, Runner, draw, first_difference, problem_flags, run, shown)
from test_masks import one_hot

from expr import BOOL, INT, Env, Node, Writer, value
from generate import random_case, random_pattern

SHRINK_CALLS = 120


# ---- brute force --------------------------------------------------------------------------------

def environment(pattern, case, head, batch):
    keys = prod(case.sizes)
    token = {"q": np.arange(keys - case.queries, keys)[:, None], "k": np.arange(keys)[None, :]}
    leaves = {"head": np.int64(head), "heads": np.int64(case.heads),
              "kv_head": np.int64(head // (case.heads // case.kv_heads)), "batch": np.int64(batch),
              "causal": token["k"] <= token["q"]}
    for side in "qk":
        leaves[side + ".token"] = token[side]
        rest = token[side]
        for axis, size in reversed(list(zip(pattern.axes[1:], case.sizes[1:]))):
            leaves[f"{side}.{axis}"] = rest % size
            rest = rest // size
        leaves[f"{side}.{pattern.axes[0]}"] = rest
    for axis, size in zip(pattern.axes, case.sizes):
        leaves[f"size({axis})"] = np.int64(size)
    return Env(leaves, case.params, case.inputs)


def mask_of(pattern, case, head, batch=0):
    env = environment(pattern, case, head, batch)
    mask = np.zeros((case.queries, prod(case.sizes)), bool)
    for keep in pattern.keeps:
        mask = mask | value(keep, env)
    return mask


def expected_weights(pattern, case, head, batch, mask, logits):
    """Softmax of the changed logits over the kept keys; and its log-sum-exp."""
    if pattern.score:
        env = environment(pattern, case, head, batch)
        env.leaves["s"] = logits
        logits = np.broadcast_to(value(pattern.score, env), mask.shape)
    weights = np.where(mask, np.exp(logits), 0)
    total = weights.sum(axis=1)
    with np.errstate(divide="ignore"):
        return weights / np.where(total > 0, total, 1)[:, None], np.log(total)


# ---- one pattern on one problem -----------------------------------------------------------------

def write(pattern, folder):
    path = os.path.join(folder, "random.heddle")
    with open(path, "w") as file:
        file.write(pattern.text())
    return path


def oracle_problem(pattern, case, head=0):
    """The case as the command line takes it, with what the text still uses (it may be shrunk)."""
    params, inputs = pattern.used()
    return Problem(case.sizes, case.queries, head, case.heads,
                   {p.name: case.params[p.name] for p in params},
                   {i.name: case.inputs[i.name] for i in inputs})


def constants(pattern):
    return {p.name for p in pattern.used()[0] if p.constant}


def check(heddle, pattern, case, seed):
    """The kernel always; the drawing of every second pattern, which takes another call."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(pattern, folder)
        check_kernel(heddle, pattern, case, path, folder, seed)
        if seed % 2:
            return
        head = seed // 2 % case.heads
        drawn = draw(heddle, path, oracle_problem(pattern, case, head), pattern.axes,
                     constants(pattern), grid_flags(case))
        expected = picture(mask_of(pattern, case, head))
        assert drawn == expected, f"draw, head {head}: {first_difference(drawn, expected)}"


def grid_flags(case):
    return ["--kv-heads", str(case.kv_heads), "--batch", str(case.batches)]


def check_kernel(heddle, pattern, case, path, folder, seed):
    keys = prod(case.sizes)
    v = one_hot(keys)
    if case.batches > 1:        # the batch decides: each entry shows all keys, which are few
        v = np.repeat(v, case.batches, axis=0)
    entries, _, _, dim = v.shape
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((case.heads, case.queries, dim)).astype(np.float32)
    k = rng.standard_normal((case.kv_heads, keys, dim)).astype(np.float32)
    if not pattern.score:
        k[:] = 0
    flags = problem_flags(oracle_problem(pattern, case), pattern.axes, constants(pattern), folder)
    out, lse = run(heddle, path, flags, np.broadcast_to(q, (entries, *q.shape)),
                   np.broadcast_to(k, (entries, *k.shape)), np.repeat(v, case.kv_heads, axis=1), folder)
    for batch in range(case.batches):
        weights = out[batch] if case.batches > 1 else np.concatenate(list(out), axis=2)
        for head in range(case.heads):
            kv_head = head // (case.heads // case.kv_heads)
            logits = q[head].astype(float) @ k[kv_head].astype(float).T / np.sqrt(dim)
            compare(pattern, case, head, batch, weights[head, :, :keys], lse[batch, head], logits)


def compare(pattern, case, head, batch, weights, lse, logits):
    where = f"run, batch {batch}, head {head}: "
    mask = mask_of(pattern, case, head, batch)
    got, expected = picture(weights > 0), picture(mask)
    assert not np.isnan(weights).any(), f"{where}NaN"
    assert got == expected, f"{where}{first_difference(got, expected)}"
    expected, expected_lse = expected_weights(pattern, case, head, batch, mask, logits)
    assert np.allclose(lse, expected_lse, rtol=1e-4, atol=1e-4), f"{where}wrong lse"
    assert np.allclose(weights, expected, rtol=1e-3, atol=1e-7), f"{where}wrong weights"


def failure_of(heddle, pattern, case, seed):
    try:
        check(heddle, pattern, case, seed)
    except (AssertionError, CallFailed) as failure:
        return str(failure)
    return None


# ---- shrinking ----------------------------------------------------------------------------------

def places(node, path=()):
    yield path, node
    if node.op != "use" and node.op != "input":
        for n, arg in enumerate(node.args):
            yield from places(arg, (*path, n))


def replaced(node, path, new):
    if not path:
        return new
    args = list(node.args)
    args[path[0]] = replaced(args[path[0]], path[1:], new)
    return replace(node, args=tuple(args))


def simpler(node):
    """Smaller trees that may stand for this one."""
    if node.type == BOOL and node.op != "const":
        yield Node("const", BOOL, data=True)
        yield Node("const", BOOL, data=False)
    if node.op == "param" and node.type == INT and node.lo >= 0:
        yield Node("const", INT, data=node.data.lo, lo=node.data.lo, hi=node.data.lo)
    for arg in node.args:
        if arg.type == node.type and node.op not in ("any", "all", "count", "use", "call", "input",
                                                     "map", "param", "/", "%", "<<", ">>", "ceildiv"):
            yield arg
    if node.op in ("/", "%", "ceildiv", "<<", ">>"):
        yield node.args[0]


def smaller_patterns(pattern):
    if pattern.score:
        yield replace(pattern, score=None)
    for n, keep in enumerate(pattern.keeps):
        if len(pattern.keeps) > 1:
            yield replace(pattern, keeps=pattern.keeps[:n] + pattern.keeps[n + 1:])
        for path, node in places(keep):
            for new in simpler(node):
                keeps = list(pattern.keeps)
                keeps[n] = replaced(keep, path, new)
                yield replace(pattern, keeps=keeps)


def kind_of(failure):
    """Shrinking must not wander from a wrong mask to a complaint about a silly pattern."""
    for word in ("exit status 1", "exit status", "no answer", "NaN", "run,", "draw,"):
        if word in failure:
            return word
    return failure


def shrink(heddle, pattern, case, seed, failure):
    calls, kind, found = 0, kind_of(failure), True
    while found and calls < SHRINK_CALLS:
        found = False
        for candidate in smaller_patterns(pattern):
            calls += 1
            try:
                again = failure_of(heddle, candidate, case, seed)
            except Exception:       # the smaller tree divides by zero or so
                continue
            if again and kind_of(again) == kind:
                pattern, failure, found = candidate, again, True
                break
            if calls >= SHRINK_CALLS:
                break
    return pattern, failure


def report(heddle, pattern, case, seed, failure, keep_in):
    """Leaves the shrunk pattern and its inputs in a folder, and says how to run it."""
    pattern, failure = shrink(heddle, pattern, case, seed, failure)
    folder = tempfile.mkdtemp(prefix="heddle-random-", dir=keep_in)
    path = write(pattern, folder)
    head = seed // 2 % case.heads
    flags = problem_flags(oracle_problem(pattern, case), pattern.axes, constants(pattern), folder)
    command = shown([heddle, "draw", path, *flags, "--queries", case.queries, "--heads", case.heads,
                     *grid_flags(case), "--head", head, "--format", "txt"])
    return f"{pattern.text()}{failure}\n{command}"


def pattern_and_cases(seed, index):
    """A pattern and two problems; few of them keep nothing or everything."""
    rng = np.random.default_rng([seed, index])
    while True:
        pattern = random_pattern(rng)
        cases = [random_case(pattern, rng, int(rng.choice([80, 300, 600]))) for _ in range(2)]
        mask = mask_of(pattern, cases[0], 0)
        if mask.any() and not mask.all() or rng.random() < 0.1:
            return pattern, cases


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("heddle")
    parser.add_argument("patterns", nargs="?", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", help="folder for the files of failures", default=None)
    args = parser.parse_args()
    print(f"test_random: {args.patterns} patterns, seed {args.seed}")

    def body(index):
        def test():
            pattern, cases = pattern_and_cases(args.seed, index)
            for case in cases:
                failure = failure_of(args.heddle, pattern, case, index)
                assert not failure, report(args.heddle, pattern, case, index, failure, args.keep)
        return test

    tests = Runner(show=10)
    indices = [args.only] if args.only is not None else range(args.patterns)
    tests.parallel([(f"--only {i} --seed {args.seed}", body(i)) for i in indices], args.jobs)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
