"""`heddle run --target cuda` against attention in double precision under the oracle's mask: every
pattern, random shapes, parameters, dtypes and head dimensions; a part of them twice, for the same
bits. Outputs are poisoned before each run by the program itself.

Usage: test_gpu.py HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N] [--jobs N]
Without a GPU that heddle can use: one line, exit status 77 (skipped).
"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))

import numpy as np

import masks
import runner
import test_attention as attention
from problems import one_of, random_problem, upto

DTYPES = ("bf16", "fp16")
DIMS = (64, 128, 32, 256, 96, 192, 8, 128, 100, 40, 64, 128)


def has_gpu(heddle):
    lines = runner.call([heddle, "devices", "--json"]).splitlines()
    devices = "".join(lines).replace("}{", "}\n{").splitlines()
    return any(d.get("target") == "cuda" and d.get("usable") for d in map(json.loads, devices))


def run_on_gpu(heddle, path, flags, q, k, v, folder, dtype, twice=[0]):
    flags = [*flags, "--target", "cuda"]
    out, lse = runner.run(heddle, path, flags, q, k, v, folder, dtype)
    twice[0] += 1
    if twice[0] % 4 == 0:
        again, lse_again = runner.run(heddle, path, flags, q, k, v, folder, dtype)
        assert (out.view(np.uint32) == again.view(np.uint32)).all(), "the second run differs"
        assert (lse.view(np.uint32) == lse_again.view(np.uint32)).all(), "the second lse differs"
    return out, lse


def make_case(name, index, seed):
    rng = np.random.default_rng([seed, index, list(masks.MASKS).index(name), 3])
    problem = random_problem(name, rng, int(rng.choice([60, 300, 700, 1500])))
    if name == "alibi":
        problem.params.clear()      # the paper's slopes
    kv_heads = int(one_of(rng, *[n for n in (1, 2, 3, 4) if problem.heads % n == 0]))
    offset = list(masks.MASKS).index(name)
    shape = (upto(rng, 1, 2), kv_heads, DIMS[(index + offset) % len(DIMS)],
             DTYPES[int(rng.integers(2))], int(rng.integers(1 << 30)),
             float(one_of(rng, 1.0, 1.0, 6.0)), one_of(rng, 0, 0, 0.3, -0.2))
    return problem, shape


# Several items for each block of a GPU, most or all of them without keys, which random problems of
# some hundred tokens do not have: a block then ends one item, walks over many that are empty, and
# begins another.
LONG_QUEUES = (("causal", "--axes", "i=500", "--queries", "60000"),
               ("window", "--axes", "i=65536", "--param", "before=0"),
               ("window", "--axes", "i=65536", "--param", "before=1"))


def long_queue(heddle, problem, dim):
    runner.call([heddle, "run", runner.pattern_file(problem[0]), *problem[1:], "--heads", "2", "--dim",
                 str(dim), "--dtype", "bf16", "--target", "cuda", "--verify"])


def kept_code(heddle, problem, dim, planner):
    """What a later process finds computes the same as what the first one compiled."""
    arguments = [heddle, "run", runner.pattern_file(problem[0]), *problem[1:], "--heads", "8", "--dim",
                 str(dim), "--dtype", "bf16", "--target", "cuda", "--planner", planner, "--json"]
    results, outs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("/dev/null", folder, folder):
            out = os.path.join(folder, f"{len(outs)}.npy")
            done = subprocess.run([*arguments, "--verify", "--out", out], check=False,
                                  timeout=runner.SECONDS, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE,
                                  env={**os.environ, "HEDDLE_CACHE_DIR": cache})
            assert done.returncode == 0, done.stderr.decode(errors="replace")
            results.append(json.loads(done.stdout))
            outs.append(np.load(out).view(np.uint32))
    assert [result["cached"] for result in results] == [False, False, True], results
    assert (outs[0] == outs[1]).all() and (outs[0] == outs[2]).all(), "other bits"


def bundled(heddle, problem, dim, planner):
    """A bundle computes what its pattern's file does, from PTX and, where there is ptxas, from a cubin."""
    shape = [*problem[1:], "--heads", "8", "--dim", str(dim), "--dtype", "bf16", "--target", "cuda"]
    pattern, outs = runner.pattern_file(problem[0]), []
    with tempfile.TemporaryDirectory() as folder:
        files = [pattern]
        for ptxas in (["--ptxas", "none"], []):
            files.append(os.path.join(folder, f"{len(files)}.hbundle"))
            runner.call([heddle, "compile", pattern, *shape, *ptxas, "--emit=bundle", "-o", files[-1]])
        for file in files:
            out = os.path.join(folder, "out.npy")
            runner.call([heddle, "run", file, *shape, "--planner", planner, "--verify", "--out", out])
            outs.append(np.load(out).view(np.uint32))
    assert (outs[0] == outs[1]).all() and (outs[0] == outs[2]).all(), "other bits"


def main():
    args = runner.case_parser(cases=6, jobs=4).parse_args()
    if not has_gpu(args.heddle):
        print("test_gpu: skipped, heddle sees no GPU that it can use")
        return 77
    attention.run = run_on_gpu
    runner.announce(args)
    tests = runner.Runner()
    tests.parallel(attention.cases(args, make_case, "bf16"), args.jobs)
    if args.pattern is None:
        tests.parallel([(f"long queue, {' '.join(p)}, dim {d}",
                         lambda p=p, d=d: long_queue(args.heddle, p, d))
                        for p in LONG_QUEUES for d in (64, 100, 128, 256)], args.jobs)
        for problem, dim, planner in ((("window", "--axes", "i=8192"), 128, "host"),
                                      (("neighborhood2d", "--axes", "y=64,x=64"), 64, "host"),
                                      (("window", "--axes", "i=8192"), 64, "device")):
            for what, test in (("kept code", kept_code), ("bundle", bundled)):
                tests.case(f"{what}, {problem[0]}, {planner}",
                           lambda t=test, p=problem, d=dim, l=planner: t(args.heddle, p, d, l))
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
