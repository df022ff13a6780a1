#!/usr/bin/env python3
"""Times that `heddle explain` predicts, beside times that were measured: bench/h100.csv, an H100 80GB
HBM3 (700 W), bf16, medians of `heddle bench --repeat 20 --warmup 4`, 2026-11-28 (head dims 32 and 64:
of 30 runs after 5).

    python3 bench/predictions.py build/heddle               # needs no GPU; a test of the suite `bench`
    python3 bench/predictions.py build/heddle --measure     # on an H100: measures them anew

Exit status 1 when a prediction is off by more than 10 %. After a change of the kernel: measure, then
adjust the constants of runtime/cost.c in the order that it gives.
"""
import argparse
import csv
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, "bench", "h100.csv")
MOST_OFF = 0.10


def read_table():
    with open(TABLE, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(rows):
    with open(TABLE, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def ask(heddle, command, row, *more):
    arguments = [heddle, command, os.path.join(ROOT, "patterns", row["pattern"] + ".heddle"),
                 *row["arguments"].split(), "--target", "cuda", "--untuned", "--json", *more]
    return json.loads(subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("heddle")
    parser.add_argument("--measure", action="store_true", help="rewrite bench/h100.csv on this GPU")
    options = parser.parse_args()
    rows, failed = read_table(), 0
    print(f"{'':10}{'measured':>10}{'predicted':>10}")
    for row in rows:
        if options.measure:
            run = ask(options.heddle, "bench", row, "--repeat", "20", "--warmup", "4")
            row["ms"] = f"{run['ms']:.4g}"
        measured = float(row["ms"])
        predicted = ask(options.heddle, "explain", row)["predicted_ms"]
        off = predicted / measured - 1
        failed += abs(off) > MOST_OFF
        print(f"{row['name']:10}{measured:10.3f}{predicted:10.3f}{100 * off:+8.1f} %"
              f"{'   too far' if abs(off) > MOST_OFF else ''}")
    if options.measure:
        write_table(rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
