"""The command line's contract (docs/command-line.md): exit statuses, files, keys, drawings.

Usage: test_cli.py HEDDLE
"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "oracle"))

from runner import Runner, pattern_file

COMMANDS = ("check", "run", "draw", "explain", "compile", "bench", "cache", "devices")
RUN_KEYS = {"ms", "tflops_useful", "tflops_computed", "kept_pairs", "computed_pairs", "plan_ms",
            "compile_ms", "error", "target", "device"}
EXPLAIN_KEYS = {"plan_ms", "plan_bytes", "kept_pairs", "computed_pairs", "full_tiles",
                "partial_tiles"}
WINDOW = pattern_file("window")


class Cli:
    """Calls the program in a folder of its own."""

    def __init__(self, heddle, folder):
        self.heddle, self.folder = os.path.abspath(heddle), folder
        self.cache = os.devnull

    def call(self, *arguments, status=0):
        done = subprocess.run([self.heddle, *map(str, arguments)], cwd=self.folder, timeout=120,
                              env={**os.environ, "HEDDLE_CACHE_DIR": self.cache},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = done.stderr.decode(errors="replace")
        assert done.returncode == status, \
            f"heddle {' '.join(map(str, arguments))}\nexit status {done.returncode}, not {status}\n{said}"
        assert status == 0 or said.strip(), f"{arguments}: failed without a word"
        return done.stdout, said

    def out(self, *arguments):
        return self.call(*arguments)[0].decode()

    def error(self, status, *arguments):
        return self.call(*arguments, status=status)[1]

    def json(self, *arguments):
        return json.loads(self.out(*arguments, "--json"))

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def npy(self, name, array):
        path = os.path.join(self.folder, name)
        np.save(path, array)
        return path


def picture(mask):
    return "".join("".join("1" if kept else "0" for kept in row) + "\n" for row in mask)


def window_mask(queries, keys, before, after):
    q = np.arange(keys - queries, keys)[:, None]
    k = np.arange(keys)[None, :]
    return (q - k < before) & (q - k >= -after)


def attention(q, k, v, mask, scale):
    """[batch, heads, queries, dim] in double precision; grouped heads."""
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(a.astype(np.float64), group, axis=1) for a in (k, v))
    logits = np.einsum("bhqd,bhkd->bhqk", q.astype(np.float64), k) * scale
    logits = np.where(mask, logits, -np.inf)
    top = logits.max(axis=-1, keepdims=True)
    top = np.where(np.isinf(top), 0, top)
    weights = np.exp(logits - top)
    total = weights.sum(axis=-1, keepdims=True)
    out = weights @ v / np.where(total > 0, total, 1)
    with np.errstate(divide="ignore"):
        lse = np.log(total) + top
    return out, lse[..., 0]


def close(got, expected, tolerance):
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    finite = np.isfinite(expected)
    assert (got[~finite] == expected[~finite]).all(), "infinities differ"
    worst = np.abs(got[finite] - expected[finite]).max(initial=0)
    assert worst <= tolerance, f"off by {worst}, at most {tolerance}"


# ---- cases --------------------------------------------------------------------------------------

def test_help(cli):
    for command in COMMANDS:
        text = cli.out(command, "--help")
        lines = text.splitlines()
        assert len(lines) <= 24, f"{command} --help has {len(lines)} lines"
        assert all(len(line) <= 80 for line in lines), f"{command} --help is wider than a screen"
    assert all(command in cli.out("--help") for command in COMMANDS)
    assert cli.out("--version").startswith("heddle ")


def test_usage(cli):
    for arguments in ([], ["weave"], ["--nope"], ["run"], ["run", WINDOW, WINDOW, "--axes", "i=8"],
                      ["run", WINDOW], ["run", WINDOW, "--axes"], ["run", WINDOW, "--axes", "i"],
                      ["run", WINDOW, "--axes", "i=0"], ["run", WINDOW, "--axes", "i=x"],
                      ["run", WINDOW, "--axes", "i=8,i=9"], ["run", WINDOW, "--axes", "j=8"],
                      ["run", WINDOW, "--axes", "i=8", "--nope"],
                      ["run", WINDOW, "--axes", "i=8", "--heads", "3", "--kv-heads", "2"],
                      ["run", WINDOW, "--axes", "i=8", "--dtype", "int8"],
                      ["run", WINDOW, "--axes", "i=8", "--param", "before=1.5"],
                      ["run", WINDOW, "--axes", "i=8", "--param", "before=1,2"],
                      ["run", WINDOW, "--axes", "i=8", "--param", "behind=1"],
                      ["run", WINDOW, "--axes", "i=8", "--const", "behind=1"],
                      ["run", WINDOW, "--axes", "i=8", "--pattern", "door"],
                      ["run", WINDOW, "--axes", "i=8", "--q", "q.npy"],
                      ["run", WINDOW, "--axes", "i=8", "--dim", "99999"],
                      ["run", pattern_file("documents"), "--axes", "i=8"],
                      ["draw", WINDOW, "--axes", "i=8", "--head", "1"],
                      ["draw", WINDOW, "--axes", "i=8", "--format", "png"],
                      ["draw", WINDOW, "--axes", "i=8", "--format", "gif"],
                      ["compile", WINDOW], ["compile", WINDOW, "--emit=soup"],
                      ["check"], ["devices", "here"]):
        cli.error(2, *arguments)
    assert "'before'" in cli.error(2, "run", WINDOW, "--axes", "i=8", "--param", "befor=3")
    assert "'heads'" in cli.error(2, "run", WINDOW, "--axes", "i=8", "--haeds", "3")
    assert "--axes i=N" in cli.error(2, "draw", WINDOW)
    assert "--input doc" in cli.error(2, "run", pattern_file("documents"), "--axes", "i=8")
    strided = ["run", pattern_file("strided"), "--axes", "i=128", "--heads", "3"]
    cli.error(2, *strided, "--param", "shift=1,2")
    cli.out(*strided, "--param", "shift=1,2,3")
    cli.out(*strided, "--param", "shift=1")


def test_pattern_errors(cli):
    wrong = cli.file("wrong.heddle", "pattern wrong {\n    axes i;\n    keep q.z == k.i;\n}\n")
    said = cli.error(1, "check", wrong)
    assert "wrong.heddle:3:" in said and "error:" in said, said
    for command in ("run", "draw", "explain"):
        cli.error(1, command, wrong, "--axes", "i=8", "--json")
    cli.error(1, "compile", wrong, "--emit=pattern")
    assert cli.out("compile", wrong, "--emit=ast")      # it parses
    cli.error(1, "check", WINDOW, wrong)                # one of two
    near = pattern_file("neighborhood1d")
    said = cli.error(1, "run", near, "--axes", "x=8", "--param", "win_x=9")
    assert "neighborhood1d.heddle" in said and "9" in said and "8" in said, said
    assert cli.out("check", WINDOW)


def test_input_errors(cli):
    documents = ["run", pattern_file("documents"), "--axes", "i=8", "--input"]
    good = cli.npy("good.npy", np.zeros(8, np.int32))
    cli.out(*documents, f"doc={good}")
    cli.out(*documents, f"doc={cli.npy('wide.npy', np.zeros(8, np.int64))}")
    for name, array in (("short.npy", np.zeros(7, np.int32)), ("real.npy", np.zeros(8, np.float32)),
                        ("rank.npy", np.zeros((8, 1), np.int32)),
                        ("big.npy", np.zeros(8, ">i4")), ("double.npy", np.zeros(8))):
        cli.error(3, *documents, f"doc={cli.npy(name, array)}")
    cli.error(3, *documents, "doc=missing.npy")
    cli.error(3, *documents, f"doc={cli.file('text.npy', 'not an array')}")
    with open(good, "rb") as file:
        data = file.read()
    for length in (3, 9, 20, 64, len(data) - 1):
        with open(os.path.join(cli.folder, "cut.npy"), "wb") as file:
            file.write(data[:length])
        cli.error(3, *documents, "doc=cut.npy")


def test_input_sets(cli):
    """Lists of elements: any room, any order, repeats and gaps; what no set of tokens has is refused."""
    problem = ["run", pattern_file("vertical_slash"), "--axes", "i=8", "--heads", "2", "--verify"]
    def run(columns, call=cli.out, *expected):
        return call(*expected, *problem, "--input", f"columns={cli.npy('columns.npy', columns)}",
                    "--input", f"diagonals={cli.npy('diagonals.npy', np.zeros((2, 1), np.int32))}")
    for columns in (np.zeros((2, 0), np.int32), np.full((2, 3), -1), np.array([[7, -1, 0, 7]] * 2)):
        assert "all 16 rows" in run(columns)
    for status, columns, words in (
            (2, np.array([[0, 1], [2, 8]]), "'columns' holds 8 as element 1 of list 1; it takes 0 to 7"),
            (2, np.array([[-2], [0]]), "'columns' holds -2 as element 0 of list 0"),
            (3, np.zeros((3, 1), np.int32), "needs [2, any]"), (3, np.zeros(2, np.int32), "needs [2, any]"),
            (3, np.zeros((2, 1), np.float32), "takes int32 or int64")):
        assert words in run(columns, cli.error, status), words



def test_a_set_takes_the_room_of_its_elements(cli):
    """Not of all tokens: lists of blocks name far fewer."""
    blocks = cli.npy("blocks.npy", np.zeros((2, 512, 1), np.int32))
    explained = json.loads(cli.out("explain", pattern_file("block_list"), "--axes", "i=32768", "--heads",
                                   "2", "--input", f"blocks={blocks}", "--json"))
    assert explained["plan_bytes"] < 8 << 20, explained["plan_bytes"]


def test_selections(cli):
    """What is selected is shown, verified, drawn and written; input sets are written too."""
    problem = [pattern_file("block_topk"), "--axes", "i=200", "--heads", "2", "--kv-heads", "1",
               "--batch", "2", "--const", "block=16", "--param", "budget=3", "--target", "cpu"]
    sets = os.path.join(cli.folder, "sets")
    ran = cli.json("run", *problem, "--verify", "--dump-sets", sets)
    chosen = np.load(os.path.join(sets, "chosen.npy"))
    assert chosen.dtype == np.int32 and chosen.shape == (2, 2, 13, 3), (chosen.dtype, chosen.shape)
    assert ran["passed"] and ran["verified_rankings"] == 52, ran
    assert ran["selected"]["chosen"] == [52, int((chosen >= 0).sum()), 1, 3], ran["selected"]
    explained = cli.json("explain", *problem, "--dump-sets", sets)
    assert explained["selected"] == ran["selected"] and explained["kept_pairs"] == ran["kept_pairs"]
    assert (np.load(os.path.join(sets, "chosen.npy")) == chosen).all()
    rows = cli.out("draw", *problem, "--head", "1", "--format", "txt").split()
    for row, text in enumerate(rows):
        kept = [k for k in range(row + 1) if k // 16 in chosen[0, 1, row // 16]]
        assert [k for k, c in enumerate(text) if c == "1"] == kept, row
    other = cli.json("explain", *problem, "--seed", "2", "--dump-sets", sets)
    assert (np.load(os.path.join(sets, "chosen.npy")) != chosen).any(), other
    rng = np.random.default_rng(3)
    files = [flag for name, heads in (("q", 2), ("k", 1)) for flag in
             ("--" + name, cli.npy(name + ".npy", rng.standard_normal((1, heads, 40, 8), np.float32)))]
    one = [pattern_file("block_topk"), "--const", "block=8", "--param", "budget=2"]
    assert cli.out("draw", *one, *files, "--format", "txt").count("\n") == 40
    cli.error(2, "draw", *one, *files[:2], "--format", "txt")
    cli.error(3, "explain", *one, "--axes", "i=40", "--dump-sets", "no/such/folder")
    assert "keeps at least one block" in cli.error(1, "explain", *one[:3], "--axes", "i=40",
                                                   "--param", "budget=0")
    lists = cli.npy("tokens.npy", np.array([[5, -1, 2, 5]]))
    cli.out("explain", pattern_file("token_list"), "--axes", "i=8", "--input", f"tokens={lists}",
            "--dump-sets", sets)
    assert np.load(os.path.join(sets, "tokens.npy")).tolist() == [[2, 5]]


def test_missing_files(cli):
    cli.error(3, "run", "missing.heddle", "--axes", "i=8")
    cli.error(3, "check", "missing.heddle")
    cli.error(3, "run", WINDOW, "--axes", "i=8", "--out", "no/such/folder.npy")
    cli.error(3, "draw", WINDOW, "--axes", "i=8", "-o", "no/such/folder.png")


def test_tensor_errors(cli):
    def tensors(*, q=(1, 2, 8, 16), k=(1, 2, 8, 16), v=(1, 2, 8, 16), kind=np.float32):
        return ["run", WINDOW] + [flag for name, shape in (("q", q), ("k", k), ("v", v))
                                  for flag in ("--" + name, cli.npy(name + ".npy",
                                                                    np.zeros(shape, kind)))]
    cli.out(*tensors())
    cli.error(3, *tensors(v=(1, 2, 9, 16)))
    cli.error(3, *tensors(k=(1, 2, 8, 8), v=(1, 2, 8, 8)))
    cli.error(3, *tensors(q=(1, 2, 8)))
    cli.error(3, *tensors(kind=np.float64))
    cli.error(3, *tensors(), "--axes", "i=9")
    cli.error(3, *tensors(), "--heads", "4")
    cli.npy("q.npy", np.asfortranarray(np.zeros((1, 2, 8, 16), np.float32)))
    cli.error(3, "run", WINDOW, "--q", "q.npy", "--k", "k.npy", "--v", "v.npy")


def test_device(cli):
    cli.error(4, "run", WINDOW, "--axes", "i=8", "--target", "cuda")
    cli.error(4, "run", WINDOW, "--axes", "i=8", "--target", "cuda", "--json")
    cli.out("run", WINDOW, "--axes", "i=8", "--target", "cpu")
    assert cli.out("devices").startswith("cpu")
    assert json.loads(cli.out("devices", "--json"))["target"] == "cpu"


def test_planner(cli):
    for command in ("run", "explain", "bench", "draw", "compile"):
        more = ("--emit=plan",) if command == "compile" else ()
        cli.error(2, command, WINDOW, "--axes", "i=8", "--planner", "device", *more)
        cli.error(2, command, WINDOW, "--axes", "i=8", "--planner", "elsewhere", *more)
    for command in ("run", "explain", "bench"):
        cli.error(4, command, WINDOW, "--axes", "i=8", "--planner", "device", "--target", "cuda")
    host, device = (cli.out("compile", WINDOW, "--axes", "i=700", "--emit=plan", "--target", "cuda",
                            "--planner", planner) for planner in ("host", "device"))
    assert host == device and "lists" in host
    explained = json.loads(cli.out("explain", WINDOW, "--axes", "i=8", "--json"))
    assert explained["planner"] == "host" and explained["merged_lists"] == 0


def test_draw_txt(cli):
    for queries, keys, before, after in ((16, 16, 4, 0), (7, 30, 5, 3), (30, 7, 9, 2), (1, 100, 64, 0)):
        drawn = cli.out("draw", WINDOW, "--axes", f"i={keys}", "--queries", queries, "--param",
                        f"before={before}", "--param", f"after={after}", "--format", "txt")
        assert drawn == picture(window_mask(queries, keys, before, after)), (queries, keys)
    # Above 2048 it is drawn from the tiles.
    drawn = cli.out("draw", WINDOW, "--axes", "i=2500", "--param", "before=100", "--format", "txt")
    assert drawn == picture(window_mask(2500, 2500, 100, 0))
    # On several axes, queries are trailing slices.
    near = pattern_file("neighborhood2d")
    flags = ["--axes", "x=6,y=5", "--param", "win_y=3", "--param", "win_x=3"]
    whole = cli.out("draw", near, *flags).splitlines()
    assert len(whole) == 30
    assert cli.out("draw", near, *flags, "--queries", "12").splitlines() == whole[-12:]
    cli.error(2, "draw", near, *flags, "--queries", "13")
    # By name, to a file, and nothing else on standard output.
    assert cli.out("draw", "window", "--axes", "i=9", "-o", "mask.txt") == ""
    with open(os.path.join(cli.folder, "mask.txt"), encoding="ascii") as file:
        assert file.read() == picture(window_mask(9, 9, 1024, 0))


def png_size(path):
    """Width and height, after checking every chunk and the amount of data."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, pixels, width, height = 8, b"", 0, 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", body[:8])
        pixels += body if kind == b"IDAT" else b""
        at += 12 + length
    assert len(zlib.decompress(pixels)) == (width + 1) * height
    return width, height


