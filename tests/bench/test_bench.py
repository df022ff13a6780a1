"""What of bench/ needs no GPU and no torch: the rows and their masks, the pattern files, the library
from Python, and the reports.

Usage: test_bench.py HEDDLE LIBHEDDLE
"""
import csv
import json
import os
import sys
import tempfile
import xml.dom.minidom

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, *folder.split("/"))
                for folder in ("bench", "examples/pytorch", "tests/oracle")]

import heddle_ctypes
import masks
import plot
import report
import rows
import runner
from heddle_ctypes import CPU, CUDA, F16, Heddle, HeddleError, Problem

TESTED_PAIRS = 1 << 22      # of a mask that is computed whole here


# ---- masks --------------------------------------------------------------------------------------

def row_mask(row, head=0):
    """The row's mask [tokens, tokens], by its expression."""
    at = np.arange(row.tokens)
    if row.mask is None:
        return np.ones((row.tokens, row.tokens), bool)
    return np.broadcast_to(row.mask(0, head, at[:, None], at[None, :]), (row.tokens, row.tokens))


def strided_oracle(tokens, local, columns, period):
    i, j = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
    group = np.isin(j, [c for first in range(0, tokens, period)
                        for c in range(first, first + columns)])
    return (j <= i) & (group | (j > i - local))


def radial_oracle(frames, frame):
    """Frame pair by frame pair: the band of the printed formula, e counted one s after the other."""
    out = np.zeros((frames * frame, frames * frame), bool)
    x, y = np.arange(frame)[:, None], np.arange(frame)[None, :]
    for a in range(frames):
        for b in range(frames):
            e = 0
            for s in range(1, 8):
                e += abs(a - b) >= 2 ** s
            band = np.abs(x - y) <= (frame >> e)
            out[a * frame:(a + 1) * frame, b * frame:(b + 1) * frame] = band
    out[:, :frame] = True
    return out


def drawn(heddle, name, axes, params=()):
    flags = ["--axes", axes] + [part for p in params for part in ("--param", p)]
    return runner.call([heddle, "draw", os.path.join(ROOT, "bench", name), *flags,
                        "--format", "txt"])


def same_mask(got, expected):
    assert got == masks.picture(expected), runner.first_difference(got, masks.picture(expected))


def check_strided(heddle, tokens, local, columns, period):
    expected = strided_oracle(tokens, local, columns, period)
    params = [f"local={local}", f"columns={columns}", f"period={period}"]
    same_mask(drawn(heddle, "strided.heddle", f"i={tokens}", params), expected)
    row = rows.Row("", "", "", {"i": tokens}, rows.strided_mask(local, columns, period))
    assert (row_mask(row) == expected).all(), "the row's mask is another one"


def check_radial(heddle, frames, frame):
    expected = radial_oracle(frames, frame)
    same_mask(drawn(heddle, "radial.heddle", f"t={frames},x={frame}"), expected)
    row = rows.Row("", "", "", {"t": frames, "x": frame}, rows.radial_mask(frame))
    assert (row_mask(row) == expected).all(), "the row's mask is another one"


def check_neighborhood(sizes, windows, strides):
    """The row's expression against NATTEN's rule as the oracle has it."""
    axes = dict(zip("tyx"[-len(sizes):], sizes))
    params = {f"win_{a}": w for a, w in zip(axes, windows)}
    params |= {f"stride_{a}": s for a, s in zip(axes, strides)}
    expected = masks.neighborhood(masks.Problem(sizes, params=params), list(axes))
    row = rows.Row("", "", "", axes, rows.neighborhood_mask(axes, windows, strides))
    assert (row_mask(row) == expected).all(), f"{sizes} {windows} {strides}"


