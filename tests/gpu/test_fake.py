"""Loading the driver, its failures and launches, on a driver that is none (fake_cuda.c). Each call
of the driver fails once.

Usage: test_fake.py HEDDLE FOLDER     FOLDER: holds the fake libcuda.so.1
"""
import itertools
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))

from runner import Runner, pattern_file
from test_ptx import has_planner

FAILURES = {     # mode: what the message must say
    "no_device": "NO_DEVICE",
    "empty": "sees no GPU",
    "old_gpu": "compute capability 8.0",
    "old_driver": "CUDA 12.0",
    "busy": "busy",
    "out_of_memory": "out of memory",
    "bad_ptx": "the fake assembler's log",
    "crash": "running the kernel",
}
BEFORE_THE_PLAN = ("no_device", "empty", "old_gpu", "old_driver", "busy")
OPENING = ("Init", "DriverGetVersion", "DeviceGetCount", "DeviceGet", "DeviceGetName",
           "DeviceGetAttribute", "DeviceTotalMem", "PrimaryCtxRetain")      # calls before the plan
HARMLESS = ("CtxGetCurrent", "CtxGetDevice", "CtxPopCurrent", "PrimaryCtxRelease", "MemFree", "ModuleUnload",
            "EventDestroy")     # no context is current; something is given back


