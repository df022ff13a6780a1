"""Golden tests: what a stage prints for a pattern, compared with a file beside it.

    tests/golden/<folder>/<name>.heddle     the pattern; without it, the shipped one of that name
    tests/golden/<folder>/<name>.<stage>    what `heddle compile --emit=<stage>` prints
    tests/golden/<folder>/<name>.err        what `heddle check` says on standard error (status 1)

A first line `# flags: --axes i=64 --const block=32` in the pattern adds flags. Adding a test is
adding files; nothing lists them.

Usage: run.py [--update] HEDDLE [NAME...]     --update writes what is printed now, for review
"""
import argparse
import difflib
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
STAGES = ("ast", "pattern", "facts", "schedule", "err")
SECONDS = 60
os.environ["HEDDLE_CACHE_DIR"] = os.devnull     # what the user has tuned changes no test


def cases():
    """(folder, file name of the expectation), in a fixed order."""
    for folder, folders, files in os.walk(HERE):
        folders.sort()
        for file in sorted(files):
            if os.path.splitext(file)[1][1:] in STAGES:
                yield folder, file


def flags_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return first.split(":", 1)[1].split() if first.startswith("# flags:") else []


def printed(heddle, folder, file):
    """What the program prints for this case, and a complaint when it ends as it should not."""
    name, suffix = os.path.splitext(file)
    own = os.path.join(folder, name + ".heddle")
    pattern = name + ".heddle" if os.path.exists(own) else name
    flags = flags_of(own) if os.path.exists(own) else []
    wrong = suffix == ".err"
    command = (["check", pattern] if wrong else ["compile", pattern, "--emit=" + suffix[1:]]) + flags
    done = subprocess.run([heddle, *command], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=SECONDS)
    text = (done.stderr if wrong else done.stdout).decode(errors="replace")
    if done.returncode != (1 if wrong else 0):
        return text, f"heddle {' '.join(command)}: exit status {done.returncode}\n" \
                     f"{done.stderr.decode(errors='replace')}"
    return text, None


def check(heddle, folder, file, update):
    """None, or what is wrong."""
    path = os.path.join(folder, file)
    text, complaint = printed(heddle, folder, file)
    if complaint:
        return complaint
    with open(path, encoding="utf-8") as expectation:
        expected = expectation.read()
    if text == expected:
        return None
    if update:
        with open(path, "w", encoding="utf-8") as expectation:
            expectation.write(text)
        print(f"updated {os.path.relpath(path, HERE)}")
        return None
    return "".join(difflib.unified_diff(expected.splitlines(True), text.splitlines(True),
                                        "expected", "printed"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("heddle")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    heddle = os.path.abspath(args.heddle)
    passed = failed = 0
    for folder, file in cases():
        if args.names and os.path.splitext(file)[0] not in args.names:
            continue
        complaint = check(heddle, folder, file, args.update)
        passed += not complaint
        failed += bool(complaint)
        if complaint:
            print(f"FAILED {os.path.relpath(os.path.join(folder, file), HERE)}\n{complaint}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