def mask_cases(heddle):
    for problem in ((300, 256, 64, 512), (1100, 256, 64, 512), (200, 5, 3, 7), (130, 0, 1, 64),
                    (64, 64, 0, 1)):
        yield f"strided {problem}", lambda p=problem: check_strided(heddle, *p)
    for problem in ((5, 64), (40, 16), (3, 130), (140, 8), (1, 20)):
        yield f"radial {problem}", lambda p=problem: check_radial(heddle, *p)
    for problem in (((40,), (9,), (1,)), ((40,), (8,), (3,)), ((9, 14), (4, 14), (4, 5)),
                    ((5, 6, 7), (2, 3, 4), (1, 2, 4)), ((4, 9, 8), (3, 8, 4), (2, 8, 1))):
        yield f"neighbourhood {problem}", lambda p=problem: check_neighborhood(*p)


# ---- rows ---------------------------------------------------------------------------------------

def check_names():
    names = [row.name for row in rows.ROWS]
    assert len(set(names)) == len(names), "two rows of one name"
    assert sum(row.quick for row in rows.ROWS) == 8


def check_row(heddle, row):
    """It plans with the GPU's tiles, and small ones keep what the row's mask keeps."""
    path = rows.pattern_path(ROOT, row)
    runner.call([heddle, "check", path])
    said = json.loads(runner.call([heddle, "explain", path, *rows.problem_flags(row), "--target",
                                   "cuda", "--json"]))
    assert said["keys"] == row.tokens and said["heads"] == row.heads, said
    assert 0 < said["kept_pairs"] <= said["computed_pairs"], said
    if said["kept_exact"] and row.tokens ** 2 <= TESTED_PAIRS:
        heads = range(row.heads) if row.per_head else [0]
        kept = sum(int(row_mask(row, head).sum()) for head in heads)
        assert said["kept_pairs"] == kept * row.batch * row.heads // len(heads), said


def check_sweep():
    """The windows of the sweep keep the share that their names say."""
    for row in (row for row in rows.ROWS if row.group == "sweep"):
        percent, reach, n = int(row.name.split("-")[1]), row.window[0], row.tokens
        kept = sum(min(q + reach, n - 1) - max(q - reach, 0) + 1 for q in range(n))
        assert abs(100 * kept / n ** 2 - percent) < 0.02, (row.name, kept)


def row_cases(heddle):
    yield "names", check_names
    yield "sweep", check_sweep
    for row in rows.ROWS:
        yield f"row {row.name}", lambda r=row: check_row(heddle, r)


# ---- the library from Python --------------------------------------------------------------------

def attention(q, k, v, mask):
    """[batch, heads, queries, dim] and the log-sum-exp, in double precision."""
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x.astype(np.float64), group, axis=1) for x in (k, v))
    logits = np.einsum("bhqd,bhkd->bhqk", q.astype(np.float64), k) / np.sqrt(q.shape[3])
    weights = np.exp(np.where(mask, logits, -np.inf))
    total = weights.sum(axis=-1, keepdims=True)
    return np.einsum("bhqk,bhkd->bhqd", weights / total, v), np.log(total[..., 0])


def random_tensors(shape, kv_heads, dtype, tokens_first):
    """q, k, v, o; with tokens_first as a view of [batch, tokens, heads, dim]."""
    random = np.random.default_rng(3)
    batch, heads, tokens, dim = shape
    out = []
    for n in (heads, kv_heads, kv_heads, heads):
        if tokens_first:
            out.append(random.standard_normal((batch, tokens, n, dim)).astype(dtype).swapaxes(1, 2))
        else:
            out.append(random.standard_normal((batch, n, tokens, dim)).astype(dtype))
    return out


def check_run(library, dtype, kind, tolerance, tokens_first):
    context = Heddle(library).context(CPU)
    pattern = context.load(runner.pattern_file("window"))
    q, k, v, o = random_tensors((2, 4, 70, 40), 2, dtype, tokens_first)
    lse = np.full((2, 4, 70), np.nan, np.float32)
    plan = context.plan(pattern, Problem((70,), heads=4, kv_heads=2, dim=40, batch=2, dtype=kind,
                                         params={"before": 9, "after": 2}))
    plan.run(q, k, v, o, lse)
    expected, expected_lse = attention(q, k, v, masks.window(masks.Problem(
        (70,), params={"before": 9, "after": 2})))
    assert np.abs(o.astype(np.float64) - expected).max() < tolerance
    assert np.abs(lse - expected_lse).max() < 10 * tolerance
    info = plan.info()
    assert (info.queries, info.keys) == (70, 70) and info.computed_pairs >= 2 * 4 * 70 * 11
    assert info.plan_bytes > 0 and info.plan_ms > 0