class Fake:
    def __init__(self, heddle, folder, scratch):
        self.heddle, self.folder, self.scratch = heddle, folder, scratch

    def call(self, mode, *arguments, fail=0, cache=os.devnull):
        handle, log = tempfile.mkstemp(dir=self.scratch)
        os.close(handle)
        env = {**os.environ, "FAKE_CUDA": mode, "FAKE_CUDA_LOG": log, "FAKE_CUDA_FAIL": str(fail),
               "LD_LIBRARY_PATH": self.folder, "HEDDLE_CACHE_DIR": cache}
        done = subprocess.run([self.heddle, *arguments], env=env, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with open(log) as file:
            notes = file.read().splitlines()
        return done.returncode, done.stdout.decode(), done.stderr.decode(), notes

    def run(self, mode, *more, pattern="window", axes="i=1000", fail=0):
        return self.call(mode, "run", pattern_file(pattern), "--axes", axes, "--heads", "2", *more,
                         fail=fail)

    def each_call_fails(self, *more):
        """Runs with the first call of the driver failing, the second, ...: (call, what came of it),
        until none is left to fail."""
        def fail(n):
            return self.run("ok", "--batch", "2", *more, axes="i=100", fail=n)

        with ThreadPoolExecutor(2) as pool:
            for first in itertools.count(1, 8):
                for outcome in pool.map(fail, range(first, first + 8)):
                    calls = [note.split()[1] for note in outcome[3] if note.startswith("failed ")]
                    yield (calls or [None])[0], outcome
                    if not calls:
                        return


def fails(fake, mode, words):
    status, _, said, _ = fake.run(mode, "--target", "cuda")
    assert status == 4, f"exit status {status}\n{said}"
    assert words in said, said


def falls_back(fake, mode):
    status, out, said, _ = fake.run(mode, "--target", "auto")
    assert status == 0 and "cpu" in out, f"exit status {status}\n{said}"
    assert said.count("\n") == 1 and "running on the CPU" in said, said


def fails_once(fake):
    for call, (status, _, said, notes) in fake.each_call_fails("--target", "cuda"):
        held = [note for note in notes if "still held" in note]
        fine = call is None or call in HARMLESS
        if call == "CtxPushCurrent" and status == 0:    # of the end: nothing can be given back
            continue
        assert status == (0 if fine else 4) and not held, f"{call}: {status}, {held}\n{said}"
        assert fine or said.count("\n") == 1 and "a fake failure" in said, f"{call}: {said}"


def falls_back_once(fake):
    for call, (status, out, said, notes) in fake.each_call_fails("--target", "auto"):
        if call not in OPENING + HARMLESS:
            return
        on_cpu = call in OPENING
        assert status == 0 and ("cpu" in out) == on_cpu, f"{call}: {status}\n{out}{said}"
        assert ("running on the CPU" in said) == on_cpu, f"{call}: {said}"
        assert not any("still held" in note for note in notes), f"{call}: {notes}"


def launch_of(blocks, threads=384):
    return f"launch {blocks} 1 1 x {threads} 1 1, large"


def launches(fake, *more, blocks=3, threads=384, several_maps=False, **problem):
    status, out, said, notes = fake.run("ok", "--target", "cuda", *more, **problem)
    assert status == 0, f"exit status {status}\n{said}"
    assert "Fake GPU" in out, out
    place = ["launch 1 1 1 x 896 1 1, small"] if several_maps else []      # once: they stay the same
    unloaded = ["unloaded"] * (1 + several_maps)
    assert notes == place + [launch_of(blocks, threads)] + unloaded + ["released"], notes


def batches(repeat):
    """Notes of that many timed runs: the stream is held before 32 of them, and before the rest."""
    return [note for first in range(0, repeat, 32)
            for note in ["hold"] + [launch_of(3)] * min(32, repeat - first)]


def queues_ahead(fake, command, repeat, untimed):
    status, _, said, notes = fake.call("ok", command, pattern_file("window"), "--axes", "i=1000",
                                       "--target", "cuda", "--repeat", str(repeat))
    assert status == 0, f"exit status {status}\n{said}"
    expected = [launch_of(3)] * untimed + batches(repeat) + ["unloaded", "released"]
    assert notes == expected, notes


def sweeps(fake):
    status, out, said, notes = fake.call(
        "ok", "bench", pattern_file("window"), "--heads", "2", "--dim", "128", "--target", "cuda",
        "--warmup", "1", "--repeat", "2", "--sweep", "i=1000,2000", "--json")
    assert status == 0, f"exit status {status}\n{said}"
    assert out.count('"ms": 0.5,') == 2 and "[1000]" in out and "[2000]" in out, out
    one = [launch_of(3), "hold", launch_of(3), launch_of(3), "unloaded"]
    assert notes == one * 2 + ["released"], notes


def tunes(fake, planner, kernels):
    """Every candidate gets its turns, on one set of tensors; what wins is for this GPU alone."""
    with tempfile.TemporaryDirectory() as cache:
        problem = [pattern_file("window"), "--axes", "i=1000", "--target", "cuda", "--planner", planner]
        status, out, said, notes = fake.call("ok", "run", *problem, "--tune", "--json", cache=cache)
        assert status == 0 and not said, f"exit status {status}\n{said}"
        result = json.loads(out)
        rows, runs = len(result["tuning"]), result["tuning_turns"] * result["tuning_runs"]
        assert rows == 4 and result["tuned"] and result["remembered"], result
        # All take the same time here, so the planner keeps its choice.
        assert all(row["ms"] == 0.5 and row["chosen"] == row["predicted"] for row in result["tuning"]), result
        launched = sum(note.endswith(", large") for note in notes)
        assert launched == rows * (2 + runs + result["tuning_turns"]) + 1, (launched, result)
        assert notes.count("unloaded") == (rows + 1) * kernels and notes[-1] == "released", notes[-9:]
        for mode, tuned in (("ok", True), ("no_device", False)):
            out = fake.call(mode, "explain", *problem[:-2], "--json", cache=cache)[1]
            assert json.loads(out)["tuned"] == tuned, (mode, out)


def tuning_fails(fake):
    """Calls of the driver that fail while candidates are loaded or timed: nothing stays behind."""
    for n in range(12, 172, 8):
        status, _, said, notes = fake.run("ok", "--target", "cuda", "--tune", axes="i=100", fail=n)
        failed = [note.split()[1] for note in notes if note.startswith("failed ")][0]
        assert status == (0 if failed in HARMLESS else 4), f"{failed}: {status}\n{said}"
        assert "a fake failure" in said or status == 0, f"{failed}: {said}"
        assert not any("still held" in note for note in notes), f"{failed}: {notes}"


def plans_on_device(fake, blocks, sections, **problem):
    status, out, said, notes = fake.run("ok", "--target", "cuda", "--planner", "device", "--dim", "128",
                                       **problem)
    assert status == 0 and "on the GPU" in out, f"exit status {status}\n{said}"
    lists = [f"launch {blocks} 1 1 x 32 1 1, small", f"launch {sections} 1 1 x 256 1 1, small"]
    assert notes[:2] == lists and notes[2].endswith("x 384 1 1, large"), notes[:4]
    assert notes[3:5] == lists and notes[-3:] == ["unloaded", "unloaded", "released"], notes


# The fake makes no lists, so the comparison must find that they differ.
def compares_lists(fake):
    status, _, said, notes = fake.call("ok", "explain", pattern_file("window"), "--axes", "i=1000",
                                       "--target", "cuda", "--planner", "device")
    assert status == 5 and "differ first" in said, f"exit status {status}\n{said}"
    assert notes[-2:] == ["unloaded", "released"], notes


def planner_fails(fake, mode, words):
    status, _, said, notes = fake.call(mode, "explain", pattern_file("window"), "--axes", "i=1000",
                                       "--target", "cuda", "--planner", "device")
    assert status == 4 and words in said and notes[-1] == "released", f"exit status {status}\n{said}"


def keeps_code(fake, *more, codes):
    """What one process has compiled the next one finds, and gives the driver the same text."""
    arguments = ["run", pattern_file("window"), "--axes", "i=1000", "--target", "cuda", "--json", *more]
    with tempfile.TemporaryDirectory() as cache:
        def run(made):
            status, out, said, notes = fake.call("ok", *arguments, cache=cache)
            assert status == 0 and not said, f"exit status {status}\n{said}"
            said = json.loads(out)
            assert (said["cached"], said["code_made"]) == (made == 0, made), out
            return notes

        cold = run(codes)
        assert run(0) == cold
        folder = os.path.join(cache, "code")
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if os.path.getsize(path):
                with open(path, "r+b") as file:
                    file.seek(-1, os.SEEK_END)
                    last = file.read(1)
                    file.seek(-1, os.SEEK_END)
                    file.write(bytes([last[0] ^ 64]))
        assert run(codes) == cold
        assert run(0) == cold


def planner_cases(tests, fake):
    tests.case("a planner's code", lambda: keeps_code(fake, "--planner", "device", codes=3))
    tests.case("a planner", lambda: plans_on_device(fake, 8, 1))
    tests.case("a planner of many lists", lambda: plans_on_device(fake, 48, 2, axes="i=100000"))
    tests.case("a planner, tuned", lambda: tunes(fake, "device", kernels=2))
    tests.case("a planner compared", lambda: compares_lists(fake))
    for mode in ("bad_ptx", "out_of_memory"):
        tests.case(f"a planner, {mode}", lambda m=mode: planner_fails(fake, m, FAILURES[m]))


def lists_devices(fake):
    status, out, said, _ = fake.call("ok", "devices")
    assert status == 0 and "Fake GPU" in out and "not used" not in out, out + said
    status, out, _, _ = fake.call("old_gpu", "devices")
    assert status == 0 and "not used" in out, out
    status, out, _, _ = fake.call("ok", "devices", "--json")
    second = json.loads(out[out.index("}") + 1:])
    assert second["target"] == "cuda" and second["usable"], out


def explains(fake):
    """Nothing runs, so no context is held; without a GPU of the kind, --target cuda takes one on paper."""
    for mode, more, words in (("ok", [], "cuda: Fake GPU"), ("ok", ["--dtype", "fp32"], "cpu:"),
                              ("old_gpu", [], "cpu:"),
                              ("no_device", ["--target", "cuda"], "H100 assumed")):
        status, out, said, notes = fake.call(mode, "explain", pattern_file("window"), "--axes",
                                             "i=1000", *more)
        assert status == 0 and words in out and not said and not notes, (mode, out, said, notes)


def refuses_fp32(fake):
    status, _, said, _ = fake.run("ok", "--target", "cuda", "--dtype", "fp32")
    assert status == 2 and "bf16" in said, f"exit status {status}\n{said}"


def main():
    heddle, folder = (os.path.abspath(a) for a in sys.argv[1:3])
    tests = Runner()
    with tempfile.TemporaryDirectory() as scratch:
        fake = Fake(heddle, folder, scratch)
        for mode, words in FAILURES.items():
            tests.case(f"--target cuda, {mode}", lambda m=mode, w=words: fails(fake, m, w))
        for mode in BEFORE_THE_PLAN:
            tests.case(f"--target auto, {mode}", lambda m=mode: falls_back(fake, m))
        tests.case("--target cuda, each call fails once", lambda: fails_once(fake))
        tests.case("--target auto, each call fails once", lambda: falls_back_once(fake))
        tests.case("a launch", lambda: launches(fake))
        tests.case("run, several", lambda: queues_ahead(fake, "run", 3, untimed=1))
        tests.case("bench", lambda: queues_ahead(fake, "bench", 70, untimed=2))
        tests.case("bench, a sweep", lambda: sweeps(fake))
        tests.case("tuning", lambda: tunes(fake, "host", kernels=1))
        tests.case("tuning, a call fails", lambda: tuning_fails(fake))
        tests.case("kept code", lambda: keeps_code(fake, codes=2))
        tests.case("one block", lambda: launches(fake, "--heads", "1", axes="i=100", blocks=1))
        tests.case("batches", lambda: launches(
            fake, "--batch", "3", "--dim", "100", several_maps=True))
        tests.case("a dilated grid", lambda: launches(
            fake, "--param", "dilation_y=2", "--param", "dilation_x=3", "--queries", "400",
            pattern="neighborhood2d", axes="y=50,x=40", several_maps=True))
        tests.case("more queries than keys", lambda: launches(fake, "--queries", "1200", "--dim", "128"))
        tests.case("tall items", lambda: launches(
            fake, "--heads", "16", pattern="full", axes="i=12288", threads=512))
        tests.case("too few rows for tall items", lambda: launches(fake, pattern="full"))
        if has_planner(heddle):
            planner_cases(tests, fake)
        tests.case("devices", lambda: lists_devices(fake))
        tests.case("explain", lambda: explains(fake))
        tests.case("fp32", lambda: refuses_fp32(fake))
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
