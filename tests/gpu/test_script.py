"""scripts/test-gpu without a GPU: it skips in one line; and with stand-ins for what it calls, it
counts passes, failures and crashes, or says what it leaves out. The sanitizer's sample runs on the
CPU, so its problems are right.

Usage: test_script.py HEDDLE FOLDER     FOLDER: holds the fake libcuda.so.1 and test_device
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))

from runner import ROOT, Runner

SCRIPT = os.path.join(ROOT, "scripts", "test-gpu")
SAMPLE = 6      # problems of the sanitizer's, without --quick
STAND_INS = {
    "heddle": '#!/bin/sh\nfor a; do shift; [ "$a" != cuda ] || a=cpu; set -- "$@" "$a"; done\n'
              'exec {heddle} "$@"\n',
    "test_device": '#!/bin/sh\necho "4 passed, 1 failed"\nexit 1\n',
    "python3": '#!/bin/sh\n[ "$1" != -c ] || exec {python} "$@"\necho crashed\nexit 139\n',
    # memcheck runs the program, racecheck complains, synccheck is content.
    "compute-sanitizer": '#!/bin/sh\ncase $2 in\n'
                         'racecheck) echo "========= a complaint"; exit 9 ;;\n'
                         'memcheck) while [ "$1" != {folder}/heddle ]; do shift; done; exec "$@" ;;\n'
                         'esac\n',
}


def script(arguments, **variables):
    done = subprocess.run([SCRIPT, *arguments], env={**os.environ, **variables}, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode()


def skips(heddle, folder):
    with tempfile.TemporaryDirectory() as programs:
        os.symlink(heddle, os.path.join(programs, "heddle"))
        os.symlink(os.path.join(folder, "test_device"), os.path.join(programs, "test_device"))
        status, said = script([programs], FAKE_CUDA="empty", LD_LIBRARY_PATH=folder)
    assert status == 77 and said.count("\n") == 1 and "skipped" in said, f"{status}\n{said}"


def stand_in(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)


def counts(heddle):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in STAND_INS.items():
            stand_in(folder, name, text.format(heddle=heddle, folder=folder, python=sys.executable))
        status, said = script([folder], PATH=folder + os.pathsep + os.environ["PATH"],
                              PYTHON="python3", COMPUTE_SANITIZER="compute-sanitizer")
    programs = [p for p in os.listdir(os.path.join(ROOT, "tests", "gpu"))
                if p in ("test_gpu.py", "test_device_planner.py")]
    expected = f"{4 + 2 * SAMPLE} passed, {1 + len(programs) + SAMPLE} failed"
    assert status == 1 and said.splitlines()[-1] == expected, f"{status}, not {expected}\n{said}"
    assert "a complaint" in said, said


def leaves_out():
    with tempfile.TemporaryDirectory() as folder:
        for name in ("heddle", "test_device"):
            stand_in(folder, name, '#!/bin/sh\necho "4 passed, 0 failed"\n')
        status, said = script([folder], PYTHON="false", COMPUTE_SANITIZER="no-such-program")
    assert status == 0 and said.splitlines()[-1] == "4 passed, 0 failed", f"{status}\n{said}"
    assert said.count("left out") == 2, said


def refuses():
    for arguments, words in ((["--fast"], "usage"), (["/"], "no program heddle")):
        status, said = script(arguments)
        assert status == 2 and words in said, f"{status}\n{said}"


def main():
    heddle, folder = (os.path.abspath(a) for a in sys.argv[1:3])
    tests = Runner()
    tests.case("no GPU", lambda: skips(heddle, folder))
    tests.case("counting", lambda: counts(heddle))
    tests.case("neither NumPy nor a sanitizer", leaves_out)
    tests.case("wrong arguments", refuses)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
