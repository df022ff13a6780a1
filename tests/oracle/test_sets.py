"""Input sets in set algebra and under quantifiers, and conditions of every shape that the GPU's kernel
tests by columns, against Python's own sets: what `heddle draw` prints (the reference), which keys the
compiled kernel uses, and that planned tiles hold every kept key.

Usage: test_sets.py HEDDLE [CASES] [--seed N] [--pattern NAME] [--case N] [--gpu]
       --gpu: the GPU's kernel instead of the CPU's; without a GPU one line, exit status 77 (skipped)
"""
import json
import os
import sys
import tempfile
from dataclasses import replace

import numpy as np

import masks
from problems import lists, one_of, upto
from runner import Runner, announce, call, case_parser, draw, drawn_cases, problem_flags, run
from test_masks import compare_weights, kernel_weights

BLOCK = 8

# Of each: the keep condition, and the same in Python for query i, key j and head h. a, b and c are the
# head's sets, m is the set of the query's block.
PATTERNS = {
    "difference": ("k.i in (a[head] | b[head]) - c[head]",
                   lambda i, j, a, b, c, m, n: j in (a | b) - c),
    "intersection": ("k.i in a[head] & (b[head] | 0 .. 9) and not q.i in c[head]",
                     lambda i, j, a, b, c, m, n: j in a & (b | set(range(9))) and i not in c),
    "diagonals": ("q.i - k.i in (0 .. 40) - (a[head] - b[head]) | c[head] & {0, 3, 50}",
                  lambda i, j, a, b, c, m, n: i - j in set(range(40)) - (a - b) | c & {0, 3, 50}),
    "blocks": ("k.i / 8 in (m[head, q.i / 8] | {0}) - {2} or k.i == q.i",
               lambda i, j, a, b, c, m, n: j // 8 in (m | {0}) - {2} or i == j),
    "any_near": ("any e in a[head] : k.i in e .. e + 3",
                 lambda i, j, a, b, c, m, n: any(e <= j < e + 3 for e in a)),
    "any_both": ("any e in a[head] : (any f in b[head] : k.i - e == f - q.i)",
                 lambda i, j, a, b, c, m, n: any(j - e == f - i for e in a for f in b)),
    "all_past": ("(all e in a[head] | b[head] : (e < k.i or e in c[head])) or causal",
                 lambda i, j, a, b, c, m, n: all(e < j or e in c for e in a | b) or j <= i),
    "count_past": ("(count e in a[head] | (b[head] - c[head]) : e <= q.i) >= (count e in a[head] & c[head] : e <= k.i)",
                   lambda i, j, a, b, c, m, n: sum(e <= i for e in a | (b - c))
                   >= sum(e <= j for e in a & c)),
    "count_odd": ("(count e in {1, k.i, 7} | a[head] : e % 2 == 1) == 3",
                  lambda i, j, a, b, c, m, n: sum(e % 2 == 1 for e in {1, j, 7} | a) == 3),
    "any_block": ("any e in m[head, q.i / 8] - {1} : k.i in e * 8 + e % 3 .. e * 8 + 8",
                  lambda i, j, a, b, c, m, n: any(e * 8 + e % 3 <= j < e * 8 + 8 for e in m - {1})),
    "count_block": ("(count e in m[head, k.i / 8] : e <= q.i / 8) == 1",
                    lambda i, j, a, b, c, m, n: sum(e <= i // 8 for e in n) == 1),
    # Of the key, of q - k, of blocks of keys, and of k against the query, alone and joined.
    "columns": ("k.i % 3 == 1 and (q.i - k.i) % 5 != 2",
                lambda i, j, a, b, c, m, n: j % 3 == 1 and (i - j) % 5 != 2),
    "diagonals_or_columns": ("causal and (k.i in a[head] or q.i - k.i in b[head] or k.i - q.i in c[head])",
                             lambda i, j, a, b, c, m, n: j <= i and (j in a or i - j in b or j - i in c)),
    "blocks_of_32": ("(k.i / 32 + q.i / 16) % 3 != 1 or k.i >= q.i / 8 * 8 and k.i < q.i + 3",
                     lambda i, j, a, b, c, m, n: (j // 32 + i // 16) % 3 != 1
                     or i // 8 * 8 <= j < i + 3),
    "edges": ("k.i == q.i / 2 or (k.i != q.i / 3) == (q.i % 2 == 0) and k.i % 7 < 4",
              lambda i, j, a, b, c, m, n: j == i // 2 or (j != i // 3) == (i % 2 == 0) and j % 7 < 4),
    "chosen": ("q.i in a[head] ? k.i / 16 in 1 .. 4 : not ((q.i - k.i) * 3 / 7 % 2 == 0 or k.i in b[head])",
               lambda i, j, a, b, c, m, n: 1 <= j // 16 < 4 if i in a
               else not ((i - j) * 3 // 7 % 2 == 0 or j in b)),
    "any_head": ("any h in 0 .. heads : (all e in a[h] : abs(e - k.i) > 2) and causal",
                 None),
}


def text_of(name):
    return ("pattern sets {\n    axes i;\n    input set a[head], b[head], c[head], m[head, blocks(i, 8)];\n"
            f"    keep {PATTERNS[name][0]};\n}}\n")


def make_case(name, index, seed):
    rng = np.random.default_rng([seed, index, list(PATTERNS).index(name)])
    p = masks.Problem((one_of(rng, upto(rng, 1, 20), upto(rng, 20, 150), upto(rng, 100, 300)),),
                      heads=upto(rng, 1, 3))
    p.head = upto(rng, 0, p.heads - 1)
    blocks, room = -(-p.keys // BLOCK), upto(rng, 0, 5)
    for letter in "abc":
        values = lists(p, rng)[:, :one_of(rng, 1, 5, 20)]
        p.inputs[letter] = np.ascontiguousarray(values)
    p.inputs["m"] = rng.integers(-1, blocks, size=(p.heads, blocks, room)).astype(np.int32)
    if rng.random() < 0.3:
        p.queries = upto(rng, 1, p.keys)
    return p


def has_gpu(heddle):
    lines = call([heddle, "devices", "--json"]).replace("}\n{", "},{")
    return any(d.get("target") == "cuda" and d.get("usable") for d in json.loads(f"[{lines}]"))


def elements(row):
    return {int(e) for e in row if e >= 0}


def mask_of(name, p):
    keeps = PATTERNS[name][1]
    a, b, c = (elements(p.inputs[letter][p.head]) for letter in "abc")
    first = p.keys - p.query_count
    if not keeps:
        every = [elements(row) for row in p.inputs["a"]]
        return np.array([[any(all(abs(e - j) > 2 for e in row) for row in every) and j <= i
                          for j in range(p.keys)] for i in range(first, p.keys)])
    m = [elements(row) for row in p.inputs["m"][p.head]]
    return np.array([[keeps(i, j, a, b, c, m[i // BLOCK], m[j // BLOCK]) for j in range(p.keys)]
                     for i in range(first, p.keys)])


def gpu_weights(heddle, path, p):
    dim = 256 if p.keys > 128 and p.keys % 2 else 128 if p.keys > 64 else 64
    v = np.zeros((-(-p.keys // dim), 1, p.keys, dim), np.float32)
    key = np.arange(p.keys)
    v[key // dim, 0, key, key % dim] = 1
    q = np.zeros((len(v), p.heads, p.query_count, dim), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        flags = [*problem_flags(p, "i", (), folder), "--target", "cuda"]
        out, lse = run(heddle, path, flags, q, np.zeros_like(v), v, folder, "fp16")
    return np.concatenate(list(out), axis=2)[:, :, :p.keys], lse[0]


def check(heddle, name, p, gpu):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sets.heddle")
        with open(path, "w") as file:
            file.write(text_of(name))
        expected = masks.picture(mask_of(name, p))
        drawn = draw(heddle, path, p, "i")
        assert drawn == expected, f"{text_of(name)}{p}\n{drawn}\n{expected}"
        weights, lse = gpu_weights(heddle, path, p) if gpu else kernel_weights(heddle, path, p, "i")
        for head in range(p.heads):
            compare_weights(f"{text_of(name)}{p}\nhead {head}: ", weights[head], lse[head],
                            mask_of(name, replace(p, head=head)), even=not gpu)


def main():
    parser = case_parser(cases=8, names=PATTERNS)
    parser.add_argument("--gpu", action="store_true")
    args = parser.parse_args()
    if args.gpu and not has_gpu(args.heddle):
        print("test_sets: no GPU")
        return 77
    announce(args)
    cases = [("sets " + again, lambda n=name, p=problem: check(args.heddle, n, p, args.gpu))
             for name, again, problem in drawn_cases(args, make_case, PATTERNS)]
    tests = Runner()
    tests.parallel(cases, args.jobs)
    return tests.finish()


if __name__ == "__main__":
    sys.exit(main())
