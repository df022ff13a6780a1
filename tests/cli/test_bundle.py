"""Bundles: what `heddle compile --emit=bundle` makes is what the pattern's file is, to run, to draw and
to explain; `--emit=c` makes a program of it; libheddle-rt runs both without the compiler.

Usage: test_bundle.py HEDDLE LIBHEDDLE_RT FAKE_CUDA_FOLDER CC...
"""
import os
import random
import re
import stat
import subprocess
import sys

import numpy as np

from test_cli import ROOT, WINDOW, run_tests

sys.path.insert(0, os.path.join(ROOT, "tests", "oracle"))
import masks
from problems import random_problem
from runner import pattern_file, problem_flags

RT, FAKE, CC = None, None, None
PLAIN = ["--ptxas", "none"]
BAND = """pattern band {
    axes i;
    param int before = 8;
    require before > 0 and before < size(i) : "the band does not fit";
    keep causal and q.i - k.i <= before;
}
"""


def make(cli, name, *arguments):
    """The bundle's name, and what the program says is in it."""
    return name, cli.out("compile", *arguments, "--emit=bundle", "-o", name)


def cpu(cli, name, *arguments):
    return make(cli, name, *arguments, "--target", "cpu", "--cpu", "x86-64-v3")


# ---- the same as the pattern --------------------------------------------------------------------

def test_every_pattern(cli):
    """Drawn, planned and verified: all that a plan needs of the pattern is in the bundle."""
    names = sorted(masks.MASKS)
    for index, name in enumerate(names):
        rng = np.random.default_rng([7, index])
        problem = random_problem(name, rng, 200)
        flags = problem_flags(problem, masks.axes_of(name), ("block",), cli.folder)
        consts = [f for i, f in enumerate(flags) if f == "--const" or i and flags[i - 1] == "--const"]
        free = [f for i, f in enumerate(flags) if f != "--const" and not (i and flags[i - 1] == "--const")]
        free += ["--queries", problem.query_count, "--heads", problem.heads]
        bundle, _ = cpu(cli, name + ".hbundle", pattern_file(name), *flags, "--heads", problem.heads)
        shown = ["--format", "txt", "--head", problem.head]
        assert cli.out("draw", bundle, *free, *shown) == \
            cli.out("draw", pattern_file(name), *free, *consts, *shown), name
        explained = [cli.json("explain", file, *free, *more, "--target", "cpu")
                     for file, more in ((bundle, []), (pattern_file(name), consts))]
        for result in explained:
            for key in [key for key in result if "ms" in key or key in ("code_made", "code_found")]:
                del result[key]
        assert explained[0] == explained[1], name
        assert cli.json("run", bundle, *free, "--target", "cpu", "--verify")["passed"], name
        texts = [cli.out("compile", file, "--emit=pattern,facts", *more)
                 for file, more in ((bundle, []), (pattern_file(name), consts))]
        assert texts[0] == texts[1], name


def test_names_places(cli):
    """Messages name the places of a text that is not there any more."""
    path = cli.file("band.heddle", BAND)
    bundle, _ = cpu(cli, "band.hbundle", path)
    wrong = ["--axes", "i=64", "--param", "before=99", "--target", "cpu"]
    with_text = cli.error(1, "run", path, *wrong)
    os.remove(path)
    without = cli.error(1, "run", bundle, *wrong)
    assert without.splitlines()[0] == with_text.splitlines()[0]
    assert "band.heddle:4:" in without and "the band does not fit" in without
    assert "^" in with_text and "^" not in without


# ---- what is in it ------------------------------------------------------------------------------

def test_problems_and_targets(cli):
    name, said = make(cli, "w.hbundle", WINDOW, *PLAIN, "--axes", "i=2048", "--sweep",
                      "dtype=bf16,fp16", "--sweep", "dim=32,64")
    lines = dict(line.split(": ", 1) for line in said.splitlines())
    assert list(lines) == ["x86-64-v3", "x86-64-v4", "sm_90a"]
    for dtype in ("bf16", "fp16"):
        for dim in (32, 64):
            assert f"{dtype} dim {dim}," in lines["x86-64-v3"], said
            assert f"{dtype} dim {dim} in boxes of " in lines["sm_90a"], said
            assert cli.json("run", name, "--axes", "i=300", "--dtype", dtype, "--dim", dim,
                            "--target", "cpu", "--verify")["passed"]
    assert said in cli.out("check", name)
    assert cli.json("check", name)["pattern"] == "window"
    missing = cli.error(2, "run", name, "--axes", "i=64", "--dtype", "bf16", "--dim", 128,
                        "--target", "cpu")
    assert "no code for bf16 dim 128 on this CPU" in missing and said.strip() in missing
    cli.out("bench", name, "--axes", "i=64", "--dtype", "bf16", "--target", "cpu", "--repeat", 2)
    ptx = cli.out("compile", name, "--emit=ptx", "--axes", "i=5000", "--target", "cuda")
    assert ".target sm_90a" in ptx
    explained = cli.json("explain", name, "--axes", "i=5000", "--target", "cuda")
    assert explained["query_tile"][-1] * explained["key_tile"][-1] > 0


