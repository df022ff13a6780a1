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

# Of two plans: a bundle's pattern has fewer nodes, which scratch in a plan is for.
NOT_THE_SAME = ("code_made", "code_found", "plan_bytes")


def test_every_pattern(cli):
    """Drawn, planned and verified: all that a plan needs of the pattern is in the bundle."""
    names = sorted(masks.MASKS) + ["pyramid_static", "block_topk", "quest", "llsa"]
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
            for key in [key for key in result if "ms" in key or key in NOT_THE_SAME]:
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


# ---- either library --------------------------------------------------------------------------------

# Loads argv[1] and prints O and LSE: DTYPE DIM HEADS SIZES, then NAME=SHAPE=MODULUS of int32 inputs,
# which hold their index modulo that, and NAME:NUMBER of parameters.
EITHER = r"""
#include <heddle.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void *made(long count, int bytes, unsigned seed) { /* fp32, or 16 bits that are small numbers */
    unsigned char *data = malloc(count * bytes);
    for (long i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        float number = (float)(int)(seed >> 16) / 32768.0f - 1.0f;
        unsigned bits;
        memcpy(&bits, &number, 4);
        if (bytes == 2)
            bits >>= 16;
        memcpy(data + i * bytes, &bits, bytes);
    }
    return data;
}
int main(int argc, char **argv) {
    struct heddle_context_options options = {.struct_bytes = sizeof options, .target = HEDDLE_TARGET_CPU,
                                             .threads = 2};
    struct heddle_context *context;
    struct heddle_pattern *pattern;
    struct heddle_plan *plan;
    struct heddle_problem problem = HEDDLE_PROBLEM_INIT;
    struct heddle_input inputs[4];
    struct heddle_param params[4];
    int64_t numbers[4];
    problem.dtype = strcmp(argv[2], "bf16") ? HEDDLE_F32 : HEDDLE_BF16;
    problem.dim = atoi(argv[3]);
    problem.heads = problem.kv_heads = atoi(argv[4]);
    long tokens = 1;
    char *size = strtok(argv[5], ",");
    for (int a = 0; size; size = strtok(NULL, ","), a++)
        tokens *= problem.sizes[a] = atoi(size);
    problem.inputs = inputs;
    problem.params = params;
    for (int i = 6; i < argc; i++) {
        char *rest;
        if ((rest = strchr(argv[i], ':'))) {
            numbers[problem.param_count] = atoi(rest + 1);
            params[problem.param_count] = (struct heddle_param){argv[i], 1, &numbers[problem.param_count], NULL};
            problem.param_count++;
            *rest = 0;
            continue;
        }
        struct heddle_input *input = &inputs[problem.input_count++];
        long count = 1;
        memset(input, 0, sizeof *input);
        input->name = strtok(argv[i], "=");
        char *shape = strtok(NULL, "=");
        int modulus = atoi(strtok(NULL, "="));
        for (char *n = strtok(shape, ","); n; n = strtok(NULL, ","))
            count *= input->shape[input->rank++] = atoi(n);
        int *data = malloc(count * sizeof *data);
        for (long n = 0; n < count; n++)
            data[n] = modulus < 0 ? n / -modulus : n % modulus;
        input->element = HEDDLE_INT32;
        input->data = data;
    }
    int bytes = problem.dtype == HEDDLE_F32 ? 4 : 2;
    long rows = problem.heads * tokens, count = rows * problem.dim;
    void *o = calloc(count, bytes);
    float *lse = calloc(rows, sizeof *lse);
    struct heddle_tensors tensors = {.q = {.data = made(count, bytes, 1)}, .k = {.data = made(count, bytes, 2)},
                                     .v = {.data = made(count, bytes, 3)}, .o = {.data = o}, .lse = lse};
    if (heddle_context_create(&options, &context) || heddle_pattern_load(context, argv[1], NULL, &pattern) ||
        heddle_plan_create(context, pattern, &problem, &plan) || heddle_run(plan, &tensors, NULL))
        return fprintf(stderr, "%s\n", heddle_last_error()), 1;
    fwrite(o, bytes, count, stdout);
    fwrite(lse, sizeof *lse, rows, stdout);
    heddle_plan_destroy(plan);
    heddle_pattern_destroy(pattern);
    heddle_context_destroy(context);
    return 0;
}
"""
COUNTED = """pattern counted {
    axes i;
    param int n = 3;
    map busy[a in 0 .. 2000, b in 0 .. 2000] = (count e in 0 .. 40 : (a * e + b) % n == 0) >= 8;
    keep causal and busy[q.i, k.i];
}
"""
GATED = """pattern gated {
    axes i;
    branch near { pool 64 by 1, 2; keep k.i > q.i - 90 at 1; }
    branch far { pool 64 by 1, 4; keep at 4; }
    merge gate real(branch) + 0.25;
}
"""
# file or text, dtype, dim, sizes, inputs and parameters as EITHER takes them, what has to be in the bundle
EITHER_CASES = (
    ("pyramid_static", "bf16", 64, (900,), ["near:2"], "its planner"),
    ("pyramid_static", "fp32", 40, (300,), [], "its planner"),
    ("radial_blocks", "bf16", 64, (6, 9, 16), ["sink:1"], "its maps"),
    ("vertical_slash", "fp32", 32, (400,), ["columns=2,3=97", "diagonals=2,4=77"], "its planner"),
    ("vertical_slash_select", "bf16", 64, (700,), ["columns:60", "diagonals:150"], "what it selects from bf16"),
    ("quest", "fp32", 64, (500,), [], "what it selects from fp32"),
    ("documents", "bf16", 64, (600,), ["doc=600=-70"], "its planner"),
    ("pyramid", "fp32", 64, (512,), ["factor=2,4,4=3"], "its planner"),
    (COUNTED, "fp32", 64, (600,), ["n:5"], "its maps"),
    (GATED, "bf16", 64, (300,), [], "its planner"),
)