def test_draw_pictures(cli):
    for flags in (["--axes", "i=16"], ["--axes", "i=100", "--tiles"], ["--axes", "i=1500"],
                  ["--axes", "i=5000", "--tiles"], ["--axes", "i=300", "--queries", "10"]):
        flags += ["--param", "before=20"]
        cli.out("draw", WINDOW, *flags, "-o", "mask.png")
        width, height = png_size(os.path.join(cli.folder, "mask.png"))
        assert 0 < width <= 2048 and 0 < height <= 2048
        cli.out("draw", WINDOW, *flags, "-o", "mask.svg")
        with open(os.path.join(cli.folder, "mask.svg"), encoding="utf-8") as file:
            text = file.read()
        assert text.startswith("<svg") and text.endswith("</svg>\n") and "<path" in text
        lines = cli.out("draw", WINDOW, *flags, "--format", "term").splitlines()
        assert all("\u2580" in line and line.count("\u2580") <= 80 for line in lines)


def test_run_npy(cli):
    rng = np.random.default_rng(5)
    for batch, heads, kv_heads, queries, keys, dim in ((1, 1, 1, 16, 16, 8), (2, 4, 2, 70, 70, 64),
                                                       (1, 2, 1, 9, 130, 40), (1, 1, 1, 40, 25, 16)):
        q = rng.standard_normal((batch, heads, queries, dim), np.float32)
        k, v = (rng.standard_normal((batch, kv_heads, keys, dim), np.float32) for _ in "kv")
        files = [flag for name, array in (("q", q), ("k", k), ("v", v))
                 for flag in ("--" + name, cli.npy(name + ".npy", array))]
        result = cli.json("run", WINDOW, *files, "--param", "before=5", "--scale", "0.3", "--out",
                          "out.npy", "--lse", "lse.npy", "--verify")
        mask = window_mask(queries, keys, 5, 0)
        out, lse = attention(q, k, v, mask, 0.3)
        close(np.load(os.path.join(cli.folder, "out.npy")), out, 1e-4)
        close(np.load(os.path.join(cli.folder, "lse.npy")), lse, 1e-4)
        assert result["kept_pairs"] == batch * heads * int(mask.sum())
        assert (result["heads"], result["kv_heads"], result["dim"]) == (heads, kv_heads, dim)
        cli.out("run", WINDOW, *files, "--scale", "0", "--out", "out.npy", "--verify")
        out, _ = attention(q, k, v, window_mask(queries, keys, 1024, 0), 0)
        close(np.load(os.path.join(cli.folder, "out.npy")), out, 1e-4)


