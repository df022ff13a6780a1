"""Compiled code that is kept on disk: what later processes find, what they survive, `heddle cache`.

Usage: test_cache.py HEDDLE
"""
import json
import os
import random
import re
import signal
import stat
import subprocess
import sys
import time

import numpy as np

from test_cli import run_tests
from runner import pattern_file

WINDOW = pattern_file("window")
RUN = ["run", WINDOW, "--axes", "i=64", "--target", "cpu"]
NOBODY = 65534
DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def use_cache(cli, name="cache"):
    cli.cache = os.path.join(cli.folder, name)
    return cli


def entries(cli):
    folder = os.path.join(cli.cache, "code")
    names = os.listdir(folder) if os.path.exists(folder) else []
    return [os.path.join(folder, name) for name in sorted(names) if re.fullmatch("[0-9a-f]{32}", name)]


def counts(cli, *more):
    result = cli.json(*RUN, *more)
    return result["code_made"], result["code_found"], result["cached"]


def start(cli, *arguments, **options):
    return subprocess.Popen([cli.heddle, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "HEDDLE_CACHE_DIR": cli.cache}, **options)


def test_second_process(cli):
    use_cache(cli)
    assert counts(cli) == (2, 0, False)
    assert stat.S_IMODE(os.stat(os.path.join(cli.cache, "code")).st_mode) == 0o700
    assert counts(cli) == (0, 2, True)
    assert "out of the cache" in cli.out(*RUN)
    cli.out(*RUN, "--out", "warm.npy", "--lse", "warm-lse.npy", "--verify")
    for more in (["--dim", "72"], ["--dtype", "bf16"]):
        assert counts(cli, *more) == (1, 1, False), more      # the planner is the same
        assert counts(cli, *more) == (0, 2, True), more
    assert counts(cli, "--param", "before=3") == (0, 2, True)  # no code depends on it
    # Without a cache the results are the same, bit for bit.
    use_cache(cli, "none")
    cli.out(*RUN, "--out", "cold.npy", "--lse", "cold-lse.npy")
    for name in ("", "-lse"):
        assert (np.load(os.path.join(cli.folder, f"cold{name}.npy"))
                == np.load(os.path.join(cli.folder, f"warm{name}.npy"))).all()


def test_constants(cli):
    use_cache(cli)
    path = cli.file("c.heddle", "pattern c { axes i; const far = 8; keep q.i - k.i < far; }")
    def made(*more):
        return cli.json("run", path, "--axes", "i=64", "--target", "cpu", *more)["code_made"]
    assert [made(), made(), made("--const", "far=9"), made("--const", "far=9"), made()] == [2, 0, 2, 0, 0]


def test_processes_compile_once(cli):
    use_cache(cli)
    processes = [start(cli, *RUN, "--json") for _ in range(8)]
    made = []
    for process in processes:
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0 and not said, said
        made.append(int(re.search(rb'"code_made": (\d+)', out).group(1)))
    assert sum(made) == 2, made
    assert len(entries(cli)) == 2 and counts(cli) == (0, 2, True)


def test_killed(cli):
    """At any point, many times: what is there then is whole, and the next process gets on."""
    use_cache(cli)
    seed = int(os.environ.get("HEDDLE_TEST_SEED", "1"))
    choose = random.Random(seed)
    for i in range(40):
        process = start(cli, *RUN, "--dim", str(8 * (1 + i % 4)))
        time.sleep(choose.random() * 0.15)
        process.kill()
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), (seed, i)
        for path in entries(cli)[i % 3::3]:
            os.remove(path)
    assert cli.json("cache", "verify")["damaged"] == 0
    for dim in (8, 16, 24, 32):
        cli.out(*RUN, "--dim", dim, "--verify")
        assert counts(cli, "--dim", dim) == (0, 2, True), dim