def test_boxes(cli):
    """On a GPU a plan takes the best of the boxes that there is a kernel for."""
    grid = ["--axes", "y=64,x=64", "--heads", 24, "--target", "cuda"]
    name, said = make(cli, "n.hbundle", pattern_file("neighborhood2d"), *PLAIN, *grid, "--sweep",
                      "win_y=3,63", "--sweep", "win_x=3,63")
    kinds = set(re.findall(r"boxes of (\S+) queries by (\S+) keys", said))
    assert len(kinds) > 1, said
    taken = set()
    for window in (3, 9, 17, 63):
        params = ["--param", f"win_y={window}", "--param", f"win_x={window}"]
        here = cli.json("explain", name, *grid, *params)
        free = cli.json("explain", pattern_file("neighborhood2d"), *grid, *params)
        boxes = tuple("x".join(map(str, here[key])) for key in ("query_tile", "key_tile"))
        taken.add(boxes)
        assert boxes in kinds and here["kept_pairs"] == free["kept_pairs"]
        assert here["predicted_ms"] >= 0.99 * free["predicted_ms"]
        if window in (3, 63): # it was made for these
            assert here["predicted_ms"] <= 1.02 * free["predicted_ms"], (window, here, free)
        cli.out("compile", name, *grid, *params, "--emit=ptx")
    assert len(taken) > 1


def test_one_target(cli):
    _, said = make(cli, "cpu.hbundle", WINDOW, "--target", "cpu", "--cpu", "x86-64-v4-amx,x86-64-v3")
    assert "sm_90a" not in said and "x86-64-v4-amx: its planner" in said
    name, said = make(cli, "gpu.hbundle", WINDOW, *PLAIN, "--target", "cuda")
    assert "fp32" not in said and "sm_90a: bf16 dim 64" in said
    cli.out("explain", name, "--axes", "i=64", "--target", "cuda")
    assert "no code for fp32" in cli.error(2, "run", name, "--axes", "i=64", "--target", "cpu")


