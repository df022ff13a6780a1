"""What a run leaves behind: results.json (everything), results.csv (a line for each program of each
row), table.txt, and a plot; and the lines it prints."""
import csv
import json
import os
from dataclasses import asdict

import plot

COLUMNS = ("row", "group", "program", "status", "ms", "ms_least", "ms_most", "ms_p10", "ms_p90",
           "sustained_ms", "host_ms", "first_ms", "ratio", "ratio_p10", "ratio_p90", "ratio_least",
           "ratio_most", "tflops_useful", "tflops_computed", "error", "error_rms", "apart",
           "queries_wrong", "kept_pairs", "computed_pairs", "density", "goal_ms", "published_ms",
           "message")
# Columns of the table, and the program whose published time stands for each.
PEERS = ("cudnn", "flash2", "flash3", "flash4", "natten", "flex", "torch", "cudnn dense")
NOT_INSTALLED = "not installed"     # the fact that lists programs which did not take part


def flop(row, pairs):
    return 4.0 * row.dim * pairs


def tflops(row, pairs, ms):
    return flop(row, pairs) / (ms * 1e9)


def density(result):
    row = result["row"]
    return result["kept_pairs"] / (row.batch * row.heads * row.tokens ** 2)


# ---- files --------------------------------------------------------------------------------------

def csv_line(result, name, program):
    row = result["row"]
    line = {"row": row.name, "group": row.group, "program": name, "goal_ms": row.goal_ms or None,
            "published_ms": row.published.get(PUBLISHED_AS.get(name, name))}
    line |= {key: program.get(key) for key in COLUMNS if key in program}
    line |= {key: result.get(key) for key in ("kept_pairs", "computed_pairs")}
    for what in ("ms", "ratio"):
        if isinstance(program.get(what), dict):
            figures = program[what]
            line[what] = figures["median"]
            line |= {f"{what}_{key}": figures[key] for key in ("least", "most", "p10", "p90")}
    if "kept_pairs" in result:
        line["density"] = density(result)
    if "ms" in program and name != "cudnn dense":
        line["tflops_useful"] = tflops(row, result["kept_pairs"], line["ms"])
    if "ms" in program and name == "heddle":
        line["tflops_computed"] = tflops(row, result["computed_pairs"], line["ms"])
    return line


PUBLISHED_AS = {"flash3": "fa3", "natten": "natten with permutation", "heddle": None}


def json_row(result):
    row = asdict(result["row"]) | {"mask": None}
    return {**result, "row": row}


def write(folder, results, facts):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for result in results:
            writer.writerows(csv_line(result, *item) for item in result["programs"].items())
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        json.dump({"machine": facts, "rows": [json_row(r) for r in results]}, file, indent=1)
    with open(os.path.join(folder, "table.txt"), "w", encoding="utf-8") as file:
        file.write(table(results, facts) + "\n")
    plot.write(folder, results, facts)


# ---- text ---------------------------------------------------------------------------------------

def timed_programs(result):
    return {name: p for name, p in result["programs"].items() if "ms" in p}


def progress_line(result):
    parts = [f"{name} {p['ms']['median']:.3f}" if "ms" in p else f"{name} {p['status']}"
             for name, p in result["programs"].items()]
    lines = [f"{result['row'].name}: {', '.join(parts)} ms ({result['seconds']:.1f} s)"]
    lines += [f"    {name}: {p['message']}" for name, p in result["programs"].items()
              if "message" in p]
    return "\n".join(lines)


def ratio_text(program):
    if program is None:
        return ""
    if "ratio" not in program:
        return program["status"]
    ratio = program["ratio"]
    mark = "!" if program["status"] != "ok" else ""
    return f"{ratio['median']:.2f} ({ratio['p10']:.2f}-{ratio['p90']:.2f}){mark}"


def error_text(result):
    """heddle's error, and the least of the others'."""
    ours = result["programs"]["heddle"].get("error")
    others = [p["error"] for name, p in result["programs"].items()
              if name != "heddle" and "error" in p]
    if ours is None:
        return ""
    return f"{ours * 1e3:.2f}/" + (f"{min(others) * 1e3:.2f}" if others else "-")


def table_line(result, shown):
    row, ours = result["row"], result["programs"]["heddle"]
    if "ms" not in ours:
        return [row.name, ours["status"], *[""] * (len(shown) + 6)]
    ms = ours["ms"]["median"]
    return [row.name, "" if ours["status"] == "ok" else ours["status"],
            f"{ms:.3f}", f"{ours['sustained_ms']:.3f}", f"{row.goal_ms:.3g}" if row.goal_ms else "",
            f"{tflops(row, result['kept_pairs'], ms):.0f}",
            f"{tflops(row, result['computed_pairs'], ms):.0f}",
            *[ratio_text(result["programs"].get(name)) for name in shown], error_text(result)]


def table(results, facts):
    shown = [name for name in PEERS if any(name in r["programs"] for r in results)]
    head = ["row", "", "ms", "sust.", "goal", "useful", "comp.", *[f"/{name}" for name in shown],
            "err e-3"]
    lines = [head] + [table_line(result, shown) for result in results]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) if i < 2 or i >= 7 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(line, widths))).rstrip()
            for line in lines]
    return "\n".join([*facts_lines(facts), *text,
                      "ms, sust.: heddle, one run and back to back. useful, comp.: its TFLOP/s over "
                      "kept and computed pairs.",
                      "/program: its time over heddle's, more is better for heddle; median of "
                      "rounds (p10-p90); ! marks a wrong result.",
                      "err: largest relative error of a sampled query, heddle / best of the others."])


def facts_lines(facts):
    absent = facts.get(NOT_INSTALLED)
    about = ", ".join(f"{key} {value}" for key, value in facts.items() if key != NOT_INSTALLED)
    return [about, f"{NOT_INSTALLED}: {', '.join(absent)}"] if absent else [about]


def rows_text(rows):
    lines = []
    for row in rows:
        axes = " x ".join(str(size) for size in row.axes.values())
        heads = f"{row.heads}" if row.key_heads == row.heads else f"{row.heads}/{row.key_heads}"
        lines.append(f"{row.name:24} {row.group:7} {row.pattern:34} {axes:14} heads {heads:6} "
                     f"dim {row.dim} {row.dtype}" + (f"  goal {row.goal_ms} ms" if row.goal_ms else ""))
    return "\n".join(lines)
