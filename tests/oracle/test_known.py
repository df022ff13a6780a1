"""Masks known from elsewhere: that the oracle reproduces them, and that the program draws them.

Usage: test_known.py [HEDDLE]      without HEDDLE only the oracle is tested
"""
import json
import sys

import masks
from known import BLOCK_MAPS, HALF_WIDTHS, KNOWN, SCRIPTS
from runner import Runner, call, draw, pattern_file


def check_known(run, heddle):
    for known in KNOWN:
        problem = masks.Problem(known.sizes, params=known.params)
        run.case(f"oracle {known.name}",
                 lambda: run.equal(masks.picture(masks.MASKS[known.pattern](problem)), known.rows))
        if heddle:
            run.case(f"draw {known.name}",
                     lambda: run.equal(draw(heddle, pattern_file(known.pattern), problem,
                                            masks.axes_of(known.pattern)), known.rows))


def check_radial_code(run):
    for s, d, width, kept in HALF_WIDTHS:
        run.case(f"half-width s={s} d={d}",
                 lambda: run.equal((masks.code_half_width(d, s, 1.0, 128),
                                    masks.code_keeps_frame(d, s)), (width, kept)))
    for name, arguments, rows in BLOCK_MAPS:
        run.case(f"block map {name}",
                 lambda: run.equal(masks.picture(masks.code_block_map(**arguments)), rows))


def check_scripts(run, heddle):
    for frames, decay, sink, sparsity in SCRIPTS:
        flags = ["--axes", f"t={frames},y=48,x=80", "--param", f"decay={decay}", "--param", f"sink={sink}"]
        told = json.loads(call([heddle, "explain", pattern_file("radial_blocks"), *flags, "--target",
                                "cpu", "--json"]))
        run.case(f"radial_blocks, {frames} frames",
                 lambda: run.equal((round(1 - told["kept_pairs"] / told["pairs"], 3), told["kept_exact"]),
                                   (sparsity, True)))


def check_neighborhood_counts(run):
    """Every query of a neighbourhood that is not causal keeps exactly `win` keys."""
    for L in range(1, 14):
        for D in range(1, 4):
            for K in range(1, L // D + 1):
                for S in range(1, K + 1):
                    mask = masks.near(range(L), L, K, S, D)
                    run.case(f"near L={L} K={K} S={S} D={D}",
                             lambda: run.equal(set(mask.sum(axis=1)), {K}))


def main():
    heddle = sys.argv[1] if len(sys.argv) > 1 else None
    run = Runner()
    check_known(run, heddle)
    check_radial_code(run)
    if heddle:
        check_scripts(run, heddle)
    check_neighborhood_counts(run)
    R4 = [arguments for name, arguments, _ in BLOCK_MAPS if name == "R4"][0]
    run.case("R4 has 378 ones", lambda: run.equal(int(masks.code_block_map(**R4).sum()), 378))
    return run.finish()


if __name__ == "__main__":
    sys.exit(main())