def test_run_float16(cli):
    rng = np.random.default_rng(6)
    arrays = {name: rng.standard_normal((1, 2, 50, 32)).astype(np.float16) for name in "qkv"}
    files = [flag for name, array in arrays.items()
             for flag in ("--" + name, cli.npy(name + ".npy", array))]
    out, _ = attention(*arrays.values(), window_mask(50, 50, 1024, 0), 32 ** -0.5)
    for dtype, tolerance in (("fp32", 1e-4), ("fp16", 4e-3), ("bf16", 4e-2)):
        cli.out("run", WINDOW, *files, "--dtype", dtype, "--out", "out.npy", "--verify")
        got = np.load(os.path.join(cli.folder, "out.npy"))
        assert got.dtype == np.float32
        close(got, out, tolerance)


def test_run_seeds(cli):
    def output(*flags):
        cli.out("run", WINDOW, "--axes", "i=64", "--dim", "32", "--out", "out.npy", *flags)
        return np.load(os.path.join(cli.folder, "out.npy"))
    first = output()
    assert (output() == first).all() and (output("--seed", "1") == first).all()
    assert (output("--threads", "1") == first).all()
    assert np.abs(output("--seed", "2") - first).max() > 0.1
    assert np.abs(output("--dtype", "bf16") - first).max() < 0.1     # the same values, rounded


