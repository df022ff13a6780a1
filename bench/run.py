#!/usr/bin/env python3
"""heddle beside cuDNN, FlashAttention and FlexAttention: one process, the same tensors, in turns.

    python3 bench/run.py --quick                    # the main rows, some minutes
    python3 bench/run.py --rows 'na2d|radial' --out results

Needs a GPU and torch; bench/README.md says what is compared and how to read it. Exit status 1 when
heddle fails on a row or computes something else than its mask says.
"""
import argparse
import os
import re
import sys
import time

import torch

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(1, os.path.join(ROOT, "examples", "pytorch"))

import check
import peers
import report
from heddle_ctypes import CPU, CUDA, DTYPES, Heddle, HeddleError, Problem
from machine import Machine, in_turns, input_sets, spread, sustained
from rows import ROWS, pattern_path

TORCH_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LIBRARIES = ("build/libheddle.so", "build-gpu/libheddle.so")
WARM_UP_ROUNDS, LEAST_ROUNDS, BURSTS, BURST_MS = 2, 5, 3, 10.0


def find_library(given):
    candidates = [given] if given else [os.path.join(ROOT, path) for path in LIBRARIES]
    for path in candidates:
        if os.path.exists(path):
            return path
    sys.exit(f"no libheddle.so at {', '.join(candidates)}: build it, or say --lib PATH")


# ---- one row ------------------------------------------------------------------------------------

def make_inputs(row, device, seed):
    """q, k, v: [batch, heads, tokens, dim], standard normal."""
    random = torch.Generator(device=device).manual_seed(seed)
    return [torch.randn(row.batch, heads, row.tokens, row.dim, device=device, generator=random)
            .to(TORCH_DTYPES[row.dtype]) for heads in (row.heads, row.key_heads, row.key_heads)]


def bytes_of(tensors):
    return sum(x.numel() * x.element_size() for x in tensors)


class HeddleRow:
    """heddle on one row: the plan, and its runs on torch's memory."""

    def __init__(self, context, machine, row):
        self.machine = machine
        pattern = context.load(pattern_path(ROOT, row))
        self.plan = context.plan(pattern, Problem(
            sizes=tuple(row.axes.values()), heads=row.heads, kv_heads=row.key_heads, dim=row.dim,
            batch=row.batch, dtype=DTYPES[row.dtype], params=row.params))
        shape = (row.batch, row.heads, row.tokens)
        self.out = torch.full((*shape, row.dim), torch.nan, dtype=TORCH_DTYPES[row.dtype],
                              device=machine.device)
        self.lse = torch.full(shape, torch.nan, dtype=torch.float32, device=machine.device)

    def bind(self, q, k, v):
        run = self.plan.bind(q, k, v, self.out, self.lse, self.machine.stream())

        def call():
            run()
            return self.out
        return call


def start_heddle(context, machine, row, inputs):
    """The row's plan, its first output, and the milliseconds from the pattern's file to there."""
    def first():
        heddle = HeddleRow(context, machine, row)
        heddle.bind(*inputs)()
        return heddle
    return machine.wall_ms(first)


def count_check(heddle, row, found, inputs):
    """Runs with q = 0, so that the log-sum-exp counts keys."""
    q, k, v = inputs
    heddle.lse.fill_(torch.nan)
    heddle.bind(torch.zeros_like(q), k, v)()
    return check.counts_differ(row, found, heddle.lse)


def check_heddle(heddle, row, found, inputs, reference):
    wrong, of = count_check(heddle, row, found, inputs)
    heddle.out.fill_(torch.nan)
    heddle.lse.fill_(torch.nan)
    out = heddle.bind(*inputs)()
    worst, together = reference.errors(out)
    facts = {"error": worst, "error_rms": together, "lse_error": reference.lse_error(heddle.lse),
             "queries_counted": of, "queries_wrong": wrong}
    right = wrong == 0 and worst <= check.TOLERANCE[row.dtype] and facts["lse_error"] <= check.LSE_LIMIT
    return facts | {"status": "ok" if right else "WRONG"}


def start_peer(machine, peer, row, found, sets):
    """The functions to time, one for each set of inputs, and the milliseconds to the first result."""
    def first():
        bind = peer(row, found)
        calls = [bind(*inputs) for inputs in sets]
        return calls, calls[0]()
    return machine.wall_ms(first)


def check_peer(name, row, out, heddle_out, reference):
    if name in peers.OTHER_RESULT:
        return {"status": "ok"}
    worst, together = reference.errors(out)
    right = worst <= check.TOLERANCE[row.dtype]
    return {"error": worst, "error_rms": together, "apart": check.difference(heddle_out, out),
            "status": "ok" if right else "WRONG"}


def prepare_peers(machine, row, found, sets, heddle_out, reference, available):
    """{name: its functions} of those that run, {name: what is known of it} of all that apply, and
    {name: why not} of the others."""
    calls, facts, skipped = {}, {}, {}
    for name, peer in available.items():
        try:
            (functions, out), first_ms = start_peer(machine, peer, row, found, sets)
            facts[name] = check_peer(name, row, out, heddle_out, reference) | {"first_ms": first_ms}
            calls[name] = functions
        except peers.DoesNotApply as reason:
            skipped[name] = str(reason)
            continue
        except Exception as failure:    # whatever another program raises must not end the run
            lines = str(failure).strip().splitlines() or [""]
            facts[name] = {"status": "failed", "message": f"{type(failure).__name__}: {lines[0]}"}
        machine.release_memory()
    return calls, facts, skipped