def either(cli, library):
    program = os.path.join(cli.folder, library.replace(".", "_"))
    if not os.path.exists(program):
        cli.file("either.c", EITHER)
        subprocess.run([*CC, "-O1", "-std=c11", "-D_DEFAULT_SOURCE", "either.c", "-o", program, "-I",
                        os.path.join(ROOT, "runtime", "include"), os.path.join(os.path.dirname(RT), library),
                        "-Wl,-rpath," + os.path.dirname(RT)], cwd=cli.folder, check=True)
    return program


def test_either_library(cli):
    """A bundle gives the same bits in both, and what its pattern gives up to rounding."""
    for file, dtype, dim, sizes, given, word in EITHER_CASES:
        path = cli.file("case.heddle", file) if "{" in file else pattern_file(file)
        axes = re.search(r"axes\s+([^;]*);", open(path, encoding="utf-8").read())[1].replace(" ", "").split(",")
        flags = ["--axes", ",".join(f"{a}={n}" for a, n in zip(axes, sizes)), "--dtype", dtype, "--dim", dim,
                 "--heads", 2]
        for at, one in enumerate(given):
            if ":" in one:
                flags += ["--param", one.replace(":", "=")]
                continue
            name, shape, modulus = one.split("=")
            shape = [int(n) for n in shape.split(",")]
            count = np.arange(np.prod(shape))
            numbers = count // -int(modulus) if int(modulus) < 0 else count % int(modulus)
            np.save(os.path.join(cli.folder, f"{at}.npy"), numbers.astype(np.int32).reshape(shape))
            flags += ["--input", f"{name}={at}.npy"]
        bundle, said = cpu(cli, "case.hbundle", path, *flags)
        assert word in said, (file, said)
        outs = []
        for library, what in (("libheddle-rt.so", bundle), ("libheddle.so", bundle), ("libheddle.so", path)):
            done = subprocess.run([either(cli, library), what, dtype, str(dim), "2", ",".join(map(str, sizes)),
                                   *given], cwd=cli.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=300)
            assert done.returncode == 0, (file, library, done.stderr)
            outs.append(done.stdout)
        assert outs[0] == outs[1], file
        lse = [np.frombuffer(out[-8 * int(np.prod(sizes)):], np.float32) for out in outs[1:]]
        assert np.any(np.isfinite(lse[0])) and np.allclose(*lse, atol=1e-3), file


def test_on_cpus_only(cli):
    """What GPUs do not compute is left out of a bundle, and refused where it is asked for."""
    gated = cli.file("gated.heddle", GATED)
    for path, words in ((pattern_file("quest"), "selects from q and k"), (gated, "merges branches by gates")):
        problem = ["--axes", "i=300", "--dtype", "bf16", *PLAIN]
        _, said = make(cli, "x.hbundle", path, *problem)
        assert "sm_90a" not in said and "bf16 dim 64" in said
        assert words in cli.error(2, "compile", path, "--emit=bundle", "-o", "y.hbundle", *problem, "--target",
                                  "cuda")
    _, said = make(cli, "x.hbundle", pattern_file("pyramid_static"), *PLAIN, "--axes", "i=300", "--dtype", "bf16")
    assert "sm_90a: bf16 dim 64" in said and "planner of lists" not in said


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
