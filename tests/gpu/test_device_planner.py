"""Lists made on the GPU against the host's, bit for bit (`heddle explain` and `heddle run --planner
device --verify` do the comparing): every pattern at random problems, then attention with them, then
planning times of large problems.

Usage: test_device_planner.py HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N] [--jobs N]
                              [--no-times]
Without a GPU that heddle can use: one line, exit status 77 (skipped).
"""
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))

import numpy as np

import masks
import runner
from problems import one_of, random_problem, upto
from test_gpu import has_gpu
from test_ptx import has_planner

LARGE = [   # pattern, its flags, what its planning should stay below in ms (None: no goal)
    ("neighborhood3d", "--axes t=30,y=48,x=80 --param win_t=18 --param win_y=24 --param win_x=24",
     0.2),
    ("window", "--axes i=1048576", 5),
    ("strided", "--axes i=1048576", 5),
    ("radial", "--axes t=32,y=32,x=32", None),
    ("documents", "--axes i=131072", None),
]


def device_flags(name, problem, folder):
    axes, consts = masks.axes_of(name), ("block",)
    return [*runner.problem_flags(problem, axes, consts, folder), "--heads", str(problem.heads),
            "--queries", str(problem.query_count), "--target", "cuda", "--planner", "device"]


def check(heddle, name, problem, more, run):
    with tempfile.TemporaryDirectory() as folder:
        flags = [*device_flags(name, problem, folder), *more]
        path = runner.pattern_file(name)
        if run:
            runner.call([heddle, "run", path, *flags, "--verify"])
        else:
            runner.call([heddle, "explain", path, *flags])


def make_case(name, index, seed):
    rng = np.random.default_rng([seed, index, list(masks.MASKS).index(name), 9])
    problem = random_problem(name, rng, int(rng.choice([60, 700, 3000, 20000])))
    kv_heads = int(one_of(rng, *[n for n in (1, 2, 3, 4) if problem.heads % n == 0]))
    more = ["--batch", str(upto(rng, 1, 2)), "--kv-heads", str(kv_heads), "--dim",
            str(one_of(rng, 64, 128, 128, 192))]
    return problem, more, index % 3 == 0


def sorted_documents(tokens, folder):
    lengths = np.random.default_rng(7).integers(1, 4000, size=tokens)
    path = os.path.join(folder, "doc.npy")
    np.save(path, np.repeat(np.arange(tokens), lengths)[:tokens].astype(np.int32))
    return ["--input", f"doc={path}"]


def times(heddle):
    with tempfile.TemporaryDirectory() as folder:
        for name, flags, goal in LARGE:
            flags = flags.split()
            if name == "documents":
                flags += sorted_documents(131072, folder)
            out = json.loads(runner.call([heddle, "explain", runner.pattern_file(name), *flags,
                                          "--dim", "128", "--target", "cuda", "--planner",
                                          "device", "--json"]))
            print(f"  {name:16} {out['plan_ms']:8.4f} ms on the GPU (goal {goal}), "
                  f"{out['lists']} lists, room {out['run_room']}, {out['merged_lists']} merged")


def main():
    parser = runner.case_parser(cases=4, jobs=4)
    parser.add_argument("--no-times", action="store_true")
    args = parser.parse_args()
    if not has_gpu(args.heddle) or not has_planner(args.heddle):
        print("test_device_planner: skipped, heddle sees no GPU that it can use, or was built without "
              "a planner for GPUs")
        return 77
    runner.announce(args)
    cases = [(f"{again}: {problem} {more}",
              lambda n=name, p=problem, m=more, r=run: check(args.heddle, n, p, m, r))
             for name, again, (problem, more, run) in runner.drawn_cases(args, make_case)]
    tests = runner.Runner()
    tests.parallel(cases, args.jobs)
    if not args.no_times:
        tests.case("times", lambda: times(args.heddle))
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
