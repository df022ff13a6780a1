"""examples/graph.c on the driver that is none: what it captures, that the graph is replayed, and that all
is given back in an order that heddle.h allows. Nothing is computed there, and the example says so: it
checks its results.

Usage: test_graph.py EXAMPLE FOLDER     FOLDER: holds the fake libcuda.so.1
"""
import os
import subprocess
import sys
import tempfile


def run(example, mode, folder, log):
    env = {**os.environ, "FAKE_CUDA": mode, "FAKE_CUDA_LOG": log, "LD_LIBRARY_PATH": folder}
    return subprocess.run([example], env=env, timeout=120, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)


def test_skip(example, folder, log):
    done = run(example, "old_gpu", folder, log)
    assert done.returncode == 77 and done.stdout.count("\n") == 1, done
    assert "compute capability 8.0" in done.stdout, done.stdout


def test_calls(example, folder, log):
    done = run(example, "ok", folder, log)
    assert done.returncode == 1 and "the last row sees 1.0 keys" in done.stdout, done
    with open(log, encoding="utf-8") as file:
        notes = file.read().splitlines()
    begin, end = notes.index("capture"), notes.index("captured")
    inside = notes[begin + 1:end]
    assert len(inside) > 2 and all(note.startswith("launch ") for note in inside), inside
    after = notes[end + 1:]
    assert after[0] == "replay" and after.index("exec gone") < after.index("unloaded"), after
    assert not any("still held" in note for note in notes), notes


def main():
    example, folder = sys.argv[1:]
    for test in (test_skip, test_calls):
        with tempfile.TemporaryDirectory() as scratch:
            test(os.path.abspath(example), folder, os.path.join(scratch, "log"))
    print("2 passed, 0 failed")


if __name__ == "__main__":
    main()