def check_arguments(library):
    """Tables, constants, inputs, and patterns from text."""
    context = Heddle(library).context(CPU, threads=1)
    strided = context.load(runner.pattern_file("strided"), consts={"block": 4})
    counts = counted(context, strided, Problem((40,), heads=2, dim=8, params={
        "local": 2, "stride": 3, "shift": [0, 2]}))
    for head, shift in enumerate((0, 2)):
        mask = masks.strided(masks.Problem((40,), params={"block": 4, "local": 2, "stride": 3,
                                                          "shift": shift}))
        assert (counts[0, head] == mask.sum(axis=1)).all()
    documents = context.load(runner.pattern_file("documents"))
    doc = np.repeat(np.arange(4), 8).astype(np.int64)
    counts = counted(context, documents, Problem((32,), dim=8, inputs={"doc": doc}))
    assert (counts[0, 0] == np.arange(32) % 8 + 1).all()
    two = "pattern a { axes i; keep k.i == 0; }\npattern b { axes i; keep k.i < 2; }\n"
    for name, kept in (("a", 1), ("b", 2), (None, 2)):
        pattern = context.parse(two, name=name)
        assert (counted(context, pattern, Problem((9,), dim=8)) == kept).all()


def counted(context, pattern, problem):
    """Keys that each query used: with q = 0 the log-sum-exp is the logarithm of their number."""
    dtype = np.float16 if problem.dtype == F16 else np.float32
    tokens = int(np.prod(problem.sizes))
    key_heads = problem.kv_heads or problem.heads
    q, o = (np.zeros((problem.batch, problem.heads, tokens, problem.dim), dtype) for _ in "qo")
    k, v = (np.ones((problem.batch, key_heads, tokens, problem.dim), dtype) for _ in "kv")
    lse = np.full(q.shape[:3], np.nan, np.float32)
    context.plan(pattern, problem).run(q, k, v, o, lse)
    return np.rint(np.exp(lse.astype(np.float64))).astype(np.int64)


def check_smoke_row(library, row):
    """What the library keeps for a row is what the row's mask says, query by query."""
    context = Heddle(library).context(CPU)
    pattern = context.load(rows.pattern_path(ROOT, row))
    counts = counted(context, pattern, Problem(tuple(row.axes.values()), heads=row.heads, dim=8,
                                               params=row.params))
    for head in range(row.heads if row.per_head else 1):
        assert (counts[0, head] == row_mask(row, head).sum(axis=1)).all(), f"head {head}"


def check_tuned(heddle, library):
    """What the program measured is taken by plans that ask for it."""
    flags = ["--axes", "y=16,x=16", "--param", "win_y=5", "--param", "win_x=5", "--dim", "8"]
    path = runner.pattern_file("neighborhood2d")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HEDDLE_CACHE_DIR"] = cache
        try:
            runner.call([heddle, "run", path, *flags, "--target", "cpu", "--tune"])
            context = Heddle(library).context(CPU)
            pattern = context.load(path)
            for dim, tuned, expected in ((8, True, 1), (8, False, 0), (16, True, 0)):
                problem = Problem((16, 16), dim=dim, params={"win_y": 5, "win_x": 5}, tuned=tuned)
                assert context.plan(pattern, problem).info().tuned == expected, (dim, tuned)
        finally:
            os.environ["HEDDLE_CACHE_DIR"] = os.devnull


def raises(body, *words):
    try:
        body()
    except HeddleError as error:
        assert all(word in str(error) for word in words), str(error)
        return
    raise AssertionError("no error")


