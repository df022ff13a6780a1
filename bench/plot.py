"""The plot: useful TFLOP/s of every row and program as bars, and below it the density sweep as lines.

PNG where matplotlib is installed, else an SVG written here. Both draw the same two lists:
bars {row: {program: TFLOP/s}} and lines {program: [(density, TFLOP/s)]}.
"""
import importlib.util
import os
from html import escape
from math import floor, log10

COLOURS = {"heddle": "#d62728", "cudnn": "#76b900", "flash2": "#1f77b4", "flash3": "#17becf",
           "flash4": "#0b5563", "natten": "#9467bd", "flex": "#ff7f0e", "torch": "#7f7f7f"}


def useful(result, program):
    flop = 4.0 * result["row"].dim * result["kept_pairs"]
    return flop / (program["ms"]["median"] * 1e9)


def figures(results):
    """Bars and lines; sweep rows are points of the lines only."""
    bars, lines = {}, {}
    for result in results:
        row = result["row"]
        timed = {name: useful(result, p) for name, p in result["programs"].items()
                 if "ms" in p and name in COLOURS}
        if row.group != "sweep":
            bars[row.name] = timed
            continue
        density = result["kept_pairs"] / (row.batch * row.heads * row.tokens ** 2)
        for name, value in timed.items():
            lines.setdefault(name, []).append((100 * density, value))
    return {name: timed for name, timed in bars.items() if timed}, lines


def write(folder, results, facts):
    bars, lines = figures(results)
    if not bars and not lines:
        return
    title = f"Useful TFLOP/s, {facts['device']}"
    if importlib.util.find_spec("matplotlib"):
        write_png(os.path.join(folder, "plot.png"), title, bars, lines)
    else:
        with open(os.path.join(folder, "plot.svg"), "w", encoding="utf-8") as file:
            file.write(svg(title, bars, lines))


# ---- PNG ----------------------------------------------------------------------------------------

def write_png(path, title, bars, lines):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    panels = [draw for draw, data in ((draw_bars, bars), (draw_lines, lines)) if data]
    figure, axes = pyplot.subplots(len(panels), 1, squeeze=False,
                                   figsize=(max(8, 0.55 * len(bars)), 5 * len(panels)))
    for draw, axis in zip(panels, axes[:, 0]):
        draw(axis, bars if draw is draw_bars else lines)
        axis.set_ylabel("TFLOP/s")
        axis.grid(axis="y", alpha=0.3)
        axis.legend()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def programs_of(bars):
    return [name for name in COLOURS if any(name in timed for timed in bars.values())]


def draw_bars(axis, bars):
    programs = programs_of(bars)
    width = 0.8 / len(programs)
    for i, name in enumerate(programs):
        at = [r + (i - (len(programs) - 1) / 2) * width for r in range(len(bars))]
        axis.bar(at, [timed.get(name, 0) for timed in bars.values()], width, label=name,
                 color=COLOURS[name])
    axis.set_xticks(range(len(bars)), list(bars), rotation=60, ha="right", fontsize=8)


def draw_lines(axis, lines):
    for name, points in lines.items():
        axis.plot(*zip(*sorted(points)), marker="o", label=name, color=COLOURS[name])
    axis.set_xscale("log")
    axis.set_xlabel("kept pairs, % of all")


# ---- SVG ----------------------------------------------------------------------------------------

LEFT, TOP, PANEL, LABELS = 60, 50, 300, 130     # pixels: margins, a panel's height, room below it


def svg(title, bars, lines):
    programs = [name for name in COLOURS if name in lines or name in programs_of(bars)]
    width = LEFT + 40 + max(60 * len(bars), 640)
    panels = [(svg_bars, bars), (svg_lines, lines)]
    panels = [(draw, data) for draw, data in panels if data]
    height = TOP + len(panels) * (PANEL + LABELS)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>']
    for i, name in enumerate(programs):
        out.append(f'<rect x="{LEFT + 90 * i}" y="28" width="10" height="10" fill="{COLOURS[name]}"/>'
                   f'<text x="{LEFT + 90 * i + 14}" y="37">{escape(name)}</text>')
    for i, (draw, data) in enumerate(panels):
        out += draw(data, TOP + i * (PANEL + LABELS), width - LEFT - 40)
    return "\n".join(out + ["</svg>\n"])


def scale_of(values, top, width):
    """Grid lines at round figures, and the function from TFLOP/s to y."""
    step = 10.0 ** floor(log10(max(values)))
    step = step / 5 if max(values) < 2 * step else step
    most = step * (int(max(values) / step) + 1)

    def y(value):
        return top + PANEL * (1 - value / most)
    grid = []
    for i in range(round(most / step) + 1):
        grid.append(f'<line x1="{LEFT}" x2="{LEFT + width}" y1="{y(i * step):.1f}" '
                    f'y2="{y(i * step):.1f}" stroke="#ddd"/><text x="{LEFT - 6}" '
                    f'y="{y(i * step) + 4:.1f}" text-anchor="end">{i * step:g}</text>')
    return grid, y


def svg_bars(bars, top, width):
    programs = programs_of(bars)
    out, y = scale_of([v for timed in bars.values() for v in timed.values()], top, width)
    group = width / len(bars)
    bar = 0.8 * group / len(programs)
    for i, (row, timed) in enumerate(bars.items()):
        for j, name in enumerate(programs):
            if name in timed:
                x = LEFT + i * group + 0.1 * group + j * bar
                out.append(f'<rect x="{x:.1f}" y="{y(timed[name]):.1f}" width="{bar:.1f}" '
                           f'height="{y(0) - y(timed[name]):.1f}" fill="{COLOURS[name]}"/>')
        x = LEFT + (i + 0.5) * group
        out.append(f'<text transform="translate({x:.1f},{y(0) + 12:.1f}) rotate(-40)" '
                   f'text-anchor="end">{escape(row)}</text>')
    return out


def svg_lines(lines, top, width):
    points = [point for taken in lines.values() for point in taken]
    out, y = scale_of([value for _, value in points], top, width)
    low = log10(min(density for density, _ in points))
    high = max(log10(max(density for density, _ in points)), low + 0.1)

    def x(density):
        return LEFT + width * (log10(density) - low) / (high - low)
    for name, taken in lines.items():
        path = " ".join(f"{x(density):.1f},{y(value):.1f}" for density, value in sorted(taken))
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" '
                   'stroke-width="2"/>')
    for density in sorted({round(density, 1) for density, _ in points}):
        out.append(f'<text x="{x(density):.1f}" y="{y(0) + 16:.1f}" '
                   f'text-anchor="middle">{density:g} %</text>')
    return out