def test_run_json(cli):
    flags = ["run", WINDOW, "--axes", "i=200", "--heads", "4", "--kv-heads", "2", "--param", "before=9"]
    result = cli.json(*flags)
    assert RUN_KEYS <= result.keys(), RUN_KEYS - result.keys()
    assert result["error"] is None and result["target"] == "cpu"
    assert result["kept_pairs"] == 4 * int(window_mask(200, 200, 9, 0).sum())
    assert result["kept_pairs"] <= result["computed_pairs"] <= 4 * 4 * 64 * 4 * 64
    useful = 4 * 64 * result["kept_pairs"] / (result["ms"] * 1e9)
    assert abs(result["tflops_useful"] / useful - 1) < 1e-3
    result = cli.json(*flags, "--verify", "--repeat", "3")
    assert 0 <= result["error"] < 1e-4 and result["passed"] is True
    text = cli.out(*flags, "--verify")
    assert "TFLOP/s" in text and "density" in text and "error" in text
    # A large problem is sampled, and says so.
    assert "sample" in cli.out("run", WINDOW, "--axes", "i=8192", "--param", "before=64", "--verify")


def test_explain(cli):
    flags = ["explain", WINDOW, "--axes", "i=1000", "--heads", "2", "--param", "before=100"]
    result = cli.json(*flags)
    assert EXPLAIN_KEYS <= result.keys(), EXPLAIN_KEYS - result.keys()
    assert result["kept_pairs"] == 2 * int(window_mask(1000, 1000, 100, 0).sum())
    assert all(isinstance(result[key], (int, float)) for key in EXPLAIN_KEYS)
    assert "tiles" in cli.out(*flags)
    assert cli.json("explain", WINDOW, "--axes", "i=1000000")["kept_pairs"] > 0


