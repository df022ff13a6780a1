"""What the Python tests share: counting cases, drawing them for each pattern, and calling the program."""
import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import masks

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATTERNS = os.path.join(ROOT, "patterns")
SECONDS = 60      # no single call of the program may take longer
os.environ["HEDDLE_CACHE_DIR"] = os.devnull     # what the user has tuned changes no test


class CallFailed(Exception):
    pass


class Runner:
    """Counts cases. A case is a function that raises on failure, or fails by equal() and close()."""

    def __init__(self, show=20):
        self.passed, self.failed, self.show = 0, 0, show

    def case(self, name, body):
        try:
            body()
            self.passed += 1
        except (AssertionError, CallFailed) as failure:
            self.failed += 1
            if self.failed <= self.show:
                print(f"FAILED {name}\n{indent(str(failure))}", flush=True)

    def parallel(self, cases, jobs=2):
        """Runs (name, function) pairs on a few threads; reports in the order given."""
        with ThreadPoolExecutor(jobs) as pool:
            futures = [(name, pool.submit(body)) for name, body in cases]
            for name, future in futures:
                self.case(name, future.result)

    def equal(self, got, expected):
        if got != expected:
            raise AssertionError(f"expected\n{expected}\ngot\n{got}")

    def finish(self):
        if self.failed > self.show:
            print(f"... and {self.failed - self.show} more failures")
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def indent(text):
    return "\n".join("    " + line for line in text.splitlines())


# ---- random cases of every pattern --------------------------------------------------------------

def case_parser(cases, jobs=2, names=masks.MASKS):
    """Reads HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N] [--jobs N]."""
    parser = argparse.ArgumentParser()
    parser.add_argument("heddle")
    parser.add_argument("cases", nargs="?", type=int, default=cases)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pattern", choices=list(names))
    parser.add_argument("--case", type=int)
    parser.add_argument("--jobs", type=int, default=jobs)
    return parser


def announce(args):
    test = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    print(f"{test}: {args.cases} cases a pattern, seed {args.seed}")


def all_patterns(args):
    """Nothing narrows the cases down, so those that are not random run too."""
    return args.case is None and not args.pattern


def drawn_cases(args, make_case, names=masks.MASKS):
    """The pattern, the flags that repeat the case, and make_case(pattern, index, seed)."""
    for name in [args.pattern] if args.pattern else names:
        for index in [args.case] if args.case is not None else range(args.cases):
            yield (name, f"--pattern {name} --case {index} --seed {args.seed}",
                   make_case(name, index, args.seed))


# ---- the program --------------------------------------------------------------------------------

def call(arguments):
    """Runs the program, gives its standard output; anything but success is CallFailed."""
    try:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise CallFailed(f"{shown(arguments)}\nno answer after {SECONDS} s") from None
    if done.returncode:
        raise CallFailed(f"{shown(arguments)}\nexit status {done.returncode}\n"
                         f"{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout.decode()


def shown(arguments):
    return " ".join(str(a) for a in arguments)


def pattern_file(name):
    return os.path.join(PATTERNS, name + ".heddle")


def assignment(value):
    return ",".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value)


def problem_flags(problem, axes, consts, folder):
    """Sizes, parameters and inputs as command-line flags; inputs are written into `folder`."""
    flags = ["--axes", ",".join(f"{a}={n}" for a, n in zip(axes, problem.sizes))]
    for name, value in problem.params.items():
        flags += ["--const" if name in consts else "--param", f"{name}={assignment(value)}"]
    for name, array in problem.inputs.items():
        path = os.path.join(folder, name + ".npy")
        np.save(path, array)
        flags += ["--input", f"{name}={path}"]
    return flags


def draw(heddle, path, problem, axes, consts=("block",), more=()):
    """What `heddle draw` prints for the problem's head."""
    with tempfile.TemporaryDirectory() as folder:
        return call([heddle, "draw", path, *problem_flags(problem, axes, consts, folder),
                     "--queries", str(problem.query_count), "--heads", str(problem.heads),
                     "--head", str(problem.head), *more, "--format", "txt"])


def run(heddle, path, flags, q, k, v, folder, dtype="fp32"):
    """`heddle run` on the given arrays; gives out and lse."""
    files = {}
    for name, array in (("q", q), ("k", k), ("v", v)):
        files[name] = os.path.join(folder, name + ".npy")
        np.save(files[name], array)
    out, lse = os.path.join(folder, "out.npy"), os.path.join(folder, "lse.npy")
    call([heddle, "run", path, *flags, "--batch", str(q.shape[0]), "--heads", str(q.shape[1]),
          "--kv-heads", str(k.shape[1]), "--dim", str(q.shape[3]), "--dtype", dtype,
          "--q", files["q"], "--k", files["k"], "--v", files["v"], "--out", out, "--lse", lse])
    return np.load(out), np.load(lse)


def first_difference(got, expected):
    """Where two drawings differ, in words."""
    got, expected = got.splitlines(), expected.splitlines()
    if len(got) != len(expected):
        return f"{len(got)} lines, expected {len(expected)}"
    for row, (a, b) in enumerate(zip(got, expected)):
        if a != b:
            column = next((c for c, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            return (f"row {row} column {column}: drawn {a[column:column + 1]!r}, "
                    f"expected {b[column:column + 1]!r}\n  drawn    {a}\n  expected {b}")
    return "equal"
