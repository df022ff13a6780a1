"""run --tune, and what the other commands make of what it remembers.

Usage: test_tune.py HEDDLE
"""
import json
import os
import sys

import numpy as np

from test_cli import run_tests
from runner import pattern_file

GRID = [pattern_file("neighborhood2d"), "--axes", "y=16,x=16", "--target", "cpu", "--param", "win_y=5",
        "--param", "win_x=5"]


def records(cli):
    folder = os.path.join(cli.cache, "tuned")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]


def rewrite_record(path, text):
    """Another text in a record, with the checksum that goes with it (runtime/record.c)."""
    with open(path, "rb") as file:
        head, _, rest = file.read().split(b"\n", 2)
    body = rest[:rest.rindex(b"\ntext\n") + 6] + text.encode()
    checksum = 0xcbf29ce484222325
    for byte in body:
        checksum = (checksum ^ byte) * 0x100000001b3 % 2 ** 64
    with open(path, "wb") as file:
        file.write(head + f"\nchecksum {checksum:016x}\n".encode() + body)


def boxes(one):
    return {key: one[key] for key in ("query_tile", "key_tile")}


def remember_another(cli):
    """Tunes GRID, then makes the record say another candidate won; gives that one and the planner's."""
    candidates = cli.json("explain", *GRID, "--untuned")["candidates"]
    other = next(one for one in candidates if not one["predicted"])
    cli.out("run", *GRID, "--tune")
    query, key = (" ".join(map(str, [1] * (3 - len(tile)) + tile)) for tile in boxes(other).values())
    rewrite_record(records(cli)[0], f"basis {other['basis']}\nquery_tile {query}\nkey_tile {key}\n")
    return other, next(one for one in candidates if one["predicted"])


def test_tune(cli):
    cli.cache = os.path.join(cli.folder, "cache")
    result = cli.json("run", *GRID, "--heads", "2", "--tune", "--verify")
    assert result["tuned"] and result["remembered"] and result["passed"], result
    rows = result["tuning"]
    assert 1 < len(rows) <= 8 and rows[0]["predicted"] and not any(row["predicted"] for row in rows[1:])
    assert sum(row["chosen"] for row in rows) == 1 and all(row["ms"] > 0 for row in rows), rows
    assert all(row["row_ms"] <= 1.5 * min(one["row_ms"] for one in rows) for row in rows), rows
    chosen = next(row for row in rows if row["chosen"])
    assert chosen["predicted"] or chosen["ms"] < 0.98 * rows[0]["ms"], rows
    explained = cli.json("explain", *GRID, "--heads", "2")
    assert explained["tuned"] and boxes(explained) == boxes(chosen), explained
    text = cli.out("run", *GRID, "--heads", "2", "--tune", "--out", "out.npy", "--lse", "lse.npy")
    assert text.count("  chosen\n") == 1 and "; remembered\n" in text, text
    for name in ("out.npy", "lse.npy"):
        assert np.isfinite(np.load(os.path.join(cli.folder, name))).all(), name
    assert len(records(cli)) == 1       # measured anew, not kept twice


def test_tuned(cli):
    """Every command takes what is remembered and says so; --untuned does not."""
    cli.cache = os.path.join(cli.folder, "cache")
    assert not cli.json("run", *GRID)["tuned"] and not os.path.exists(os.path.join(cli.cache, "tuned"))
    other, predicted = remember_another(cli)
    for command in ("run", "bench", "explain"):
        assert cli.json(command, *GRID)["tuned"] is True, command
        assert cli.out(command, *GRID).count("\ntuned  ") == 1, command
        assert cli.json(command, *GRID, "--untuned")["tuned"] is False, command
        assert "tuned" not in cli.out(command, *GRID, "--untuned"), command
    cli.out("run", *GRID, "--verify")
    for flags, expected in (([], other), (["--untuned"], predicted)):
        result = cli.json("explain", *GRID, *flags)
        assert boxes(result) == boxes(expected), result
        assert [boxes(one) for one in result["candidates"] if one["chosen"]] == [boxes(expected)]
        assert [boxes(one) for one in result["candidates"] if one["predicted"]] == [boxes(predicted)]
    text = cli.out("explain", *GRID)
    assert text.count("  chosen, tuned\n") == 1 and text.count("  predicted best\n") == 1, text
    # `compile` and `draw` show the plan that `run` makes.
    schedule = cli.out("compile", *GRID, "--emit=schedule")
    assert "boxes as measured" in schedule and " x ".join(map(str, other["key_tile"])) in schedule
    assert "measured" not in cli.out("compile", *GRID, "--emit=schedule", "--untuned")
    assert cli.out("draw", *GRID, "--format", "txt") == cli.out("draw", *GRID, "--format", "txt", "--untuned")
    # Another problem, or other threads.
    for more in (["--heads", "2"], ["--dtype", "bf16"], ["--queries", "128"], ["--threads", "77"]):
        assert not cli.json("run", *GRID, *more)["tuned"], more
    lines = [line for line in cli.out("bench", *GRID[:1], *GRID[3:], "--axes", "y=16", "--sweep", "x=16,32",
                                      "--repeat", "2").splitlines() if line.endswith("  tuned")]
    assert len(lines) == 1 and lines[0].startswith("16 "), lines


def test_tune_failures(cli):
    # No folder: the run is none the worse for it.
    out, said = cli.call("run", *GRID, "--tune", "--json")
    assert said.count("\n") == 1 and "not be remembered" in said, said
    result = json.loads(out)
    assert result["tuned"] and not result["remembered"] and result["ms"] > 0, result
    cli.error(2, "run", *GRID, "--tune", "--untuned")
    cli.error(2, "bench", *GRID, "--tune")
    # A damaged record is as none.
    cli.cache = os.path.join(cli.folder, "cache")
    remember_another(cli)
    with open(records(cli)[0], "r+b") as file:
        file.truncate(100)
    out, said = cli.call("run", *GRID, "--json")
    assert not json.loads(out)["tuned"] and not said, said


if __name__ == "__main__":
    sys.exit(run_tests(sys.argv[1], globals()))