def rounds_for(warm, repeat, budget_s):
    """As many rounds as asked for, fewer where they would take too long."""
    round_ms = sum(samples[-1][0] for samples in warm.values())
    return max(LEAST_ROUNDS, min(repeat, int(budget_s * 1e3 / max(round_ms, 1e-3))))


def timed(machine, calls, repeat, budget_s):
    """{name: figures}; ratios to heddle are taken round by round."""
    warm = in_turns(machine, calls, WARM_UP_ROUNDS)
    samples = in_turns(machine, calls, rounds_for(warm, repeat, budget_s))
    medians = {name: spread([ms for ms, _ in taken])["median"] for name, taken in samples.items()}
    bursts = sustained(machine, calls, BURSTS, BURST_MS, medians)
    ours = [ms for ms, _ in samples["heddle"]]
    figures = {}
    for name, taken in samples.items():
        ms = [one for one, _ in taken]
        figures[name] = {"ms": spread(ms), "host_ms": spread([host for _, host in taken])["median"],
                         "sustained_ms": bursts[name], "samples": ms}
        if name != "heddle":
            figures[name]["ratio"] = spread([theirs / mine for theirs, mine in zip(ms, ours)])
    return figures


def run_row(args, machine, context, row, available):
    found = check.survey(row, machine.device)
    inputs = make_inputs(row, machine.device, 1)
    sets = [inputs] + [make_inputs(row, machine.device, seed + 2)
                       for seed in range(input_sets(bytes_of(inputs)) - 1 if machine.on_gpu else 0)]
    heddle, first_ms = start_heddle(context, machine, row, inputs)
    reference = check.Reference(row, *inputs)
    info = heddle.plan.info()
    result = {"row": row, "kept_pairs": check.kept_pairs(row, found),
              "computed_pairs": info.computed_pairs, "plan_ms": info.plan_ms,
              "compile_ms": info.compile_ms, "plan_bytes": info.plan_bytes, "sets": len(sets)}
    programs = {"heddle": check_heddle(heddle, row, found, inputs, reference)
                | {"first_ms": first_ms}}
    calls, facts, result["skipped"] = prepare_peers(machine, row, found, sets, heddle.out, reference,
                                                    available)
    calls = {"heddle": [heddle.bind(*one) for one in sets]} | calls
    figures = timed(machine, calls, args.repeat, args.seconds)
    result["programs"] = {name: known | figures.get(name, {})
                          for name, known in (programs | facts).items()}
    return result


# ---- all of them --------------------------------------------------------------------------------

def chosen_rows(args):
    if args.rows:
        return [row for row in ROWS if re.search(args.rows, row.name) or row.group == args.rows]
    if args.quick:
        return [row for row in ROWS if row.quick]
    return [row for row in ROWS if row.group != "smoke"]


def run_all(args, machine, context):
    available = peers.peers_for(machine.on_gpu, not args.no_flex)
    results = []
    for row in chosen_rows(args):
        begin = time.perf_counter()
        try:
            result = run_row(args, machine, context, row, available)
        except (HeddleError, torch.OutOfMemoryError) as failure:
            result = {"row": row, "programs": {"heddle": {"status": "failed",
                                                          "message": str(failure)}}}
        result["seconds"] = time.perf_counter() - begin
        results.append(result)
        print(report.progress_line(result), flush=True)
        machine.release_memory()
        report.write(args.out, results, machine_facts(machine, context))    # a cut run leaves these
    return results


def machine_facts(machine, context):
    facts = {"device": machine.name(), "torch": torch.__version__, "heddle": context.heddle.version()}
    if machine.on_gpu:
        facts |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
    if peers.installed("triton"):
        import triton
        facts["triton"] = triton.__version__
    if machine.on_gpu:
        facts |= peers.versions() | {report.NOT_INSTALLED: peers.missing()}
    return facts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", metavar="REGEX", help="rows whose name matches, or a group's name")
    parser.add_argument("--quick", action="store_true", help="the eight main rows")
    parser.add_argument("--list", action="store_true", help="print the rows and end")
    parser.add_argument("--out", default="bench-results", metavar="DIR")
    parser.add_argument("--repeat", type=int, default=30, metavar="N", help="rounds (30)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S",
                        help="of rounds for a row, at least five rounds (3)")
    parser.add_argument("--no-flex", action="store_true", help="without FlexAttention: no compiling")
    parser.add_argument("--lib", metavar="PATH", help="libheddle.so")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda",
                        help="cpu: only to try the rows of group smoke")
    args = parser.parse_args()
    if args.list:
        print(report.rows_text(chosen_rows(args)))
        return 0
    torch.set_grad_enabled(False)
    machine = Machine(args.device)
    context = Heddle(find_library(args.lib)).context(CUDA if machine.on_gpu else CPU)
    results = run_all(args, machine, context)
    facts = machine_facts(machine, context)
    report.write(args.out, results, facts)
    print("\n" + report.table(results, facts))
    return 0 if results and all(r["programs"]["heddle"]["status"] == "ok" for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