def test_levels(cli):
    """Code of every level that this CPU has is right; of others none is run."""
    ran = 0
    for level in ("x86-64-v3", "x86-64-v4", "x86-64-v4-bf16", "x86-64-v4-amx"):
        name, _ = make(cli, "l.hbundle", WINDOW, "--target", "cpu", "--cpu", level, "--dim", 40,
                       "--sweep", "dtype=fp32,fp16,bf16")
        for dtype in ("fp32", "fp16", "bf16"):
            done = subprocess.run([cli.heddle, "run", name, "--axes", "i=200", "--dim", "40", "--dtype",
                                   dtype, "--target", "cpu", "--verify"], cwd=cli.folder,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
            assert done.returncode == 0 or "no planner for this CPU" in done.stderr, (level, done)
            ran += done.returncode == 0
    assert ran


def test_strides(cli):
    """A kernel for tensors of any dim stride is in every bundle."""
    _, said = cpu(cli, "w.hbundle", WINDOW)
    assert "fp32 dim 64 with any dim stride" in said


def on_fake_gpu(cli, file, *more, **environment):
    sizes = [] if "--axes" in more else ["--axes", "i=300"]
    return subprocess.run([cli.heddle, "run", file, *sizes, "--target", "cuda", *more],
                          cwd=cli.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          timeout=120, env={**os.environ, "HEDDLE_CACHE_DIR": os.devnull,
                                            "LD_LIBRARY_PATH": FAKE, **environment})


def test_inputs(cli):
    """Code for CPUs depends on no input; tile shapes of a GPU do."""
    documents = pattern_file("documents")
    name, _ = cpu(cli, "d.hbundle", documents)
    np.save(os.path.join(cli.folder, "doc.npy"), np.repeat(np.arange(5, dtype=np.int32), 40))
    run = ["--axes", "i=200", "--input", "doc=doc.npy"]
    assert cli.json("run", name, *run, "--target", "cpu", "--verify")["passed"]
    assert "--input doc" in cli.error(2, "compile", documents, *PLAIN, "--emit=bundle", "-o", "x")
    make(cli, "e.hbundle", documents, *PLAIN, *run)
    assert cli.json("run", "e.hbundle", *run, "--target", "cpu", "--verify")["passed"]
    assert on_fake_gpu(cli, "e.hbundle", *run, FAKE_CUDA="ok").returncode == 0


def test_cubins(cli):
    script = cli.file("assembler", "#!/bin/sh\n"
                      'test "$1" = -arch=sm_90a -a "$2" = -o && grep -q "target sm_90a" "$4" || exit 1\n'
                      'printf "\\177ELFnone" > "$3"\n')
    os.chmod(script, stat.S_IRWXU)
    assert "(assembled)" in make(cli, "w.hbundle", WINDOW, "--target", "cuda", "--ptxas", script)[1]
    for mode, words in (("ok", "cubin taken"), ("old_cubins", "cubin refused")):
        log = os.path.join(cli.folder, mode)
        assert on_fake_gpu(cli, "w.hbundle", FAKE_CUDA=mode, FAKE_CUDA_LOG=log).returncode == 0
        with open(log, encoding="utf-8") as file:
            assert words in file.read(), mode
    tuned = on_fake_gpu(cli, "w.hbundle", "--tune", FAKE_CUDA="ok")
    assert tuned.returncode == 2 and "fixed boxes" in tuned.stderr
    assert "(assembled)" not in make(cli, "x.hbundle", WINDOW, "--target", "cuda", *PLAIN)[1]
    refuses = cli.file("refuses", "#!/bin/sh\necho no such instruction >&2; exit 3\n")
    os.chmod(refuses, stat.S_IRWXU)
    said = cli.error(4, "compile", WINDOW, "--target", "cuda", "--emit=bundle", "-o", "y.hbundle",
                     "--ptxas", refuses)
    assert "no such instruction" in said and not os.path.exists(os.path.join(cli.folder, "y.hbundle"))
    assert cli.error(3, "compile", WINDOW, "--target", "cuda", "--emit=bundle", "-o", "y.hbundle",
                     "--ptxas", "/nowhere/ptxas")


# ---- what is refused ----------------------------------------------------------------------------

def test_damaged(cli):
    name, _ = cpu(cli, "w.hbundle", WINDOW)
    with open(os.path.join(cli.folder, name), "rb") as file:
        whole = file.read()
    rng = random.Random(3)
    for case in range(24):
        damaged = bytearray(whole)
        if case % 2:
            damaged[rng.randrange(8, len(whole))] ^= 1 << rng.randrange(8)
        else:
            del damaged[rng.randrange(8, len(whole)):]
        with open(os.path.join(cli.folder, "bad.hbundle"), "wb") as file:
            file.write(damaged)
        assert "damaged" in cli.error(3, "run", "bad.hbundle", "--axes", "i=64"), case


def test_refusals(cli):
    name, _ = cpu(cli, "w.hbundle", WINDOW)
    target = ["--emit=bundle", "-o", "x.hbundle"]
    for words, *arguments in (
            ("is a bundle", "compile", name, *target),
            ("no stage 'ast'", "compile", name, "--emit=ast"),
            ("no stage 'llvm'", "compile", name, "--emit=llvm"),
            ("alone", "compile", WINDOW, "--emit=bundle,pattern", "-o", "x"),
            ("none of x86-64-v3", "compile", WINDOW, *target, "--cpu", "x86-64-v1"),
            ("did you mean 'x86-64-v3'", "compile", WINDOW, *target, "--cpu", "x86-64-v33"),
            ("for the CPU", "compile", WINDOW, *target, "--target", "cuda", "--dtype", "fp32"),
            ("--sweep", "compile", WINDOW, *target, "--sweep", "colour=1"),
            ("head dims", "compile", WINDOW, *target, "--dim", "7"),
            ("holds pattern 'window'", "run", name, "--axes", "i=64", "--pattern", "other"),
            ("set when it is made", "run", name, "--axes", "i=64", "--const", "block=3")):
        assert words in cli.error(2, *arguments), arguments
    assert not os.path.exists(os.path.join(cli.folder, "x.hbundle"))


# ---- C ------------------------------------------------------------------------------------------

HOST = r"""
#include "made.h"
#include <stdio.h>
#include <string.h>
static unsigned short q[2][90][16], o[2][90][16];
int main(void) {
    struct band state;
    struct heddle_tensors tensors;
    struct heddle_problem other = band_problem();
    memset(&state, 0, sizeof state);
    memset(&tensors, 0, sizeof tensors);
    state.target = HEDDLE_TARGET_CPU;
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 90; i++)
            q[h][i][0] = 0x3f80; /* 1.0 */
    tensors.q.data = tensors.k.data = tensors.v.data = q;
    tensors.o.data = o;
    for (int run = 0; run < 3; run++)
        if (band_run(&state, NULL, &tensors, NULL) != HEDDLE_OK)
            return fprintf(stderr, "%s\n", heddle_last_error()), 1;
    if (o[1][89][0] != 0x3f80 || o[1][89][1] != 0 || band_problem().params[0].ints[0] != 5)
        return fprintf(stderr, "wrong result\n"), 1;
    band_close(&state);
    other.dim = 24;
    if (band_run(&state, &other, &tensors, NULL) != HEDDLE_NO_COMPILER)
        return fprintf(stderr, "ran what it has no code for\n"), 1;
    band_close(&state);
    puts("done");
    return 0;
}
"""


def test_c(cli):
    path = cli.file("band.heddle", BAND)
    said = cli.out("compile", path, "--emit=c", "-o", "made", "--axes", "i=90", "--heads", 2, "--dim",
                   16, "--param", "before=5", *PLAIN)
    with open(os.path.join(cli.folder, "made.h"), encoding="utf-8") as file:
        header = file.read()
    for line in said.splitlines():
        assert line in header
    cli.file("host.c", HOST)
    # The same without files: a source of its own on standard output, and a bundle.
    problem = ["--axes", "i=90", "--heads", 2, "--dim", 16, *PLAIN]
    alone = cli.out("compile", path, "--emit=c", *problem)
    cli.file("alone.c", alone)
    assert '#include "' not in alone
    subprocess.run([*CC, "-std=c11", "-Wall", "-Wextra", "-Werror", "-c", "alone.c", "-o", "alone.o",
                    "-I", os.path.join(ROOT, "runtime", "include")], cwd=cli.folder, check=True)
    _, contents = make(cli, "made.hbundle", path, *problem)
    stdout, _ = cli.call("compile", path, "--emit=bundle", *problem)
    with open(os.path.join(cli.folder, "made.hbundle"), "rb") as file:
        assert file.read() == stdout and contents
    for standard in ("c11", "c99"):
        subprocess.run([*CC, "-std=" + standard, "-Wall", "-Wextra", "-Werror", "host.c", "made.c",
                        "-I", os.path.join(ROOT, "runtime", "include"), "-o", "host", RT,
                        "-Wl,-rpath," + os.path.dirname(RT)], cwd=cli.folder, check=True)
        done = subprocess.run([os.path.join(cli.folder, "host")], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0 and done.stdout == "done\n", done
    linked = subprocess.run(["ldd", os.path.join(cli.folder, "host")], stdout=subprocess.PIPE, text=True)
    assert "LLVM" not in linked.stdout and "heddle-rt" in linked.stdout


# ---- the library --------------------------------------------------------------------------------

def test_library(cli):
    """Small, without LLVM, and nothing seen of it but the header's functions."""
    assert os.path.getsize(RT) < 1 << 20
    needed = subprocess.run(["readelf", "-d", RT], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert re.findall(r"SONAME.*\[(.*)\]", needed) == ["libheddle-rt.so.0"]
    assert not re.search("NEEDED.*(LLVM|xxhash|stdc)", needed)
    symbols = subprocess.run(["nm", "-D", "--defined-only", RT], check=True, stdout=subprocess.PIPE,
                             text=True).stdout
    names = {line.split()[-1].split("@")[0] for line in symbols.splitlines()}
    with open(os.path.join(ROOT, "runtime/include/heddle.h"), encoding="utf-8") as file:
        text = re.sub(r"//[^\n]*", "", file.read())
    assert names == set(re.findall(r"\b(heddle_\w+)\(", text)), names


if __name__ == "__main__":
    RT, FAKE, *CC = os.path.abspath(sys.argv[2]), *sys.argv[3:]
    sys.exit(run_tests(sys.argv[1], globals()))