def damage(path, how):
    size = os.path.getsize(path)
    if how == "other":
        data = os.urandom(size)
    else:
        with open(path, "rb") as file:
            data = bytearray(file.read())
        if how == "cut":
            del data[size // 2:]
        elif how == "empty":
            data = b""
        else:
            data[how] ^= 1
    with open(path, "wb") as file:
        file.write(data)


def test_damage(cli):
    use_cache(cli)
    cli.out(*RUN)
    for how in ("cut", "empty", "other", 3, 20, 50, 70, -1):
        for path in entries(cli):
            damage(path, how)
        said = cli.error(3, "cache", "verify")
        assert said.count("is damaged") == 2, said
        out, said = cli.call(*RUN, "--verify", "--json")
        assert not said and b'"code_made": 2' in out, (how, said)
        assert counts(cli) == (0, 2, True), how
    first, second = entries(cli)
    with open(first, "rb") as one, open(second, "rb") as other:
        swapped = other.read(), one.read()
    for path, data in zip((first, second), swapped):
        with open(path, "wb") as file:
            file.write(data)
    cli.error(3, "cache", "verify")
    assert counts(cli) == (2, 0, False)     # whole, but of other keys
    assert counts(cli) == (0, 2, True)
    if os.geteuid() == 0:
        for path in entries(cli):
            os.chown(path, NOBODY, NOBODY)
        assert counts(cli) == (2, 0, False)
        assert counts(cli) == (0, 2, True)


def test_no_place(cli):
    """Where nothing can be kept, everything else is as ever."""
    for folder in ("/dev/null", "/proc/none/cache", cli.file("file", "")):
        cli.cache = folder
        out, said = cli.call(*RUN, "--json")
        assert not said and b'"cached": false' in out, folder
        out, said = cli.call("cache", "list")
        assert not out and not said
    use_cache(cli)
    for name, value in (("HEDDLE_CACHE_LIMIT", "0"), ("HEDDLE_DEBUG", "no-cache")):
        os.environ[name] = value
        try:
            assert [counts(cli)[0] for _ in range(2)] == [2, 2] and not os.path.exists(cli.cache)
        finally:
            del os.environ[name]


def test_trace(cli):
    """HEDDLE_DEBUG=trace of the program: each stage on standard error, and results as ever."""
    use_cache(cli)
    for expected in (("emit", "codegen", "compiled cpu-kernel"), ("bind", "link", "found cpu-kernel")):
        os.environ["HEDDLE_DEBUG"] = "trace"
        try:
            out, said = cli.call(*RUN, "--json")
        finally:
            del os.environ["HEDDLE_DEBUG"]
        assert json.loads(out) and all("heddle: " + words in str(said) for words in expected), said


def test_limit(cli):
    use_cache(cli)
    cli.out(*RUN)
    one = max(os.path.getsize(path) for path in entries(cli))
    for path in entries(cli):
        os.utime(path, (1, 1))
    os.environ["HEDDLE_CACHE_LIMIT"] = str(3 * one)
    try:
        for dim in (8, 16, 24, 32):
            time.sleep(0.01)
            cli.out(*RUN, "--dim", dim)
        assert sum(os.path.getsize(path) for path in entries(cli)) <= 3 * one
        assert counts(cli, "--dim", "32") == (0, 2, True)       # the planner was used all the time
        assert counts(cli, "--dim", "8")[0] == 1
        assert cli.json("cache", "stats")["limit_bytes"] == 3 * one
        os.environ["HEDDLE_CACHE_LIMIT"] = "much"
        assert "not a number of bytes" in cli.call("cache", "stats")[1]
    finally:
        del os.environ["HEDDLE_CACHE_LIMIT"]


def test_commands(cli):
    use_cache(cli)
    assert cli.json("cache", "list")["entries"] == []
    assert cli.json("cache", "stats")["entries"] == 0
    cli.out(*RUN)
    cli.out(*RUN, "--dtype", "bf16")
    listed = cli.json("cache", "list")["entries"]
    assert sorted(one["label"] for one in listed) == [
        "cpu-kernel window bf16 dim 64", "cpu-kernel window fp32 dim 64", "cpu-planner window"], listed
    assert all(one["whole"] and one["made_ms"] > 0 and 0 <= one["used_s"] < 300 for one in listed)
    assert sorted(one["name"] for one in listed) == [os.path.basename(path) for path in entries(cli)]
    assert cli.out("cache", "list").count("\n") == 3
    stats = cli.json("cache", "stats")
    assert stats["entries"] == 3 and stats["damaged"] == 0 and len(stats["kinds"]) == 2, stats
    assert stats["bytes"] == sum(map(os.path.getsize, entries(cli)))
    assert cli.json("cache", "verify") == {"entries": 3, "damaged": 0, "removed": 0}
    damage(entries(cli)[1], "cut")
    assert cli.json("cache", "stats")["damaged"] == 1
    assert cli.out("cache", "list").count("damaged") == 1
    cli.error(3, "cache", "verify")
    out, said = cli.call("cache", "verify", "--delete")
    assert b"1 removed" in out and len(entries(cli)) == 2
    keep = cli.file("cache/code/notes", "mine")
    assert cli.json("cache", "clear") == {"removed": 2}
    assert entries(cli) == [] and os.path.exists(keep)      # only what is the cache's own
    for wrong in ([], ["lists"], ["list", "more"], ["export"], ["import"], ["export", "a", "b"],
                  ["list", "--delete"], ["list", "--all"]):
        cli.error(2, "cache", *wrong)


def test_archives(cli):
    use_cache(cli)
    cli.out(*RUN)
    cli.out(*RUN, "--dtype", "bf16")
    done = cli.json("cache", "export", "code.har")
    archive = os.path.join(cli.folder, "code.har")
    assert done["entries"] == 3 and done["damaged"] == 0 and os.path.getsize(archive) == done["bytes"] + 32
    names = [os.path.basename(path) for path in entries(cli)]
    use_cache(cli, "other")
    done = cli.json("cache", "import", "code.har")
    assert done["entries"] == 3 and done["present"] == 0, done
    assert [os.path.basename(path) for path in entries(cli)] == names
    assert counts(cli) == (0, 2, True) and counts(cli, "--dtype", "bf16") == (0, 2, True)
    assert cli.json("cache", "import", "code.har")["present"] == 3
    # A damaged entry is not carried on, and an archive is not left half written.
    damage(entries(cli)[0], "cut")
    out, said = cli.call("cache", "export", "two.har", "--json")
    assert b'"entries": 2' in out and "1 damaged" in said, said
    cli.error(3, "cache", "export", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    cli.error(3, "cache", "export", "missing/code.har")
    with open(archive, "rb") as file:
        whole = file.read()
    for length in (0, 10, 16, 40, 80, len(whole) - 17, len(whole) - 1):
        use_cache(cli, f"cut-{length}")
        with open(archive, "wb") as file:
            file.write(whole[:length])
        cli.error(3, "cache", "import", "code.har")
        assert cli.json("cache", "verify")["damaged"] == 0
    use_cache(cli, "hostile")
    for what in (b"heddle archive\r\n" + b"heddle\r\n" + b"\1\0\0\0" + b"\xff" * 36 + bytes(500),
                 b"heddle archive\r\n" + b"heddle\r\n" + b"\1\0\0\0" + bytes(4) + bytes(8)
                 + b"\0\0\0\x40\0\0\0\0" + bytes(500),          # a gigabyte, it says
                 whole + b"more", whole.replace(b"heddle archive", b"HEDDLE archive")):
        with open(archive, "wb") as file:
            file.write(what)
        cli.error(3, "cache", "import", "code.har")
    flipped = bytearray(whole)
    flipped[16 + 64 + 20] ^= 1
    with open(archive, "wb") as file:
        file.write(flipped)
    use_cache(cli, "flipped")
    out, said = cli.call("cache", "import", "code.har", "--json")
    assert b'"entries": 2' in out and b'"damaged": 1' in out and "1 damaged" in said, said
    assert len(entries(cli)) == 2
    cli.error(3, "cache", "import", "none.har")
    cli.cache = "/dev/null"
    cli.error(3, "cache", "import", "code.har")


def test_environment_is_documented(cli):
    """Every variable that the sources read has its line in docs/environment.md."""
    read = set()
    for folder in ("compiler", "dsl", "runtime", "cli", "examples"):
        for where, _, names in os.walk(os.path.join(DOCS, folder)):
            for name in names:
                if name.endswith((".c", ".h", ".py")):
                    with open(os.path.join(where, name), encoding="utf-8") as file:
                        read.update(re.findall(r'(?:getenv|set_variable|environ\.get)\("(\w+)"', file.read()))
    with open(os.path.join(DOCS, "docs", "environment.md"), encoding="utf-8") as file:
        listed = set(re.findall(r"^\| `([A-Z_0-9]+)`", file.read(), re.M))
    assert read and read <= listed, read - listed
    assert listed <= read, listed - read


if __name__ == "__main__":
    sys.exit(run_tests(sys.argv[1], globals()))