def test_explain_boxes(cli):
    grid = ["explain", pattern_file("neighborhood2d"), "--axes", "y=32,x=32"]
    for target in ("cpu", "cuda"):
        result = cli.json(*grid, "--target", target)
        chosen = [one for one in result["candidates"] if one["chosen"]]
        assert len(chosen) == 1 and len(result["candidates"]) > 1, result["candidates"]
        assert all(chosen[0][box] == result[box] for box in ("query_tile", "key_tile"))
        least = min(one["row_ms"] for one in result["candidates"])
        assert chosen[0]["row_ms"] * 0.99 <= least, result["candidates"]
        # So few items are all in the sample.
        for kind in ("full_tiles", "partial_tiles"):
            assert abs(chosen[0][kind] * result["items"] - result[kind]) < 1e-3, result
        text = cli.out(*grid, "--target", target)
        assert text.count("  chosen\n") == 1 and "8 x 8" in text, text


def test_explain_time(cli):
    window = ["explain", WINDOW, "--heads", "24", "--dim", "128", "--target", "cuda"]
    result = cli.json(*window, "--axes", "i=32768")
    # Here without a GPU; where there is one, its name.
    assert result["target"] == "cuda" and result["dtype"] == "bf16"
    assert result["device_assumed"] == (result["device"] == "H100")
    assert 0 < result["predicted_ms"] < result["predicted_dense_ms"] / 10
    # Where dense attention is as fast: not below, and beyond.
    least = result["beats_dense_from"]
    assert 128 < least < 32768
    for size, beats in ((least, True), (least // 2, False)):
        result = cli.json(*window, "--axes", f"i={size}")
        assert (result["predicted_ms"] < 0.98 * result["predicted_dense_ms"]) == beats, size
        # From below, it is found by going up.
        assert result["beats_dense_from"] == least, size
    assert f"not be beaten below about i = {least}" in cli.out(*window, "--axes", "i=32768")
    full = ["explain", pattern_file("full"), "--axes", "i=2048"]
    for target in ("cpu", "cuda"):
        assert cli.json(*full, "--target", target)["beats_dense_from"] is None
    assert "not be beaten up to i = 32768" in cli.out(*full)
    # A length that `require` refuses ends the search.
    near = cli.json("explain", pattern_file("neighborhood1d"), "--axes", "x=8192", "--param", "win_x=1030",
                    "--heads", "96", "--target", "cuda")
    assert near["beats_dense_from"] == 2048, near


def objects(text):
    """JSON objects one after another."""
    decoder, found = json.JSONDecoder(), []
    while text.strip():
        one, end = decoder.raw_decode(text.lstrip())
        found.append(one)
        text = text.lstrip()[end:]
    return found


def test_bench(cli):
    flags = ["bench", WINDOW, "--heads", "2", "--repeat", "5", "--warmup", "1"]
    result = cli.json(*flags, "--axes", "i=300", "--param", "before=9")
    assert result["ms_least"] <= result["ms"] <= result["ms_most"] and result["repeats"] == 5
    assert result["params"] == {"before": 9} and result["axes"] == [300]
    assert "median of 5" in cli.out(*flags, "--axes", "i=300")
    # A sweep: every combination, the last name fastest; in text a table.
    sweep = ["--sweep", "before=5,300", "--sweep", "i=200,100"]
    results = objects(cli.out(*flags, *sweep, "--json"))
    assert [(r["params"]["before"], r["axes"][0]) for r in results] == \
        [(5, 200), (5, 100), (300, 200), (300, 100)]
    assert all(r["kept_pairs"] == 2 * int(window_mask(n, n, before, 0).sum())
               for r in results for before, n in [(r["params"]["before"], r["axes"][0])])
    lines = cli.out(*flags, *sweep).splitlines()
    rows = [line.split() for line in lines[lines.index(next(x for x in lines if "least" in x)):]]
    assert rows[0][:2] == ["before", "i"] and [row[:2] for row in rows[1:]] == \
        [["5", "200"], ["5", "100"], ["300", "200"], ["300", "100"]]
    results = objects(cli.out(*flags, "--axes", "i=64", "--sweep", "kv-heads=1,2", "--sweep",
                              "dtype=fp32,bf16", "--json"))
    assert [(r["kv_heads"], r["dtype"]) for r in results] == \
        [(1, "fp32"), (1, "bf16"), (2, "fp32"), (2, "bf16")]
    # A table of heads takes one value for all.
    shifts = objects(cli.out("bench", pattern_file("strided"), "--axes", "i=999", "--heads", "2",
                             "--sweep", "shift=0,1", "--json"))
    assert [r["params"] for r in shifts] == [{"shift": 0}, {"shift": 1}]


def test_bench_sweep_mistakes(cli):
    for text, word in (("befor=1", "before"), ("before", "name=value"), ("before=1,,2", "empty"),
                       ("before=1,x", "'x'"), ("i=8,0", "at least 1"), ("heads=2,z", "heads"),
                       ("dtype=int8", "dtype"), ("scale=1", "scale")):
        # Nothing is timed before the mistake is found.
        said = cli.error(2, "bench", WINDOW, *([] if text[0] == "i" else ["--axes", "i=64"]), "--sweep",
                         text)
        assert word in said, (text, said)
    assert cli.call("bench", WINDOW, "--axes", "i=64", "--sweep", "before=1,x", status=2)[0] == b""
    for twice in (["before=1", "before=2"], ["i=1,2"], ["before=1", "after=2", "dim=8", "heads=1", "batch=1"]):
        cli.error(2, "bench", WINDOW, "--axes", "i=64",
                  *[part for text in twice for part in ("--sweep", text)])


def test_compile(cli):
    assert "pattern window" in cli.out("compile", WINDOW, "--emit=ast")
    for stage in ("pattern", "facts", "schedule", "llvm", "asm"):
        text = cli.out("compile", WINDOW, "--emit=" + stage)
        assert text and not text.startswith("=="), stage
    text = cli.out("compile", WINDOW, "--emit", "pattern,ast", "-o", "dump.txt")
    assert text == ""
    with open(os.path.join(cli.folder, "dump.txt"), encoding="utf-8") as file:
        text = file.read()
    assert text.index("== ast ==") < text.index("== pattern ==")


def test_full_disk(cli):
    if not os.path.exists("/dev/full"):
        return
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([cli.heddle, "draw", WINDOW, "--axes", "i=64", "--format", "txt"],
                              stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3 and done.stderr
    cli.error(3, "run", WINDOW, "--axes", "i=64", "--out", "/dev/full")
    assert os.path.exists("/dev/full")


def run_tests(heddle, names):
    """Every test_* of a module, each in a folder of its own."""
    tests = Runner()
    for name, test in sorted(names.items()):
        if name.startswith("test_"):
            with tempfile.TemporaryDirectory() as folder:
                tests.case(name, lambda: test(Cli(heddle, folder)))
    return tests.finish()


if __name__ == "__main__":
    sys.exit(run_tests(sys.argv[1], globals()))
