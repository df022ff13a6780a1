"""The PTX of the GPU's kernels, without a GPU: every head dimension, dtype, pattern and kind of mask
is emitted (LLVM verifies it) and, where ptxas is installed, assembled for sm_90a.

 - wgmma, bulk tensor copies and setmaxnreg are there
 - full tiles hold nothing of the predicate: two compares, of the softmax's -inf
 - ptxas spills nothing, keeps wgmma asynchronous (no C7510, C7513, C7520) and setmaxnreg in force (no C7508),
   and puts no fence of its own before wgmma (C7519): where it does it may give up and serialise (C7520)

The planners' PTX is assembled too. Their calls keep some registers on the stack; what a thread takes
there the driver reserves for every thread that the GPU can hold, so there are limits.

Usage: test_ptx.py HEDDLE [--all]     --all: every pattern in every dimension (minutes)
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))

import numpy as np

import runner

GRIDS = {1: "4096", 2: "64,64", 3: "16,32,32"}
PATTERNS = ("full", "causal", "window", "sink_window", "strided", "dilated", "power", "setrec",
            "spans", "alibi", "neighborhood1d", "neighborhood2d", "neighborhood3d", "radial",
            "radial_code", "radial_blocks", "documents", "vertical_slash", "block_list", "token_list", "seer")
DIMS = (8, 32, 40, 64, 96, 100, 128, 192, 256)
SOME = [(p, 128, "bf16") for p in PATTERNS] + \
       [(p, d, "fp16") for p in ("window", "neighborhood2d") for d in DIMS if d != 128] + \
       [("alibi", d, "bf16") for d in (64, 192, 256)] + \
       [(p, d, "bf16") for p in ("full", "causal") for d in (8, 32, 56, 64, 136, 192, 256)]
# Problems of many rows, which are planned in tall items, by three warpgroups of consumers.
TALL = {("full", 32), ("full", 64), ("causal", 64)}


def inputs_of(name, folder):
    arrays = {"documents": {"doc": np.arange(4096) // 500},
              "vertical_slash": {"columns": np.arange(0, 4096, 100)[None],
                                 "diagonals": np.arange(200)[None]},
              "block_list": {"blocks": np.tile(np.arange(0, 64, 5), (1, 64, 1))},
              "token_list": {"tokens": np.arange(0, 4096, 3)[None]},
              "seer": {"gate": np.eye(64, dtype=np.float32)[None]}}.get(name, {})
    flags = []
    for array, values in arrays.items():
        path = os.path.join(folder, f"{array}.npy")
        np.save(path, values if values.dtype == np.float32 else values.astype(np.int32))
        flags += ["--input", f"{array}={path}"]
    return flags


def emit(heddle, name, dim, dtype, folder):
    path = os.path.join(folder, f"{name}_{dim}_{dtype}.ptx")
    more = inputs_of(name, folder)
    if (name, dim) in TALL:
        more += ["--axes", "i=16384", "--heads", "24"]
    runner.call([heddle, "compile", runner.pattern_file(name), "--emit=ptx", "--target", "cuda",
                 "--dim", str(dim), "--dtype", dtype, *more, "-o", path])
    return path


def pipelined_tiles(ptx):
    """Between the wait for a tile's logits and the wait for the output before it."""
    return re.findall(r"wait_group\.sync\.aligned 1;(.*?)wait_group\.sync\.aligned 0;", ptx, re.S)


def check_text(name, dim, ptx):
    assert (name, dim) not in TALL or ".maxntid 512" in ptx, "not in tall items"
    for wanted in ("wgmma.mma_async", "cp.async.bulk.tensor", "setmaxnreg.inc", "setmaxnreg.dec",
                   "mbarrier.try_wait"):
        assert wanted in ptx, f"no {wanted}"
    tiles = sorted(pipelined_tiles(ptx), key=lambda tile: len(re.findall(r"\bsetp\.", tile)))
    assert len(tiles) == 4, f"{len(tiles)} pipelined tiles, not full and partial, in an item and " \
                            "where one begins"
    if name == "alibi":      # its score reads coordinates on all tiles
        return
    for full in tiles[:2]:
        compares = re.findall(r"\bsetp\.\S+", full)
        # Of integers there are those of the elected arrivals, in inline assembly.
        floats = [c for c in compares if c.startswith("setp.eq.f32")]
        assert len(floats) == 2 and len(compares) == 5, f"the full tile compares: {compares}"
        for word in ("ld.shared", "ld.global", "div.", "rem.", "bmsk", "and.pred", "or.pred"):
            assert word not in full, f"the full tile has {word}"


def assemble(ptxas, path):
    done = subprocess.run([ptxas, "-v", "-arch=sm_90a", path, "-o", path + ".cubin"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log
    assert not re.search("C75(08|10|13|19|20)", log), log
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert spills and spills.group(1) == spills.group(2) == "0", spills and spills.group(0)


PLANNER_STACK, PLANNER_SPILLS = 2048, 512       # bytes a thread
PLANNER_KERNELS = ("clear", "change", "zero", "levels", "lists", "order")


def assemble_planner(ptxas, path):
    done = subprocess.run([ptxas, "-v", "-arch=sm_90a", path, "-o", path + ".cubin"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log
    stack = max(int(n) for n in re.findall(r"(\d+) bytes stack frame", log))
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill stores", log))
    assert stack <= PLANNER_STACK and spilled <= PLANNER_SPILLS, \
        f"{stack} bytes of stack, {spilled} spilled"


def check_planner(heddle, ptxas, name, folder):
    path = os.path.join(folder, f"{name}_planner.ptx")
    runner.call([heddle, "compile", runner.pattern_file(name), "--emit=plan-ptx", "--target", "cuda",
                 "--dim", "128", *inputs_of(name, folder), "-o", path])
    with open(path) as file:
        text = file.read()
    entries = re.findall(r"\.entry heddle_plan_(\w+)", text)
    assert sorted(entries) == sorted(PLANNER_KERNELS), entries
    assert not re.search(r"\.extern|call\.uni.*\bproto", text), "a call that is not linked"
    if ptxas:
        assemble_planner(ptxas, path)


def has_planner(heddle):
    done = subprocess.run([heddle, "compile", runner.pattern_file("full"), "--emit=plan-ptx",
                           "--target", "cuda"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return b"built without a planner" not in done.stderr


def find_ptxas():
    return shutil.which("ptxas") or shutil.which("ptxas", path="/usr/local/cuda/bin")


def check(heddle, ptxas, name, dim, dtype, folder):
    path = emit(heddle, name, dim, dtype, folder)
    with open(path) as file:
        check_text(name, dim, file.read())
    if ptxas:
        assemble(ptxas, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("heddle")
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    ptxas = find_ptxas()
    print(f"test_ptx: {'with ' + ptxas if ptxas else 'no ptxas here: emitted, not assembled'}")
    cases = SOME
    if args.all:
        cases = [(p, d, t) for p in PATTERNS for d in DIMS for t in ("bf16", "fp16")]
    tests = runner.Runner()
    with tempfile.TemporaryDirectory() as folder:
        tests.parallel([(f"{n} dim {d} {t}", lambda n=n, d=d, t=t:
                         check(args.heddle, ptxas, n, d, t, folder)) for n, d, t in cases])
        if has_planner(args.heddle):
            tests.parallel([(f"{n}, planner", lambda n=n: check_planner(args.heddle, ptxas, n, folder))
                            for n in PATTERNS])
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