def check_errors(library):
    heddle = Heddle(library)
    context = heddle.context(CPU)
    window = context.load(runner.pattern_file("window"))
    raises(lambda: context.load("missing.heddle"), "missing.heddle")
    raises(lambda: context.parse("pattern p { axes i; keep q.z == 0; }", "mine.heddle"),
           "mine.heddle:1:", "'z'")
    raises(lambda: context.plan(window, Problem((8,), dim=8, params={"before": -1})), "before")
    raises(lambda: context.plan(window, Problem((8,), dim=8, params={"befor": 1})), "befor")
    plan = context.plan(window, Problem((8,), dim=8))
    array = np.zeros((1, 1, 8, 8), np.float32)
    raises(lambda: plan.run(array, array, array, array, stream=1), "stream")
    raises(lambda: plan.run(array[0], array, array, array), "4 dimensions")
    raises(lambda: context.plan(window, Problem((8,), dim=8, inputs={"doc": np.zeros(8)})), "doc")


def check_no_gpu(library):
    """Without a GPU a context on one is an error that says so."""
    if os.path.exists("/dev/nvidiactl"):
        return
    raises(lambda: Heddle(library).context(CUDA), "device error")


def library_cases(heddle, library):
    for dtype, kind, tolerance in ((np.float32, heddle_ctypes.F32, 1e-4), (np.float16, F16, 4e-3)):
        for tokens_first in (False, True):
            yield (f"run {dtype.__name__} {tokens_first}",
                   lambda a=(dtype, kind, tolerance, tokens_first): check_run(library, *a))
    yield "arguments", lambda: check_arguments(library)
    yield "errors", lambda: check_errors(library)
    yield "no gpu", lambda: check_no_gpu(library)
    yield "tuned", lambda: check_tuned(heddle, library)
    for row in (row for row in rows.ROWS if row.group == "smoke"):
        yield f"kept keys of {row.name}", lambda r=row: check_smoke_row(library, r)


# ---- reports ------------------------------------------------------------------------------------

def spread(value):
    return {"median": value, "least": 0.9 * value, "most": 1.2 * value, "p10": value, "p90": value}


def made_up(row):
    """A result as run.py has it."""
    ours = {"status": "ok", "ms": spread(2.0), "sustained_ms": 1.9, "host_ms": 0.01, "error": 2e-3,
            "samples": [2.0], "first_ms": 500.0}
    flex = {"status": "ok", "ms": spread(5.0), "ratio": spread(2.5), "sustained_ms": 4.9,
            "error": 2.1e-3, "apart": 1e-3}
    return {"row": row, "kept_pairs": row.heads * row.tokens ** 2 // 2, "seconds": 1.0,
            "computed_pairs": row.heads * row.tokens ** 2,
            "programs": {"heddle": ours, "flex": flex,
                         "cudnn": {"status": "failed", "message": "no <kernel>"}}}


def check_reports():
    results = [made_up(row) for row in rows.ROWS if row.group != "smoke"]
    results.append({"row": rows.SMOKE[0], "seconds": 0.1,
                    "programs": {"heddle": {"status": "failed", "message": "no"}}})
    facts = {"device": "none & all"}
    text = report.table(results, facts)
    assert len(text.splitlines()) <= 60 and "2.50 (2.50-2.50)" in text and "failed" in text, text
    assert "no <kernel>" in report.progress_line(results[0])
    with tempfile.TemporaryDirectory() as folder:
        report.write(folder, results, facts)
        with open(os.path.join(folder, "results.csv"), encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == 3 * len(results) - 2
        assert float(lines[1]["ratio"]) == 2.5 and lines[0]["ms_most"] == "2.4"
        with open(os.path.join(folder, "results.json"), encoding="utf-8") as file:
            assert len(json.load(file)["rows"]) == len(results)
    picture = plot.svg("a < b", *plot.figures(results))
    assert xml.dom.minidom.parseString(picture).getElementsByTagName("polyline").length == 2
    assert len(report.rows_text(rows.ROWS).splitlines()) == len(rows.ROWS)


def main():
    heddle, library = (os.path.abspath(path) for path in sys.argv[1:3])
    tests = runner.Runner()
    tests.case("reports", check_reports)
    tests.parallel([*mask_cases(heddle), *row_cases(heddle)])
    for name, body in library_cases(heddle, library):
        tests.case(name, body)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
